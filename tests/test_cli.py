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
from safetensors.numpy import load_file

import direp
from direp.program.build import load_task
from direp.program.catalogue import WrongUse
from direp.program.files import write_arrays
from direp.program.parts import Unreadable
from direp.program.report import print_summary
from direp.program.run_folder import RunFolder, load_run
from direp.program.seal import seal
from direp.program.settings import parse_seeds

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
    assert {"jax", "numpy", "direp", "python"} <= set(json.loads((folder / "config.json").read_text())["versions"])
    for name in ("learning_curve", "weight_matrix", "decision_map"):
        assert (folder / f"{name}.png").stat().st_size > 5000
    settings, networks = load_run(folder)
    task = load_task(settings)
    for net, seed in zip(networks, document["per_seed"], strict=True):
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
    one, two = (flat(load_run(path)[1][0].parameters) for path in (folder, tmp_path / "again"))
    assert (one == two).all()


def test_nothing_is_overwritten():
    folder, *_ = finished()
    before = (folder / "weights.safetensors").read_bytes()
    code, out, err = call("train", "xor", "--epochs", "1", "--out", folder)
    assert (code, out) == (2, "")
    assert "already holds something" in err
    assert (folder / "weights.safetensors").read_bytes() == before


@pytest.fixture
def _handlers():
    """The program's own handlers of signals end with the test."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_handlers")
def test_an_interrupted_run_keeps_what_it_has(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    epoch = RunFolder.epoch

    def interrupted(self, number, row):
        epoch(self, number, row)
        if number == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(RunFolder, "epoch", interrupted)
    code, _, err = call("train", "xor", "--preset", "small", "--epochs", "1000", "--out", folder)
    assert code == 143
    assert "interrupted" in err
    _, networks = load_run(folder)
    assert direp.certify(networks[0]).verdict == "proved"
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["status"] == "interrupted"
    recorded = (folder / "metrics.jsonl").read_text().splitlines()
    assert 3 <= summary["epochs"] == len(recorded) < 1000
    assert all(seed["best_epoch"] <= len(recorded) for seed in summary["per_seed"])


@pytest.mark.usefixtures("_handlers")
def test_a_request_to_end_after_the_last_epoch_loses_nothing(tmp_path, monkeypatch):
    folder, weights = tmp_path / "run", RunFolder.weights

    def interrupted(self, *arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        weights(self, *arguments)

    monkeypatch.setattr(RunFolder, "weights", interrupted)
    code, out, err = call("train", "xor", "--preset", "small", "--epochs", "2", "--out", folder)
    assert code == 143
    assert f"interrupted; the run is complete in {folder}" in err
    assert "certificate  proved" in out
    assert json.loads((folder / "summary.json").read_text())["status"] == "done"
    assert len(load_run(folder)[1]) == 1


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


def test_seeds_are_ranges_and_lists():
    assert parse_seeds("3") == (3,)
    assert parse_seeds("0..4") == parse_seeds("0-4") == (0, 1, 2, 3, 4)
    assert parse_seeds("1,2, 5..7") == (1, 2, 5, 6, 7)
    for wrong in ("", "a", "1..", "1;2", "-1", "4..1", "1,1", "0..2,2"):
        with pytest.raises(WrongUse, match="--seeds"):
            parse_seeds(wrong)


def test_a_damaged_folder_is_unreadable(tmp_path):
    folder, *_ = finished()
    for name in ("config.json", "weights.safetensors"):
        broken = tmp_path / name
        broken.mkdir()
        for each in ("config.json", "weights.safetensors"):
            content = (folder / each).read_bytes()
            (broken / each).write_bytes(content[: len(content) // 2] if each == name else content)
        with pytest.raises(Unreadable, match=r"no readable run folder|not a readable safetensors"):
            load_run(broken)
    with pytest.raises(Unreadable, match=r"config\.json is missing"):
        load_run(tmp_path / "nowhere")
    (tmp_path / "weights.safetensors" / "weights.safetensors").unlink()
    with pytest.raises(Unreadable, match=r"weights\.safetensors is missing"):
        load_run(tmp_path / "weights.safetensors")


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
        (["train", "xor", "--layout", "layered"], 2, "Layered"),
        (["train", "xor", "--leak", "-1"], 2, "--leak -1"),
        (["train", "xor", "--beta", "0"], 2, "no nudge"),
        (["train", "xor", "--beta", "nan"], 2, "not a finite number"),
        (["train", "xor", "--epochs", "0"], 2, "--epochs 0"),
        (["train", "xor", "--epochs", "many"], 2, "many"),
        (["train", "xor", "--seeds", "5..2"], 2, "count upwards"),
        (["train", "xor", "--seeds", "a"], 2, "no seed and no range"),
        (["train", "xor", "--seeds", "1,1"], 2, "names a seed twice"),
        (["train", "iris", "--hidden", "8", "--hidden", "4"], 2, "--hidden is given twice"),
        (["train", "xor", "--wings", "2"], 2, "wings"),
        (["train", "xor", "--rule", "nowhere:Rule"], 2, "there is no module 'nowhere'"),
        (["train", "xor", "--rule", "direp.rules:"], 2, "write module:Name"),
        (["train", "xor", "--rule", "direp.rules:Lokal"], 2, "is unknown"),
        (["train", "xor", "--rule", "direp.rules:SquaredError"], 2, "makes an object of type SquaredError"),
        (["train", "xor", "--nudge", "random-sign", "--beta", "0.2", "--quiet"], 2, "need not settle"),
        (["train", "nowhere:task"], 2, "there is no module 'nowhere'"),
        (["train", "xor", "--pruen"], 2, "perhaps you meant --prune"),
        (["train", "xor", "--cost", "cross-entropy"], 2, "cross-entropy needs two outputs"),
        (["train", "nowhere.npz"], 3, "does not exist"),
        (["train", "XOR"], 2, "did you mean 'xor'?"),
        (["train", "labels"], 2, "did you mean labels.npz?"),
        (["train", "table.csv"], 2, "numpy.savez('data.npz', x=x, y=y)"),
        (["train", "labels.npz"], 3, "write labels as np.array(y, str)"),
        (["train", "text.npz"], 3, "not a readable .npz file of plain arrays: write one with numpy.savez"),
        (["train", "--config", "nowhere.json"], 3, "does not exist"),
    ],
)
def test_wrong_use_says_what_was_given_and_what_is_allowed(arguments, code, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("labels.npz", x=np.eye(6), y=np.array(["a", "b"] * 3, object))
    for name in ("table.csv", "text.npz"):
        (tmp_path / name).write_text("1, 2\n")
    got, out, err = call(*arguments)
    assert got == code
    assert out == ""
    assert message in err
    assert err.count("\n") == 1
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"labels.npz", "table.csv", "text.npz"}  # nothing begun, nothing left behind


@pytest.mark.parametrize(
    ("x", "y", "code", "message"),
    [
        (np.where(np.arange(120).reshape(60, 2) == 3, np.nan, good_x), good_y, 2, "x[1, 1] is nan"),
        (good_x[:50], good_y, 2, "50 samples, but y has 60 targets"),
        (good_x, good_x[:, 0], 2, "no labels"),
        (good_x.reshape(60, 2, 1), good_y, 2, "flatten"),
    ],
)
def test_bad_data_files_are_refused(x, y, code, message, tmp_path):
    got, out, err = call("train", table(tmp_path / "data.npz", x, y), "--out", tmp_path / "run")
    assert (got, out) == (code, "")
    assert message in err
    assert err.count("\n") == 1


def test_a_foreign_file_is_unreadable(tmp_path):
    path = tmp_path / "data.npz"
    path.write_bytes(b"not arrays")
    assert call("train", path)[0] == 3
    np.savez(path, a=good_x)
    code, _, err = call("train", path)
    assert code == 3
    assert "needed are arrays named x and y" in err


def test_a_users_own_table_trains(tmp_path):
    centres = np.array([[0, 0], [3, 0], [0, 3]])
    path = table(tmp_path / "blobs.npz", centres[good_y] + 0.3 * good_x, good_y)
    code, out, _ = call(
        "train", path, "--epochs", "15", "--hidden", "8", "--batch-size", "42", "--learning-rate", "0.1", "--quiet",
        "--out", tmp_path / "run",
    )  # fmt: skip
    assert code == 0
    assert "proved" in out
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["test"]["accuracy"] > 0.8


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
    from direp.program.figures.style import band, canvas, epochs

    for count, marker in ((1, "o"), (2, "None")):
        axis = canvas(3, 3).subplots()
        band(axis, np.ones((count, 1)), "black", "loss")
        epochs(axis)
        assert axis.lines[0].get_marker() == marker
        assert all(tick == round(tick) for tick in axis.get_xticks())


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--seeds", "0..999999999"), ("--seeds", "5000000000"), ("--epochs", "99999999999"),
        ("--hidden", "100000000"), ("--max-steps", "99999999999"), ("--leak", "1e308"),
    ],
)  # fmt: skip
def test_numbers_too_large_are_refused_before_memory_is_taken(option, value, tmp_path):
    code, _, said = call("train", "xor", option, value, "--out", str(tmp_path / "r"))
    assert (code, said.count("\n")) == (2, 1)
    assert option in said


@pytest.mark.parametrize(
    "change",
    [
        {"beta_end": [0]}, {"cost": "1,2"}, {"nudge": 3}, {"fixed_steps": "x"}, {"leak": 10**400}, {"hidden": [1.5]},
        {"start": [0]}, {"epochs": True}, {"task": "zzz"}, {"beta": float("nan")},
    ],
)  # fmt: skip
def test_a_config_of_wrong_kinds_is_one_line(change, tmp_path):
    content = json.loads((finished()[0] / "config.json").read_text())
    content["settings"] |= change
    content["sha256"] = seal(content)
    (tmp_path / "config.json").write_text(json.dumps(content))
    (tmp_path / "weights.safetensors").write_bytes((finished()[0] / "weights.safetensors").read_bytes())
    for arguments in (("certify", str(tmp_path)), ("train", "--config", str(tmp_path / "config.json"))):
        code, _, said = call(*arguments)
        assert code in (2, 3)
        assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("code", "name", "message"),
    [
        ("import sys; sys.exit(0)", "X", "fails: SystemExit"),
        ("import sys\ndef X(): sys.exit(0)", "X", "fails when called"),
        ("from os import abort as X", "X", "is of type builtin"),
        ("", "X", "own_part.py"),
    ],
)
def test_an_own_part_cannot_end_the_program(code, name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.modules", dict(sys.modules))
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_part.py").write_text(code)
    rc, _, said = call("train", "xor", "--rule", f"own_part:{name}")
    assert rc == 2
    assert message in said


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda arrays: {name: array[:0] for name, array in arrays.items()}, "networks of 0 seeds"),
        (lambda arrays: {name: np.repeat(array, 5, 0) for name, array in arrays.items()}, "networks of 15 seeds"),
        (lambda arrays: {name: array[:2] for name, array in arrays.items()}, "networks of 2 seeds, not"),
        (lambda arrays: arrays | {"seeds": arrays["seeds"] + 1}, "networks of 3 seeds, not of the 3"),
        (lambda arrays: arrays | {"leak": arrays["leak"][:1]}, "leak has shape"),
        (lambda arrays: arrays | {"leak": arrays["leak"][:, :-1]}, "leak is float32 of shape"),
        (lambda arrays: arrays | {"leak": -arrays["leak"]}, "leaks are 0 or above"),
        (lambda arrays: arrays | {"leak": np.full_like(arrays["leak"], np.nan)}, "leak holds NaN"),
        (lambda arrays: arrays | {"bias": arrays["bias"].astype(np.int32)}, "bias is int32"),
        (lambda arrays: arrays | {"bias": arrays["bias"] + np.inf}, "bias holds NaN or infinite"),
        (lambda arrays: arrays | {"weight.input.0": arrays["weight.input.0"] * np.nan}, "weight.input.0 holds NaN"),
        (lambda arrays: arrays | {"weight.recurrent.0": arrays["weight.recurrent.0"] + 1}, "where there is no synapse"),
        (lambda arrays: {name: array for name, array in arrays.items() if name != "bias"}, "bias is missing"),
        (lambda arrays: arrays | {"rule.x": np.zeros((3, 2))}, "rule.x"),
        (lambda arrays: arrays | {"rule.0": np.zeros((3, 2))}, "the rule learns 0 arrays, and there are 1"),
    ],
)
def test_weights_that_do_not_fit_the_settings_are_unreadable(change, message, tmp_path):
    (tmp_path / "config.json").write_bytes((finished()[0] / "config.json").read_bytes())
    changed = change(load_file(finished()[0] / "weights.safetensors"))
    write_arrays(tmp_path / "weights.safetensors", changed, {"format": "direp 2"})
    code, _, said = call("certify", tmp_path, "--starts", "0")
    assert code == 3
    assert message in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("line", ["{", "3", "[" * 100_000, '{"epoch": 1}'])
def test_damaged_metrics_are_unreadable(line, tmp_path):
    for name in ("config.json", "weights.safetensors"):
        (tmp_path / name).write_bytes((finished()[0] / name).read_bytes())
    (tmp_path / "metrics.jsonl").write_text(line)
    code, _, said = call("certify", tmp_path, "--starts", "0", "--no-figures")
    assert code == 3
    assert "metrics.jsonl" in said


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


def test_a_negative_one_sided_nudge_is_told_of_a_positive_one(tmp_path):
    code, _, err = call("train", "xor", "--preset", "small", "--beta", "-4", "--nudge", "one-sided", "--quiet",
                        "--out", tmp_path / "run")  # fmt: skip
    assert code == 2
    assert "or a positive beta" in err
    assert "OneSided" not in err.partition(";")[2]


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
