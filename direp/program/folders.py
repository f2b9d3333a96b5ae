"""New folders for what a command writes: nothing is overwritten."""

import time
from pathlib import Path

from ..runs import unused
from .catalogue import WrongUse


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


def stamped(*names: str) -> Path:
    """Where a folder goes by default: runs/, the names and the time."""
    return Path("runs") / "-".join([*names, time.strftime("%Y%m%d-%H%M%S")])
