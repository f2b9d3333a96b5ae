r"""Controls keep a network certified while it learns: after every update they move its parameters back inside.

A control wraps an optimiser. Its state is the optimiser's, and the weights of the norm in which it certifies.
"""

from abc import abstractmethod
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from ..certificates.convergence import AbstractDiagonal, LocalLeak
from ..model import Network, Parameters
from ..model.synapses import Weight

__all__ = ["AbstractControl", "ControlState", "LeakController", "WeightProjection"]


class ControlState(NamedTuple):
    """Norm weights of the criterion, and the state of the optimiser within."""

    norm: Float[Array, " free"]
    inner: Any


class AbstractControl(eqx.Module):
    r"""Keeps every unit's margin in a diagonally weighted norm at $c_0$ or above, after every update.

    Up to rounding: in 32 bits, about $10^{-6}$ of the largest sum of weights. The metrics of training and the final
    certificate count it in.
    """

    margin: eqx.AbstractVar[float | Array]
    criterion: eqx.AbstractVar[AbstractDiagonal]

    @abstractmethod
    def inside(self, network: Network, norm: Float[Array, " free"]) -> Parameters:
        """Parameters of a certified network near this one."""

    def through(self, network: Network, norm: Float[Array, " free"], gradient: Parameters) -> Parameters:
        """What the gradient becomes if the control's own reaction to the weights is counted in."""
        return gradient

    def start(self, network: Network) -> Network:
        """The network moved inside, before training."""
        if not np.isfinite(network.neuron.gain):
            activation = next(a for a in (network.neuron.transfer, network.neuron.rate) if a.slope is None)
            raise ValueError(
                f"{type(self).__name__}: activation {activation.name!r} has no slope bounds; give it slope=(d1, d2)"
            )
        return network.replace(self.inside(network, self.criterion.start(network)))

    def wrap(self, network: Network, optimiser: optax.GradientTransformation) -> optax.GradientTransformation:
        """The optimiser, with the control before it (`through`) and after it (`inside`)."""

        def init(params: Any) -> ControlState:
            return ControlState(self.criterion.start(network.replace(params)), optimiser.init(params))

        def update(updates: Any, state: ControlState, params: Any = None) -> tuple[Any, ControlState]:
            if params is None:
                raise ValueError(f"{type(self).__name__} needs the parameters: call update(updates, state, params)")
            updates = self.through(network.replace(params), state.norm, updates)
            updates, inner = optimiser.update(updates, state.inner, params)
            wanted: Any = optax.apply_updates(params, updates)
            wanted = network.replace(wanted)
            norm = self.criterion.refresh(wanted, state.norm)
            held = self.inside(wanted, norm)
            return jax.tree.map(jnp.subtract, held, params), ControlState(norm, inner)

        return optax.GradientTransformation(init, update)  # pyright: ignore[reportArgumentType]


def _check_margin(control: AbstractControl) -> None:
    if isinstance(control.margin, float | int) and not control.margin > 0:
        name = type(control).__name__
        raise ValueError(f"{name}(margin={control.margin}) must be above 0: it is the rate that stays certified")


class LeakController(AbstractControl):
    r"""Every neuron holds its own leak at the criterion,
    $\lambda_i=\max(\mathrm{floor},\ d_2\sum_k|w_{ik}|\eta_k/\eta_i-\kappa\,\mathrm{out}_i(W)+c_0)$.

    The network is certified to contract at rate $c_0$ or faster at every step. A leak that is held there moves with the
    weights, and that part of the gradient, $\partial_{\lambda_i}C\,(d_2\,\mathrm{sgn}(w_{ij})\,\eta_j/\eta_i-
    \kappa_{ij})$, belongs to the synapse too (norm weights count as constant). Local for the criterion `LocalLeak`;
    `Rows` needs a unit's incoming weights, `Perron` a few exchanges with its neighbours.

    **Arguments:**

    - `margin`: $c_0$ (1/time), the rate that stays certified.
    - `floor`: the least leak that a unit keeps.
    - `criterion`: `LocalLeak()`, `Rows()` or `Perron()`.
    - `follow`: leaks come down again when the weights allow it. `False` only raises them (and suits learned leaks).
    - `through_leak`: leave the second part out with `False`; learning is then blind to what its own control does.
    """

    margin: float | Array = 0.1
    floor: float | Array = 1.0
    criterion: AbstractDiagonal = LocalLeak()
    follow: bool = eqx.field(static=True, default=True)
    through_leak: bool = eqx.field(static=True, default=True)

    def __check_init__(self):
        _check_margin(self)
        if isinstance(self.floor, float | int) and not self.floor >= 0:
            raise ValueError(
                f"LeakController(floor={self.floor}) must be 0 or above: it is the least leak a unit keeps"
            )

    def needed(self, network: Network, norm: Float[Array, " free"]) -> Array:
        """The least leak of every unit that meets the criterion with the margin."""
        return network.leak - self.criterion.margin(network, norm) + self.margin

    def inside(self, network, norm):
        least = self.floor if self.follow else jnp.maximum(network.leak, self.floor)
        held = jnp.maximum(jnp.maximum(self.needed(network, norm), least), 0)
        return network.parameters._replace(leak=held)

    def through(self, network, norm, gradient):
        if not self.through_leak:
            return gradient
        # A hair of tolerance: a leak held a moment ago differs from the criterion by rounding.
        held = network.leak <= self.needed(network, norm) * (1 + 1e-5)
        pull = jnp.where(held, gradient.leak, 0)
        extra = self.criterion.through(network, norm, pull)
        return gradient._replace(weight=jax.tree.map(jnp.add, gradient.weight, extra))


class WeightProjection(AbstractControl):
    r"""Leaks stay as they are (or as they learn); weights between free units are scaled back until each margin is met.

    A unit scales its outgoing synapses by $f_i=\min(1,(\lambda_i-c_0)/(d_2\sum_k|w_{ik}|\eta_k/\eta_i-\kappa\,
    \mathrm{out}_i))$; for `Rows` its incoming ones, or, with outflow, all units share the smallest factor.

    **Arguments:**

    - `margin`: $c_0$ (1/time), the rate that stays certified. Leaks below a hair above it are raised to that.
    - `criterion`: `LocalLeak()`, `Rows()` or `Perron()`.
    """

    margin: float | Array = 0.1
    criterion: AbstractDiagonal = LocalLeak()

    def __check_init__(self):
        _check_margin(self)

    def inside(self, network, norm):
        leak = jnp.maximum(network.leak, self.margin * 1.001)
        excess = self.criterion.spread(network, norm) - network.outflow()
        factor = jnp.where(excess > leak - self.margin, (leak - self.margin) / jnp.where(excess > 0, excess, 1), 1.0)
        return network.parameters._replace(weight=self._scaled(network, factor), leak=leak)

    def _scaled(self, network: Network, factor: Array) -> Weight:
        synapses, weight = network.synapses, network.weight
        if self.criterion.incoming and network.neuron.outflow.active:
            scaled = jax.tree.map(lambda w: w * factor.min(), weight)
        elif self.criterion.incoming:
            none, ones = jnp.zeros((1, network.graph.inputs), factor.dtype), jnp.ones_like(factor)
            scaled = jax.tree.map(jnp.multiply, weight, synapses.outer(none, ones[None], factor[None]))
        else:
            scaled = synapses.per_source(weight, factor, lambda w: w)
        return Weight(weight.input, scaled.recurrent)
