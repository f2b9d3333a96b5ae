"""A run folder whose disk, lock or listener fails on the way: nothing ends for it, and what is told stays true."""

import contextlib
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from unittest import mock

import jax
import optax
import pytest
from program import call, finished, signalled

import direp
from direp.runs import CHECKPOINT, WEIGHTS, Held, RunFolder, Unreadable, read_back
from direp.runs.lock import Lock

pytestmark = pytest.mark.usefixtures("_optax")
SMALL = ("xor", "--preset", "small", "--quiet")


def _fit(folder, epochs=30, **more):
    graph = direp.Graph.complete(inputs=2, hidden=3, outputs=1)
    network = direp.Network(graph, direp.Projected(), leak=1.0, key=jax.random.key(0))
    how = {"rule": direp.Local(), "optimiser": optax.adam(0.05), "checkpoint": 0.0}
    return direp.fit(network, direp.tasks.xor(), epochs=epochs, folder=folder, **how, **more)


def _state(folder):
    return json.loads((folder / "status.json").read_text())


def _full(*args, **kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_what_does_not_read_back_as_it_was_written_ends_no_training(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with mock.patch("direp.runs.files.read_back", side_effect=Unreadable("it is damaged")), pytest.raises(Unreadable):
        _fit(tmp_path / "run")  # and there is no other place
    assert "checkpoint.safetensors cannot be written (it is damaged); training goes on" in capsys.readouterr().err
    assert _state(tmp_path / "run")["epoch"] == 30
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert len(_fit(tmp_path / "run").history["loss"]) == 30


def test_a_run_that_is_refused_leaves_its_lock_whatever_cannot_be_removed(tmp_path):
    with (
        mock.patch("pathlib.Path.unlink", side_effect=PermissionError), pytest.raises(RuntimeError, match="refused"),
        RunFolder(tmp_path, {"settings": {}}) as folder,
    ):  # fmt: skip
        raise RuntimeError("refused")
    assert not folder._lock.held
    with mock.patch("os.pwrite", _full), pytest.raises(OSError, match="No space"):
        Lock(tmp_path).take()
    lock = Lock(tmp_path)
    lock.take()
    lock.release()


def test_a_file_system_without_locks_is_no_other_process(tmp_path):
    with mock.patch("fcntl.flock", side_effect=OSError(errno.ENOLCK, "No locks available")):
        lock = Lock(tmp_path)
        lock.take()
        with pytest.raises(Held, match=f"process {os.getpid()} on "):  # by the time of its file
            Lock(tmp_path).take()
        os.utime(tmp_path / "lock", (0, 0))
        other = Lock(tmp_path)
        other.take()
        other.release()


def test_a_folder_that_is_made_again_is_locked_again_unless_it_is_another_run(tmp_path, capsys):
    path = tmp_path / "run"
    with RunFolder(path, {"settings": {}}) as folder:
        folder.start([])
        shutil.rmtree(path)
        folder.line({"epoch": 1})
        assert (path / "metrics.jsonl").read_text() == '{"epoch": 1}\n'
        with pytest.raises(Held):
            RunFolder(path)
        shutil.rmtree(path)
        with RunFolder(path, {"settings": {"of": "another"}}) as other:
            other.start([])
            folder.line({"epoch": 2})
            assert (path / "metrics.jsonl").read_text() == ""
        folder.line({"epoch": 3})  # it is over, and stays whole
        assert (path / "metrics.jsonl").read_text() == ""
        assert folder.finish(lambda place: None).name.startswith("run-rescued-")
    assert json.loads((path / "config.json").read_text())["settings"] == {"of": "another"}
    said = capsys.readouterr().err
    assert f"cannot be written ({path} is being written by process {os.getpid()} on " in said
    with pytest.raises(Held, match="holds another run by now"):
        RunFolder(path, {"settings": {}})


def test_an_interrupted_run_on_a_full_disk_goes_where_it_can_be_written(tmp_path, monkeypatch, capsys):
    home, put = tmp_path / "home", RunFolder.put
    home.mkdir()

    def fails(self, place, *content):
        if place == home / "run":
            _full()
        put(self, place, *content)

    def interrupted(self, content):
        if content["epoch"] == 3:
            signalled(signal.SIGTERM)

    monkeypatch.setattr(RunFolder, "put", fails)
    monkeypatch.setattr(RunFolder, "line", interrupted)
    code, _, err = call("train", *SMALL, "--epochs", "60", "--out", home / "run")
    assert code == 143
    (rescued,) = home.glob("run-rescued-*")
    assert f"the networks are in {rescued}" in err
    assert (rescued / WEIGHTS).exists()
    monkeypatch.undo()
    assert call("resume", rescued, "--quiet")[0] == 0
    assert _state(rescued)["epoch"] == 60


def test_a_run_that_was_rescued_is_not_done_where_it_was(tmp_path, monkeypatch):
    folder, put = tmp_path / "run", RunFolder.put
    arguments = (*SMALL, "--epochs", "4", "--out", folder)

    def fails(self, place, name, *content):
        if place == folder and name == WEIGHTS:
            _full()
        put(self, place, name, *content)

    monkeypatch.setattr(RunFolder, "put", fails)
    assert call("train", *arguments)[0] == 3
    assert _state(folder)["state"] == "interrupted"
    monkeypatch.undo()
    assert call("resume", folder, "--quiet")[0] == 0
    assert (folder / "summary.json").exists()


def test_a_status_that_could_not_be_written_is_written_the_next_time(tmp_path):
    with RunFolder(tmp_path, {"settings": {}}) as folder:
        with mock.patch("direp.runs.folder.write_json", _full):
            folder.tell("done", epoch=3)
        folder.tell("done", epoch=3)
        assert _state(tmp_path)["state"] == "done"


@pytest.mark.parametrize(("error", "state"), [(RuntimeError("no"), "error"), (KeyboardInterrupt(), "interrupted")])
def test_a_status_of_what_was_ended_by_an_error_has_the_last_epoch(error, state, tmp_path):
    with contextlib.suppress(BaseException), RunFolder(tmp_path, {"settings": {}}) as folder:
        folder.start([{"epoch": 1}, {"epoch": 2}])
        raise error
    told = _state(tmp_path)
    assert (told["state"], told["epoch"]) == (state, 2)


def test_messages_that_nobody_hears_end_nothing(tmp_path):
    code = """
import jax, optax, direp
graph = direp.Graph.complete(inputs=2, hidden=3, outputs=1)
network = direp.Network(graph, direp.Projected(), leak=1.0, key=jax.random.key(0))
how = dict(rule=direp.Local(), optimiser=optax.adam(0.05))
print(direp.fit(network, direp.tasks.xor(), epochs=10, progress=True, **how).status, flush=True)
import os; os._exit(0)
"""
    for arguments in (
        ["-c", code],
        ["-m", "direp", "train", *SMALL[:-1], "--epochs", "4", "--out", str(tmp_path / "run")],
    ):
        reading, writing = os.pipe()
        os.close(reading)
        process = subprocess.run([sys.executable, *arguments], stdout=-1, stderr=writing, check=False)
        os.close(writing)
        assert process.returncode == 0, arguments
        assert process.stdout
    assert _state(tmp_path / "run")["state"] == "done"


def test_a_request_in_the_last_epoch_of_a_rule_ends_the_comparison(tmp_path, monkeypatch):
    line = RunFolder.line

    def interrupted(self, content):
        line(self, content)
        if content["epoch"] == 4 and self.path.name.startswith("1-"):
            signalled(signal.SIGTERM)

    monkeypatch.setattr(RunFolder, "line", interrupted)
    folder = tmp_path / "compared"
    code, _, err = call("compare", *SMALL, "--rules", "local", "adjoint", "--epochs", "4", "--out", folder)
    assert code == 143
    assert "interrupted; 1 of 2 rules are in" in err
    assert not (folder / "2-adjoint").exists()


def test_an_interrupt_in_the_last_epoch_is_told_to_the_caller(tmp_path):
    def interrupts(number, row):
        if number == 30:
            os.kill(os.getpid(), signal.SIGINT)

    run = _fit(tmp_path / "run", callbacks=[interrupts])
    assert (run.status, len(run.history["loss"])) == ("interrupted", 30)
    assert _state(tmp_path / "run")["state"] == "interrupted"


def test_what_is_refused_changes_nothing_in_a_run(tmp_path):
    folder = tmp_path / "run"
    assert call("train", *SMALL, "--epochs", "4", "--out", folder)[0] == 0
    (folder / CHECKPOINT).write_bytes((finished()[0] / CHECKPOINT).read_bytes())
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "log.txt"}
    assert call("resume", folder, "--epochs", "8")[0] == 3
    after = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "log.txt"}
    assert {name for name in after if after[name] != before[name]} <= {"status.json"}


def test_a_run_does_not_go_on_with_other_data(tmp_path):
    table, folder = tmp_path / "table.csv", tmp_path / "run"
    rows = [f"{k},{(7 * k) % 5},{'yes' if k % 3 else 'no'}" for k in range(40)]
    table.write_text("\n".join(["a,b,c", *rows]))
    arguments = ("train", table, "--target", "c", "--hidden", "4", "--epochs", "2", "--quiet", "--out", folder)
    assert call(*arguments)[0] == 0
    table.write_text("\n".join(["a,b,c", *rows[::-1]]))
    code, _, err = call("resume", folder, "--epochs", "4", "--quiet")
    assert (code, err.count("\n")) == (3, 1)
    assert "is not that of the run" in err
    assert read_back(folder / CHECKPOINT, "checkpoint", "direp checkpoint 1", ())[0]["epoch"] == "2"


def test_a_run_in_which_every_seed_failed_and_that_was_killed_then_is_not_trained_on(tmp_path):
    folder = tmp_path / "run"
    never = ("--tolerance", "1e-9", "--max-steps", "1", "--method", "preconditioned", "--margin", "none")
    assert call("train", *SMALL, *never, "--epochs", "40", "--out", folder)[0] == 4
    metrics = (folder / "metrics.jsonl").read_bytes()
    (folder / "status.json").write_text('{"state": "running", "epoch": 10}')
    assert call("resume", folder, "--quiet")[0] == 4
    assert (folder / "metrics.jsonl").read_bytes() == metrics


def test_checkpoints_take_a_tenth_of_the_time_at_most(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    with RunFolder(tmp_path, {"settings": {}}) as folder:
        folder.start([])
        monkeypatch.setattr(folder, "put", lambda *_: now.__setitem__(0, now[0] + 7.0))
        folder.save(CHECKPOINT, {}, {})
        now[0] += 30
        assert not folder.due(30.0)
        assert folder.due(0.0)
        now[0] += 40
        assert folder.due(30.0)


def test_what_a_process_left_that_was_killed_as_it_began_is_begun_in(tmp_path):
    for name in ("fit", "train"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "lock").touch()
        (tmp_path / name / "config.json.part").touch()
    assert _fit(tmp_path / "fit").status == "done"
    assert call("train", *SMALL, "--epochs", "2", "--out", tmp_path / "train")[0] == 0
    (tmp_path / "fit" / "config.json").rename(tmp_path / "fit" / "mine.json")
    with pytest.raises(ValueError, match="holds something else"):
        _fit(tmp_path / "fit")


def test_the_number_of_devices_that_seeds_are_dealt_out_to_is_part_of_the_environment():
    environment = json.loads((finished()[0] / "config.json").read_text())["environment"]
    assert environment["devices"] == f"{jax.device_count()} x {jax.devices()[0].device_kind}"
