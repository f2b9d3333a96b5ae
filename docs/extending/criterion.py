"""A criterion of convergence: a diagonal norm with weights that a unit knows from its own synapses.

python docs/extending/criterion.py
direp certify runs/NAME --criterion criterion:Degree               # in the folder of this file
"""

from typing import ClassVar

import jax
import numpy as np

import direp
from direp.certificates.convergence import prove


class Degree(direp.AbstractCriterion):
    r"""Weights $\eta_i=\Lambda_i+d_2\sum_k|w_{ik}|$ (or over sources). `prove` decides, rounding included: a criterion
    of this kind only proposes weights, so it cannot prove what is not so.

    An `AbstractDiagonal` inherits `mismatch = True`, the promise that what it proves holds for every die of
    `certify(mismatch=...)`. It keeps that as long as `prove` decides; a class that decides otherwise sets
    `mismatch: ClassVar[bool] = False`, as an `AbstractCriterion` has it."""

    name: ClassVar[str] = "degree"

    def attempt(self, system):
        one = np.ones(system.size)
        proposals = [
            (np.abs(system.total_leak) + system.spread(one, incoming) + 1e-9, incoming) for incoming in (False, True)
        ]
        return prove(self.name, system, proposals)


if __name__ == "__main__":
    graph, proved = direp.Graph.random(3, 12, 2, density=0.3), {}
    for seed in range(50):
        network = direp.Network(graph, direp.Projected(), direp.Normal(std=0.2), key=jax.random.key(seed))
        for criterion in (direp.LocalLeak(), direp.Rows(), Degree(), direp.Perron()):
            found = direp.certify(network, criteria=(criterion,), starts=0)
            proved[criterion.name] = proved.get(criterion.name, 0) + bool(found)
    print("of 50 random networks:", ", ".join(f"{name} proves {count}" for name, count in proved.items()))
