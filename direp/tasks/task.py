from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np


class Samples(NamedTuple):
    """Inputs (samples x inputs) and targets (samples x outputs)."""

    x: Any
    y: Any


@dataclass(frozen=True, repr=False)
class Task:
    """Training, validation and test samples, and what counts as success.

    - `kind`: `"classification"` (targets are one-hot, or one unit that is 0 or 1) or `"regression"`.
    - `classes`: names of the classes; empty for regression.
    - `solved`: from mean loss and accuracy (arrays) to whether the task counts as solved; `None` if it has no such
      notion.
    - `whole`: training, validation and test are one and the same set, because it is all there is (a truth table).
    """

    name: str
    train: Samples
    validation: Samples
    test: Samples
    kind: str = "classification"
    classes: tuple[str, ...] = ()
    solved: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
    whole: bool = False

    def __post_init__(self):
        for part in ("train", "validation", "test"):
            x, y = getattr(self, part)
            where = f"Task {self.name!r}, {part}"
            if x.ndim != 2 or y.ndim != 2 or len(x) != len(y):
                raise ValueError(
                    f"{where}: x has shape {x.shape} and y {y.shape}; needed are two tables of equal length"
                )
            if len(x) == 0:
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
    def one_unit(self) -> bool:
        """Whether a class is read off a single output, at 1/2."""
        return self.kind == "classification" and self.outputs == 1
