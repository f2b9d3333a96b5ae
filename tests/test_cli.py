"""The program as a user meets it: its two outputs, its exit code and its folder."""

import json
import os
import signal
import stat
import subprocess
import sys

import numpy as np
import pytest
from cases import flat
from program import call, finished

import direp
from direp.program.build import load_task
from direp.program.report import print_summary
from direp.program.run_folder import open_run
from direp.runs import Requests

pytestmark = pytest.mark.usefixtures("_optax")


def test_the_json_document_has_the_promised_keys():
    folder, document, progress = finished()
    assert document["run"] == str(folder)
    assert document["task"] == "xor"
    assert document["seeds"] == len(document["per_seed"]) == 3
    assert [entry["seed"] for entry in document["per_seed"]] == [0, 2, 3]
    assert document["solved"] == 3
    for part in ("train", "validation", "test"):
        assert set(document[part]) == {"loss", "accuracy"}
    assert {"unconverged", "method", "steps_median", "steps_max"} <= set(document["settle"])
    assert document["certificate"]["verdict"] == "proved"
    assert document["certificate"]["rate"] > 0
    assert document["certificate"]["criterion"] == "local leak"
    assert document["seconds"] > 0
    assert "xor" in progress
    assert json.loads((folder / "summary.json").read_text()) == document


def test_the_folder_holds_all_that_is_needed():
    folder, document, _ = finished()
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == list(range(1, 61))
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert len(lines[0]["per_seed"]["loss"]) == 3
    assert {"jax", "numpy", "direp", "python"} <= set(
        json.loads((folder / "config.json").read_text())["environment"]["versions"]
    )
    for name in ("learning_curve", "weight_matrix", "decision_map"):
        assert (folder / f"{name}.png").stat().st_size > 5000
    run = open_run(folder)
    task = load_task(run.settings)
    for net, seed in zip(run.networks, document["per_seed"], strict=True):
        outputs = np.asarray(net.outputs(direp.settle(net, task.test.x).state))
        assert abs(0.5 * np.square(outputs - task.test.y).mean() - seed["test"]["loss"]) < 1e-4


def test_a_config_runs_again_to_the_same_numbers(tmp_path):
    folder, document, _ = finished()
    again = tmp_path / "again"
    code, out, err = call("train", "--config", folder / "config.json", "--json", "--quiet", "--out", again)
    assert (code, err) == (0, "")
    again = json.loads(out)
    for name in ("per_seed", "train", "test", "certificate", "settle"):
        assert again[name] == document[name]
    one, two = (flat(open_run(path).networks[0].parameters) for path in (folder, tmp_path / "again"))
    assert (one == two).all()


def test_nothing_is_overwritten():
    folder, *_ = finished()
    before = (folder / "weights.safetensors").read_bytes()
    code, out, err = call("train", "xor", "--epochs", "1", "--out", folder)
    assert (code, out) == (2, "")
    assert "already holds something" in err
    assert (folder / "weights.safetensors").read_bytes() == before


def test_what_crashes_as_an_interrupted_process_is_taken_down_does_not_change_its_exit_code():
    """As JAX does at times, where an interrupt broke off a compilation."""
    program = (
        "import atexit, os, signal\n"
        "from direp.program import cli\n"
        "def interrupted(arguments):\n"
        "    print('kept', end='')\n"
        "    raise KeyboardInterrupt\n"
        "cli._run = interrupted\n"
        "atexit.register(os.kill, os.getpid(), signal.SIGKILL)\n"
        "cli.main()"
    )
    left = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (left.returncode, left.stdout) == (130, "kept")
    assert left.stderr == "direp: interrupted before there was a result\n"


@pytest.mark.parametrize("after", ["", "go on with: direp reproduce gates"])
def test_a_process_that_is_ended_in_a_compilation_says_how_to_go_on(after, monkeypatch, capfd):
    left = []
    monkeypatch.setattr("direp.runs.requests.os._exit", left.append)
    monkeypatch.setattr(Requests, "grace", 0.0)
    asked = Requests(leaves=True)
    asked.received, asked.after = signal.SIGTERM, after
    asked._wait()
    assert left == [143]
    assert capfd.readouterr().err == f"direp: {after or 'interrupted before there was a result'}\n"


def test_files_are_readable_as_the_umask_says_and_none_is_left_half_written():
    folder, *_ = finished()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir() if path.is_file()}
    umask = os.umask(0)
    os.umask(umask)
    assert set(modes.values()) == {0o666 & ~umask}
    assert not [name for name in modes if name.endswith(".part")]


def test_shares_of_samples_are_not_negative():
    folder, *_ = finished()
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert all(line["left_out"] >= 0 and line["unsettled"] >= 0 for line in lines)


def test_training_that_never_settles_leaves_with_4(tmp_path):
    code, _, err = call(
        "train", "and", "--neuron", "rate", "--activation", "relu", "--outflow", "none", "--margin", "none",
        "--weight-scale", "50", "--bias", "5", "--quiet", "--max-steps", "20", "--hidden", "2", "--epochs", "3",
        "--out", tmp_path / "run",
    )  # fmt: skip
    assert code == 4
    assert "no sample settled for every seed" in err
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "failed"
    assert (tmp_path / "run" / "weights.safetensors").exists()


def test_help_does_not_wait_for_jax():
    code = "import sys, direp.program.cli as c; print(c._help()); sys.exit('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "train TASK" in done.stdout
    assert "6 refuted" in done.stdout
    assert call("--help")[1] == done.stdout
    assert call("--version") == (0, f"direp {direp.__version__}\n", "")


def test_one_epoch_is_a_point_in_the_figures():
    from direp.plot.style import band, canvas, epochs

    for count, marker in ((1, "o"), (2, "None")):
        axis = canvas(3, 3).subplots()
        band(axis, np.ones((count, 1)), "black", "loss")
        epochs(axis)
        assert axis.lines[0].get_marker() == marker
        assert all(tick == round(tick) for tick in axis.get_xticks())


def test_messages_of_a_process_without_standard_error_do_not_go_to_its_standard_output():
    program = (
        "from direp.program import cli\n"
        "def wrong(arguments):\n"
        "    raise cli.WrongUse('a message')\n"
        "cli._run = wrong\n"
        "cli.main()"
    )
    closed = ["sh", "-c", 'exec "$0" -c "$1" 2>&-', sys.executable, program]
    left = subprocess.run(closed, capture_output=True, text=True, check=False)
    assert (left.returncode, left.stdout, left.stderr) == (2, "", "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_message_that_cannot_be_written_leaves_the_exit_code_as_it_is():
    with open("/dev/full", "w") as full:
        asked = [sys.executable, "-m", "direp", "certify", "nowhere"]
        assert subprocess.run(asked, stderr=full, check=False).returncode == 3


def test_the_current_directory_is_a_run_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(finished()[0])
    assert call("certify", ".", "--starts", "0", "--no-figures", "--quiet", "--out", tmp_path / "new")[0] == 0


def test_a_nudge_that_moves_nothing_is_named_as_the_cause(tmp_path):
    code, _, err = call("train", "xor", "--preset", "small", "--beta", "1e-12", "--epochs", "3", "--quiet",
                        "--out", tmp_path / "run")  # fmt: skip
    assert code == 4
    assert "the nudge moved no sample for every seed; raise --beta or use --precision float64" in err
    assert "--margin" not in err
    line = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert (line["unmoved"], line["unsettled"], line["left_out"]) == (1, 0, 1)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["left_out"] == (
        "left out 100 % of samples in the last epoch: a nudge of 1e-12 does not move them in float32: raise --beta or "
        "use --precision float64"
    )


def test_the_summary_says_what_training_kept_in_the_words_of_the_user(capsys):
    folder, document, _ = finished()
    kept = "LeakController keeps the free phase certified at the rate 0.1, but not the phases AsymField beta=-0.1"
    proof = {**document["certificate"], "phases": {"free": 1.0, "AsymField beta=-0.1": 1.0}}
    print_summary({**document, "certificate": proof, "assumptions": [kept]}, folder)
    out = capsys.readouterr().out
    assert "AsymField" not in out
    assert "phases free, AsymEP beta=-0.1); in training LeakController keeps the free phase only" in out
    assert "proved for the final networks: contracts" in out


def test_advice_of_a_run_names_the_command(tmp_path):
    _, out, _ = call(
        "train", "xor", "--preset", "small", "--neuron", "rate", "--activation", "tanh", "--outflow", "none", "--rule",
        "asym-ep", "--epochs", "1", "--quiet", "--out", tmp_path / "run",
    )  # fmt: skip
    assert f"direp certify {tmp_path / 'run'} judges each network" in out
    assert "certify(network" not in out
