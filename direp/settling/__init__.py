"""How a network comes to rest: one loop, a result for every sample, methods (a small file each), trajectories."""

from .checks import check_count, check_kind, check_number
from .door import ContractionProof, how_to_settle, persist, settle, unless_it_repels
from .linear import Linearisation, linearise, movable
from .loop import Observer, run
from .methods import (
    AbstractMethod,
    Anderson,
    Coloured,
    Euler,
    Fallback,
    Implicit,
    Newton,
    Preconditioned,
    choose_method,
)
from .ode import ODE, trajectory
from .programs import compiled, keep_programs, traced, within_trace
from .result import CONVERGED, CYCLING, MAX_STEPS, NON_FINITE, RESULTS, UNMOVED, Settled
from .stability import attracts
from .stop import AbstractStop, Steps, Tolerance

__all__ = [
    "CONVERGED", "CYCLING", "MAX_STEPS", "NON_FINITE", "ODE", "RESULTS", "UNMOVED", "AbstractMethod",
    "AbstractStop", "Anderson", "Coloured", "ContractionProof", "Euler", "Fallback", "Implicit", "Linearisation",
    "Newton", "Observer", "Preconditioned", "Settled", "Steps", "Tolerance", "attracts", "check_count",
    "check_kind", "check_number", "choose_method", "compiled", "how_to_settle", "keep_programs", "linearise",
    "movable", "persist", "run", "settle", "traced", "trajectory",
    "unless_it_repels", "within_trace",
]  # fmt: skip
