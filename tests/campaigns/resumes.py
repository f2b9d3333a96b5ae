"""Do trainings that are interrupted, killed or made longer come to the bits of those that never were? Settings drawn at
random, over all parts; a training that runs through against one that is ended again and again.

Lanes are tried beside: a training alone in a program, and at another place of it with others around.

    python tests/campaigns/resumes.py --cases 100 --seed 0
"""

import argparse
import collections
import contextlib
import dataclasses
import itertools
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import numpy as np

import direp
from direp import tasks
from direp.program.build import Parts
from direp.program.catalogue import WrongUse
from direp.program.settings import Settings
from direp.runs import CHECKPOINT, WEIGHTS, RunFolder, read_back
from direp.training import planned, train_together

_FORMATS = {WEIGHTS: "direp 2", CHECKPOINT: "direp checkpoint 1"}
_CHOICES: dict[str, tuple[Any, ...]] = {  # beside what the settings have by default, which is half of all draws
    "graph": ("layered", "random"), "hidden": ((3,), (4,)), "density": (0.8,), "neuron": ("hopfield", "rate"),
    "activation": ("sigmoid", "tanh"), "outflow": ("none", "absolute"), "init": ("fan-in",), "layout": ("sparse",),
    "rule": ("trajectory", "vector-field", "symmetric-ep", "asym-ep", "asym-ep", "dyadic", "dyadic", "safeguard",
             "adjoint", "bptt"),
    "feedback": ("learned", "fixed"), "lift": (True,), "beta_end": (0.1,), "nudge": ("random-sign", "centred"),
    "homeostasis": (0.01,), "probe": (3,), "cost": ("cross-entropy",), "optimiser": ("sgd",),
    "learning_rate": (0.2, 1e30), "momentum": (0.0,), "schedule": ("cosine", "warm-cosine"), "decay": (0.01,),
    "batch_size": (7, 8, 1000), "margin": (None, None, 0.3), "control": ("weights", "loops"),
    "norm": ("rows", "perron"), "guarantee": ("sign-symmetric", "balanced", "pairs"), "through_leak": (False,),
    "learn_leak": (True,), "outputs_only": (True,), "shrink": (1e-4,), "dale": (True,), "weight_bounds": ((-1.0, 1.0),),
    "prune": (True,), "sign_only": (True,), "method": ("preconditioned", "anderson", "euler"), "fixed_steps": (20,),
    "max_steps": (3, 30), "start": ((0.0, 1.0),), "warm": (False,), "keep": ("last",), "seeds": ("3", "1..3"),
    "precision": ("float64",), "lanes": (3, 5),
}  # fmt: skip
_RARE = {"max_steps", "fixed_steps", "guarantee", "prune", "lanes", "outputs_only", "precision", "layout", "learn_leak"}


def _table(kind: str, rng: np.random.Generator) -> tasks.Task:
    x = rng.normal(size=(40, 3))
    y = np.sin(x[:, :2]) if kind == "regression" else (x[:, 0] > 0).astype(int) + (x[:, 1] > 0)
    task = tasks.from_arrays(x, y, kind=kind)
    weighed = rng.random() < 0.3
    weight = np.maximum(rng.uniform(-0.3, 2, len(task.train.x)), 0)
    return dataclasses.replace(task, weight=weight if weighed else None)


def draw(rng: np.random.Generator) -> tuple[tasks.Task, Settings, dict[str, Any]]:
    """A task, settings that can be trained, and the arguments of `fit`."""
    while True:
        changed = {}
        for name, values in _CHOICES.items():
            if rng.random() < (0.08 if name in _RARE else 0.25):
                changed[name] = values[rng.integers(len(values))]
        epochs = int(rng.choice([2, 3, 5, 12]))
        given = {"hidden": (4,), "max_steps": 500, "seeds": "0..1", "learning_rate": 0.05, "leak": 1.0, **changed}
        settings = Settings(task="table.npz", epochs=epochs, **given)
        task = _table(str(rng.choice(["classification", "classification", "regression"])), rng)
        try:
            settings.check()
            with jax.enable_x64(settings.precision == "float64"):
                arguments = Parts(settings, task).fit()
                planned(task=task, **{name: value for name, value in arguments.items() if name != "lanes"})
        except (WrongUse, ValueError):
            continue
        if rng.random() < 0.2:
            arguments["room"] = len(task.train.x) + int(rng.integers(1, 9))
        return task, settings, arguments


class _Ended(BaseException):
    """A process that is gone."""


class _Asks:
    """A request to end, at some safe points."""

    late, leaves = None, False

    def __init__(self, every: int):
        self.every, self.points = every, 0

    def take(self) -> bool:
        self.points += 1
        return self.points % self.every == 0

    def take_save(self) -> bool:
        return False


def _gone(self: RunFolder, *_: Any) -> None:
    os.close(self._lock._file)  # pyright: ignore
    self._lock._over.set()


def _ended_again_and_again(fit: Any, every: int, kills: bool) -> tuple[Any, int]:
    """To the end of a training, every process of which comes to a few safe points, or writes a few files."""
    for rounds in itertools.count(1):
        if not kills:
            listens = mock.patch("direp.training.loop.listening", return_value=contextlib.nullcontext(_Asks(every)))
            with listens:
                run = fit()
            if run.status != "interrupted":
                return run, rounds
            continue
        count, put = itertools.count(1), os.replace

        def ending(source: Any, target: Any, count: Any = count, put: Any = put, last: int = every + rounds) -> None:
            if next(count) == last:
                raise _Ended
            put(source, target)

        with (
            mock.patch("os.replace", ending),
            mock.patch.object(RunFolder, "__exit__", _gone),
            contextlib.suppress(_Ended),
        ):
            fit()
            return fit(), rounds
    raise AssertionError


def content(path: Path) -> dict[str, Any]:
    """Arrays, bit for bit."""
    arrays = read_back(path, "file", _FORMATS[path.name], ())[1]
    return {name: (array.dtype, array.shape, array.tobytes()) for name, array in arrays.items()}


def differing(one: Path, other: Path) -> list[str]:
    """What two folders have not alike."""
    found = []
    for name in _FORMATS:
        a, b = content(one / name), content(other / name)
        found += [f"{name}: {key}" for key in sorted({*a, *b}) if a.get(key) != b.get(key)]
    if (one / "metrics.jsonl").read_bytes() != (other / "metrics.jsonl").read_bytes():
        found.append("metrics.jsonl")
    return found


def _lanes(task: tasks.Task, arguments: dict[str, Any], rng: np.random.Generator) -> list[str]:
    """The same training alone, and with another one before it and after it."""
    own = {name: value for name, value in arguments.items() if name != "lanes"}
    task = dataclasses.replace(task, weight=None)  # those with weights are never trained beside others
    plan, count = planned(task=task, **own), len(own["seeds"])
    moved = [n.replace(jax.tree.map(lambda leaf: 0.5 * leaf, n.parameters)) for n in own["network"]]
    other = planned(task=task, **{**own, "network": moved, "seeds": [k + 50 for k in own["seeds"]]})
    width = 3 * count + int(rng.integers(0, 4))
    alone, beside = train_together([plan], width), train_together([other, plan, other], width)
    assert alone is not None
    assert beside is not None
    places = [jax.tree_util.tree_flatten_with_path((now.state, now.rows)) for now in (alone[0], beside[1])]
    if places[0][1] != places[1][1]:
        return [f"lanes: {len(alone[0].rows)} epochs alone, {len(beside[1].rows)} beside others"]
    raw = lambda leaf: np.asarray(  # noqa: E731
        jax.random.key_data(leaf) if jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
    ).tobytes()
    pairs = zip(places[0][0], places[1][0], strict=True)
    return [f"lanes: {jax.tree_util.keystr(path)}" for (path, a), (_, b) in pairs if raw(a) != raw(b)]


def trial(seed: int) -> tuple[str, list[str], str]:
    """What was tried, what differs, and the settings."""
    rng = np.random.default_rng(seed)
    task, settings, arguments = draw(rng)
    way = str(rng.choice(["asked", "killed", "longer", "lanes"]))
    if way == "longer":
        arguments |= {"epochs": int(rng.choice([2, 6, 25]))}
        settings = dataclasses.replace(settings, schedule="constant", beta_end=None)
        arguments = {**Parts(settings, task).fit(), "epochs": arguments["epochs"]}
    few, every = int(rng.choice([1, 20_000])), int(rng.integers(1, 5))
    told = {k: v for k, v in settings.to_dict().items() if v != getattr(Settings(), k)}
    shown = f"{told | {'epochs': arguments['epochs']}} {task.kind} room={arguments.get('room')} few={few} every={every}"
    with (
        tempfile.TemporaryDirectory() as home,
        jax.enable_x64(settings.precision == "float64"),
        mock.patch.multiple("direp.training.epochs", _FEW=few, _CALL=0.0),
    ):
        if way == "lanes":
            return way, _lanes(task, arguments, rng), shown
        one, other = Path(home) / "one", Path(home) / "other"
        how: Any = {"task": task, "checkpoint": 0.0, **arguments, "evaluate": False}
        direp.fit(**how, folder=one)
        if way == "longer":
            for epochs in sorted({1, int(rng.integers(1, how["epochs"])), how["epochs"]}):
                direp.fit(**{**how, "epochs": epochs}, folder=other)
        else:
            _ended_again_and_again(lambda: direp.fit(**how, folder=other), every, way == "killed")
        return way, differing(one, other), shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    begun, counts, bad = time.time(), collections.Counter(), 0
    for k in range(asked.cases):
        print(f"\r{k} of {asked.cases}, other bits: {bad}", end="", file=sys.stderr, flush=True)
        try:
            way, found, shown = trial(1000 * asked.seed + k)
        except Exception:
            way, found, shown = "error", [traceback.format_exc()], ""
        counts[way] += 1
        bad += bool(found)
        if found:
            print(
                f"case {1000 * asked.seed + k}, {way}: {'; '.join(found[:8])}\n  {shown}", file=sys.stderr, flush=True
            )
    told = ", ".join(f"{count} {way}" for way, count in sorted(counts.items()))
    print(f"\n{told}; other bits: {bad}; {time.time() - begun:.0f} s")
    raise SystemExit(bad > 0)


if __name__ == "__main__":
    main()
