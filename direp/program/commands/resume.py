"""`direp resume`: go on with a run from its folder alone."""

import dataclasses
import sys
from pathlib import Path
from typing import Literal

from ...runs import quoted
from ..catalogue import WrongUse, flag
from ..resume import FREE, go_on
from ..settings import COUNTED, Settings
from . import OK, Output, first, parse, typed
from .train import how_of, told


@dataclasses.dataclass(frozen=True)
class Resume:
    """Go on with RUN, a folder of direp train that was interrupted, killed, or is to be trained for longer: from its
    last checkpoint, to the bits of a run that was never ended.

    All other settings stay as they are in its config.json.
    """

    output: Output
    epochs: int | None = None
    """Train up to so many epochs; no more than there were ends the run there, with its summary and figures."""
    device: str | None = None
    """Where to compute: auto, cpu, gpu or tpu; numbers are the same bits on the same kind only."""
    data_dir: str | None = None
    """Where the folders mnist and fashion-mnist are now."""
    checkpoint: float = 30.0
    """Seconds between two checkpoints."""
    track: tuple[Literal["tensorboard", "mlflow"], ...] = ()
    """Tell a service of every epoch too, as in direp train."""
    allow_import: bool = False
    """Import the modules of a user's own parts that the run names."""


def resume(arguments: list[str]) -> int:
    """The command: exit codes as of direp train."""
    path, rest = first("resume", arguments, "a run folder, before all options")
    if path is not None:
        _check_options(Path(path), rest)
    asked = parse("resume RUN", Resume, rest, Resume(Output()))
    how = how_of(asked.output, asked.checkpoint, asked.track)
    if asked.output.out is not None:
        raise WrongUse(
            "--out is where the run is: direp train --config RUN/config.json --out FOLDER begins another one"
        )
    if asked.epochs is not None and not 1 <= asked.epochs <= COUNTED:
        raise WrongUse(f"--epochs {asked.epochs} is out of range: give a number of at least 1")
    folder = Path(path or "")
    given = {name: getattr(asked, name) for name in FREE if getattr(asked, name) is not None}
    outcome = go_on(folder, given, how, asked.allow_import)
    if outcome is not None:
        return told(outcome, asked.output)
    print(f"direp: {folder} is complete; train it for longer with --epochs N", file=sys.stderr)
    if asked.output.json:
        print((folder / "summary.json").read_text(), end="")
    return OK


def _check_options(path: Path, rest: list[str]) -> None:
    """Name settings that a run does not go on with another value of, with what they are in the run."""
    names = [field.name for field in dataclasses.fields(Settings)]
    others = [name for name in names if name not in FREE and typed(rest, name)]
    if others:
        from ..run_folder import read_run_config

        kept = read_run_config(path).settings
        told = ", ".join(f"{flag(name)} (there {getattr(kept, name)})" for name in others)
        raise WrongUse(
            f"{told} cannot change while a run goes on, only {', '.join(map(flag, FREE))} can: direp train --config "
            f"{quoted(path / 'config.json')} begins another run"
        )
