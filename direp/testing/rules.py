"""The laws of a learning rule."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..model import AbstractNeuron, Network
from ..rules import (
    AbstractRule,
    Adjoint,
    Estimate,
    Homeostasis,
    Safeguard,
    estimate,
    initialise,
    parameters_of,
    phases_of,
)  # fmt: skip
from ..settling import Tolerance
from .example import COSTS, batch, close, example, holds, in_64_bits

_STOP = Tolerance(1e-12, 1e-13, max_steps=20_000)


@in_64_bits
def check_rule(rule: AbstractRule, neuron: AbstractNeuron | None = None) -> None:
    """A rule gives a finite gradient for every parameter; padding and samples that do not settle have no part in it;
    it is the same inside `jit`; and it works within and beside other rules.

    Raises `AssertionError`. The rule's own `ValueError` for a neuron that it refuses passes on.
    """
    network = example(neuron)
    x, y = batch(network)
    rule = initialise(rule, network, jax.random.key(0))
    phases_of(rule, network)
    alone, padded, none, other, exact, partners = _ask(network, rule, x, y, jax.random.key(0))
    for found in alone:
        _check_structure(rule, network, found)
    found = alone[0]
    outside = estimate(network, x, y, rule, stop=_STOP, key=jax.random.key(0))
    close(outside.gradient, found.gradient, "the gradient inside jit is another one")
    holds(not bool(padded.used[len(x) :].any()), "a sample that is only padding, or is not finite, was used")
    holds(not bool(none.used.any()), "samples were used although none counts")
    # Without random choices other keys change nothing.
    if all((several == one).all() for several, one in zip(*map(_weights, (other, found)), strict=True)):
        close(padded.gradient, found.gradient, "padding, or a sample that is not finite, changes the gradient")
        for both, here, fallback in zip(partners, (found, exact, exact), (exact, found, found), strict=True):
            wanted = (fallback if bool(both.fell_back) else here).gradient._replace(rule=())
            close(both.gradient._replace(rule=()), wanted, "within a Safeguard the rule gives another gradient", 1e-7)


def _weights(found: Estimate) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(found.gradient.weight)]


@eqx.filter_jit
def _ask(network: Network, rule: AbstractRule, x, y, key):
    """Alone under every cost, with padding, with nothing to learn from, with another key; and within other rules."""

    def ask(rule: AbstractRule, x=x, y=y, key=key, **settings) -> Estimate:
        return estimate(network, x, y, rule, stop=_STOP, key=key, **settings)

    alone = tuple(ask(rule, cost=cost) for cost in COSTS)
    # Beside the batch: padding, an input and a target that are not numbers, an infinite input.
    wrong = jnp.array([[0.0, jnp.nan, 0.0, jnp.inf], [0.0, 0.0, jnp.nan, 0.0]], x.dtype)[:, :, None]
    more = tuple(jnp.concatenate([table, table[:1] + bad]) for table, bad in zip((x, y), wrong, strict=True))
    padded = ask(rule, *more, valid=jnp.arange(len(more[0])) != len(x))
    none = ask(rule, valid=jnp.zeros(len(x), bool))
    other = jax.lax.map(lambda key: ask(rule, key=key), jax.random.split(key, 8))
    pairs = (Safeguard(rule, Adjoint()), Safeguard(Adjoint(), rule), Safeguard(Adjoint(), Homeostasis(rule, 0.0)))
    return alone, padded, none, other, ask(Adjoint()), tuple(ask(pair) for pair in pairs)


def _check_structure(rule: AbstractRule, network: Network, found: Estimate) -> None:
    wanted = jax.tree.map(jnp.shape, network.parameters._replace(rule=parameters_of(rule)))
    given = jax.tree.map(jnp.shape, found.gradient)
    holds(given == wanted, f"the gradient has the shapes {given}; the parameters are {wanted}")
    for leaf in jax.tree.leaves(found.gradient):
        holds(bool(np.isfinite(leaf).all()), "the gradient of settled samples is not finite")
    holds(bool(found.used.all()), "some settled samples were not used")
