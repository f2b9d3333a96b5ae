"""A training from its settings to its run folder: begun, gone on with, recorded."""

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..runs import quoted
from . import device
from .commands import Stop
from .folders import ended_as
from .graph_file import folded
from .presets import sized
from .settings import Settings, is_file, parse_seeds

if TYPE_CHECKING:
    from ..runs import RunFolder
    from ..training import Run
    from .build import Parts


@dataclasses.dataclass(frozen=True)
class How:
    """What a training shows and keeps: `show` the progress, named `label`, figures in these `formats`, a checkpoint
    `every` so many seconds, and trackers that are told of every epoch."""

    show: bool
    label: str | None = None
    formats: Sequence[str] = ("png",)
    every: float = 30.0
    track: Sequence[str] = ()


class Complete(ValueError):
    """A run that has come to its end already."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A run that has been trained and recorded; without a summary it was interrupted, after an `epoch`. `rescued`: its
    own folder could not be written."""

    run: "Run"
    summary: dict[str, Any] | None
    folder: Path
    settings: Settings
    epoch: int
    rescued: bool = False


def record(
    settings: Settings, out: Path | None, how: How, *, data: dict[str, Any] | None = None, free: tuple[str, ...] = ()
) -> Outcome:
    """Train by some settings and write a new run folder. `data`: what the run of a --config kept of its data. `free`:
    settings that the number of samples decides."""
    from .run_folder import new_run

    return _record(settings, how, lambda settings, task: new_run(out, settings, task), data, free)


def record_on(settings: Settings, out: Path, how: How) -> Outcome:
    """Train by some settings into a folder of their own; one that was begun is gone on with, from its checkpoint. What
    is in it beside is taken for what a killed process has left.

    Raises `Held` where another process is at it, and `Complete` where there is nothing left to do.
    """
    return _record(settings, how, lambda settings, task: folder_for(out, settings, task))


def _record(
    settings: Settings, how: How, opened: Callable[[Settings, Any], "RunFolder"], data: dict[str, Any] | None = None,
    free: tuple[str, ...] = (),
) -> Outcome:  # fmt: skip
    configure(settings)
    from .build import Parts, load_task
    from .data import check_data

    task = load_task(settings)
    own = sized(len(task.train.x))
    settings = dataclasses.replace(settings, **{name: own[name] for name in free})
    check_data(settings, task, data)
    parts = Parts(settings, task)
    arguments = parts.fit()  # what cannot be is refused before there is a folder
    Stop.check()
    with opened(settings, task) as folder:
        return carry_on(folder, parts, arguments, how)


def record_together(several: Sequence[tuple[Settings, Path]], how: How) -> dict[Path, Outcome | Exception]:
    """Train settings that name a number of lanes, those that share a program side by side in it, each into its folder
    as `record_on` does. Each comes to the bits that it comes to alone.

    What one raises is what has come of it, `Held` and `Complete` among them, and the others are trained. Raises
    `OSError` where nothing can be written, and `KeyboardInterrupt`; whoever was not done then is as it was.
    """
    first = several[0][0]
    device.configure(double=first.precision == "float64", platform=first.device)
    from ..training import planned, program_of
    from .build import Parts, load_task

    outcomes: dict[Path, Outcome | Exception] = {}
    tasks: dict[Any, Any] = {}
    groups: dict[Any, list[_Member]] = {}
    for settings, out in several:
        Stop.check()
        try:
            data = tuple(getattr(settings, name) for name in _DATA)
            task = tasks[data] if data in tasks else tasks.setdefault(data, load_task(settings))
            parts = Parts(settings, task)
            plan = planned(task=task, **{name: value for name, value in parts.fit().items() if name != "lanes"})
            groups.setdefault((settings.lanes, program_of(plan)), []).append(_Member(out, parts, plan))
        except OSError:
            raise
        except Exception as error:
            outcomes[out] = error
    for (lanes, _), members in groups.items():
        for some in _filling(members, lanes):
            outcomes |= _lanes(some, lanes, how)
    return outcomes


_DATA = ("task", "target", "drop", "kind", "data_dir", "scale", "split", "cost", "neuron", "activation", "leak")


class _Member(NamedTuple):
    """A training that is to be a lane, or several: where it goes, and what it consists of."""

    out: Path
    parts: "Parts"
    plan: Any


def _filling(members: list[_Member], lanes: int) -> list[list[_Member]]:
    """Trainings dealt out to programs of so many lanes."""
    dealt: list[list[_Member]] = [[]]
    for member in members:
        if sum(len(each.plan.seeds) for each in (*dealt[-1], member)) > lanes and dealt[-1]:
            dealt.append([])
        dealt[-1].append(member)
    return dealt


def _lanes(members: list[_Member], lanes: int, how: How) -> dict[Path, Outcome | Exception]:
    """Train in one program, every folder held from before the first epoch on."""
    from ..runs import Held, RunFolder
    from ..training import train_together

    outcomes: dict[Path, Outcome | Exception] = {}
    ours: list[tuple[_Member, RunFolder, contextlib.ExitStack]] = []
    try:
        with contextlib.ExitStack() as held:
            for member in members:
                place = contextlib.ExitStack()  # each is left by itself, as it is written
                try:
                    folder = place.enter_context(folder_for(member.out, member.parts.settings, member.parts.task))
                except (Held, Complete) as error:
                    outcomes[member.out] = error
                else:
                    ours.append((member, folder, held.enter_context(place)))
            Stop.check()
            stands = train_together([member.plan for member, *_ in ours], lanes) if ours else []
            if stands is None:
                raise KeyboardInterrupt
            for (member, folder, place), now in zip(ours, stands, strict=True):
                with place.pop_all():
                    outcomes[member.out] = _written(member, folder, now, how)
    except OSError:
        raise
    except Exception as error:  # of the program, which is that of all
        outcomes |= dict.fromkeys((member.out for member, *_ in ours), error)
    return outcomes


def _written(member: _Member, folder: "RunFolder", now: Any, how: How) -> Outcome | Exception:
    """What has come of a lane that was trained to its end."""
    from ..training import Keeper, run_of

    try:
        doubts = _doubts(folder, member.parts, how)
        Keeper(folder, member.plan, now.state, how.every).put(now)
        return _kept(folder, member.parts, run_of(member.plan, now), doubts, how)
    except OSError:
        raise
    except Exception as error:
        return error


def folder_for(out: Path, settings: Settings, task: Any) -> "RunFolder":
    """The run folder of some settings, held: a new one, or one that was begun. Raises `Held` and `Complete`."""
    from ..runs import RunFolder
    from .run_folder import contents_of

    contents = contents_of(settings, task)
    if ended_as(out) is not None:
        raise Complete(f"{out} is complete")
    with contextlib.ExitStack() as held:
        folder = held.enter_context(RunFolder(out, *contents, begun=True))
        if ended_as(out) is not None:  # by somebody who was at it until now
            raise Complete(f"{out} is complete")
        held.pop_all()
        return folder


def configure(settings: Settings) -> None:
    lanes = len(parse_seeds(settings.seeds))
    device.configure(double=settings.precision == "float64", lanes=lanes, platform=settings.device)


def carry_on(folder: "RunFolder", parts: "Parts", arguments: dict[str, Any], how: How) -> Outcome:
    """Train from where a run folder stands to its end, and record what has come of it."""
    from ..training import MLflow, TensorBoard, fit

    task, doubts = parts.task, _doubts(folder, parts, how)
    Stop.check()
    said = (how.label or task.name) if how.show else False
    trackers = {"tensorboard": lambda: TensorBoard(folder.path / "tensorboard"), "mlflow": lambda: MLflow(task.name)}
    callbacks = [trackers[name]() for name in how.track]
    own = {"folder": folder, "checkpoint": how.every, "callbacks": callbacks, "progress": said}
    return _kept(folder, parts, fit(task=task, **own, **arguments), doubts, how)


def _doubts(folder: "RunFolder", parts: "Parts", how: How) -> dict[str, str]:
    """Say what the data is taken for, and what is odd about it and the settings."""
    from .advice import faint, misfit, odd_data, unscaled
    from .report import task_line

    settings, task = parts.settings, parts.task
    looks = {"unscaled": unscaled, "odd_data": odd_data, "misfit": misfit, "faint": faint}
    doubts = {name: said for name, look in looks.items() if (said := look(parts))}
    if is_file(settings.task):
        folder.say(task_line(task), show=how.show)
    if note := folded(parts.connectome):
        folder.say(f"{settings.graph}: {note}", show=how.show)
    for doubt in doubts.values():
        folder.say(doubt, show=how.show)
    return doubts


def _kept(folder: "RunFolder", parts: "Parts", run: "Run", doubts: dict[str, str], how: How) -> Outcome:
    """What has come of a training, in its folder."""
    from ..runs import Requests, write_json
    from .report import certificates_of, save_figures, summary_of, worst_of
    from .run_folder import keep_networks

    settings, task = parts.settings, parts.task
    epoch = len(run.history.get("loss", ()))
    if run.status == "interrupted":
        return Outcome(run, None, folder.path, settings, epoch)
    if Requests.now is not None:
        Requests.now.late = lambda number: folder.say(
            f"interrupted after training; direp resume {quoted(folder.path)} ends it"
        )
    certificates = certificates_of(run, parts)
    summary = summary_of(run, settings, folder.path, folder.seconds, certificates) | doubts

    def write_all(place: Path) -> None:
        keep_networks(place, folder, run.networks, run.seeds, run.rules, run.best, task.preparation)
        write_json(place / "certificate.json", worst_of(certificates).to_dict())
        write_json(place / "summary.json", {**summary, "run": str(place)})

    place = folder.finish(write_all)
    if run.history and how.formats:
        try:
            save_figures(run, place, how.formats)
        except Exception as error:  # no figure is worth a training
            folder.say(f"figures could not be drawn ({type(error).__name__}: {error}); direp plot {place} tries again")
    rescued = place != folder.path
    if rescued:  # direp resume ends it, once there is room
        folder.tell("interrupted", f"it cannot be written: the networks are in {place}", epoch=epoch)
    else:
        folder.tell("failed" if run.status == "failed" else "done", summary.get("failure"), epoch=epoch)
    if Requests.now is not None:
        Requests.now.late = None
    return Outcome(run, {**summary, "run": str(place)}, place, settings, epoch, rescued)
