"""Is what an activation declares true? It is tried against its own values and derivative; a trial can only refute."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import flint
import jax
import jax.numpy as jnp
import numpy as np

from ..arithmetic import Interval

_COUNT = 16384  # points of one look; one size, so that one program serves all of them
_BALLS, _INSIDE = 96, 5  # balls (and intervals) over which enclosures are tried, and points in each
_EPS = 256  # in units of rounding: what a bound may be missed by


def apart(look: Callable[[], Any]) -> Any:
    """What a function returns in a thread of its own, where no transformation of the caller is under way."""
    with ThreadPoolExecutor(1) as own:
        return own.submit(look).result()


def refute(activation: Any) -> None:
    """Raise `ValueError`, with a place where it fails, if something that an activation declares is false."""
    complaint = apart(lambda: next(_complaints(activation), None))
    if complaint is not None:
        raise ValueError(f"Activation({activation.name!r}): {complaint}")


@lru_cache(1)
def _points() -> np.ndarray:
    """A dense grid on [-20, 20], all scales from 1e-8 to 1e3, and random points of several scales."""
    rng = np.random.default_rng(0)
    scales = np.concatenate([np.logspace(-8, -3, 64), np.logspace(-3, 3, 512)])
    given = np.concatenate([np.linspace(-20, 20, 10001), scales, -scales])
    sizes = np.repeat([0.5, 4.0, 30.0, 300.0], 1 + (_COUNT - len(given)) // 4)[: _COUNT - len(given)]
    return np.sort(np.concatenate([given, np.clip(rng.normal(0, sizes), -1000, 1000)]))


def _call(fn: Callable, given: jax.Array) -> Any:
    try:
        return fn(given)
    except Exception as error:
        raise ValueError(f"fn fails for an array of shape {given.shape}: {str(error).splitlines()[0]}") from None


class _Look:
    """Values and slopes of a function at many points, in 64 bits. Not compiled: its operations are, once for all."""

    def __init__(self, fn: Callable):
        self.fn, self.eps = fn, 0.0

    def __call__(self, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`at` has at most `_COUNT` entries. Where there is no derivative, its slope is NaN."""
        padded = np.resize(at, _COUNT)
        with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
            given = jnp.asarray(padded)
            try:
                values, slopes = jax.jvp(self.fn, (given,), (jnp.ones_like(given),))
            except (TypeError, ValueError, NotImplementedError):  # a function that JAX cannot differentiate
                values, slopes = _call(self.fn, given), np.full(_COUNT, np.nan)
            if not isinstance(values, jax.Array):
                raise ValueError(f"fn returns a {type(values).__name__}: make it of JAX operations (jax.numpy)")
            if (values.shape, values.dtype) != (given.shape, given.dtype):
                raise ValueError(
                    f"fn maps an array of shape {given.shape} and type {given.dtype} to one of shape {values.shape} "
                    f"and type {values.dtype}; it must keep both"
                )
        self.eps = _EPS * float(jnp.finfo(values.dtype).eps)
        return np.asarray(values, np.float64)[: len(at)], np.asarray(slopes, np.float64)[: len(at)]

    def batch(self, at: np.ndarray) -> np.ndarray:
        """Values of `_COUNT` numbers that stand in rows."""
        with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
            values = _call(self.fn, jnp.asarray(at.reshape(128, -1)))
        if np.size(values) != at.size:
            raise ValueError(f"fn maps an array of shape (128, {at.size // 128}) to one of shape {np.shape(values)}")
        return np.asarray(values, np.float64).ravel()


def _complaints(activation: Any) -> Iterator[str]:
    look, at = _Look(activation.fn), _points()
    try:
        values, slopes = look(at)
        alone = look(at[_COUNT // 3 : -_COUNT // 3])[0]  # beside other numbers
        batch = look.batch(at)[_COUNT // 3 : -_COUNT // 3]  # in rows, as samples come
    except ValueError as error:
        yield str(error)
        return
    with np.errstate(all="ignore"):
        same = values[_COUNT // 3 : -_COUNT // 3]
        for others in (alone, batch):
            off = ~((np.abs(others - same) <= look.eps * (1 + np.abs(same))) | (others == same) | np.isnan(same))
            if off.any():
                s = at[_COUNT // 3 + np.argmax(off)]
                yield f"fn does not act unit by unit: beside other numbers it has another value at s = {s:g}"
        yield from _bounds(activation, look, at, values, slopes)
        for _ in range(2):  # again where values and slopes are extreme, ever closer
            at = _extreme(at, values, slopes)
            values, slopes = look(at)
            yield from _bounds(activation, look, at, values, slopes)
        if activation.enclose is not None or activation.interval is not None:
            yield from _enclosures(activation, look, at)


def _secants(at: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.diff(values) / np.diff(at)


def _extreme(at: np.ndarray, values: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """Points around those places where values, slopes or secants are largest or least."""
    rng, places = np.random.default_rng(1), []
    for each in (values, slopes, _secants(at, values)):
        finite = np.isfinite(each)
        middle = float(each[finite].mean()) if finite.any() else 0.0
        order = np.argsort(np.where(finite, each, middle), kind="stable")
        spread = order[:: max(1, len(order) // 16)]  # some of all sizes, too
        places += [*order[:16], *order[-16:], *spread]
    chosen = np.unique(places)
    low, high = at[np.maximum(chosen - 1, 0)], at[np.minimum(chosen + 2, len(at) - 1)]
    many = _COUNT // len(chosen)
    inside = low[:, None] + (high - low)[:, None] * rng.random((len(chosen), many))
    return np.unique(inside)


def _bounds(activation: Any, look: _Look, at: np.ndarray, values: np.ndarray, slopes: np.ndarray) -> Iterator[str]:
    (low, high), slope = activation.range, activation.slope
    blur = look.eps * (1 + np.abs(values))
    out = np.maximum(low - values, values - high) - blur
    if slope is not None:
        out = np.where(np.isfinite(values), out, np.inf)
    if (out > 0).any():
        k = int(np.argmax(out))
        yield f"range=({low:g}, {high:g}) is false: fn is {values[k]:.6g} at s = {at[k]:.6g}"
    if activation.above_identity:
        below = np.maximum(at, 0) - values - look.eps * (1 + np.abs(at))
        if (below > 0).any():
            k = int(np.argmax(below))
            yield f"above_identity=True is false: fn is {values[k]:.6g} at s = {at[k]:.6g}"
    if slope is None:
        return
    steep = look.eps * (1 + np.abs(slopes))
    out = np.maximum(slope[0] - slopes, slopes - slope[1]) - steep
    if (out > 0).any():
        k = int(np.nanargmax(out))
        yield f"slope=({slope[0]:g}, {slope[1]:g}) is false: the slope of fn is {slopes[k]:.6g} at s = {at[k]:.6g}"
    gap = np.diff(at)
    rounding = look.eps * (1 + np.abs(at[1:]) * (1 + activation.gain) + np.abs(values[1:]))
    rise = np.diff(values)
    out = np.maximum(slope[0] * gap - rise, rise - slope[1] * gap) - rounding
    if (out > 0).any():
        k = int(np.argmax(out))
        yield (
            f"slope=({slope[0]:g}, {slope[1]:g}) is false: fn rises by {rise[k]:.6g} from s = {at[k]:.9g} to "
            f"{at[k + 1]:.9g}, a slope of {rise[k] / gap[k]:.6g}"
        )


def _enclosures(activation: Any, look: _Look, steep: np.ndarray) -> Iterator[str]:
    """Balls and intervals around points of all kinds must hold values and slopes of the points in them."""
    rng = np.random.default_rng(2)
    half = _BALLS // 2
    centre = np.concatenate([rng.choice(_points(), half), rng.choice(steep, half)])
    centre[:3] = 0.0, 1.0, -1.0
    radius = rng.choice([0.0, 1e-9, 1e-3, 0.1, 1.0, 5.0], _BALLS)
    at = centre[:, None] + 0.999 * radius[:, None] * rng.uniform(-1, 1, (_BALLS, _INSIDE))
    at[:, 0] = centre
    values, slopes = (each.reshape(at.shape) for each in look(at.ravel()))
    blur, vague = look.eps * (1 + np.abs(at) + np.abs(values)), look.eps * (1 + np.abs(slopes))
    if activation.enclose is not None:
        for k, (mid, size) in enumerate(zip(centre.tolist(), radius.tolist(), strict=True)):
            held = activation.enclose(flint.arb(mid, size))
            for what, ball, true, near in (("value", held[0], values, blur), ("slope", held[1], slopes, vague)):
                bad = [j for j in range(_INSIDE) if np.isfinite(true[k, j])
                       and not ball.overlaps(flint.arb(true[k, j], near[k, j]))]  # fmt: skip
                if bad:
                    s, here = at[k, bad[0]], true[k, bad[0]]
                    yield (
                        f"enclose is false: over the ball {mid:.6g} +- {size:g} it has the {what} {ball}, but at "
                        f"s = {s:.9g} it is {here:.9g}"
                    )
    shape = activation.interval
    if shape is None:
        return
    every, beside = _points(), np.zeros(_COUNT)
    others = look(every)
    centre, radius = np.concatenate([centre, every]), np.concatenate([radius, beside])
    at = np.concatenate([at, np.broadcast_to(every[:, None], (_COUNT, _INSIDE))])
    values, slopes = (
        np.concatenate([one, np.broadcast_to(other[:, None], (_COUNT, _INSIDE))])
        for one, other in zip((values, slopes), others, strict=True)
    )
    blur, vague = look.eps * (1 + np.abs(at) + np.abs(values)), look.eps * (1 + np.abs(slopes))
    over = Interval(centre - radius, centre + radius)
    for what, found, true, near in (
        ("value", shape.value(over), values, blur),
        ("slope", shape.slope(over), slopes, vague),
    ):
        bad = (found.low[:, None] > true + near) | (found.high[:, None] < true - near)
        if bad.any():
            k, j = np.argwhere(bad)[0]
            yield (
                f"interval is false: over [{over.low[k]:.6g}, {over.high[k]:.6g}] it has the {what} "
                f"[{found.low[k]:.6g}, {found.high[k]:.6g}], but at s = {at[k, j]:.9g} it is {true[k, j]:.9g}"
            )
    of_value = shape.slope_of(values)
    if of_value is not None and (bad := np.abs(of_value - slopes) > 1e3 * vague).any():
        k, j = np.argwhere(bad)[0]
        yield (
            f"interval is false: slope_of({values[k, j]:.9g}) is {of_value[k, j]:.9g}, but the slope at s = "
            f"{at[k, j]:.9g} is {slopes[k, j]:.9g}"
        )
