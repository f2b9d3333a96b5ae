"""Some chunks of the campaign of `campaigns/attack.py`, and lies that its judge must catch."""

import dataclasses
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import direp
from direp.settling import CONVERGED, MAX_STEPS

sys.path.insert(0, str(Path(__file__).parent / "campaigns"))
from attack import attack
from attack_control import keeps
from attack_draw import NEURONS, ROWS, Pencil
from attack_judge import WIDE, Nudge, equilibria, in_reach, unsettled
from attack_phases import responses
from attack_report import Report
from attack_verdicts import contracts, cost_of, judge_of, same

TIGHT = 1e-9


@pytest.fixture(autouse=True)
def _unchecked():
    jaxtyping.config.update("jaxtyping_disable", True)
    with np.errstate(all="ignore"):
        yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.parametrize("neuron", NEURONS[::3], ids=lambda n: "-".join(map(str, n[:3])))
def test_judge_and_library_have_the_same_field(neuron):
    """Two implementations, written apart, of the field, the box, the nudge and the Jacobian."""
    drawn = Pencil(np.random.default_rng(1), neuron, "six").draw("plain")
    network, y = drawn.network(np.float64), np.full((ROWS, 2), [0.3, 0.7])
    sharpness = 2.0 * (NEURONS.index(neuron) % 2)
    net = drawn.net(network, drawn.x).under(Nudge(-0.7, y.astype(WIDE), sharpness))
    field, cost = network.field(jnp.asarray(drawn.x)), cost_of(sharpness)
    nudged = direp.Nudged(field, cost, jnp.asarray(y), jnp.asarray(-0.7))
    state = nudged.clip(jnp.asarray(drawn.state + 0.01))
    s, flow = np.asarray(state, WIDE), nudged.flow(state, nudged.drive(state))
    assert (np.abs(net.field(s) - np.asarray(flow)) <= net.rounding(s, 2.3e-16)).all()
    assert (net.held(s, net.field(s)) == np.asarray(nudged.held(state, flow))).all()
    step = 1e-6 * (1 + np.abs(s))
    inner = np.asarray(s) + 1e-3
    for unit in range(net.free):
        move = np.where(np.arange(net.free) == unit, step, 0)
        slope = (net.field(inner + move) - net.field(inner - move)) / (2 * step[:, unit : unit + 1])
        near = np.abs(net.jacobian(inner)[:, :, unit] - slope) <= 1e-4 * (1 + np.abs(slope))
        assert near.mean() > 0.95  # not where a step crosses a corner


def drawn_judge(family="plain", neuron=NEURONS[0], graph="four", seed=3, nudges=None):
    drawn = Pencil(np.random.default_rng(seed), neuron, graph).draw(family)
    place = {"kind": "settle", "seed": seed, "chunk": 0, "network": 0}
    judge = judge_of(place, Report(), drawn, np.float64, nudges)
    assert judge is not None
    assert judge.proved
    return judge


def told(judge, state, result=CONVERGED, error=None):
    """What a settling might report."""
    rows = len(state)
    return SimpleNamespace(
        state=np.asarray(state, np.float64), result=np.full(rows, result), steps=np.zeros(rows, int), error=error,
        converged=np.full(rows, result == CONVERGED), residual=np.zeros(rows),
    )  # fmt: skip


def found(judge):
    return {what: count for (_, what), count in judge.report.violated.items()}


@pytest.mark.parametrize("neuron", [NEURONS[0], NEURONS[13], NEURONS[31]], ids=lambda n: n[1])
def test_a_state_outside_its_bar_is_caught(neuron):
    for share, caught in ((0.9, False), (1.1, True)):
        judge = drawn_judge(neuron=neuron)
        truth = judge.truth
        assert truth is not None
        assert truth.found.all()
        bar = np.full(truth.state.shape, 1e-12) * (1 + np.abs(truth.state))
        settled = told(judge, truth.state + share * bar, error=bar)
        judge.bars(settled, settled.state, truth, {})
        assert found(judge) == ({"outside its bar": ROWS} if caught else {})
        assert judge.report.ratios


def test_a_sample_reported_converged_too_early_is_caught():
    judge = drawn_judge()
    truth = judge.truth
    assert truth is not None
    judge.judge(told(judge, truth.state), judge.net, truth, TIGHT, TIGHT, True, "")
    assert not found(judge)
    # One slow unit, hidden behind large terms of the others.
    moved = np.asarray(truth.state, np.float64).copy()
    unit = int(np.argmin(np.asarray(judge.net.total)))
    moved[:, unit] = np.where(moved[:, unit] > 0.5, moved[:, unit] - 1e-6, moved[:, unit] + 1e-6)
    judge.judge(told(judge, moved), judge.net, truth, TIGHT, TIGHT, True, "")
    assert found(judge)["too early"] > ROWS / 2


def test_what_is_proved_and_does_not_settle_is_caught_within_reach_of_rounding():
    judge = drawn_judge()
    judge.judge(told(judge, judge.truth.state, MAX_STEPS), judge.net, judge.truth, TIGHT, TIGHT, True, "")
    assert found(judge) == {"not settled": ROWS}
    assert not in_reach(judge.net, judge.truth.state, 1e-17, 1e-17, judge.eps, judge.tiny).any()
    assert (unsettled(judge.net, judge.truth.state, 0.0, 0.0, judge.eps, judge.tiny) <= 0).all()


@pytest.mark.parametrize(
    ("family", "neuron", "seed"),
    [("plain", 4, 3), ("plain", 22, 5), ("uneven", 0, 4), ("symmetric", 0, 3), ("rotation", 4, 3)],
)
def test_a_rate_that_is_too_high_is_caught(family, neuron, seed):
    judge = drawn_judge(family, NEURONS[neuron], "pair", seed)
    for factor, caught in ((1, False), (2, True)):
        certificate = dataclasses.replace(judge.certificate, rate=factor * judge.certificate.rate)
        lying = dataclasses.replace(judge, certificate=certificate, report=Report())
        for k in range(12):
            contracts(lying, np.random.default_rng(k), [judge.net])
        assert found(lying).keys() == ({"wrong proof"} if caught else set())


def test_a_nudge_of_which_nothing_is_left_is_caught():
    judge = drawn_judge()
    y = np.full((ROWS, 1), 3.0, WIDE)
    free = judge.truth
    nudged = equilibria(judge.net.under(Nudge(1e-3, y)), free.state)
    used = np.ones(ROWS, bool)
    for state in (nudged.state, free.state):
        run = SimpleNamespace(free=told(judge, free.state), nudged=[told(judge, state)])
        responses(judge, used, run, free, [nudged])
    assert set(found(judge)) == {"lost response"}
    assert found(judge)["lost response"] <= ROWS  # of the second phase alone


def test_mates_and_margins_are_compared():
    judge = drawn_judge()
    one = told(judge, judge.truth.state)
    two = told(judge, judge.truth.state + np.where(np.arange(ROWS)[:, None] == 4, 1e-9, 0))
    same(judge, one, two, np.arange(ROWS) != 4, "")
    assert not found(judge)
    same(judge, one, two, np.arange(ROWS) == 4, "")
    keeps(judge, judge.network, -1e3, "")
    assert found(judge) == {"mates": 1}
    keeps(judge, judge.network, 100.0, "")
    assert found(judge) == {"mates": 1, "left its set": 1}


TURNING = ("rotation", "uneven")
CHUNKS = ((TURNING, 44, np.float64), (("settle",), 44, np.float32), (("phases",), 0, np.float32))


def test_seams_hold_in_a_short_campaign():
    report = Report()
    with threadpool_limits(1):
        for kind, chunk, precision in CHUNKS:
            report.add(attack(0, chunk, kind, 1 if kind == ("phases",) else 2, (precision,)))
    assert not report.violated, [{k: v[k] for k in ("what", "kind", "chunk", "network")} for v in report.saved]
    assert report.total > 500
    assert report.counts["proved"] > report.counts["networks"] / 2
    assert report.counts["bars"] > 100
    assert report.counts["not found"] < report.total / 20


def test_a_violation_can_be_run_again():
    judge = drawn_judge()
    judge.judge(told(judge, judge.truth.state, MAX_STEPS), judge.net, judge.truth, TIGHT, TIGHT, True, "")
    (saved,) = judge.report.saved
    assert np.array_equal(saved["weight"], judge.drawn.weight)
    assert {"seed", "chunk", "network", "row", "x", "start", "neuron", "graph", "precision"} <= saved.keys()
    assert jax.tree.leaves(saved)
