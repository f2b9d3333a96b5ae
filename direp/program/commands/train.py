"""`direp train`: train on a task, show progress, write a run folder."""

import dataclasses
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from ...runs import Unreadable, reading, tell_unsealed
from ..catalogue import names
from ..config import Config, read_config
from ..graph_file import is_graph_file
from ..parts import permit
from ..presets import describe_presets, preset, sized, suited
from ..record import How, Outcome, record
from ..settings import TAKEN_BY, Settings, WrongUse, check_task, is_file, refuse_untaken
from . import DIVERGED, OK, UNREADABLE, Output, Stop, first, option, parse, typed, values

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
    checkpoint: float = 30.0
    """Seconds between two checkpoints, from which direp resume goes on."""
    track: tuple[Literal["tensorboard", "mlflow"], ...] = ()
    """Tell a service of every epoch too: TensorBoard by files in RUN/tensorboard, MLflow wherever it is set up."""


Train.__doc__ = f"""Train a network on TASK: {", ".join(names("task"))}, a file of data, or your own, module:function.

A preset gives every setting a value for the task; what you set yourself overrides it.
"""


def parse_train(arguments: list[str]) -> tuple[Settings, Output, How, dict[str, Any] | None, tuple[str, ...]]:
    """Settings and output; what is kept on the way; what a --config keeps of its data, where this run takes the
    same; and the settings that the number of samples decides."""
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
    refuse_untaken([name for name in TAKEN_BY if typed(rest, name)], parsed.settings)
    if option(rest, "--preset") is None and name != "default" and not parsed.output.quiet:
        print(f"direp: settings begin from --preset {name}, which suits the graph", file=sys.stderr)
    if kept is not None and not kept.sealed:
        tell_unsealed(Path(config or ""))
    same = all(
        getattr(parsed.settings, name) == getattr(default, name)
        for name in ("task", "target", "drop", "kind", "scale", "split")
    )
    how = how_of(parsed.output, parsed.checkpoint, parsed.track)
    return parsed.settings, parsed.output, how, data if same else None, free


def _read_config(path: Path) -> Config:
    if not path.is_file():
        raise Unreadable(f"--config {path} {'is no file' if path.exists() else 'does not exist'}")
    with reading(f"--config {path} is not the config.json of a run"):
        return read_config(path)


def train(arguments: list[str]) -> int:
    settings, output, how, data, free = parse_train(arguments)
    return told(record(settings, output.out, how, data=data, free=free), output)


def how_of(output: Output, checkpoint: float, track: tuple[str, ...]) -> How:
    """What a training shows and keeps, by its options."""
    if not 0 <= checkpoint < 1e9:
        raise WrongUse(f"--checkpoint {checkpoint} is out of range: give seconds between two checkpoints, such as 30")
    return How(show=not output.quiet, formats=output.format, every=checkpoint, track=track)


def told(outcome: Outcome, output: Output) -> int:
    """Print what a run has come to; its exit code."""
    run, folder = outcome.run, outcome.folder
    if outcome.summary is None:
        print(
            f"direp: interrupted in epoch {outcome.epoch + 1} of {outcome.settings.epochs}; go on with: direp resume "
            f"{folder}", file=sys.stderr,
        )  # fmt: skip
        return Stop.code()
    if output.json:
        print((folder / "summary.json").read_text(), end="")
    else:
        from ..report import print_summary

        print_summary(outcome.summary, folder)
    if Stop.asked():
        print(f"direp: interrupted; the run is complete in {folder}", file=sys.stderr)
        return Stop.code()
    if outcome.rescued:
        return UNREADABLE
    if run.status == "failed":
        from ..report import why_failed

        why, advice = why_failed(run, outcome.settings)
        print(f"direp: {why} for every seed; {advice}. The last good networks are in {folder}", file=sys.stderr)
        return DIVERGED
    return OK
