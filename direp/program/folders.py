"""Folders for what a command writes: new ones, where nothing is overwritten; and what has come of a run in one."""

import json
import time
from pathlib import Path
from typing import Any

from ..runs import read_text, status_of, unused, write_new
from .catalogue import WrongUse

FOREIGN = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError)  # of figures that another hand wrote
_FIGURES = {"train", "validation", "test", "failed", "certificate", "seconds", "per_seed"}  # of every summary


def fresh_folder(out: Path | None, default: Path) -> Path:
    """A folder that may be made: nothing is overwritten. `new_folder` makes it."""
    if out is None:
        choices = [default, *(default.with_name(f"{default.name}-{k}") for k in range(2, 1000))]
        found = next((choice for choice in choices if not choice.exists()), None)
        if found is None:
            raise WrongUse(f"{default} and 998 more exist already: name a folder with --out")
        return found
    if not unused(out):
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


def new_file(path: Path, content: bytes | str) -> None:
    """Write a file that a user named; nothing is overwritten."""
    try:
        write_new(path, content)
    except FileExistsError:
        raise WrongUse(f"{path} exists already: name a new file, nothing is overwritten") from None


def stamped(*names: str) -> Path:
    """Where a folder goes by default: runs/, the names and the time."""
    return Path("runs") / "-".join([*names, time.strftime("%Y%m%d-%H%M%S")])


def ended_as(run: Path) -> str | None:
    """`done` or `failed` for the folder of a run that has come to its end, as its status and its summary say; `None` if
    there is something left to do, or no run."""
    state = status_of(run).get("state")
    return state if state in ("done", "failed") and summary_of(run) is not None else None


def summary_of(run: Path) -> dict[str, Any] | None:
    """The figures of a run that has come to its end."""
    try:
        content = json.loads(read_text(run / "summary.json"))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) and content.keys() >= _FIGURES else None
