"""Who takes a rule that cannot reach hidden units on its graph is told before the training."""

import json

import jax
import numpy as np
import pytest
from program import call

import direp
from direp.program.advice import misfit
from direp.program.commands.train import parse_train

ONE_WAY = direp.Graph.random(2, 6, 1, density=0.4, reciprocity=0.0)


def test_the_program_says_so_and_records_it(tmp_path):
    folder, graph = tmp_path / "run", ("--graph", "random", "--density", "0.3", "--reciprocity", "0")
    code, _, err = call("train", "iris", "--rule", "local", "--hidden", "16", *graph, "--epochs", "1", "--out", folder)
    told = json.loads((folder / "summary.json").read_text())["misfit"]
    assert code == 0
    assert "100% of synapses between free units have no way back" in told
    assert told in " ".join(err.split())


@pytest.mark.parametrize(
    ("graph", "rule", "told"),
    [
        (direp.Graph.layered([2, 4, 4, 1]), direp.Local(beta=0.1), "2 layers"),
        (direp.Graph.layered([2, 4, 1]), direp.Local(beta=0.1), None),
        (ONE_WAY, direp.Adjoint(), None),
        (ONE_WAY, direp.AsymEP(beta=0.1, feedback=direp.FixedFeedback()), None),
    ],
)
def test_only_rules_without_a_channel_on_graphs_that_need_one(graph, rule, told):
    network = direp.Network(graph, direp.Rate("tanh"), key=jax.random.key(0), leak=9.0, dtype=np.float64)
    found = misfit(network, rule, direp.tasks.gate("xor"), direp.SquaredError(), jax.random.key(0))
    assert (found is None) if told is None else (told in found)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (("digits", "--graph", "random"), {"graph": "random", "rule": "asym-ep", "feedback": "learned"}),
        (("iris", "--hidden", "8", "4"), {"hidden": (8, 4), "rule": "asym-ep", "feedback": "learned"}),
        (("digits", "--graph", "small-world", "--rule", "local"), {"rule": "local", "feedback": "shared"}),
        (("digits", "--graph", "random", "--preset", "default"), {"graph": "random", "rule": "local"}),
        (("digits", "--hidden", "32"), {"rule": "local"}),
        (("xor", "--graph", "random"), {"rule": "local", "density": 0.5}),
    ],
)
def test_a_kind_of_graph_brings_the_preset_that_suits_it(typed, expected):
    settings, *_ = parse_train(list(typed))
    assert {name: getattr(settings, name) for name in expected} == expected
