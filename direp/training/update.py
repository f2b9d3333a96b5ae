r"""Transformations of updates, to be chained with any optax optimiser. They act on [`Parameters`][direp.Parameters]."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from ..model import Network, Parameters

__all__ = ["prune", "shrink", "trainable"]


def _stateless(update) -> optax.GradientTransformation:
    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def _applied(params: Parameters, updates: Any) -> Parameters:
    wanted: Any = optax.apply_updates(params, updates)  # pyright: ignore[reportArgumentType]
    return wanted


def _given(who: str, params: Parameters | None) -> Parameters:
    if params is None:
        raise ValueError(f"{who} needs the parameters: call update(updates, state, params)")
    return params


def trainable(
    network: Network, *, bias: bool = True, leak: bool = False, outputs_only: bool = False
) -> optax.GradientTransformation:
    """Zero every update of what is no synapse, and of biases or leaks that are not to be learned.

    With `outputs_only` nothing but the outputs learn, by the synapses into them: a control that shows what the hidden
    units contribute.
    """
    graph = network.graph
    learns = np.arange(graph.free) >= (graph.hidden if outputs_only else 0)

    def update(updates: Any, state: Any, params: Any = None):
        del params
        weight, own = network.synapses.mask(updates.weight), jnp.asarray(learns, updates.bias.dtype)
        if outputs_only:
            one = jnp.ones((1, graph.inputs), own.dtype)
            into = network.synapses.outer(one, jnp.ones_like(own)[None], own[None])
            weight = jax.tree.map(jnp.multiply, weight, into)
        learned_bias = updates.bias * own if bias and graph.bias else jnp.zeros_like(updates.bias)
        learned_leak = updates.leak * own if leak else jnp.zeros_like(updates.leak)
        return updates._replace(weight=weight, bias=learned_bias, leak=learned_leak), state

    return _stateless(update)


def shrink(strength: float) -> optax.GradientTransformation:
    r"""L1: pull every weight and bias by `strength` towards zero, $-\mathrm{strength}\,\mathrm{sgn}\,w$ an update.

    Source: DEEP (arXiv:2006.08798), where it is $1.5\cdot10^{-4}$.
    """

    def update(updates: Any, state: Any, params: Any = None):
        pulled = jax.tree.map(lambda u, w: u - strength * jnp.sign(w), updates, _given("shrink", params))
        return pulled._replace(leak=updates.leak), state

    return _stateless(update)


class PruneState(NamedTuple):
    key: Array


def prune(network: Network, *, threshold: float = 0.01, scale: float = 5.0, key: Array) -> optax.GradientTransformation:
    r"""Stochastic pruning: a weight with $|w|\le$ `threshold` is set to zero with probability
    $e^{-|w_{ij}|/\mathrm{scale}}/\sum_ie^{-|w_{ij}|/\mathrm{scale}}$ over the weights into $j$ (bias included).

    Put it after the optimiser. Source: DEEP (arXiv:2006.08798).
    """
    exists = network.synapses.build(lambda i, j: np.ones(np.broadcast_shapes(i.shape, j.shape)))

    def update(updates: Any, state: Any, params: Any = None):
        wanted = _applied(_given("prune", params), updates)
        key, draw = jax.random.split(state.key)
        synapses = network.synapses
        score = jax.tree.map(lambda w, e: jnp.exp(-jnp.abs(w) / scale) * e.astype(w.dtype), wanted.weight, exists)
        bias_score = jnp.exp(-jnp.abs(wanted.bias) / scale) * float(network.graph.bias)
        one = jnp.ones((1, network.graph.inputs), wanted.bias.dtype)
        into = synapses.input_drive(score, one)[0] + synapses.incoming(score, lambda w: w) + bias_score
        # Every synapse needs the sum of its own target: an outer product of ones with it.
        total = synapses.outer(one, jnp.ones_like(into)[None], into[None])

        def cut(w, u, score, total, key):
            chance = jnp.where(total > 0, score / jnp.where(total > 0, total, 1), 0)
            drop = (jnp.abs(w) <= threshold) & (jax.random.uniform(key, w.shape, w.dtype) < chance)
            return jnp.where(drop, u - w, u)

        leaves, shape = jax.tree.flatten(wanted.weight)
        keys = jax.tree.unflatten(shape, list(jax.random.split(draw, len(leaves) + 1)[1:]))
        weight = jax.tree.map(cut, wanted.weight, updates.weight, score, total, keys)
        bias = cut(wanted.bias, updates.bias, bias_score, into, jax.random.split(draw, len(leaves) + 1)[0])
        return updates._replace(weight=weight, bias=bias), PruneState(key)

    def init(params: Any):
        # Seeds that train side by side hold other weights, and so draw other numbers.
        bits = jax.lax.bitcast_convert_type(params.bias.sum().astype(jnp.float32), jnp.uint32)
        bits = bits ^ jax.lax.bitcast_convert_type(
            jnp.stack([leaf.sum() for leaf in jax.tree.leaves(params.weight)]).sum().astype(jnp.float32), jnp.uint32
        )
        return PruneState(jax.random.fold_in(key, bits))

    return optax.GradientTransformation(init, update)
