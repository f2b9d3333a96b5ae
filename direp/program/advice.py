"""What a user should know before a training whose rule and graph do not fit."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..model import Network, Parameters
from ..rules import Adjoint, cosine, estimate, feedback_of, initialise
from ..settling import Tolerance
from .build import Parts

_SAMPLES = 64  # training samples that are looked at
_CLOSE = 0.7  # from this cosine on there is nothing to say


def misfit(parts: Parts) -> str | None:
    """How far from the gradient hidden synapses begin to learn, by a rule without a channel of its own, where half of
    all synapses or more have no way back or errors have several layers to pass; and what to take instead. `None` where
    nothing of the kind is known."""
    graph = parts.graph
    one_way, layers = 1 - graph.reciprocity, len(graph.layers or ()) - 2
    if feedback_of(parts.rule) or (one_way < 0.5 and layers < 2):
        return None
    network, task, key = parts.started()[0], parts.task, parts.key
    x, y = (table[:_SAMPLES].astype(network.dtype) for table in task.train)
    rules = initialise(parts.rule, network, key), Adjoint()
    settings: Any = {"cost": parts.cost, "stop": Tolerance(max_steps=1000), "key": key}
    both = (estimate(network, x, y, rule, **settings).gradient for rule in rules)
    found = float(cosine(network, *(_into_hidden(network, gradient) for gradient in both)))
    if not found < _CLOSE:  # or unknown: one of them is zero
        return None
    why = f"{one_way:.0%} of synapses between free units have no way back" if one_way >= 0.5 else f"{layers} layers"
    angle = np.degrees(np.arccos(np.clip(found, -1, 1)))
    return (
        f"{type(parts.rule).__name__} begins {angle:.0f} degrees from the gradient at synapses into "
        f"hidden units ({why}); --rule asym-ep --feedback learned has a channel for it"
    )


def _into_hidden(network: Network, gradient: Parameters) -> Parameters:
    graph = network.graph
    part = network.synapses.build(lambda _, target: (target < graph.inputs + graph.hidden).astype(network.dtype))
    bias = (np.arange(graph.free) < graph.hidden).astype(network.dtype)
    return gradient._replace(weight=jax.tree.map(jnp.multiply, gradient.weight, part), bias=gradient.bias * bias)
