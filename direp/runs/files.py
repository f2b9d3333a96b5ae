"""Files that are whole or not there, and numbers that JSON knows."""

import contextlib
import io
import json
import math
import os
import struct
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .errors import Unreadable, reading
from .seals import intact, seal


def write(path: Path, content: bytes | str, check: Callable[[Path], Any] | None = None) -> None:
    """Put a file in place as a whole; what was there before stays if that fails, and if `check` of the new one does.
    Both the file and its name are on the disk when this returns."""
    beside = path.with_name(f"{path.name}.part")
    try:
        with beside.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        if check is not None:
            check(beside)
        os.replace(beside, path)
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write_new(path: Path, content: bytes | str) -> None:
    """Put a file in place as a whole where there is none. Raises `FileExistsError` for a name that is taken, were it by
    a link that leads nowhere, and touches nothing beside it."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as home:
        write(made := Path(home) / "new", content)
        try:
            os.link(made, path)
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            if os.path.lexists(path):
                raise FileExistsError(f"{path} exists already") from None
            os.replace(made, path)


def write_json(path: Path, content: Any) -> None:
    write(path, json.dumps(plain(content), indent=2) + "\n")


def write_arrays(path: Path, arrays: Mapping[str, Any], metadata: Mapping[str, str]) -> None:
    """A safetensors file that carries the SHA-256 of its content, readable as the umask says (the package's own writer
    makes it private). It is read back before it takes the place of the one that was there."""
    from safetensors.numpy import save

    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    content = save(whole, {**metadata, "sha256": seal(metadata, whole)})
    write(path, content, lambda beside: read_back(beside, "file", metadata["format"], ()))


def check_file(path: Path) -> None:
    """Raise `Unreadable` for what is not there, and for what is no file: to open a pipe would wait for its writer."""
    if not path.is_file():
        raise Unreadable(f"{path} {'is no file' if path.exists() else 'does not exist'}")


def read_text(path: Path) -> str:
    check_file(path)
    return path.read_text(encoding="utf-8")


def append(path: Path, text: str) -> None:
    """Add to a file, which is made if need be. Raises `OSError` for a pipe without a reader, and waits for none."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NONBLOCK", 0)
    with open(path, "a", encoding="utf-8", opener=lambda name, _: os.open(name, flags, 0o666)) as file:
        file.write(text)


def read_back(path: Path, what: str, form: str, older: Sequence[str]) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Metadata and arrays of a file that `write_arrays` wrote in the format `form`, or in an `older` one without a
    SHA-256.

    Raises `Unreadable` for any other file, and for one whose content is not that of its SHA-256.
    """
    from safetensors import safe_open

    check_file(path)
    with reading(f"{path} is not a readable safetensors file"), safe_open(path, framework="numpy") as file:
        metadata = file.metadata() or {}
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    found = metadata.get("format", "no format")
    if found != form and found not in older:
        raise Unreadable(f"{path} is no {what} (its format is {found!r}, needed is {form!r})")
    if "sha256" in metadata:  # in whatever format: one altered to an older one is not taken for that
        if not intact(metadata, arrays):
            raise Unreadable(f"{path} is damaged or altered: its content is not that of the SHA-256 it carries")
    elif found not in older:
        raise Unreadable(f"{path} is damaged or altered: it carries no SHA-256, as files of format {form!r} do")
    return metadata, arrays


# A compressed file may unfold to so many bytes (of 64-bit floats, which its numbers become), or to so many times its
# size: nothing is decompressed before that is compared.
_UNFOLDED, _RATIO = 2**24, 10
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # as numpy writes; others unfold without measure


def read_arrays(path: Path, names: Iterable[str]) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Those arrays of an `.npz` file that have one of these names, and the names of all that it holds.

    Raises `Unreadable` for a file that is not that, or that declares more numbers than it holds.
    """
    check_file(path)
    bad = f"{path} is not a readable .npz file of plain arrays: write one with numpy.savez"
    with reading(bad), zipfile.ZipFile(path) as file:
        held = {entry.filename.removesuffix(".npy"): entry for entry in file.infolist()}
        if len(held) < len(file.infolist()):
            raise Unreadable(f"{path} holds an array twice under one name: write each one once")
        if len(held) != _entries(path, file):
            raise Unreadable(f"{path} is damaged: its directory names other than {_entries(path, file)} arrays")
        chosen = [name for name in names if name in held]
        strange = next((name for name in chosen if held[name].compress_type not in _PACKED), None)
        if strange is not None:
            raise Unreadable(f"{path}: {strange} is packed in a way that numpy does not: write it with numpy.savez")
        size, own = sum(held[name].file_size for name in chosen), _RATIO * path.stat().st_size
        floats = size
        if own < size <= _UNFOLDED:
            floats = sum(8 * math.prod(_declared(file, held[name])) for name in chosen)
        if size > own and max(size, floats) > _UNFOLDED:
            raise Unreadable(
                f"{path} unfolds to {max(size, floats):,} bytes, more than {max(own, _UNFOLDED):,}: write it with "
                "numpy.savez, uncompressed"
            )
        return {name: _array(path, name, file.read(held[name])) for name in chosen}, tuple(held)


def _entries(path: Path, file: zipfile.ZipFile) -> int:
    """How many files the end of a zip says that it holds: `zipfile` does not compare this with what it finds."""
    with path.open("rb") as content:
        content.seek(-22 - len(file.comment), os.SEEK_END)
        return struct.unpack("<10xH10x", content.read(22))[0]


def _header(stream: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, order and type of the array in a `.npy` file."""
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    return read[np.lib.format.read_magic(stream)](stream)


def _declared(file: zipfile.ZipFile, entry: zipfile.ZipInfo) -> tuple[int, ...]:
    """The shape that an entry declares, of which no more than that is decompressed."""
    with file.open(entry) as stream:
        return _header(stream)[0]


def _array(path: Path, name: str, content: bytes) -> np.ndarray:
    """An array out of the whole content of a `.npy` file, whose checksum was compared. No pickle."""
    stream = io.BytesIO(content)
    shape, fortran, dtype = _header(stream)
    if dtype.hasobject:
        raise Unreadable(
            f"{path} holds Python objects in place of plain numbers or text: write labels as np.array(y, str)"
        )
    declared, there = math.prod(shape) * dtype.itemsize, len(content) - stream.tell()
    if declared != there:
        raise Unreadable(f"{path}: {name} declares the shape {shape}, {declared:,} bytes, and holds {there:,}")
    return np.ndarray(shape, dtype, content, stream.tell(), order="F" if fortran else "C")


def plain(value: Any) -> Any:
    """Numbers that JSON knows; what is not finite becomes null."""
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, np.generic | np.ndarray):
        return plain(value.tolist())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
