"""Numbers that hold the exact result: balls (python-flint), intervals, first-order and quadratic forms on arrays. And
plain ones that are known already, on the host."""

from .affine import Affine, apply, constant, contract, inverse, solve, transform
from .ball import around_zero, exact, matrix, positive_definite, precise
from .decimals import at_least, at_most
from .definite import certainly_positive
from .form import Form, Near
from .host import opened, placed, put, space
from .interval import Interval, Ramp, Shape, Smooth, down, up

__all__ = [
    "Affine", "Form", "Interval", "Near", "Ramp", "Shape", "Smooth", "apply", "around_zero", "at_least", "at_most",
    "certainly_positive", "constant", "contract", "down", "exact", "inverse", "matrix", "opened", "placed",
    "positive_definite", "precise", "put", "solve", "space", "transform", "up",
]  # fmt: skip
