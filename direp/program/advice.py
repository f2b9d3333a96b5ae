"""What a user should know before a training whose rule and graph do not fit."""

import math

import numpy as np
from jaxtyping import PRNGKeyArray

from ..analysis import compare_gradients
from ..model import Network
from ..rules import AbstractCost, AbstractRule, feedback_of, initialise
from ..tasks import Task

_SAMPLES = 64  # training samples that are looked at
_CLOSE = 0.7  # from this cosine on there is nothing to say


def misfit(network: Network, rule: AbstractRule, task: Task, cost: AbstractCost, key: PRNGKeyArray) -> str | None:
    """How far from the gradient hidden synapses begin to learn, by a rule without a channel of its own, where half of
    all synapses or more have no way back or errors have several layers to pass; and what to take instead. `None` where
    nothing of the kind is known."""
    one_way, layers = 1 - network.graph.reciprocity, len(network.graph.layers or ()) - 2
    if feedback_of(rule) or (one_way < 0.5 and layers < 2):
        return None
    some, name = slice(0, _SAMPLES), type(rule).__name__
    rules = {name: initialise(rule, network, key)}
    found, _ = compare_gradients(network, task.train.x[some], task.train.y[some], rules, cost=cost, key=key)
    hidden = [one.cosine for group, one in found[name].groups.items() if " to hidden" in group]
    known = [cosine for cosine in hidden if np.isfinite(cosine)]
    if not known or np.median(known) > _CLOSE:
        return None
    why = f"{one_way:.0%} of synapses between free units have no way back" if one_way >= 0.5 else f"{layers} layers"
    return (
        f"{name} begins {math.degrees(math.acos(np.clip(np.median(known), -1, 1))):.0f} degrees from the gradient at "
        f"synapses into hidden units ({why}); --rule asym-ep --feedback learned has a channel for it"
    )
