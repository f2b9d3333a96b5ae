"""A plain matrix in an .npz file is read as it stands there, or refused before it takes memory."""

import io
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from program import call

import direp
from direp.program.matrix_file import network_from_matrix
from direp.program.network_file import load_network
from direp.runs import Unreadable, files, read_arrays

RING = np.array([[0, -0.5, 0], [0, 0, 0.5], [0.5, 0, 0]])
SOURCE, TARGET = np.nonzero(RING)
EDGES = {"source": SOURCE, "target": TARGET, "strength": RING[SOURCE, TARGET], "leak": 2.0}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"weight": RING + 1j, "leak": 1.0}, "weight holds complex128; give real numbers"),
        ({"weight": RING, "leak": 1.0 + 1j}, "leak holds complex128"),
        ({"weight": RING, "leak": 1.0, "bias": np.ones(3) * 1j}, "bias holds complex128"),
        ({"weight": RING != 0, "leak": 1.0}, "weight holds bool"),
        ({"weight": RING.astype(str), "leak": 1.0}, "weight holds <U32"),
        ({"weight": np.where(RING, 2**53 + 1, 0), "leak": 1.0}, "numbers that 64-bit floats do not"),
        ({"weight": np.where(RING, np.nan, 0), "leak": 1.0}, "weight holds NaN"),
        ({"weight": RING, "leak": 1.0, "bias": np.array([0, np.inf, 0])}, "bias holds NaN"),
        ({"weight": RING, "leak": 1.0, "inputs": 1.5}, "inputs holds float64"),
        ({"weight": RING, "leak": 1.0, "inputs": True}, "inputs holds bool"),
        ({"weight": RING, "leak": 1.0, "inputs": np.array([1])}, "inputs holds int64 of shape"),
        ({"weight": RING, "leak": 1.0, "biass": 1.0}, "holds weight, leak, biass; needed are"),
        ({"weight": RING} | EDGES, "needed are leak, and weight or source"),
        (EDGES | {"source": SOURCE - 1}, "source has entries from -1"),
        (EDGES | {"source": SOURCE + 0.5}, "source holds float64"),
        (EDGES | {"target": TARGET.astype(np.uint64) + np.uint64(2**63)}, "target has entries from"),
        (EDGES | {"source": np.array([0, 1, 10**8])}, "numbered up to 100,000,000, .* for 7 at most"),
        (EDGES | {"leak": np.ones(3), "inputs": 10**9}, "numbered up to 1,000,000,002"),
        (EDGES | {"strength": np.ones(2)}, "differ in length"),
    ],
)
def test_matrices_that_cannot_be_are_refused(arrays, message, tmp_path):
    np.savez(tmp_path / "m.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        network_from_matrix(tmp_path / "m.npz", direp.Projected())


def test_whole_numbers_are_weights(tmp_path):
    whole = np.where(RING, np.array([[7], [2**53], [3]]), 0)
    for kind in (np.int64, np.uint64, np.float32):
        np.savez(tmp_path / "m.npz", weight=whole.astype(kind), leak=np.int8(5))
        found = network_from_matrix(tmp_path / "m.npz", direp.Projected())
        assert (np.asarray(found.matrix)[3:] == whole).all()
        assert (np.asarray(found.leak) == 5).all()


def test_numbers_of_64_bits_are_not_rounded(saved):
    path, *_ = saved
    np.savez(path.with_suffix(".npz"), weight=RING, leak=1.0)
    jax.config.update("jax_enable_x64", False)
    for read in (lambda: load_network(path), lambda: network_from_matrix(path.with_suffix(".npz"), direp.Rate())):
        with pytest.raises(Unreadable, match="which JAX would round to 32"):
            read()
    jax.config.update("jax_enable_x64", True)
    assert load_network(path).dtype == jnp.float64


def test_units_that_are_compressed_zeros_are_refused(tmp_path):
    np.savez_compressed(tmp_path / "m.npz", **EDGES | {"leak": np.ones(10**6, np.int8)})
    with pytest.raises(ValueError, match="it names 1,000,000 units, and has fewer bytes"):
        network_from_matrix(tmp_path / "m.npz", direp.Projected())


def archive(path, content, **arrays):
    """An .npz file with an array `weight` whose .npy file has this content."""
    np.savez(path, **arrays)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr("weight.npy", content)
    return path


def header_of(shape, dtype="<f8"):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": dtype, "fortran_order": False, "shape": shape})
    return stream.getvalue()


def test_sizes_that_a_file_does_not_fill_take_no_memory(tmp_path, monkeypatch):
    for content in (header_of((10**5, 10**5)), header_of((10**30,)), header_of((3, 3)) + bytes(71)):
        path = archive(tmp_path / "declared.npz", content, leak=1.0)
        with pytest.raises(Unreadable, match="weight declares the shape"):
            read_arrays(path, ("weight", "leak"))
    # 200 kB of zeros in a file of a few hundred bytes stand for gigabytes in one of a few kilobytes.
    monkeypatch.setattr(files, "_UNFOLDED", 2**16)
    monkeypatch.setattr(files, "_array", None)  # nothing is decompressed
    path = archive(tmp_path / "bomb.npz", header_of((160, 160)) + bytes(8 * 160 * 160), leak=1.0)
    code, out, err = call("certify", path)
    assert (code, out, err.count("\n")) == (3, "", 1)
    assert "unfolds to" in err
    monkeypatch.undo()
    assert read_arrays(path, ("weight",))[0]["weight"].shape == (160, 160)


def test_an_archive_whose_directory_hides_an_array_is_refused(tmp_path):
    """The length of a comment, in the directory of a zip, can swallow the entry after it: here the biases."""
    path = tmp_path / "m.npz"
    np.savez(path, weight=RING, leak=1.0, bias=np.ones(3))
    content = bytearray(path.read_bytes())
    entries = [k for k in range(len(content)) if content[k : k + 4] == b"PK\x01\x02"]
    content[entries[1] + 32] = entries[2] - entries[1]  # more than lies between them
    path.write_bytes(content)
    with zipfile.ZipFile(path) as file:
        assert file.namelist() == ["weight.npy", "leak.npy"]
    with pytest.raises(Unreadable, match="its directory names other than 3 arrays"):
        read_arrays(path, ("weight", "leak", "bias"))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_damaged_and_foreign_archives_are_unreadable(tmp_path):
    path = tmp_path / "m.npz"
    for content, message in (
        (header_of((1,), "|O") + bytes(8), "Python objects"),
        (header_of((3,))[:-5], "not a readable .npz"),
        (b"text", "not a readable .npz"),
    ):
        with pytest.raises(Unreadable, match=message):
            read_arrays(archive(path, content), ("weight",))
    archive(path, header_of((1,)) + bytes(8), weight=1.0)
    with pytest.raises(Unreadable, match="twice under one name"):
        read_arrays(path, ("weight",))


def test_arrays_of_every_kind_and_order_are_read_as_numpy_reads_them(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        "a": rng.random((3, 4)), "b": np.asfortranarray(rng.random((3, 4)).astype(">f4")), "c": np.array(3),
        "d": np.array(["x", "yz"]), "e": np.zeros((0, 2), np.uint8),
    }  # fmt: skip
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    found, held = read_arrays(tmp_path / "a.npz", ("a", "b", "c", "d", "e", "f"))
    assert held == tuple(arrays)
    for name, array in arrays.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert (found[name] == array).all()
