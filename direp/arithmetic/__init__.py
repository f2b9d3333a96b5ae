"""Numbers that hold the exact result: balls (python-flint), intervals, first-order and quadratic forms on arrays."""

from .affine import Affine, apply, constant, contract, inverse, solve, transform
from .ball import exact, matrix, positive_definite, precise
from .form import Form, Near
from .interval import Interval, Ramp, Shape, Smooth, down, up

__all__ = [
    "Affine", "Form", "Interval", "Near", "Ramp", "Shape", "Smooth", "apply", "constant", "contract", "down", "exact",
    "inverse", "matrix", "positive_definite", "precise", "solve", "transform", "up",
]  # fmt: skip
