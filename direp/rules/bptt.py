import equinox as eqx
import jax
import jax.numpy as jnp

from ..model import Parameters
from ..settling import Preconditioned, check_count
from .base import AbstractRule, needs_derivative


class BPTT(AbstractRule):
    r"""Backpropagation through time: automatic differentiation of `steps` steps of settling, from the free equilibrium.

    Shares no formula with `Adjoint` and tends to it as the steps grow, like the settling itself. A second oracle, and
    not local: it stores batch x units x steps numbers.
    """

    steps: int = eqx.field(static=True, default=500)

    def __check_init__(self):
        check_count("BPTT(steps", self.steps)

    def estimate(self, problem, key):
        needs_derivative(self, problem.network)
        method, used, count = Preconditioned(), problem.used, problem.count(problem.used)
        begin, y = (jnp.where(used[:, None], table, 0) for table in (problem.free.state, problem.y))
        x = problem.x_of(used)

        def mean_cost(parameters: Parameters):
            network = problem.network.replace(parameters)
            field = network.field(x)
            prepared = jax.lax.stop_gradient(method.prepare(field))

            def step(state, _):
                return method.step(prepared, None, field, state, field.flow(state, field.drive(state)))

            state, _ = jax.lax.scan(step, begin, None, length=self.steps)
            cost = problem.cost.value(network.outputs(state), y)
            return problem.weigh(jnp.where(used, cost, 0)).sum() / count.astype(cost.dtype)

        network = problem.network
        gradient = jax.grad(mean_cost)(network.parameters)
        bias = gradient.bias if network.graph.bias else jnp.zeros_like(gradient.bias)
        return problem.estimate(gradient._replace(weight=network.synapses.mask(gradient.weight), bias=bias), used)
