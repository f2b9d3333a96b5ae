"""Who takes a rule that cannot reach hidden units on its graph is told before the training."""

import dataclasses
import json
import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from program import call

import direp
from direp.program.advice import dead_units, faint, misfit
from direp.program.build import Parts, load_task
from direp.program.commands.train import parse_train
from direp.program.presets import PRESETS, preset

ONE_WAY = {"graph": "random", "hidden": (8,), "density": 0.3, "reciprocity": 0.0}


def test_the_program_says_so_and_records_it(tmp_path):
    folder, graph = tmp_path / "run", ("--graph", "random", "--density", "0.3", "--reciprocity", "0")
    code, _, err = call("train", "iris", "--rule", "local", "--hidden", "16", *graph, "--epochs", "1", "--out", folder)
    told = json.loads((folder / "summary.json").read_text())["misfit"]
    assert code == 0
    assert "100% of synapses between free units have no way back" in told
    assert told in " ".join(err.split())


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"graph": "layered", "hidden": (4, 4)}, "2 layers"),
        ({"graph": "layered", "hidden": (4,)}, None),
        ({**ONE_WAY, "rule": "adjoint"}, None),
        ({**ONE_WAY, "rule": "asym-ep", "feedback": "fixed"}, None),
    ],
)
def test_only_rules_without_a_channel_on_graphs_that_need_one(settings, told):
    chosen = dataclasses.replace(preset("iris"), precision="float64", **settings)
    found = misfit(Parts(chosen, load_task(chosen)))
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


def test_a_rule_that_teaches_hidden_units_nothing_is_told():
    source = [0, 1, 0, 1, 2, 3, 4, 2, 3]
    target = [2, 2, 3, 4, 3, 4, 2, 5, 5]  # inputs, a ring, one output that sends nothing back
    parts = Parts(dataclasses.replace(preset("xor", "small"), hidden=(3,)), load_task(preset("xor")))
    parts._graph = direp.Graph(2, 3, 1, np.array(source), np.array(target))
    assert "Local teaches hidden units nothing" in (misfit(parts) or "")


def test_a_response_near_the_precision_is_said_before_the_first_epoch_and_recorded(tmp_path):
    folder = tmp_path / "run"
    options = ("--preset", "small", "--beta", "1e-5", "--tolerance", "1e-3", "--epochs", "1")
    code, _, err = call("train", "xor", *options, "--out", folder)
    told = json.loads((folder / "summary.json").read_text())["faint"]
    assert code == 0
    assert told in " ".join(err.split())
    enough = re.search(r"--beta (\S+) or more, or --precision float64", told)
    assert enough
    for cure in ({"beta": float(enough[1])}, {"precision": "float64"}):
        chosen = dataclasses.replace(preset("xor", "small"), **{"beta": 1e-5, "tolerance": 1e-3, **cure})
        assert faint(Parts(chosen, load_task(chosen))) is None


def test_the_nudge_that_is_named_does_where_little_of_the_response_is_left():
    chosen = dataclasses.replace(preset("iris"), hidden=(8,), beta=1e-6)
    enough = re.search(r"--beta (\S+) or more", faint(Parts(chosen, load_task(chosen))) or "")
    assert enough
    assert faint(Parts(dataclasses.replace(chosen, beta=float(enough[1])), load_task(chosen))) is None


def test_dead_outputs_are_advised_by_what_the_rule_has():
    dead = {"dead": np.zeros((1, 1)), "dead_outputs": np.ones((1, 1))}
    for name, lift, cure in (
        ("local", False, "a stronger nudge (--beta)"),
        ("adjoint", False, "--lift"),
        ("bptt", False, "--rule dyadic --lift"),
    ):
        chosen = dataclasses.replace(preset("xor", "small"), rule=name, lift=lift)
        rule = Parts(chosen, load_task(chosen)).rule
        run: Any = SimpleNamespace(history=dead, seeds=(0,), rules=[rule])
        assert dead_units(run, chosen)["advice"].endswith(f"no gradient: {cure} pulls them off")


def test_no_preset_has_a_faint_response():
    for task in ("xor", "digits", "wine"):
        for name in PRESETS[task]:
            chosen = preset(task, name)
            assert faint(Parts(chosen, load_task(chosen))) is None
    for task, own in PRESETS.items():
        assert all(settings["beta"] >= 0.1 for settings in own.values()), task
