r"""Leaky neurons, $\dot s=-\Lambda\odot s+\varphi(W^\top\psi(s)+b)$: their functions, their box and their outflow.

| neuron | $\varphi$ | $\psi$ | states |
|---|---|---|---|
| `Projected` | identity | identity | the box [0, 1], with projected dynamics |
| `Hopfield` | identity | $\rho$ | free |
| `Rate` | $\rho$ | identity | free |
"""

import math
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..arithmetic import opened, placed
from .activation import Activation, hard_sigmoid, identity
from .outflow import Outflow


class AbstractNeuron(eqx.Module):
    r"""A neuron is data, which dynamics, rules and proofs read. A new one is a class with these five attributes:

    - `transfer`, `rate`: the activations $\varphi$ (of the drive) and $\psi$ (of the state).
    - `low`, `high`: the box of the states, at whose faces the field is projected; `None` for free states.
    - `outflow`: whether a neuron also loses what it sends, $\Lambda_j=\lambda_j+\sum_kf(w_{jk})$ over the free units
      that $j$ sends to; see [`Outflow`][direp.Outflow].

    All but these are final: a method of another neuron would change the dynamics without the proofs' knowledge. Raises
    `ValueError` for such a method, and for data of another kind.
    """

    transfer: eqx.AbstractVar[Activation]
    rate: eqx.AbstractVar[Activation]
    low: eqx.AbstractVar[float | None]
    high: eqx.AbstractVar[float | None]
    outflow: eqx.AbstractVar[Outflow]

    def __check_init__(self):
        name = type(self).__name__
        for what, kind in (("transfer", Activation), ("rate", Activation), ("outflow", Outflow)):
            value = getattr(self, what)
            if not isinstance(value, kind):
                raise ValueError(
                    f"{name}({what}=...) is a {type(value).__name__}; it must be an {kind.__name__}, whose data proofs "
                    "read: a method, a function or a name is not enough"
                )
        for base in type(self).__mro__[: type(self).__mro__.index(AbstractNeuron)]:
            own = sorted(vars(base).keys() & _FINAL)
            if own:
                raise ValueError(
                    f"{base.__name__}.{own[0]} replaces that of AbstractNeuron, which dynamics and proofs share: "
                    "declare transfer, rate, low, high and outflow instead"
                )
        if (self.low, self.high) != (None, None):
            low, high = (math.nan if end is None else end for end in (self.low, self.high))
            if not -math.inf < low < high < math.inf:
                raise ValueError(
                    f"{name}(low={self.low}, high={self.high}) needs finite bounds, low < high, or None for both"
                )

    @property
    def bounded(self) -> bool:
        """Whether states live in a box, at whose faces the field is projected."""
        return self.low is not None

    @property
    def slope(self) -> tuple[float, float] | None:
        r"""Bounds of $\varphi'\psi'$, whichever two units they belong to; `None` if an activation declares none."""
        one, other = self.transfer.slope, self.rate.slope
        if one is None or other is None:
            return None
        ends = [a * b for a in one for b in other]
        return min(ends), max(ends)

    @property
    def gain(self) -> float:
        r"""A bound of $|\varphi'||\psi'|$, the factor by which a synapse's weight counts; infinite if unknown."""
        return math.inf if self.slope is None else self.transfer.gain * self.rate.gain

    def reach(self, leak: float) -> tuple[float, float]:
        r"""The least and the largest rate at equilibrium of a unit whose total leak is `leak` (any, where $\varphi$ is
        the identity)."""
        low, high = self._box if self.bounded else (-math.inf, math.inf)
        if not self.transfer.linear:
            ends = [end / leak if leak > 0 else math.inf * np.sign(end) for end in self.transfer.range]
            low, high = max(low, ends[0]), min(high, ends[1])
        least, most = self.rate.range
        return (max(low, least), min(high, most)) if self.rate.linear else (least, most)

    @property
    def _box(self) -> tuple[Any, Any]:
        return self.low, self.high

    def clip(self, state: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """The nearest state that is allowed."""
        return jnp.clip(state, self.low, self.high) if self.bounded else state

    def held(self, state: Float[Array, "*shape"], field: Float[Array, "*shape"]) -> Array:
        """Where a bound holds a unit back: it is saturated, and small changes of drive do not move it."""
        low, high = self._box
        xp, state, field = opened(state, field)
        if low is None:
            return placed(xp.zeros(state.shape, bool))
        return placed(((state <= low) & (field < 0)) | ((state >= high) & (field > 0)))

    def rate_slope(self, state: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        r"""$\psi'(s)$."""
        return self.rate.derivative(state)

    def transfer_slope(self, drive: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        r"""$\varphi'(u)$."""
        return self.transfer.derivative(drive)

    def response(
        self,
        state: Float[Array, "*batch free"],
        d_rate: Float[Array, "*batch free"],
        d_drive: Float[Array, "*batch free"],
        total_leak: Float[Array, " free"],
    ) -> Float[Array, "*batch free"]:
        r"""$\hat a=\psi'(s)\,\Delta u/\Lambda$: the change a neuron can measure in place of the adjoint, at the free
        phase's state. It is $\Delta r$ where the drive is not transformed; zero for a unit at a face of the box."""
        if self.transfer.linear:
            return d_rate
        # Never d_rate / transfer'(u): that is 0/0 where the unit saturates.
        response = d_drive / total_leak
        if not self.rate.linear:
            response = self.rate_slope(state) * response
        if self.bounded:
            response = jnp.where((state > self._box[0]) & (state < self._box[1]), response, 0)
        return response

    def __repr__(self) -> str:
        parts = [f"{what}={each.name!r}" for what, each in (("transfer", self.transfer), ("rate", self.rate))
                 if each != identity]  # fmt: skip
        parts += [f"low={self.low:g}, high={self.high:g}"] if self.bounded else []
        return f"{type(self).__name__}({', '.join([*parts, f'outflow={self.outflow.name!r}'])})"


_FINAL = {name for name in vars(AbstractNeuron) if not name.startswith("_")} | {"__call__"}
_FINAL -= {"transfer", "rate", "low", "high", "outflow"}


class Projected(AbstractNeuron):
    """DEEP's neuron: linear inside the box [0, 1] and held at its faces. Piecewise linear, so most can be proved.

    A unit at a face has zero exact gradient; a strong nudge can still free it.
    """

    transfer: ClassVar[Activation] = identity
    rate: ClassVar[Activation] = identity
    outflow: Outflow = eqx.field(static=True)
    low: float = eqx.field(static=True)
    high: float = eqx.field(static=True)

    def __init__(self, outflow: Outflow | str = "none", low: float = 0.0, high: float = 1.0):
        self.outflow, self.low, self.high = Outflow.of(outflow, "Projected"), low, high


class Hopfield(AbstractNeuron):
    r"""The neuron of energy-based equilibrium propagation: it sends $\rho(s)$ and its state is free.

    Descends an energy when $W=W^\top$ and there is no outflow.
    """

    transfer: ClassVar[Activation] = identity
    rate: Activation = eqx.field(static=True)
    outflow: Outflow = eqx.field(static=True)
    low: ClassVar[None] = None
    high: ClassVar[None] = None

    def __init__(self, activation: Activation | str = hard_sigmoid, outflow: Outflow | str = "none"):
        self.rate, self.outflow = Activation.of(activation, "Hopfield"), Outflow.of(outflow, "Hopfield")


class Rate(AbstractNeuron):
    r"""A firing-rate neuron: $\rho$ acts on the drive. Smooth with a smooth $\rho$, without dead units."""

    transfer: Activation = eqx.field(static=True)
    rate: ClassVar[Activation] = identity
    outflow: Outflow = eqx.field(static=True)
    low: ClassVar[None] = None
    high: ClassVar[None] = None

    def __init__(self, activation: Activation | str = hard_sigmoid, outflow: Outflow | str = "none"):
        self.transfer, self.outflow = Activation.of(activation, "Rate"), Outflow.of(outflow, "Rate")
