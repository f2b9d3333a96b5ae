"""Some chunks of the campaign of `campaigns/never_wrong.py`; a million networks are on the results page."""

import dataclasses
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import direp
from direp.certificates.convergence.system import System

sys.path.insert(0, str(Path(__file__).parent / "campaigns"))
from never_wrong import judge_chunk
from never_wrong_draw import COMBINATIONS, LIBRARY, draw
from never_wrong_judge import ACTIVATIONS, Oracle
from never_wrong_report import NAMES, Report
from never_wrong_verdicts import drifts, judge_refutations


@pytest.fixture
def _unchecked():
    """Shapes are checked in the other tests of certificates; here that would take as long as all the rest."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def summary(report):
    return [f"chunk {v['chunk']}, network {v['network']}: {v['what']}" for v in report.violations]


def judged(judge, chunks, seed):
    report = Report()
    with threadpool_limits(1):
        for chunk in chunks:
            report.add(judge(seed, chunk))
    return report


@pytest.mark.usefixtures("_unchecked")
def test_what_is_proved_holds_in_a_thousand_networks():
    # Every fourth chunk of a campaign meets all neurons and outflows in turn; chunk 15 climbs to the edge.
    report = judged(judge_chunk, [*range(0, 64, 4), 10, 11, 15, 66], seed=2)
    assert not report.violations, summary(report)
    assert report.total("networks") >= 1_000
    proved = sum(report.total(name) for name in NAMES)
    assert proved > 500
    assert report.total("undecided") > 200
    # The tests have teeth: every criterion is tried, the edge is met, and some pairs are as slow as certified.
    assert all(report.total(name) > 3 for name in NAMES)
    assert report.total("followed") > proved / 3
    assert report.total("decided by fractions") > 100
    assert len(report.tightest) == 9
    for place, (factor, loss) in report.tightest.items():
        assert factor > 0.999, place
        assert loss > 0.999, place


@pytest.mark.usefixtures("_unchecked")
def test_what_is_refuted_is_so():
    report = judged(judge_refutations, (10, 11, 13, 25), seed=0)  # of each kind of neuron, and of counter-example
    assert not report.violations, summary(report)
    assert report.total("refuted") >= 20
    for kind in direp.Counterexample.KINDS:
        assert report.total(kind) > 0, kind


def test_the_judge_waits_for_what_grows_slowly_and_for_nothing_else():
    """Rates of +1e-4 and -1e-4 beside a unit that decays 80,000 times faster."""
    batch = draw(np.random.default_rng(0), ("hopfield", "identity", "none"), 3, 1)
    batch.weight[:] = 0.0
    batch.weight[0, [0, 1], [1, 0]] = 1e-4
    batch.entry[:] = batch.bias[:] = 0.0
    rest, far = np.zeros((1, 1, 3)), []
    for leak in (0.0, 2e-4):
        batch.leak[0] = leak, leak, 8.0
        far.append(drifts(Oracle(batch, np.zeros(1, int), np.zeros(1)), rest + 1e-6, rest, 40 / 1e-4))
    assert far[0] > 1e-3
    assert far[1] <= 1e-6


@pytest.mark.parametrize("combination", COMBINATIONS[::2], ids=" ".join)
def test_the_oracle_and_the_library_have_the_same_field(combination):
    """Two implementations, written apart, of the field, the box and the nudge."""
    rng = np.random.default_rng(0)
    batch = draw(rng, combination, 3, 1)
    batch.outputs, batch.cost, batch.target = 2, "cross-entropy", np.array([[0.3, 0.7]])
    network = jax.tree.map(jnp.asarray, batch.network(0))
    states = rng.normal(0.5, 1.0, (5, 3))
    for cost in (direp.SquaredError(), direp.CrossEntropy(batch.sharpness)):
        batch.cost = "squared error" if isinstance(cost, direp.SquaredError) else "cross-entropy"
        oracle = Oracle(batch, np.zeros(1, int), np.array([-0.7]))
        x, y = np.repeat(batch.x, 5, 0), np.repeat(batch.target, 5, 0)
        nudged = direp.Nudged(network.field(jnp.asarray(x)), cost, jnp.asarray(y), jnp.asarray(-0.7))
        states = np.asarray(nudged.clip(jnp.asarray(states)))
        expected = nudged.velocity(jnp.asarray(states), nudged.drive(jnp.asarray(states)))
        scale = 1 + np.abs(np.asarray(expected)).max()
        assert np.allclose(oracle.velocity(states[None])[0], expected, rtol=0, atol=1e-12 * scale)
        # And the Jacobian is the derivative of the field.
        smooth = states[None] + 1e-3
        step = 1e-6
        numeric = [
            (oracle.field(smooth + step * unit) - oracle.field(smooth - step * unit)) / (2 * step) for unit in np.eye(3)
        ]
        assert np.allclose(oracle.jacobian(smooth), np.stack(numeric, -1), rtol=1e-5, atol=1e-7 * scale)


def test_the_slopes_of_the_oracle_are_the_activations_bounds():
    for name, (_, _, gain, steep) in ACTIVATIONS.items():
        assert LIBRARY[name].gain == gain
        assert ACTIVATIONS[name][1](np.array(steep)).max() <= gain
        assert ACTIVATIONS[name][1](np.array(steep)).min() > gain * (1 - 1e-7)


CAUGHT = {"feedback": 8, "rounding": 4, "outflow": 4, "steepest": 3, "spread": 3}  # a chunk that meets the mistake


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("feedback", lambda self, beta, weights: np.zeros(self.size)),
        ("rounding", lambda self, weights, incoming: np.zeros(self.size)),
        ("outflow", property(lambda self: np.zeros(self.size))),
        ("steepest", property(lambda self: 2 * (np.full(self.size, 0.9995 * self.neuron.gain**0.5),))),
        ("spread", lambda self, weights, incoming: (self.magnitude if incoming else self.magnitude.T) @ weights),
    ],
)
@pytest.mark.usefixtures("_unchecked")
def test_a_broken_library_is_caught(monkeypatch, name, broken):
    monkeypatch.setattr(System, name, broken)
    assert judge_chunk(2, CAUGHT[name]).violations


def test_a_violation_is_saved_exactly():
    batch = draw(np.random.default_rng(0), COMBINATIONS[0], 4)
    saved = batch.to_dict(3)
    assert np.array_equal(np.array(saved["weight"]), batch.weight[3])
    assert set(saved) == {field.name for field in dataclasses.fields(batch)}
