"""The program as a user meets it: a process, its two outputs, its exit code and its folder."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from cases import flat

import direp
from direp.program import cli
from direp.program.run_folder import load_run
from direp.program.settings import Unreadable

pytestmark = pytest.mark.usefixtures("_optax")
PROGRAM = [sys.executable, "-m", "direp"]


def call(capsys, *arguments):
    """Run the program in this process: exit code, standard output, standard error."""
    with pytest.raises(SystemExit) as left:
        cli.main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return left.value.code, out, err


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One real run as a process, with JSON on standard output and nothing else."""
    folder = tmp_path_factory.mktemp("runs") / "xor"
    command = [*PROGRAM, "train", "xor", "--seeds", "0..2", "--epochs", "60", "--json", "--out", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return folder, json.loads(done.stdout), done.stderr


def test_the_json_document_has_the_promised_keys(finished):
    folder, document, progress = finished
    assert document["run"] == str(folder)
    assert document["task"] == "xor"
    assert document["seeds"] == len(document["per_seed"]) == 3
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


def test_the_folder_holds_all_that_is_needed(finished):
    folder, document, _ = finished
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == list(range(1, 61))
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert len(lines[0]["per_seed"]["loss"]) == 3
    assert {"jax", "numpy", "direp", "python"} <= set(json.loads((folder / "config.json").read_text())["versions"])
    for name in ("learning_curve", "weight_matrix", "decision_map"):
        assert (folder / f"{name}.png").stat().st_size > 5000
    settings, networks = load_run(folder)
    task = settings.load_task()
    for net, seed in zip(networks, document["per_seed"], strict=True):
        outputs = np.asarray(net.outputs(direp.settle(net, task.test.x).state))
        assert abs(0.5 * np.square(outputs - task.test.y).mean() - seed["test"]["loss"]) < 1e-4


def test_a_config_runs_again_to_the_same_numbers(finished, tmp_path):
    folder, document, _ = finished
    command = [
        *PROGRAM,
        "train",
        "--config",
        str(folder / "config.json"),
        "--json",
        "--quiet",
        "--out",
        str(tmp_path / "again"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    again = json.loads(done.stdout)
    for name in ("per_seed", "train", "test", "certificate", "settle"):
        assert again[name] == document[name]
    one, two = (flat(load_run(path)[1][0].parameters) for path in (folder, tmp_path / "again"))
    assert (one == two).all()


def test_nothing_is_overwritten(finished, capsys):
    folder, *_ = finished
    before = (folder / "weights.safetensors").read_bytes()
    code, out, err = call(capsys, "train", "xor", "--epochs", "1", "--out", folder)
    assert (code, out) == (2, "")
    assert "already holds something" in err
    assert (folder / "weights.safetensors").read_bytes() == before


def test_an_interrupted_run_keeps_what_it_has(tmp_path):
    folder = tmp_path / "run"
    command = [*PROGRAM, "train", "xor", "--epochs", "1000000", "--out", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    metrics = folder / "metrics.jsonl"
    for _ in range(600):
        if metrics.exists() and metrics.stat().st_size > 0:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 143
    assert "interrupted" in err
    _, networks = load_run(folder)
    assert direp.certify(networks[0]).verdict == "proved"
    assert json.loads((folder / "summary.json").read_text())["status"] == "interrupted"


def test_a_damaged_folder_is_unreadable(finished, tmp_path):
    folder, *_ = finished
    for name in ("config.json", "weights.safetensors"):
        broken = tmp_path / name
        broken.mkdir()
        for each in ("config.json", "weights.safetensors"):
            content = (folder / each).read_bytes()
            (broken / each).write_bytes(content[: len(content) // 2] if each == name else content)
        with pytest.raises(Unreadable, match="no readable run folder"):
            load_run(broken)
    with pytest.raises(Unreadable, match=r"config\.json is missing"):
        load_run(tmp_path / "nowhere")


def table(path, x, y):
    np.savez(path, x=x, y=y)
    return path


rng = np.random.default_rng(0)
good_x, good_y = rng.normal(size=(60, 2)), np.arange(60) % 3


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["train", "xro"], 2, "did you mean 'xor'"),
        (["train", "digit"], 2, "did you mean 'digits'"),
        (["train"], 2, "needs a task"),
        (["trian", "xor"], 2, "did you mean 'train'"),
        (["train", "xor", "--preset", "deep-202"], 2, "did you mean 'deep-2020'"),
        (["train", "xor", "--shift", "1"], 2, "xor has none"),
        (["train", "xor", "--method", "coloured"], 2, "needs layers"),
        (["train", "mnist", "--data-dir", "nowhere"], 3, "point --data-dir at"),
        (["train", "iris", "--preset", "deep-2020"], 2, "preset for iris"),
        (["train", "xor", "--neuron", "projectd"], 2, "did you mean 'projected'"),
        (["train", "xor", "--hidden", "0"], 2, "cannot learn xor"),
        (["train", "iris", "--hidden", "0"], 2, "empty layer"),
        (["train", "xor", "--hidden", "-3"], 2, "negative"),
        (["train", "xor", "--leak", "0"], 2, "cannot be certified"),
        (["train", "xor", "--leak", "-1"], 2, "--leak -1"),
        (["train", "xor", "--beta", "0"], 2, "no nudge"),
        (["train", "xor", "--beta", "nan"], 2, "not a finite number"),
        (["train", "xor", "--epochs", "0"], 2, "--epochs 0"),
        (["train", "xor", "--epochs", "many"], 2, "many"),
        (["train", "xor", "--seeds", "5..2"], 2, "count upwards"),
        (["train", "xor", "--seeds", "a"], 2, "no seed and no range"),
        (["train", "xor", "--wings", "2"], 2, "wings"),
        (["train", "xor", "--pruen"], 2, "perhaps you meant --prune"),
        (["train", "xor", "--cost", "cross-entropy"], 2, "cross-entropy needs two outputs"),
        (["train", "nowhere.npz"], 3, "does not exist"),
        (["train", "--config", "nowhere.json"], 3, "does not exist"),
    ],
)
def test_wrong_use_says_what_was_given_and_what_is_allowed(arguments, code, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    got, out, err = call(capsys, *arguments)
    assert got == code
    assert out == ""
    assert message in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())  # nothing begun, nothing left behind


@pytest.mark.parametrize(
    ("x", "y", "code", "message"),
    [
        (np.where(np.arange(120).reshape(60, 2) == 3, np.nan, good_x), good_y, 2, "x[1, 1] is nan"),
        (good_x[:50], good_y, 2, "50 rows of x but 60 targets"),
        (good_x, good_x[:, 0], 2, "no labels"),
        (good_x.reshape(60, 2, 1), good_y, 2, "flatten"),
    ],
)
def test_bad_data_files_are_refused(x, y, code, message, capsys, tmp_path):
    got, out, err = call(capsys, "train", table(tmp_path / "data.npz", x, y), "--out", tmp_path / "run")
    assert (got, out) == (code, "")
    assert message in err
    assert err.count("\n") == 1


def test_a_foreign_file_is_unreadable(capsys, tmp_path):
    path = tmp_path / "data.npz"
    path.write_bytes(b"not arrays")
    assert call(capsys, "train", path)[0] == 3
    np.savez(path, a=good_x)
    code, _, err = call(capsys, "train", path)
    assert code == 3
    assert "needed are arrays named x and y" in err


def test_a_users_own_table_trains(capsys, tmp_path):
    centres = np.array([[0, 0], [3, 0], [0, 3]])
    path = table(tmp_path / "blobs.npz", centres[good_y] + 0.3 * good_x, good_y)
    code, out, _ = call(capsys, "train", path, "--epochs", "15", "--hidden", "12", "--quiet", "--out", tmp_path / "run")
    assert code == 0
    assert "proved" in out
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["test"]["accuracy"] > 0.8


def test_training_that_never_settles_leaves_with_4(capsys, tmp_path):
    code, _, err = call(
        capsys, "train", "and", "--neuron", "rate", "--activation", "relu", "--outflow", "none", "--margin", "None",
        "--weight-scale", "50", "--bias", "5", "--quiet", "--max-steps", "300", "--out", tmp_path / "run",
    )  # fmt: skip
    assert code == 4
    assert "no sample settled for every seed" in err
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "failed"
    assert (tmp_path / "run" / "weights.safetensors").exists()


def test_help_does_not_wait_for_jax():
    code = "import sys, direp.program.cli; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    done = subprocess.run([*PROGRAM, "--help"], capture_output=True, text=True, check=True)
    assert "train TASK" in done.stdout
