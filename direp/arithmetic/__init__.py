"""Numbers that hold the exact result: balls (python-flint), intervals and first-order forms on NumPy arrays."""

from .affine import Affine, apply, constant, contract, inverse, solve, transform
from .ball import exact, matrix, positive_definite, precise
from .interval import Interval, Ramp, Shape, Smooth, down, up

__all__ = [
    "Affine", "Interval", "Ramp", "Shape", "Smooth", "apply", "constant", "contract", "down", "exact", "inverse",
    "matrix", "positive_definite", "precise", "solve", "transform", "up",
]  # fmt: skip
