r"""Feedback: the strengths by which a unit learns how its targets would like it to change.

The phase of `AsymEP` and `Dyadic` sends to every unit $i$ what its targets $j$ deviate from their free states,
$\psi'_i\sum_jm_{ij}\varphi'_jd_j$. With $m_{ij}=w_{ij}$ that is the exact gradient, and every synapse works both ways.
Else each synapse has a companion of its own, that runs from $j$ to $i$ and carries deviations alone.
"""

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from ..model import Network, Parameters
from ..model.synapses import Weight
from ..settling import check_kind, check_number
from .learned import Learned, initialise, parameters_of, with_parameters


class Companions(eqx.Module):
    r"""$m_{ij}$ of every synapse between free units, arranged like `Weight.recurrent`, among what a rule learns
    (`Parameters.rule`).

    `learned`: whether they get the steps of their partners $w_{ij}$, from the optimiser as from a control. If not, they
    stay as they began.
    """

    recurrent: Any
    learned: bool = eqx.field(static=True, default=True)


class AbstractFeedback(eqx.Module):
    """How deviations travel back along synapses."""

    @abstractmethod
    def weight(self, network: Network) -> Weight | None:
        r"""$m_{ij}$ in the layout of the network, of which only those between free units count; `None`: the weights."""

    @abstractmethod
    def gradient(self, gradient: Parameters) -> Parameters:
        """That of a rule, with what its feedback learns itself."""


class SharedFeedback(AbstractFeedback):
    r"""$m_{ij}=w_{ij}$: every synapse carries activity one way and deviations the other. Exact, and beyond a neuron."""

    def weight(self, network):
        return None

    def gradient(self, gradient):
        return gradient


class _Apart(AbstractFeedback):
    """Feedback by companions, with which training begins at random."""

    own: Learned

    def weight(self, network):
        if self.own.value is None:
            raise ValueError("feedback has no strengths yet: rules.initialise(rule, network, key) draws them")
        return Weight(network.weight.input, self.own.value.recurrent)


class LearnedFeedback(_Apart):
    r"""Companions that begin at random and get the very steps of their partners: the product of what both ends know.

    Under any optimiser that takes the same step $\eta_k$ and decay $d_k$ for both,

    $$m-w=(m_0-w_0)\prod_k(1-\eta_kd_k),$$

    whatever is learned, a penalty or another rule within included: with weight decay the phase tends to the exact one.
    `shrink` and `prune` move each of the two by its own sign or size, which ends this.

    **Arguments:**

    - `scale`: companions begin with `scale` times the spread of the weights of the same kind into the same unit.

    Source: Kolen & Pollack (1994); Akrout et al. (2019), arXiv:1904.05391.
    """

    def __init__(self, scale: float = 1.0):
        check_number("LearnedFeedback(scale", scale, least=0)
        self.own = Learned(_Drawn(float(scale), learned=True))

    def gradient(self, gradient):
        return gradient._replace(rule=(Companions(gradient.weight.recurrent),))


class FixedFeedback(_Apart):
    r"""Companions that stay as they were drawn; the weights come to agree with them, as far as they do.

    **Arguments:**

    - `scale`: as in `LearnedFeedback`.

    Source: Lillicrap et al. (2016), feedback alignment.
    """

    def __init__(self, scale: float = 1.0):
        check_number("FixedFeedback(scale", scale, above=0)
        self.own = Learned(_Drawn(float(scale), learned=False))

    def gradient(self, gradient):
        still = jax.tree.map(jnp.zeros_like, gradient.weight.recurrent)
        return gradient._replace(rule=(Companions(still, learned=False),))


@dataclass(frozen=True)
class _Drawn:
    """Makes the companions with which training begins."""

    scale: float
    learned: bool

    def __call__(self, network: Network, key: PRNGKeyArray) -> Companions:
        synapses, weight = network.synapses, network.weight
        leaves, shape = jax.tree.flatten(weight.recurrent)
        keys = jax.random.split(key, len(leaves))
        drawn = [jax.random.normal(k, w.shape, w.dtype) for k, w in zip(keys, leaves, strict=True)]
        normal = Weight(jax.tree.map(jnp.zeros_like, weight.input), jax.tree.unflatten(shape, drawn))
        # Sources before the target in the order of units send forth, those after it back: two kinds of spreads.
        parts = []
        for forth in (True, False):
            kind = synapses.build(lambda i, j, forth=forth: ((i < j) == forth).astype(float))
            kind = jax.tree.map(lambda k, w: jnp.asarray(k, w.dtype), kind, weight)
            count = synapses.incoming(kind, lambda k: k)
            square = synapses.incoming(jax.tree.map(jnp.multiply, weight, kind), jnp.square)
            spread = jnp.sqrt(square / jnp.maximum(count, 1))
            parts.append(synapses.scaled(jax.tree.map(jnp.multiply, normal, kind), spread, incoming=True).recurrent)
        return Companions(jax.tree.map(lambda a, b: self.scale * (a + b), *parts), self.learned)


def alike(gradient: Parameters) -> Parameters:
    """A gradient in which every companion that learns has that of its partner, whatever was added to that one."""
    found = companions(gradient.rule)
    recurrent = (gradient.weight.recurrent if each.learned else each.recurrent for each in found)
    return gradient._replace(rule=with_companions(gradient.rule, recurrent))


def companions(rule: Any) -> tuple[Companions, ...]:
    """The companions among what a rule learns (`Parameters.rule`)."""
    return tuple(node for node in _nodes(rule) if isinstance(node, Companions))


def with_companions(rule: Any, change: Iterable[Any]) -> Any:
    """The same with other strengths, one entry for each of `companions`."""
    values = iter(change)

    def put(node: Any) -> Any:
        return Companions(next(values), node.learned) if isinstance(node, Companions) else node

    return jax.tree.map(put, rule, is_leaf=_is_companions)


def _nodes(rule: Any) -> list[Any]:
    return jax.tree.leaves(rule, is_leaf=_is_companions)


def _is_companions(node: Any) -> bool:
    return isinstance(node, Companions)


def as_feedback(rule: str, feedback: Any) -> AbstractFeedback:
    """A feedback, or a `ValueError` that says what there is."""
    check_kind(f"{rule}(feedback=...)", feedback, AbstractFeedback, "a feedback such as direp.LearnedFeedback()")
    return feedback


def feedback_of(rule: Any) -> tuple[AbstractFeedback, ...]:
    """Every feedback that a rule, or a rule within it, holds."""
    leaves = jax.tree.leaves(rule, is_leaf=lambda node: isinstance(node, AbstractFeedback))
    return tuple(leaf for leaf in leaves if isinstance(leaf, AbstractFeedback))


def by_companions(rule: Any, network: Network) -> bool:
    """Whether all feedback of a rule is by the weights or by its companions, whose strengths it takes as they are.
    Nothing is computed."""
    known = []

    def ask(own: tuple[Any, ...]) -> None:
        kept = {id(leaf) for each in companions(own) for leaf in jax.tree.leaves(each.recurrent)}
        used = [each.weight(network) for each in feedback_of(with_parameters(rule, own))]
        known.extend(id(leaf) in kept for each in used if each is not None for leaf in jax.tree.leaves(each.recurrent))

    jax.eval_shape(ask, jax.eval_shape(lambda: parameters_of(initialise(rule, network, jax.random.key(0)))))
    return all(known)


def beside(network: Network, recurrent: Any) -> Network:
    """A network with the strengths of companions in the place of its weights between free units."""
    return network.replace(network.parameters._replace(weight=Weight(network.weight.input, recurrent)))
