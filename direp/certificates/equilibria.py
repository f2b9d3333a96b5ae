r"""Proofs about single equilibria, in ball arithmetic: that one exists near a state, and that it is unstable.

`Projected`: with the held units at their faces, the others solve a linear system; it is an equilibrium if they lie
strictly inside the box and the field pushes the held ones strictly outwards. Otherwise Krawczyk's test: with
$C\approx J(s)^{-1}$, $s-CF(s)+(1-CJ(S))(S-s)$ in the interior of a box $S$ around $s$ proves that $S$ holds exactly
one equilibrium.

Source: Krawczyk (1969); Rump, Verification methods (Acta Numerica 2010).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import flint
import numpy as np

from ..network import Network
from .ball import exact, matrix

__all__ = ["Equilibrium", "enclose"]


@dataclass(frozen=True)
class Equilibrium:
    """An equilibrium that exists within the balls `state`. `jacobian` holds that of the units which no face holds."""

    state: np.ndarray
    jacobian: flint.arb_mat

    @property
    def middle(self) -> np.ndarray:
        return np.array([float(ball.mid()) for ball in self.state])

    def differs(self, other: "Equilibrium") -> bool:
        """Whether it is certainly another equilibrium."""
        return any(not mine.overlaps(theirs) for mine, theirs in zip(self.state, other.state, strict=True))

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


class _Field:
    """The field of a network at one input, around the numbers as stored."""

    def __init__(self, network: Network, x: np.ndarray):
        weight = np.asarray(network.matrix, np.float64)
        split = network.graph.inputs
        inner = exact(weight[split:])
        outflow = {"none": 0 * inner, "signed": inner, "absolute": abs(inner)}[network.neuron.outflow]
        self.neuron: Any = network.neuron
        self.leak = exact(network.leak) + outflow.sum(1)
        self.coupling = inner.T
        self.current = exact(x) @ exact(weight[:split]) + exact(network.bias)

    def _activated(self, balls: Iterable[Any]) -> tuple[np.ndarray, np.ndarray]:
        pairs = [self.neuron.activation.enclose(ball) for ball in balls]
        return np.array([value for value, _ in pairs], object), np.array([slope for _, slope in pairs], object)

    def __call__(self, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The field and its Jacobian, over balls of states."""
        rate, slope = (state, np.ones(len(state))) if self.outer else self._activated(state)
        drive = np.array([sum(row, flint.arb(0)) for row in self.coupling * rate], object) + self.current
        if self.outer:
            drive, gain = self._activated(drive)
            jacobian = gain[:, None] * self.coupling
        else:
            jacobian = self.coupling * slope
        return drive - self.leak * state, jacobian - np.diag(self.leak)

    @property
    def outer(self) -> bool:
        """Whether the activation acts on the drive (`Rate`, and trivially `Projected`) rather than on the state."""
        from ..neuron import Hopfield

        return not isinstance(self.neuron, Hopfield)


def enclose(network: Network, x: np.ndarray, state: np.ndarray) -> Equilibrium | None:
    """The equilibrium near a state, or `None` if none can be proved there."""
    if network.neuron.activation.enclose is None:
        return None
    field = _Field(network, np.asarray(x, np.float64))
    state = np.asarray(state, np.float64)
    try:
        return _in_box(field, state) if network.neuron.bounded else _krawczyk(field, state)
    except ZeroDivisionError:  # a singular Jacobian
        return None


def _in_box(field: _Field, state: np.ndarray) -> Equilibrium | None:
    low, high = field.neuron.low, field.neuron.high
    flow = np.array([float(ball.mid()) for ball in field(exact(state))[0]])
    down, up = (state <= low) & (flow < 0), (state >= high) & (flow > 0)
    inside = ~(down | up)
    balls = exact(np.where(down, low, np.where(up, high, 0.0)))
    _, jacobian = field(balls)
    inner = jacobian[np.ix_(inside, inside)]
    if inside.any():
        drive = field.current + field.coupling @ balls
        solution = matrix(-inner).solve(matrix(drive[inside])).tolist()
        balls[inside] = [row[0] for row in solution]
    flow, _ = field(balls)
    held = all(f < 0 for f in flow[down]) and all(f > 0 for f in flow[up])
    within = all(ball > low and ball < high for ball in balls[inside])
    return Equilibrium(balls, matrix(inner) if inside.any() else flint.arb_mat(0, 0)) if held and within else None


def _krawczyk(field: _Field, state: np.ndarray) -> Equilibrium | None:
    points = exact(state)
    for _ in range(6):
        flow, jacobian = field(points)
        step = matrix(jacobian).solve(matrix(flow)).tolist()
        points = np.array([flint.arb((p - row[0]).mid()) for p, row in zip(points, step, strict=True)], object)
    flow, jacobian = field(points)
    middle = np.array([[float(entry.mid()) for entry in row] for row in jacobian])
    if not np.isfinite(middle).all() or np.linalg.cond(middle) > 1e12:
        return None
    inverse = matrix(exact(np.linalg.inv(middle)))
    radius = [flint.arb(0, 1e-10 * (1 + abs(float(p.mid())))) for p in points]
    box = points + np.array(radius, object)
    _, over_box = field(box)
    size = len(points)
    identity = flint.arb_mat(np.eye(size).tolist())
    newton = inverse * matrix(flow)
    contraction = (identity - inverse * matrix(over_box)) * matrix(np.array(radius, object))
    image = [points[k] - newton[k, 0] + contraction[k, 0] for k in range(size)]
    if not all(outer.contains_interior(inner) for outer, inner in zip(box, image, strict=True)):
        return None
    return Equilibrium(np.array(image, object), matrix(over_box))
