from ...model import Network
from .anderson import Anderson
from .base import AbstractMethod
from .coloured import Coloured
from .preconditioned import Preconditioned

_SMALL = 64


def choose_method(network: Network) -> AbstractMethod:
    """The method that settles a network fastest, by its graph and size alone; measured by `benchmarks/speed.py`.

    `Coloured` for layers that can be coloured, `Preconditioned` for small networks, `Anderson` for large ones, of two
    states: a third saves few steps and slows down all.
    """
    if Coloured.suits(network):
        return Coloured()
    return Preconditioned() if network.graph.free <= _SMALL else Anderson(memory=2)
