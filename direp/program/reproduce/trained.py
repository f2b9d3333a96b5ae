"""A run that has come to its end, read from its folder alone, and the figures of all its seeds with intervals."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ...analysis import bootstrap_mean, student, wilson
from ...model import Network
from ...runs import Unreadable, quoted
from ...settling import settle
from ...training import history_at
from ..folders import summary_of
from ..run_folder import LoadedRun, open_run, read_run_config, wide
from ..settings import Settings

STARTS = 20  # states from which a network must give the same answers


@dataclass(frozen=True)
class Trained:
    """A finished run: `summary` as in `summary.json`, `history` the figures of every epoch and seed."""

    path: Path
    settings: Settings
    summary: Mapping[str, Any]
    history: Mapping[str, np.ndarray]

    @classmethod
    def read(cls, path: Path) -> "Trained":
        """Raises `Unreadable` for what is no run folder, or that of a run which has not come to its end."""
        settings, summary = read_run_config(path).settings, summary_of(path)
        if summary is None:
            raise Unreadable(f"{path} has no summary yet: direp resume {quoted(path)} goes on with the run")
        return cls(path, settings, summary, history_at(path))

    def each(self, *names: str) -> np.ndarray:
        """A figure of every seed, such as `each("test", "loss")`."""
        found = []
        for entry in self.summary["per_seed"]:
            for name in names:
                entry = entry[name]
            found.append(np.nan if entry is None else entry)
        return np.array(found)

    @cached_property
    def loaded(self) -> LoadedRun:
        with wide(self.settings.precision):
            return open_run(self.path)

    @cached_property
    def _how(self) -> dict[str, Any]:
        arguments = self.loaded.parts.fit()
        return {name: arguments[name] for name in ("method", "stop")}

    def outputs(self, seed: int, x: np.ndarray, box: tuple[float, float] | None = None) -> np.ndarray:
        """Outputs of the network of a seed for inputs `x`, from states drawn evenly from a range: by default that of
        the training."""
        low, high = self.settings.start if box is None else box
        network = self.network(seed)
        begin = np.random.default_rng(seed).uniform(low, high, (len(x), network.graph.free))
        with wide(self.settings.precision):
            return np.asarray(network.outputs(settle(network, x, state=begin, **self._how).state), float)

    def network(self, seed: int) -> Network:
        return self.loaded.networks[self.loaded.parts.seeds.index(seed)]

    @cached_property
    def solved_from_starts(self) -> np.ndarray:
        """For every seed whether it solved, and its rounded outputs are right from `STARTS` other states drawn as
        training draws them too."""
        return self._solved_from(self.settings.start)

    @cached_property
    def solved_from_everywhere(self) -> np.ndarray:
        """The same for states drawn evenly from [0, 1]."""
        return self._solved_from((0.0, 1.0))

    def _solved_from(self, box: tuple[float, float]) -> np.ndarray:
        x, y = (np.tile(table, (STARTS, 1)) for table in self.loaded.task.test)
        solved = self.each("solved").astype(bool)
        if box[0] == box[1]:
            return solved
        seeds = self.each("seed").astype(int)
        again = [
            ok and (np.round(self.outputs(seed, x, box)) == y).all() for seed, ok in zip(seeds, solved, strict=True)
        ]
        return np.array(again, bool)

    @cached_property
    def epochs_to_solve(self) -> np.ndarray | None:
        """For every seed the first epoch that counts as solved, infinite if none does; `None` without such a notion."""
        if self.summary["solved"] is None:
            return None
        judge: Any = self.loaded.task.solved
        solved = judge(self.history["validation_loss"], self.history["validation_accuracy"])
        return np.where(solved.any(0), solved.argmax(0) + 1.0, np.inf)


def measured(run: Trained) -> dict[str, Any]:
    """The figures of a run over its seeds, as `table.json` holds them: counts with Wilson's interval, medians with the
    band from the 10th to the 90th percentile, means with Student's interval; 95 per cent all."""
    history, loss, accuracy = run.history, run.each("test", "loss"), run.each("test", "accuracy")
    first = run.epochs_to_solve
    solved = None if first is None else run.each("solved").astype(bool)
    return {
        "seeds": len(loss),
        "epochs": len(history["loss"]),
        "solved": None if solved is None else _count(solved),
        "solved_from_starts": None if solved is None else _count(run.solved_from_starts),
        "solved_from_everywhere": None if solved is None else _count(run.solved_from_everywhere),
        "epochs_to_solve": None if first is None else float(np.median(first)),
        "diverged": _count(run.each("failed").astype(bool)),
        "unsettled_at_the_end": _count(run.each("unconverged") > 0),
        "unsettled_in_training": float(history["unsettled"].mean()),
        "certified_at_every_epoch": _count(np.asarray(history["certified"].astype(bool).all(0))),
        "lowest_margin": float(history["lowest_margin"].min()),
        "certificate": run.summary["certificate"]["verdict"],
        "loss": {"median": float(np.median(loss)), "band": np.quantile(loss, [0.1, 0.9]).tolist()},
        "accuracy": _mean(accuracy),
        "validation_accuracy": _mean(run.each("validation", "accuracy")),
        "seconds": run.summary["seconds"],
        "run": str(run.path),
    }


def _count(which: np.ndarray) -> dict[str, Any]:
    return {"count": int(which.sum()), "interval": wilson(int(which.sum()), len(which))}


def _mean(values: np.ndarray) -> dict[str, Any]:
    mean, half = student(values) if len(values) > 1 else (float(values[0]), None)
    return {"mean": mean, "half_width": half, "lowest": float(values.min()), "highest": float(values.max())}


def differences(run: Trained, base: Trained) -> dict[str, Any]:
    """A run minus another one on the same seeds, seed by seed, with a bootstrap's interval: of the share that solved,
    and of the loss at the end."""
    ours, theirs = (each.each("solved").astype(bool) for each in (run, base))
    loss = run.each("test", "loss") - base.each("test", "loss")
    share = ours.astype(float) - theirs
    return {
        "solved_only_here": int((ours & ~theirs).sum()),
        "solved_only_there": int((theirs & ~ours).sum()),
        "solved": {"mean": float(share.mean()), "interval": bootstrap_mean(share)},
        "loss": {"mean": float(loss.mean()), "interval": bootstrap_mean(loss)},
    }
