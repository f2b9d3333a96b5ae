"""A box of networks and inputs: every number between two ends."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Num

from ...model import Network
from ..convergence import refuse_tracing
from .states import Family

_LARGEST = 8  # free units


@dataclass(frozen=True)
class Box:
    """Networks between `low` and `high`, entry by entry, and inputs between `x_low` and `x_high` (one number each).

    Both have the same graph and neuron, and up to 8 free units. Raises `ValueError` otherwise.
    """

    low: Network
    high: Network
    x_low: Num[ArrayLike, " input"]
    x_high: Num[ArrayLike, " input"]

    def __post_init__(self):
        refuse_tracing("Box", self.low, self.high, self.x_low, self.x_high)
        graph = self.low.graph
        self.low.synapses.refuse_shared("certify_region")
        if self.high.graph != graph or type(self.high.neuron) is not type(self.low.neuron):
            raise ValueError("Box(low=..., high=...) are networks of different graphs or neurons; give one of each")
        if self.high.neuron != self.low.neuron:
            raise ValueError("Box(low=..., high=...) differ in activation, outflow or bounds of the neuron; give one")
        if graph.free > _LARGEST:
            raise ValueError(f"Box(low=...) has {graph.free} free units; certify_region takes up to {_LARGEST}")
        for name in ("x_low", "x_high"):
            value = np.asarray(getattr(self, name), np.float64)
            if value.shape != (graph.inputs,) or not np.isfinite(value).all():
                raise ValueError(f"Box({name}=...) has shape {value.shape}; needed are {graph.inputs} finite numbers")
        Family(self.low, self.least, np.zeros(0, int))  # names an activation that cannot be enclosed
        bad = np.flatnonzero(self.least > self.most)
        if len(bad):
            raise ValueError(f"Box: {self.names[bad[0]]} has low above high; low must be at most high")

    @classmethod
    def around(
        cls,
        network: Network,
        x: Num[ArrayLike, " input"],
        *,
        weight: Num[ArrayLike, "..."] = 0.1,
        leak: Num[ArrayLike, "..."] = 0.0,
        bias: Num[ArrayLike, "..."] = 0.0,
        x_radius: Num[ArrayLike, "..."] = 0.0,
    ) -> "Box":
        """All networks and inputs up to a distance from the ones given, entry by entry.

        **Arguments:**

        - `weight`: distance for every synapse: a number or a matrix (units x free). What is no synapse stays zero.
        - `leak`, `bias`: a number, or one for each free unit. `x_radius`: a number, or one for each input.

        Raises `ValueError` for distances that are negative, of another shape, or take a leak below zero.
        """
        graph = network.graph
        x = np.asarray(x, np.float64)
        if x.shape != (graph.inputs,):
            raise ValueError(f"Box.around(x=...) has shape {x.shape}; needed are {graph.inputs} numbers, one an input")
        shapes = {"weight": (graph.units, graph.free), "leak": (graph.free,), "bias": (graph.free,)}
        given = {"weight": weight, "leak": leak, "bias": bias, "x_radius": x_radius}
        far = {}
        for name, value in given.items():
            value = np.asarray(value, np.float64)
            shape = shapes.get(name, (graph.inputs,))
            if value.shape not in ((), shape) or not (np.isfinite(value) & (value >= 0)).all():
                raise ValueError(f"Box.around({name}=...) must be a number of 0 or above, or an array {shape} of them")
            far[name] = np.broadcast_to(value, shape)
        matrix, names = np.asarray(network.matrix, np.float64), graph.names[graph.inputs :]
        leaks = np.asarray(network.leak, np.float64)
        below = np.flatnonzero(leaks < far["leak"])
        if len(below):
            k = below[0]
            raise ValueError(
                f"Box.around(leak={far['leak'][k]:g}) takes the leak of {names[k]} below 0; at most {leaks[k]:g}"
            )
        synapse = graph.adjacency()
        biased = far["bias"] * float(graph.bias)
        ends = [
            _network(
                network,
                np.where(synapse, matrix + sign * far["weight"], 0),
                np.asarray(network.bias, np.float64) + sign * biased,
                leaks + sign * far["leak"],
            )
            for sign in (-1, 1)
        ]
        return cls(*ends, x - far["x_radius"], x + far["x_radius"])

    @cached_property
    def least(self) -> np.ndarray:
        """All numbers in one vector: the matrix row by row, biases, leaks, inputs."""
        return vector(self.low, np.asarray(self.x_low))

    @cached_property
    def most(self) -> np.ndarray:
        return vector(self.high, np.asarray(self.x_high))

    @property
    def names(self) -> tuple[str, ...]:
        """One name for every number."""
        graph = self.low.graph
        free = graph.names[graph.inputs :]
        weights = [f"{i} -> {j}" for i in graph.names for j in free]
        return (*weights, *(f"bias {j}" for j in free), *(f"leak {j}" for j in free), *graph.names[: graph.inputs])

    @property
    def varying(self) -> np.ndarray:
        """Which of the numbers vary: the coordinates of the box."""
        return np.flatnonzero(self.least < self.most)

    def point(self, values: np.ndarray) -> tuple[Network, np.ndarray]:
        """The network and the input with these values of the coordinates."""
        flat = self.least.copy()
        flat[self.varying] = values
        graph = self.low.graph
        weight, bias, leak, x = np.split(flat, np.cumsum([graph.units * graph.free, graph.free, graph.free]))
        return _network(self.low, weight.reshape(graph.units, graph.free), bias, leak), x


def _network(like: Network, matrix: np.ndarray, bias: np.ndarray, leak: np.ndarray) -> Network:
    graph = like.graph
    return Network(
        graph, like.neuron, matrix, leak=leak, bias=bias if graph.bias else None, layout=like.synapses, dtype=like.dtype
    )


def vector(network: Network, x: np.ndarray) -> np.ndarray:
    """All numbers of a network and an input: the matrix row by row, biases, leaks, inputs."""
    parts = (np.ravel(network.matrix), network.bias, network.leak, x)
    return np.concatenate([np.asarray(part, np.float64) for part in parts])
