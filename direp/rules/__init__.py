"""Costs, nudges and learning rules: what runs after the free phase, and the gradient estimate made of it."""

from .adjoint import Adjoint, AdjointField, limit_response, state_gradient
from .alignment import cosine, inner
from .asymmetric import AsymEP, Dyadic
from .base import AbstractRule, estimate
from .bptt import BPTT
from .cost import AbstractCost, CrossEntropy, SquaredError
from .directed import agreement, antisymmetry
from .feedback import (
    AbstractFeedback,
    Companions,
    FixedFeedback,
    LearnedFeedback,
    SharedFeedback,
    alike,
    beside,
    by_companions,
    companions,
    feedback_of,
    with_companions,
)  # fmt: skip
from .homeostasis import Homeostasis, without_penalty
from .learned import Learned, initialise, parameters_of, with_parameters
from .local import Local
from .nudge import AbstractNudge, Centred, Fading, Nudged, OneSided, RandomSign, nudges_of
from .phases import FieldPhase, RuleRun, phases_of, with_nudge
from .problem import Estimate, Problem, Response
from .safeguard import Safeguard
from .symmetric import SymmetricEP
from .trajectory import Trajectory
from .vector_field import VectorField

__all__ = [
    "BPTT", "AbstractCost", "AbstractFeedback", "AbstractNudge", "AbstractRule", "Adjoint", "AdjointField",
    "AsymEP", "Centred", "Companions", "CrossEntropy", "Dyadic", "Estimate", "Fading", "FieldPhase",
    "FixedFeedback", "Homeostasis", "Learned", "LearnedFeedback", "Local", "Nudged", "OneSided", "Problem",
    "RandomSign", "Response", "RuleRun", "Safeguard", "SharedFeedback", "SquaredError", "SymmetricEP", "Trajectory",
    "VectorField", "agreement", "alike", "antisymmetry", "beside", "by_companions", "companions", "cosine", "estimate",
    "feedback_of", "initialise", "inner", "limit_response", "nudges_of", "parameters_of", "phases_of", "state_gradient",
    "with_companions", "with_nudge", "with_parameters", "without_penalty",
]  # fmt: skip
