r"""How total leaks move along an update where it does not know.

An update counts what the cost owes to leaks that move with the weights, by the derivative of each. There is none where
a weight of zero counts by its size (in an outflow, or in the criterion that holds a leak): whichever way the weight
goes, the leak rises. And a control may keep leaks from coming down, or learning from knowing of them.
"""

from typing import Any

import numpy as np

from ...model import Network
from .following import Following


def unknown_motion(
    network: Network,
    following: Following | None,
    strengths: list[tuple[np.ndarray, np.ndarray]],
    known: np.ndarray,
    eps: float,
) -> np.ndarray:
    r"""For each way in which a total leak may move, how much faster than is `known`: (way x free), 0 for ways that are
    none.

    **Arguments:**

    - `following`: how a control sets leaks. Those above what it asks for count as staying.
    - `strengths`: weights between free units (free x free) with their step, and companions with theirs.
    - `known`: the movement of every total leak that the update counts with. `eps`: of the control's precision.
    """
    weight, step = strengths[0]
    outflow = network.neuron.outflow
    side = np.where(weight == 0, step, weight)
    stays = (np.where(side < 0, outflow.below, outflow.above) * step).sum(1)
    if following is None:
        return (stays - known)[None]
    leak, lost = np.asarray(network.leak, np.float64), outflow.value(weight).sum(1)
    eta, gain = following.norm, network.neuron.gain
    ratio = eta[:, None] / eta if following.criterion.incoming else eta / eta[:, None]
    asked, ways = [following.least], [stays]
    for size, moves in strengths:
        asked.append(gain * (np.abs(size) * ratio).sum(following.own) - lost + following.margin)
        grows = np.where(size == 0, np.abs(moves), np.sign(size) * moves)
        ways.append(gain * (grows * ratio).sum(following.own))
    terms: Any = np.abs(leak) + 2 * np.abs(weight).sum(1) + np.abs(asked).max(0) + following.margin
    asked, doubt = np.array(asked), 8 * (network.graph.units + 8) * terms
    # What holds a leak is told by the strengths in 64 bits; the control's own rounding hides it.
    held = asked.max(0) >= leak - eps * doubt
    holds = held & (asked >= asked.max(0) - float(np.finfo(np.float64).eps) * doubt)
    holds[0] |= ~held
    if not following.falls:
        holds[0] = True
    return np.where(holds, np.array(ways) - known, 0)
