"""From a trained network to answers: in Python, from a run folder, on the command line."""

import csv
import functools
import io
import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from program import call, untold

import direp
from direp import tasks
from direp.program.commands.predict import Predict, _told
from direp.runs import read_back, write_arrays

pytestmark = pytest.mark.usefixtures("_optax")
_KEPT = tempfile.TemporaryDirectory()


@functools.cache
def people():
    """A CSV of 400 rows with words, gaps, and a label that age and city decide."""
    rng, count = np.random.default_rng(0), 400
    frame = pd.DataFrame({"age": rng.normal(40, 10, count), "city": rng.choice(["Rome", "Oslo", "Lima"], count)})
    frame["buys"] = np.where((frame.age > 40) ^ (frame.city == "Oslo"), "yes", "no")
    frame["spends"] = 1000 * frame.age + 20_000 * (frame.city == "Rome")
    frame.loc[::17, "age"] = np.nan
    frame.loc[::13, "city"] = None
    path = Path(_KEPT.name) / "people.csv"
    frame.to_csv(path, index=False)
    return path, frame


@functools.cache
def trained(target, seeds="0"):
    folder = Path(_KEPT.name) / f"{target}-{seeds}"
    other = "spends" if target == "buys" else "buys"
    code, out, err = call(
        "train", people()[0], "--target", target, "--drop", other, "--hidden", "8", "--epochs", "40", "--out", folder,
        "--seeds", seeds, "--json", "--bias", "0.3",
    )  # fmt: skip
    assert code == 0, err
    return folder, json.loads(out), err


def table(text):
    rows = list(csv.reader(io.StringIO(text)))
    return pd.DataFrame(rows[1:], columns=rows[0])


def test_a_csv_is_trained_on_and_new_rows_are_answered_as_in_python(tmp_path):
    path, frame = people()
    folder, summary, err = trained("buys")
    assert "people: classification of buys (2 classes) from 2 columns; rows: 279 to train on" in err
    scores = summary["scores"]
    assert scores["accuracy"] == pytest.approx(summary["test"]["accuracy"])
    assert scores["balanced_accuracy"] > 0.8
    assert sum(each["samples"] for each in scores["classes"].values()) == 60
    fresh = tmp_path / "new.csv"
    frame[["city", "age"]].head(30).to_csv(fresh, index=False)
    code, out, err = call("predict", folder, fresh)
    assert code == 0
    found, answers = table(out), direp.load(folder).predict(frame.head(30))
    assert list(found.columns) == ["buys", "P(no)", "P(yes)", "settled", "error"]
    assert found.buys.tolist() == answers.value.tolist()
    assert found["P(yes)"].astype(float).tolist() == answers.probability[:, 1].tolist()
    assert found.error.astype(float).tolist() == answers.error.tolist()
    assert (found.settled == "yes").all()
    assert "30 rows, 0 unsettled, outputs at most" in err
    assert "gaps were filled as in training: age (2), city (3)" in err
    _, out, err = call("predict", folder, path, "--json", "--out", tmp_path / "answers.json")
    document = json.loads((tmp_path / "answers.json").read_text())
    assert document["rows"] == 400
    assert untold("predict", document) == []
    right = np.mean(np.array(document["predictions"]["buys"]) == frame.buys)
    assert f"right {right:.2%}" in err
    assert out == ""


def test_errors_of_predictions_are_bounds():
    _, frame = people()
    run = direp.load(trained("buys")[0])
    answers = run.predict(frame)
    exact = direp.settle(
        run.networks[0].astype(np.float64), run.preparation.inputs.encode(tasks.arrow(frame)).astype(np.float32),
        stop=direp.Tolerance(1e-13, 1e-13),
    )  # fmt: skip
    away = np.abs(np.asarray(exact.rate)[:, -2:] - answers.outputs).max(1)
    assert (away <= answers.error).all()
    assert answers.error.max() < 0.01


def test_errors_of_rates_that_are_steeper_than_states_are_bounds():
    steep = direp.Activation("steep", lambda u: jnp.tanh(6 * u), (-1, 1), (0.0, 6.0))
    graph = direp.Graph(2, 0, 1, np.array([0, 1]), np.array([2, 2]), bias=False)
    network = direp.Network(graph, direp.Hopfield(steep), np.array([[0, 0, 0.05], [0, 0, 0.05], [0, 0, 0]]), leak=1.0)
    rows, certificate = np.random.default_rng(0).normal(size=(50, 2)), direp.certify(network)
    coarse, exact = (
        direp.predict(network, rows, method=direp.Euler(0.05), stop=direp.Tolerance(tol, tol), certificate=certificate)
        for tol in (1e-2, 1e-13)
    )
    away = np.abs(coarse.value - exact.value)
    assert (away <= coarse.error + exact.error).all()
    assert (away > 0.9 * coarse.error).any()


@pytest.mark.parametrize(("part", "change"), [
    ("targets", {"classes": ["q"]}),
    ("targets", {"classes": [["no"], ["yes"]]}),
    ("targets", {"kind": "nonsense"}),
    ("targets", {"scale": [1.0, 2.0, 3.0]}),
    ("inputs", {"scale": [0.0]}),
    ("inputs", {"columns": [{"name": "age", "fill": 0.0, "categories": []}]}),
    ("inputs", {"columns": [{"name": "age", "fill": "x", "categories": ["a", "b", "c", "d", "e"]}]}),
])  # fmt: skip
def test_a_preparation_that_is_not_of_the_network_is_unreadable(part, change, tmp_path):
    folder = shutil.copytree(trained("buys")[0], tmp_path / "run")
    held = folder / "weights.safetensors"
    metadata, arrays = read_back(held, "weights", "direp 2", ())
    kept = json.loads(metadata["preparation"])
    assert direp.load(folder).preparation is not None
    kept[part] |= change
    held.unlink()
    metadata = {name: text for name, text in metadata.items() if name != "sha256"}
    write_arrays(held, arrays, metadata | {"preparation": json.dumps(kept)})
    with pytest.raises(ValueError, match="does not tell in a known way"):
        direp.load(folder)


def test_a_regression_speaks_in_the_units_of_its_target():
    _, frame = people()
    folder, summary, err = trained("spends")
    assert "regression of spends" in err
    assert summary["scores"]["targets"]["spends"]["r2"] > 0.7
    assert summary["scores"]["targets"]["spends"]["mae"] < 6000
    answers = direp.load(folder).predict(frame)
    assert 20_000 < np.median(answers.value) < 80_000
    assert answers.probability is None
    code, out, err = call("predict", folder, people()[0])
    assert code == 0
    assert table(out).spends.astype(float).tolist() == answers.value.tolist()
    assert "spends: R2 0." in err


def test_of_several_seeds_the_best_by_validation_answers_unless_another_is_named():
    _, frame = people()
    folder, summary, _ = trained("buys", "3..5")
    scores = [(-each["validation"]["accuracy"], each["validation"]["loss"]) for each in summary["per_seed"]]
    best = 3 + scores.index(min(scores))
    run = direp.load(folder)
    assert run.chosen == best
    assert (run.predict(frame).outputs == run.predict(frame, seed=best).outputs).all()
    assert (run.predict(frame, seed=3 + (best - 2) % 3).outputs != run.predict(frame).outputs).any()
    _, out, err = call("predict", folder, people()[0], "--json")
    assert json.loads(out)["seed"] == best
    assert f"by seed {best}, the best on validation samples" in err


def test_the_data_need_not_be_there_to_predict(tmp_path):
    path, frame = people()
    moved = tmp_path / "moved.csv"
    moved.write_bytes(path.read_bytes())
    folder = tmp_path / "run"
    same = ("--target", "buys", "--drop", "spends", "--hidden", "8", "--bias", "0.3", "--epochs", "40")
    assert call("train", moved, *same, "--quiet", "--out", folder)[0] == 0
    moved.unlink()
    answers = direp.load(folder).predict(frame.head(3))
    assert len(answers) == 3
    assert call("predict", folder, path, "--quiet")[2] == ""


def test_truth_values_are_answered_and_compared_as_in_training(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"age": rng.normal(40, 10, 100), "member": rng.random(100) < 0.5})
    frame.assign(buys=frame.member & (frame.age > 30)).to_csv(path := tmp_path / "people.csv", index=False)
    folder = tmp_path / "run"
    assert call("train", path, "--target", "buys", "--epochs", "1", "--quiet", "--out", folder)[0] == 0
    code, out, err = call("predict", folder, path)
    assert code == 0, err
    assert table(out).buys.tolist() == [str(value) for value in direp.load(folder).predict(frame).value]
    lower = _text(tmp_path / "lower.csv", path.read_text().replace("True", "true").replace("False", "false"))
    assert call("predict", folder, lower) == (code, out, err)


@pytest.mark.parametrize("name", ["settled", "error", "P(yes)"])
def test_a_target_of_any_name_is_answered(tmp_path, name):
    _, frame = people()
    path, folder = tmp_path / "people.csv", tmp_path / "run"
    frame[["city", "buys"]].rename(columns={"buys": name}).to_csv(path, index=False)
    assert call("train", path, "--target", name, "--epochs", "1", "--quiet", "--out", folder)[0] == 0
    code, out, err = call("predict", folder, path)
    assert code == 0, err
    found = table(out)
    assert sorted(found) == sorted({name, f"{name}_", "settled", "error", "P(yes)", "P(no)"})
    assert found[name].tolist() == direp.load(folder).predict(frame).value.tolist()


def test_a_label_in_one_column_each_is_answered_by_name(tmp_path):
    _, frame = people()
    path, folder = tmp_path / "people.csv", tmp_path / "run"
    marks = pd.get_dummies(frame.city.fillna("Rome"), dtype=int)[["Rome", "Lima", "Oslo"]]
    marks.assign(east=marks.Rome + 0.5 * marks.Lima).to_csv(path, index=False)
    code, out, err = call(
        "train", path, "--target", *marks, "--epochs", "20", "--hidden", "8", "--bias", "0.3", "--out", folder
    )
    assert code == 0, err
    assert "right 100.00%" in out
    code, out, err = call("predict", folder, path)
    assert "against the targets in the file: right 100.00%" in err
    assert table(out).prediction.tolist() == frame.city.fillna("Rome").tolist()


def test_rows_without_a_target_are_answered_and_not_compared(tmp_path):
    folder = trained("buys")[0]
    some = _text(tmp_path / "some.csv", "age,city,buys\n50,Rome,yes\n30,Rome,\n")
    none = _text(tmp_path / "none.csv", "age,city,buys\n50,Rome,\n30,Rome,\n")
    code, out, err = call("predict", folder, some)
    assert code == 0, err
    assert "against the targets in the file (1 of 2 rows): right 100.00%" in err
    found, same, err = call("predict", folder, none)
    assert (found, same) == (0, out)
    assert "against" not in err


def _text(path, content):
    path.write_text(content)
    return path


def test_what_a_table_may_hold_unseen_is_told(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=120), "b": rng.normal(size=120)})
    frame["y"] = frame.a + frame.b
    frame.loc[:2, "b"] = 1e9
    frame.to_csv(tmp_path / "odd.csv", index=False)
    pd.concat([frame[5:]] * 2).to_csv(tmp_path / "twice.csv", index=False)
    how = ("--target", "y", "--epochs", "1", "--hidden", "4")
    code, _, err = call("train", tmp_path / "odd.csv", *how, "--out", tmp_path / "one")
    assert code == 0
    assert "column 'b' holds a few values beside which all others are alike" in err
    assert "test rows stand in the training part" not in err
    code, _, err = call("train", tmp_path / "twice.csv", *how, "--out", tmp_path / "two")
    assert "test rows stand in the training part too" in err
    assert "holds a few values" not in err


def test_wrong_use_gets_one_line(tmp_path):
    path, _ = people()
    folder = trained("buys")[0]
    one = _text(tmp_path / "one.csv", "age\n1\n")
    word = _text(tmp_path / "word.csv", "age,city\n1,Rome\nold,Rome\n")
    for arguments, code, message in (
        (("predict",), 2, "two arguments"),
        (("predict", folder), 2, "a file of rows after the run folder"),
        (("predict", folder, tmp_path / "no.csv"), 3, "no.csv does not exist"),
        (("predict", folder, one), 2, "column 'city' is missing"),
        (("predict", folder, word), 3, "word.csv: column 'age' holds 'old' in row 2; the network was trained on"),
        (("predict", folder, path, "--out", path), 2, "exists already"),
        (("predict", folder, path, "--seed", "7"), 2, "seed 7 is not of this run"),
        (("predict", tmp_path, path), 3, "no run folder"),
        (("predict", path, folder), 2, f"the run folder comes first: direp predict {folder} {path}"),
        (("train", path), 2, "--target is missing: name the column"),
        (("train", path, "--target", "bys"), 2, "did you mean 'buys'"),
        (("train", path, "--target", "age"), 2, "'age' is missing in 24 of 400 rows, first in row"),
        (("train", path, "--target", "spends", "--cost", "cross-entropy"), 2, "use --cost squared"),
        (("train", tmp_path / "people"), 2, "task"),
        (("train", path.with_suffix("")), 2, "did you mean"),
    ):
        found, out, err = call(*arguments)
        assert (found, out) == (code, ""), (arguments, err)
        assert message in err
        assert err.count("\n") == 1


def test_a_network_that_is_not_proved_to_settle_is_told_with_its_answers():
    _, frame = people()
    run, rows = direp.load(trained("buys")[0]), tasks.arrow(frame.head(4))
    found = run.predict(rows)
    bounded, bare = (_told(run, Predict(), each, rows, None)[0] for each in (found, replace(found, error=None)))
    assert "at most" in bounded
    assert "not proved" not in bounded
    assert bare == "4 rows, 0 unsettled; it is not proved to settle, so that no error is bounded"
