"""`direp doctor`: what is wrong with a run, and what to try."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated

from .. import catalogue, device
from ..settings import WrongUse, help_of
from . import DIVERGED, OK, UNREADABLE, Output, first, parse, progress

_RUNS_AWAY = ("diverged", "unsettled")


@dataclasses.dataclass(frozen=True)
class Doctor:
    """Say what is wrong with RUN, a folder of direp train, finished or not: symptoms in the order of causes, each with
    what was measured and what to try; and one line where nothing is.

    Gradients are measured only where a network has not learned its task.
    """

    output: Output
    symptoms: Annotated[tuple[str, ...], help_of("symptom", "Look for these alone: ")] = ()
    allow_import: bool = False
    """Import the modules of a user's own parts that the run names."""


def doctor(arguments: list[str]) -> int:
    """The command: exit code 0 if the run could be examined, whatever was found; 3 if something of it cannot be read,
    4 if it diverged or does not settle."""
    path, rest = first("doctor", arguments, "the folder of a run, before all options")
    asked = parse("doctor RUN", Doctor, rest, Doctor(Output()))
    if asked.output.out is not None:
        raise WrongUse("--out: doctor writes nothing; direp doctor RUN --json > FILE keeps what it says")
    for name in asked.symptoms:
        catalogue.check("symptom", name, "--symptoms")
    device.configure(double=True)
    from ..doctor import examined, judged

    run = examined(Path(path or ""), asked.allow_import)
    with progress("doctor", len(asked.symptoms or catalogue.names("symptom")), asked.output.quiet) as step:
        found = judged(run, asked.symptoms, step)
    print(json.dumps(found.to_dict(), indent=2) if asked.output.json else found)
    for line in found.missing:
        print(f"direp: {line}", file=sys.stderr)
    if found.missing:
        return UNREADABLE
    return DIVERGED if found.cause in _RUNS_AWAY else OK
