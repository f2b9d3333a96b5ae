"""How well a network does, beside the best linear model of the same inputs."""

import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...rules import SquaredError
from ...tasks import Task

_MOST = 512  # rows of a part that are looked at
_SHORT, _SIGMAS = 0.03, 2.0  # of the linear model's accuracy: so much less, or so many standard errors, is unlearned
_SHARE = 0.5  # of the variance of targets that the linear model explains: less is unlearned
_GAP, _FAR = 0.1, 3.0  # between training and held-out accuracy: so much, and so many standard errors, is overfitted
_HELD = 20  # held-out rows from which on they say something


class Rows:
    """Rows of a task that are looked at, evenly spread over its parts: training rows first, then held-out ones; and
    what a linear model makes of them."""

    def __init__(self, task: Task, cost: object):
        self.task, self.squared = task, isinstance(cost, SquaredError)
        held = [] if task.whole else [task.validation, task.test]
        parts = [_spread(task.train.x), *(_spread(part.x) for part in held)]
        tables = [task.train, *held]
        self.train = len(parts[0])
        self.x, self.y = (
            np.concatenate([getattr(table, name)[rows] for table, rows in zip(tables, parts, strict=True)])
            for name in ("x", "y")
        )

    @cached_property
    def linear(self) -> np.ndarray:
        """Outputs of the linear model that is fitted to the training rows."""
        from sklearn.linear_model import LogisticRegression, Ridge
        from sklearn.preprocessing import StandardScaler

        scaler = StandardScaler().fit(self.x[: self.train])
        x, y = scaler.transform(self.x), self.y[: self.train]
        label = y[:, 0] > 0.5 if self.task.outputs == 1 else y.argmax(1)
        if self.task.kind != "classification" or len(np.unique(label)) < 2:
            return Ridge(1.0).fit(x[: self.train], y).predict(x).reshape(len(x), -1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = LogisticRegression(max_iter=300).fit(x[: self.train], label)
            chance = model.predict_proba(x)
        if self.task.outputs == 1:
            return chance[:, 1:]
        found = np.zeros((len(x), self.task.outputs))
        found[:, model.classes_] = chance
        return found

    @property
    def commonest(self) -> np.ndarray:
        """The targets that most training rows have."""
        found, count = np.unique(self.y[: self.train], axis=0, return_counts=True)
        return found[count.argmax()]

    def accuracy(self, outputs: np.ndarray) -> np.ndarray:
        """Of every row, whether it is right."""
        if self.task.by_unit:
            return (np.round(outputs) == np.round(self.y)).all(1)
        return outputs.argmax(1) == self.y.argmax(1)

    def explained(self, outputs: np.ndarray, part: slice) -> float:
        """The share of the variance of targets that outputs explain; NaN where all targets are alike."""
        y, mean = self.y[part], self.y[: self.train].mean(0)
        total = ((y - mean) ** 2).sum()
        return float(1 - ((outputs[part] - y) ** 2).sum() / total) if total > 0 else np.nan


def _spread(table: np.ndarray) -> np.ndarray:
    return (
        np.unique(np.linspace(0, len(table) - 1, min(len(table), _MOST)).astype(int))
        if len(table)
        else np.zeros(0, int)
    )


@dataclass(frozen=True)
class Outcome:
    """How well the network of a seed does: `unlearned` (less than a linear model does), `overfitted` (on training rows
    alone), in `words`."""

    unlearned: bool
    overfitted: bool
    words: str


def outcome_of(rows: Rows, outputs: np.ndarray, loss: float, last: tuple[float, float] = (np.nan, np.nan)) -> Outcome:
    """By accuracy, explained variance and, where a task has such a notion, by whether it counts as solved.

    `loss`: of the training rows. `last`: loss and accuracy on them of the last epoch, where they are known: what was
    learned and not kept, as other rows did worse with it, was learned.
    """
    task, train, held = rows.task, slice(0, rows.train), slice(rows.train, None)
    outputs = np.nan_to_num(outputs, nan=0.0, posinf=1e6, neginf=-1e6)
    right = rows.accuracy(outputs) if task.kind != "regression" else None
    if task.solved is not None and right is not None:
        solved = bool(task.solved(np.array([loss]), np.array([right[train].mean()]))[0])
        return Outcome(not solved, False, f"{'solved' if solved else 'not solved'}, loss {loss:.3g}")
    linear, many = rows.linear, len(rows.y) - rows.train >= _HELD
    fits = [rows.explained(each, train) for each in (outputs, linear)]
    if rows.squared and np.isfinite(last[0]):
        spread = rows.y[train].var(0).sum() / 2  # the loss of outputs that are the mean of the targets
        fits[0] = max(fits[0], 1 - last[0] / spread) if spread > 0 else fits[0]
    unlearned = rows.squared and fits[0] < _SHARE * fits[1]
    if right is None:
        away = rows.explained(outputs, held) if many else np.nan
        overfitted = many and fits[0] - away > 2 * _GAP and away < rows.explained(linear, held)
        words = f"{fits[0]:.0%} of the variance explained on training rows, {away:.0%} on others; linear {fits[1]:.0%}"
        return Outcome(bool(unlearned or fits[0] < fits[1] - _GAP), bool(overfitted), words)
    fair = rows.accuracy(linear)
    kept, possible = right[train].mean(), fair[train].mean()
    reached = max(kept, last[1]) if np.isfinite(last[1]) else kept
    wanted = possible
    words = f"{kept:.1%} right on training rows"
    words += f" ({reached:.1%} in the last epoch)" if reached > kept + _SHORT else ""
    overfitted = False
    if many:
        away, elsewhere, count = right[held].mean(), fair[held].mean(), len(rows.y) - rows.train
        wanted = min(possible, elsewhere)  # a linear model may know training rows by heart
        gap = max(_GAP, _FAR * _error(away, count))
        blind = rows.accuracy(np.broadcast_to(rows.commonest, rows.y.shape))[held].mean()
        as_good = max(elsewhere + _error(elsewhere, count), blind + _SIGMAS * _error(blind, count))
        overfitted = reached - away > gap and away < as_good
        words += f", {away:.1%} on others; a linear model {possible:.1%} and {elsewhere:.1%}"
    else:
        words += f"; a linear model {possible:.1%}"
    unlearned |= reached < wanted - max(_SHORT, _SIGMAS * _error(wanted, rows.train))
    return Outcome(bool(unlearned), bool(overfitted), words)


def _error(share: float, count: int) -> float:
    return float(np.sqrt(max(share * (1 - share), 1 / count) / count))
