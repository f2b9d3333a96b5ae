"""The ensembles of random networks that `sharpness.py` judges."""

import math
from dataclasses import dataclass

import numpy as np

import direp

TIMES_EDGE = np.round(np.arange(0.15, 1.51, 0.15), 2)  # weights, in units of the ensemble's edge


@dataclass(frozen=True)
class Ensemble:
    """Random networks: every synapse exists with probability `density` and is inhibitory with another."""

    kind: str
    outflow: str
    units: int
    density: float
    inhibitory: float
    panel: str = ""  # title of its panel in the figure; such ensembles have more networks

    @property
    def neuron(self) -> direp.Projected | direp.Rate:
        if self.kind == "Rate":
            return direp.Rate(direp.activation.tanh, outflow=self.outflow)
        return direp.Projected(outflow=self.outflow)

    @property
    def label(self) -> str:
        name = "Rate(tanh)" if self.kind == "Rate" else self.kind
        return f"`{name}`" if self.outflow == "none" else f"`{name}`, {self.outflow} outflow"

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Weights of size |N(0, 1)|; entry (i, j) is that from unit i to unit j."""
        shape = (self.units, self.units)
        sign = np.where(rng.random(shape) < self.inhibitory, -1.0, 1.0)
        weight = np.where(rng.random(shape) < self.density, sign * np.abs(rng.normal(size=shape)), 0.0)
        np.fill_diagonal(weight, 0.0)
        return weight

    def edge(self) -> float:
        """The weight scale at which half of the networks with leak 1 lose the stability of their unsaturated state."""
        scales = []
        for k in range(400):
            weight = self.draw(np.random.default_rng((1, k)))
            lost = weight.sum(1) if self.outflow == "signed" else np.zeros(self.units)
            growth = np.linalg.eigvals(weight.T - np.diag(lost)).real.max()
            scales.append(1 / growth if growth > 1e-9 else math.inf)
        return float(np.median(scales))


ENSEMBLES = (
    Ensemble("Projected", "none", 5, 1.0, 0.0),
    Ensemble("Projected", "none", 5, 1.0, 0.5),
    Ensemble("Projected", "none", 10, 1.0, 0.0, "Projected, excitatory"),
    Ensemble("Projected", "none", 10, 1.0, 0.5, "Projected, half inhibitory"),
    Ensemble("Projected", "none", 10, 1.0, 1.0),
    Ensemble("Projected", "none", 20, 0.2, 0.5),
    Ensemble("Projected", "none", 20, 1.0, 0.5),
    Ensemble("Projected", "signed", 10, 1.0, 0.0),
    Ensemble("Projected", "signed", 10, 1.0, 0.5, "Projected, signed outflow, half inhibitory"),
    Ensemble("Projected", "signed", 10, 0.2, 0.5),
    Ensemble("Rate", "none", 5, 1.0, 0.5),
    Ensemble("Rate", "none", 10, 1.0, 0.5, "Rate(tanh), half inhibitory"),
    Ensemble("Rate", "none", 10, 1.0, 1.0),
    Ensemble("Rate", "none", 20, 0.2, 0.5),
)
