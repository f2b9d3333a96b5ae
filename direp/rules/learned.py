"""What a rule learns itself, beside the network's parameters: feedback weights, for example."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jaxtyping import PRNGKeyArray

from ..model import Network


class Learned(eqx.Module):
    """Arrays of a rule that training changes as it changes weights.

    They lie anywhere in the rule, also in a rule within a rule: nobody forwards them. A rule that holds one returns its
    gradient too, as `Parameters.rule`: a tuple with an entry for each `Learned`, in the order of its fields.

    **Arguments:**

    - `make`: from a network and a JAX random key to the arrays (any pytree) with which training begins. A function of a
      module, so that equal rules share compiled programs.
    - `value`: the arrays; `None` until the rule meets a network.
    """

    make: Callable[[Network, PRNGKeyArray], Any] = eqx.field(static=True)
    value: Any = None


def _nodes(rule: Any) -> list[Learned]:
    leaves = jax.tree.leaves(rule, is_leaf=lambda node: isinstance(node, Learned))
    return [leaf for leaf in leaves if isinstance(leaf, Learned)]


def parameters_of(rule: Any) -> tuple[Any, ...]:
    """What a rule learns itself: a tuple with the value of every `Learned` in it; `()` for most rules."""
    return tuple(node.value for node in _nodes(rule))


def with_parameters(rule: Any, parameters: tuple[Any, ...]) -> Any:
    """The same rule with other values of what it learns."""
    values = iter(parameters)

    def put(node: Any) -> Any:
        return Learned(node.make, next(values)) if isinstance(node, Learned) else node

    return jax.tree.map(put, rule, is_leaf=lambda node: isinstance(node, Learned)) if parameters else rule


def initialise(rule: Any, network: Network, key: PRNGKeyArray) -> Any:
    """The rule ready for a network: what it learns is made where it has no value yet."""
    made = [
        node.make(network, jax.random.fold_in(key, k)) if node.value is None else node.value
        for k, node in enumerate(_nodes(rule))
    ]
    return with_parameters(rule, tuple(made))
