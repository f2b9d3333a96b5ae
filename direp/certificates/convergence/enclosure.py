"""Values and slopes of an activation over intervals of its argument, rounded outwards."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from ...arithmetic import Interval, Shape, down, up
from ...model import ACTIVATIONS, Activation
from .system import outwards

Enclosure = Callable[[Interval], tuple[Interval, Interval]]


def enclosure(activation: Activation, dtype: Any) -> Enclosure:
    """From intervals of its argument (infinite ends allowed) to every value and every slope of an activation in them.

    Built-in ones are enclosed as the functions that their names say; one of a user's own by its `interval`, in which
    the numbers count as a precision rounds them. Without `interval`, its range and its declared slopes are all that is
    known. Both hold anyway.
    """
    if activation == ACTIVATIONS["identity"]:
        return lambda at: (at, Interval(np.ones_like(at.low), np.ones_like(at.low)))
    known = ACTIVATIONS.get(activation.name) == activation
    inner = _OPEN.get(activation.name) if known else None
    if inner is None and activation.interval is not None:
        inner = _shaped(activation.interval, 0.0 if known else 16 * float(jnp.finfo(dtype).eps))
    values = _bounds(outwards(activation.range, dtype))
    slopes = _bounds((-np.inf, np.inf) if activation.slope is None else outwards(activation.slope, dtype))

    def enclosed(at: Interval) -> tuple[Interval, Interval]:
        if inner is None:
            none = np.zeros_like(at.low)
            return values + none, slopes + none
        value, slope = inner(at)
        return value.meet(values), slope.meet(slopes)

    return enclosed


def _bounds(ends: tuple[float, float]) -> Interval:
    return Interval(np.asarray(ends[0]), np.asarray(ends[1]))


def _shaped(shape: Shape, doubt: float) -> Enclosure:
    """By a shape whose numbers are rounded: each of them may be off by this share."""
    scale = max((abs(end) for end in (shape.low, shape.high) if np.isfinite(end)), default=0.0)

    def enclosed(at: Interval) -> tuple[Interval, Interval]:
        at = _doubted(at, doubt, scale)
        return _doubted(shape.value(at), doubt, scale), _doubted(shape.slope(at), doubt, 1.0)

    return enclosed


def _doubted(part: Interval, share: float, scale: float) -> Interval:
    if not share:
        return part
    low, high = (np.where(np.isfinite(end), share * (np.abs(end) + scale), 0.0) for end in (part.low, part.high))
    return Interval(down(part.low - low), up(part.high + high))


def _relu(at: Interval) -> tuple[Interval, Interval]:
    ends = np.maximum(at.low, 0.0), np.maximum(at.high, 0.0)
    return Interval(*ends), Interval(np.where(at.low > 0, 1.0, 0.0), np.where(at.high < 0, 0.0, 1.0))


def _softplus(at: Interval) -> tuple[Interval, Interval]:
    def value(u: np.ndarray) -> np.ndarray:
        return np.maximum(u, 0.0) + np.log1p(np.exp(-np.abs(u)))

    def slope(u: np.ndarray) -> np.ndarray:
        small = np.exp(-np.abs(u))
        return np.where(u < 0, small, 1.0) / (1 + small)

    # Both grow with their argument.
    return _widened(value(at.low), value(at.high)), _widened(slope(at.low), slope(at.high))


def _widened(low: np.ndarray, high: np.ndarray) -> Interval:
    """`exp` and `log1p` are not correctly rounded."""
    return Interval(down(low * (1 - 1e-14) - 1e-300), up(high * (1 + 1e-14) + 1e-300))


_OPEN = {"relu": _relu, "softplus": _softplus}  # those without finite ends, for which there is no `Shape`
