r"""Transformations of updates, to be chained with any optax optimiser.

They act on [`Parameters`][direp.Parameters]. A controller has a part before the optimiser and a part after it; `fit`
puts them in place.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from .certificates import contraction_margin
from .network import Network, Parameters

__all__ = ["LeakController", "prune", "shrink", "trainable"]


def _stateless(update) -> optax.GradientTransformation:
    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def _applied(params: Parameters, updates: Any) -> Parameters:
    wanted: Any = optax.apply_updates(params, updates)  # pyright: ignore[reportArgumentType]
    return wanted


def _given(who: str, params: Parameters | None) -> Parameters:
    if params is None:
        raise ValueError(f"{who} needs the parameters: call update(updates, state, params)")
    return params


def trainable(network: Network, *, bias: bool = True, leak: bool = False) -> optax.GradientTransformation:
    """Zero every update of what is no synapse, and of biases or leaks that are not to be learned."""

    def update(updates: Any, state: Any, params: Any = None):
        del params
        weight = network.synapses.mask(updates.weight)
        learned_bias = updates.bias if bias and network.graph.bias else jnp.zeros_like(updates.bias)
        learned_leak = updates.leak if leak else jnp.zeros_like(updates.leak)
        return Parameters(weight, learned_bias, learned_leak), state

    return _stateless(update)


class LeakController(eqx.Module):
    r"""Keeps a network certified: every neuron holds its own leak at the local leak criterion,
    $\lambda_i=\max(\mathrm{floor},\ d_2\sum_k|w_{ik}|-\kappa\,\mathrm{out}_i(W)+c_0)$.

    Three parts. `start` sets the leaks of a network before training. `hold` sets them after every update, so the
    network is certified to contract at rate $c_0$ or faster at every step. `through` comes before the optimiser: a leak
    that is held at the criterion moves with the unit's own weights, and that part of the gradient,
    $\partial_{\lambda_i}C\,(d_2\,\mathrm{sgn}\,w_{ij}-\kappa_{ij})$, belongs to the synapse too. All three are local.

    **Arguments:**

    - `margin`: $c_0$ (1/time), the rate that stays certified.
    - `floor`: the least leak that a unit keeps.
    - `follow`: leaks come down again when the weights allow it. `False` only raises them (and suits learned leaks).
    - `through_leak`: leave the second part out with `False`; learning is then blind to what its own control does.
    """

    margin: float | Array = 0.1
    floor: float | Array = 1.0
    follow: bool = eqx.field(static=True, default=True)
    through_leak: bool = eqx.field(static=True, default=True)

    def __check_init__(self):
        if isinstance(self.margin, float | int) and not self.margin > 0:
            raise ValueError(
                f"LeakController(margin={self.margin}) must be above 0: it is the rate that stays certified"
            )
        if isinstance(self.floor, float | int) and not self.floor >= 0:
            raise ValueError(
                f"LeakController(floor={self.floor}) must be 0 or above: it is the least leak a unit keeps"
            )

    def needed(self, network: Network) -> Array:
        """The least leak of every unit that meets the criterion with the margin."""
        return network.leak - contraction_margin(network) + self.margin

    def _held(self, network: Network) -> Array:
        least = self.floor if self.follow else jnp.maximum(network.leak, self.floor)
        return jnp.maximum(jnp.maximum(self.needed(network), least), 0)

    def start(self, network: Network) -> Network:
        activation = network.neuron.activation
        if not np.isfinite(activation.gain):
            raise ValueError(
                f"LeakController: activation {activation.name!r} has no slope bounds; give it slope=(d1, d2)"
            )
        return network.replace(network.parameters._replace(leak=self._held(network)))

    def through(self, network: Network) -> optax.GradientTransformation:
        """Before the optimiser: the gradient through leaks that are held at the criterion."""
        gain = network.neuron.activation.gain
        functions = network.neuron.outflow_functions
        lost = (lambda w: jnp.zeros_like(w)) if functions is None else functions[1]

        def update(updates: Any, state: Any, params: Any = None):
            if not self.through_leak:
                return updates, state
            now = network.replace(_given("LeakController.through", params))
            # A hair of tolerance: a leak held a moment ago differs from the criterion by rounding.
            held = now.leak <= self.needed(now) * (1 + 1e-5)
            pull = jnp.where(held, updates.leak, 0)
            extra = network.synapses.per_source(now.weight, pull, lambda w: gain * jnp.sign(w) - lost(w))
            return updates._replace(weight=jax.tree.map(jnp.add, updates.weight, extra)), state

        return _stateless(update)

    def hold(self, network: Network) -> optax.GradientTransformation:
        """After the optimiser, last of all: set leaks to the criterion."""

        def update(updates: Any, state: Any, params: Any = None):
            params = _given("LeakController.hold", params)
            wanted = network.replace(_applied(params, updates))
            return updates._replace(leak=self._held(wanted) - params.leak), state

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
