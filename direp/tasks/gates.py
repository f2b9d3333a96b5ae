"""Logic gates: the whole truth table is training, validation and test at once."""

import difflib

import numpy as np

from .preparation import Column, Inputs, Preparation, Targets
from .task import Samples, Task

_TWO = [[0, 0], [0, 1], [1, 0], [1, 1]]
GATES = {
    "and": (_TWO, [0, 0, 0, 1]),
    "or": (_TWO, [0, 1, 1, 1]),
    "xor": (_TWO, [0, 1, 1, 0]),
    "not": ([[0], [1]], [1, 0]),
    "identity": ([[0], [1]], [0, 1]),
}


def _solved(loss: np.ndarray, right: np.ndarray) -> np.ndarray:
    return (loss < 0.05) & (right == 1)


def gate(name: str) -> Task:
    """A gate by name: `and`, `or`, `xor`, `not` or `identity`.

    Solved means a mean squared error, halved, below 0.05 and every rounded output right.
    """
    if name not in GATES:
        near = difflib.get_close_matches(name, GATES, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"gate({name!r}) is unknown: {hint}there are {', '.join(GATES)}")
    x, y = GATES[name]
    table = Samples(np.array(x, float), np.array(y, float)[:, None])
    bits = Inputs(tuple(Column(f"x{k}") for k in range(table.x.shape[1])), np.zeros(1), np.ones(1))
    kept = Preparation(bits, Targets("classification", classes=(0, 1)))
    return Task(name, table, table, table, classes=("0", "1"), solved=_solved, whole=True, preparation=kept)


def xor() -> Task:
    """The exclusive or, the smallest task that needs hidden units."""
    return gate("xor")
