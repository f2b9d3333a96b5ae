"""One network, one input: the inner product of local rule and exact gradient, enclosed in ball arithmetic."""

import numpy as np

from ..network import Network
from ..settling import Tolerance, settle
from .ball import exact, precise
from .linear import Sample

__all__ = ["inner_product"]


def inner_product(network: Network, x: np.ndarray) -> tuple[np.ndarray, tuple[float, float]] | None:
    """An equilibrium, and bounds of the inner product for an error of one; `None` if it cannot be enclosed.

    Shares no bound with those over boxes: the network is settled in floats, python-flint encloses the equilibrium and
    solves for adjoint and response.
    """
    settled = settle(network, np.asarray(x)[None], stop=Tolerance(max_steps=20_000))
    state = np.asarray(settled.state[0], np.float64)
    with precise():
        converged = bool(settled.converged[0])
        sample = Sample.at(network, x, np.zeros(network.graph.outputs), state) if converged else None
        if sample is None or not sample.settled:
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
