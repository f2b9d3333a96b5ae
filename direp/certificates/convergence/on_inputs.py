r"""Contraction on what inputs allow: the criteria, with the slopes that units can have where every trajectory ends up.

For inputs in $X$ every trajectory from the starts is in a convex, forward invariant box $B$ from some time on (see
`absorbing`). There $u\in U$, so the slopes of unit $i$ are in $\varphi'(U_i)$ and $\psi'(B_i)$, and units that a face
holds for good do not move: their rows and columns leave the Jacobian. If the criteria prove $\mu(J)\le-c<0$ for all
such slopes, then two trajectories approach each other at least like $e^{-ct}$ from the time on when both are in $B$,
for the segment between them is in $B$. The flow maps the closed set $B$ into itself and shrinks distances, so each
input has exactly one equilibrium in $B$ (Banach), and whatever starts among the starts comes to it.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...arithmetic import Interval, down, precise
from ...model import OUTFLOWS, Network
from .absorbing import Absorbed, absorb, from_inputs
from .between import inputs_of, start_of
from .certificate import About, Attempt, Certificate
from .criterion import AbstractCriterion
from .enclosure import enclosure
from .norm import L1, L2, AbstractNorm, Euclidean, LInf
from .system import Bare, System
from .within import Within


def certify_on_inputs(
    network: Network,
    system: System,
    inputs: Any,
    start: Any,
    criteria: Sequence[AbstractCriterion],
    assumptions: tuple[str, ...],
    uncovered: tuple[str, ...],
) -> Certificate:
    """The certificate of a network for inputs in a box, or for samples: one norm for all, or else one for each.

    `system` is that of the network with its free phase; `uncovered` are other phases that were asked for."""
    (x, samples), begin = inputs_of(network, inputs), start_of(network, start)
    absorbed = absorb(network, system, x, begin)
    together = _tried(network, system, absorbed, slice(None), criteria)
    attempts, each = list(together), []
    if together[-1].proof is None:
        if samples:
            each = [_tried(network, system, absorbed, slice(k, k + 1), criteria) for k in range(len(x.low))]
        else:
            x, absorbed, each = _divided(network, system, x, absorbed, together, begin, criteria)
            if all(tried[-1].proof is not None for tried in each):
                together = _tried(network, system, absorbed, slice(None), criteria)
        lost = [(k, _closest(tried)) for k, tried in enumerate(each) if tried[-1].proof is None]
        row = "sample" if samples else "part"
        attempts += [dataclasses.replace(best, criterion=f"{best.criterion}, {row} {k}") for k, best in lost[:_SHOWN]]
    count = len(x.low)
    if together[-1].proof is not None:
        proofs, norms, criterion = [together[-1].proof] * count, (together[-1].proof.norm,), together[-1].criterion
    else:
        proofs = [tried[-1].proof for tried in each]
        norms = tuple(None if proof is None else proof.norm for proof in proofs)
        names = dict.fromkeys(tried[-1].criterion for tried in each if tried[-1].proof is not None)
        criterion = f"{', '.join(names)}, {'sample' if samples else 'part'} by {'sample' if samples else 'part'}"
    rates = np.array([0.0 if proof is None else proof.rate for proof in proofs])
    full = bool((down(system.total_leak) > 0).all())
    within = Within.of(x, samples, begin, absorbed, rates, norms, full)
    found = [proof for proof in proofs if proof is not None]
    everywhere = "from every start" if begin is None else "from every start in the box given"
    which = f"each of the {count} inputs given" if samples else "each input in the box given"
    claim = f"the network settles to one equilibrium for {which}, {everywhere}"
    closest = _closest(attempts)
    proved = bool(within.proved.all()) and not uncovered
    if not within.proved.all():
        return Certificate(
            claim=claim, verdict="undecided", criterion=closest.criterion, norm=None, rate=closest.rate, phases={},
            largest_step=0.0, shrink=0.0, assumptions=assumptions, check="", attempts=tuple(attempts),
            reason=_reason(network, within, closest), uncovered=uncovered, within=within,
            blame=tuple(network.graph.name(unit) for unit in closest.blame),
        )  # fmt: skip
    step = min(proof.step for proof in found)
    shrink = min(proof.shrink * (step / proof.step) for proof in found) * (1 - 1e-15 * (len(found) > 1))
    return Certificate(
        claim=claim,
        verdict="proved" if proved else "undecided",
        criterion=criterion,
        norm=norms[0] if len(norms) == 1 else None,
        rate=float(rates.min()) if proved else -np.inf,
        phases={"free": float(rates.min())},
        largest_step=step if proved else 0.0,
        shrink=shrink if proved else 0.0,
        assumptions=assumptions,
        check="; ".join(dict.fromkeys(proof.check for proof in found)),
        attempts=tuple(attempts),
        reason="" if proved else f"The free phase contracts, but nothing covers the phases of {'; '.join(uncovered)}.",
        uncovered=uncovered,
        about=About(network, system.cost, {0.0: "free"}, float(system.total_leak.max())),
        within=within,
    )


_SHOWN = 5  # samples of which it is told how they failed
_PARTS = 64  # into which a box of inputs is divided at most


def _closest(attempts: Sequence[Attempt]) -> Attempt:
    return max(attempts, key=lambda attempt: attempt.rate)


def _divided(
    network: Network, system: System, x: Interval, absorbed: Absorbed, tried: list[Attempt], start: Interval | None,
    criteria: Sequence[AbstractCriterion],
) -> tuple[Interval, Absorbed, list[list[Attempt]]]:  # fmt: skip
    """A box of inputs in parts that are proved one by one, each halved until it is. It ends where a part whose middle
    alone is not proved shows that no dividing helps, and after so many parts."""
    reach = np.asarray(abs(from_inputs(network)).sum(1)).ravel()
    todo, done = [(x, absorbed, tried)], []

    def part(low: np.ndarray, high: np.ndarray) -> tuple[Interval, Absorbed, list[Attempt]]:
        box = Interval(low, high)
        where = absorb(network, system, box, start)
        return box, where, _tried(network, system, where, slice(None), criteria)

    while todo:
        box, where, fared = todo.pop()
        if fared[-1].proof is not None:
            done.append((box, where, fared))
            continue
        middle = np.clip(0.5 * box.low + 0.5 * box.high, box.low, box.high)
        entry = int(np.argmax(box.width()[0] * reach))
        hopeless = len(done) + len(todo) + 2 > _PARTS or not (box.low < middle)[0, entry]
        if hopeless or part(middle, middle)[2][-1].proof is None:
            todo.append((box, where, fared))
            break
        cut = np.where(np.arange(box.low.shape[1]) == entry, middle, box.high)
        todo += [part(box.low, cut), part(np.where(cut == box.high, box.low, cut), box.high)]
    parts = [*done, *todo]
    boxes, places = [each[0] for each in parts], [each[1] for each in parts]
    rows = Interval(np.concatenate([b.low for b in boxes]), np.concatenate([b.high for b in boxes]))
    return rows, Absorbed.joined(places), [each[2] for each in parts]


def _tried(
    network: Network, system: System, absorbed: Absorbed, rows: slice, criteria: Sequence[AbstractCriterion]
) -> list[Attempt]:
    """How the criteria fare on the slopes of some rows together, until one proves; of units that move."""
    held = np.asarray(absorbed.held[rows].all(0))
    moves = ~held
    if not moves.any():
        moves[0] = True  # which stands still too, and stands for all
    small = _part(system, _slopes(network, absorbed, rows), moves, held)
    attempts = []
    for criterion in criteria:
        with precise(), np.errstate(all="ignore"):
            attempt = criterion.attempt(small)
        places = np.flatnonzero(moves)
        attempt = dataclasses.replace(attempt, blame=tuple(int(places[unit]) for unit in attempt.blame))
        if attempt.proof is not None:
            whole = dataclasses.replace(attempt.proof, norm=_whole(attempt.proof.norm, moves))
            return [*attempts, dataclasses.replace(attempt, proof=whole)]
        attempts.append(attempt)
    return attempts


def _slopes(network: Network, absorbed: Absorbed, rows: slice) -> tuple[np.ndarray, np.ndarray]:
    """The least and the largest slope of every unit in some rows, of transfer and rate."""
    found = []
    neuron = network.neuron
    with np.errstate(all="ignore"):
        for activation, at in ((neuron.transfer, absorbed.drive), (neuron.rate, absorbed.box)):
            _, slope = enclosure(activation, network.dtype)(at[rows])
            found.append(np.stack([slope.low.min(0), slope.high.max(0)]))
    return found[0], found[1]


def _part(system: System, slopes: tuple[np.ndarray, np.ndarray], moves: np.ndarray, held: np.ndarray) -> System:
    """The system of the units that move, with slopes of their own."""
    if not held.any():
        return dataclasses.replace(system, slopes=slopes)
    # In a box every norm has one weight a unit or (Euclidean) a diagonal matrix: less leak only makes a rate smaller.
    lost = 4 * (system.longest + 8) * float(np.finfo(np.float64).eps) * (system.leak + system.sent)
    leak = np.nextafter(system.total_leak - lost, -np.inf) if system.neuron.outflow.active else system.leak
    leak = np.where(held, 1.0, leak)  # any does, where nothing moves
    neuron = system.neuron
    bare = Bare(neuron.transfer, neuron.rate, neuron.low, neuron.high, OUTFLOWS["none"])
    return dataclasses.replace(
        system, weight=system.weight[moves][:, moves], leak=leak[moves], neuron=bare, doubt=2 * lost[moves],
        slopes=(slopes[0][:, moves], slopes[1][:, moves]),
        hidden=int(moves[: system.hidden].sum()),
    )  # fmt: skip


def _whole(norm: AbstractNorm, moves: np.ndarray) -> AbstractNorm:
    """A norm of all units from that of those that move: any weight suits a unit that stands still."""
    if moves.all():
        return norm
    if isinstance(norm, Euclidean):
        matrix = np.diag(np.full(len(moves), float(np.diagonal(norm.matrix).max())))
        matrix[np.ix_(moves, moves)] = norm.matrix
        return Euclidean(matrix, norm.inverse)
    assert isinstance(norm, L1 | L2 | LInf)
    weights = np.full(len(moves), float(norm.weights.max()))
    weights[moves] = norm.weights
    return L2(weights, norm.inverse) if isinstance(norm, L2) else type(norm)(weights)


def _reason(network: Network, within: Within, closest: Attempt) -> str:
    parts = []
    if within.samples is not None and within.samples > 1:
        parts.append(f"{int(within.proved.sum())} of {within.samples} inputs are proved, each by itself.")
    elif within.samples is None and within.proved.any():
        parts.append(f"Parts that are {within.share:.3g} of the box of inputs are proved, each by itself.")
    parts.append(f"No criterion proves it in the absorbing box; {closest.criterion} {closest.note or 'comes closest'}.")
    low, high = within.box
    endless = np.flatnonzero(~(np.isfinite(low) & np.isfinite(high)).all(0))
    if len(endless):
        name = network.graph.name(int(endless[0]))
        parts.append(f"Nothing bounds the state of {name}: start=direp.Between(low, high) may.")
    return " ".join(parts)
