from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from .base import AbstractMethod
from .preconditioned import Preconditioned, check_products


class Coloured(AbstractMethod):
    r"""Sweeps over a layered graph: first the layers of odd number move as `Preconditioned` moves them, then those of
    even number, which see the others where they have arrived.

    Layers of one colour must not be joined, or they could not move at once. Information crosses two layers a sweep: a
    sweep contracts by about the square of what a `Preconditioned` step does, for half a field evaluation more, and it
    converges wherever a diagonal criterion certifies contraction. `products` sharpen the step, as in `Preconditioned`.
    """

    evaluations: ClassVar[float] = 1.5
    products: int | None = eqx.field(static=True, default=8)

    def __check_init__(self):
        check_products("Coloured", self.products)

    def contracting(self):
        return Coloured(None)

    @staticmethod
    def suits(network) -> bool:
        """Whether the layers of a network can be coloured so."""
        layers = network.graph.layers
        if not network.synapses.by_layer or layers is None or len(layers) < 3:
            return False
        return all(p == 0 or (p - q) % 2 for p, q in network.graph.blocks)

    def check(self, network):
        if not self.suits(network):
            raise ValueError(
                "Coloured() needs a layered graph with a hidden layer, and no synapses between layers of equal colour "
                "(lateral ones, or those that skip a layer): use Preconditioned() or Anderson()"
            )

    def prepare(self, field):
        self.check(field.network)
        return Preconditioned(products=self.products).prepare(field)

    def step(self, prepared, memory, field, state, flow):
        layers = field.network.graph.layers
        assert layers is not None
        number = np.repeat(np.arange(1, len(layers)), layers[1:])
        odd = number % 2 == 1
        state = jnp.where(odd, field.clip(state + prepared * flow), state)
        drive = field.drive(state, into=tuple(range(2, len(layers), 2)))
        flow = field.flow(state, drive)
        return jnp.where(odd, state, field.clip(state + prepared * flow)), None
