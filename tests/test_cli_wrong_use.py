"""Wrong use of `direp train` is one line that says what was given and what is allowed; nothing is begun."""

import sys

import numpy as np
import pytest
from program import call

from direp.program.catalogue import WrongUse
from direp.program.settings import parse_seeds

pytestmark = pytest.mark.usefixtures("_optax")


def test_seeds_are_ranges_and_lists():
    assert parse_seeds("3") == (3,)
    assert parse_seeds("0..4") == parse_seeds("0-4") == (0, 1, 2, 3, 4)
    assert parse_seeds("1,2, 5..7") == (1, 2, 5, 6, 7)
    for wrong in ("", "a", "1..", "1;2", "-1", "4..1", "1,1", "0..2,2"):
        with pytest.raises(WrongUse, match="--seeds"):
            parse_seeds(wrong)


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
        (["train", "xor", "--rule", "safeguard", "--feedback", "learned"], 2, "which safeguard does not"),
        (["train", "mnist", "--data-dir", "nowhere"], 3, "point --data-dir at"),
        (["train", "iris", "--preset", "deep-2020"], 2, "preset for iris"),
        (["train", "xor", "--neuron", "projectd"], 2, "did you mean 'projected'"),
        (["train", "xor", "--activation", "tanh"], 2, "is of --neuron hopfield or rate, and the neuron is projected"),
        (["train", "iris", "--companion-scale", "2"], 2, "of --feedback learned or fixed, and the feedback is shared"),
        (["train", "xor", "--hidden", "0"], 2, "cannot learn xor"),
        (["train", "iris", "--hidden", "0"], 2, "empty layer"),
        (["train", "iris", "--target", "kind"], 2, "the task is iris: leave them out"),
        (["train", "xor", "--hidden", "-3"], 2, "negative"),
        (["train", "xor", "--leak", "0"], 2, "cannot be certified"),
        (["train", "xor", "--layout", "layered"], 2, "Layered"),
        (["train", "xor", "--leak", "-1"], 2, "--leak -1"),
        (["train", "xor", "--beta", "0"], 2, "no nudge"),
        (["train", "xor", "--beta", "nan"], 2, "not a finite number"),
        (["train", "xor", "--epochs", "0"], 2, "--epochs 0"),
        (["train", "xor", "--epochs", "many"], 2, "--epochs many cannot be read: needed is a whole number; direp"),
        (["train", "xor", "--beta-end", "a"], 2, "--beta-end a cannot be read: needed is a number; direp"),
        (["train", "xor", "--hidden", "4", "a"], 2, "--hidden 4 a cannot be read: needed is"),
        (["train", "xor", "--checkpoint=ten"], 2, "--checkpoint ten cannot be read: needed is a number; direp"),
        (["train", "xor", "--track", "wandb"], 2, "('tensorboard', 'mlflow'); direp train --help"),
        (["resume", "runs/none", "--epochs", "x"], 2, "--epochs x cannot be read: needed is a whole number; direp"),
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
        (["train", "table.xls"], 2, "numpy.savez('data.npz', x=x, y=y)"),
        (["train", "labels.npz"], 3, "write labels as np.array(y, str)"),
        (["train", "text.npz"], 3, "not a readable .npz file of plain arrays: write one with numpy.savez"),
        (["train", "--config", "nowhere.json"], 3, "does not exist"),
    ],
)
def test_wrong_use_says_what_was_given_and_what_is_allowed(arguments, code, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("labels.npz", x=np.eye(6), y=np.array(["a", "b"] * 3, object))
    for name in ("table.xls", "text.npz"):
        (tmp_path / name).write_text("1, 2\n")
    got, out, err = call(*arguments)
    assert got == code
    assert out == ""
    assert message in err
    assert err.count("\n") == 1
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"labels.npz", "table.xls", "text.npz"}  # nothing begun, nothing left behind


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


def test_a_negative_one_sided_nudge_is_told_of_a_positive_one(tmp_path):
    code, _, err = call("train", "xor", "--preset", "small", "--beta", "-4", "--nudge", "one-sided", "--quiet",
                        "--out", tmp_path / "run")  # fmt: skip
    assert code == 2
    assert "or a positive beta" in err
    assert "OneSided" not in err.partition(";")[2]
