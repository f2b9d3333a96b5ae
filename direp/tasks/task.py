from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .preparation import KINDS, Preparation


class Samples(NamedTuple):
    """Inputs (samples x inputs) and targets (samples x outputs)."""

    x: Any
    y: Any


@dataclass(frozen=True, repr=False)
class Task:
    """Training, validation and test samples, and what counts as success.

    - `validation`, `test`: may have no rows; nothing is then chosen or measured by them.
    - `kind`: `"classification"` (targets are one-hot, or one unit that is 0 or 1), `"multilabel"` (every output is 0 or
      1 by itself) or `"regression"`.
    - `classes`: names of the classes; empty for regression.
    - `solved`: from mean loss and accuracy (arrays) to whether the task counts as solved; `None` if it has no such
      notion.
    - `whole`: training, validation and test are one and the same set, because it is all there is (a truth table).
    - `preparation`: how rows become inputs, and outputs labels or values; `None` where they are these already.
    - `weight`: how much each training sample counts in the cost beside the others, 0 or above; by default all alike.
      Only their ratios matter.
    """

    name: str
    train: Samples
    validation: Samples
    test: Samples
    kind: str = "classification"
    classes: tuple[str, ...] = ()
    solved: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
    whole: bool = False
    preparation: Preparation | None = None
    weight: np.ndarray | None = None

    def __post_init__(self):
        for part in ("train", "validation", "test"):
            x, y = getattr(self, part)
            where = f"Task {self.name!r}, {part}"
            if x.ndim != 2 or y.ndim != 2 or len(x) != len(y):
                raise ValueError(
                    f"{where}: x has shape {x.shape} and y {y.shape}; needed are two tables of equal length"
                )
            if len(x) == 0 and part == "train":
                raise ValueError(f"{where}: there are no samples")
            for name, table in (("x", x), ("y", y)):
                bad = ~np.isfinite(table)
                if bad.any():
                    row, column = np.argwhere(bad)[0]
                    raise ValueError(
                        f"{where}: {name}[{row}, {column}] is {table[row, column]}; remove or fill in such entries "
                        f"({bad.sum()} in all)"
                    )
            if x.shape[1] != self.inputs or y.shape[1] != self.outputs:
                raise ValueError(
                    f"{where}: {x.shape[1]} inputs and {y.shape[1]} outputs do not match the training part"
                )

        if self.kind not in KINDS:
            raise ValueError(f"Task(kind={self.kind!r}) must be one of {', '.join(map(repr, KINDS))}")
        if self.weight is not None:
            weight = np.asarray(self.weight)
            if weight.shape != (len(self.train.x),) or not np.isfinite(weight).all() or (weight < 0).any():
                raise ValueError(
                    f"Task {self.name!r}, weight of shape {weight.shape}; needed is a finite number, 0 or above, for "
                    f"each of {len(self.train.x)} training samples"
                )
            if not weight.any():
                raise ValueError(f"Task {self.name!r}: every weight is 0; give some samples one above 0")

    def __repr__(self) -> str:
        parts = f"{len(self.train.x)} training, {len(self.validation.x)} validation and {len(self.test.x)} test samples"
        parts = f"{len(self.train.x)} samples for training and test" if self.whole else parts
        ends = ", ".join(
            f"{count} {name}{'' if count == 1 else 's'}"
            for count, name in ((self.inputs, "input"), (self.outputs, "output"))
        )
        return f"Task({self.name}, {self.kind}: {ends}, {parts})"

    @property
    def inputs(self) -> int:
        return self.train.x.shape[1]

    @property
    def outputs(self) -> int:
        return self.train.y.shape[1]

    @property
    def by_unit(self) -> bool:
        """Whether every output is right or wrong by itself, at 1/2: a single one for two classes, or several labels."""
        return self.kind == "multilabel" or (self.kind == "classification" and self.outputs == 1)
