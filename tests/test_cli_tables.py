"""A user's own table in an .npz file: it trains, or is refused in one line."""

import json

import numpy as np
import pytest
from program import call

pytestmark = pytest.mark.usefixtures("_optax")


def table(path, x, y):
    np.savez(path, x=x, y=y)
    return path


rng = np.random.default_rng(0)
good_x, good_y = rng.normal(size=(60, 2)), np.arange(60) % 3


@pytest.mark.parametrize(
    ("x", "y", "code", "message"),
    [
        (np.where(np.arange(120).reshape(60, 2) == 3, np.nan, good_x), good_y, 2, "x[1, 1] is nan"),
        (good_x[:50], good_y, 2, "50 samples, but y has 60 targets"),
        (good_x, np.full(60, "a"), 2, "one class only"),
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
