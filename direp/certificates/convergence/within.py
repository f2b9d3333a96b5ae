"""Where a certificate on inputs holds: for these inputs, once the states are in these boxes."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ...arithmetic import Interval, at_most, up
from ...model import AbstractField, NetworkField
from .absorbing import Absorbed
from .error_bar import reach_of, speeds
from .norm import AbstractNorm


@dataclass(frozen=True, eq=False, repr=False)
class Within:
    """For which inputs something is proved, and from when on.

    - `inputs`: low and high ends, a row for each sample, or for each part of the box. `samples`: how many samples;
      `None` for a box.
    - `start`: low and high ends of the starts; `None` for all that the neuron allows.
    - `box`: low and high ends of the states (rows x free) that every trajectory from these starts ends up in. Slopes
      and rates, steps and error bars hold in there.
    - `first`, `enters`: every trajectory from `first` is in `box` for good after this time; `None` where that depends
      on the start. Starts outside `first` come into it at the pace of their leaks.
    - `proved`: whether each row is. `rates`: of each row, in `norms`: one norm for all rows, or one for each.
    - `held`: which units (rows x free) a face of the neuron's box holds in there.
    - `full_steps`: whether all total leaks are above 0, so that a full step is one.
    """

    inputs: tuple[np.ndarray, np.ndarray]
    samples: int | None
    start: tuple[np.ndarray, np.ndarray] | None
    box: tuple[np.ndarray, np.ndarray]
    first: tuple[np.ndarray, np.ndarray]
    enters: float | None
    proved: np.ndarray
    rates: np.ndarray
    norms: tuple[AbstractNorm | None, ...]
    held: np.ndarray
    full_steps: bool

    @classmethod
    def of(
        cls, inputs: Interval, samples: bool, start: Interval | None, absorbed: Absorbed, rates: np.ndarray,
        norms: tuple[AbstractNorm | None, ...], full_steps: bool,
    ) -> "Within":  # fmt: skip
        def ends(box: Interval) -> tuple[np.ndarray, np.ndarray]:
            return box.low, box.high

        first = ends(absorbed.first)
        enters = float(absorbed.enters.max()) if np.isfinite(first).all() else None
        return cls(
            ends(inputs), len(inputs.low) if samples else None, None if start is None else ends(start),
            ends(absorbed.box), first, enters, rates > 0, rates, norms, absorbed.held, full_steps,
        )  # fmt: skip

    @property
    def share(self) -> float:
        """How much is proved: the share of the samples, or of the volume of the box of inputs."""
        if self.samples is not None:
            return float(self.proved.mean())
        (low, high), whole = self.inputs, self.inputs[1].max(0) - self.inputs[0].min(0)
        parts = np.where(whole > 0, (high - low) / np.where(whole > 0, whole, 1.0), 1.0).prod(1)
        return 1.0 if self.proved.all() else float(parts[self.proved].sum() / parts.sum())

    @cached_property
    def _places(self) -> dict[bytes, int]:
        return {row.tobytes(): k for k, row in enumerate(self.inputs[0])}

    def rows(self, x: Any) -> np.ndarray:
        """The row of each of some inputs. Raises `ValueError` for an input that this says nothing of."""
        x = np.asarray(x, np.float64) + 0.0
        if self.samples is None:
            rows = np.full(len(x), -1)
            for k, (low, high) in enumerate(zip(*self.inputs, strict=True)):
                rows[((x >= low) & (x <= high)).all(1)] = k
            if (rows < 0).any():
                low, high = self.inputs[0].min(0), self.inputs[1].max(0)
                row, entry = np.argwhere(~((x >= low) & (x <= high)))[0]
                raise ValueError(
                    f"this certificate is of inputs in a box: input {entry} of row {row} is {x[row, entry]:g}, outside "
                    f"[{low[entry]:g}, {high[entry]:g}]; leave certificate out, or certify(inputs=...) a box with it"
                )
            return rows
        found = np.array([self._places.get(row.tobytes(), -1) for row in np.ascontiguousarray(x)], int)
        if (found < 0).any():
            raise ValueError(
                f"this certificate is of {self.samples} samples: row {int(np.argmax(found < 0))} of these inputs is "
                "none of them; leave certificate out, or certify(inputs=...) with it or a box that holds it"
            )
        return found

    def bars(self, field: AbstractField, state: np.ndarray) -> np.ndarray | None:
        r"""A bound of $|s-s^*|$ of every unit (batch x free) in the free phase; `None` for other phases. Raises
        `ValueError` for inputs that this says nothing of.

        The equilibrium is in the box, so a bound holds for all states; in the box, so does that of the field."""
        if not isinstance(field, NetworkField):
            return None
        rows, state = self.rows(field.x), np.asarray(state, np.float64)
        low, high = (end[rows] for end in self.box)
        bars = up(np.maximum(state - low, high - state))
        inside = ((state >= low) & (state <= high)).all(1)
        speed, doubt = speeds(field, state)
        for place, norm in enumerate(self.norms):
            mine = np.flatnonzero(inside & (rows == place) if len(self.norms) > 1 else inside)
            if norm is not None and len(mine):
                near = reach_of(norm, self.rates[rows[mine]], speed[mine], doubt[mine])
                bars[mine] = np.minimum(bars[mine], near)
        return bars

    def __str__(self) -> str:
        if self.enters is None:
            return "once a trajectory is in the absorbing box"
        return f"once a trajectory is in the absorbing box, from time {at_most(self.enters)} on"

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the boxes that hold those of all rows, and how many rows are proved, at which rates."""

        def hull(box: tuple[np.ndarray, np.ndarray] | None) -> Any:
            return None if box is None else {"low": box[0].min(0).tolist(), "high": box[1].max(0).tolist()}

        return {
            "inputs": hull(self.inputs), "samples": self.samples, "parts": len(self.proved),
            "proved": int(self.proved.sum()), "share": self.share,
            "start": None if self.start is None else {"low": self.start[0].tolist(), "high": self.start[1].tolist()},
            "enters": self.enters, "box": hull(self.box), "rates": self.rates.tolist(),
        }  # fmt: skip
