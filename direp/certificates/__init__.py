"""Certificates: what is proved of a network and of a rule, by which criterion, under which assumptions."""

from .convergence import (
    CASCADE,
    LMI,
    AbstractCriterion,
    AbstractDiagonal,
    Between,
    Certificate,
    Circle,
    Compartmental,
    Counterexample,
    LocalLeak,
    Mismatch,
    Perron,
    Remedy,
    Rows,
    Slopes,
    Spectral,
    Symmetric,
    Vertices,
    certify,
    contraction_margin,
    quantised,
    sharpest_margin,
)  # fmt: skip
from .learning import FeedbackBound, LearningCertificate, bound_feedback, certify_learning, updates_to_descent

__all__ = [
    "CASCADE", "LMI", "AbstractCriterion", "AbstractDiagonal", "Between", "Certificate", "Circle", "Compartmental",
    "Counterexample", "FeedbackBound", "LearningCertificate", "LocalLeak", "Mismatch", "Perron", "Remedy", "Rows",
    "Slopes", "Spectral", "Symmetric", "Vertices", "bound_feedback", "certify", "certify_learning",
    "contraction_margin", "quantised", "sharpest_margin", "updates_to_descent",
]  # fmt: skip
