"""Which inputs and which starts a claim is about: boxes, or samples, checked and as the network has them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Num

from ...arithmetic import Interval
from ...model import AbstractNeuron, Network


@dataclass(frozen=True)
class Between:
    """Every vector between two ends, entry by entry: inputs, or states of the free units.

    `low` and `high` are a number for all entries, or one for each. Raises `ValueError` for ends that are not finite, of
    different lengths, or the wrong way round.
    """

    low: Num[ArrayLike, "..."]
    high: Num[ArrayLike, "..."]

    def __post_init__(self):
        low, high = (np.asarray(end, np.float64) for end in (self.low, self.high))
        for name, end in (("low", low), ("high", high)):
            if end.ndim > 1 or not np.isfinite(end).all():
                raise ValueError(
                    f"Between({name}=...) has shape {end.shape} or entries that are not finite; give a finite number, "
                    "or a row of them, one for each entry"
                )
        if low.ndim == high.ndim == 1 and low.shape != high.shape:
            raise ValueError(
                f"Between(low=..., high=...) have {len(low)} and {len(high)} entries; give as many in both"
            )
        wrong = np.flatnonzero(np.ravel(low > high))
        if len(wrong):
            pair = [float(np.broadcast_to(end, np.broadcast_shapes(low.shape, high.shape)).ravel()[wrong[0]])
                    for end in (low, high)]  # fmt: skip
            raise ValueError(
                f"Between: entry {wrong[0]} goes from {pair[0]:g} down to {pair[1]:g}; low must be at most high"
            )

    def ends(self, size: int, who: str, each: str) -> tuple[np.ndarray, np.ndarray]:
        """Both ends, one number an entry; `who` asks for `size` of them, one for `each`."""
        both = []
        for end in (np.asarray(self.low, np.float64), np.asarray(self.high, np.float64)):
            if end.shape not in ((), (size,)):
                raise ValueError(
                    f"{who} has ends of {end.size} numbers; give one number, or {size}: one for each {each}"
                )
            both.append(np.broadcast_to(end, (size,)).copy())
        return both[0], both[1]

    @classmethod
    def hull(cls, rows: Num[ArrayLike, "batch entry"]) -> "Between":
        """The least that holds every row."""
        rows = np.asarray(rows, np.float64)
        return cls(rows.min(0), rows.max(0))


def inputs_of(network: Network, inputs: Any) -> tuple[Interval, bool]:
    """One row of intervals for each sample, or one for the whole box, in the numbers of the network's own precision;
    and whether they are samples."""
    size, dtype = network.graph.inputs, network.dtype
    if isinstance(inputs, Between):
        low, high = inputs.ends(size, "certify(inputs=Between(...))", "input")
        # Whatever lies in the box stays in it when the network rounds it.
        return Interval(_cast(low, dtype, -1)[None], _cast(high, dtype, 1)[None]), False
    if np.iscomplexobj(inputs) or isinstance(inputs, str | bytes):
        raise ValueError("certify(inputs=...) holds no real numbers; give rows of inputs, or direp.Between(low, high)")
    rows = np.asarray(inputs, np.float64)
    if rows.ndim != 2 or rows.shape[1] != size or not len(rows):
        raise ValueError(
            f"certify(inputs=...) has shape {rows.shape}; give one row of {size} numbers or more, one a sample, "
            "or a box, direp.Between(low, high)"
        )
    with np.errstate(over="ignore"):
        rows = rows.astype(dtype).astype(np.float64)
    if not np.isfinite(rows).all():
        row = int(np.argwhere(~np.isfinite(rows))[0, 0])
        raise ValueError(
            f"certify(inputs=...) has a number in row {row} that is not finite in {dtype}; remove or replace it"
        )
    rows = rows + 0.0  # no minus zero: rows are looked up by their bytes
    return Interval(rows, rows), True


def start_of(network: Network, start: Any) -> Interval | None:
    """A row of intervals, one for each free unit."""
    if start is None:
        return None
    if not isinstance(start, Between):
        raise ValueError(
            f"certify(start=...) is a {type(start).__name__}; give a box of states, direp.Between(low, high)"
        )
    low, high = start.ends(network.graph.free, "certify(start=Between(...))", "free unit, hidden first")
    box = Interval(_cast(low, network.dtype, -1), _cast(high, network.dtype, 1))
    faces = faces_of(network.neuron, network.dtype)
    if faces is not None:
        outside = np.flatnonzero((low < faces[0]) & (box.low < faces[0]) | (high > faces[1]) & (box.high > faces[1]))
        if len(outside):
            k = int(outside[0])
            raise ValueError(
                f"certify(start=...) goes from {low[k]:g} to {high[k]:g} at {network.graph.name(k)}, outside the "
                f"neuron's box [{faces[0]:g}, {faces[1]:g}]; give starts in it, or leave start out: all are covered"
            )
        box = box.clip(*faces)
    return box


def faces_of(neuron: AbstractNeuron, dtype: Any) -> tuple[float, float] | None:
    """The faces of a neuron's box as they are in a precision."""
    if neuron.low is None or neuron.high is None:
        return None
    return float(np.asarray(neuron.low, dtype)), float(np.asarray(neuron.high, dtype))


def _cast(ends: np.ndarray, dtype: Any, side: int) -> np.ndarray:
    """The nearest numbers of a precision on one side."""
    with np.errstate(over="ignore"):
        near = ends.astype(dtype)
        inside = side * (near.astype(np.float64) - ends) < 0
        return np.where(inside, np.nextafter(near, np.asarray(side * np.inf, dtype)), near).astype(np.float64)
