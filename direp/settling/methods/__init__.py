"""How a batch of states is moved towards equilibrium: one small file a method."""

from .anderson import Anderson
from .auto import choose_method
from .base import AbstractMethod
from .coloured import Coloured
from .euler import Euler
from .fallback import Fallback
from .implicit import Implicit
from .newton import Newton
from .preconditioned import Preconditioned

__all__ = [
    "AbstractMethod", "Anderson", "Coloured", "Euler", "Fallback", "Implicit", "Newton", "Preconditioned",
    "choose_method",
]  # fmt: skip
