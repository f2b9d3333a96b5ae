r"""Guarantees keep a network, while it learns, where the local rule is proved to descend.

Every weight between free units keeps the sign it starts with, and a size within bounds. Where each unit's synapses get
a positive multiple of their gradient, clipping single weights does no harm: no step points against the gradient, so the
cost of the batch falls with every small enough one. Optimisers that scale single entries by positive numbers (SGD
without momentum, RMSprop) keep this; momentum does not.
"""

from abc import abstractmethod
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from scipy.sparse.csgraph import connected_components

from ..arithmetic import opened, placed
from ..certificates.learning import one_layer
from ..model import Network
from ..model.synapses import Weight
from ..settling import check_number
from .constraint import AbstractCertified


class Bounds(NamedTuple):
    """The lowest and highest value of every weight between free units."""

    low: Any
    high: Any


_LARGEST = 1e6  # what a unit may excite others in all, over its leak, where excitation costs no margin


class AbstractGuarantee(AbstractCertified):
    r"""Signs that stay, and $|w_{ij}|\le(\lambda_i-\mathrm{margin})/(d_2\cdot\mathrm{targets\ of\ }i)$ less rounding,
    so that `certify` proves the network to contract at the rate `margin` or faster with the leaks it has. With signed
    outflow excitation may grow, and inhibition has half of that. No weight is smaller than `floor`, or than its bound
    where that is less. Its state are these bounds."""

    floor: eqx.AbstractVar[float]
    promise: eqx.AbstractClassVar[str]
    """What is proved of the rule `Local` inside, as the end of a sentence."""

    def __check_init__(self):
        for name in ("floor", "margin"):
            check_number(f"{type(self).__name__}({name}", getattr(self, name), above=0)

    @abstractmethod
    def check(self, network: Network) -> None:
        """Raise `ValueError`, with the way out, if nothing can be guaranteed for such a network."""

    @abstractmethod
    def signs(self, network: Network) -> Any:
        """The sign of every weight between free units, arranged like `Weight.recurrent`."""

    def init(self, network, feedback=()):
        synapses, signed = network.synapses, _signed(network)
        ones = synapses.mask(jax.tree.map(jnp.ones_like, network.weight))
        each = 1 / jnp.maximum(synapses.outgoing(ones, lambda w: w), 1)
        room, cap = self._room(network) * each, _LARGEST * network.leak * each
        room, cap = (synapses.scaled(ones, jnp.minimum(size, cap)).recurrent for size in (room, cap))
        eps = float(jnp.finfo(network.dtype).eps)

        @np.errstate(all="ignore")
        def pair(sign: Array, room: Array, cap: Array) -> tuple[Array, Array]:
            xp, sign, room, cap = opened(sign, room, cap)
            room = room / 2 if signed else room
            most = xp.where(sign > 0, cap, room) if signed else room
            # An update rounds: what is far smaller than the weight before it could lose its sign.
            least = xp.minimum(xp.maximum(self.floor, 8 * eps * room), most)
            one, other = sign * least, sign * most
            return placed(xp.minimum(one, other)), placed(xp.maximum(one, other))

        pairs = jax.tree.map(pair, self.signs(network), room, cap)
        inner = jax.tree.structure(network.weight.recurrent)
        return Bounds(*jax.tree.transpose(inner, jax.tree.structure((0, 0)), pairs))

    @np.errstate(all="ignore")
    def _room(self, network: Network) -> Array:
        r"""What a unit's synapses may take from its margin in all, less more than rounding can: of these bounds and of
        an update, in the network's precision, and of the sums of `certify`, in 64 bits."""
        sums = (2 + (_LARGEST if _signed(network) else 0)) * 8 * (network.graph.free + 16) * float(np.finfo(float).eps)
        share = 1 - 8 * float(jnp.finfo(network.dtype).eps)
        gain = max(network.neuron.gain, 1 / _LARGEST)
        _, leak = opened(network.leak)
        return placed(share * ((share**2 - sums) * leak - self.margin) / gain)

    def begin(self, network):
        """Sizes of weights are kept where they may."""
        network.synapses.refuse_shared(type(self).__name__)
        self.check(network)
        if network.neuron.slope is None:
            raise ValueError(
                f"{type(self).__name__} certifies the network, and an activation has no slope bounds; give it "
                "slope=(d1, d2)"
            )
        if (np.asarray(self._room(network)) <= 0).any():
            raise ValueError(
                f"{type(self).__name__}(margin={self.margin}) leaves no room for weights: the lowest leak is "
                f"{float(network.leak.min()):g}; raise the leaks above the margin"
            )
        _, weight, signs = opened(network.weight.recurrent, self.signs(network))
        signed = jax.tree.map(lambda w, sign: placed(abs(w) * sign), weight, signs)
        moved = network.replace(network.parameters._replace(weight=Weight(network.weight.input, signed)))
        return network.replace(self.project(moved, self.init(moved))[0])

    def project(self, network, state, feedback=()):
        xp, weight, low, high = opened(network.weight.recurrent, *state)
        recurrent = jax.tree.map(lambda *each: placed(xp.clip(*each)), weight, low, high)
        return network.parameters._replace(weight=Weight(network.weight.input, recurrent)), state, feedback


def _signed(network: Network) -> bool:
    """Whether every weight adds itself to the leak of its source, whatever the outflow is called."""
    return network.neuron.outflow.below == network.neuron.outflow.above == 1


def _larger(network: Network) -> Any:
    """The sign of every pair: that of its larger weight, positive if both are zero."""
    xp, weight, back = opened(network.weight.recurrent, network.synapses.reverse(network.weight).recurrent)
    return jax.tree.map(
        lambda w, b: placed(xp.where(xp.where(abs(w) >= abs(b), w, b) < 0, -1, 1).astype(w.dtype)), weight, back
    )


class SignSymmetric(AbstractGuarantee):
    r"""**T6.** Both directions of every pair of free units exist and have one sign, and pairs form no loop (one hidden
    layer and one output, or any tree); one output, no outflow.

    Then every synapse into unit $j$ gets $t_o/t_j>0$ times its gradient, the same for all samples: in the limit of a
    small nudge the local rule descends on any batch.

    **Arguments:**

    - `floor`: the least size of a weight between free units, where their bound is not less; feedback of zero would
      silence a hidden unit.
    - `margin`: the rate at which the network stays certified to contract (1/time).
    """

    floor: float = 1e-3
    margin: float = 0.1
    promise: ClassVar[str] = "in the limit of a small nudge, descends the cost of any batch with every small step"

    def check(self, network):
        pairs = network.graph.adjacency()[network.graph.inputs :]
        joined, size = int(np.triu(pairs | pairs.T).sum()), network.graph.free
        loops = joined - size + int(connected_components(pairs, directed=False)[0])
        if network.neuron.outflow.active or network.graph.outputs != 1 or (pairs != pairs.T).any() or loops:
            raise ValueError(
                "SignSymmetric guarantees networks with one output and no outflow, whose free units are joined in both "
                "directions and without loops: use Graph.layered([inputs, hidden, 1]) and outflow='none', or Safeguard"
            )

    def signs(self, network):
        return _larger(network)


class Balanced(AbstractGuarantee):
    r"""**T5.** Structural balance, $\sigma_i\sigma_jw_{ij}\ge0$, with one output and no outflow, on any graph: adjoint
    and response of every unit have one sign, at any strength of the nudge. No synapse moves the wrong way on a sample
    by itself; a batch of several samples is not covered.

    $\sigma_j$ is the sign of the synapse from $j$ to the output that the network starts with.

    **Arguments:** `floor` and `margin` as in `SignSymmetric`; the floor may be reached from both sides of a pair.
    """

    floor: float = 1e-6
    margin: float = 0.1
    promise: ClassVar[str] = (
        "at any nudge, moves no synapse the wrong way on a sample by itself (batches of several are not covered)"
    )

    def check(self, network):
        slope = network.neuron.slope
        if network.neuron.outflow.active or network.graph.outputs != 1 or slope is None or slope[0] < 0:
            raise ValueError(
                "Balanced guarantees networks with one output, no outflow and an activation that does not fall: use "
                "outputs=1 and outflow='none', or Safeguard"
            )

    def signs(self, network):
        synapses, one = network.synapses, jnp.zeros_like(network.bias).at[-1].set(1)
        to_output = synapses.back(network.weight, one[None])[0]
        sigma = jnp.where(to_output < 0, -1, 1).astype(one.dtype).at[-1].set(1)
        none = jnp.zeros((1, network.graph.inputs), one.dtype)
        return synapses.outer(none, sigma[None], sigma[None]).recurrent


class Pairs(AbstractGuarantee):
    r"""One hidden layer of `Projected` units with signed outflow and one output: $f_hb_h\ge0$ and
    $b_h\le\lambda_h+f_h$. Every term of the closed form is then non-negative: the local rule, in the limit of a small
    nudge, descends on every sample by itself; a batch of several samples is not covered.

    **Arguments:** `floor` and `margin` as in `SignSymmetric`.
    """

    floor: float = 1e-3
    margin: float = 0.1
    promise: ClassVar[str] = (
        "in the limit of a small nudge, descends on every sample by itself (batches of several are not covered)"
    )

    def check(self, network):
        if not (one_layer(network) and network.graph.bias and _signed(network)):
            raise ValueError(
                "Pairs guarantees Projected networks with signed outflow, biases, one hidden layer and one output: use "
                "Graph.layered([inputs, hidden, 1]) and Projected('signed'), or Safeguard"
            )

    def signs(self, network):
        return _larger(network)

    def project(self, network, state, feedback=()):
        parameters, state, feedback = super().project(network, state, feedback)
        # Of a pair it is the feedback that gives way; the hidden unit is its target.
        synapses, hidden = network.synapses, network.graph.hidden
        forth = synapses.back(parameters.weight, jnp.zeros_like(network.bias).at[-1].set(1)[None])[0]
        limit = (1 - 8 * float(jnp.finfo(network.dtype).eps)) * (network.leak + forth)
        limit = jnp.where(jnp.arange(network.graph.free) < hidden, limit, jnp.inf)
        none, one = jnp.zeros((1, network.graph.inputs), network.dtype), jnp.ones_like(limit)[None]
        finite = jnp.isfinite(limit)
        wanted = synapses.outer(none, one, jnp.where(finite, limit, 0)[None]).recurrent
        bounded = synapses.outer(none, one, finite.astype(limit.dtype)[None]).recurrent
        recurrent = jax.tree.map(
            lambda w, most, held: jnp.where(held > 0, jnp.minimum(w, most), w),
            parameters.weight.recurrent, wanted, bounded,
        )  # fmt: skip
        return parameters._replace(weight=Weight(parameters.weight.input, recurrent)), state, feedback
