"""Costs, nudges and learning rules: what runs after the free phase, and the gradient estimate made of it."""

from .adjoint import Adjoint, AdjointField, state_gradient
from .alignment import cosine, inner
from .asymmetric import AsymEP, Dyadic
from .base import AbstractNudgedRule, AbstractRule, Estimate, Phases, estimate
from .bptt import BPTT
from .cost import AbstractCost, CrossEntropy, SquaredError
from .homeostasis import Homeostasis
from .local import Local
from .nudge import AbstractNudge, Centred, Fading, Nudged, OneSided, RandomSign
from .response import jacobian, limit_response
from .safeguard import Safeguard
from .symmetric import SymmetricEP
from .trajectory import Trajectory
from .vector_field import VectorField

__all__ = [
    "BPTT", "AbstractCost", "AbstractNudge", "AbstractNudgedRule", "AbstractRule", "Adjoint", "AdjointField",
    "AsymEP", "Centred", "CrossEntropy", "Dyadic", "Estimate", "Fading", "Homeostasis", "Local", "Nudged",
    "OneSided", "Phases", "RandomSign", "Safeguard", "SquaredError", "SymmetricEP", "Trajectory", "VectorField",
    "cosine", "estimate", "inner", "jacobian", "limit_response", "state_gradient",
]  # fmt: skip
