"""What the library claims in `never_wrong.py`: proofs against exact margins, counter-examples by running them again."""

import dataclasses
from dataclasses import dataclass
from typing import Any
from unittest import mock

import numpy as np
from never_wrong_draw import COMBINATIONS, Batch, draw, settle_currents
from never_wrong_judge import ACTIVATIONS, Oracle, least_margin
from never_wrong_report import NAMES, Report
from scipy.integrate import solve_ivp

import direp
from direp.certificates.convergence.certificate import Certificate, Proof
from direp.certificates.convergence.norm import L1, L2, Euclidean, LInf
from direp.certificates.convergence.refute import search
from direp.certificates.convergence.system import System

CRITERIA: dict[str, tuple[Any, ...]] = {
    "cascade": (direp.LocalLeak(), direp.Rows(), direp.Perron(), direp.Compartmental()),
    "local leak": (direp.LocalLeak(),),
    "rows": (direp.Rows(),),
    "Perron": (direp.Perron(),),
    "compartmental": (direp.Compartmental(),),
    "symmetric": (direp.Symmetric(),),
    "LMI": (direp.LMI(),),
    "spectral": (direp.Spectral(),),
    "circle": (direp.Circle(),),
    "vertices": (direp.Vertices(),),
}


class Judge:
    """Collects what one chunk shows."""

    def __init__(self, batch: Batch, seed: int, chunk: int):
        self.batch, self.seed, self.chunk, self.report = batch, seed, chunk, Report()
        self.place = (batch.neuron, batch.outflow)

    def violation(self, b: int, what: str) -> None:
        self.report.count(self.place, "violations")
        again = {"seed": self.seed, "chunk": self.chunk, "network": b, "what": what}
        self.report.violations.append({**again, **self.batch.to_dict(b)})

    def all(self, fine: np.ndarray, rows: np.ndarray, what: str, *detail: np.ndarray) -> None:
        """`fine`, one row for every case: a violation for each that is not."""
        bad = ~fine.reshape(len(fine), -1).all(1)
        for k in np.flatnonzero(bad):
            first = np.unravel_index(int(np.argmin(fine[k])), fine[k].shape)
            numbers = ", ".join(repr(float(np.broadcast_to(each, fine.shape)[k][first])) for each in detail)
            self.violation(int(rows[k]), f"{what} ({numbers})")


@dataclass
class Case:
    """One certificate (or proof) of one network, in one phase."""

    b: int
    beta: float
    norm: Any
    rate: float  # of the phase
    least: float  # over all phases
    step: float
    shrink: float
    certificate: Certificate | None


def _cases(b: int, strengths: tuple[float, ...], given: Certificate | Proof) -> list[Case]:
    rates = given.phases if isinstance(given, Certificate) else given.rates
    step = given.largest_step if isinstance(given, Certificate) else given.step
    certificate = given if isinstance(given, Certificate) else None
    cases = []
    for beta, rate in zip((0.0, *strengths), rates.values(), strict=True):
        cases.append(Case(b, beta, given.norm, rate, min(rates.values()), step, given.shrink, certificate))
    return cases


def judge_verdicts(judge: Judge, b: int) -> list[Case]:
    """Certify one network; compare the verdicts with exact arithmetic; what is proved, case by case."""
    batch = judge.batch
    network, nudging, gain = batch.network(b), batch.nudging(b), ACTIVATIONS[batch.activation][2]
    system = System.of(network, **nudging)
    attempts = [criterion.attempt(system) for criterion in CRITERIA["cascade"][:3]]
    weight, leak, ones = batch.weight[b], batch.leak[b], np.ones(batch.size)
    judge.report.count(judge.place, "networks")
    asked, proofs = batch.criteria[b], []
    tried = [a for a, name in zip(attempts, NAMES, strict=False) if asked in ("cascade", name)]
    # Where nothing proves, all criteria are gone through: most failures end here.
    if asked in ("cascade", *NAMES[3:]) or tried[0].proof is not None or b % 4 == 0:
        with mock.patch("direp.certificates.convergence.cascade.remedy", return_value=None):  # slow, not judged
            certificate = direp.certify(network, criteria=CRITERIA[asked], starts=0, **nudging)
        judge.report.count(judge.place, certificate.criterion if certificate else certificate.verdict)
        proofs = [certificate] if certificate else []
        if tried and any(a.proof is not None for a in tried) and not certificate:
            judge.violation(b, "certify does not prove what its criterion proves")
    else:
        judge.report.count(judge.place, "undecided")
    proofs += [attempt.proof for attempt in attempts if attempt.proof is not None]
    for attempt, incoming in zip(attempts[:2], (False, True), strict=True):
        found = attempt.proof is not None
        exactly, _, fractions = least_margin(weight, leak, batch.outflow, gain, ones, incoming, 0.0)
        judge.report.count(judge.place, "decided by fractions", fractions)
        if found and not exactly:
            judge.violation(b, f"{attempt.criterion} proves what is not exactly true")
        if exactly and not found and not batch.strengths[b]:
            judge.violation(b, f"{attempt.criterion} does not prove what is exactly true")
        if found and attempts[2].proof is None:
            judge.violation(b, f"Perron does not prove what {attempt.criterion} proves")
        elif found and attempts[2].proof.rate < attempt.proof.rate * (1 - 1e-6) - 1e-13 * np.abs(leak).max():
            judge.violation(b, f"the rate of Perron is below that of {attempt.criterion}")
    for proof in proofs:
        rates = proof.phases if isinstance(proof, Certificate) else proof.rates
        if not (min(rates.values()) > 0 and 0 < proof.shrink <= 1 and 1 - proof.shrink <= proof.factor <= 1):
            judge.violation(b, f"a proof with rates {rates}, shrink {proof.shrink} and factor {proof.factor}")
        if isinstance(proof.norm, L1 | LInf):
            norm = proof.norm.weights, isinstance(proof.norm, LInf)
            positive, reached, fractions = least_margin(weight, leak, batch.outflow, gain, *norm, rates["free"])
            judge.report.count(judge.place, "decided by fractions", fractions)
            if not (positive and reached):
                judge.violation(b, f"{proof.norm}: the exact margin is not {rates['free']!r}")
    kept: dict[int, Certificate | Proof] = {}
    for proof in proofs:  # of equal proofs only one
        if not any(_same(proof, other) for other in kept.values()):
            kept[id(proof)] = proof
    return [case for proof in kept.values() for case in _cases(b, batch.strengths[b], proof)]


def _same(one: Certificate | Proof, other: Certificate | Proof) -> bool:
    if type(one.norm) is not type(other.norm) or isinstance(one.norm, Euclidean | L2) or one.norm is None:
        return False
    return one.rate == other.rate and np.array_equal(one.norm.weights, other.norm.weights)


# Refutations


# With absolute outflow and slopes up to 1 any leak certifies. One size each, so that compiled code is used again.
REFUTABLE = [(c, 2 + k % 3) for k, c in enumerate(sorted({c for c in COMBINATIONS if c[2] != "absolute"}))]
REFUTED_AT_ONCE = 16


def judge_refutations(seed: int, chunk: int) -> Report:
    """Small networks with too little leak: every counter-example must hold, and none exist where a proof does."""
    rng = np.random.default_rng([seed, 1, chunk])
    batch = draw(rng, *REFUTABLE[chunk % len(REFUTABLE)], REFUTED_AT_ONCE)
    batch.outputs, batch.strengths = 1, [()] * REFUTED_AT_ONCE
    batch.leak *= rng.choice([0.0, 1.0], batch.leak.shape, p=[0.1, 0.9]) * rng.uniform(0, 0.5, (REFUTED_AT_ONCE, 1))
    settle_currents(rng, batch)
    judge = Judge(batch, seed, chunk)
    for b in range(REFUTED_AT_ONCE):
        network = batch.network(b)
        certificate = direp.certify(network, starts=16, seed=int(rng.integers(1000)))
        judge.report.count(judge.place, "networks")
        judge.report.count(judge.place, certificate.criterion if certificate else certificate.verdict)
        if certificate and b % 4 == 0 and search(network, starts=8).counterexample is not None:
            judge.violation(b, "a proved network is refuted")
        if certificate.verdict == "refuted":
            judge.report.count(judge.place, certificate.counterexample.kind)
            if not certificate.counterexample.check(network):
                judge.violation(b, "a counter-example does not check")
            for complaint in rerun(batch, b, certificate.counterexample):
                judge.violation(b, f"{certificate.counterexample.kind}: {complaint}")
    return judge.report


def rerun(batch: Batch, b: int, example: direp.Counterexample) -> list[str]:
    """What is wrong with a counter-example when its states are run again; nothing, if it holds."""
    at = dataclasses.replace(batch, x=np.broadcast_to(np.asarray(example.x, float), batch.x.shape))
    oracle = Oracle(at, np.array([b]), np.zeros(1))
    stiffness = np.abs(oracle.total).max() + oracle.gain * np.abs(oracle.weight).sum((1, 2)).max()
    if example.kind == "growth":
        s = np.asarray(example.states[0], float)[None, None]
        h, sizes = 0.5 / stiffness, [np.linalg.norm(s)]
        for _ in range(200_000):
            s = oracle.step(s, h)
            sizes.append(np.linalg.norm(s))
            if sizes[-1] > 1e6 * sizes[0]:
                return []
        # What grows slowly, beside the fastest unit or without a leak, gains in twice the time twice as much, or more.
        early, late = sizes[100_000] - sizes[50_000], sizes[200_000] - sizes[100_000]
        return [] if late > 1.9 * early > 0 else ["it does not grow"]
    equilibria = np.asarray(example.states, float)[: 2 if example.kind == "two equilibria" else 1]
    complaints = []
    for state in equilibria:
        s = state[None, None]
        scale = 1 + np.abs(oracle.total * s).max()
        if not np.abs(oracle.velocity(s)).max() < 1e-9 * scale:
            complaints.append(f"{np.abs(oracle.velocity(s)).max()} is left of the field at its equilibrium")
        inside = ~oracle.held(s, oracle.field(s))[0, 0]
        values = np.linalg.eigvals(oracle.jacobian(s)[0, 0][np.ix_(inside, inside)])
        fastest = values.real.max(initial=-np.inf)
        h = 0.1 / stiffness
        if fastest < 0:
            h = min(h, float((-values.real / np.abs(values) ** 2).min(initial=np.inf)))
            if not _leaves(oracle, s, h, 2000, 1e-6) < 1e-6:
                complaints.append("a start at its stable equilibrium leaves")
        elif example.kind != "two equilibria":
            beside = oracle.clip(s + 1e-6 * np.random.default_rng(0).normal(size=(1, 16, at.size)))
            slow = 0 < 200_000 * h * fastest < 20  # a start of 1e-6 reaches 1e-3 in 7 e-foldings
            far = drifts(oracle, beside, s, 40 / fastest) if slow else _leaves(oracle, beside, h, 200_000, 1e-3, s)
            if not far > 1e-3:
                complaints.append(f"starts beside its unstable equilibrium (rate {fastest}) stay")
    if example.kind == "two equilibria" and not np.abs(equilibria[0] - equilibria[1]).max() > 1e-6:
        complaints.append("its two equilibria are nearly one")
    return complaints


def drifts(oracle: Oracle, starts: np.ndarray, centre: np.ndarray, until: float) -> float:
    """As `_leaves`, where growth is far slower than the fastest decay: SciPy's implicit method, on the distance."""

    def flow(_: float, away: np.ndarray) -> np.ndarray:
        return oracle.velocity(oracle.clip(centre + away))[0, 0]

    def gone(_: float, away: np.ndarray) -> float:
        return 2e-3 - float(np.abs(away).max())

    gone.terminal = True  # type: ignore[attr-defined]
    far = 0.0
    for start in starts[0, :4]:
        path = solve_ivp(flow, (0.0, until), start - centre[0, 0], "BDF", rtol=1e-6, atol=1e-10, events=gone)
        far = max(far, float(np.abs(path.y).max()))
        if far > 1e-3:
            break
    return far


def _leaves(
    oracle: Oracle, s: np.ndarray, h: float, steps: int, enough: float, centre: np.ndarray | None = None
) -> float:
    """How far states get from the centre (the first of them) before it is `enough`."""
    centre, far = s if centre is None else centre, 0.0
    for _ in range(steps):
        s = oracle.step(s, np.asarray(h))
        far = max(far, float(np.abs(s - centre).max()))
        if far > enough:
            break
    return far
