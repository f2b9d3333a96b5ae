"""One network, one input: the inner product of local rule and exact gradient, enclosed in ball arithmetic."""

import numpy as np

from ...arithmetic import Interval, exact, precise
from ...model import Hopfield, Network, Rate
from ..learning import Sample

__all__ = ["inner_product"]


def inner_product(network: Network, x: np.ndarray) -> tuple[np.ndarray, tuple[float, float]] | None:
    """An equilibrium, and bounds of the inner product for an error of one; `None` if it cannot be enclosed.

    Shares no bound with those over boxes: the network is settled in floats, python-flint encloses the equilibrium and
    solves for adjoint and response.
    """
    state = _settled(network, np.asarray(x, np.float64))
    with precise():
        sample = None if state is None else Sample.at(network, x, np.zeros(network.graph.outputs), state)
        if state is None or sample is None or not sample.settled:
            return None
        error = np.zeros((network.graph.free, 1))
        error[network.graph.hidden :] = 1.0
        try:
            truth, told = (sample.synapses(way(exact(error))) for way in (sample.adjoint, sample.response))
        except ZeroDivisionError:
            return None
        ball = (truth * told.transpose())[0, 0]
        middle, radius = float(ball.mid()), float(ball.rad())
    wide = radius * (1 + 1e-9) + abs(middle) * 1e-15 + 1e-300
    return state, (middle - wide, middle + wide)


def _settled(network: Network, x: np.ndarray, steps: int = 20_000) -> np.ndarray | None:
    """Where Euler's method comes to rest, from rest; `None` if it does not. NumPy, for nothing is to be compiled."""
    neuron, graph = network.neuron, network.graph
    weight, shape = np.asarray(network.matrix, np.float64)(neuron.activation)
    inner, fixed = weight[graph.inputs :], x @ weight[: graph.inputs] + np.asarray(network.bias, np.float64)
    total = np.asarray(network.leak, np.float64)
    if neuron.outflow != "none":
        total = total + (np.abs(inner) if neuron.outflow == "absolute" else inner).sum(1)
    passed = lambda values: shape.value(Interval.of(values)).low  # noqa: E731
    step = 0.7 / (np.abs(inner).sum(0).max() + np.abs(total).max() + 1e-300)
    state = np.zeros(graph.free)
    for _ in range(steps):
        drive = (passed(state) if isinstance(neuron, Hopfield) else state) @ inner + fixed
        new = state + step * ((passed(drive) if isinstance(neuron, Rate) else drive) - total * state)
        new = np.clip(new, neuron.low, neuron.high) if neuron.bounded else new
        if not np.isfinite(new).all():
            return None
        if np.abs(new - state).max() <= 1e-14 * (1 + np.abs(new).max()):
            return new
        state = new
    return None
