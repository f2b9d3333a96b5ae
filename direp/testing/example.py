"""Small networks and batches on which laws are tried."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np

from ..model import AbstractNeuron, Graph, Network, Projected
from ..rules import AbstractCost, CrossEntropy, SquaredError

Check = TypeVar("Check", bound=Callable)


def in_64_bits(check: Check) -> Check:
    """A check whose tolerances are those of 64 bits, whatever the session computes in."""

    @functools.wraps(check)
    def wide(*arguments: Any, **settings: Any) -> Any:
        with jax.enable_x64(True):
            return check(*arguments, **settings)

    return wide  # pyright: ignore[reportReturnType]


COSTS: tuple[AbstractCost, ...] = (SquaredError(), CrossEntropy(1.5))


def example(neuron: AbstractNeuron | None = None, seed: int = 0) -> Network:
    """Two inputs, three hidden units, two outputs, every synapse; enough leak to settle."""
    graph = Graph.complete(2, 3, 2)
    rng = np.random.default_rng(seed)
    matrix = np.where(graph.adjacency(), rng.normal(0, 0.2, (graph.units, graph.free)), 0)
    leak, bias = 2 + rng.random(graph.free), rng.normal(0.9, 0.2, graph.free)
    return Network(graph, neuron or Projected(), matrix, leak=leak, bias=bias, dtype=np.float64)


def batch(network: Network, size: int = 4, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Inputs in [0, 1], and targets that are shares of one, so that they suit every cost."""
    rng = np.random.default_rng(seed)
    y = rng.random((size, network.graph.outputs))
    return rng.random((size, network.graph.inputs)), y / y.sum(1, keepdims=True)


def holds(law: bool, words: str) -> None:
    """Raise `AssertionError`, under `python -O` too."""
    if not bool(law):
        raise AssertionError(words)


def close(a: object, b: object, words: str, tolerance: float = 1e-9) -> None:
    """Two trees agree, leaf by leaf, relative to the largest entry of the second."""
    one, two = (jax.tree.leaves(jax.device_get(tree)) for tree in (a, b))
    size = max((float(np.abs(leaf).max(initial=0)) for leaf in two), default=0.0)
    worst = max((float(np.abs(np.asarray(p) - q).max(initial=0)) for p, q in zip(one, two, strict=True)), default=0.0)
    holds(worst <= tolerance * (size + 1e-12), f"{words}: they differ by {worst:.3g}, of {size:.3g}")
