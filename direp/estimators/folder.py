"""An estimator as a run folder of the program, and back."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ..program import LoadedRun, Settings, keep_networks, new_run, open_run, reach_of
from ..runs import write_json
from ..tasks import Preparation, Samples, Task, from_arrays


def write(
    path: Path, settings: Settings, network: Any, rule: Any, preparation: Preparation, certificate: Any,
    data: tuple[np.ndarray, np.ndarray] | None, epochs: int,
) -> None:  # fmt: skip
    """Write a run folder of one network. `data`, rows and targets, is kept in it, rows as inputs."""
    kind, path = preparation.targets.kind, path.resolve()
    settings = dataclasses.replace(settings, task=str(path / "data.npz"), scale="none", kind=kind)
    if data is None:
        empty = Samples(*(np.zeros((1, size)) for size in (network.graph.inputs, network.graph.outputs)))
        task = Task("data", empty, empty, empty, kind=kind)
    else:
        x, y = preparation.inputs.encode(data[0]), np.array(data[1].tolist())  # words as text: objects would be pickled
        task = from_arrays(x, y, kind=kind, scale="none", reach=reach_of(settings))
        if kind == "classification" and len(task.classes) != len(preparation.targets.classes):
            raise ValueError(f"to_folder: y has {len(task.classes)} of {len(preparation.targets.classes)} classes")
        same = task.preparation is not None and task.preparation.targets.classes == preparation.targets.classes
        if task.outputs != network.graph.outputs or not same:
            raise ValueError("to_folder: the outputs of this network are not its sorted classes: leave out X and y")
    with new_run(path, settings, dataclasses.replace(task, preparation=preparation)) as folder:
        if data is not None:
            np.savez(folder.path / "data.npz", x=x, y=y)
        keep_networks(path, folder, [network], [int(settings.seeds)], [rule], preparation=preparation)
        proof = certificate.to_dict()
        short = {name: proof[name] for name in ("verdict", "criterion", "rate")}
        summary = {"run": str(path), "task": "data", "seeds": 1, "epochs": epochs, "certificate": short}
        write_json(path / "certificate.json", proof)
        write_json(path / "summary.json", summary)
        folder.tell("done")


def read(path: str | Path, allow_import: bool) -> tuple[LoadedRun, int]:
    """A run, and the place of the network that is best by validation."""
    with jax.enable_x64(True):  # numbers of either precision come as they are
        run = open_run(path, allow_import=allow_import, needs_data=None)
    if run.preparation is None or any(column.categories for column in run.preparation.inputs.columns):
        raise ValueError(
            f"{path} was trained on a table with words (or by an older version), which an estimator does not take: use "
            "direp.load, or direp predict"
        )
    return run, run.parts.seeds.index(run.chosen)
