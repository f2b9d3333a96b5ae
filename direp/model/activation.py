"""Activation functions that carry what the certificates need, and whose declared bounds are tried."""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..arithmetic import Ramp, Shape, Smooth
from .trial import apart, refute

__all__ = ["ACTIVATIONS", "Activation", "hard_sigmoid", "identity", "relu", "sigmoid", "softplus", "tanh"]

ACTIVATIONS: dict[str, "Activation"] = {}  # those of this file by name, the order of help texts
_RESERVED = ("hard-sigmoid", "sigmoid", "tanh", "relu", "softplus", "identity")


def _numbers(bounds: Any) -> Any:
    """Plain numbers, which compare and hash."""
    return None if bounds is None else tuple(float(bound) for bound in bounds)


class Activation(eqx.Module):
    r"""A function $\rho$ applied unit by unit, with its range and slope bounds $d_1\le\rho'\le d_2$.

    What is declared is tried when the object is made, against values and derivative of `fn` at thousands of points
    between -1000 and 1000: a bound that does not hold there is a `ValueError` which names the place. That is no proof:
    certificates assume what is declared.

    **Arguments:**

    - `name`: what messages and files call it. The names in `direp.activation` are taken.
    - `fn`: $\rho$, from an array to an array of the same shape and type; made of JAX operations. Nothing that it
      reads may change afterwards: programs that were compiled with it are kept.
    - `range`: the interval that holds every value of $\rho$ (`-inf` and `inf` allowed).
    - `slope`: $(d_1, d_2)$, or `None` if unknown. Without it nothing can be certified.
    - `enclose`: value and slope over a ball of python-flint, from an `arb` to two of them. Proofs that an equilibrium
      exists need it; without it nothing can be refuted.
    - `interval`: how it is enclosed over intervals (`Ramp` or `Smooth` of `direp.arithmetic`). Regions need it.
    - `above_identity`: whether $\rho(s)\ge\max(s,0)$ everywhere, so that activity can grow without bound.

    Two are equal if all of this is; those of `direp.activation` are known by their names, in copies and pickles too.
    """

    name: str = eqx.field(static=True)
    fn: Callable[[Array], Array] = eqx.field(static=True)
    range: tuple[float, float] = eqx.field(static=True, converter=_numbers)
    slope: tuple[float, float] | None = eqx.field(static=True, converter=_numbers)
    enclose: Callable[[Any], tuple[Any, Any]] | None = eqx.field(static=True, default=None)
    above_identity: bool = eqx.field(static=True, default=False)
    interval: Shape | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        for what, bounds in (("range", self.range), ("slope", self.slope)):
            if bounds is not None and not (len(bounds) == 2 and bounds[0] <= bounds[1]):
                raise ValueError(f"Activation({what}={bounds}) must be (lower, upper) with lower <= upper")
        if self.slope is not None and not all(map(math.isfinite, self.slope)):
            raise ValueError(f"Activation(slope={self.slope}) must be finite: without a bound it is None")
        if self.name in ACTIVATIONS:
            raise ValueError(f"Activation(name={self.name!r}) is that of direp.activation: choose another name")
        if self.name not in _RESERVED:  # those of this file are tried by a test, for the import must be quick
            refute(self)

    @classmethod
    def of(cls, activation: "Activation | str", owner: str = "Activation") -> "Activation":
        """An activation, or the one of that name in `direp.activation`."""
        if isinstance(activation, Activation):
            return activation
        if not isinstance(activation, str) or activation not in ACTIVATIONS:
            names = ", ".join(map(repr, ACTIVATIONS))
            raise ValueError(f"{owner}({activation!r}) must be one of {names}, or an Activation")
        return ACTIVATIONS[activation]

    def __call__(self, s: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        return self.fn(s)

    def derivative(self, s: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        r"""$\rho'(s)$, unit by unit."""
        return jax.jvp(self.fn, (s,), (jnp.ones_like(s),))[1]

    @property
    def differentiable(self) -> bool:
        """Whether JAX finds a derivative that says something: not of a step, whose derivative is zero everywhere."""
        return _differentiable(self.fn)

    @property
    def gain(self) -> float:
        r"""$\max(|d_1|,|d_2|)$, the largest factor by which $\rho$ can stretch; infinite if unknown."""
        return math.inf if self.slope is None else max(abs(self.slope[0]), abs(self.slope[1]))

    @property
    def linear(self) -> bool:
        """Whether the slope is 1 everywhere: the identity, or that and a constant."""
        return self.slope == (1, 1)

    @property
    def _content(self) -> tuple:
        if self.name in _RESERVED:
            return (self.name,)
        return self.name, self.fn, self.range, self.slope, self.enclose, self.above_identity, self.interval

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Activation) and self._content == other._content

    def __hash__(self) -> int:
        return hash(self._content[:4])

    def __deepcopy__(self, memo: Any) -> "Activation":
        return self  # nothing in it can change

    def __reduce_ex__(self, protocol: Any) -> Any:
        return (Activation.of, (self.name,)) if self.name in _RESERVED else super().__reduce_ex__(protocol)

    def __repr__(self) -> str:
        return f"Activation({self.name!r})"


@lru_cache
def _differentiable(fn: Callable[[Array], Array]) -> bool:
    def look() -> bool:
        at = jnp.linspace(-4, 4, 513)
        try:
            values, slopes = jax.jvp(fn, (at,), (jnp.ones_like(at),))
        except (TypeError, ValueError, NotImplementedError):
            return False
        values, slopes = np.asarray(values), np.asarray(slopes)
        return bool(np.isfinite(slopes).all() and (slopes.any() or np.ptp(values) == 0))

    return apart(look)


def _ramp(low: float | None, high: float | None) -> Callable[[Any], tuple[Any, Any]]:
    """Value and slope over a ball of the identity, held at `low` and `high`; both slopes where it holds a corner."""

    def enclose(ball: Any) -> tuple[Any, Any]:
        value, zero, one = ball, 0 * ball.mid(), 0 * ball.mid() + 1
        inside = (low is None or ball > low) and (high is None or ball < high)
        outside = (low is not None and ball < low) or (high is not None and ball > high)
        if low is not None:
            value = value.max(zero + low)
        if high is not None:
            value = value.min(zero + high)
        return value, one if inside else zero if outside else zero.union(one)

    return enclose


def _logistic(ball: Any) -> Any:
    return (1 + (ball / 2).tanh()) / 2


def _enclose_sigmoid(ball: Any) -> tuple[Any, Any]:
    value = _logistic(ball)
    return value, value * (1 - value)


def _enclose_tanh(ball: Any) -> tuple[Any, Any]:
    value = ball.tanh()
    return value, 1 - value * value


def _enclose_softplus(ball: Any) -> tuple[Any, Any]:
    return ball.max(0 * ball.mid()) + (-abs(ball)).exp().log1p(), _logistic(ball)


def _sigmoid(u: np.ndarray) -> np.ndarray:
    small = np.exp(-np.abs(u))
    return np.where(u < 0, small, 1.0) / (1 + small)


def _sigmoid_slope(u: np.ndarray) -> np.ndarray:
    small = np.exp(-np.abs(u))
    return small / (1 + small) ** 2


def _tanh_slope(u: np.ndarray) -> np.ndarray:
    small = np.exp(-2 * np.abs(u))
    return 4 * small / (1 + small) ** 2


identity = Activation(
    "identity", lambda s: s, (-math.inf, math.inf), (1.0, 1.0), _ramp(None, None), interval=Ramp(-math.inf, math.inf)
)
hard_sigmoid = Activation(
    "hard-sigmoid", lambda s: jnp.clip(s, 0, 1), (0.0, 1.0), (0.0, 1.0), _ramp(0.0, 1.0), interval=Ramp(0.0, 1.0)
)
sigmoid = Activation(
    "sigmoid", jax.nn.sigmoid, (0.0, 1.0), (0.0, 0.25), _enclose_sigmoid,
    interval=Smooth(0.0, 1.0, _sigmoid, _sigmoid_slope, lambda r: r - r * r),
)  # fmt: skip
tanh = Activation(
    "tanh", jnp.tanh, (-1.0, 1.0), (0.0, 1.0), _enclose_tanh,
    interval=Smooth(-1.0, 1.0, np.tanh, _tanh_slope, lambda r: 1.0 - r * r),
)  # fmt: skip
relu = Activation("relu", jax.nn.relu, (0.0, math.inf), (0.0, 1.0), _ramp(0.0, None), above_identity=True)
softplus = Activation("softplus", jax.nn.softplus, (0.0, math.inf), (0.0, 1.0), _enclose_softplus, above_identity=True)

ACTIVATIONS |= {a.name: a for a in (hard_sigmoid, sigmoid, tanh, relu, softplus, identity)}
