"""What `attack.py` asks of every network: each verdict of the library, held against the judge of `attack_judge.py`."""

import inspect
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from attack_draw import ROWS, Draw
from attack_judge import WIDE, Net, Nudge, Truth, equilibria, in_reach, step_too_long, too_slow, unsettled
from attack_report import Report

import direp

# What the library can take: bars and methods from a certificate may be missing in an older version.
TAKES = {name: "certificate" in inspect.signature(getattr(direp, name)).parameters for name in ("settle", "estimate")}
_UNMOVED = getattr(direp.settling, "UNMOVED", -1)


@dataclass
class Judge:
    """The verdicts on one network in one precision, and its report."""

    report: Report
    place: dict[str, Any]
    drawn: Draw
    network: direp.Network
    x: np.ndarray
    net: Net
    certificate: Any
    eps: float
    tiny: float
    truth: Truth | None = None

    def violation(self, what: str, rows: np.ndarray, **values: Any) -> None:
        kind = self.drawn.family if self.place["kind"] == "settle" else self.place["kind"]
        rows = np.atleast_1d(rows)
        self.report.violated[kind, what] += len(rows)
        for row in rows[:1]:
            numbers = {name: np.asarray(getattr(self.drawn, name)).tolist() for name in ("weight", "leak", "bias")}
            numbers |= {name: getattr(self.drawn, name) for name in ("neuron", "graph", "family")}
            shown = {name: _shown(value, int(row)) for name, value in values.items()}
            each = {"x": self.x[row].tolist(), "start": self.drawn.state[row].tolist(), "row": int(row)}
            self.report.saved.append({"what": what, **self.place, **numbers, **each, **shown})

    @property
    def proved(self) -> bool:
        return bool(self.certificate)

    def judge(
        self, settled: Any, net: Net, truth: Truth | None, rtol: float, atol: float, must: bool, how: str
    ) -> None:
        """One settled batch: (too early), (outside its bar) and, if it `must` converge, (not settled).

        A nudged phase that its tolerance does not let move says so, and its sample is not used: that is allowed.
        """
        state = np.asarray(settled.state, np.float64)
        converged = np.asarray(settled.converged)
        self.report.counts["converged"] += int(converged.sum())
        about = {
            "how": how,
            "rtol": rtol,
            "atol": atol,
            "state": state,
            "result": settled.result,
            "steps": settled.steps,
        }
        over = unsettled(net, state, rtol, atol, self.eps, self.tiny)
        early = converged & ~(over <= 0).all(-1)
        if early.any():
            self.violation(
                "too early", np.flatnonzero(early), over=over, velocity=net.velocity(state.astype(WIDE)), **about
            )
        if truth is None:
            return
        self.report.counts["not found"] += int((~truth.found).sum())
        reach = truth.found & in_reach(net, truth.state, rtol, atol, self.eps, self.tiny)
        self.report.counts["below rounding"] += int((truth.found & ~reach).sum())
        unmoved = (np.asarray(settled.result) == _UNMOVED) & (net.current is not None)
        self.report.counts["unmoved"] += int(unmoved.sum())
        late = reach & ~converged & ~unmoved & np.isfinite(self.x).all(-1)
        if must and late.any():
            self.violation("not settled", np.flatnonzero(late), truth=truth.state, residual=settled.residual, **about)
        self.bars(settled, state, truth, about)

    def bars(self, settled: Any, state: np.ndarray, truth: Truth, about: dict[str, Any]) -> None:
        error = getattr(settled, "error", None)
        if error is None:
            return
        error = np.asarray(error, WIDE)
        off = np.abs(state.astype(WIDE) - truth.state)
        out = truth.found & ~(off <= error + truth.error).all(-1)
        if out.any():
            self.violation("outside its bar", np.flatnonzero(out), error=error, off=off, truth=truth.state, **about)
        told = np.isfinite(error).all(-1)
        self.report.counts["bars"] += int(told.sum())
        self.report.counts["no bar"] += int((~told).sum())
        clear = told & truth.found & (off.max(-1) > 10 * truth.error.max(-1))
        worst = off[clear].max(-1)
        self.report.ratios += (error[clear].max(-1) / worst).astype(float).tolist()


def _shown(value: Any, row: int) -> Any:
    array = np.asarray(value)
    if not array.ndim or array.dtype.kind not in "fiub":
        return value if isinstance(value, str) else array.tolist()
    array = array[row] if len(array) == ROWS else array
    return np.asarray(array, np.float64 if array.dtype.kind == "f" else None).tolist()


def judge_of(
    place: dict[str, Any], report: Report, drawn: Draw, dtype: Any, nudges: Any = None, certified: bool = True
) -> Judge | None:
    """A network in one precision, certified, with the true equilibria where it is proved."""
    info = np.finfo(dtype)
    stored = [np.abs(np.asarray(a, np.float64)).max() for a in (drawn.weight, drawn.leak, drawn.bias, drawn.x)]
    if not max(stored) < 0.01 * math.sqrt(float(info.max)):
        return None
    network = drawn.network(dtype)
    x = np.asarray(drawn.x, dtype)
    net = drawn.net(network, x)
    sure = certified and drawn.family != "loose"
    nudge, sharpness = nudges or (None, 0.0)
    certificate = direp.certify(network, starts=0, nudge=nudge, cost=cost_of(sharpness)) if sure else None
    report.counts["networks"] += 1
    report.counts["proved"] += bool(certificate)
    place = place | {"precision": info.bits, "certificate": repr(certificate)}
    judge = Judge(report, place, drawn, network, x, net, certificate, float(info.eps), float(info.tiny))
    if certificate:
        judge.truth = equilibria(net, np.asarray(drawn.state, dtype))
    return judge


def cost_of(sharpness: float) -> direp.AbstractCost:
    return direp.CrossEntropy(sharpness) if sharpness else direp.SquaredError()


def contracts(judge: Judge, rng: np.random.Generator, nets: list[Net]) -> None:
    """Pairs of states, near and far, along single units and along signs that grow fastest."""
    certificate, truth = judge.certificate, judge.truth
    assert truth is not None
    norm = certificate.norm.to_dict()
    for net in nets:
        centre = np.where(np.isfinite(truth.state), truth.state, 0)
        if rng.random() < 0.5:
            centre = net.clip(centre * rng.choice([0, 0.5, 1, 2], (len(centre), 1)) + rng.normal(size=centre.shape))
        if net.box is not None:  # where no face holds, half of the time
            low, high = net.box
            inside = low + (high - low) * rng.uniform(0.1, 0.9, centre.shape)
            centre = np.where(rng.random((len(centre), 1)) < 0.5, inside, centre)
        apart = rng.normal(size=centre.shape) * 10 ** rng.uniform(-6, 1, (len(centre), 1))
        apart *= 1 + np.abs(centre).max(-1, keepdims=True).astype(float)
        if "weights" in norm:
            eta = np.asarray(norm["weights"])
            apart *= eta if "infinity" in norm["name"] else 1 / eta
        unit = rng.integers(net.free, size=len(centre))
        single = np.where(np.arange(net.free) == unit[:, None], apart, 0)
        with np.errstate(all="ignore"):
            pull = np.sign(net.jacobian(centre)[np.arange(len(centre)), unit])
        pull[np.arange(len(centre)), unit] = 1
        signs = np.abs(apart).max(-1, keepdims=True) * pull.astype(float)
        if "weights" in norm and "infinity" in norm["name"]:
            signs = pull.astype(float) * np.asarray(norm["weights"]) * 10 ** rng.uniform(-6, 0)
        for way in (apart, single, signs):
            other = net.clip(centre + way.astype(WIDE))
            slow = too_slow(net, norm, certificate.rate, centre, other)
            slow |= step_too_long(net, norm, certificate.largest_step, certificate.factor, centre, other)
            if slow.any():
                judge.violation(
                    "wrong proof", np.flatnonzero(slow), one=centre, two=other, rate=certificate.rate, norm=str(norm),
                    run_beta=net.current.beta if isinstance(net.current, Nudge) else 0.0,
                )  # fmt: skip
                return
    again = equilibria(judge.net, rng.normal(size=truth.state.shape) * (1 + np.abs(truth.state).astype(float)))
    two = again.found & truth.found & (np.abs(again.state - truth.state) > 4 * (again.error + truth.error)).any(-1)
    if two.any():
        judge.violation("wrong proof", np.flatnonzero(two), one=truth.state, two=again.state, norm="two equilibria")


def same(judge: Judge, one: Any, two: Any, rows: np.ndarray, how: str) -> None:
    """Whether some samples of two settled batches are the same, up to the rounding of sums in another order."""
    a, b = np.asarray(one.state, np.float64), np.asarray(two.state, np.float64)
    scale = np.abs(b).max(-1, keepdims=True)
    same = (a == b) | (np.abs(a - b) <= 100 * judge.eps * scale) | (np.isnan(a) & np.isnan(b))
    same = same.all(-1) & (np.asarray(one.result) == np.asarray(two.result))
    if (rows & ~same).any():
        judge.violation("mates", np.flatnonzero(rows & ~same), how=how, one=a, two=b, result=two.result)
