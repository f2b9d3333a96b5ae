"""An activation, an outflow and a neuron as a user makes them."""

import equinox as eqx
import jax.numpy as jnp

from direp.model import AbstractNeuron, Activation, Outflow

bent = Activation("bent", lambda s: jnp.tanh(s) + 0.5 * jnp.sin(s), (-1.5, 1.5), (-0.5, 1.5))
rising = Outflow("rising", 0, 1)


class Both(AbstractNeuron):
    """Nonlinear on both sides."""

    transfer: Activation = eqx.field(static=True)
    rate: Activation = eqx.field(static=True)
    outflow: Outflow = eqx.field(static=True)
    low: float | None = eqx.field(static=True, default=None)
    high: float | None = eqx.field(static=True, default=None)
