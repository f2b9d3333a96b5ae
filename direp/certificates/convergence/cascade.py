"""Does a network settle? A cascade of criteria that can prove it, then a search that can refute it."""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Num

from ...arithmetic import precise
from ...model import ACTIVATIONS, OUTFLOWS, Activation, Coupling, Network
from ...rules import AbstractCost, AbstractNudge, AbstractRule, RuleRun, phases_of
from .between import Between
from .certificate import About, Attempt, Certificate, Proof
from .circle import Circle
from .compartmental import Compartmental
from .criterion import AbstractCriterion
from .diagonal import LocalLeak, Perron, Rows, prove
from .euclidean import LMI, Symmetric
from .mismatch import Mismatch, Varied
from .on_inputs import certify_on_inputs
from .refute import Findings, search
from .remedy import remedy
from .slopes import Slopes, refuse_others
from .spectral import Spectral
from .system import System, outwards, refuse_tracing
from .vertices import Vertices

CASCADE: tuple[AbstractCriterion, ...] = (
    LocalLeak(), Rows(), Perron(), Compartmental(), Spectral(), Symmetric(), Circle(), LMI(), Vertices(),
)  # fmt: skip
_CLAIM = "the network contracts to one equilibrium for each input, from every start"


@np.errstate(over="ignore", invalid="ignore", divide="ignore")  # what overflows is not proved
def certify(
    network: Network,
    *,
    rule: AbstractRule | RuleRun | None = None,
    nudge: AbstractNudge | Sequence[AbstractNudge] | None = None,
    cost: AbstractCost | None = None,
    criteria: Sequence[AbstractCriterion] = CASCADE,
    x: Num[ArrayLike, "batch input"] | None = None,
    starts: int = 32,
    seed: int = 0,
    inputs: Between | Num[ArrayLike, "batch input"] | None = None,
    start: Between | None = None,
    mismatch: Mismatch | float | None = None,
    slopes: Slopes | Num[ArrayLike, "..."] | None = None,
) -> Certificate:
    r"""Prove from the weights that a network settles, or refute it, or say what is missing.

    **Arguments:**

    - `rule`: cover every phase that the rule runs, too: those of its nudges, and those of other fields of which enough
      is known (`AsymEP`, `Dyadic`, `Adjoint`). Where one is not covered, the answer is undecided and names it. Or what
      `direp.rules.phases_of` found of it, for many networks of one kind.
    - `nudge`, `cost`: cover the phases of one nudge, or of several, too, each with its own sign and strength, as the
      network's precision has it. A positive nudge of the squared error changes nothing; a negative one, and
      cross-entropy, take from the margin of the outputs.
    - `criteria`: what to try, in this order, until one proves. `(Perron(),)` asks for the sharpest diagonal norm at
      once, at the price of a few linear systems.
    - `x`: inputs at which to search for a counter-example first, before inputs of the search's own choice.
    - `starts`: how many starts the search takes at each input; 0 does not search.
    - `inputs`: claim it of these alone: rows of samples, or a box, `direp.Between(low, high)`. Slopes are then those
      that units can have where every trajectory ends up, so that saturated networks are proved too; in the free phase,
      and from the time on that `Certificate.within` says. Nothing is searched for.
    - `mismatch`: claim it of every die: all networks whose weights, leaks and biases lie within that share of those of
      this one (`direp.Mismatch(0.05)`, or 0.05). Criteria in diagonal norms and `Spectral` know how.
    - `slopes`: claim it of every activation with slopes within these, whatever that of the network is: $d_1$ and $d_2$
      of every free unit (free x 2), or $d_2$ alone, or `direp.Slopes`, which says where they come from and which
      function they bound. There is then nothing that could be run, and no search for a counter-example.
    - `start`: and of trajectories that start in this box of states. By default of all.

    **Returns:**

    A [`Certificate`][direp.Certificate]. `"proved"` holds for the numbers as stored, not only up to rounding, and
    `"refuted"` comes with a counter-example whose existence is proved. Raises `ValueError` if the network holds NaN or
    infinite numbers, or negative leaks.
    """
    if not criteria:
        raise ValueError("certify(criteria=()) is empty: name at least one criterion, such as direp.Perron()")
    at = None if x is None or len(np.asarray(x)) == 0 else np.asarray(x, np.float64)
    if at is not None and at.shape[1:] != (network.graph.inputs,):
        raise ValueError(f"certify(x=...) has shape {at.shape}; needed is (batch, {network.graph.inputs})")
    if inputs is None and start is not None:
        raise ValueError("certify(start=...) needs inputs=...: without them a claim is of every start")
    if inputs is not None and at is not None:
        raise ValueError(
            "certify(x=...) says where to search for counter-examples, and inputs=... searches for none: leave x out"
        )
    if inputs is not None and mismatch is not None:
        raise ValueError("certify(mismatch=...) is about every input: leave inputs out")
    given = None if slopes is None else slopes if isinstance(slopes, Slopes) else Slopes(slopes)
    if given is not None:
        given = refuse_others(network, given, x=x, inputs=inputs, start=start)
    refuse_tracing("certify", network, nudge, rule)
    run, claim = RuleRun((), (), {}, False), _CLAIM
    if rule is not None:
        run = rule if isinstance(rule, RuleRun) else phases_of(rule, network, cost)
        claim = f"{_CLAIM}, in every phase of the rule"
    nudges = () if nudge is None else (nudge,) if isinstance(nudge, AbstractNudge) else tuple(nudge)
    system = System.of(network, (*nudges, *run.nudges), cost, run.fields)
    if given is not None:
        system, claim = given.applied(system), given.claim(claim)
        run = _left_open(run, "its bounds are those of the network's own activation")
    if mismatch is not None:
        mismatch = mismatch if isinstance(mismatch, Mismatch) else Mismatch(float(mismatch))
        system, claim = Varied.around(system, mismatch), mismatch.claim(claim)
        run = _left_open(run, "its own strengths vary too")
    activations = _activations(network) if given is None else []
    unknown = next((a for a in activations if not np.isfinite(a.gain)), None)
    if unknown is not None:
        reason = f"Activation {unknown.name!r} carries no slope bounds: give it slope=(d1, d2)."
        return Certificate(claim, "undecided", "none", None, -np.inf, {}, 0.0, 0.0, (), "", reason=reason)

    declared = {a.name: outwards(a.slope, network.dtype) for a in activations if a.slope is not None}
    assumptions = (
        "the weights, biases and leaks stay as they are while it settles",
        *(f"slopes of {name} stay within {bounds}" for name, bounds in declared.items()),
        "the inputs are clamped",
        "states move without rounding (rounding of size e in the field moves the equilibrium by at most e/rate)",
        *(() if given is None else (given.assumption,)),
        *(() if mismatch is None else (mismatch.assumption,)),
        *_tiny(network),
    )
    if inputs is not None:
        others = (*(name for name in system.phases if name != "free"), *run.uncovered)
        free = System.of(network)
        return certify_on_inputs(network, free, inputs, start, criteria, assumptions, others)
    attempts: list[Attempt] = []
    for criterion in criteria:
        if mismatch is not None and not criterion.mismatch:
            attempts.append(Attempt(criterion.name, note="knows nothing of mismatch"))
            continue
        with precise():
            attempt = criterion.attempt(system)
        attempts.append(attempt)
        if attempt.proof is not None:
            proved = _proved(network, claim, system, run, criteria, attempt.proof, assumptions, tuple(attempts))
            return dataclasses.replace(proved, slopes=given)
    closest = max(attempts, key=lambda attempt: attempt.rate)
    blamed = max((attempt for attempt in attempts if attempt.blame), key=lambda attempt: attempt.rate, default=closest)
    blame = tuple(network.graph.name(unit) for unit in blamed.blame)
    # Where the free phase is proved and only a nudged one is not, there is nothing to refute.
    searched = starts > 0 and given is None and not any(attempt.free for attempt in attempts)
    found = search(network, at, starts=starts, seed=seed) if searched else None
    example = None if found is None else found.counterexample
    cure = remedy(system)
    reasons = _reasons(network, system, attempts, closest, found)
    if cure is not None:
        reasons.append(cure.describe(network.graph.names[network.graph.inputs :]))
    return Certificate(
        claim=claim,
        verdict="undecided" if example is None else "refuted",
        criterion=closest.criterion if example is None else example.kind,
        norm=None,
        rate=closest.rate,
        phases={},
        largest_step=0.0,
        shrink=0.0,
        assumptions=assumptions,
        check="" if example is None else "equilibria, instability and growth are proved in 128-bit ball arithmetic",
        attempts=tuple(attempts),
        reason=" ".join(reasons),
        blame=blame,
        remedy=cure,
        counterexample=example,
        uncovered=run.uncovered,
        slopes=given,
    )


def _left_open(run: RuleRun, why: str) -> RuleRun:
    """Without the phases of fields whose couplings are not the network's own."""
    apart = [field.name for field in run.fields if field.coupling.feedback or field.coupling.jacobian == "bounded"]
    return run._replace(fields=(), others={**run.others, **dict.fromkeys(apart, why)})


def _proved(
    network: Network, claim: str, system: System, run: RuleRun, criteria: Sequence[AbstractCriterion], own: Proof,
    assumptions: tuple[str, ...], attempts: tuple[Attempt, ...],
) -> Certificate:  # fmt: skip
    """The certificate of a network that is proved to contract, if the other fields of a rule are too, each in a norm of
    its own."""
    proofs, norms = [own], dict.fromkeys(sorted(system.transposed), own.norm.dual)
    failed, rate, uncovered = [], own.rate, run.uncovered
    feedback = None if run.feedback is None else network.synapses.host(run.feedback)
    for field in run.fields:
        name, coupling = field.name, field.coupling
        if coupling.jacobian != "bounded" and not coupling.feedback:
            continue
        if coupling.feedback and feedback is None:
            continue  # uncovered
        apart = system.apart(field, feedback)
        for criterion in criteria:
            attempt = _attempt_apart(criterion, apart, coupling, f"{criterion.name}, phases of {name}")
            attempts += () if attempt is None else (attempt,)
            if attempt is not None and attempt.proof is not None:
                proofs.append(attempt.proof)
                norm = attempt.proof.norm if coupling.jacobian == "bounded" else attempt.proof.norm.dual
                norms |= dict.fromkeys(attempt.proof.rates, norm)
                break
        else:
            tried = [each for each in attempts if each.criterion.endswith(f", phases of {name}")]
            closest = max(tried, key=lambda each: each.rate, default=Attempt("", note="no criterion applies"))
            failed.append(f"the phases of {name} are not proved to ({closest.note})")
            rate = min(rate, closest.rate)
    proved = not failed and not uncovered
    step = min(proof.step for proof in proofs)
    # What a step takes grows with it at least less than in proportion, in every norm.
    shrink = min(proof.shrink * (step / proof.step) for proof in proofs) * (1 - 1e-15 * (len(proofs) > 1))
    failed += [f"nothing covers the phases of {each}" for each in uncovered]
    strengths = {beta: name for name, beta in system.phases.items() if name not in system.transposed}
    return Certificate(
        claim=claim,
        verdict="proved" if proved else "undecided",
        criterion=next(attempt.criterion for attempt in attempts if attempt.proof is own),
        norm=own.norm,
        rate=min(proof.rate for proof in proofs) if proved else -np.inf if uncovered else rate,
        phases={name: rate for proof in proofs for name, rate in proof.rates.items()},
        largest_step=step if proved else 0.0,
        shrink=shrink if proved else 0.0,
        assumptions=assumptions,
        check="; ".join(dict.fromkeys(proof.check for proof in proofs)),
        attempts=attempts,
        reason="" if proved else f"The free phase contracts, but {'; '.join(failed)}.",
        norms=norms,
        uncovered=uncovered,
        about=About(network, system.cost, strengths, float(system.total_leak.max()), getattr(system, "mismatch", None)),
    )


def _attempt_apart(criterion: AbstractCriterion, system: System, coupling: Coupling, name: str) -> Attempt | None:
    """A criterion on a matrix that is not the network's: on bounds of sizes, norms with one weight a unit alone."""
    with precise():
        if coupling.jacobian != "bounded":
            return dataclasses.replace(criterion.attempt(system), criterion=name)
        proposals = criterion.proposals(system)
        return prove(name, system, proposals) if proposals else None


def _tiny(network: Network) -> list[str]:
    """Numbers that arithmetic may flush to zero."""
    least = float(jnp.finfo(network.dtype).tiny)
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(network.parameters)]
    some = any(((leaf != 0) & (np.abs(leaf) < least)).any() for leaf in leaves)
    return [f"numbers below {least:.2g} are not taken for zero, as most machines do: scale the network"] if some else []


def _activations(network: Network) -> list[Activation]:
    """Those that do something."""
    both = dict.fromkeys((network.neuron.transfer, network.neuron.rate))
    return [a for a in both if a != ACTIVATIONS["identity"]]


def _reasons(
    network: Network, system: System, attempts: list[Attempt], closest: Attempt, found: Findings | None
) -> list[str]:
    neuron = system.neuron
    parts = []
    if neuron.slope == (1, 1) and neuron.outflow == OUTFLOWS["signed"] and not network.leak.any():
        parts.append("Leaks are zero, and with signed outflow the Jacobian is then singular whatever the weights.")
    if found is not None and found.counterexample is not None:
        parts.append(f"Refuted: {found.counterexample}.")
        return parts
    parts.append(f"No criterion proves it; {closest.criterion} {closest.note or 'comes closest'}.")
    trap = next((a for a in attempts if a.criterion == "compartmental" and a.blame), None)
    if trap is not None:
        names = ", ".join(network.graph.name(unit) for unit in trap.blame[:5])
        parts.append(f"Activity that enters {names} has no path to a leak: they are a trap.")
    if system.slopes is not None:
        parts.append("No search for a counter-example: slopes are given, and no activation that could be run.")
    if found is not None and found.starts:
        parts.append(found.describe())
        closed = [a.name for a in _activations(network) if a.enclose is None]
        if closed:
            parts.append(
                f"Activation {closed[0]!r} has no enclosure over balls, so nothing can be refuted: enclose=..."
            )
    elif found is not None:
        parts.append("No search for a counter-example: the network, or its numbers, are too large for its proofs.")
    return parts
