"""A short campaign of the certificates of learning; and that the campaign notices a library that is wrong."""

import dataclasses
import sys
from pathlib import Path

import jaxtyping
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent / "campaigns"))
from learning import chunk
from learning_draw import DROWNED, GRAPHS, Kind, draw
from learning_judge import Judge, finite_differences

import direp
from direp.certificates.learning import descent, directions, stored, structure


@pytest.fixture(autouse=True)
def _unchecked():
    """Shapes are checked in the other tests; here that would take longer than all the rest."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


KINDS = [
    Kind("one layer", "projected", "identity", "signed", 2, centred=False),
    Kind("two hidden", "projected", "identity", "none", 2, centred=True),
    Kind("random 4+2", "rate", "tanh", "absolute", 4, centred=False),
    Kind("complete 4+1", "hopfield", "sigmoid", "none", 1, centred=False),
    Kind("one layer, skips", "rate", "sigmoid", "none", 4, centred=True),
    Kind("complete 4+1", "rate", "tanh", "absolute", 2, centred=False, control="leak"),
    Kind("two outputs", "projected", "identity", "none", 2, centred=False, control="leak, blind"),
    DROWNED,
]


@pytest.mark.parametrize("number", range(len(KINDS)))
def test_no_verdict_is_wrong(number):
    counts, wrong = chunk((11, number, KINDS[number], 24))
    assert wrong == []
    assert counts["not settled by the oracle"] + counts["no sample settled"] < 4
    assert counts[f"as run, {KINDS[number].family}: proved"] > 7
    assert counts["T1 equivalence"] > 12
    assert counts["small steps"] > 10
    assert counts["steps up to eta*"] > 30
    assert counts["steps of the run"] > 10


def test_all_verdicts_occur():
    counts, wrong = chunk((3, 0, Kind("complete 4+1", "projected", "identity", "none", 2, centred=False), 120))
    assert wrong == []
    for name in ("as run, plain: proved", "as run, plain: refuted",
                 "T1 every direction: proved", "T1 every direction: refuted",
                 "T3 output errors: proved", "T3 output errors: refuted", "T4 closed form: proved",
                 "T5 structural balance: proved", "T6 detailed balance: proved"):  # fmt: skip
        assert counts[name] > 0, name


def _flipped(original):
    """A sign that is wrong."""
    swap = {"proved": "refuted", "refuted": "proved", "undecided": "undecided"}
    return lambda ball: swap[original(ball)]


def _answering_only(original):
    """Errors at saturated units forgotten."""

    def init(self, samples, units):
        original(self, samples, [chosen[s.responsive[chosen]] for s, chosen in zip(samples, units, strict=True)])

    return init


def _half(original):
    def angle(samples):
        step = original(samples)
        return dataclasses.replace(step, value=step.value / 2) if step.value else step

    return angle


def _last_first(original):
    """Every sample gets the verdict of another."""

    def each(self):
        said = original(self)
        return tuple(dataclasses.replace(b, index=a.index) for a, b in zip(said, said[::-1], strict=True))

    return each


def _always(original):
    return lambda network: dataclasses.replace(original(network), proved=True)


# what is broken -> where, the kind of network, how
PLAIN = ("complete 4+1", "projected", "identity", "none")
BROKEN = {
    "a wrong sign": (descent, "_sign", PLAIN, _flipped),
    "samples mixed up": (descent._Judged, "each", PLAIN, _last_first),
    "everything is definite": (directions, "_definite", PLAIN, lambda original: lambda form: True),
    "half the angle": (directions, "_angle", PLAIN, _half),
    "balance without signs": (structure, "balance", PLAIN, lambda original: lambda weight: np.ones(len(weight))),
    "gains without loops": (structure, "gains", PLAIN, lambda original: lambda weight: np.array([1] * len(weight))),
    "no cross terms of the outflow": (
        direp.certificates.learning.linear.Sample, "back", ("complete 4+1", "projected", "identity", "signed"),
        lambda original: lambda self, rate, drive: 0 * rate,
    ),
    "errors of saturated units forgotten": (
        directions.Directions, "__init__", ("random 7+1", "rate", "hard-sigmoid", "signed"), _answering_only
    ),
    "pairs that need no inequality": (descent, "pairs", ("one layer", "projected", "identity", "signed"), _always),
    "a closed form without bias": (
        directions, "_squares", ("two hidden", "projected", "identity", "none"),
        lambda original: lambda sample: (original(sample)[0] * 0, original(sample)[1]),
    ),
}  # fmt: skip


def _further(original):
    return lambda *arguments: 5 * original(*arguments)


def _forgotten(original):
    return lambda self, *arguments: original(self, *arguments) and None


# The same for steps: what is broken -> where, the kind, how.
STEPS = {
    "steps five times too long": (descent, "reach", Kind(*PLAIN, 2, centred=False), _further),
    "leaks that stay": (
        stored.Stored, "leak_slopes",
        Kind("complete 4+1", "rate", "tanh", "none", 2, centred=False, control="leak, blind"), _forgotten,
    ),
    "another gradient": (
        stored.Stored, "of", DROWNED,
        lambda original: lambda network, gradient, *more: original(
            network, gradient._replace(bias=-gradient.bias), *more
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STEPS)
def test_a_library_with_wrong_steps_is_caught(name, monkeypatch):
    place, attribute, kind, broken = STEPS[name]
    monkeypatch.setattr(place, attribute, broken(getattr(place, attribute)))
    assert chunk((3, 0, kind, 16))[1]


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_library_is_caught(name, monkeypatch):
    place, attribute, kind, broken = BROKEN[name]
    monkeypatch.setattr(place, attribute, broken(getattr(place, attribute)))
    _, wrong = chunk((3, 0, Kind(*kind, 2, centred=False), 16))
    assert wrong


def test_the_oracle_agrees_with_finite_differences():
    rng = np.random.default_rng(0)
    for number, kind in enumerate(KINDS):
        graph = GRAPHS[kind.graph]()
        net, x, y, _ = draw(kind, graph, np.random.default_rng((1, number)))
        start = net.settle(x, y)
        judge = Judge(net, x, y, start, rng)
        finite_differences(judge)
        assert judge.wrong == []
