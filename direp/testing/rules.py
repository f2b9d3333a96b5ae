"""The laws of a learning rule."""

import functools

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
    # Compiled at the door of `estimate`, where equal programs are shared: by other keys, and by other rules.
    ask = functools.partial(estimate, network, stop=_STOP)
    key = jax.random.key(0)
    found, other_cost = (ask(x, y, rule, cost=cost, key=key) for cost in COSTS)
    for each in (found, other_cost):
        _check_structure(rule, network, each)
    inside = _within_jit(network, rule, x, y, key)
    close(inside.gradient, found.gradient, "the gradient inside jit is another one")
    # Beside the batch: padding, an input and a target that are not numbers, an infinite input.
    wrong = np.array([[0.0, np.nan, 0.0, np.inf], [0.0, 0.0, np.nan, 0.0]])[:, :, None]
    more = tuple(np.concatenate([table, table[:1] + bad]) for table, bad in zip((x, y), wrong, strict=True))
    padded = ask(*more, rule, valid=jnp.asarray(np.arange(len(more[0])) != len(x)), key=key)
    none = ask(*more, rule, valid=jnp.zeros(len(more[0]), bool), key=key)
    holds(not bool(padded.used[len(x) :].any()), "a sample that is only padding, or is not finite, was used")
    holds(not bool(none.used.any()), "samples were used although none counts")
    # Without random choices other keys change nothing.
    others = [ask(x, y, rule, cost=COSTS[0], key=key) for key in jax.random.split(key, 8)]
    if all((leaf == one).all() for other in others for leaf, one in zip(*map(_weights, (other, found)), strict=True)):
        close(padded.gradient, found.gradient, "padding, or a sample that is not finite, changes the gradient")
        exact = ask(x, y, Adjoint(), key=key)
        for pair, here, fallback in (
            (Safeguard(rule, Adjoint()), found, exact),
            (Safeguard(Adjoint(), rule), exact, found),
            (Safeguard(Adjoint(), Homeostasis(rule, 0.0)), exact, found),
        ):
            both = ask(x, y, pair, key=key)
            wanted = (fallback if bool(both.fell_back) else here).gradient._replace(rule=())
            close(both.gradient._replace(rule=()), wanted, "within a Safeguard the rule gives another gradient", 1e-7)


def _weights(found: Estimate) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(found.gradient.weight)]


@eqx.filter_jit
def _within_jit(network: Network, rule: AbstractRule, x, y, key) -> Estimate:
    return estimate(network, x, y, rule, cost=COSTS[0], stop=_STOP, key=key)


def _check_structure(rule: AbstractRule, network: Network, found: Estimate) -> None:
    wanted = jax.tree.map(np.shape, network.parameters._replace(rule=parameters_of(rule)))
    given = jax.tree.map(np.shape, found.gradient)
    holds(given == wanted, f"the gradient has the shapes {given}; the parameters are {wanted}")
    for leaf in jax.tree.leaves(found.gradient):
        holds(bool(np.isfinite(leaf).all()), "the gradient of settled samples is not finite")
    holds(bool(found.used.all()), "some settled samples were not used")
