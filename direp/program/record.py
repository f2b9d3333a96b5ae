"""A training from its settings to its run folder: begun, gone on with, recorded."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import device
from .commands import Stop
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
    configure(settings)
    from .build import Parts, load_task
    from .data import check_data
    from .run_folder import new_run

    task = load_task(settings)
    own = sized(len(task.train.x))
    settings = dataclasses.replace(settings, **{name: own[name] for name in free})
    check_data(settings, task, data)
    parts = Parts(settings, task)
    arguments = parts.fit()  # what cannot be is refused before there is a folder
    Stop.check()
    with new_run(out, settings, task) as folder:
        return carry_on(folder, parts, arguments, how)


def record_together(several: Sequence[tuple[Settings, Path]], how: How) -> list[Outcome]:
    """Train settings that name a number of lanes, those that share a program side by side in it, each into its folder;
    one that was begun is gone on with. Each comes to the bits that it comes to alone.

    Raises `KeyboardInterrupt` where it was interrupted; whoever was not done then is as it was.
    """
    first = several[0][0]
    device.configure(double=first.precision == "float64", platform=first.device)
    from ..training import planned, program_of, train_together
    from .build import Parts, load_task

    tasks: dict[Any, Any] = {}
    groups: dict[Any, list[tuple[Any, Any, Path]]] = {}
    for settings, out in several:
        data = tuple(getattr(settings, name) for name in _DATA)
        task = tasks[data] if data in tasks else tasks.setdefault(data, load_task(settings))
        parts = Parts(settings, task)
        plan = planned(task=task, **{name: value for name, value in parts.fit().items() if name != "lanes"})
        groups.setdefault((settings.lanes, program_of(plan)), []).append((parts, plan, out))
    outcomes: dict[Path, Outcome] = {}
    for (lanes, _), members in groups.items():
        for some in _filling(members, lanes):
            Stop.check()
            stands = train_together([plan for _, plan, _ in some], lanes)
            if stands is None:
                raise KeyboardInterrupt
            for (parts, plan, out), now in zip(some, stands, strict=True):
                outcomes[out] = _put(out, parts, plan, now, how)
    return [outcomes[out] for _, out in several]


_DATA = ("task", "target", "drop", "kind", "data_dir", "scale", "split", "cost", "neuron", "activation", "leak")


def _filling(members: list[Any], lanes: int) -> list[list[Any]]:
    """Trainings dealt out to programs of so many lanes."""
    dealt: list[list[Any]] = [[]]
    for member in members:
        if sum(len(plan.seeds) for _, plan, _ in (*dealt[-1], member)) > lanes and dealt[-1]:
            dealt.append([])
        dealt[-1].append(member)
    return dealt


def _put(out: Path, parts: "Parts", plan: Any, now: Any, how: How) -> Outcome:
    """A training that has come to its end, as a run folder."""
    from ..training import Keeper

    with folder_for(out, parts.settings, parts.task) as folder:
        Keeper(folder, plan, now.state, how.every).save(now)
        return carry_on(folder, parts, parts.fit(), how)


def folder_for(out: Path, settings: Settings, task: Any) -> "RunFolder":
    """The run folder of some settings: a new one, or one that was begun."""
    from ..runs import RunFolder
    from .run_folder import new_run

    return RunFolder(out) if (out / "config.json").exists() else new_run(out, settings, task)


def configure(settings: Settings) -> None:
    lanes = len(parse_seeds(settings.seeds))
    device.configure(double=settings.precision == "float64", lanes=lanes, platform=settings.device)


def carry_on(folder: "RunFolder", parts: "Parts", arguments: dict[str, Any], how: How) -> Outcome:
    """Train from where a run folder stands to its end, and record what has come of it."""
    from ..runs import Requests, write_json
    from ..training import MLflow, TensorBoard, fit
    from .advice import faint, misfit, odd_data, unscaled
    from .report import certificates_of, save_figures, summary_of, task_line, worst_of
    from .run_folder import keep_networks

    settings, task = parts.settings, parts.task
    looks = {"unscaled": unscaled, "odd_data": odd_data, "misfit": misfit, "faint": faint}
    doubts = {name: said for name, look in looks.items() if (said := look(parts))}
    if is_file(settings.task):
        folder.say(task_line(task), show=how.show)
    if note := folded(parts.connectome):
        folder.say(f"{settings.graph}: {note}", show=how.show)
    for doubt in doubts.values():
        folder.say(doubt, show=how.show)
    Stop.check()
    said = (how.label or task.name) if how.show else False
    trackers = {"tensorboard": lambda: TensorBoard(folder.path / "tensorboard"), "mlflow": lambda: MLflow(task.name)}
    callbacks = [trackers[name]() for name in how.track]
    own = {"folder": folder, "checkpoint": how.every, "callbacks": callbacks, "progress": said}
    run = fit(task=task, **own, **arguments)
    epoch = len(run.history.get("loss", ()))
    if run.status == "interrupted":
        return Outcome(run, None, folder.path, settings, epoch)
    if Requests.now is not None:
        Requests.now.late = lambda number: folder.say(f"interrupted after training; direp resume {folder.path} ends it")
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
