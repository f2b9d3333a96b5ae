r"""Excitatory networks that lose what they send: where does activity leave the network?

With $W\ge0$, an outflow of $w$ a synapse and slopes $|\varphi'\psi'|$ of at most 1, the majorant is that of a
compartmental system: what leaves unit $i$ arrives elsewhere, but for the leak $\lambda_i$. It is stable if and only if
every unit has a directed path to one that leaks (or that sends with a slope below 1). A set of units without such a
path is a trap.

Source: compartmental systems, as in Walter & Contreras, *Compartmental Modeling with Networks* (1999).
"""

from typing import Any, ClassVar

import equinox as eqx
import numpy as np
from scipy.sparse import coo_array

from ...arithmetic import exact, matrix
from ...model import reachable
from .certificate import Attempt
from .criterion import AbstractCriterion
from .diagonal import prove
from .system import System


class Compartmental(AbstractCriterion):
    r"""Decides excitatory networks with outflow by their graph. Where all paths leak, the solution of
    $(\Lambda-d_2W)\eta=1$, in high precision, gives norm weights and a rate, however slow."""

    name: ClassVar[str] = "compartmental"
    up_to: int = eqx.field(static=True, default=100)

    def attempt(self, system: System) -> Attempt:
        smallest = system.weight.min() if system.size > 1 else 0.0
        if system.neuron.outflow.above != 1 or smallest < 0 or system.gain > 1:
            return Attempt(self.name, note="needs outflow, no inhibition and slopes of at most 1")
        trap = _trapped(system)
        if trap.any():
            blame = tuple(np.flatnonzero(trap).tolist())
            return Attempt(self.name, None, 0.0, "some units have no path to a leak: they are a trap", blame)
        if system.size > self.up_to:
            return Attempt(self.name, note=f"every unit has a path to a leak; no rate sought above {self.up_to} units")
        weight = exact(system.weight if isinstance(system.weight, np.ndarray) else system.dense())
        majorant = np.diag(exact(system.leak) + weight.sum(1)) - exact(system.couplings())
        try:
            times = matrix(majorant).solve(matrix(exact(np.ones(system.size)))).tolist()
        except ZeroDivisionError:
            return Attempt(self.name, note="every unit has a path to a leak, but no rate survives rounding")
        return prove(self.name, system, [(np.array([float(row[0].mid()) for row in times]), False)])


def _trapped(system: System) -> np.ndarray:
    """Which units cannot reach one that leaks: a search backwards from those that do."""
    links: Any = coo_array(system.weight)
    arriving = system.spread(np.ones(system.size), False)  # slopes of at most 1 are known here
    lossy = (arriving < system.sent) | ((system.gain < 1) & (system.sent > 0))
    leaking = np.flatnonzero((system.leak > 0) | lossy)
    exists = links.data > 0
    return ~reachable(system.size, links.coords[1][exists], links.coords[0][exists], leaking)
