"""`direp sweep`: many trials of one spec; it trains what is missing, and ranks all by their validation figures."""

import dataclasses
import sys
import time
from pathlib import Path

from ..settings import WrongUse
from ..words import plural
from . import DIVERGED, OK, Output, Stop, first, parse


@dataclasses.dataclass(frozen=True)
class Folder(Output):
    out: Path | None = None
    """The sweep's folder; by default runs/sweep- and the name of SPEC, where the same command goes on."""


@dataclasses.dataclass(frozen=True)
class Asked:
    """Train the trials that SPEC names, a TOML file (or the folder of a sweep, which goes on): a grid, settings at
    random, or a search. A trial is a run folder, named by the hash of its settings: what is there is not trained again.

    Settings are chosen by their validation figures alone; test figures are those of the chosen ones.
    """

    output: Folder
    workers: int = 0
    """Train in so many processes of this machine; by default in this one."""
    scheduler: str | None = None
    """Train on the workers of a Dask scheduler, such as tcp://host:8786, which see the same folder."""
    status: bool = False
    """Tell where the sweep stands, and train nothing."""
    retry: bool = False
    """Train those again that failed without a run, such as for want of memory."""
    allow_import: bool = False
    """Import the modules of a user's own parts that SPEC names."""


def sweep(arguments: list[str]) -> int:
    """The command: exit code 0, or 4 if every trial failed; 130/143 interrupted."""
    path, rest = first("sweep", arguments, "a spec, before all options: a TOML file, or the folder of a sweep")
    asked = parse("sweep SPEC", Asked, rest, Asked(Folder()))
    if asked.workers < 0:
        raise WrongUse(f"--workers {asked.workers} is out of range: give 1 or more, or leave it out")
    if asked.workers and asked.scheduler:
        raise WrongUse("--workers and --scheduler both say where to train: give one of them")
    from ..sweep import run, workers

    spec, folder = run.opened(Path(path or ""), asked.output.out, asked.allow_import)
    if asked.status:
        return _tell(run.status(spec, folder), run.told, spec, asked.output)
    where = workers.dask(asked.scheduler) if asked.scheduler else workers.here
    where = workers.processes(asked.workers) if asked.workers else where
    begun, output = time.perf_counter(), asked.output
    try:
        found = run.run_sweep(spec, folder, where, quiet=output.quiet, retry=asked.retry, formats=output.format)
    except KeyboardInterrupt:
        if not (folder / "spec.json").exists():
            raise
        found = run.status(spec, folder)
        _print(found, output, begun)
        total, ended = _counts(found)
        print(
            f"direp: interrupted; {ended} of {plural(total, 'trial')} are in {folder}: the same command goes on",
            file=sys.stderr,
        )
        return Stop.code()
    _print(found, output, begun)
    counts = found.document["counts"]
    if not counts["done"]:
        print("direp: every trial failed or was refused; the reasons are above", file=sys.stderr)
        return DIVERGED
    return OK


def _counts(found) -> tuple[int, int]:
    counts = found.document["counts"]
    return counts["trials"], counts["done"] + counts["failed"] + counts["refused"]


def _print(found, output: Output, begun: float) -> None:
    if output.json:
        print((found.folder / "results.json").read_text(), end="")
        return
    from ..sweep.results import SHOWN, table_of

    print(table_of(found.document, SHOWN), end="")
    print(f"\ntime    {time.perf_counter() - begun:.1f} s\nfolder  {found.folder}")


def _tell(found, told, spec, output: Output) -> int:
    if output.json:
        import json

        print(json.dumps(found.document, indent=2))
    else:
        print(told(found, spec))
    return OK
