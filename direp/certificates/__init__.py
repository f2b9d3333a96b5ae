"""Certificates: what is proved of a network, by which criterion, under which assumptions."""

from .certificate import Certificate
from .convergence import certify, contraction_margin

__all__ = ["Certificate", "certify", "contraction_margin"]
