r"""A control that spares the way forth: what it scales back are the synapses that close loops."""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from ..certificates.convergence import AbstractDiagonal, LocalLeak, Mismatch
from ..model import Graph, Network
from ..model.synapses import Weight
from ..settling import compiled, within_trace
from .control import AbstractDiagonalControl, beside_each


class LoopProjection(AbstractDiagonalControl):
    r"""Leaks stay, and so do synapses from a unit to a later one; those to an earlier one, without which there is no
    loop, are scaled back until each margin is met, and the companions of a rule's feedback beside them likewise.

    With $F$ the part of $d_2|W|$ that runs forth in the order of units and $B$ the one that runs back, norm weights are

    $$\eta_i=\max\Bigl(1,\ \frac{(F\eta)_i}{(1-\theta)(\lambda_i-c_0)}\Bigr),$$

    found exactly in as many steps as the longest way forth has. The way forth then takes at most the part $1-\theta$ of
    each unit's margin in $\ell_{1,[\eta]}$, whatever its size, and a unit scales its synapses back by
    $f_i=\min(1,(\lambda_i-c_0-(F\eta)_i/\eta_i)/((B\eta)_i/\eta_i))$. Beside companions, each of the two sums
    $(F\eta)_i$ and $(B\eta)_i$ is the larger one of synapses and companions.

    For graphs of layers. `WeightProjection` scales all synapses of a unit by one factor; the product of gains around a
    loop must stay below that of the leaks, and several wide layers then lose what they send forth.

    **Arguments:**

    - `margin`: $c_0$ (1/time), the rate that stays certified. Leaks below 1.001 of it are raised to that.
    - `share`: $\theta$, what is left of each margin for the way back at least.
    - `mismatch`: keep $c_0$ in every die too, as in `LeakController`: in place of $\lambda_i-c_0$ weights have
      $((1-x)\lambda_i-c_0)/(1+x)$.
    """

    margin: float | Array = 0.1
    share: float | Array = 0.5
    criterion: AbstractDiagonal = eqx.field(default=LocalLeak(), init=False)
    mismatch: Mismatch = eqx.field(static=True, default=Mismatch(0.0))

    def __check_init__(self):
        super().__check_init__()
        if not (isinstance(self.share, Tracer) or 0 < float(self.share) < 1):
            raise ValueError(f"LoopProjection(share={self.share}) must be between 0 and 1")

    @property
    def moves(self):
        return True

    def check(self, network):
        super().check(network)
        network.synapses.refuse_shared("LoopProjection")
        if network.neuron.outflow.active:
            raise ValueError(
                "LoopProjection scales single synapses, on which an outflow depends: use a neuron without outflow, or "
                "WeightProjection"
            )
        if within_trace(self, network):
            return
        if (np.asarray(_initial(self, network)) >= _most(network)).any():
            raise ValueError(
                f"LoopProjection: the way forth has {longest_way(network.graph)} steps, and norm weights grow beyond "
                f"{network.dtype} along it: use a graph of a few layers, or LeakController or WeightProjection"
            )

    def begin_with(self, network, feedback):
        self.check(network)
        parameters, feedback = self.inside(network, self._norm(network, feedback), feedback)
        return network.replace(parameters), feedback

    def init(self, network, feedback=()):
        return self._norm(network, ())

    def project(self, network, state, feedback=()):
        norm = self._norm(network, feedback)
        parameters, feedback = self.inside(network, norm, feedback)
        return parameters, norm, feedback

    def inside(self, network, norm, feedback=()):
        leak, back = self._leak(network), _back(network)
        several = [_parts(each, back) for each in beside_each(network, feedback)]
        forth, loops = (
            functools.reduce(jnp.maximum, [self.criterion.spread(part, norm) for part in parts])
            for parts in zip(*several, strict=True)
        )
        room = self._room(leak) - forth
        # Where norm weights have grown as far as they may there is no room: nothing is certified, and margins say so.
        factor = jnp.where(loops > room, jnp.maximum(room, 0) / jnp.where(loops > 0, loops, 1), 1.0)
        weight, *others = (
            jax.tree.map(jnp.add, ahead.weight, network.synapses.scaled(closing.weight, factor))
            for ahead, closing in several
        )
        weight = Weight(network.weight.input, weight.recurrent)
        return network.parameters._replace(weight=weight, leak=leak), tuple(other.recurrent for other in others)

    def _leak(self, network: Network) -> Float[Array, " free"]:
        return jnp.maximum(network.leak, self.margin * 1.001 / (1 - self.mismatch.share))

    def _room(self, leak: Float[Array, " free"]) -> Float[Array, " free"]:
        """How much of each leak weights may take."""
        share = self.mismatch.share
        return ((1 - share) * leak - self.margin) / (1 + share) if share else leak - self.margin

    def _norm(self, network: Network, feedback: tuple[Any, ...]) -> Float[Array, " free"]:
        several = [_parts(each, _back(network))[0] for each in beside_each(network, feedback)]
        kept = (1 - self.share) * self._room(self._leak(network))

        def step(norm: Array, _: None) -> tuple[Array, None]:
            sent = [norm * self.criterion.spread(each, norm) for each in several]
            return jnp.clip(functools.reduce(jnp.maximum, sent) / kept, 1, _most(network)), None

        return jax.lax.scan(step, jnp.ones_like(network.leak), None, length=longest_way(network.graph))[0]


@compiled
def _initial(control: LoopProjection, network: Network) -> Float[Array, " free"]:
    return control.init(network)


def _most(network: Network) -> float:
    """Beyond which norm weights do not grow: their products must be numbers."""
    return float(jnp.finfo(network.dtype).max) ** 0.5


def _back(network: Network) -> Weight:
    """1 for every synapse to an earlier unit."""
    made = network.synapses.build(lambda i, j: (i > j).astype(float))
    return jax.tree.map(lambda kind, like: jnp.asarray(kind, like.dtype), made, network.weight)


def _parts(network: Network, back: Weight) -> tuple[Network, ...]:
    """The network with the synapses between free units that run forth alone, and with those that run back alone."""
    closing = jax.tree.map(jnp.multiply, network.weight, back)
    ahead = jax.tree.map(jnp.subtract, network.weight, closing)
    return tuple(network.replace(network.parameters._replace(weight=weight)) for weight in (ahead, closing))


@functools.lru_cache(maxsize=16)
def longest_way(graph: Graph) -> int:
    """The number of synapses on the longest way from free unit to later free unit."""
    ends = np.zeros(graph.units, np.int64)
    bounds = np.searchsorted(graph.source, np.arange(graph.inputs, graph.units + 1))  # synapses are sorted by source
    for unit, first, last in zip(range(graph.inputs, graph.units), bounds, bounds[1:], strict=False):
        later = graph.target[first:last][graph.target[first:last] > unit]
        ends[later] = np.maximum(ends[later], ends[unit] + 1)  # sources in the order of units: each is final by now
    return int(ends.max(initial=0))
