r"""The three leaky neurons, $\dot s=-\Lambda\odot s+\varphi(W^\top\psi(s)+b)$, and what they lose by sending.

| neuron | $\varphi$ | $\psi$ | states |
|---|---|---|---|
| `Projected` | identity | identity | the box [0, 1], with projected dynamics |
| `Hopfield` | identity | $\rho$ | free |
| `Rate` | $\rho$ | identity | free |
"""

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .activation import Activation, hard_sigmoid, identity

__all__ = ["AbstractNeuron", "Hopfield", "Outflow", "Projected", "Rate"]

Outflow = Literal["none", "signed", "absolute"]

# out_i = sum_k f(w_ik), with f and its derivative for each kind of outflow.
_OUTFLOW: dict[str, tuple[Callable, Callable] | None] = {
    "none": None,
    "signed": (lambda w: w, jnp.ones_like),
    "absolute": (jnp.abs, jnp.sign),
}


class AbstractNeuron(eqx.Module):
    r"""How a unit turns drive into state and state into rate, and whether it loses what it sends.

    With outflow, $\Lambda_j=\lambda_j+\mathrm{out}_j(W)$, where $\mathrm{out}_j$ is $\sum_kw_{jk}$ (`"signed"`,
    the DEEP model) or $\sum_k|w_{jk}|$ (`"absolute"`) over the free units that $j$ sends to.
    """

    outflow: eqx.AbstractVar[Outflow]
    activation: eqx.AbstractVar[Activation]
    low: eqx.AbstractVar[float | None]
    high: eqx.AbstractVar[float | None]

    def __check_init__(self):
        if self.outflow not in _OUTFLOW:
            raise ValueError(
                f"{type(self).__name__}(outflow={self.outflow!r}) must be one of {', '.join(map(repr, _OUTFLOW))}"
            )

    @property
    def outflow_functions(self) -> tuple[Callable, Callable] | None:
        """What a synapse of weight w adds to its source's leak, and the derivative of that; `None` for no outflow."""
        return _OUTFLOW[self.outflow]

    @property
    def bounded(self) -> bool:
        """Whether states live in a box, at whose faces the field is projected."""
        return self.low is not None

    def clip(self, state: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """The nearest state that is allowed."""
        return jnp.clip(state, self.low, self.high) if self.bounded else state

    def held(self, state: Float[Array, "*shape"], field: Float[Array, "*shape"]) -> Array:
        """Where a bound holds a unit back: it is saturated, and small changes of drive do not move it."""
        low: Any = self.low
        high: Any = self.high
        if low is None:
            return jnp.zeros(state.shape, bool)
        return ((state <= low) & (field < 0)) | ((state >= high) & (field > 0))

    @abstractmethod
    def rate(self, state: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        r"""$r=\psi(s)$."""

    @abstractmethod
    def transfer(self, drive: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        r"""$\varphi(u)$."""

    @abstractmethod
    def rate_slope(self, state: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        r"""$\psi'(s)$."""

    @abstractmethod
    def transfer_slope(self, drive: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        r"""$\varphi'(u)$."""

    @abstractmethod
    def response(self, d_rate: Array, d_drive: Array, total_leak: Float[Array, " free"]) -> Array:
        r"""$\hat a$: the change a neuron can measure in place of the adjoint, from $\Delta r$ and $\Delta u$."""


class Projected(AbstractNeuron):
    """DEEP's neuron: linear inside the box [0, 1] and held at its faces. Piecewise linear, so most can be proved.

    A unit at a face has zero exact gradient; a strong nudge can still free it.
    """

    outflow: Outflow = eqx.field(static=True, default="none")
    low: float = eqx.field(static=True, default=0.0)
    high: float = eqx.field(static=True, default=1.0)

    def __check_init__(self):
        if not -math.inf < self.low < self.high < math.inf:
            raise ValueError(f"Projected(low={self.low}, high={self.high}) needs finite bounds, low < high")

    @property
    def activation(self):
        return identity

    def rate(self, state):
        return state

    def transfer(self, drive):
        return drive

    def rate_slope(self, state):
        return jnp.ones_like(state)

    def transfer_slope(self, drive):
        return jnp.ones_like(drive)

    def response(self, d_rate, d_drive, total_leak):
        return d_rate


class Hopfield(AbstractNeuron):
    r"""The neuron of energy-based equilibrium propagation: it sends $\rho(s)$ and its state is free.

    Descends an energy when $W=W^\top$ and there is no outflow.
    """

    activation: Activation = eqx.field(static=True, default=hard_sigmoid)
    outflow: Outflow = eqx.field(static=True, default="none")

    @property
    def low(self):
        return None

    @property
    def high(self):
        return None

    def rate(self, state):
        return self.activation(state)

    def transfer(self, drive):
        return drive

    def rate_slope(self, state):
        return self.activation.derivative(state)

    def transfer_slope(self, drive):
        return jnp.ones_like(drive)

    def response(self, d_rate, d_drive, total_leak):
        return d_rate


class Rate(AbstractNeuron):
    r"""A firing-rate neuron: $\rho$ acts on the drive. Smooth with a smooth $\rho$, without dead units."""

    activation: Activation = eqx.field(static=True, default=hard_sigmoid)
    outflow: Outflow = eqx.field(static=True, default="none")

    @property
    def low(self):
        return None

    @property
    def high(self):
        return None

    def rate(self, state):
        return state

    def transfer(self, drive):
        return self.activation(drive)

    def rate_slope(self, state):
        return jnp.ones_like(state)

    def transfer_slope(self, drive):
        return self.activation.derivative(drive)

    def response(self, d_rate, d_drive, total_leak):
        # Never d_rate / rho'(u): that is 0/0 where the unit saturates.
        return d_drive / total_leak
