"""Trials that are trained for real: the bits of one do not depend on others, nor on what ended before."""

import dataclasses
import json
import shutil

import pytest
from program import call, untold

import direp
from direp.program import record as recording
from direp.program.record import How, record
from direp.program.sweep import run as sweeps
from direp.program.sweep.spec import spec_of
from direp.program.sweep.trials import reason_of, state_of
from direp.program.sweep.work import train_block
from direp.program.sweep.workers import processes
from direp.runs import CHECKPOINT, WEIGHTS, RunFolder, read_back
from direp.training import loop

pytestmark = pytest.mark.usefixtures("_optax")
XOR = {"task": "xor", "preset": "small", "settings": {"epochs": 25, "hidden": 2}}
GRID = {**XOR, "grid": {"beta": [1, 6], "seeds": "0..3"}}
ALONE = {**GRID, "settings": {**XOR["settings"], "lanes": "none"}}


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """The folders of two sweeps: one whose trials are lanes of one program, one whose trials are not."""
    made = {}

    def of(spec):
        lanes = spec is GRID
        if lanes not in made:
            made[lanes] = tmp_path_factory.mktemp("sweep")
            assert direp.sweep(spec, made[lanes]).document["counts"]["done"] == 8
        return made[lanes]

    return of


def networks(run):
    metadata, arrays = read_back(run / WEIGHTS, "file", "direp 2", ())
    return metadata, {name: array.tobytes() for name, array in arrays.items()}


def alike(one, other):
    """Two sweeps have the same trials, to the bit."""
    names = sorted(path.name for path in (one / "trials").iterdir())
    assert names == sorted(path.name for path in (other / "trials").iterdir())
    for name in names:
        mine, its = one / "trials" / name, other / "trials" / name
        assert state_of(mine) == state_of(its) == "done"
        assert networks(mine) == networks(its)
        assert (mine / "metrics.jsonl").read_bytes() == (its / "metrics.jsonl").read_bytes()
    assert not [*(one / "trials").glob("*/lock"), *(one / "trials").glob("*/*.part")]


@pytest.mark.parametrize("spec", [GRID, ALONE], ids=["lanes", "alone"])
def test_a_trial_is_the_run_that_direp_train_makes(spec, swept, tmp_path):
    runs = sorted((swept(spec) / "trials").iterdir())
    for run in runs[::4]:
        settings = direp.load(run).settings
        assert (settings.lanes is None) == (spec is ALONE)
        summary = record(settings, tmp_path / run.name, How(show=False, formats=())).summary
        assert networks(run) == networks(tmp_path / run.name)
        assert (run / "metrics.jsonl").read_bytes() == (tmp_path / run.name / "metrics.jsonl").read_bytes()
        one, other = (read_back(r / CHECKPOINT, "file", "direp checkpoint 1", ()) for r in (run, tmp_path / run.name))
        assert one[0] == other[0]
        assert {name: a.tobytes() for name, a in one[1].items()} == {name: a.tobytes() for name, a in other[1].items()}
        own = json.loads((run / "summary.json").read_text())
        for kept in (own, summary):
            del kept["seconds"], kept["run"]
        assert own == json.loads(json.dumps(direp.runs.plain(summary)).replace(str(tmp_path / run.name), str(run)))


def test_the_command_ranks_and_draws(tmp_path):
    (tmp_path / "s.toml").write_text(
        "task='xor'\npreset='small'\nseeds='0..1'\n[settings]\nepochs=5\n[grid]\nhidden=[2]\nbeta=[1, 6]\n"
    )
    code, out, _ = call("sweep", tmp_path / "s.toml", "--quiet", "--json", "--out", tmp_path / "out", drawn=True)
    assert code == 0
    document = json.loads(out)
    assert document["all_patterns"]
    told = (document, document["counts"], document["chosen"], *document["candidates"], *document["trials"])
    assert untold("Results", *told, page="howto/sweeps.md") == []
    assert (tmp_path / "out" / "sweep.png").stat().st_size > 5000
    assert "the task has no others" in (tmp_path / "out" / "table.md").read_text()
    assert direp.load(document["chosen"]["runs"][0]).settings.epochs == 5


def test_processes_of_this_machine_train_what_one_does(swept, tmp_path):
    """The tests' programs are compiled without optimisations, those of other processes with them: no equal bits."""
    found = sweeps.run_sweep(spec_of(GRID), tmp_path, processes(1)).document
    other = sweeps.status(spec_of(GRID), swept(GRID)).document
    for mine, its in zip(found["trials"], other["trials"], strict=True):
        assert (mine["trial"], mine["state"]) == (its["trial"], "done")
        assert mine["validation"]["loss"] == pytest.approx(its["validation"]["loss"], rel=1e-3)


def test_the_trial_of_a_killed_worker_goes_on_from_its_checkpoint(swept, tmp_path, monkeypatch):
    """What a kill leaves is the folder as it is between two writes: here after the first checkpoint."""
    whole = swept(ALONE)
    run = next((whole / "trials").iterdir())
    left, sweep = tmp_path / "left", tmp_path / "sweep"
    save = RunFolder.save

    def snapshot(folder, name, *content):
        done = save(folder, name, *content)
        if name == CHECKPOINT and not left.exists():
            shutil.copytree(folder.path, left)
        return done

    settings = direp.load(run).settings
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "save", snapshot)
        record(settings, tmp_path / "other", How(show=False, formats=()))
    assert (left / "lock").exists()
    (sweep / "trials").mkdir(parents=True)
    shutil.copy(whole / "spec.json", sweep)
    shutil.copytree(left, sweep / "trials" / run.name)
    assert state_of(sweep / "trials" / run.name) == "missing"
    began, train = [], loop.train_epochs
    monkeypatch.setattr(
        loop, "train_epochs", lambda plan, now, *rest: began.append(now.epoch) or train(plan, now, *rest)
    )
    train_block(str(sweep), [settings.to_dict()])
    assert began == [10]
    assert networks(sweep / "trials" / run.name) == networks(run)


def _stale(run):
    """What may be left of a trial, in its folder."""
    config, checkpoint = (run / "config.json").read_bytes(), (run / CHECKPOINT).read_bytes()
    status = json.dumps({"state": "done", "reason": None, "pid": 1, "host": "x"}).encode()
    lock = json.dumps({"host": "x", "pid": 1, "since": ""}).encode()
    return [
        {},
        {"lock": b""},
        {"lock": b"", "config.json.part": b"{"},
        {"config.json": config, "log.txt": b"", "metrics.jsonl": b'{"epoch": 1'},
        {"config.json": config[:-9], CHECKPOINT: checkpoint},
        {"config.json": config, CHECKPOINT: checkpoint[:-9], "summary.json": b"{"},
        {CHECKPOINT: checkpoint[:99], "status.json": status},
        {"config.json": config, CHECKPOINT: checkpoint, "status.json": status.replace(b"done", b"failed"), "x": lock},
    ]


@pytest.mark.parametrize("spec", [GRID, ALONE], ids=["lanes", "alone"])
def test_whatever_is_left_of_a_trial_is_taken_up(spec, swept, tmp_path):
    whole = swept(spec)
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    runs = sorted((tmp_path / "trials").iterdir())
    kinds = [_stale(run)[k] for k, run in enumerate(runs)]
    for run, files in zip(runs, kinds, strict=True):
        shutil.rmtree(run)
        run.mkdir()
        for name, content in files.items():
            (run / name).write_bytes(content)
        assert state_of(run) == "missing"
    direp.sweep(spec, tmp_path)
    alike(tmp_path, whole)


def test_one_that_fails_takes_no_other_of_its_block_with_it(swept, tmp_path, monkeypatch):
    kept = recording._kept

    def fails(folder, parts, *rest):
        if parts.settings.beta == 1 and parts.settings.seeds == "2":
            raise MemoryError("no room")
        return kept(folder, parts, *rest)

    monkeypatch.setattr(recording, "_kept", fails)
    found = direp.sweep(GRID, tmp_path)
    (failed,) = [entry for entry in found.document["trials"] if entry["state"] == "failed"]
    assert (failed["reason"], failed["seeds"]) == ("MemoryError: no room", "2")
    assert found.document["counts"]["done"] == 7
    monkeypatch.undo()
    direp.sweep(GRID, tmp_path, retry=True)
    alike(tmp_path, swept(GRID))


def test_an_interrupted_block_leaves_nothing_behind(swept, tmp_path, monkeypatch):
    monkeypatch.setattr("direp.training.train_together", lambda *_: None)
    with pytest.raises(KeyboardInterrupt):
        direp.sweep(GRID, tmp_path)
    assert not [*(tmp_path / "trials").iterdir()]
    run = next((swept(GRID) / "trials").iterdir())
    refused = dataclasses.replace(direp.load(run).settings, neuron="nonesuch")
    train_block(str(tmp_path), [refused.to_dict()])
    (left,) = (tmp_path / "trials").iterdir()
    assert (state_of(left), [path.name for path in left.iterdir()]) == ("refused", ["status.json"])
    assert "nonesuch" in reason_of(left)
