"""Networks settled by every method of the library, for `attack.py`."""

from typing import Any

import jax
import numpy as np
from attack_draw import GRAPHS, NEURONS, ROWS, Chunk, Pencil
from attack_judge import WIDE, Truth, in_reach
from attack_report import Report
from attack_verdicts import TAKES, Judge, contracts, judge_of, same

import direp

LONGEST = 5000  # the library's own limit of steps


def settling(chunk: Chunk, rng: np.random.Generator) -> Report:
    """Networks settled by every method, to the default tolerance and to others, alone and beside what is no number."""
    report = Report()
    which = chunk.number % len(NEURONS)
    neuron = NEURONS[which]
    names = list(GRAPHS)
    # Two small graphs for every neuron, and a large one for some: programs are compiled once for each.
    place = int(which + rng.integers(2)) % 4
    rare = {0: "forty", 3: "flat"}.get(which % 8)
    graph = rare if rare is not None and rng.random() < 0.15 else names[place]
    pencil = Pencil(rng, neuron, graph)
    for index in range(chunk.networks if graph != "forty" else 2):
        drawn = pencil.draw(str(rng.choice(chunk.families)))
        for dtype in chunk.precisions:
            judge = judge_of(chunk.place("settle", index), report, drawn, dtype)
            if judge is not None:
                _settle_all(judge, rng)
    return report


def _settle_all(judge: Judge, rng: np.random.Generator) -> None:
    report, drawn, network, truth = judge.report, judge.drawn, judge.network, judge.truth
    x, start, family = judge.x, np.asarray(drawn.state, judge.x.dtype), drawn.family
    if judge.proved:
        contracts(judge, rng, [judge.net])
    usual = 1e-9 if network.dtype == np.float64 else 1e-5
    first = jax.device_get(direp.settle(network, x, state=start))
    judge.judge(first, judge.net, truth, usual, usual, judge.proved, "default")
    report.seams[family] += ROWS
    if judge.proved and TAKES["settle"]:
        told = jax.device_get(direp.settle(network, x, state=start, certificate=judge.certificate))  # pyright: ignore
        judge.judge(told, judge.net, truth, usual, usual, True, "certificate")
        report.seams[family] += ROWS
    methods = _methods(judge)
    for name in rng.permutation(list(methods))[:2]:
        floor = -12 if network.dtype == np.float64 else -6
        rtol, atol = (float(np.asarray(10 ** rng.uniform(floor, -2), network.dtype)) for _ in range(2))
        more = {"certificate": judge.certificate} if judge.proved and TAKES["settle"] and rng.random() < 0.5 else {}
        settled = jax.device_get(
            direp.settle(network, x, state=start, method=methods[name], stop=direp.Tolerance(rtol, atol), **more)
        )
        judge.judge(settled, judge.net, truth, rtol, atol, False, str(name))
        if name == "Euler" and truth is not None:
            _in_time(judge, settled, truth, rtol, atol)
        report.seams[family] += ROWS
    if rng.random() < 0.5:
        _beside(judge, first, rng)
        report.seams[family] += ROWS


def _methods(judge: Judge) -> dict[str, direp.AbstractMethod]:
    methods: dict[str, Any] = {
        "Preconditioned": direp.Preconditioned(), "Anderson": direp.Anderson(), "Newton": direp.Newton(),
    }  # fmt: skip
    if direp.Coloured.suits(judge.network):
        methods["Coloured"] = direp.Coloured()
    if judge.proved:
        step = float(judge.certificate.largest_step)
        step = step if judge.network.dtype == np.float64 else float(np.nextafter(np.float32(step), np.float32(0)))
        if step > 0:
            methods["Euler"] = direp.Euler(step)
    return methods


def _in_time(judge: Judge, settled: Any, truth: Truth, rtol: float, atol: float) -> None:
    """Euler with the certified step takes no more than the certified steps."""
    net = judge.net
    least = float(np.min(atol * net.total))
    if not least > 0:
        return
    velocity = net.velocity(net.clip(np.asarray(judge.drawn.state, WIDE)))
    reach = truth.found & in_reach(net, truth.state, 0.0, atol / 4, judge.eps, judge.tiny)
    for row in np.flatnonzero(reach & ~np.asarray(settled.converged)):
        bound = judge.certificate.steps_to(np.asarray(velocity[row : row + 1], np.float64), least)
        if bound is not None and bound < 0.9 * LONGEST:
            judge.violation(
                "not settled", np.array([row]), how="Euler(largest_step)", bound=bound, rtol=rtol, atol=atol
            )


def _beside(judge: Judge, alone: Any, rng: np.random.Generator) -> None:
    """The same batch, with every second sample replaced by one that is not a number or overflows."""
    x, start = judge.x.copy(), np.asarray(judge.drawn.state, judge.x.dtype).copy()
    bad = np.arange(ROWS) % 2 == 1
    x[bad] = rng.choice([np.nan, np.inf, -np.inf, 1e30, -1e30], (int(bad.sum()), x.shape[1]))
    if rng.random() < 0.3:
        start[bad] = np.nan
    settled = jax.device_get(direp.settle(judge.network, x, state=start))
    same(judge, settled, alone, ~bad, "beside what is no number")
