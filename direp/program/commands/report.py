"""`direp report`: runs explained in one page."""

import dataclasses
import json
import sys
from pathlib import Path

from ...runs import Unreadable, write
from ..folders import fresh_folder, new_folder, stamped
from ..settings import WrongUse
from . import OK, UNREADABLE, Output, Stop, parse, progress
from .plot import named

_PAGE = "report.html"


@dataclasses.dataclass(frozen=True)
class Report:
    """Explain one RUN or several (folders of direp train, finished or not) in one HTML file, which opens from disk and
    asks the network for nothing: verdicts and what is wrong, figures over training, the settings and the command that
    repeats it, and the network itself, to settle and nudge in the page.

    A folder that is damaged, foreign or not finished makes a page too, which says what is missing.
    """

    output: Output
    allow_import: bool = False
    """Import the modules of a user's own parts that the run names."""


def report(arguments: list[str]) -> int:
    """The command: exit code 3 if something of a run could not be read; the page is written all the same."""
    count = next((k for k, word in enumerate(arguments) if word.startswith("-")), len(arguments))
    runs, rest = arguments[:count], arguments[count:]
    if not runs and not {"-h", "--help"} & set(rest):
        raise WrongUse("report needs one or more run folders, before all options")
    asked = parse("report RUN [RUN ...]", Report, rest, Report(Output()))
    paths = [Path(run) for run in dict.fromkeys(runs)]
    for path, name in zip(paths, dict.fromkeys(runs), strict=True):
        if not (name and path.exists()):  # an empty name is that of the current folder
            raise Unreadable(f"{name or repr(name)} does not exist: name a run folder")
    from .. import device
    from ..page import page_of, sheet_of

    device.configure(double=True)
    folder = fresh_folder(asked.output.out, stamped("report"))
    with progress("report", 2 * len(paths), asked.output.quiet) as step:
        sheets = []
        for path, name in zip(paths, named(paths), strict=True):
            sheets.append(sheet_of(path, name, asked.allow_import, step))
            Stop.check()
    content = page_of(sheets).encode(errors="backslashreplace")  # a path may hold bytes that are no letters
    page = new_folder(folder) / _PAGE
    write(page, content)
    incomplete = [sheet.name for sheet in sheets if not sheet.readable]
    if asked.output.json:
        print(
            json.dumps({"file": str(page), "runs": [str(path) for path in paths], "incomplete": incomplete}, indent=2)
        )
    else:
        print(page)
    if incomplete and not asked.output.quiet:
        print(
            f"direp: not all of {', '.join(incomplete)} could be read: the page says what is missing", file=sys.stderr
        )
    return UNREADABLE if incomplete else OK
