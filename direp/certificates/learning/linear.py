r"""Adjoints and responses of a sample at its free equilibrium, for any error, in balls.

With $E$ any matrix of currents ($\partial_rC$, one a column), $J^\top a=\psi'\odot E$ gives the exact gradient
(`post` $=\varphi'\odot a$, `back` $=a$) and $J\Delta s=\varphi'\odot E$ the limit of `Local` (`post` $=\psi'\odot\Delta
s$, `back` $=\psi'\odot\Delta u/\Lambda$, which is `post` where $\varphi$ is the identity). A synapse multiplies:
$r_i\,\mathrm{post}_j-\kappa_{ij}s_i\,\mathrm{back}_i$; synapses that share a strength add up.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import flint
import numpy as np

from ...arithmetic import exact, matrix
from ...model import Network
from ..convergence import BallField, Equilibrium, solve

PostBack = tuple[np.ndarray, np.ndarray]


def shared(network: Network) -> np.ndarray | None:
    """For every synapse the number of its strength among those that learn; `None` where each has one of its own."""
    if not getattr(network.synapses, "shared", False):
        return None
    return np.unique(np.asarray(network.synapses.place), return_inverse=True)[1]  # pyright: ignore[reportAttributeAccessIssue]


def dense(mat: flint.arb_mat) -> np.ndarray:
    """A matrix of balls as an array of objects."""
    rows = mat.tolist()
    out = np.empty((mat.nrows(), mat.ncols()), object)
    for i, row in enumerate(rows):
        out[i] = row
    return out


@dataclass(frozen=True)
class Sample:
    """One sample of a network, at its enclosed free equilibrium."""

    network: Network
    x: np.ndarray
    y: np.ndarray
    field: BallField
    free: Equilibrium
    weight: np.ndarray

    @classmethod
    def at(
        cls, network: Network, x: np.ndarray, y: np.ndarray, state: np.ndarray, weight: np.ndarray | None = None
    ) -> "Sample | None":
        """At the equilibrium near a state; `weight` is the network's matrix, where it is at hand."""
        weight = np.asarray(network.matrix, np.float64) if weight is None else weight
        field = BallField(network, x, weight)
        free = solve(field, state)
        if free is None:
            return None
        if not network.neuron.transfer.linear:
            # What a unit's activation holds at zero is zero exactly, not only within its ball.
            exactly = free.state.copy()
            exactly[(field.transfers(field.drives(field.rates(free.state)[0]))[0] == 0) & free.inside] = flint.arb(0)
            free = replace(free, state=exactly)
        return cls(network, x, y, field, free, weight)

    @cached_property
    def rates(self) -> np.ndarray:
        return self.field.rates(self.free.state)[0]

    @cached_property
    def rate_slope(self) -> np.ndarray:
        return self.field.rates(self.free.state)[1]

    @cached_property
    def transfer_slope(self) -> np.ndarray:
        return self.field.transfers(self.field.drives(self.rates))[1]

    @property
    def inside(self) -> np.ndarray:
        """Units that no face holds."""
        return self.free.inside

    @cached_property
    def responsive(self) -> np.ndarray:
        """Units that answer: not held, and with a slope that is certainly above zero."""
        slope = self.rate_slope * self.transfer_slope
        return self.inside & np.array([bool(ball > 0) for ball in slope])

    @cached_property
    def settled(self) -> bool:
        """Whether every unit certainly answers or certainly does not: none is near a corner."""
        slope = self.rate_slope * self.transfer_slope
        return all(bool(ball > 0) or bool(ball == 0) for ball in slope)

    def gradient(self, cost) -> np.ndarray:
        r"""$\partial C/\partial r$ as a column, non-zero at outputs."""
        hidden = self.field.hidden
        column = exact(np.zeros((len(self.rates), 1)))
        column[hidden:, 0] = cost.enclose(self.rates[hidden:], self.y)[0]
        return column

    def _spread(self, solved: flint.arb_mat, columns: int) -> np.ndarray:
        full = exact(np.zeros((len(self.rates), columns)))
        if self.inside.any():
            full[self.inside] = dense(solved)
        return full

    def adjoint(self, currents: np.ndarray) -> PostBack:
        """`post` and `back` of the exact gradient, a column for every current."""
        inside = self.inside
        right = (self.rate_slope[:, None] * currents)[inside]
        a = self._spread(self.free.jacobian.transpose().solve(matrix(right)), currents.shape[1])
        return self.transfer_slope[:, None] * a, a

    def response(self, currents: np.ndarray) -> PostBack:
        """`post` and `back` of `Local` in the limit of a small nudge."""
        inside = self.inside
        right = (self.transfer_slope[:, None] * currents)[inside]
        moved = self._spread(self.free.jacobian.solve(matrix(right)), currents.shape[1])
        d_rate = self.rate_slope[:, None] * moved
        d_drive = dense(matrix(self.field.coupling) * matrix(d_rate)) - currents
        return d_rate, self.back(d_rate, d_drive)

    def back(self, d_rate: np.ndarray, d_drive: np.ndarray) -> np.ndarray:
        """What the outflow's part of the rule takes for the adjoint, as in `AbstractNeuron.response`."""
        if self.network.neuron.transfer.linear:
            return d_rate
        slope = np.where(self.inside, self.rate_slope, exact(0.0))
        return slope[:, None] * d_drive / self.field.leak[:, None]

    def synapses(self, signals: PostBack, leaks: PostBack | None = None) -> flint.arb_mat:
        """What every strength, then every bias, makes of `post` and `back`: a row for every column.

        `leaks`, for leaks that follow the weights: the derivatives of those of source and target by the synapse
        between them (free x free).
        """
        post, back = signals
        graph = self.network.graph
        source, target = graph.source, graph.target - graph.inputs
        sent = np.concatenate([exact(self.x), self.rates])
        rows = sent[source][:, None] * post[target]
        outflow = self.network.neuron.outflow
        if outflow.active:
            recurrent = source >= graph.inputs
            weight = self.weight[source, target][recurrent]
            lost = self.free.state[:, None] * back
            rows[recurrent] = (
                rows[recurrent] - exact(outflow.slope(weight))[:, None] * lost[source[recurrent] - graph.inputs]
            )
        if leaks is not None:
            recurrent, lost = source >= graph.inputs, self.free.state[:, None] * back
            i, j = source[recurrent] - graph.inputs, target[recurrent]
            of_source, of_target = (part[i, j][:, None] for part in leaks)
            rows[recurrent] = rows[recurrent] - of_source * lost[i] - of_target * lost[j]
        group = shared(self.network)
        if group is not None:
            summed = exact(np.zeros((group.max() + 1, post.shape[1])))
            np.add.at(summed, group, rows)
            rows = summed
        if graph.bias:
            rows = np.concatenate([rows, post])
        return matrix(rows).transpose()
