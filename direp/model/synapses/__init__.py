"""Where the weights lie in memory, behind one interface: dense, layered blocks, sparse edges, a user's own."""

from .auto import lay_out
from .base import AbstractSynapses, Weight
from .dense import Dense
from .layered import Layered
from .linear import LinearMap
from .sparse import Sparse

__all__ = ["AbstractSynapses", "Dense", "Layered", "LinearMap", "Sparse", "Weight", "lay_out"]
