"""Damage done to arrays, and to the archives that hold them."""

import functools
import gzip
import io
import struct
import zipfile
from typing import Any

import numpy as np
from fuzz_mutate import FORMS, SENTINEL, pick


def hostile_array(rng: np.random.Generator, array: np.ndarray) -> np.ndarray:
    """An array of another type, shape, size or content."""
    kinds = ("<f4", "<f8", "<f2", "<i4", "<i8", "<u8", "|i1", "|b1", "<c16", "<U3", "|S2", ">f8", "<M8[s]", "|V4")
    action = int(rng.integers(8))
    flat = np.array(array).reshape(-1)
    if action == 0:
        kind = pick(rng, kinds)
        with np.errstate(all="ignore"):
            return np.zeros(array.shape, kind) if kind[1] in "MVUS" else np.real(array).astype(kind)
    if action == 1:
        return pick(
            rng, (flat, array[None], np.zeros(0), array[:0] if array.ndim else array, array.T, np.zeros((0, 5)))
        )
    if action == 2 and flat.size and flat.dtype.kind in "iuf":
        values = (0, -1, 1, 5, 127) if flat.dtype.kind in "iu" else (np.nan, np.inf, -np.inf, 1e300, -1.0, 1e-310, 0.0)
        with np.errstate(all="ignore"):
            flat[int(rng.integers(flat.size))] = pick(rng, values)
        return flat.reshape(array.shape)
    if action == 3:
        return np.concatenate([flat, flat]) if rng.random() < 0.5 else flat[:-1]
    if action == 4:
        return np.zeros(int(rng.choice([1, 100, 100_000])), array.dtype)
    if action == 5 and flat.dtype.kind in "iuf":
        with np.errstate(all="ignore"):
            return (array * pick(rng, (-1, 2, 1000, 10**9))).astype(array.dtype)
    if action == 6 and flat.size:
        return np.resize(rng.permutation(flat), array.shape)
    return np.array(pick(rng, (0, 1.0, -5, 10**8, 2**62, True, "x", 1j)))


def npy(array: np.ndarray, **header: Any) -> bytes:
    """A .npy file whose header says what it likes."""
    told = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape} | header
    text = repr(told).encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) % 65536) + text + array.tobytes()


def _hostile_npy(rng: np.random.Generator, array: np.ndarray) -> bytes:
    shapes = ((10**9,), (10**5, 10**5), (2**63,), (-1,), (0, 10**18), (10**30,), (2.0,), "x", (), (1,) * 40, (True,))
    kinds = (
        "|O",
        "<f16",
        "<U99999999",
        "|V0",
        "x",
        [("a", "<f8")],
        "<f8,<f8",
        "<M8[s]",
        "<f3",
        "",
        [("a", "|O")],
        "<U0",
    )
    choice = int(rng.integers(5))
    if choice == 0:
        return npy(array, shape=pick(rng, shapes))
    if choice == 1:
        return npy(array, descr=pick(rng, kinds))
    if choice == 2:
        return npy(array, fortran_order=pick(rng, (True, 1, "x", None)), **pick(rng, ({}, {"more": 1})))
    if choice == 3:
        code = f"c{SENTINEL}\nx\n.".encode()  # whoever takes objects apart imports the module
        return npy(np.frombuffer(code, np.uint8), descr="|O", shape=(1,))
    deep = "(" * 2000 + ")" * 2000
    code = f"__import__('{SENTINEL}')"
    text = pick(rng, (deep, "{" * 5000, "1" * 60_000, code, "{'shape': " + "-" * 5000 + "1}"))
    return b"\x93NUMPY" + pick(rng, (b"\1\0", b"\2\0", b"\3\0", b"\7\0")) + struct.pack("<H", len(text)) + text.encode()


BOMB = 2**28  # bytes


@functools.cache
def _bomb(how: int, name: str, size: int) -> bytes:
    """A file of zeros, packed: an archive with an array of this name, or without a name the zeros alone."""
    if not name:
        return gzip.compress(bytes(size))
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", how) as file:
        file.writestr(f"{name}.npy", npy(np.zeros(size, np.int8)))
    return stream.getvalue()


def _arrays(content: bytes) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(content)) as file:
        return {name: file[name] for name in file.files}


def _npz(rng: np.random.Generator, content: bytes) -> bytes:
    """An archive whose checksums are right, of other arrays."""
    arrays = _arrays(content)
    name = pick(rng, list(arrays))
    entries = {f"{key}.npy": npy(array) for key, array in arrays.items()}
    choice, how = rng.random(), zipfile.ZIP_STORED
    if choice < 0.5:
        entries[f"{name}.npy"] = npy(np.ascontiguousarray(hostile_array(rng, arrays[name])))
    elif choice < 0.75:
        entries[f"{name}.npy"] = _hostile_npy(rng, arrays[name])
    elif choice < 0.85:
        del entries[f"{name}.npy"]
    elif choice < 0.9:
        entries[pick(rng, ("x.npy", "more.npy", "../up.npy", "pickle.pkl", "\u202e.npy", "y.npy"))] = npy(np.ones(3))
    else:
        kind = pick(rng, (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
        if kind != zipfile.ZIP_LZMA:
            return _bomb(kind, name, BOMB if kind == zipfile.ZIP_DEFLATED else BOMB // 8)
        how = kind
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", how) as file:
        for key, value in entries.items():
            file.writestr(key, value)
    found = bytearray(stream.getvalue())
    if rng.random() < 0.15:  # the directory tells other sizes, methods or flags
        entry = found.find(b"PK\1\2")
        offset, width = pick(rng, ((8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (42, 4), (28, 2)))
        found[entry + offset : entry + offset + width] = pick(rng, (b"\xff" * width, bytes(width), rng.bytes(width)))
    return bytes(found)


def _idx(rng: np.random.Generator, content: bytes) -> bytes:
    """A packed idx file with another header or length."""
    raw = bytearray(gzip.decompress(content))
    choice = rng.random()
    if choice < 0.05:
        return _bomb(0, "", BOMB)
    if choice < 0.5:
        word = 4 * int(rng.integers(4))
        raw[word : word + 4] = struct.pack(
            ">I", int(pick(rng, (0, 1, 2, 28, 0x801, 0x803, 0x80D, 2**16, 2**31, 2**32 - 1)))
        )
    elif choice < 0.7:
        raw = raw[: int(rng.integers(len(raw)))]
    elif choice < 0.8:
        raw += bytes(int(rng.choice([1, 10_000_000])))
    else:
        raw[int(rng.integers(len(raw)))] = int(rng.integers(256))
    packed = gzip.compress(bytes(raw), 1)
    return packed if rng.random() < 0.9 else pick(rng, (bytes(raw), packed + packed, packed + b"more", packed[:-4]))


FORMS |= {"npz": (_npz,), "idx": (_idx,)}
