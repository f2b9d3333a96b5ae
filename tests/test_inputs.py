"""Certificates on inputs: boxes that trajectories end up in, the slopes that are left in there, and what is refused."""

import json
import sys
from fractions import Fraction
from pathlib import Path

import jax
import jaxtyping
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from program import call

import direp
from direp.arithmetic import Interval
from direp.certificates.convergence import absorbing, on_inputs
from direp.certificates.convergence.absorbing import sums
from direp.certificates.convergence.enclosure import enclosure

sys.path.insert(0, str(Path(__file__).parent / "campaigns"))
import inputs as campaign

QUICK = (direp.Perron(),)


@pytest.fixture(autouse=True)
def _unchecked():
    jaxtyping.config.update("jaxtyping_disable", True)
    with np.errstate(all="ignore"):
        yield
    jaxtyping.config.update("jaxtyping_disable", False)


def pair(neuron, weight=6.0, bias=0.0, dtype=np.float64):
    """Two units that excite each other: with strong weights they remember, unless a current decides."""
    graph = direp.Graph.complete(1, 1, 1)
    matrix = np.array([[1.0, 1.0], [0, weight], [weight, 0]])
    return direp.Network(graph, neuron, matrix, bias=bias, leak=1.0, dtype=dtype)


def judged(network, certificate, seed=0, inputs=3, **how):
    wrong, looked = campaign.judge(network, certificate, np.random.default_rng(seed), inputs=inputs, starts=8, **how)
    assert looked["shrinks"]
    return wrong


@pytest.mark.parametrize("seed", range(2))
def test_what_is_proved_of_drawn_networks_holds_in_a_simulation(seed):
    """A part of `python tests/campaigns/inputs.py`."""
    counts, places = campaign.attack(seed + 100, 8, QUICK, inputs=2, starts=8, limit=2000)
    assert not places
    assert counts["proved and by no global slope"] >= 1


@given(st.integers(0, 10**6))
def test_what_is_proved_of_two_units_holds(seed):
    rng = np.random.default_rng(seed)
    neuron = (direp.Rate("tanh"), direp.Hopfield("hard-sigmoid"), direp.Projected())[seed % 3]
    network = pair(neuron, weight=rng.uniform(-9, 9), bias=rng.uniform(-9, 9, 2))
    certificate = direp.certify(network, inputs=direp.Between(-1, rng.uniform(-1, 1)), criteria=QUICK)
    assert not certificate or not judged(network, certificate, seed, inputs=2)


def halved_slopes(monkeypatch):
    def broken(activation, dtype):
        def enclosed(at):
            value, slope = enclosure(activation, dtype)(at)
            return value, Interval(slope.low * 0.3, slope.high * 0.3)

        return enclosed

    monkeypatch.setattr(on_inputs, "enclosure", broken)


def no_spread(monkeypatch):
    def broken(weight, at):
        true = sums(weight, at)
        middle = 0.5 * true.low + 0.5 * true.high
        return Interval(middle, middle) if np.isfinite(middle).all() else true

    monkeypatch.setattr(absorbing, "sums", broken)


def too_soon(monkeypatch):
    true = absorbing._narrowed

    def broken(field, box):
        found = true(field, box)
        return absorbing.Absorbed(found.box, found.drive, found.first, 0.3 * found.enters, found.held)

    monkeypatch.setattr(absorbing, "_narrowed", broken)


def held_at_once(monkeypatch):
    true = absorbing._caught

    def broken(field, box, new, passed, held):
        middle = Interval(*2 * (0.5 * passed.low + 0.5 * passed.high,))
        return true(field, box, new, middle, held)

    monkeypatch.setattr(absorbing, "_caught", broken)


@pytest.mark.parametrize(
    ("lie", "neuron", "weight", "bias"),
    [
        (halved_slopes, "Rate", 2.0, 0.0),
        (no_spread, "Rate", 6.0, 3.0),
        (too_soon, "Rate", 0.0, 0.0),
        (held_at_once, "Projected", -2.0, 2.2),
    ],
)
def test_a_lie_in_any_part_is_caught(lie, neuron, weight, bias, monkeypatch):
    network = pair(direp.Rate("tanh") if neuron == "Rate" else direp.Projected(), weight, bias)
    honest = direp.certify(network, inputs=direp.Between(-0.1, 0.1), criteria=QUICK)
    assert not honest or not judged(network, honest)
    lie(monkeypatch)
    certificate = direp.certify(network, inputs=direp.Between(-0.1, 0.1), criteria=QUICK)
    assert certificate
    assert judged(network, certificate)


@given(st.integers(0, 10**6))
def test_sums_of_intervals_hold_the_exact_ones(seed):
    """Exact rationals, at ends of the intervals: rounding included."""
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(5, 2)) * 10.0 ** rng.integers(-9, 9, (5, 2))
    low = rng.normal(size=(1, 5)) * 10.0 ** rng.integers(-9, 9, 5)
    high = low if seed % 2 else low + np.abs(rng.normal(size=5)) * 10.0 ** rng.integers(-18, 3, 5)
    found = sums(weight, Interval(low, high))
    for corner in (low, high, np.where(rng.random(5) < 0.5, low, high)):
        for k in range(2):
            exact = sum(Fraction(float(w)) * Fraction(float(r)) for w, r in zip(weight[:, k], corner[0], strict=True))
            assert Fraction(float(found.low[0, k])) <= exact <= Fraction(float(found.high[0, k]))


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "hard-sigmoid", "relu", "softplus", "identity", "own", "closed"])
def test_values_and_slopes_over_intervals_hold_those_at_points(name):
    own = direp.activation.Activation(
        "own", lambda u: jax.numpy.clip(u, -0.3, 0.7), (-0.3, 0.7), (0, 1), interval=direp.arithmetic.Ramp(-0.3, 0.7)
    )
    closed = direp.activation.Activation("closed", lambda u: jax.numpy.sin(u), (-1, 1), (-1, 1))
    rho = {"own": own, "closed": closed}.get(name) or direp.activation.ACTIVATIONS[name]
    rng = np.random.default_rng(0)
    low = rng.normal(size=400) * 5
    high = low + rng.exponential(size=400) * rng.choice([0, 1e-9, 1, 10], 400)
    value, slope = enclosure(rho, np.float64)(Interval(low, high))
    at = low + (high - low) * rng.random((20, 400))
    values, slopes = np.asarray(rho(at)), np.asarray(rho.derivative(at))
    assert ((values >= value.low) & (values <= value.high)).all()
    doubt = 2e-15  # of the derivative that is compared with, 1 - tanh^2
    assert ((slopes >= slope.low - doubt) & (slopes <= slope.high + doubt)).all()
    if name not in ("closed", "identity"):
        assert (slope.high - slope.low).mean() < 0.9


def test_a_current_that_decides_is_proved_and_one_that_does_not_is_not():
    """Two units with weights of 6 remember: 12 is the current that leaves no choice."""
    network = pair(direp.Rate("tanh"))
    assert not direp.certify(network, starts=0)
    assert not direp.certify(network, inputs=direp.Between(-1, 1))
    certificate = direp.certify(network, inputs=direp.Between(9, 10))
    assert certificate
    assert certificate.rate > 0.9
    assert certificate.within.enters < 20
    assert str(certificate).startswith("proved: the network settles to one equilibrium for each input in the box given")
    low, high = certificate.within.box
    assert (low > 0.99).all()
    assert (high < 1.01).all()
    assert not judged(network, certificate)


def test_a_box_that_is_too_wide_for_one_proof_is_proved_in_parts():
    """Two units that remember, unless one of them is driven: by -1 the second is, by 1 the first, by 0 both."""
    matrix = np.array([[6.0, -6.0], [0, 4], [4, 0]])
    network = direp.Network(direp.Graph.complete(1, 1, 1), direp.Rate("tanh"), matrix, bias=6.0, leak=1.0)
    certificate = direp.certify(network, inputs=direp.Between(-1, 1))
    assert certificate
    assert len(certificate.within.inputs[0]) > 1
    assert certificate.within.share == 1
    assert not judged(network, certificate)
    low, high = (end[:, 0] for end in certificate.within.inputs)
    order = np.argsort(low)
    assert (low[order][1:] == high[order][:-1]).all()  # no gap between them
    assert (low.min(), high.max()) == (-1, 1)
    assert certificate.within.rows(np.linspace(-1, 1, 50)[:, None]).min() >= 0


def test_samples_are_proved_in_one_norm_or_each_in_its_own():
    network = pair(direp.Rate("tanh"))
    some = np.array([[9.0], [-9.0], [12.0]])
    certificate = direp.certify(network, inputs=some)
    assert certificate
    assert certificate.within.samples == 3
    assert not judged(network, certificate)
    mixed = direp.certify(network, inputs=np.concatenate([some, [[0.0]]]))
    assert mixed.verdict == "undecided"
    assert mixed.within.proved.tolist() == [True, True, True, False]
    assert mixed.within.share == 0.75
    assert "3 of 4 inputs are proved" in mixed.reason


def test_a_unit_at_a_face_does_not_count():
    """Whatever its synapses: rows and columns of held units are left out."""
    network = pair(direp.Projected(), weight=np.float64(6.0), bias=np.array([-0.5, -9.0]))
    certificate = direp.certify(network, inputs=direp.Between(0, 1))
    assert certificate
    assert certificate.within.held.tolist() == [[False, True]]
    assert not judged(network, certificate)
    all_held = direp.certify(pair(direp.Projected(), bias=np.array([3.0, 3.0])), inputs=direp.Between(0, 1))
    assert all_held
    assert all_held.within.held.all()
    # Without leak, and where what a unit sends is more than its leak.
    graph = direp.Graph.complete(1, 1, 1)
    odd = direp.Network(
        graph, direp.Projected("signed"), np.array([[0.0, 0], [0, -2], [1, 0]]), leak=0.0, bias=np.array([3.0, 1])
    )
    certificate = direp.certify(odd, inputs=direp.Between(0, 1))
    assert certificate
    assert not certificate.within.full_steps
    assert not judged(odd, certificate)
    assert direp.settle(odd, np.zeros((1, 1)), certificate=certificate).converged.all()


def test_starts_bound_what_nothing_else_does():
    """Softplus has no upper end: two units that excite each other run away, unless inhibition or the starts forbid."""
    network = pair(direp.Rate("relu"), weight=2.0, bias=-3.0)
    certificate = direp.certify(network, inputs=direp.Between(-1, 1))
    assert certificate.verdict == "undecided"
    assert "start=" in certificate.reason
    certificate = direp.certify(network, inputs=direp.Between(-1, 1), start=direp.Between(-1, 0.5))
    assert certificate
    assert "from every start in the box given" in certificate.claim
    assert not judged(network, certificate)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bars_hold_in_the_box_and_inputs_outside_are_refused(dtype):
    network = pair(direp.Rate("tanh"), bias=9.0, dtype=dtype)
    certificate = direp.certify(network, inputs=direp.Between(-0.1, 0.1))
    x = np.linspace(-0.1, 0.1, 5).astype(dtype)[:, None]
    settled = direp.settle(network, x, certificate=certificate)
    assert settled.converged.all()
    assert settled.error.max() < 1e-3
    true = direp.settle(network.astype(np.float64), x, stop=direp.Tolerance(1e-13, 1e-13)).state
    assert (np.abs(np.asarray(settled.state, np.float64) - true) <= settled.error).all()
    field = network.field(jax.numpy.asarray(x))
    away = np.zeros((5, 2))
    bars = certificate.error(field, away)
    assert (np.abs(away - true) <= bars).all()
    assert (bars < 2).all()
    with pytest.raises(ValueError, match=r"input 0 of row 1 is 0\.5, outside \[-0\.1, 0\.1\]"):
        direp.settle(network, np.array([[0.0], [0.5], [0.0], [0.0], [0.0]], dtype), certificate=certificate)
    samples = direp.certify(network, inputs=x)
    assert samples.error(field, np.asarray(settled.state)).max() < 1e-3
    with pytest.raises(ValueError, match="row 2 of these inputs is none of them"):
        samples.error(network.field(jax.numpy.asarray(x) + np.array([[0], [0], [1], [0], [0]], dtype)), away)
    nudged = direp.Nudged(field, direp.SquaredError(), jax.numpy.ones((5, 1), dtype), jax.numpy.asarray(1, dtype))
    assert certificate.error(nudged, away) is None


def test_nudged_phases_are_not_claimed():
    network = pair(direp.Rate("tanh"), bias=9.0)
    certificate = direp.certify(network, inputs=direp.Between(-0.1, 0.1), nudge=direp.OneSided(0.5))
    assert certificate.verdict == "undecided"
    assert certificate.phases.keys() == {"free"}
    assert "nothing covers the phases of beta=+0.5" in certificate.reason


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"inputs": np.zeros(3)}, r"has shape \(3,\); give one row of 1 numbers or more"),
        ({"inputs": np.zeros((0, 1))}, r"has shape \(0, 1\)"),
        ({"inputs": np.zeros((2, 3))}, r"has shape \(2, 3\)"),
        ({"inputs": np.array([[np.nan]])}, "a number in row 0 that is not finite"),
        ({"inputs": lambda: direp.Between(1, 0)}, "entry 0 goes from 1 down to 0"),
        ({"inputs": lambda: direp.Between(0, np.nan)}, r"Between\(high=...\).* not finite"),
        ({"inputs": lambda: direp.Between([0, 1], [1, 2])}, "give one number, or 1: one for each input"),
        ({"inputs": lambda: direp.Between([0, 1], [1, 2, 3])}, "have 2 and 3 entries"),
        ({"start": lambda: direp.Between(0, 1)}, "needs inputs="),
        ({"inputs": np.zeros((1, 1)), "start": lambda: direp.Between(0, 2)}, r"outside the neuron's box \[0, 1\]"),
        ({"inputs": np.zeros((1, 1)), "start": (0, 1)}, r"start=...\) is a tuple; give a box of states"),
        ({"inputs": np.zeros((1, 1)), "start": lambda: direp.Between([0, 0, 0], 1)}, "or 2: one for each free unit"),
        ({"inputs": np.zeros((1, 1)), "x": np.zeros((1, 1))}, "leave x out"),
    ],
)
def test_wrong_use_is_said_in_one_line(how, said):
    with pytest.raises(ValueError, match=said) as caught:
        direp.certify(pair(direp.Projected()), **{k: v() if callable(v) else v for k, v in how.items()})
    assert "\n" not in str(caught.value)


def test_the_command(tmp_path):
    weight = np.zeros((3, 3))
    weight[0, 1:], weight[1, 2], weight[2, 1] = 1, 6, 6
    np.savez(tmp_path / "m.npz", weight=weight, leak=np.ones(2), bias=np.full(2, 9.0), inputs=1)
    how = ("certify", tmp_path / "m.npz", "--neuron", "rate", "--activation", "tanh", "--no-figures")
    code, out, _ = call(*how, "--input-range", "-1", "1", "--json")
    assert code == 0
    within = json.loads(out)["convergence"]["within"]
    assert within["share"] == 1
    assert within["inputs"] == {"low": [-1.0], "high": [1.0]}
    assert within["enters"] < 30
    code, out, _ = call(*how, "--input-range", "-1", "1")
    assert "once a trajectory is in the absorbing box" in out
    for wrong, said in (
        (("--input-range", "1", "-1"), "is no range"),
        (("--inputs", "data"), "only a run folder has training samples"),
        (("--inputs", "data", "--input-range", "0", "1"), "give one of them"),
    ):
        code, _, err = call(*how, *wrong)
        assert code == 2
        assert said in err
