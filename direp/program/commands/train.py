"""`direp train`: train on a task, show progress, write a run folder."""

import dataclasses
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from .. import device
from ..catalogue import names
from ..config import Config, read_config
from ..graph_file import folded, is_graph_file
from ..parts import Unreadable, permit, reading
from ..presets import describe_presets, preset, sized, suited
from ..seal import tell_unsealed
from ..settings import Settings, WrongUse, check_task, is_file, parse_seeds
from . import DIVERGED, OK, Output, Stop, first, option, parse, typed, values

if TYPE_CHECKING:
    from ...training import Run


_PRESETS = (
    f"Named settings to begin with: {describe_presets()}. If there is none: that of the same name as --graph, or deep "
    "for several hidden layers, where the task has it."
)


@dataclasses.dataclass(frozen=True)
class Train:
    settings: Settings
    output: Output
    preset: Annotated[str, tyro.conf.arg(help=_PRESETS)] = "default"
    config: Path | None = None
    """Settings to begin with, from the config.json of a run."""
    allow_import: bool = False
    """Import the modules of a user's own parts that --config names."""


Train.__doc__ = f"""Train a network on TASK: {", ".join(names("task"))}, a file of data, or your own, module:function.

A preset gives every setting a value for the task; what you set yourself overrides it.
"""


def parse_train(arguments: list[str]) -> tuple[Settings, Output, dict[str, Any] | None, tuple[str, ...]]:
    """Settings and output; what a --config keeps of its data, where this run takes the same; and the settings that the
    number of samples decides."""
    config = option(arguments, "--config")
    task, rest = (None, arguments)
    if config is None or (arguments and not arguments[0].startswith("-")):
        task, rest = first(
            "train", arguments, f"a task, before all options: {', '.join(names('task'))}, or a file of data"
        )
    if task is not None:
        check_task(task)
    if config is not None and option(rest, "--preset") is not None:
        raise WrongUse("--config and --preset both name the settings to begin with: give one of them")
    own, data, kept, name, positional = {}, None, None, "default", task is not None
    if config is not None:
        kept = _read_config(Path(config))
        default, own, data = kept.settings, kept.own, kept.data
        task = default.task if task is None else task
    else:
        task = "xor" if task is None else task
        name = option(rest, "--preset") or suited(task, option(rest, "--graph"), len(values(rest, "--hidden")))
        default = preset(task, name)
        if typed(rest, "rule") and not typed(rest, "feedback"):
            default = dataclasses.replace(default, feedback=Settings.feedback)
    parsed = parse("train TASK", Train, rest, Train(dataclasses.replace(default, task=task), Output()))
    # What the user types is theirs to run; what a file names is not.
    asked = {
        name: entry
        for name, entry in own.items()
        if parsed.settings.own().get(name) == entry[0] and not (positional if name == "task" else typed(rest, name))
    }
    permit(asked, Path(config or ""), parsed.allow_import)
    parsed.settings.check()
    own_data = kept is None and is_file(parsed.settings.task) and option(rest, "--preset") is None
    free = tuple(name for name in sized(1) if own_data and not typed(rest, name))
    if is_graph_file(parsed.settings.graph):
        stray = next((name for name in ("hidden", "density", "reciprocity") if typed(rest, name)), None)
        if stray:
            raise WrongUse(f"--{stray} is that of the graph in {parsed.settings.graph}: leave it out")
    if option(rest, "--preset") is None and name != "default" and not parsed.output.quiet:
        print(f"direp: settings begin from --preset {name}, which suits the graph", file=sys.stderr)
    if kept is not None and not kept.sealed:
        tell_unsealed(Path(config or ""))
    same = all(
        getattr(parsed.settings, name) == getattr(default, name)
        for name in ("task", "target", "drop", "kind", "scale", "split")
    )
    return parsed.settings, parsed.output, data if same else None, free


def _read_config(path: Path) -> Config:
    if not path.is_file():
        raise Unreadable(f"--config {path} {'is no file' if path.exists() else 'does not exist'}")
    with reading(f"--config {path} is not the config.json of a run"):
        return read_config(path)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A run that has been trained and recorded."""

    run: "Run"
    summary: dict[str, Any]
    folder: Path


def record(
    settings: Settings,
    out: Path | None,
    *,
    show: bool,
    label: str | None = None,
    callbacks: Sequence[Callable] = (),
    at_once: bool = False,
    data: dict[str, Any] | None = None,
    free: tuple[str, ...] = (),
    formats: Sequence[str] = ("png",),
) -> Outcome:
    """Train by some settings and write the run folder; `show` the progress. With `at_once`, training is interrupted in
    the middle of a step; not before it begins, as an interrupt can crash an import. `data`: what the run of a --config
    kept of its data. `free`: settings that the number of samples decides. `formats`: of figures."""
    lanes = len(parse_seeds(settings.seeds))
    device.configure(double=settings.precision == "float64", lanes=lanes, platform=settings.device)
    from ...training import fit
    from ..advice import faint, misfit, odd_data, unscaled
    from ..build import Parts, load_task
    from ..data import check_data
    from ..report import certificates_of, save_figures, summary_of, task_line, worst_of
    from ..run_folder import RunFolder

    task = load_task(settings)
    own = sized(len(task.train.x))
    settings = dataclasses.replace(settings, **{name: own[name] for name in free})
    check_data(settings, task, data)
    begun = time.perf_counter()
    parts = Parts(settings, task)
    arguments_of_fit = parts.fit()
    looks = {"unscaled": unscaled, "odd_data": odd_data, "misfit": misfit, "faint": faint}
    doubts = {name: said for name, look in looks.items() if (said := look(parts))}
    if show and is_file(settings.task):
        print(f"direp: {task_line(task)}", file=sys.stderr)
    if show and (note := folded(parts.connectome)):
        print(f"direp: {settings.graph}: {note}", file=sys.stderr)
    for doubt in doubts.values() if show else ():
        print(f"direp: {doubt}", file=sys.stderr)
    Stop.check()
    if at_once:
        Stop.install(at_once=True)
    with RunFolder(out, settings, task) as folder:

        def last(number: int, row: dict[str, Any]) -> None:
            Stop.check()
            if number == settings.epochs and at_once:
                Stop.finish()

        said = (label or task.name) if show else False
        run = fit(task=task, callbacks=[folder.epoch, last, *callbacks], progress=said, **arguments_of_fit)
        seconds = time.perf_counter() - begun
        if run.status == "interrupted":
            Stop.ignore()  # what is left takes seconds, and half of it would be of no use
        folder.weights(run.networks, run.seeds, run.rules, run.best)
        certificates = certificates_of(run, parts)
        summary = summary_of(run, settings, folder.path, seconds, certificates)
        summary |= doubts
        folder.finish(summary, worst_of(certificates).to_dict())
    if run.history:
        save_figures(run, folder.path, formats)
    return Outcome(run, summary, folder.path)


def train(arguments: list[str]) -> int:
    settings, output, data, free = parse_train(arguments)
    Stop.install()
    outcome = record(
        settings,
        output.out,
        show=not output.quiet,
        callbacks=[Stop.check],
        at_once=True,
        data=data,
        free=free,
        formats=output.format,
    )
    run, folder = outcome.run, outcome.folder
    if output.json:
        print((folder / "summary.json").read_text(), end="")
    else:
        from ..report import print_summary

        print_summary(outcome.summary, folder)
    if run.status == "interrupted" or Stop.asked:
        left = "the run is complete" if run.status != "interrupted" else "the best networks so far are"
        print(f"direp: interrupted; {left} in {folder}", file=sys.stderr)
        return 128 + Stop.received
    if run.status == "failed":
        from ..report import why_failed

        why, advice = why_failed(run, settings)
        print(f"direp: {why} for every seed; {advice}. The last good networks are in {folder}", file=sys.stderr)
        return DIVERGED
    return OK
