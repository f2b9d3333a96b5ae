r"""Proofs about single equilibria, in ball arithmetic: that one exists near a state, and that it is unstable.

Krawczyk's test: with $C\approx J(s)^{-1}$, $s-CF(s)+(1-CJ(S))(S-s)$ in the interior of a box $S$ around $s$ proves that
$S$ holds exactly one equilibrium. Units that rest at a face of the box stay there, and it is an equilibrium if the
field pushes them strictly outwards and the others lie strictly inside.

Source: Krawczyk (1969); Rump, Verification methods (Acta Numerica 2010).
"""

import warnings
from dataclasses import dataclass
from typing import Any

import flint
import numpy as np
import scipy.linalg

from ...arithmetic import exact, matrix, positive_definite
from ...model import Activation, Network


@dataclass(frozen=True)
class Equilibrium:
    """An equilibrium that exists within the balls `state`. `jacobian` is that of the units which no face holds, and
    `inside` says which these are."""

    state: np.ndarray
    jacobian: flint.arb_mat
    inside: np.ndarray

    @property
    def middle(self) -> np.ndarray:
        return np.array([float(ball.mid()) for ball in self.state])

    def differs(self, other: "Equilibrium") -> bool:
        """Whether it is certainly another equilibrium."""
        return any(not mine.overlaps(theirs) for mine, theirs in zip(self.state, other.state, strict=True))

    def attracts(self) -> bool:
        """Whether every eigenvalue of the Jacobian certainly has a negative real part: by a Lyapunov function, found in
        floating point and proved in balls."""
        if self.jacobian.nrows() == 0:
            return True
        middle = np.array([[float(ball.mid()) for ball in row] for row in self.jacobian.tolist()])
        try:
            with warnings.catch_warnings(
                action="ignore"
            ):  # of eigenvalues that cancel: what it then gives proves nothing
                p = scipy.linalg.solve_continuous_lyapunov(middle.T, -np.eye(len(middle)))
        except (ValueError, np.linalg.LinAlgError):  # entries beyond floating point
            return False
        if not np.isfinite(p).all():
            return False
        p = exact((p + p.T) / 2)
        half = matrix(p) * self.jacobian
        falling = -(half + half.transpose())
        return positive_definite(p) and positive_definite(np.array(falling.tolist()))

    def unstable(self) -> bool:
        """Whether some eigenvalue of the Jacobian certainly has a positive real part.

        Not at a corner of the activation, where the field has no Jacobian: there it would prove nothing.
        """
        if self.jacobian.nrows() == 0 or not all(
            ball.rad() < 1e-6 * (1 + abs(ball)) for ball in self.jacobian.entries()
        ):
            return False
        try:
            values = flint.acb_mat(self.jacobian).eig(multiple=True)
        except ValueError:
            return False
        return any(value.real > 0 for value in values)


class BallField:
    """The field of a network at one input, over balls of states, around the numbers as stored. `weight`: its matrix,
    where it is at hand."""

    def __init__(self, network: Network, x: np.ndarray, weight: np.ndarray | None = None):
        weight = np.asarray(network.matrix, np.float64) if weight is None else weight
        split = network.graph.inputs
        inner = exact(weight[split:])
        self.neuron: Any = network.neuron
        self.hidden = network.graph.hidden
        self.leak = exact(network.leak) + network.neuron.outflow.value(inner).sum(1)
        self.coupling = inner.T
        self.current = exact(x) @ exact(weight[:split]) + exact(network.bias)
        # As the network has them, in its own precision.
        ends = (self.neuron.low, self.neuron.high) if self.neuron.bounded else (-np.inf, np.inf)
        self.low, self.high = np.asarray(ends, network.dtype).astype(np.float64).tolist()

    def rates(self, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        r"""$r=\psi(s)$ and $\psi'(s)$."""
        return _enclosed(self.neuron.rate, state)

    def transfers(self, drive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        r"""$\varphi(u)$ and $\varphi'(u)$."""
        return _enclosed(self.neuron.transfer, drive)

    def drives(self, rate: np.ndarray) -> np.ndarray:
        """$u$."""
        return np.array([sum(row, flint.arb(0)) for row in self.coupling * rate], object) + self.current

    def __call__(self, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The field and its Jacobian, over balls of states."""
        rate, slope = self.rates(state)
        passed, gain = self.transfers(self.drives(rate))
        return passed - self.leak * state, gain[:, None] * self.coupling * slope - np.diag(self.leak)


def _enclosed(activation: Activation, balls: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values and slopes over balls."""
    if activation.enclose is None:
        raise ValueError(f"Activation({activation.name!r}) has no enclosure over balls: give it enclose=...")
    pairs = [activation.enclose(ball) for ball in balls]
    return np.array([value for value, _ in pairs], object), np.array([slope for _, slope in pairs], object)


def enclose(network: Network, x: np.ndarray, state: np.ndarray) -> Equilibrium | None:
    """The equilibrium near a state, or `None` if none can be proved there."""
    if network.neuron.rate.enclose is None or network.neuron.transfer.enclose is None:
        return None
    return solve(BallField(network, np.asarray(x, np.float64)), np.asarray(state, np.float64))


def solve(field: BallField, state: np.ndarray) -> Equilibrium | None:
    """The equilibrium of a field near a state. Units that rest at a face of the box must be held there strictly."""
    neuron, points = field.neuron, exact(state)
    down = up = np.zeros(len(state), bool)
    try:
        if neuron.bounded:
            flow = np.array([float(ball.mid()) for ball in field(points)[0]])
            near = 1e-7 * max(1.0, abs(field.low), abs(field.high))  # the state may be of another precision
            down, up = (state <= field.low + near) & (flow < 0), (state >= field.high - near) & (flow > 0)
            points[down], points[up] = flint.arb(field.low), flint.arb(field.high)
        inside = ~(down | up)
        found = _krawczyk(field, points, inside) if inside.any() else (points, field(points)[1])
    except ZeroDivisionError:  # a singular Jacobian
        return None
    if found is None:
        return None
    balls, jacobian = found
    if neuron.bounded:
        flow, _ = field(balls)
        held = all(f < 0 for f in flow[down]) and all(f > 0 for f in flow[up])
        if not held or not all(ball > field.low and ball < field.high for ball in balls[inside]):
            return None
    inner = matrix(jacobian[np.ix_(inside, inside)]) if inside.any() else flint.arb_mat(0, 0)
    return Equilibrium(balls, inner, inside)


def _krawczyk(field: BallField, points: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Balls that hold an equilibrium of the units `inside`, the others standing still, and the Jacobian over them."""
    block, points = np.ix_(inside, inside), points.copy()
    for _ in range(6):
        flow, jacobian = field(points)
        step = matrix(jacobian[block]).solve(matrix(flow[inside])).tolist()
        moved = [flint.arb((p - row[0]).mid()) for p, row in zip(points[inside], step, strict=True)]
        done = all(abs(float((a - b).mid())) <= 1e-25 for a, b in zip(moved, points[inside], strict=True))
        points[inside] = moved
        if done:
            break
    flow, jacobian = field(points)
    middle = np.array([[float(entry.mid()) for entry in row] for row in jacobian[block]])
    if not np.isfinite(middle).all() or np.linalg.cond(middle) > 1e12:
        return None
    inverse = matrix(exact(np.linalg.inv(middle)))
    radius = np.array([flint.arb(0, 1e-10 * (1 + abs(float(p.mid())))) for p in points[inside]], object)
    box = points.copy()
    box[inside] = points[inside] + radius
    _, over_box = field(box)
    size = int(inside.sum())
    newton = inverse * matrix(flow[inside])
    contraction = (flint.arb_mat(np.eye(size).tolist()) - inverse * matrix(over_box[block])) * matrix(radius)
    image = [points[inside][k] - newton[k, 0] + contraction[k, 0] for k in range(size)]
    if not all(outer.contains_interior(inner) for outer, inner in zip(box[inside], image, strict=True)):
        return None
    points[inside] = image
    return points, field(points)[1]
