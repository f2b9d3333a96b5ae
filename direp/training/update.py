r"""Transformations of updates, to be chained with any optax optimiser. They act on [`Parameters`][direp.Parameters]."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, PRNGKeyArray

from ..model import AbstractSynapses, Network, Parameters
from ..model.synapses import Weight
from ..rules import Companions, companions, with_companions
from ..settling import check_number


class Bound(eqx.Partial):
    """A function with some arguments given, whose arrays are leaves of a pytree: another value is no other program.

    Where `jit` takes it for a function, it is known by identity, as a closure would be.
    """

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other


def _stateless(update) -> optax.GradientTransformation:
    return optax.GradientTransformation(_empty, update)


def _empty(params: Any) -> optax.EmptyState:
    return optax.EmptyState()


def _given(who: str, params: Parameters | None) -> Parameters:
    if params is None:
        raise ValueError(f"{who} needs the parameters: call update(updates, state, params)")
    return params


def trainable(
    network: Network, *, bias: bool = True, leak: bool = False, outputs_only: bool = False
) -> optax.GradientTransformation:
    """Zero the updates of all places without a synapse, and of biases or leaks that are not to be learned.

    Companions of synapses (`Parameters.rule`) learn where these do, if they learn. With `outputs_only` nothing but the
    outputs learn, by the synapses into them: a control that shows what the hidden units contribute. A strength that a
    hidden unit shares stays as it is.
    """
    return _stateless(Bound(_learned, network.synapses, bias and network.graph.bias, leak, outputs_only))


def _learned(
    synapses: AbstractSynapses, bias: bool, leak: bool, outputs_only: bool, updates: Any, state: Any, params: Any = None
) -> tuple[Any, Any]:
    graph = synapses.graph
    own = jnp.asarray(np.arange(graph.free) >= (graph.hidden if outputs_only else 0), updates.bias.dtype)
    weight = synapses.mask(updates.weight)
    if outputs_only:
        weight = synapses.scaled(weight, own, incoming=True)
    learned_bias = updates.bias * own if bias else jnp.zeros_like(updates.bias)
    learned_leak = updates.leak * own if leak else jnp.zeros_like(updates.leak)

    def companion(node: Companions) -> Any:
        if not node.learned:
            return jax.tree.map(jnp.zeros_like, node.recurrent)
        alike = synapses.mask(Weight(updates.weight.input, node.recurrent))
        return (synapses.scaled(alike, own, incoming=True) if outputs_only else alike).recurrent

    rule = with_companions(updates.rule, map(companion, companions(updates.rule)))
    return updates._replace(weight=weight, bias=learned_bias, leak=learned_leak, rule=rule), state


def shrink(strength: float) -> optax.GradientTransformation:
    r"""L1: move every weight and bias by `strength` towards zero, $-\mathrm{strength}\,\mathrm{sgn}\,w$ an update.

    Source: DEEP (arXiv:2006.08798), where it is $1.5\cdot10^{-4}$.
    """
    check_number("shrink(strength", strength, least=0)
    return _stateless(Bound(_shrunk, strength))


def _shrunk(strength: float, updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
    moved = jax.tree.map(lambda u, w: u - strength * jnp.sign(w), updates, _given("shrink", params))
    return moved._replace(leak=updates.leak), state


class PruneState(NamedTuple):
    key: Array


def prune(
    network: Network, *, threshold: float = 0.01, scale: float = 5.0, key: PRNGKeyArray
) -> optax.GradientTransformation:
    r"""Stochastic pruning: a weight with $|w|\le$ `threshold` is set to zero with probability
    $e^{-|w_{ij}|/\mathrm{scale}}/\sum_ie^{-|w_{ij}|/\mathrm{scale}}$ over the weights into $j$ (bias included).

    Put it after the optimiser. `fit` gives every seed a key of its own from this one (`own_keys`). Source: DEEP
    (arXiv:2006.08798).
    """
    check_number("prune(threshold", threshold, least=0)
    check_number("prune(scale", scale, above=0)
    network.synapses.refuse_shared("prune")
    update = Bound(_pruned, network.synapses, threshold, scale)
    return optax.GradientTransformation(Bound(_keyed, key), update)  # pyright: ignore[reportArgumentType]


def _keyed(key: PRNGKeyArray, params: Any) -> PruneState:
    return PruneState(key)


def _pruned(
    synapses: AbstractSynapses, threshold: float, scale: float, updates: Any, state: PruneState, params: Any = None
) -> tuple[Any, PruneState]:
    wanted: Any = optax.apply_updates(_given("prune", params), updates)  # pyright: ignore[reportArgumentType]
    key, draw = jax.random.split(state.key)
    graph = synapses.graph
    exists = synapses.mask(jax.tree.map(jnp.ones_like, wanted.weight))
    score = jax.tree.map(lambda w, e: jnp.exp(-jnp.abs(w) / scale) * e, wanted.weight, exists)
    bias_score = jnp.exp(-jnp.abs(wanted.bias) / scale) * float(graph.bias)
    one = jnp.ones((1, graph.inputs), wanted.bias.dtype)
    into = synapses.input_drive(score, one)[0] + synapses.incoming(score, lambda w: w) + bias_score
    total = synapses.scaled(exists, into, incoming=True)

    def cut(w, u, score, total, key):
        chance = jnp.where(total > 0, score / jnp.where(total > 0, total, 1), 0)
        drop = (jnp.abs(w) <= threshold) & (jax.random.uniform(key, w.shape, w.dtype) < chance)
        return jnp.where(drop, u - w, u)

    leaves, shape = jax.tree.flatten(wanted.weight)
    first, *keys = jax.random.split(draw, len(leaves) + 1)
    weight = jax.tree.map(cut, wanted.weight, updates.weight, score, total, jax.tree.unflatten(shape, keys))
    bias = cut(wanted.bias, updates.bias, bias_score, into, first)
    return updates._replace(weight=weight, bias=bias), PruneState(key)


def own_keys(state: Any, key: PRNGKeyArray) -> Any:
    """An optimiser's state whose random keys are this seed's own."""

    def own(leaf: Any) -> Any:
        if not (eqx.is_array(leaf) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)):
            return leaf
        return jax.random.fold_in(leaf, jax.random.bits(key, dtype=jnp.uint32))

    return jax.tree.map(own, state)
