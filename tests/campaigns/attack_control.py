"""Constraints in the loop, for `attack.py`."""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from attack_draw import NEURONS, Chunk, Draw, Pencil
from attack_judge import ACTIVATIONS, least_margin
from attack_report import Report
from attack_verdicts import Judge, judge_of

import direp


def control(chunk: Chunk, rng: np.random.Generator) -> Report:
    """Constraints keep the margin that they promise: where they begin, and after training."""
    report = Report()
    neuron = NEURONS[[0, 1, 2, 6, 10, 25][chunk.number % 6]]
    for index in range(chunk.networks):
        graph = str(rng.choice(["four", "layers", "six", "star", "star"]))
        pencil = Pencil(rng, neuron, graph)
        drawn = pencil.draw(str(rng.choice(["plain", "loose", "scales"])))
        drawn.leak = np.maximum(drawn.leak, 1e-3)
        place = chunk.place("control", index)
        # Sometimes just below the lowest leak: a constraint with a floor must keep its margin all the same.
        near = float(drawn.leak.min() * (1 - pencil.power(-4, -0.3)[()]))
        margin = near if rng.random() < 0.5 else float(pencil.power(-3, 0)[()])
        for dtype in chunk.precisions:
            for name, constraint in _constraints(margin, drawn, rng):
                report.seams["control"] += 1
                judge = judge_of(place | {"constraint": name, "margin": margin}, report, drawn, dtype, certified=False)
                if judge is None:
                    continue
                try:
                    network = constraint.begin(judge.network)
                except ValueError:
                    continue  # refused in words
                keeps(judge, network, margin, "begin")
                if not index and dtype == np.float32 and chunk.number % 4 == 0 and not name.startswith(("S", "B")):
                    keeps(judge, _trained(judge, network, constraint), margin, "fit")
    return report


def _constraints(margin: float, drawn: Draw, rng: np.random.Generator) -> Iterator[tuple[str, Any]]:
    yield "LeakController", direp.LeakController(margin, floor=0.0)
    yield "WeightProjection", direp.WeightProjection(margin)
    if drawn.neuron[2] == "none":
        floor = 10 ** rng.uniform(-3, -1)
        yield "Balanced", direp.Balanced(floor=floor, margin=margin)
        yield "SignSymmetric", direp.SignSymmetric(floor=floor, margin=margin)


def _trained(judge: Judge, network: direp.Network, constraint: Any) -> direp.Network:
    import optax

    x = np.clip(np.nan_to_num(judge.x), -10, 10)
    y = np.clip(x[:, :1], 0, 1) * np.ones((1, network.graph.outputs))
    part = direp.tasks.Samples(x, y)
    task = direp.tasks.Task("drawn", part, part, part, kind="regression")
    with jax.numpy_dtype_promotion("standard"):
        run = direp.fit(
            network, task, rule=direp.Local(0.5), optimiser=optax.sgd(0.1), epochs=3, control=constraint, keep="last"
        )
    return run.network


def keeps(judge: Judge, network: direp.Network, margin: float, how: str) -> None:
    """The margin with equal norm weights, up to the rounding of one sum in the network's own precision."""
    graph = network.graph
    recurrent, leak = np.asarray(network.matrix, np.float64)[graph.inputs :], np.asarray(network.leak, np.float64)
    gain = ACTIVATIONS[judge.drawn.neuron[1]][2]
    ones = np.ones(graph.free)
    left = least_margin(recurrent, leak, judge.drawn.neuron[2], gain, ones, False)
    size = float((leak + 2 * np.abs(recurrent).sum(1)).max())
    if not left >= margin - 16 * (graph.free + 8) * judge.eps * (size + margin):
        judge.violation("left its set", np.array([0]), how=how, margin_left=left, weights=recurrent, leaks=leak)
