"""A sweep trains what is missing and nothing else, whatever ends on the way; it chooses by validation figures alone."""

import contextlib
import csv
import json
import sys
import threading
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest
from matplotlib.figure import Figure
from program import call

import direp
from direp.plot.style import save
from direp.program.figures.sweep import sweep_figure
from direp.program.presets import preset
from direp.program.sweep import run as sweeps
from direp.program.sweep.spec import spec_of
from direp.program.sweep.trials import folder_of, mark, state_of, summary_of
from direp.program.sweep.work import train_block
from direp.program.sweep.workers import Crew, InProcess
from direp.runs import RunFolder

GRID = {"task": "digits", "seeds": "0..1", "grid": {"beta": [1.0, 2.0, 4.0], "learning_rate": [0.01, 0.1]}}


def whole(folder, spec=GRID):
    """Every trial of the spec is there once, as a whole, and nothing else."""
    document = json.loads((folder / "results.json").read_text())
    names = [entry["trial"] for entry in document["trials"]]
    assert len(set(names)) == len(names)
    assert {path.name for path in (folder / "trials").iterdir()} == set(names)
    assert not [*(folder / "trials").glob("*/lock"), *(folder / "trials").glob("*/*.part")]
    for name in names:
        summary = summary_of(folder / "trials" / name)
        assert summary is None or summary["run"] == str(folder / "trials" / name)
    return document


def test_a_sweep_trains_every_trial_once_and_again_none(trainer, tmp_path):
    found = direp.sweep(GRID, tmp_path / "sweep")
    assert sorted(trainer.trained) == [(b, r, "0..1") for b in (1.0, 2.0, 4.0) for r in (0.01, 0.1)]
    document = whole(tmp_path / "sweep")
    assert document == found.document
    again = direp.sweep(GRID, tmp_path / "sweep")
    assert len(trainer.trained) == 6
    assert again.document == found.document
    assert repr(again) == f"Sweep({tmp_path / 'sweep'}, 6 trials: 6 done)"
    assert again.table() == (tmp_path / "sweep" / "table.md").read_text()


def test_an_extended_sweep_trains_what_is_new_and_one_that_shrank_shows_what_is_left(trainer, tmp_path):
    direp.sweep(GRID, tmp_path)
    wider = {**GRID, "grid": {**GRID["grid"], "beta": [1, 2, 4, 8]}}
    document = direp.sweep(wider, tmp_path).document
    assert sorted(trainer.trained[6:]) == [(8.0, 0.01, "0..1"), (8.0, 0.1, "0..1")]
    assert len(document["trials"]) == 8
    fewer = {**GRID, "grid": {"beta": [2.0], "learning_rate": [0.1]}}
    document = direp.sweep(fewer, tmp_path).document
    assert (len(trainer.trained), len(document["trials"])) == (8, 1)
    assert len(list((tmp_path / "trials").iterdir())) == 8


@pytest.mark.parametrize("at", range(6))
def test_an_interrupted_sweep_goes_on_where_it_was(at, trainer, tmp_path):
    def interrupts(settings):
        if len(trainer.trained) == at:
            raise KeyboardInterrupt
        return "done"

    trainer.hook = interrupts
    with pytest.raises(KeyboardInterrupt):
        direp.sweep(GRID, tmp_path / "one")
    assert json.loads((tmp_path / "one" / "results.json").read_text())["counts"]["done"] == at
    trainer.hook = lambda settings: "done"
    found = direp.sweep(GRID, tmp_path / "one")
    assert len(trainer.trained) == len(set(trainer.trained)) == 6
    whole(tmp_path / "one")
    other = direp.sweep(GRID, tmp_path / "other")
    assert [entry["trial"] for entry in found.document["trials"]] == [e["trial"] for e in other.document["trials"]]
    assert found.document["candidates"] == other.document["candidates"]


def test_training_that_was_interrupted_itself_is_missing_and_gone_on_with(trainer, tmp_path):
    trainer.hook = lambda settings: "interrupted"
    with pytest.raises(KeyboardInterrupt):
        direp.sweep(GRID, tmp_path)
    assert len(trainer.trained) == 1
    assert [state_of(folder) for folder in (tmp_path / "trials").iterdir()] == ["missing"]
    trainer.hook = lambda settings: "done"
    assert direp.sweep(GRID, tmp_path).document["counts"]["done"] == 6


def test_the_command_tells_what_is_in_and_goes_on(trainer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text("task = 'digits'\n[grid]\nbeta = [1, 2, 4]\n")

    def interrupts(settings):
        if settings.beta == 4:
            raise KeyboardInterrupt
        return "done"

    trainer.hook = interrupts
    code, out, err = call("sweep", "mine.toml", "--quiet")
    assert code == 130
    assert "interrupted; 2 of 3 trials are in" in err
    assert "| 1 | 2 |" in out
    code, out, _ = call("sweep", "mine.toml", "--status")
    assert (code, out) == (0, "3 trials: 2 done, 0 failed, 0 refused, 0 running, 1 missing\n")
    trainer.hook = lambda settings: "done"
    code, out, err = call("sweep", "runs/sweep-mine", "--json", "--quiet")
    assert (code, err) == (0, "")
    assert json.loads(out) == json.loads((tmp_path / "runs" / "sweep-mine" / "results.json").read_text())
    assert len(trainer.trained) == 3


def test_selection_is_by_validation_and_no_other_test_figure_is_told(trainer, tmp_path):
    found = direp.sweep(GRID, tmp_path)
    assert found.chosen["settings"] == {"beta": 2.0, "learning_rate": 0.01}
    assert found.chosen["test"]["accuracy"]["mean"] == pytest.approx(0.0105)  # the worst of all
    means = [each["validation"]["accuracy"]["mean"] for each in found.document["candidates"]]
    assert means == sorted(means, reverse=True)
    low, high = found.chosen["validation"]["loss"]["interval"]
    assert low == pytest.approx(0.01)
    assert high == pytest.approx(0.011)
    document = {**found.document, "chosen": None}
    assert '"test"' not in json.dumps(document)
    rows = [*csv.DictReader((tmp_path / "results.csv").read_text().splitlines())]
    assert not [name for name in rows[0] if "test" in name]
    assert [(row["beta"], row["learning_rate"]) for row in rows][:2] == [("1.0", "0.01"), ("1.0", "0.1")]
    assert rows[0]["seeds_trained"] == "2"
    table = (tmp_path / "table.md").read_text()
    assert table.count("test samples") == 1
    assert "looked at for this one alone: accuracy 1.05%" in table
    by_loss = direp.sweep({**GRID, "objective": "validation_loss"}, tmp_path)
    assert by_loss.document["candidates"][0]["trials"] == found.chosen["trials"]


def test_seeds_that_are_trials_of_their_own_are_one_candidate(trainer, tmp_path):
    spec = {"task": "digits", "grid": {"beta": [1, 2], "seeds": "3..5"}}
    found = direp.sweep(spec, tmp_path)
    assert len(found.document["trials"]) == 6
    assert [each["seeds"] for each in found.document["candidates"]] == [3, 3]
    assert found.chosen["settings"] == {"beta": 2.0}
    assert len(found.chosen["runs"]) == 3
    together = direp.sweep({"task": "digits", "seeds": "3..5", "grid": {"beta": [1, 2]}}, tmp_path / "together")
    for name in ("accuracy", "loss"):
        one, other = (each.chosen["validation"][name] for each in (found, together))
        assert one["mean"] == pytest.approx(other["mean"])
        assert one["interval"] == pytest.approx(other["interval"])


def test_failures_are_listed_with_their_reason_and_tried_again_where_asked(trainer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text("task = 'digits'\n[grid]\nbeta = [1, 2, 4, 8]\nbeta_end = ['none', 1, -1]\n")

    def fails(settings):
        if settings.beta == 2:
            raise MemoryError("no\nroom")
        return "failed" if settings.beta == 8 else "done"

    trainer.hook = fails
    code, out, _ = call("sweep", "mine.toml", "--quiet")
    assert code == 0
    document = whole(tmp_path / "runs" / "sweep-mine")
    assert document["counts"] == {"trials": 12, "done": 4, "failed": 4, "refused": 4, "running": 0, "missing": 0}
    reasons = {(e["settings"]["beta"], e["settings"]["beta_end"]): e.get("reason") for e in document["trials"]}
    assert reasons[1.0, None] is None
    assert reasons[1.0, -1.0] == "--beta-end -1.0 must have the sign of --beta 1.0 and not be 0"
    assert reasons[2.0, None] == "MemoryError: no room"
    assert reasons[8.0, 1.0] == "training diverged"
    assert "(beta 2, beta_end none): MemoryError: no room" in out
    assert {each["settings"]["beta"] for each in document["candidates"]} == {1.0, 4.0}
    trained, trainer.hook = len(trainer.trained), lambda settings: "done"
    assert call("sweep", "mine.toml", "--quiet")[0] == 0
    assert len(trainer.trained) == trained
    assert call("sweep", "mine.toml", "--quiet", "--retry")[0] == 0
    assert {beta for beta, *_ in trainer.trained[trained:]} == {2.0}
    status = call("sweep", "mine.toml", "--status", "--json")[1]
    assert json.loads(status)["counts"]["failed"] == 2
    trainer.hook = lambda settings: "failed"
    code, _, err = call("sweep", "mine.toml", "--quiet", "--out", tmp_path / "other")
    assert code == 4
    assert "every trial failed or was refused" in err


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("summary.json", {}), ("summary.json", {"validation": 3}), ("status.json", {"given_up": True}),
        ("status.json", {"given_up": True, "state": [1]}),
    ],
)  # fmt: skip
def test_a_trial_whose_files_say_nothing_is_missing(name, content, trainer, tmp_path):
    found = direp.sweep(GRID, tmp_path)
    folder = tmp_path / "trials" / found.document["trials"][0]["trial"]
    (folder / name).write_text(json.dumps(content))
    assert state_of(folder) == "missing"
    assert direp.sweep(GRID, tmp_path).document["counts"]["done"] == found.document["counts"]["done"]


def test_a_result_stays_whoever_comes_late(trainer, tmp_path):
    found = direp.sweep(GRID, tmp_path)
    folder = tmp_path / "trials" / found.document["trials"][0]["trial"]
    before = (folder / "summary.json").read_text()
    mark(folder, "failed", "late")
    assert state_of(folder) == "done"
    assert (folder / "summary.json").read_text() == before
    train_block(str(tmp_path), [json.loads(json.dumps(preset("digits").to_dict()))] * 3)
    assert len(trainer.trained) == len(list((tmp_path / "trials").iterdir())) == 7


def test_a_trial_that_somebody_is_at_is_running_and_waited_for(trainer, tmp_path):
    direp.sweep({**GRID, "grid": {"beta": [1.0]}}, tmp_path)
    summary = next(tmp_path.glob("trials/*/summary.json")).read_text()
    settings = preset("digits")
    folder = folder_of(tmp_path, settings)
    began, went_on = threading.Event(), threading.Event()

    def slow(asked):
        began.set()
        went_on.wait(10)
        return "done"

    def other():
        with RunFolder(folder, {"settings": {}}) as held:
            slow(settings)
            (folder / "summary.json").write_text(summary)
            held.tell("done")

    thread = threading.Thread(target=other)
    thread.start()
    began.wait(10)
    assert state_of(folder) == "running"
    mark(folder, "failed", "not while somebody is at it")
    threading.Timer(0.3, went_on.set).start()
    train_block(str(tmp_path), [settings.to_dict()])
    thread.join()
    assert state_of(folder) == "done"
    assert len(trainer.trained) == 1  # the other one


def test_two_sweeps_of_one_folder_at_the_same_time_train_nothing_twice(trainer, tmp_path):
    trainer.hook = lambda settings: time.sleep(0.02) or "done"
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda _: direp.sweep(GRID, tmp_path), range(2))
    assert len(set(trainer.trained)) == len(trainer.trained) == 6
    assert one.document == other.document == whole(tmp_path)


def test_threads_share_out_the_trials(trainer, tmp_path):
    with ThreadPoolExecutor(4) as pool:
        spec = {"task": "digits", "grid": {"beta": [1, 2, 4], "seeds": "0..19"}}
        direp.sweep(spec, tmp_path, executor=pool)
    assert len(set(trainer.trained)) == len(trainer.trained) == 60
    whole(tmp_path)


class Breaking(Executor):
    """Workers that end: `deadly` says at which settings. A broken one takes nothing more."""

    def __init__(self, deadly, error, lasting):
        self.deadly, self.error, self.lasting, self.broken = deadly, error, lasting, False

    def submit(self, fn, /, folder, block):
        future = Future()
        if self.broken:
            raise self.error
        for settings in block:
            if self.deadly(settings):
                self.broken = not self.lasting
                future.set_exception(self.error)
                return future
            fn(folder, [settings])
        future.set_result(None)
        return future


class KilledWorker(Exception):
    """As that of Dask, which says so by its name."""


@pytest.mark.parametrize(("error", "lasting"), [(BrokenProcessPool("x"), False), (KilledWorker("x"), True)])
def test_a_trial_that_ends_its_worker_is_given_up_and_no_other_one(error, lasting, trainer, tmp_path):
    opened = []

    def workers():
        opened.append(Breaking(lambda settings: settings["beta"] == 2.0, error, lasting))
        return contextlib.nullcontext(Crew(opened[-1], 2, 2))

    spec = spec_of({"task": "digits", "grid": {"beta": [1, 2, 4], "seeds": "0..2"}})
    found = sweeps.run_sweep(spec, tmp_path, workers)
    assert sorted(trainer.trained) == [(b, 0.02, str(s)) for b in (1.0, 4.0) for s in (0, 1, 2)]
    failed = [entry for entry in found.document["trials"] if entry["state"] == "failed"]
    assert [entry["settings"]["beta"] for entry in failed] == [2.0] * 3
    assert {entry["reason"] for entry in failed} == {
        "its worker ended 3 times while it trained it, perhaps for want of memory"
    }
    whole(tmp_path)


def test_workers_that_end_now_and_then_cost_nothing_but_time(trainer, tmp_path):
    chance = np.random.default_rng(0)

    def workers():
        broken = Breaking(lambda settings: chance.random() < 0.2, BrokenProcessPool("x"), False)
        return contextlib.nullcontext(Crew(broken, 2, 2))

    spec = spec_of({"task": "digits", "grid": {"beta": [1, 2, 4], "seeds": "0..9"}})
    found = sweeps.run_sweep(spec, tmp_path, workers)
    assert len(set(trainer.trained)) == len(trainer.trained) == found.document["counts"]["done"]
    assert found.document["counts"]["done"] >= 28  # three times in a row is rare


def test_a_lost_scheduler_ends_the_sweep_in_words(trainer, tmp_path):
    class Lost(InProcess):
        def submit(self, fn, /, *arguments):
            if len(trainer.trained) < 3:
                return super().submit(fn, *arguments)
            future = Future()
            future.cancel()
            return future

    with pytest.raises(ConnectionError, match="the scheduler is lost: the same command goes on"):
        direp.sweep(GRID, tmp_path, executor=Lost())
    assert json.loads((tmp_path / "results.json").read_text())["counts"]["done"] == 3
    broken = Breaking(lambda settings: True, BrokenProcessPool("x"), False)
    with pytest.raises(ConnectionError, match="the executor is broken"):
        direp.sweep(GRID, tmp_path, executor=broken)


def test_a_worker_that_does_not_see_the_folder_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"is not there on .*: whoever trains must see the sweep's folder"):
        train_block(str(tmp_path / "elsewhere"), [])


def test_workers_with_other_files_are_found_out(trainer, tmp_path, monkeypatch):
    monkeypatch.setattr("direp.program.sweep.work.folder_of", lambda sweep, settings: sweep / "trials" / "other")
    found = direp.sweep({"task": "digits", "grid": {"beta": [1]}}, tmp_path)
    assert "are the files and modules that it names the same there?" in found.document["trials"][0]["reason"]


def test_without_its_extra_a_sweep_names_it(trainer, tmp_path, monkeypatch):
    for name in ("optuna", "distributed"):
        monkeypatch.setitem(sys.modules, name, None)
    (tmp_path / "s.toml").write_text("task='digits'\n[search]\ntrials = 2\nbeta = [1, 2]\n")
    code, _, err = call("sweep", tmp_path / "s.toml", "--out", tmp_path / "out")
    assert (code, err) == (2, "direp: [search] needs Optuna: pip install 'direp[search]', or draw by [random]\n")
    (tmp_path / "d.toml").write_text("task='digits'\n")
    code, _, err = call("sweep", tmp_path / "d.toml", "--out", tmp_path / "out", "--scheduler", "x", "--quiet")
    assert (code, err) == (2, "direp: --scheduler needs Dask: pip install 'direp[cluster]'\n")


@pytest.mark.parametrize(
    "grid",
    [
        {"beta": [1, 2], "rule": ["local", "adjoint"], "hidden": [4, [4, 4]], "margin": ["none", 0.1], "dale": [True]},
        {"learning_rate": list(np.geomspace(1e-3, 1, 12)), "epochs": list(range(1, 11))},
        {"seeds": "0..5"},
        {},
    ],
)
def test_the_figure_has_a_panel_a_setting(grid, trainer, tmp_path):
    seeds = {} if "seeds" in grid else {"seeds": "0..1"}
    found = direp.sweep({"task": "digits", **seeds, "grid": grid}, tmp_path)
    figure = sweep_figure(found.document)
    assert isinstance(figure, Figure)
    labels = [axis.get_xlabel() for axis in figure.axes]
    assert labels == ([name.replace("_", " ") for name in grid] if set(grid) - {"seeds"} else ["seed"])
    for axis in figure.axes:
        if axis.get_xlabel() == "learning rate":
            assert axis.get_xscale() == "log"
        if axis.get_xlabel() == "margin":
            assert {tick.get_text() for tick in axis.get_xticklabels()} == {"0.1", "none"}
    save(figure, tmp_path / "figure.png")
