"""What a guarantee or a control covers of a run, and what it does not, in plain sentences."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from ..model import Network, Parameters
from ..rules import AbstractCost, AbstractRule, Local, RuleRun, named
from ..settling import compiled
from .constraint import AbstractCertified, taken
from .control import AbstractControl
from .guarantee import AbstractGuarantee
from .recorded import RecordedOptimiser


def of_guarantee(
    guarantee: AbstractGuarantee, rule: AbstractRule, run: RuleRun, network: Network, optimiser: RecordedOptimiser
) -> tuple[str, ...]:
    """Which rule and which updates a guarantee speaks of, and whether this run's are such."""
    name, used = type(guarantee).__name__, type(rule).__name__
    if type(rule) is Local:
        phases = " and ".join(named("", run.strengths, network.dtype)) or "a strength that is learned"
        one = f"{name} is about the rule Local, which, {guarantee.promise}; this run uses it at {phases}"
    else:
        one = (
            f"{name} says nothing about {used}, which this run uses, but that its networks settle: it is about the "
            f"rule Local, which, {guarantee.promise}"
        )
    if keeps_signs(optimiser, network.parameters):
        return (
            one,
            f"in a trial, all updates of the optimiser were opposite in sign to their gradients, as {name} needs",
        )
    return one, (
        f"{name} needs updates opposite in sign to their gradients, and in a trial those of the optimiser were not "
        "(nor are those of momentum, Adam or weight decay): the cost may rise"
    )


def of_constraint(
    constraint: AbstractCertified, run: RuleRun, cost: AbstractCost, network: Network, known: bool = False
) -> tuple[str, ...]:
    """The phases of a rule that a constraint does not keep certified, if there are any. `known`: whether all feedback
    of the rule is by weights or companions (`by_companions`), which a control keeps certified beside the weights."""
    beside = isinstance(constraint, AbstractControl) and known
    open_, margin = [], float(constraint.margin)
    covered = named("", run.strengths, network.dtype)
    for name, coupling, strengths in run.fields:
        if coupling.jacobian == "transposed" and (beside or not coupling.feedback):
            covered |= named(name, strengths, network.dtype)
        else:
            open_.append(f"{name}, whose Jacobian is not the network's")
    for phase, beta in covered.items():
        loss = taken(constraint, beta, cost, network)
        if loss >= margin:
            open_.append(f"{phase}, which can take {loss:.3g} from the margin")
    open_ += [f"{name} ({why})" for name, why in run.others.items()]
    if not open_:
        return ()
    return (
        f"{type(constraint).__name__} keeps the free phase certified at the rate {margin:g}, but not the phases "
        f"{'; '.join(open_)}: certify(network, rule=...) judges each network",
    )


def keeps_signs(optimiser: RecordedOptimiser, parameters: Parameters) -> bool:
    """Whether every update is opposite in sign to its gradient, and zero where that is, for gradients that turn round,
    vanish and come back."""
    rng = np.random.default_rng(0)

    def script(leaf: Array) -> np.ndarray:
        one, other = rng.choice([-1.0, 1.0], (2, *leaf.shape))
        return np.stack([one, -1e-3 * one, 0 * one, 1e-2 * other, -1e-4 * other, 0 * one]).astype(leaf.dtype)

    gradients = jax.tree.map(script, parameters)._replace(
        leak=np.zeros((6, *parameters.leak.shape), parameters.leak.dtype)
    )
    return bool(_trial(optimiser, parameters, gradients))


@compiled
def _trial(optimiser: RecordedOptimiser, parameters: Parameters, gradients: Parameters) -> Bool[Array, ""]:
    def step(carry: Any, gradient: Parameters) -> tuple[Any, Array]:
        parameters, state = carry
        updates, state = optimiser.update(gradient, state, parameters)
        pairs = zip(
            jax.tree.leaves(updates._replace(leak=())), jax.tree.leaves(gradient._replace(leak=())), strict=True
        )
        opposite = [((u == 0) | (jnp.sign(u) == -jnp.sign(g))).all() for u, g in pairs]
        return (eqx.apply_updates(parameters, updates), state), jnp.stack(opposite).all()

    return jax.lax.scan(step, (parameters, optimiser.init(parameters)), gradients)[1].all()
