"""The data of a run, out of a file of the user's: what config.json keeps of it, and how it is found again."""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from ..runs import Unreadable, seal
from ..tasks import Samples, Task
from .build import load_task
from .settings import Settings, is_file


def data_of(settings: Settings, task: Task) -> dict[str, Any]:
    """What config.json keeps of the data: its sizes and kind; of a file its place too, and the SHA-256 of all samples
    as scaled and split."""
    sizes = {"inputs": task.inputs, "outputs": task.outputs, "kind": task.kind}
    if not is_file(settings.task):
        return {"data": sizes}
    return {"data": {"path": str(Path(settings.task).resolve()), **sizes, "sha256": _seal(task)}}


def _seal(task: Task) -> str:
    parts = {name: getattr(task, name)._asdict() for name in ("train", "validation", "test")}
    return seal({}, {f"{name}.{k}": table for name, part in parts.items() for k, table in part.items()})


def other_data(settings: Settings, task: Task, data: dict[str, Any] | None) -> str | None:
    """What to say of a task whose samples are not those of a run."""
    if not data or "sha256" not in data or data["sha256"] == _seal(task):
        return None
    return f"the data in {settings.task}, as scaled and split, is not that of the run, which was in {data['path']}"


def check_data(settings: Settings, task: Task, data: dict[str, Any] | None) -> str | None:
    """`other_data`, which standard error says too."""
    why = other_data(settings, task, data)
    if why is not None:
        print(f"direp: {why}", file=sys.stderr)
    return why


def load_again(settings: Settings, data: dict[str, Any] | None, needed: bool | None) -> tuple[Task, str | None]:
    """The task of a run, and why its data is not that of the run, if so.

    Where the data is not `needed` (`None`: not looked at either, where its sizes are known), one empty sample stands in
    for other or missing ones.
    """
    if needed is None and data:
        return _empty(settings, data), "it was not read"
    try:
        task = load_task(settings)
    except (Unreadable, ValueError) as error:
        if needed or not data:
            raise
        there = Path(settings.task).exists() or not is_file(settings.task)
        task, why = None, f"the data {'is not that of the run' if there else 'file is not there'}: {error}"
        print(f"direp: {why}", file=sys.stderr)
    else:
        why = check_data(settings, task, data)
    if why is None or needed or not data:
        assert task is not None
        return task, why
    return _empty(settings, data), why


def _empty(settings: Settings, data: dict[str, Any]) -> Task:
    empty = Samples(*(np.zeros((1, data[name])) for name in ("inputs", "outputs")))
    return Task(Path(settings.task).stem, empty, empty, empty, kind=data.get("kind", "classification"))
