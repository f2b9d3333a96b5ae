"""Does a network settle? Criteria that prove it, and a search for counter-examples that refutes it."""

from .between import Between
from .cascade import CASCADE, certify
from .certificate import Attempt, Certificate, Judged, Proof, Remedy, Verdict, as_data, html_table
from .circle import Circle
from .compartmental import Compartmental
from .criterion import AbstractCriterion
from .diagonal import AbstractDiagonal, LocalLeak, Perron, Rows, contraction_margin, prove, sharpest_margin
from .equilibria import BallField, Equilibrium, enclose, solve
from .euclidean import LMI, AbstractEuclidean, Symmetric
from .mismatch import Mismatch, Varied, largest_mismatch, quantised
from .norm import L1, L2, AbstractNorm, Euclidean, LInf
from .perron import perron_weights
from .refute import Counterexample, search
from .slopes import Slopes
from .spectral import Spectral
from .system import System, refuse_tracing
from .vertices import Vertices
from .within import Within

__all__ = [
    "CASCADE", "L1", "L2", "LMI", "AbstractCriterion", "AbstractDiagonal", "AbstractEuclidean", "AbstractNorm",
    "Attempt", "BallField", "Between", "Certificate", "Circle", "Compartmental", "Counterexample", "Equilibrium",
    "Euclidean", "Judged", "LInf", "LocalLeak", "Mismatch", "Perron", "Proof", "Remedy", "Rows", "Slopes",
    "Spectral", "Symmetric", "System", "Varied", "Verdict", "Vertices", "Within", "as_data", "certify",
    "contraction_margin", "enclose", "html_table", "largest_mismatch", "perron_weights", "prove", "quantised",
    "refuse_tracing", "search", "sharpest_margin", "solve",
]  # fmt: skip
