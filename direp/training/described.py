"""What a training in Python was asked for, as data: for its folder, and to tell whether a later call asks for the same.

Objects are described, not stored: a file holds no code. Who goes on gives them again.
"""

import contextlib
import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ..runs import RunFolder, seal
from .plan import Plan
from .recorded import RecordedOptimiser

_SHORT = 8  # numbers up to which an array is written out


def description_of(plan: Plan) -> dict[str, Any]:
    """Parts by their classes and numbers, arrays by their SHA-256."""
    trainer = {field.name: getattr(plan.trainer, field.name) for field in dataclasses.fields(plan.trainer)}
    network = trainer.pop("network")
    task = plan.task
    return {
        "seeds": list(plan.seeds),
        "neuron": described(network.neuron), "graph": described(network.graph), "precision": str(network.dtype),
        "task": {"name": task.name, "kind": task.kind}, "samples": described(plan.parts),
        "weight": described(task.weight),
        "batch_size": plan.size, "epochs": plan.epochs,
        **{name: described(value) for name, value in trainer.items()},
        "parameters": described(plan.parameters),
    }  # fmt: skip


def described(value: Any) -> Any:
    """An object as JSON would have it."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, RecordedOptimiser):
        program = f"{value.init.program.jaxpr}{value.update.program.jaxpr}"
        return {"program": hashlib.sha256(program.encode()).hexdigest(), "numbers": described(value.update.numbers)}
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        array = np.asarray(value)
        if array.size <= _SHORT:
            return array.tolist()
        return {"shape": list(array.shape), "dtype": str(array.dtype), "sha256": seal({}, {"": array})}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)}
        return {"kind": _place(type(value)), **{name: described(own) for name, own in fields.items()}}
    if isinstance(value, tuple) and (names := getattr(value, "_fields", ())):
        return {name: described(own) for name, own in zip(names, value, strict=True)}
    if isinstance(value, list | tuple):
        return [described(own) for own in value]
    if isinstance(value, dict):
        return {str(name): described(own) for name, own in value.items()}
    return _place(value if hasattr(value, "__qualname__") else type(value))


def _place(value: Any) -> str:
    return f"{value.__module__}:{value.__qualname__}"


@contextlib.contextmanager
def folder_of(plan: Plan, folder: str | Path | RunFolder | None) -> Iterator[RunFolder | None]:
    """The folder that keeps a training: one that somebody else looks after, or that of a path, which is made, or gone
    on with. Raises `ValueError` for one that holds another training, naming the differences."""
    if folder is None or isinstance(folder, RunFolder):
        yield folder
        return
    path, own = Path(folder), description_of(plan)
    if path.exists() and (not path.is_dir() or (any(path.iterdir()) and not (path / "config.json").exists())):
        raise ValueError(f"fit(folder={str(path)!r}) holds something else: name a new folder, nothing is overwritten")
    there = (path / "config.json").exists()
    with RunFolder(path) if there else RunFolder(path, {"fit": own}) as made:
        if there:
            kept = made.config.get("fit")
            if kept is None:
                raise ValueError(f"fit(folder={str(path)!r}) holds a run of direp train: direp.resume goes on with it")
            changes = differences(kept, own)
            if changes := {name: told for name, told in changes.items() if name != "epochs"}:
                told = "; ".join(
                    f"{name} was {was} and is {now}" if was != now else f"{name} is another one"
                    for name, (was, now) in list(changes.items())[:4]
                )
                raise ValueError(
                    f"fit(folder={str(path)!r}) holds another training: {told}. Only epochs may change; name a new "
                    "folder for another training"
                )
        yield made


def differences(one: Any, other: Any, lead: str = "") -> dict[str, tuple[Any, Any]]:
    """Where two descriptions differ: place -> what each has there."""
    if isinstance(one, dict) and isinstance(other, dict) and one.get("kind") == other.get("kind"):
        found: dict[str, tuple[Any, Any]] = {}
        for name in dict.fromkeys((*one, *other)):
            found |= differences(one.get(name), other.get(name), f"{lead}.{name}" if lead else name)
        return found
    return {} if _plain(one) == _plain(other) else {lead: (_shown(one), _shown(other))}


def _plain(value: Any) -> Any:
    return [_plain(own) for own in value] if isinstance(value, list | tuple) else value


def _shown(value: Any) -> Any:
    if isinstance(value, dict):
        return value.get("kind", f"{value['dtype']} of shape {value['shape']}" if "shape" in value else "another one")
    return value if len(repr(value)) <= 60 else "another one"
