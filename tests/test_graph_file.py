"""Graphs from files on the command line: what a run keeps of them, what it refuses, and how they are certified."""

import json
import shutil

import numpy as np
import pytest
from program import call

import direp
from direp.program.build import Parts
from direp.program.catalogue import WrongUse
from direp.program.commands.train import parse_train
from direp.program.graph_file import network_from_graph_file
from direp.program.presets import preset
from direp.program.run_folder import open_run
from direp.program.settings import Settings
from direp.runs import Unreadable

pytestmark = pytest.mark.usefixtures("_optax")
WORM = """source,target,weight,sign,role,fixed
right,,,,sensory,
RIA,,,-1,,
motor,,,,read-out,
left,,,1,sensory,
AIY,,,1,,
left,AIY,0.5,,,
left,RIA,0.25,,,1
right,AIY,-1.5,,,
right,RIA,2,,,
RIA,motor,-0.75,,,
AIY,motor,1,,,
motor,AIY,0.125,,,
AIY,AIY,0.5,,,
"""
OPTIONS = ["--rule", "asym-ep", "--feedback", "learned", "--control", "weights", "--leak", "1", "--outflow", "none"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of two seeds on a graph from a file, the file itself gone; what was said."""
    folder = tmp_path_factory.mktemp("worm")
    (folder / "worm.csv").write_text(WORM)
    code, out, err = call(
        "train", "xor", "--graph", folder / "worm.csv", "--init", "file", "--weight-scale", "0.5", "--dale",
        "--weight-bounds", "-0.4", "2", "--fixed", "--seeds", "0..1", "--epochs", "30", *OPTIONS, "--json",
        "--out", folder / "run",
    )  # fmt: skip
    assert code == 0
    (folder / "worm.csv").unlink()
    return folder / "run", json.loads(out), err


def test_a_run_keeps_signs_bounds_and_the_file_of_its_graph(trained):
    folder, document, said = trained
    assert document["certificate"]["verdict"] == "proved"
    assert "1 synapse from a unit to itself is folded into the leak (rounded down)" in said
    assert (folder / "graph.csv").read_text() == WORM
    run = open_run(folder)
    assert run.settings.graph == str(folder / "graph.csv")
    connectome = run.parts.connectome
    assert connectome.graph.names == ("right", "left", "RIA", "AIY", "motor")
    dale, bounds, fixed = run.parts.constraints
    assert (dale.signs.tolist(), bounds.high, fixed.fixed.nonzero()[0].tolist()) == ([0, 0, 1, 1, -1, 1, 0], 2.0, [2])
    begun = run.parts.started()[0]
    assert np.asarray(begun.leak).tolist() == [1, 0.5, 1]
    wanted = np.clip(0.5 * connectome.strength, -0.4, 2)
    wanted[-2] = 0.4  # what the leak that is left can hold, less the margin
    assert np.allclose(begun.strengths(), wanted, rtol=1e-5)
    for network in run.networks:
        strengths = np.asarray(network.strengths(), np.float64)
        assert (strengths * connectome.sign >= 0).all()
        assert ((strengths >= -0.4) & (strengths <= 2)).all()
        assert strengths[2] == 0.125
        assert (strengths != np.asarray(begun.strengths())).any()
        again = direp.Connectome.from_wiring(connectome.updated(network).wiring())
        assert again.weight.tobytes() == strengths.tobytes()
    settings, *_ = parse_train(["--config", str(folder / "config.json")])
    assert settings == run.settings
    code, out, _ = call("certify", folder, "--json", "--starts", "0", "--samples", "1", "--no-figures")
    document = json.loads(out)
    assert (code, document["convergence"]["verdict"]) == (0, "proved")
    said = " ".join(document["learning"]["assumptions"])
    assert "with signs that are kept with synapses that stay with weights that are clipped" in said


def test_a_run_whose_graph_was_changed_or_lost_is_refused(trained, tmp_path):
    folder = shutil.copytree(trained[0], tmp_path / "run")
    (folder / "graph.csv").write_text(WORM.replace("0.75", "0.7"))
    for command in (("certify", folder), ("train", "--config", folder / "config.json")):
        code, _, err = call(*command)
        assert (code, err.count("\n")) == (3, 1)
        assert "graph.csv was altered: its content is not that of the sha256" in err
    (folder / "graph.csv").unlink()
    with pytest.raises(Unreadable, match=r"the file of its graph, 'graph.csv', is not beside it"):
        open_run(folder)


def test_a_refused_run_leaves_no_copy(tmp_path):
    (tmp_path / "worm.csv").write_text(WORM)
    wrong = ["--weight-bounds", "0.1", "1", "--out", tmp_path / "run", "--quiet"]
    code, _, err = call("train", "xor", "--graph", tmp_path / "worm.csv", *OPTIONS, *wrong)
    assert (code, err.count("\n")) == (2, 1)
    assert "WeightProjection scales weights towards 0, which Bounds exclude (0.1 to 1): use LeakController" in err
    assert [path.name for path in tmp_path.iterdir()] == ["worm.csv"]


def test_settings_on_a_file_begin_from_the_random_preset_where_the_task_has_it():
    settings, *_ = parse_train(["digits", "--graph", "some.graphml", "--dale"])
    assert (settings.rule, settings.feedback) == ("asym-ep", "learned") == (
        preset("digits", "random").rule, preset("digits", "random").feedback,
    )  # fmt: skip
    assert settings.dale
    assert not settings.own()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--graph", "nowhere.graphml"], 3, "nowhere.graphml does not exist"),
        (["--graph", "none.csv"], 3, "none.csv names no inputs"),
        (["--graph", "worm.csv", "--hidden", "3"], 2, "--hidden is that of the graph in worm.csv: leave it out"),
        (["--init", "file"], 2, "--init file takes the weights of the graph's file, and the graph is complete"),
        (["--weight-bounds", "2", "1"], 2, "--weight-bounds 2.0 1.0 is no range of finite numbers"),
        (["--weight-bounds", "-inf", "1"], 2, "is no range of finite numbers"),
        (["--preset", "guaranteed", "--dale"], 2, "sign-symmetric keeps signs and sizes by itself"),
        (["--fixed"], 2, "--fixed is about synapses of the graph's file, and the graph is complete"),
        (["--graph", "worm.txt"], 2, "worm.txt"),
        (
            ["--graph", "worm.csv", "--neuron", "rate"],
            2,
            "AIY -> AIY is a synapse from a unit to itself, and with Rate",
        ),
    ],
)
def test_wrong_use_is_one_line(arguments, code, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "worm.csv").write_text(WORM)
    (tmp_path / "none.csv").write_text("source,target\na,b\n")
    got, out, err = call("train", "xor", *arguments, "--quiet")
    assert (got, out, err.count("\n")) == (code, "", 1)
    assert message in err
    assert len(list(tmp_path.iterdir())) == 2


def test_a_file_must_have_the_inputs_and_outputs_of_the_task(tmp_path):
    (tmp_path / "worm.csv").write_text(WORM)
    settings = Settings(task="four.npz", graph=str(tmp_path / "worm.csv"))
    task = direp.tasks.from_arrays(np.random.default_rng(0).random((30, 4)), np.arange(30) % 3)
    with pytest.raises(WrongUse, match=r"has 2 units of the role input, and four.npz needs 4"):
        Parts(settings, task)


def test_a_file_is_certified_with_its_own_leaks_or_those_asked_for(tmp_path):
    path = tmp_path / "worm.csv"
    path.write_text(WORM)
    out = {}
    for leak in ("0.5", "20"):
        code, text, said = call("certify", path, "--leak", leak, "--json", "--no-figures", "--starts", "0")
        assert "worm.csv: 1 synapse from a unit to itself is folded into the leak" in said
        out[leak] = (code, json.loads(text)["convergence"]["verdict"])
    assert out == {"0.5": (5, "undecided"), "20": (0, "proved")}
    code, _, err = call("certify", path, "--leak", "-1")
    assert (code, err.count("\n")) == (2, 1)
    made = direp.Connectome.from_csv(path).network(direp.Projected(), leak=[3.0, 4.0, 5.0])
    made.to_graphml(tmp_path / "worm.graphml")
    again, said = network_from_graph_file(tmp_path / "worm.graphml", direp.Projected(), 1.0)
    assert said is None  # in the leaks that were written
    assert np.asarray(again.leak).tolist() == [3, 3.5, 5]
    path.write_text("source,target,weight\na,b,2\nb,a,-1\n")
    driven, _ = network_from_graph_file(path, direp.Projected(), 1.0)
    assert driven.graph.names == ("current into a", "current into b", "a", "b")
    assert np.asarray(driven.matrix).tolist() == [[1, 0], [0, 1], [0, 2], [-1, 0]]
    code, _, err = call("certify", tmp_path / "nowhere.csv")
    assert (code, err) == (3, f"direp: {tmp_path / 'nowhere.csv'} does not exist\n")
