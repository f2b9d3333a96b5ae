"""Learning rules. A new rule is one file here: which phases it runs, and what the synapses make of them."""

from .adjoint import Adjoint
from .asymmetric import AsymEP, Dyadic
from .base import AbstractNudgedRule, AbstractRule, Estimate, estimate
from .bptt import BPTT
from .homeostasis import Homeostasis, antisymmetry
from .local import Local
from .safeguard import Safeguard
from .symmetric import SymmetricEP
from .trajectory import Trajectory
from .vector_field import VectorField

__all__ = [
    "BPTT", "AbstractNudgedRule", "AbstractRule", "Adjoint", "AsymEP", "Dyadic", "Estimate", "Homeostasis", "Local",
    "Safeguard", "SymmetricEP", "Trajectory", "VectorField", "antisymmetry", "estimate",
]  # fmt: skip
