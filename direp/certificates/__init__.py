"""Certificates: what is proved of a network and of a rule, by which criterion, under which assumptions."""

from .convergence import (
    CASCADE,
    LMI,
    AbstractCriterion,
    AbstractDiagonal,
    Certificate,
    Compartmental,
    Counterexample,
    LocalLeak,
    Perron,
    Remedy,
    Rows,
    Symmetric,
    certify,
    contraction_margin,
    sharpest_margin,
)  # fmt: skip
from .learning import LearningCertificate, certify_learning

__all__ = [
    "CASCADE", "LMI", "AbstractCriterion", "AbstractDiagonal", "Certificate", "Compartmental", "Counterexample",
    "LearningCertificate", "LocalLeak", "Perron", "Remedy", "Rows", "Symmetric", "certify", "certify_learning",
    "contraction_margin", "sharpest_margin",
]  # fmt: skip
