"""`direp reproduce`: published results, trained again."""

import dataclasses
import sys
import time
from pathlib import Path

from ...runs import Requests
from .. import catalogue
from ..folders import fresh_folder, stamped
from ..settings import WrongUse, parse_seeds
from . import DIVERGED, OK, Output, Stop, first, parse


@dataclasses.dataclass(frozen=True)
class Folder(Output):
    out: Path | None = None
    """Folder to write, by default a new one; one that was interrupted is gone on with."""


@dataclasses.dataclass(frozen=True)
class Reproduce:
    output: Folder
    seeds: str | None = None
    """Seeds of every run, such as 0..999; by default 0..99, of images 0..2."""
    only: tuple[str, ...] = ()
    """Some tasks or ways to learn alone, by name, such as xor."""
    epochs: int | None = None
    """Train so long, in place of what was published or is the preset of."""
    baseline: Path | None = None
    """For revisited: the folder of a direp reproduce deep-2020 on the same seeds, so that it is not trained again."""
    data_dir: str | None = None
    """For mnist: directory with the folder mnist; by default DIREP_DATA, else it is downloaded once."""


Reproduce.__doc__ = f"""Train again what was published, NAME: {catalogue.describe("reproduction")}.

Writes a folder with a run folder for each training, table.json, figures, and report.md, which says what was published,
what was measured here, and what is derived here.
"""


def reproduce(arguments: list[str]) -> int:
    """The command: exit code 0, or 4 if every seed of every run diverged; 130/143 interrupted."""
    known = f"what to reproduce, before all options: {', '.join(catalogue.names('reproduction'))}"
    name, rest = first("reproduce", arguments, known)
    if name is not None:
        catalogue.check("reproduction", name, "reproduction")
    asked = parse("reproduce NAME", Reproduce, rest, Reproduce(Folder()))
    if asked.seeds is not None:
        parse_seeds(asked.seeds)
    if asked.epochs is not None and asked.epochs < 1:
        raise WrongUse(f"--epochs {asked.epochs} is out of range: give 1 or more")
    if asked.baseline is not None and not asked.baseline.is_dir():
        raise WrongUse(f"--baseline {asked.baseline} is no folder: give that of a direp reproduce deep-2020")
    from ..reproduce import run
    from ..run_folder import label_of

    what = run.Asked(name or "", asked.seeds, asked.epochs, asked.only, asked.baseline, asked.data_dir)
    output, begun = asked.output, time.perf_counter()
    folder = output.out or fresh_folder(None, stamped("reproduce", label_of(what.name)))
    interrupted = f"interrupted; go on with: {run.go_on_with(what, folder, rest)}"
    if Requests.now is not None:
        Requests.now.after = interrupted
    try:
        document = run.reproduce(what, folder, quiet=output.quiet, formats=output.format)
    except KeyboardInterrupt:
        if not folder.is_dir():
            raise
        print(f"direp: {interrupted}", file=sys.stderr)
        return Stop.code()
    if output.json:
        print((folder / run.TABLE).read_text(), end="")
    else:
        print(run.named(what.name).tables(document))
        print(f"\ntime    {time.perf_counter() - begun:.1f} s\nfolder  {folder}")
    every = [entry for own in document["runs"].values() for entry in own.values()]
    return DIVERGED if all(entry["diverged"]["count"] == entry["seeds"] for entry in every) else OK
