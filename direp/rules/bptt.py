import equinox as eqx
import jax
import jax.numpy as jnp

from ..model import AbstractField, Parameters
from ..settling.methods import Preconditioned
from .base import AbstractRule, needs_derivative

__all__ = ["BPTT"]


class BPTT(AbstractRule):
    r"""Backpropagation through time: automatic differentiation of `steps` steps of settling, from the free equilibrium.

    Shares no formula with `Adjoint` and tends to it as the steps grow, like the settling itself. A second oracle, and
    not local: it stores batch x units x steps numbers.
    """

    steps: int = eqx.field(static=True, default=500)

    def __check_init__(self):
        if self.steps < 1:
            raise ValueError(f"BPTT(steps={self.steps}) must be 1 or more")

    def check(self, network):
        needs_derivative(self, network)

    def fields(self, field, cost, y, free) -> tuple[AbstractField, ...]:
        return ()

    def estimate(self, phases):
        method, count = Preconditioned(), jnp.maximum(phases.used.sum(), 1)
        begin = jnp.where(phases.used[:, None], phases.free.state, 0)

        def mean_cost(parameters: Parameters):
            network = phases.network.replace(parameters)
            field = network.field(phases.x)
            prepared = jax.lax.stop_gradient(method.prepare(field))

            def step(state, _):
                return method.step(prepared, None, field, state, field.flow(state, field.drive(state)))

            state, _ = jax.lax.scan(step, begin, None, length=self.steps)
            cost = phases.cost.value(network.outputs(state), phases.y)
            return jnp.where(phases.used, cost, 0).sum() / count.astype(cost.dtype)

        network = phases.network
        said = jax.grad(mean_cost)(network.parameters)
        bias = said.bias if network.graph.bias else jnp.zeros_like(said.bias)
        return Parameters(network.synapses.mask(said.weight), bias, said.leak), phases.used
