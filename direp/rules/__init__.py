"""Learning rules. A new rule is one file here: which phases it runs, and what the synapses make of them."""

from .adjoint import Adjoint
from .base import AbstractRule, Estimate, estimate
from .local import Local
from .trajectory import Trajectory

__all__ = ["AbstractRule", "Adjoint", "Estimate", "Local", "Trajectory", "estimate"]
