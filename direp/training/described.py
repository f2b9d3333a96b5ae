"""What a training in Python was asked for, as data: for its folder, and to tell whether a later call asks for the same.

Objects are described, not stored: a file holds no code. Who goes on gives them again.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import math
import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..runs import RunFolder, seal, unused
from .plan import Plan
from .recorded import RecordedOptimiser

_SHORT = 8  # numbers up to which an array is written out
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")  # that an object happens to have in memory


def description_of(plan: Plan, lanes: int | None = None) -> dict[str, Any]:
    """Parts by their classes and numbers, functions by their names and what they hold, arrays by their SHA-256. What
    code does is no part of it."""
    trainer = {field.name: getattr(plan.trainer, field.name) for field in dataclasses.fields(plan.trainer)}
    network = trainer.pop("network")
    task = plan.task
    return {
        "seeds": list(plan.seeds),
        "neuron": described(network.neuron), "graph": described(network.graph), "precision": str(network.dtype),
        "layout": described(network.synapses), "lanes": lanes, "rows": [plan.samples, plan.rows],
        "task": {"name": task.name, "kind": task.kind}, "samples": described(plan.parts),
        "weight": described(task.weight),
        "batch_size": plan.size, "epochs": plan.epochs,
        **{name: described(value) for name, value in trainer.items()},
        "parameters": described(plan.parameters),
    }  # fmt: skip


def described(value: Any) -> Any:
    """An object as JSON would have it."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(float(value))  # JSON has no such numbers
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, RecordedOptimiser):
        return {name: _recorded(getattr(value, name)) for name in ("init", "update")}
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        return {"kind": str(value.dtype), "data": described(jax.random.key_data(value))}
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        array = np.asarray(value)
        if array.size <= _SHORT:
            return described(array.tolist())
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
    if isinstance(value, set | frozenset):
        return sorted(map(str, map(described, value)))
    if isinstance(value, functools.partial):
        return {"kind": "partial", "of": described(value.func), "with": described([value.args, value.keywords])}
    if isinstance(value, types.MethodType):
        return {"kind": _place(value), "of": described(value.__self__)}
    if isinstance(value, types.FunctionType):
        held = [described(cell.cell_contents) for cell in value.__closure__ or () if cell.cell_contents is not value]
        written = [own for own in value.__code__.co_consts if own is None or isinstance(own, bool | int | float | str)]
        held = [held, described([written, value.__defaults__, value.__kwdefaults__])]
        return {"kind": _place(value), "holds": hashlib.sha256(json.dumps(held).encode()).hexdigest()}
    if hasattr(value, "__qualname__"):
        return _place(value)
    return {"kind": _place(type(value)), "is": _ADDRESS.sub("", repr(value))}


def _recorded(value: Any) -> dict[str, Any]:
    """What a recorded function computes, and all its numbers: its text has no arrays of the functions within, and of
    functions of Python a place in memory, which is another one in every process."""
    text = _ADDRESS.sub("", str(value.program.jaxpr))
    arrays = [part for part in value.program.parts if isinstance(part, jax.Array | np.ndarray)]
    return {"program": hashlib.sha256(text.encode()).hexdigest(), "numbers": described([*value.numbers, *arrays])}


def _place(value: Any) -> str:
    return f"{value.__module__}:{value.__qualname__}"


@contextlib.contextmanager
def folder_of(plan: Plan, folder: str | Path | RunFolder | None, lanes: int | None) -> Iterator[RunFolder | None]:
    """The folder that keeps a training in so many lanes: one that somebody else looks after, or that of a path, which
    is made, or gone on with. Raises `ValueError` for one that holds another training, naming the differences."""
    if folder is None or isinstance(folder, RunFolder):
        yield folder
        return
    path, own = Path(folder), description_of(plan, lanes)
    there = (path / "config.json").exists()
    if not there and not unused(path):
        raise ValueError(f"fit(folder={str(path)!r}) holds something else: name a new folder, nothing is overwritten")
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
            if kept["epochs"] != plan.epochs:
                made.amend(fit=own)
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
