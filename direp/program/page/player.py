"""A network as numbers that a browser can settle: what the player of a page is given."""

import base64
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from ...model import AbstractNeuron, Network
from ...rules import (
    AbstractCost,
    AbstractNudge,
    AbstractRule,
    AsymEP,
    Centred,
    CrossEntropy,
    Fading,
    Local,
    RandomSign,
    SquaredError,
    SymmetricEP,
    VectorField,
    feedback_of,
    nudges_of,
)
from ...settling import Tolerance, settle
from ...tasks import Task

MOST = 120_000  # synapses: eight bytes and a third each
_SAMPLES = 12
_KNOWN = ("hard-sigmoid", "sigmoid", "tanh", "relu", "softplus", "identity")
_RULES: dict[type[AbstractRule], str] = {
    Local: "local", SymmetricEP: "symmetric", VectorField: "vector-field", AsymEP: "asymmetric",
}  # fmt: skip


class Unplayable(ValueError):
    """Why a network cannot be settled in a page."""


@dataclass(frozen=True)
class Lesson:
    """How synapses learn in a page: by which formula, from phases at which strengths, with which way back (a number for
    each synapse between free units; `None`: the weights themselves). `note`: where that is not the rule of the run."""

    rule: str
    strengths: list[float]
    feedback: np.ndarray | None
    note: str = ""


def player_of(network: Network, rule: AbstractRule, cost: AbstractCost, task: Task) -> dict[str, Any]:
    r"""Units, synapses and a few samples, as JSON; where Python finds their equilibria, in 64 bits.

    `euler`: with steps of $1/(\Lambda+g\sum_i|w_{ij}|+\ldots)$, at most, no unit overshoots what drives it. Arrays are
    base64 of little-endian 32-bit integers and 64- or 32-bit floats, as the run has them.

    Raises `Unplayable` for networks that are too large, and for parts of a user's own that only Python knows.
    """
    graph = network.graph
    if graph.synapses > MOST:
        raise Unplayable(f"it has {graph.synapses:,} synapses, and a page holds up to {MOST:,}")
    lesson = _lesson(network, rule)
    samples = _samples(network, task)
    source, target = (np.asarray(ends, np.int32) for ends in (graph.source, graph.target))
    return {
        "names": list(graph.names), "inputs": graph.inputs, "hidden": graph.hidden, "outputs": graph.outputs,
        "groups": _groups(network, task), "neuron": _neuron(network.neuron), "cost": _cost(cost),
        "leak": _packed(network.total_leak()), "bias": _packed(network.bias),
        "source": _packed(source), "target": _packed(target), "weight": _packed(network.strengths()),
        "rule": lesson.rule, "strengths": lesson.strengths, "note": lesson.note,
        "feedback": None if lesson.feedback is None else _packed(lesson.feedback),
        "samples": samples, "given": _given(task),
    }  # fmt: skip


def _neuron(neuron: AbstractNeuron) -> dict[str, Any]:
    for activation in (neuron.transfer, neuron.rate):
        if activation.name not in _KNOWN:
            raise Unplayable(f"activation {activation.name!r} is the user's own, which only Python knows")
    return {
        "name": type(neuron).__name__, "transfer": neuron.transfer.name, "rate": neuron.rate.name, "low": neuron.low,
        "high": neuron.high, "gain": neuron.gain, "below": neuron.outflow.below, "above": neuron.outflow.above,
    }  # fmt: skip


def _cost(cost: AbstractCost) -> dict[str, Any]:
    if isinstance(cost, SquaredError):
        return {"name": "squared error", "sharpness": 1.0, "curvature": cost.curvature}
    if isinstance(cost, CrossEntropy):
        return {"name": "cross-entropy", "sharpness": cost.sharpness, "curvature": cost.curvature}
    raise Unplayable(f"cost {type(cost).__name__} is the user's own, which only Python knows")


def _lesson(network: Network, rule: AbstractRule) -> Lesson:
    """That of the run's rule where a page knows it; else of the local one, and why."""
    nudges = nudges_of(rule)
    strengths = _strengths(nudges[0]) if nudges else [1.0]
    if type(rule) in _RULES:
        feedback = None
        if isinstance(rule, AsymEP):
            way = feedback_of(rule)[0].weight(network)
            feedback = None if way is None else np.asarray(network.synapses.strengths(way))
        drawn = (
            "In training the sign of the nudge is drawn for every update" if isinstance(nudges[0], RandomSign) else ""
        )
        return Lesson(_RULES[type(rule)], strengths, feedback, drawn)
    name = type(rule).__name__
    return Lesson("local", strengths, None, f"{name} has other phases than a page can run: these are those of Local")


def _strengths(nudge: AbstractNudge) -> list[float]:
    """One strength, or the two of a centred nudge; of one that fades those at its end."""
    nudge = nudge.kind(nudge.end) if isinstance(nudge, Fading) else nudge
    beta = float(np.asarray(nudge.beta))
    return [beta, -beta] if isinstance(nudge, Centred) else [beta]


def _samples(network: Network, task: Task) -> list[dict[str, Any]]:
    """A few of the validation samples (of a truth table, all), one of each class first, with their equilibria."""
    part, name = (task.train, "pattern") if task.whole else (task.validation, "validation sample")
    if not len(part.x):
        part, name = task.train, "training sample"
    chosen = _spread(np.asarray(part.y), task)
    x, y = np.asarray(part.x, float)[chosen], np.asarray(part.y, float)[chosen]
    with jax.enable_x64(True):
        found = settle(network.astype(np.float64), x, stop=Tolerance(rtol=1e-12, atol=1e-12, max_steps=20_000))
        rest, settled = np.asarray(found.state, float), np.asarray(found.converged)
    return [
        {
            "name": f"{name} {row + 1}", "x": [float(f"{v:.7g}") for v in x[k]], "y": y[k].tolist(),
            "rest": [float(f"{v:.9g}") for v in rest[k]] if settled[k] else None,
        }
        for k, row in enumerate(chosen)
    ]  # fmt: skip


def _spread(y: np.ndarray, task: Task) -> list[int]:
    """Rows in which every class occurs, as far as there is room."""
    if task.kind != "classification" or task.whole:
        return list(range(min(len(y), _SAMPLES if not task.whole else 16)))
    label = y.argmax(1) if y.shape[1] > 1 else (y[:, 0] > 0.5).astype(int)
    first = [int(np.flatnonzero(label == k)[0]) for k in np.unique(label)]
    others = [k for k in range(len(y)) if k not in first]
    return (first + others)[:_SAMPLES]


def _given(task: Task) -> dict[str, Any]:
    """How a reader sees the inputs: their names, and in which units, x times `scale` plus `centre`; and what outputs
    stand for."""
    kept, width = task.preparation, task.inputs
    scale, centre, names = np.ones(width), np.zeros(width), [f"input {k + 1}" for k in range(width)]
    if kept is not None:
        scale, centre = (
            np.broadcast_to(each, (width,)).astype(float) for each in (kept.inputs.scale, kept.inputs.centre)
        )
        names = list(kept.inputs.names) if kept.inputs.named else names
    x = np.asarray(task.train.x, float) * scale + centre
    side = round(width**0.5)
    return {
        "names": names, "scale": scale.tolist(), "centre": centre.tolist(), "low": x.min(0).tolist(),
        "high": x.max(0).tolist(), "image": [side, side] if side * side == width and width >= 49 else None,
        "classes": [str(label) for label in task.classes], "kind": task.kind,
    }  # fmt: skip


def _groups(network: Network, task: Task) -> list[dict[str, Any]]:
    """Units that stand together: inputs, hidden layers or all hidden units, outputs."""
    sizes = [*network.graph.layers] if network.graph.layers else []
    graph = network.graph
    if sum(sizes) != graph.units or len(sizes) < 2:
        sizes = [graph.inputs, *([graph.hidden] if graph.hidden else []), graph.outputs]
    middle = [f"hidden layer {k}" for k in range(1, len(sizes) - 1)] if len(sizes) > 3 else ["hidden"]
    names = ["inputs", *(middle if len(sizes) > 2 else []), "outputs"]
    return [{"name": name, "size": int(size)} for name, size in zip(names, sizes, strict=True)]


def _packed(values: Any) -> dict[str, str]:
    """Numbers as text: their kind, and base64 of their bytes."""
    array = np.ascontiguousarray(values)
    kind = {"i": "i4", "f": "f4" if array.dtype == np.float32 else "f8"}[array.dtype.kind]
    return {"kind": kind, "bytes": base64.b64encode(array.astype(f"<{kind}").tobytes()).decode()}
