"""Runs that are ended in whatever way go on to the bits of one that was not, and nothing that was kept is lost."""

import contextlib
import errno
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from unittest import mock

import jax
import numpy as np
import pytest
from program import call, finished, signalled
from resume_cases import FORMATS, Ended, X, content, fit, gone, same

import direp
from direp import runs, tasks
from direp.runs import CHECKPOINT, WEIGHTS, Held, RunFolder, Unreadable, read_back
from direp.runs.lock import Lock

pytestmark = pytest.mark.usefixtures("_optax")


def test_a_folder_holds_the_training_and_changes_none_of_its_bits(whole):
    folder, run = whole
    plain = fit(None)
    for name, values in plain.history.items():
        np.testing.assert_array_equal(run.history[name], values)
    for a, b in zip(jax.tree.leaves(plain.networks), jax.tree.leaves(run.networks), strict=True):
        np.testing.assert_array_equal(a, b)
    metadata, arrays = read_back(folder / CHECKPOINT, "checkpoint", FORMATS[CHECKPOINT], ())
    assert (metadata["epoch"], metadata["update"]) == ("3", "0")
    np.testing.assert_array_equal(arrays["state.parameters.bias"].shape, (2, 8))
    assert json.loads((folder / "status.json").read_text())["state"] == "done"
    assert not (folder / "lock").exists()


@pytest.mark.parametrize("writes", [1, 2, 3, 5, 8, 11, 13])
@pytest.mark.parametrize("where", ["before", "half", "after"])
def test_whatever_write_a_process_ends_in_the_run_goes_on_to_the_same_bits(whole, writes, where, tmp_path):
    """Before a checkpoint takes its place, with half of it written, and after."""
    count, put = itertools.count(1), os.replace

    def ending(source, target):
        if next(count) == writes:
            if where == "half":
                content = source.read_bytes()
                source.write_bytes(content[: len(content) // 2])
            if where == "after":
                put(source, target)
            raise Ended
        put(source, target)

    folder = tmp_path / "run"
    with (
        mock.patch("os.replace", ending), mock.patch.object(RunFolder, "__exit__", gone), pytest.raises(Ended),
    ):  # fmt: skip
        fit(folder)
    for name in (name for name in FORMATS if (folder / name).exists()):
        content(folder / name)
    run = fit(folder)
    same(folder, whole[0])
    np.testing.assert_array_equal(run.history["loss"], whole[1].history["loss"])


def test_every_safe_point_ends_and_goes_on(whole, tmp_path):
    """One update a call, then the request to end: from the first to the last."""
    folder, rounds = tmp_path / "run", 0

    class Asks:
        late, received, leaves, save = None, None, False, False
        asked = 0

        def take(self):
            self.asked += 1
            return self.asked % 4 == 0

        def take_save(self):
            return False

    while True:
        rounds += 1
        listens = mock.patch("direp.training.loop.listening", return_value=contextlib.nullcontext(Asks()))
        with listens, mock.patch("direp.training.epochs._CALL", 0.0):
            run = fit(folder)
        if run.status == "done":
            break
        assert run.status == "interrupted"
        assert json.loads((folder / "status.json").read_text())["state"] == "interrupted"
    assert rounds > 4
    same(folder, whole[0])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_run_that_resume_ends_as_if_there_was_none(number, tmp_path, monkeypatch):
    folder, line, reference = tmp_path / "run", RunFolder.line, finished()[0]

    def interrupted(self, content):
        line(self, content)
        if content["epoch"] == 3:
            signalled(number)

    monkeypatch.setattr(RunFolder, "line", interrupted)
    arguments = ("xor", "--preset", "small", "--seeds", "0,2..3", "--epochs", "60")
    code, out, err = call("train", *arguments, "--out", folder)
    assert (code, out) == (128 + number, "")
    assert f"interrupted in epoch 11 of 60; go on with: direp resume {folder}" in err
    assert len(direp.load_run(folder).networks) == 3
    assert call("certify", folder, "--no-figures")[0] == 0
    monkeypatch.undo()
    code, out, err = call("resume", folder, "--json", "--quiet")
    assert (code, err) == (0, "")
    same(folder, reference)
    assert json.loads(out)["per_seed"] == json.loads((reference / "summary.json").read_text())["per_seed"]
    code, out, err = call("resume", folder)
    assert (code, out) == (0, "")
    assert "is complete; train it for longer with --epochs N" in err


def test_usr1_saves_and_goes_on(tmp_path, monkeypatch):
    folder, line, states = tmp_path / "run", RunFolder.line, []

    def asks(self, content):
        line(self, content)
        if content["epoch"] == 3:
            os.kill(os.getpid(), signal.SIGUSR1)
            while not runs.Requests.now.save:
                time.sleep(0.001)
        if content["epoch"] == 11:
            states.append(read_back(folder / CHECKPOINT, "checkpoint", FORMATS[CHECKPOINT], ())[0]["epoch"])

    monkeypatch.setattr(RunFolder, "line", asks)
    arguments = ("xor", "--preset", "small", "--seeds", "0,2..3", "--epochs", "60", "--checkpoint", "1000000")
    monkeypatch.setattr("direp.training.checkpoint.Keeper.due", lambda self: False)
    assert call("train", *arguments, "--quiet", "--out", folder)[0] == 0
    assert states == ["10"]
    same(folder, finished()[0])


def test_a_request_after_the_last_epoch_loses_nothing(tmp_path, monkeypatch):
    folder, finish = tmp_path / "run", RunFolder.finish

    def interrupted(self, write_all):
        signalled(signal.SIGTERM)
        return finish(self, write_all)

    monkeypatch.setattr(RunFolder, "finish", interrupted)
    code, out, err = call("train", "xor", "--preset", "small", "--epochs", "2", "--out", folder)
    assert code == 143
    assert f"interrupted; the run is complete in {folder}" in err
    assert "certificate  proved" in out
    assert json.loads((folder / "summary.json").read_text())["status"] == "done"


def test_a_run_is_trained_for_longer_and_can_be_ended_where_it_is(tmp_path):
    short, long = tmp_path / "short", tmp_path / "long"
    arguments = ("xor", "--preset", "small", "--seeds", "0,2..3", "--quiet")
    assert call("train", *arguments, "--epochs", "30", "--out", short)[0] == 0
    run = direp.resume(short, epochs=60)
    assert run.settings.epochs == 60
    assert json.loads((short / "summary.json").read_text())["epochs"] == 60
    assert (short / "metrics.jsonl").read_bytes() == (finished()[0] / "metrics.jsonl").read_bytes()
    assert len(direp.load_run(short).networks) == 3  # files that were written with the earlier config stay its own
    assert call("train", "--config", short / "config.json", "--quiet", "--out", long)[0] == 0
    assert content(long / CHECKPOINT)[1] == content(short / CHECKPOINT)[1]


def test_what_may_not_change_is_listed_with_what_it_is():
    folder = finished()[0]
    code, out, err = call("resume", folder, "--beta", "2", "--rule", "adjoint")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "--rule (there local), --beta (there 6.0) cannot change while a run goes on, only --epochs, --device" in err
    assert call("resume", folder, "--epochs", "0")[2].startswith("direp: --epochs 0 is out of range")
    code, _, err = call("resume", folder / "nowhere")
    assert (code, err.count("\n")) == (3, 1)


def test_another_training_does_not_go_on_in_a_folder(whole):
    folder = whole[0]
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    other = tasks.from_arrays(X + 1e-3 * X**2, (X[:, 0] * X[:, 1] > 0).astype(int) + (X[:, 2] > 0))
    with pytest.raises(ValueError, match=r"samples\S* is another one.* Only epochs may change"):
        fit(folder, task=other)
    with pytest.raises(ValueError, match=r"rule.nudge.beta was 1.0 and is 2.0. Only epochs may change"):
        fit(folder, rule=direp.AsymEP(beta=2.0, feedback=direp.LearnedFeedback()))
    with pytest.raises(ValueError, match="seeds"):
        fit(folder, count=1)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    with pytest.raises(ValueError, match="call that again with this folder"):
        direp.resume(folder)


def test_a_damaged_checkpoint_and_one_of_another_run_are_refused(tmp_path):
    folder = tmp_path / "run"
    assert call("train", "xor", "--preset", "small", "--epochs", "4", "--quiet", "--out", folder)[0] == 0
    path, content = folder / CHECKPOINT, (folder / CHECKPOINT).read_bytes()
    for change in (content[:-1], content[:100], content[:-9] + bytes([content[-9] ^ 1]) + content[-8:], b""):
        path.write_bytes(change)
        code, out, err = call("resume", folder, "--epochs", "8")
        assert (code, out, err.count("\n")) == (3, "", 1), err
    path.write_bytes((finished()[0] / CHECKPOINT).read_bytes())
    code, _, err = call("resume", folder, "--epochs", "8")
    assert (code, err.count("\n")) == (3, 1)
    assert "was not written with the config.json beside it" in err
    path.unlink()
    code, _, err = call("resume", folder, "--epochs", "8")
    assert (code, err.count("\n")) == (3, 1)
    assert "holds networks and no checkpoint, from which it could go on" in err
    (folder / WEIGHTS).unlink()  # a process that was ended before its first epoch: from its beginning then
    assert call("resume", folder, "--epochs", "8", "--quiet")[0] == 0


def test_one_writer_at_a_time(tmp_path):
    folder = tmp_path / "run"
    with RunFolder(folder, {"settings": {}}):
        here = f"process {os.getpid()} on "
        with pytest.raises(Held, match=here):
            RunFolder(folder)
        code, _, err = call("train", "xor", "--epochs", "2", "--out", folder)
        assert (code, err.count("\n")) == (2, 1)
        assert f"{folder} is being written by {here}" in err
        assert here in (runs.holder_of(folder) or "")
    assert runs.holder_of(folder) is None


def test_a_lock_outlives_no_process_and_is_respected_from_afar(tmp_path):
    code = f"from pathlib import Path; from direp.runs.lock import Lock; Lock(Path({str(tmp_path)!r})).take(); print(1)"
    keeps = subprocess.Popen([sys.executable, "-c", f"{code}; input()"], stdin=-1, stdout=-1)
    keeps.stdout.readline()
    with pytest.raises(Held, match=f"process {keeps.pid} on "):
        Lock(tmp_path).take()
    keeps.kill()
    keeps.communicate()
    assert (tmp_path / "lock").exists()
    lock = Lock(tmp_path)
    lock.take()
    lock.release()
    (tmp_path / "lock").write_text(json.dumps({"host": "elsewhere", "pid": 1, "since": "2026-01-01 00:00:00"}))
    with pytest.raises(Held, match="process 1 on elsewhere"):
        Lock(tmp_path).take()
    os.utime(tmp_path / "lock", (0, 0))  # without a sign of life for long
    lock.take()
    lock.release()
    (tmp_path / "lock").write_text(json.dumps({"host": "elsewhere", "pid": 1, "since": "2026-01-01 00:00:00"}))
    os.utime(tmp_path / "lock", (2**32, 2**32))  # and of a time to come, where a clock was put back since
    lock.take()
    lock.release()


def test_a_full_disk_ends_no_training_and_the_last_checkpoint_stays(whole, tmp_path, capsys):
    folder, fsync, full = tmp_path / "run", os.fsync, []

    def fails(file):
        if full and os.readlink(f"/proc/self/fd/{file}").startswith(f"{folder}/"):
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(file)

    def fills(number, row):
        if number == 2:
            full.append(content(folder / CHECKPOINT))

    with mock.patch("os.fsync", fails):
        run = fit(folder, callbacks=[fills])
    assert run.status == "done"
    said = capsys.readouterr().err
    assert "No space left on device); training goes on" in said
    assert content(folder / CHECKPOINT) == full[0]
    (rescued,) = tmp_path.glob("run-rescued-*")
    assert f"the networks are in {rescued}" in said
    assert content(rescued / WEIGHTS) == content(whole[0] / WEIGHTS)
    again = fit(folder)  # there is room again
    same(folder, whole[0])
    np.testing.assert_array_equal(again.history["loss"], run.history["loss"])


def test_a_folder_that_is_gone_is_made_again(whole, tmp_path):
    folder = tmp_path / "run"

    def removes(number, row):
        if number == 2:
            for path in folder.iterdir():
                path.unlink()
            folder.rmdir()

    fit(folder, callbacks=[removes])
    same(folder, whole[0])


def test_a_training_of_lanes_comes_to_the_same_bits_beside_whomever():
    one = fit(None, lanes=6)
    two = fit(None, lanes=6, count=1)
    for a, b in zip(jax.tree.leaves(one.networks[0]), jax.tree.leaves(two.networks[0]), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="lanes=1 do not hold 2 networks"):
        fit(None, lanes=1)


def test_a_config_of_a_newer_version_says_so(tmp_path):
    content = json.loads((finished()[0] / "config.json").read_text())
    content["schema"] = 99
    (tmp_path / "config.json").write_text(json.dumps(content))
    for command in (("resume", tmp_path), ("train", "--config", tmp_path / "config.json")):
        code, _, err = call(*command)
        assert (code, err.count("\n")) == (3, 1)
        assert "newer version" in err
    with pytest.raises(Unreadable):
        direp.load_run(tmp_path)


def test_a_run_in_which_every_seed_failed_is_complete_and_can_be_asked_for_more(tmp_path):
    folder = tmp_path / "run"
    never = ("--tolerance", "1e-9", "--max-steps", "1", "--method", "preconditioned", "--margin", "none")
    code, _, err = call("train", "xor", "--preset", "small", *never, "--epochs", "40", "--quiet", "--out", folder)
    assert (code, err.count("\n")) == (4, 1)
    assert json.loads((folder / "status.json").read_text())["state"] == "failed"
    assert call("resume", folder)[0] == 0
    assert call("resume", folder, "--epochs", "60", "--quiet")[0] == 4


def test_an_error_of_a_training_is_kept_as_its_reason_and_gone_on_from(whole, tmp_path):
    folder = tmp_path / "run"

    def breaks(number, row):
        if number == 2:
            raise RuntimeError("out of something")

    with pytest.raises(RuntimeError):
        fit(folder, callbacks=[breaks])
    status = json.loads((folder / "status.json").read_text())
    assert (status["state"], status["reason"]) == ("error", "RuntimeError: out of something")
    fit(folder)
    same(folder, whole[0])


def test_other_versions_are_told_of(tmp_path, capsys):
    folder = tmp_path / "run"
    with mock.patch("direp.runs.folder.environment", return_value={"versions": {}, "platform": "", "machine": "z"}):
        fit(folder, epochs=1)
    fit(folder)
    assert (
        "was begun with other versions and platform and machine and devices: numbers may differ"
        in capsys.readouterr().err
    )


PIPES = """
import os, sys
from pathlib import Path
from direp.program.folders import ended_as
from direp.runs import RunFolder, Unreadable, holder_of

home = Path(sys.argv[1])
for name in ("status.json", "summary.json", "log.txt", "metrics.jsonl", "config.json"):
    os.mkfifo(home / name)
assert ended_as(home) is None
with RunFolder(home, {}, begun=True) as folder:
    folder.start([])
    (home / "metrics.jsonl").unlink()
    os.mkfifo(home / "metrics.jsonl")
    folder.line({"epoch": 1})
    folder.line({"epoch": 2})
    folder.tell("running")
assert (home / "metrics.jsonl").read_text().count("epoch") == 2
os.mkfifo(home / "lock")
assert holder_of(home) is None
try:
    RunFolder(home)
except Unreadable as error:
    assert str(error) == f"{home}/lock is no file, as a lock is: delete it", error
else:
    raise AssertionError
"""


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_pipes_in_the_place_of_files_are_not_waited_for(tmp_path):
    subprocess.run([sys.executable, "-c", PIPES, str(tmp_path)], check=True, timeout=60)
