"""The nudged phases of rules, for `attack.py`."""

import math
from typing import Any

import jax
import numpy as np
from attack_draw import NEURONS, ROWS, Chunk, Draw, Pencil, graph_of
from attack_judge import WIDE, Correction, Net, Nudge, Truth, equilibria, unsettled
from attack_report import Report
from attack_verdicts import TAKES, Judge, contracts, cost_of, judge_of, same

import direp

RULES = ("local", "centred", "asym", "dyadic")
LEARNERS = [n for k, n in enumerate(NEURONS) if n[1] not in ("relu", "softplus") and k % 3 == (k // 3) % 3] + [
    NEURONS[0]
]


def phases(chunk: Chunk, rng: np.random.Generator) -> Report:
    """Rules whose nudges are as small as tolerances, and negative ones at the edge of what is proved."""
    report = Report()
    which = chunk.number % len(LEARNERS)
    neuron, graph = LEARNERS[which], ("four", "pair", "layers", "six")[which % 4]
    pencil = Pencil(rng, neuron, graph)
    for index in range(chunk.networks):
        drawn = pencil.draw(str(rng.choice(["plain", "plain", "uneven", "held", "symmetric", "corner"])))
        rule = str(rng.choice(RULES))
        beta = float(pencil.power(-6, 0)[()]) * (1 if rng.random() < 0.7 or rule != "local" else -1)
        if rng.random() < 0.3 and rule in ("local", "centred"):
            _at_the_edge(pencil, drawn, abs(beta), rng)
        nudge = direp.OneSided(beta) if rule == "local" else direp.Centred(beta)
        sharpness = 0.0
        if graph_of(graph).outputs > 1 and rule in ("local", "centred") and rng.random() < 0.4:
            sharpness = float(rng.choice([1.0, 2.0, 8.0]))
        asked: Any = {"local": direp.Local, "centred": direp.Local, "asym": direp.AsymEP}.get(rule)
        asked = direp.Dyadic() if asked is None else asked(nudge)
        for dtype in chunk.precisions:
            place = chunk.place("phases", index) | {"rule": rule, "beta": beta, "sharpness": sharpness}
            nudges = (nudge, sharpness) if rule in ("local", "centred") else None
            judge = judge_of(place, report, drawn, dtype, nudges)
            if judge is not None:
                _phases(judge, rng, rule, asked, [float(np.asarray(b, dtype)) for b in nudge.strengths], sharpness)
    return report


def _at_the_edge(pencil: Pencil, drawn: Draw, beta: float, rng: np.random.Generator) -> None:
    """Outputs whose margin is the nudge and a hair: less than what rounding `beta` to 32 bits moves."""
    weight = np.where(pencil.exists, drawn.weight, 0)
    incoming = bool(rng.random() < 0.5)
    leak = pencil.leak(weight, np.ones(pencil.free), incoming, 0.0)
    leak = leak + beta * pencil.gain * (1 + 10 ** rng.uniform(-10, -2)) + 1e-9
    drawn.leak = np.maximum(leak, 0)


def _phases(
    judge: Judge, rng: np.random.Generator, rule: str, asked: Any, betas: list[float], sharpness: float
) -> None:
    report, network, net, drawn = judge.report, judge.network, judge.net, judge.drawn
    truth = judge.truth
    around = truth.state if truth is not None else np.zeros((ROWS, net.free), WIDE)
    out = net.rate[0](around[:, net.hidden :])
    out = np.clip(np.where(np.isfinite(out), out, 0), -1e6, 1e6)
    small = 10 ** rng.uniform(-5, 0.5, (ROWS, 1))  # how large the errors are
    y = np.asarray(out + rng.normal(size=out.shape) * small, network.dtype)
    if sharpness:
        small = np.minimum(small, 1)
        share = Nudge(0.0, out, sharpness).share(out)
        y = np.asarray((1 - small) * share + small * rng.dirichlet(np.ones(out.shape[1]), ROWS), network.dtype)
    start = np.asarray(drawn.state, network.dtype)
    more = {"certificate": judge.certificate} if judge.proved and TAKES["estimate"] else {}
    more["cost"] = cost_of(sharpness)
    found = jax.device_get(direp.estimate(network, judge.x, y, asked, state=start, **more))
    report.seams["phases"] += ROWS * (1 + len(found.nudged))
    usual = 1e-9 if network.dtype == np.float64 else 1e-5
    judge.judge(found.free, net, truth, usual, usual, judge.proved, f"{rule}: free")
    used = np.asarray(found.used)
    if rule in ("local", "centred"):
        nets = [net.under(Nudge(b, y.astype(WIDE), sharpness)) for b in betas]
        truths = [equilibria(n, around) for n in nets] if truth is not None else [None] * len(nets)
        if judge.proved:
            contracts(judge, rng, [net, *nets])
        for each, at, phase, beta in zip(nets, truths, found.nudged, betas, strict=True):
            judge.judge(phase, each, at, usual, usual, judge.proved, f"{rule}: beta={beta:+g}")
        if truth is not None:
            # An error of less is nothing left to learn and not reported, and one of an output that is flat has no part.
            ends = [each.state[:, net.hidden :] for each in (truth, *truths)]
            moved = np.max([np.abs(one - ends[0]) for one in ends[1:]], axis=0) > 0
            left = (moved & (np.abs(nets[0].current.error(out)) > math.sqrt(judge.eps))).any(-1)
            report.counts["nothing left"] += int((used & ~left).sum())
            responses(judge, used & left, found, truth, truths)  # pyright: ignore[reportArgumentType]
    elif rule == "asym":
        smooth = _away_from_corners(net, found.free)
        if smooth.any():
            correction = _correction(net, found.free)
            for phase, beta in zip(found.nudged, betas, strict=True):
                current = Correction(correction, np.asarray(found.free.state, WIDE), beta, y.astype(WIDE))
                each = net.under(current).take(np.flatnonzero(smooth))
                over = unsettled(each, phase.state[smooth], usual, usual, 8 * judge.eps, judge.tiny)
                early = np.asarray(phase.converged)[smooth] & ~(over <= 0).all(-1)
                if early.any():
                    judge.violation(
                        "too early", np.flatnonzero(smooth)[early], how="asym", run_beta=beta, y=y, state=phase.state
                    )
    _mates(judge, rng, asked, y, start, more)
    report.seams["phases"] += ROWS


def responses(judge: Judge, used: np.ndarray, found: Any, free: Truth, nudged: list[Truth]) -> None:
    """What the rule reads: the difference between phases, against the true one."""
    ends = [(np.asarray(p.state, WIDE), t) for p, t in zip(found.nudged, nudged, strict=True)]
    ends = ends if len(ends) == 2 else [*ends, (np.asarray(found.free.state, WIDE), free)]
    (one, a), (two, b) = ends
    true, off = np.abs(a.state - b.state).max(-1), np.abs(one - two - (a.state - b.state)).max(-1)
    clear = a.found & b.found & free.found & (true > 100 * (a.error + b.error).max(-1))
    # Below the spacing of numbers at the states there is nothing to respond with.
    clear &= true > 64 * judge.eps * np.abs(a.state).max(-1)
    judge.report.counts["responses"] += int((clear & used).sum())
    lost = clear & used & (off > 0.5 * true)
    if lost.any():
        judge.violation(
            "lost response", np.flatnonzero(lost), true=a.state - b.state, run=one - two,
            steps=[np.asarray(p.steps)[lost].tolist() for p in found.nudged], state=found.free.state,
        )  # fmt: skip


def _away_from_corners(net: Net, free: Any) -> np.ndarray:
    """Samples at which no unit is near a corner of its activation or at a face, where slopes are a convention."""
    state = np.asarray(free.state, WIDE)
    fine = np.asarray(free.converged)
    for place, (_, slope, _) in ((state, net.rate), (net.drive(state), net.transfer)):
        near = 1e-4 * (1 + np.abs(place))
        fine = fine & (np.abs(slope(place - near) - slope(place + near)) < 0.1).all(-1)
    return fine


def _correction(net: Net, free: Any) -> np.ndarray:
    r"""$(J^\top-J)(s_0)$."""
    state = np.asarray(free.state, WIDE)
    square = net.under(None).jacobian(state)
    return square.swapaxes(-1, -2) - square


def _mates(judge: Judge, rng: np.random.Generator, asked: Any, y: np.ndarray, start: np.ndarray, more: Any) -> None:
    """The gradient of some samples, beside others that do not count and others that are not numbers."""
    x, y = judge.x, y.copy()
    bad = np.arange(ROWS) % 2 == 1
    alone = jax.device_get(direp.estimate(judge.network, x, y, asked, state=start, valid=~bad, **more))
    spoiled, target = x.copy(), y.copy()
    spoiled[bad & (rng.random(ROWS) < 0.7)] = rng.choice([np.nan, np.inf, -np.inf])
    target[bad & ~(np.isnan(spoiled) | np.isinf(spoiled)).any(-1)] = np.nan
    valid = np.ones(ROWS, bool) if rng.random() < 0.5 else ~bad
    beside = jax.device_get(direp.estimate(judge.network, spoiled, target, asked, state=start, valid=valid, **more))
    same(judge, beside.free, alone.free, ~bad, "estimate beside what is no number")
    if (np.asarray(beside.used) != np.asarray(alone.used)).any():
        judge.violation("mates", np.flatnonzero(np.asarray(beside.used) != np.asarray(alone.used)), how="used")
        return
    for one, two in zip(jax.tree.leaves(beside.gradient), jax.tree.leaves(alone.gradient), strict=True):
        one, two = np.asarray(one, np.float64), np.asarray(two, np.float64)
        if not (np.abs(one - two) <= 1e3 * judge.eps * np.abs(two).max(initial=0)).all():
            judge.violation(
                "mates",
                np.array([0]),
                how="gradient",
                y=y,
                valid=valid.tolist(),
                off=float(np.nanmax(np.abs(one - two))),
            )
            return
