"""Files that are whole or not there, new folders, and numbers that JSON knows."""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .catalogue import WrongUse
from .parts import Unreadable


def write(path: Path, content: bytes | str) -> None:
    """Put a file in place as a whole; what was there before stays if that fails."""
    beside = path.with_name(f"{path.name}.part")
    try:
        beside.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    write(path, json.dumps(plain(content), indent=2) + "\n")


def write_arrays(path: Path, arrays: Mapping[str, Any], metadata: dict[str, str]) -> None:
    """A safetensors file, readable as the umask says (the package's own writer makes it private)."""
    from safetensors.numpy import save

    write(path, save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, metadata))


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an `.npz` file. Raises `Unreadable` for one that is missing, or no such file of plain arrays."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except FileNotFoundError:
        raise Unreadable(f"{path} does not exist") from None
    except Exception as error:
        raise Unreadable(f"{path} is not a readable .npz file of plain arrays ({error})") from None


def fresh_folder(out: Path | None, default: Path) -> Path:
    """A folder that may be made: nothing is overwritten. `new_folder` makes it."""
    if out is None:
        choices = [default, *(default.with_name(f"{default.name}-{k}") for k in range(2, 1000))]
        found = next((choice for choice in choices if not choice.exists()), None)
        if found is None:
            raise WrongUse(f"{default} and 998 more exist already: name a folder with --out")
        return found
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise WrongUse(f"--out {out} already holds something: name a new folder, nothing is overwritten")
    return out


def new_folder(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WrongUse(
            f"{folder} cannot be made ({error.strerror}): name a folder you may write to, with --out"
        ) from None
    return folder


def stamped(*names: str) -> Path:
    """Where a folder goes by default: runs/, the names and the time."""
    return Path("runs") / "-".join([*names, time.strftime("%Y%m%d-%H%M%S")])


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
