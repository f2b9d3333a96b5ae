"""One network, one input: the inner product of local rule and exact gradient, enclosed in ball arithmetic."""

from collections.abc import Callable

import numpy as np

from ...arithmetic import Interval, exact, matrix, precise
from ...model import Activation, Network
from ..learning import Sample


def inner_product(network: Network, x: np.ndarray) -> tuple[np.ndarray, tuple[float, float], np.ndarray] | None:
    """An equilibrium, and bounds of the inner product for an error of length one, and that error: of several outputs
    the one for which the product is lowest, nearly. `None` if it cannot be enclosed.

    Shares no bound with those over boxes: the network is settled in floats, python-flint encloses the equilibrium and
    solves for adjoint and response.
    """
    state = _settled(network, np.asarray(x, np.float64))
    with precise():
        sample = None if state is None else Sample.at(network, x, np.zeros(network.graph.outputs), state)
        if state is None or sample is None or not sample.settled:
            return None
        errors = exact(np.eye(network.graph.free)[:, network.graph.hidden :])
        try:
            truth, estimated = (sample.synapses(way(errors)) for way in (sample.adjoint, sample.response))
        except ZeroDivisionError:
            return None
        form = truth * estimated.transpose()
        error = _lowest(np.array([[float(entry.mid()) for entry in row] for row in form.tolist()]))
        column = matrix(exact(error))
        ball = (column.transpose() * form * column)[0, 0]
        middle, radius = float(ball.mid()), float(ball.rad())
    wide = radius * (1 + 1e-9) + abs(middle) * 1e-15 + 1e-300
    return state, (middle - wide, middle + wide), error


def _lowest(form: np.ndarray) -> np.ndarray:
    """The error of length one for which a quadratic form is lowest, nearly; of outputs that answer, if some do."""
    answers = np.flatnonzero(form.any(0) | form.any(1))
    if not len(answers) or not np.isfinite(form).all():
        answers = np.arange(1)
        form = np.zeros_like(form)
    some = form[np.ix_(answers, answers)]
    error = np.zeros(len(form))
    error[answers] = np.linalg.eigh((some + some.T) / 2)[1][:, 0]
    return error if len(form) > 1 else np.abs(error)


def _values(activation: Activation) -> Callable[[np.ndarray], np.ndarray]:
    """An activation's values, nearly, in NumPy."""
    shape = activation.interval
    if shape is None:
        raise ValueError(f"certify_region cannot enclose the activation {activation.name!r}: give it interval=...")
    return lambda values: shape.value(Interval.of(values)).low


def _settled(network: Network, x: np.ndarray, steps: int = 20_000) -> np.ndarray | None:
    """Where Euler's method comes to rest, from rest; `None` if it does not. NumPy, for nothing is to be compiled."""
    neuron, graph = network.neuron, network.graph
    weight = np.asarray(network.matrix, np.float64)
    inner, fixed = weight[graph.inputs :], x @ weight[: graph.inputs] + np.asarray(network.bias, np.float64)
    total = np.asarray(network.leak, np.float64)
    if neuron.outflow.active:
        total = total + neuron.outflow.value(inner).sum(1)
    transfer, rate = (_values(activation) for activation in (neuron.transfer, neuron.rate))
    step = 0.7 / (np.abs(inner).sum(0).max() + np.abs(total).max() + 1e-300)
    state = np.zeros(graph.free)
    for _ in range(steps):
        drive = rate(state) @ inner + fixed
        new = state + step * (transfer(drive) - total * state)
        new = np.clip(new, neuron.low, neuron.high) if neuron.bounded else new
        if not np.isfinite(new).all():
            return None
        if np.abs(new - state).max() <= 1e-14 * (1 + np.abs(new).max()):
            return new
        state = new
    return None
