"""Values and slopes of an activation over intervals of its argument, rounded outwards."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from ...arithmetic import Interval, down, up
from ...model import ACTIVATIONS, Activation
from .system import outwards


def enclosed(activation: Activation, at: Interval, dtype: Any) -> tuple[Interval, Interval]:
    """Every value and every slope of an activation where its argument is in `at` (infinite ends allowed).

    Built-in ones are enclosed as the functions that their names say; one of a user's own by its `interval`, in which
    the numbers count as a precision rounds them. Without `interval`, its range and its declared slopes are all that is
    known. Both hold anyway.
    """
    if activation == ACTIVATIONS["identity"]:
        one = np.ones_like(at.low)
        return at, Interval(one, one)
    whole = Interval(np.full_like(at.low, -np.inf), np.full_like(at.low, np.inf))
    value, slope = whole, whole
    if activation.name in _OPEN and activation == ACTIVATIONS[activation.name]:
        value, slope = _OPEN[activation.name](at)
    elif activation.interval is not None:
        shape = activation.interval
        doubt = 0.0 if activation.name in ACTIVATIONS else 16 * float(jnp.finfo(dtype).eps)
        scale = max((abs(end) for end in (shape.low, shape.high) if np.isfinite(end)), default=0.0)
        value, slope = (_doubted(part, doubt, scale) for part in _shaped(shape, _doubted(at, doubt, scale)))
    bounds = (-np.inf, np.inf) if activation.slope is None else outwards(activation.slope, dtype)
    ends = outwards(activation.range, dtype)
    return value.meet(Interval(np.asarray(ends[0]), np.asarray(ends[1]))), slope.meet(
        Interval(np.asarray(bounds[0]), np.asarray(bounds[1]))
    )


def _shaped(shape: Any, at: Interval) -> tuple[Interval, Interval]:
    return shape.value(at), shape.slope(at)


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
