r"""Leaks that a control sets: functions of the weights, through which the cost depends on a synapse once more.

A leak at its criterion is $\lambda_i(W)=\max(\mathrm{least}_i,\ d_2\sum_k|w_{ik}|\eta_k/\eta_i-\kappa\,\mathrm{out}_i
(W)+c_0)$ (or, for rows, over the sources of $i$). It moves with $W$ where the second is larger, and not where the first
is; where rounding leaves this open, with a share between 0 and 1.
"""

from dataclasses import dataclass
from typing import Any

import flint
import jax.numpy as jnp
import numpy as np

from ...arithmetic import exact
from ...model import Network
from ..convergence import AbstractDiagonal


@dataclass(frozen=True, eq=False)
class Following:
    """How a control sets leaks after every update.

    - `criterion`, `norm`: where leaks are held, with which norm weights. `margin`: what is added.
    - `least`: the least leak of every unit. `falls`: whether leaks come down again with the weights.
    - `reason`: why nothing is proved of how these move; then the rest says nothing.
    """

    criterion: AbstractDiagonal
    norm: np.ndarray
    margin: float
    least: np.ndarray
    falls: bool
    reason: str = ""

    @property
    def known(self) -> bool:
        """Whether leaks are a function of the weights alone, of which something can be proved."""
        return not (self.reason or self.criterion.moves)

    @property
    def ratio(self) -> np.ndarray:
        r"""$\eta_k/\eta_i$ of every pair, as an array of balls: from i to k, or for rows $\eta_i/\eta_k$."""
        eta = exact(self.norm)
        return eta[:, None] / eta if self.criterion.incoming else eta / eta[:, None]

    def needed(self, network: Network) -> np.ndarray:
        """The leak of every unit at the criterion."""
        inner = np.asarray(network.matrix, np.float64)[network.graph.inputs :]
        spread = (np.abs(inner) * np.array([[float(r.mid()) for r in row] for row in self.ratio])).sum(self.own)
        return network.neuron.gain * spread - network.neuron.outflow.value(inner).sum(1) + self.margin

    @property
    def own(self) -> int:
        """The axis of the other unit in a matrix of synapses: 1 where a leak counts what its unit sends."""
        return 0 if self.criterion.incoming else 1

    def share(self, network: Network) -> np.ndarray | None:
        """For every leak the least and the largest share of its criterion's movement that it follows: (free x 2).

        `None` if the leaks are not those that the control sets.
        """
        leak, needed = np.asarray(network.leak, np.float64), self.needed(network)
        near = (
            8
            * (network.graph.units + 8)
            * float(jnp.finfo(network.dtype).eps)
            * (np.abs(needed) + np.abs(self.least) + self.margin)
        )
        if (np.abs(leak - np.maximum(needed, self.least)) > near).any():
            return None
        held = needed > self.least + near if self.falls else np.zeros(len(leak), bool)
        still = needed < self.least - near
        return np.stack([held, ~still], 1).astype(float)

    def slopes(self, network: Network, share: np.ndarray, way: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        r"""$\partial\lambda_i/\partial w_{ij}$ and $\partial\lambda_j/\partial w_{ij}$ (free x free), in balls.

        `way` is the direction of the step: at a weight of zero, $|w|$ has the slope to that side.
        """
        inner = np.asarray(network.matrix, np.float64)[network.graph.inputs :]
        follows = np.array([flint.arb(low).union(flint.arb(high)) for low, high in share], object)
        sign = np.sign(np.where(inner == 0, way, inner))
        spread = exact(sign * network.neuron.gain) * self.ratio
        lost = exact(network.neuron.outflow.slope(inner)) if network.neuron.outflow.active else exact(0 * inner)
        if self.criterion.incoming:
            return -lost * follows[:, None], spread * follows
        return (spread - lost) * follows[:, None], exact(0 * inner)


def refusal(following: Any, network: Network) -> str:
    """Why the leaks of a network are not covered; empty if they are."""
    if following.reason:
        return following.reason
    if following.criterion.moves:
        return (
            f"The norm weights of {type(following.criterion).__name__} change with the weights, and so do the leaks, "
            "however small the step: nothing is proved of it. LocalLeak() and Rows() are covered."
        )
    if following.share(network) is None:
        return "The leaks are not those that the control sets: certify control.begin(network)."
    return ""
