import equinox as eqx
import jax.numpy as jnp
import numpy as np

from ...model import declared
from .base import AbstractMethod
from .preconditioned import Preconditioned, check_products


class Coloured(AbstractMethod):
    r"""Sweeps over a layered graph: first the layers of one colour move as `Preconditioned` moves them, then the
    others, which see the first where they have arrived. The odd layers go first; in a nudged phase those of the
    outputs' colour, where it begins.

    Layers of one colour must not be joined, or they could not move at once. Information crosses two layers a sweep: a
    sweep contracts by about the square of what a `Preconditioned` step does, for no more products, and it converges
    wherever a diagonal criterion certifies contraction. `products` sharpen the step, as in `Preconditioned`.
    """

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
        begin = 1 if field.signal(state) is None else (len(layers) - 1) % 2
        colours = tuple(range(begin, len(layers), 2)), tuple(range(1 - begin, len(layers), 2))
        first = np.repeat(np.arange(1, len(layers)) % 2 == begin, layers[1:])
        state = jnp.where(first, field.clip(state + prepared * flow), state)
        drive = field.drive(state, into=colours[1])
        flow = field.flow(state, drive)
        state = jnp.where(first, state, field.clip(state + prepared * flow))
        if isinstance(declared(field), str):  # who knows whether a unit drives itself there
            return state, None
        # Units of the second colour are driven by those of the first alone, which have not moved since, and a nudge
        # acts on the first.
        return state, None, jnp.where(first, field.drive(state, into=colours[0]), drive)
