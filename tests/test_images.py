"""MNIST and Fashion-MNIST as tasks: found, checked, never half-written. Small stand-ins take the place of the files."""

import gzip
import hashlib
import os
import pathlib
import struct

import jax
import jax.numpy as jnp
import numpy as np
import pooch
import pytest

import direp
from direp import tasks
from direp.program.cli import main


def idx(array):
    magic = 0x800 + array.ndim
    return gzip.compress(struct.pack(f">{array.ndim + 1}I", magic, *array.shape) + array.tobytes(), mtime=0)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A data directory with 200 + 50 random images, whose checksums are those of the files."""
    monkeypatch.delenv("DIREP_DATA", raising=False)
    rng = np.random.default_rng(0)
    files = {}
    for part, count in (("train", 200), ("t10k", 50)):
        files[f"{part}-images-idx3-ubyte.gz"] = idx(rng.integers(0, 256, (count, 28, 28), np.uint8))
        files[f"{part}-labels-idx1-ubyte.gz"] = idx(np.arange(count, dtype=np.uint8) % 10)
    (tmp_path / "mnist").mkdir()
    for name, content in files.items():
        (tmp_path / "mnist" / name).write_bytes(content)
    classes, mirrors, _ = tasks.IMAGES["mnist"]
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    monkeypatch.setitem(tasks.IMAGES, "mnist", (classes, mirrors, sums))
    return tmp_path


def test_images_are_read_split_and_scaled(folder, monkeypatch):
    task = tasks.images("mnist", data_dir=folder, validation=50)
    assert [len(part.x) for part in (task.train, task.validation, task.test)] == [150, 50, 50]
    assert task.train.x.dtype == np.float32
    assert (task.train.x.min(), task.train.x.max()) == (0, 1)
    assert np.array_equal(task.validation.y.sum(0), np.full(10, 5))
    raw = gzip.decompress((folder / "mnist" / "t10k-images-idx3-ubyte.gz").read_bytes())[16:]
    assert np.array_equal(np.round(task.test.x * 255).ravel(), np.frombuffer(raw, np.uint8))
    monkeypatch.setenv("DIREP_DATA", str(folder))
    again = tasks.images("mnist", validation=50, scale="global", split=1)
    assert abs(again.train.x.mean()) < 1e-5
    assert not np.array_equal(again.validation.x, task.validation.x)


def test_missing_altered_and_truncated_files_are_named(folder, capsys):
    file = folder / "mnist" / "train-labels-idx1-ubyte.gz"
    whole = file.read_bytes()
    for content in (whole[:-20], whole[:60] + b"?" + whole[61:]):
        file.write_bytes(content)
        with pytest.raises(SystemExit) as left:
            main(["train", "mnist", "--data-dir", str(folder)])
        said = capsys.readouterr().err
        assert left.value.code == 3
        assert said.count("\n") == 1
        assert hashlib.sha256(content).hexdigest() in said
        assert hashlib.sha256(whole).hexdigest() in said
        assert str(file) in said
    file.unlink()
    with pytest.raises(tasks.DataMissing, match="lacks train-labels-idx1-ubyte"):
        tasks.images("mnist", data_dir=folder)
    with pytest.raises(tasks.DataMissing, match="nowhere"):
        tasks.images("mnist", data_dir="nowhere")
    with pytest.raises(ValueError, match="imagenet"):
        tasks.images("imagenet")
    with pytest.raises(ValueError, match="validation=5"):
        tasks.images("mnist", validation=5)


def test_downloads_are_checked_and_leave_nothing_half_written(folder, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    monkeypatch.setattr(pooch, "os_cache", lambda name: cache)
    asked = []

    class Mirror:
        """The first mirror breaks off, the second one is whole."""

        def __init__(self, progressbar, timeout):
            self.bar = progressbar

        def __call__(self, url, output_file, pooch, check_only=False):
            asked.append(url)
            content = (folder / "mnist" / url.rpartition("/")[2]).read_bytes()
            self.bar.total = len(content)
            whole = not url.startswith(tasks.IMAGES["mnist"][1][0])
            pathlib.Path(output_file).write_bytes(content if whole else content[:-9])
            self.bar.update(len(content))

    monkeypatch.setattr(pooch, "HTTPDownloader", Mirror)
    task = tasks.images("mnist", validation=50)
    assert len(task.test.x) == 50
    assert len(asked) == 8
    assert sorted(os.listdir(cache / "mnist")) == sorted(tasks.IMAGES["mnist"][2])
    assert len(tasks.images("mnist", validation=50).test.x) == 50
    assert len(asked) == 8  # the second time they are there

    class Nowhere(Mirror):
        def __call__(self, url, output_file, pooch, check_only=False):
            raise ConnectionError("no way out")

    (cache / "mnist" / "train-images-idx3-ubyte.gz").unlink()
    monkeypatch.setattr(pooch, "HTTPDownloader", Nowhere)
    with pytest.raises(
        tasks.DataMissing, match=r"train-images.*could not be downloaded from .*ConnectionError.*DIREP_DATA"
    ):
        tasks.images("mnist", validation=50)
    assert len(os.listdir(cache / "mnist")) == 3
    (cache / "mnist" / "train-images-idx3-ubyte.gz").write_bytes(b"half")
    with pytest.raises(tasks.DataUnreadable, match="delete the file and run again"):
        tasks.images("mnist", validation=50)


SHARED = pathlib.Path(os.environ.get("DIREP_DATA") or "../shared/data")


@pytest.mark.skipif(not (SHARED / "mnist").is_dir(), reason="no data directory at hand")
@pytest.mark.parametrize("name", tasks.IMAGES)
def test_the_published_files_are_accepted(name):
    task = tasks.images(name, data_dir=SHARED)
    assert [len(part.x) for part in (task.train, task.validation, task.test)] == [55_000, 5000, 10_000]
    counts = {"mnist": [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009], "fashion-mnist": [1000] * 10}
    assert np.array_equal(task.test.y.sum(0), counts[name])


def test_shifts_move_images_and_fill_in():
    shift = direp.Shift(2, shape=(5, 6), fill=-1.0)
    shift.check(30)
    x = jnp.arange(30.0).reshape(1, 30)
    seen = set()
    for seed in range(200):
        moved = np.asarray(shift(x, jax.random.key(seed))).reshape(5, 6)
        row, column = (int(k) for k in np.argwhere(moved >= 0)[0])
        first = int(moved[row, column])
        down, right = row - first // 6, column - first % 6
        expected = np.full((5, 6), -1.0)
        for r in range(5):
            for c in range(6):
                if 0 <= r - down < 5 and 0 <= c - right < 6:
                    expected[r, c] = 6 * (r - down) + c - right
        assert np.array_equal(moved, expected)
        seen.add((down, right))
    assert seen == {(d, r) for d in range(-2, 3) for r in range(-2, 3)}
    with pytest.raises(ValueError, match="30 pixels, but samples have 64"):
        shift.check(64)
    with pytest.raises(ValueError, match="pixels=5"):
        direp.Shift(5, shape=(5, 5))
