"""Where the weights lie in memory, behind one interface: dense with a mask, layered blocks, or sparse edges."""

from .auto import lay_out
from .base import AbstractSynapses, Weight
from .dense import Dense
from .layered import Layered
from .sparse import Sparse

__all__ = ["AbstractSynapses", "Dense", "Layered", "Sparse", "Weight", "lay_out"]
