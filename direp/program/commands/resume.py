"""`direp resume`: go on with a run from its folder alone."""

import dataclasses
import sys
import time
from pathlib import Path

from ..catalogue import WrongUse, flag
from ..record import How, carry_on, check_every, configure
from ..settings import COUNTED, Settings
from . import OK, Output, first, parse, typed
from .train import told

_FREE = ("epochs", "device", "data_dir")  # settings that a run may go on with another value of


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
    allow_import: bool = False
    """Import the modules of a user's own parts that the run names."""


def resume(arguments: list[str]) -> int:
    """The command: exit codes as of direp train."""
    path, rest = first("resume", arguments, "a run folder, before all options")
    if path is not None:
        _check_options(Path(path), rest)
    asked = parse("resume RUN", Resume, rest, Resume(Output()))
    check_every(asked.checkpoint)
    if asked.output.out is not None:
        raise WrongUse(
            "--out is where the run is: direp train --config RUN/config.json --out FOLDER begins another one"
        )
    if asked.epochs is not None and not 1 <= asked.epochs <= COUNTED:
        raise WrongUse(f"--epochs {asked.epochs} is out of range: give a number of at least 1")
    begun, folder = time.perf_counter(), Path(path or "")
    from ...runs import RunFolder
    from ..parts import permit
    from ..run_folder import read_run_config

    config = read_run_config(folder)
    permit(config.own, folder / "config.json", asked.allow_import)
    given = {name: getattr(asked, name) for name in _FREE if getattr(asked, name) is not None}
    settings = dataclasses.replace(config.settings, **given)
    settings.check()
    configure(settings)
    from ..build import Parts
    from ..data import load_again

    task, _ = load_again(settings, config.data, True)
    parts = Parts(settings, task)
    arguments_of_fit = parts.fit()
    how = How(show=not asked.output.quiet, formats=asked.output.format, every=asked.checkpoint)
    with RunFolder(folder) as place:
        done = place.stands()
        if done.get("state") in ("done", "failed") and settings.epochs <= config.settings.epochs:
            print(f"direp: {folder} is complete; train it for longer with --epochs N", file=sys.stderr)
            if asked.output.json:
                print((folder / "summary.json").read_text(), end="")
            return OK
        if settings.epochs != config.settings.epochs:
            place.amend(settings={**config.settings.to_dict(), "epochs": settings.epochs})
        place.say(f"goes on after epoch {done.get('epoch', 0)}", show=False)
        return told(carry_on(place, parts, arguments_of_fit, how, begun), asked.output)


def _check_options(path: Path, rest: list[str]) -> None:
    """Name settings that a run does not go on with another value of, with what they are in the run."""
    names = [field.name for field in dataclasses.fields(Settings)]
    others = [name for name in names if name not in _FREE and typed(rest, name)]
    if others:
        from ..run_folder import read_run_config

        kept = read_run_config(path).settings
        told = ", ".join(f"{flag(name)} (there {getattr(kept, name)})" for name in others)
        raise WrongUse(
            f"{told} cannot change while a run goes on, only {', '.join(map(flag, _FREE))} can: direp train --config "
            f"{path}/config.json begins another run"
        )
