"""Does a network settle? Criteria that prove it, and a search for counter-examples that refutes it."""

from .cascade import CASCADE, certify
from .certificate import Attempt, Certificate, Proof, Remedy, Verdict, sentence
from .compartmental import Compartmental
from .criterion import AbstractCriterion
from .diagonal import AbstractDiagonal, LocalLeak, Perron, Rows, contraction_margin, prove, sharpest_margin
from .equilibria import BallField, Equilibrium, Nudge, enclose
from .euclidean import LMI, AbstractEuclidean, Symmetric
from .norm import L1, AbstractNorm, Euclidean, LInf
from .perron import noda, perron_weights
from .refute import Counterexample, Findings, search
from .remedy import remedy
from .system import DENSE_UP_TO, System, refuse_tracing

__all__ = [
    "CASCADE", "DENSE_UP_TO", "L1", "LMI", "AbstractCriterion", "AbstractDiagonal", "AbstractEuclidean",
    "AbstractNorm", "Attempt", "BallField", "Certificate", "Compartmental", "Counterexample", "Equilibrium",
    "Euclidean", "Findings", "LInf", "LocalLeak", "Nudge", "Perron", "Proof", "Remedy", "Rows", "Symmetric",
    "System", "Verdict", "certify", "contraction_margin", "enclose", "noda", "perron_weights", "prove",
    "refuse_tracing", "remedy", "search", "sentence", "sharpest_margin",
]  # fmt: skip
