"""`direp plot`: the learning curves of several runs side by side."""

import dataclasses
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...runs import one_line
from ..folders import fresh_folder, new_folder, stamped
from ..settings import WrongUse
from ..words import plural
from . import OK, Output, Stop, parse


@dataclasses.dataclass(frozen=True)
class Plot:
    """Draw the learning curves of one RUN or several (folders of direp train, or their metrics.jsonl) in one figure:
    loss, accuracy and contraction margin over epochs, of several seeds the median and an 80 % band.

    Of a run of more than 20 seeds the folder keeps means alone (and the worst margin).
    """

    output: Output


def plot(arguments: list[str]) -> int:
    """The command: exit code 3 if a run cannot be read."""
    count = next((k for k, word in enumerate(arguments) if word.startswith("-")), len(arguments))
    runs, rest = arguments[:count], arguments[count:]
    if not runs and not {"-h", "--help"} & set(rest):
        raise WrongUse("plot needs one or more run folders, before all options")
    output = parse("plot RUN [RUN ...]", Plot, rest, Plot(Output())).output
    from ...runs import read_history

    paths = [Path(run) for run in dict.fromkeys(runs)]
    histories = {name: read_history(path) for name, path in zip(named(paths), paths, strict=True)}
    Stop.check()
    from ... import plot as draw
    from ...plot.style import canvas, save

    folder = new_folder(fresh_folder(output.out, stamped("plot")))
    figure = canvas()
    draw.learning_curves(histories, figure)
    save(figure, folder / "learning_curves.png", output.format)
    files = [str(folder / f"learning_curves.{kind}") for kind in dict.fromkeys(output.format)]
    missing = unknown(histories, draw.SIDE_BY_SIDE)
    if missing and not output.quiet:
        told = "; ".join(f"{what} of {_some(of)}" for what, of in missing.items())
        print(f"direp: not measured, and so not drawn: {told}", file=sys.stderr)
    document = {"runs": {name: str(p) for name, p in zip(histories, paths, strict=True)}, "files": files}
    print(json.dumps({**document, "missing": missing}, indent=2) if output.json else "\n".join(files))
    return OK


def named(paths: list[Path]) -> list[str]:
    """Names of runs in letters that can be shown: those of their folders, or their whole paths where two folders have
    one name."""
    folders = [path.parent if path.is_file() else path for path in paths]
    names = [Path(os.path.realpath(folder)).name for folder in folders]
    return [one_line(path if names.count(name) > 1 else name) for name, path in zip(names, paths, strict=True)]


def unknown(histories: Mapping[str, Mapping[str, Any]], figures: Mapping[str, Any]) -> dict[str, list[str]]:
    """For every figure of which some run has no number, those runs."""
    import numpy as np

    found = {}
    for figure, (title, _) in figures.items():
        without = [name for name, told in histories.items() if not np.isfinite(told.get(figure, np.zeros(0))).any()]
        if without:
            found[title] = without
    return found


def _some(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{', '.join(names[:2])} and {plural(len(names) - 2, 'more run')}"
