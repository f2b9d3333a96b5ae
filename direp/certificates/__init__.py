"""Certificates: what is proved of a network, by which criterion, under which assumptions."""

from .certificate import Certificate, Remedy
from .compartmental import Compartmental
from .convergence import CASCADE, certify
from .criterion import AbstractCriterion
from .descent import certify_learning
from .diagonal import AbstractDiagonal, LocalLeak, Perron, Rows, contraction_margin, sharpest_margin
from .euclidean import LMI, Symmetric
from .learning_certificate import LearningCertificate
from .refute import Counterexample

__all__ = [
    "CASCADE", "LMI", "AbstractCriterion", "AbstractDiagonal", "Certificate", "Compartmental", "Counterexample",
    "LearningCertificate", "LocalLeak", "Perron", "Remedy", "Rows", "Symmetric", "certify",
    "certify_learning", "contraction_margin", "sharpest_margin",
]  # fmt: skip
