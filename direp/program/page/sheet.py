"""What a page tells of one run: verdicts first, then figures over training, the network itself, and its settings."""

import contextlib
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...runs import Unreadable, quoted
from ..catalogue import WrongUse
from ..doctor import Diagnosis, Examination, examined, judged
from ..folders import FOREIGN, summary_of
from ..presets import preset
from ..report import certificate_line, headline, lines_of
from ..run_folder import LoadedRun, open_run
from ..settings import Settings, parse_seeds
from ..words import plural
from .charts import charts_of
from .drawings import Drawing, drawings_of
from .player import Unplayable, player_of


@dataclass(frozen=True)
class Verdict:
    """One statement: `good`, `bad` or `unsure`, and what belongs to it."""

    kind: str
    name: str
    text: str
    more: tuple[str, ...] = ()


@dataclass
class Sheet:
    """One run on a page. Whatever could not be read is among the verdicts and left out below."""

    name: str
    subtitle: str = ""
    verdicts: list[Verdict] = field(default_factory=list)
    lines: list[tuple[str, str]] = field(default_factory=list)
    again: str = ""
    seeds: int = 1
    columns: int = 1
    seed: int | None = None
    charts: list[dict[str, Any]] = field(default_factory=list)
    player: dict[str, Any] | None = None
    unplayable: str = ""
    drawings: list[Drawing] = field(default_factory=list)
    settings: list[tuple[str, str, str]] = field(default_factory=list)
    history: dict[str, np.ndarray] = field(default_factory=dict)
    summary: dict[str, Any] | None = None
    readable: bool = True


Step = Callable[[str, float], Any]


def sheet_of(path: Path, name: str, allow_import: bool, step: Step) -> Sheet:
    """All that a folder tells; a folder that is damaged, unfinished or none at all still makes a sheet."""
    sheet, run = Sheet(name), None
    try:
        step("reading", 0)
        with contextlib.suppress(Unreadable, WrongUse):  # of which the examination then says why
            run = open_run(path, allow_import=allow_import)
        examination = examined(path if run is None else run, allow_import)
    except (Unreadable, WrongUse) as error:
        sheet.readable = False
        sheet.verdicts.append(Verdict("bad", "Nothing can be read.", str(error)))
        return sheet
    sheet.history, sheet.summary = examination.history, summary_of(path)
    sheet.readable = not examination.missing
    _tell(sheet, examination, judged(examination, step=lambda what, share: step(what, 0)))
    step("weights", 1)
    sheet.columns = max((values.shape[1] for values in sheet.history.values()), default=1)
    whole = run is not None and run.task.whole
    sheet.charts = charts_of({name: sheet.history}, whole)
    if run is not None:
        _show(sheet, run, step)
    step("figures", 1)
    return sheet


def _tell(sheet: Sheet, examination: Examination, found: Diagnosis) -> None:
    summary, settings, path = sheet.summary, examination.settings, examination.path
    assert path is not None  # of a folder
    state = examination.status.get("state")
    if summary is not None:
        _summarise(sheet, summary)
    else:
        sheet.subtitle = f"{plural(examination.epochs, 'epoch')}, {_unfinished(state)}"
        sheet.readable &= state not in ("done", "failed")
        sheet.verdicts.append(Verdict("unsure", "Not finished.", _left(state, path)))
    sheet.verdicts += [
        Verdict("bad", finding.cause, finding.evidence, tuple(f"try {remedy}" for remedy in finding.remedies))
        for finding in found.findings
    ]
    if found.healthy:
        what = " in what can be read" if found.missing else ""
        sheet.verdicts.append(Verdict("good", f"Nothing found wrong{what}.", found.outcome))
    if found.skipped:
        told = tuple(f"{symptom}: {why}" for symptom, why in found.skipped.items())
        sheet.verdicts.append(Verdict("unsure", "Not looked for:", "", told))
    sheet.verdicts += [Verdict("bad", "Missing.", line) for line in found.missing]
    if settings is not None:
        sheet.seeds = len(parse_seeds(settings.seeds))
        sheet.again = f"direp train --config {quoted(path / 'config.json')}"
        sheet.settings = _settings(settings)


def _unfinished(state: Any) -> str:
    return {"running": "still training, or ended without a word", "failed": "failed"}.get(state, "not finished")


def _left(state: Any, path: Path) -> str:
    if state in ("done", "failed"):
        return "It came to its end, but its summary is missing or damaged."
    return f"What follows is of the epochs so far; direp resume {quoted(path)} goes on with it."


def _summarise(sheet: Sheet, summary: dict[str, Any]) -> None:
    """What its summary tells; of one that another hand has written, as much as can be read."""
    try:
        verdict = summary["certificate"]["verdict"]
        name = {"proved": "It settles:", "refuted": "It does not always settle:"}.get(verdict, "Not known to settle:")
        kind = {"proved": "good", "refuted": "bad"}.get(verdict, "unsure")
        sheet.verdicts.append(Verdict(kind, name, certificate_line(summary)))
        sheet.subtitle = headline(summary)
        sheet.lines += [(name, text) for name, text in lines_of(summary) if name != "certificate"]
    except FOREIGN as error:
        sheet.readable = False
        sheet.verdicts.append(Verdict("bad", "Missing.", f"summary.json is damaged ({type(error).__name__}: {error})"))


def _settings(settings: Settings) -> list[tuple[str, str, str]]:
    """All settings: name, value, and what the task's preset has instead, if it differs."""
    try:
        usual = dataclasses.asdict(preset(settings.task))
    except WrongUse:
        usual = {}
    given = dataclasses.asdict(settings)
    return [
        (name.replace("_", " "), f"{value}", "" if value == usual.get(name, value) else f"{usual[name]}")
        for name, value in given.items()
        if value not in (None, "", ())
    ]


def _show(sheet: Sheet, run: LoadedRun, step: Step) -> None:
    """The network of the seed that answers: to play with, and in figures."""
    sheet.seed = run.chosen
    at = run.parts.seeds.index(sheet.seed)
    if run.lost:
        sheet.verdicts.append(Verdict("unsure", "Its data was not read.", run.lost))
    try:
        step("player", 0)
        sheet.player = player_of(run.networks[at], run.rules[at], run.parts.cost, run.task)
    except Unplayable as why:
        sheet.unplayable = str(why)
    for drawing in drawings_of(run, sheet.seed):
        step("figures", 0)
        if isinstance(drawing, Drawing):
            sheet.drawings.append(drawing)
        else:
            sheet.verdicts.append(Verdict("unsure", "A figure is missing.", drawing))
