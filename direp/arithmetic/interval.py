r"""Intervals on NumPy arrays, rounded outwards: a whole stack of boxes in one operation.

The result of every operation holds the result for any members of its operands. IEEE arithmetic returns the nearest
double, so one step of `nextafter` outwards is enough; `exp` and `tanh` are not correctly rounded, and what is made of
them is widened by a relative $10^{-14}$.

Source: Moore (1966); Rump, Verification methods (Acta Numerica 2010).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


def down(values: Any) -> np.ndarray:
    """The next double below."""
    return np.nextafter(values, -np.inf)


def up(values: Any) -> np.ndarray:
    """The next double above."""
    return np.nextafter(values, np.inf)


@dataclass(frozen=True)
class Interval:
    """Arrays `low` <= `high` of one shape. The other operand of `+ - *` may be an array of numbers."""

    low: np.ndarray
    high: np.ndarray

    __array_ufunc__ = None  # an array on the left leaves the operation to the interval

    @classmethod
    def of(cls, value: Any) -> "Interval":
        return value if isinstance(value, Interval) else cls(np.asarray(value), np.asarray(value))

    def __neg__(self) -> "Interval":
        return Interval(-self.high, -self.low)

    def __add__(self, other: Any) -> "Interval":
        other = Interval.of(other)
        return Interval(down(self.low + other.low), up(self.high + other.high))

    def __sub__(self, other: Any) -> "Interval":
        return self + -Interval.of(other)

    def __mul__(self, other: Any) -> "Interval":
        other = Interval.of(other)
        ends = self.low * other.low, self.low * other.high, self.high * other.low, self.high * other.high
        return Interval(
            down(np.minimum(np.minimum(*ends[:2]), np.minimum(*ends[2:]))),
            up(np.maximum(np.maximum(*ends[:2]), np.maximum(*ends[2:]))),
        )

    __radd__, __rmul__ = __add__, __mul__

    def __rsub__(self, other: Any) -> "Interval":
        return Interval.of(other) - self

    def __truediv__(self, other: "Interval") -> "Interval":
        """By a positive interval."""
        least = np.where(self.low < 0, self.low / other.low, self.low / other.high)
        most = np.where(self.high < 0, self.high / other.high, self.high / other.low)
        return Interval(down(least), up(most))

    def __getitem__(self, index: Any) -> "Interval":
        return Interval(self.low[index], self.high[index])

    def sum(self, axis: int) -> "Interval":
        """One addition after the other, each rounded outwards."""
        parts = [self[(slice(None),) * axis + (k,)] for k in range(self.low.shape[axis])]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total

    def clip(self, low: Any, high: Any) -> "Interval":
        return Interval(np.clip(self.low, low, high), np.clip(self.high, low, high))

    def meet(self, other: "Interval") -> "Interval":
        """What both hold. Empty ones come back with `low` > `high`."""
        return Interval(np.maximum(self.low, other.low), np.minimum(self.high, other.high))

    def join(self, other: "Interval") -> "Interval":
        """The least that holds both."""
        return Interval(np.minimum(self.low, other.low), np.maximum(self.high, other.high))

    def size(self) -> np.ndarray:
        """The largest magnitude."""
        return np.maximum(np.abs(self.low), np.abs(self.high))

    def width(self) -> np.ndarray:
        return self.high - self.low


@dataclass(frozen=True)
class Ramp:
    """The identity, held at `low` and `high`. Infinite bounds: the identity itself."""

    low: float
    high: float

    def __post_init__(self):
        if not self.low < self.high or np.isinf(self.low) != np.isinf(self.high):
            raise ValueError(f"Ramp(low={self.low}, high={self.high}) needs low < high, both finite or both infinite")

    @property
    def linear(self) -> bool:
        return self.low == -np.inf

    def value(self, at: Interval) -> Interval:
        return at.clip(self.low, self.high)

    def slope(self, at: Interval) -> Interval:
        """Zero and one where it holds a corner."""
        inside = (at.low > self.low) & (at.high < self.high)
        outside = (at.high < self.low) | (at.low > self.high)
        return Interval(np.where(inside, 1.0, 0.0), np.where(outside, 0.0, 1.0))

    def slope_of(self, value: Any) -> None:
        """Its slope is no function of its value."""


@dataclass(frozen=True)
class Smooth:
    r"""An increasing function whose slope falls with $|u|$, and is `slope_of(value)`, a polynomial of the value."""

    low: float
    high: float
    fn: Callable[[np.ndarray], np.ndarray]
    slope_at: Callable[[np.ndarray], np.ndarray]
    slope_of: Callable[[Any], Any]
    linear = False

    def __post_init__(self):
        if not -np.inf < self.low < self.high < np.inf:
            raise ValueError(f"Smooth(low={self.low}, high={self.high}) needs finite bounds, low < high")

    def value(self, at: Interval) -> Interval:
        return _widen(Interval(self.fn(at.low), self.fn(at.high))).clip(self.low, self.high)

    def slope(self, at: Interval) -> Interval:
        nearest = np.where((at.low <= 0) & (at.high >= 0), 0.0, np.minimum(np.abs(at.low), np.abs(at.high)))
        return _widen(Interval(self.slope_at(at.size()), self.slope_at(nearest)))


Shape = Ramp | Smooth


def _widen(value: Interval) -> Interval:
    low, high = (np.abs(end) * 1e-14 + 1e-300 for end in (value.low, value.high))
    return Interval(down(value.low - low), up(value.high + high))
