"""Certificates: what is proved of a network, by which criterion, under which assumptions."""

from .certificate import Certificate, Remedy
from .compartmental import Compartmental
from .convergence import CASCADE, certify
from .criterion import AbstractCriterion
from .diagonal import AbstractDiagonal, LocalLeak, Perron, Rows, contraction_margin, sharpest_margin
from .euclidean import LMI, Symmetric
from .refute import Counterexample

__all__ = [
    "CASCADE", "LMI", "AbstractCriterion", "AbstractDiagonal", "Certificate", "Compartmental", "Counterexample",
    "LocalLeak", "Perron", "Remedy", "Rows", "Symmetric", "certify", "contraction_margin",
    "sharpest_margin",
]  # fmt: skip
