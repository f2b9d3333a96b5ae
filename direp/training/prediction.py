"""What a trained network says of new rows: labels or values, how sure it is, and whether it settled."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..model import Network
from ..rules import AbstractCost, SquaredError
from ..settling import AbstractMethod, AbstractStop, ContractionProof, settle
from ..tasks import Preparation, Targets
from .step import AT_ONCE

_LEAST = 16  # rows are filled up to a power of two from here on, so that few sizes are compiled


@dataclass(frozen=True, repr=False)
class Prediction:
    """What a network says, row by row.

    - `value`: the label, the marks of several labels (rows x labels), or the number (rows x targets, or a row of them
      if there is one target), in the words and units of the data.
    - `outputs`: the rates of the output units, rows x outputs.
    - `probability`: for labels, rows x classes (or labels): outputs of a squared error within [0, 1] that sum to one,
      or the softmax of a cross-entropy. They are as good as the training was long; for calibrated ones use
      scikit-learn's `CalibratedClassifierCV`. `None` for a regression.
    - `settled`: whether the row's equilibrium was reached.
    - `error`: with a certificate, a proved bound on the distance from equilibrium: of a regression's values, in their
      shape and units; else of the outputs, the largest of each row. `None` without.
    """

    value: np.ndarray
    outputs: np.ndarray
    probability: np.ndarray | None
    settled: np.ndarray
    error: np.ndarray | None

    def __repr__(self) -> str:
        unsettled = int((~self.settled).sum())
        worst = "" if self.error is None else f", at most {self.error[self.settled].max(initial=0):.2g} off"
        return f"Prediction({len(self.settled)} rows{f', {unsettled} of them unsettled' if unsettled else ''}{worst})"

    def __len__(self) -> int:
        return len(self.settled)


def predict(
    network: Network,
    table: Any,
    preparation: Preparation | None = None,
    *,
    cost: AbstractCost | None = None,
    method: AbstractMethod | None = None,
    stop: AbstractStop | None = None,
    certificate: ContractionProof | None = None,
    step: Callable[[int], Any] | None = None,
) -> Prediction:
    """Settle a network on every row of a table, and read off what its outputs mean.

    **Arguments:**

    - `table`: rows as the data of the training was: a matrix, a frame of pandas or polars, an Arrow table.
    - `preparation`: of the task it was trained on (`Task.preparation`); by default rows are inputs, and values outputs.
    - `cost`: by which it was trained, for probabilities. `method`, `stop`, `certificate`: as in `settle`.
    - `step`: called with the number of rows that are done, as they are.

    Raises `ValueError` for columns that are not those of the training.
    """
    preparation = Preparation.plain(network.graph.inputs, network.graph.outputs) if preparation is None else preparation
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is found below
        x = preparation.inputs.encode(rows_of(table)).astype(network.dtype)
    if x.shape[1] != network.graph.inputs:
        raise ValueError(f"the rows have {x.shape[1]} inputs, and the network has {network.graph.inputs}")
    if not np.isfinite(x).all():
        row = int(np.argwhere(~np.isfinite(x))[0, 0])
        raise ValueError(
            f"row {row} holds numbers that are not finite in {network.dtype} once scaled; remove or replace them"
        )
    outputs, settled, errors = [], [], []
    hidden = network.graph.hidden
    for part, filled in _portions(x):
        found = settle(network, filled, method=method, stop=stop, certificate=certificate)
        count = len(part)
        outputs.append(np.asarray(network.outputs(found.state))[:count])
        settled.append(np.asarray(found.converged)[:count])
        if found.error is not None:
            errors.append(_of_rates(network, np.asarray(found.error)[:count, hidden:]))
        if step is not None:
            step(count)
    none = np.zeros((0, network.graph.outputs))
    rates, still = np.concatenate([none, *outputs]), np.concatenate([np.zeros(0, bool), *settled])
    return read(preparation.targets, rates, still, np.concatenate([none, *errors]) if errors else None, cost)


def read(
    targets: Targets, outputs: np.ndarray, settled: np.ndarray, error: np.ndarray | None, cost: AbstractCost | None
) -> Prediction:
    """A prediction from outputs that stand where they came to rest."""
    if error is not None and targets.kind == "regression":
        error = error * targets.scale
        error = error[:, 0] if error.shape[1] == 1 else error
    elif error is not None:
        error = error.max(1)
    chance = None if targets.kind == "regression" else probability(targets, outputs, cost or SquaredError())
    return Prediction(targets.decode(outputs), outputs, chance, settled, error)


def probability(targets: Targets, outputs: np.ndarray, cost: AbstractCost) -> np.ndarray:
    """Of every class, or of every label by itself."""
    share = np.asarray(cost.readout(outputs), float)
    if targets.kind == "multilabel":
        return share
    if share.shape[1] == 1:
        return np.concatenate([1 - share, share], 1)
    total = share.sum(1, keepdims=True)
    return np.where(total > 0, share / np.where(total > 0, total, 1), 1 / share.shape[1])


def rows_of(table: Any) -> Any:
    """A matrix of numbers, or an Arrow table."""
    if hasattr(table, "__arrow_c_stream__") or hasattr(table, "column_names"):
        from ..tasks import arrow

        return arrow(table)
    rows = np.asarray(table)
    rows = rows[:, None] if rows.ndim == 1 else rows
    if rows.ndim != 2 or rows.dtype.kind not in "biuf":
        raise ValueError(
            f"the rows are {rows.dtype} of shape {rows.shape}; needed is a table of numbers, a row a sample"
        )
    return rows.astype(float)


def _of_rates(network: Network, error: np.ndarray) -> np.ndarray:
    """Bounds of rates from those of states: a rate moves by as much as its slope allows, and is rounded itself."""
    rate = network.neuron.rate
    return error if rate.linear else rate.gain * error + 8 * float(np.finfo(network.dtype).eps)


def _portions(x: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for first in range(0, len(x), AT_ONCE):
        part = x[first : first + AT_ONCE]
        size = min(AT_ONCE, max(_LEAST, 1 << (len(part) - 1).bit_length()))
        yield part, np.concatenate([part, np.repeat(part[-1:], size - len(part), 0)])
