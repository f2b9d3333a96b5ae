"""`direp train`: train on a task, show progress, write a run folder."""

import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import device
from ..presets import preset
from ..settings import TASK_NAMES, Settings, Unreadable, WrongUse, parse_seeds, unknown_task
from . import DIVERGED, OK, Output, Stop, option, parse

if TYPE_CHECKING:
    from ...training import Run

__all__ = ["Outcome", "parse_train", "record", "train"]


@dataclasses.dataclass(frozen=True)
class Train:
    """Train a network on TASK: and, or, xor, not, identity, digits, iris, wine, breast-cancer, or a file.npz.

    A preset gives every setting a value for the task; what you set yourself overrides it.
    """

    settings: Settings
    output: Output
    preset: str = "default"
    """Named settings to begin with. Gates have small (5 hidden units) and deep-2020 (the published baseline) too."""
    config: Path | None = None
    """Settings to begin with, from the config.json of a run."""


def parse_train(arguments: list[str]) -> tuple[Settings, Output]:
    task = arguments[0] if arguments and not arguments[0].startswith("-") else None
    rest = arguments if task is None else arguments[1:]
    helping = "-h" in rest or "--help" in rest
    config = option(rest, "--config")
    if task is None and config is None and not helping:
        names = ", ".join(TASK_NAMES)
        raise WrongUse(f"train needs a task, before all options: {names}, or a file.npz with arrays x and y")
    if task is not None and task not in TASK_NAMES and not task.endswith(".npz"):
        raise WrongUse(unknown_task(task))
    if config is not None and option(rest, "--preset") is not None:
        raise WrongUse("--config and --preset both name the settings to begin with: give one of them")
    if config is not None:
        default = _read_config(Path(config))
        task = default.task if task is None else task
    else:
        task = "xor" if task is None else task
        default = preset(task, option(rest, "--preset") or "default")
    parsed = parse("train TASK", Train, rest, Train(dataclasses.replace(default, task=task), Output()))
    return parsed.settings, parsed.output


def _read_config(path: Path) -> Settings:
    try:
        return Settings.from_dict(json.loads(path.read_text())["settings"])
    except FileNotFoundError:
        raise Unreadable(f"--config {path} does not exist") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Unreadable(f"--config {path} is not the config.json of a run ({error})") from None


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A run that has been trained and recorded."""

    run: "Run"
    summary: dict[str, Any]
    folder: Path


def record(settings: Settings, out: Path | None, *, show: bool, label: str | None = None) -> Outcome:
    """Train by some settings and write the run folder; `show` the progress."""
    task = settings.load_task()

    lanes = len(parse_seeds(settings.seeds))
    device.start(double=settings.precision == "float64", lanes=lanes, platform=settings.device)
    from ...training import fit
    from ..report import Progress, certificates_of, save_figures, summary_of, worst_of
    from ..run_folder import RunFolder

    begun = time.perf_counter()
    arguments_of_fit = settings.build(task)
    with RunFolder(out, settings) as folder:
        with Progress(settings, task, show=show, label=label) as progress:
            run = fit(task=task, callbacks=[folder.epoch, progress.epoch], **arguments_of_fit)
        seconds = time.perf_counter() - begun
        if run.status == "interrupted":
            Stop.ignore()  # what is left takes seconds, and half of it would be of no use
        folder.weights(run.networks, run.seeds)
        certificates = certificates_of(run)
        summary = summary_of(run, settings, folder.path, seconds, certificates)
        folder.finish(summary, worst_of(certificates).to_dict())
    if run.history:
        save_figures(run, folder.path)
    return Outcome(run, summary, folder.path)


def train(arguments: list[str]) -> int:
    settings, output = parse_train(arguments)
    settings.check()
    Stop.install()
    outcome = record(settings, output.out, show=not output.quiet)
    run, folder = outcome.run, outcome.folder
    if output.json:
        print((folder / "summary.json").read_text(), end="")
    else:
        from ..report import print_summary

        print_summary(outcome.summary, folder)
    if run.status == "interrupted":
        print(f"direp: interrupted; the best networks so far are in {folder}", file=sys.stderr)
        return 128 + Stop.received
    if run.status == "failed":
        why = "no sample settled" if (run.history["left_out"][-1] == 1).all() else "training diverged"
        advice = "keep it certified (--margin 0.1), lower --learning-rate or raise --leak"
        print(
            f"direp: {why} for every seed; {advice}. The last good networks are in {folder}",
            file=sys.stderr,
        )
        return DIVERGED
    return OK
