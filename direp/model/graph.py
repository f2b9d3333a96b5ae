"""Directed graphs: which units there are, and which synapses may exist between them."""

import hashlib
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np

from . import draw
from .paths import first_difference, reachable
from .wiring import Wiring, from_matrix, from_networkx, numbered, read_csv, read_graphml
from .wiring import to_networkx as named_graph

_MOST_UNITS = 2**31 - 1
Names = Sequence[Any] | str | None


@dataclass(frozen=True, eq=False, repr=False)
class Graph:
    """Units and the synapses between them.

    Units are numbered inputs first, then hidden, then outputs. Inputs are clamped: nothing enters them. The
    others are *free*. There are no self-loops. Use the constructors `complete`, `layered`, `random`,
    `from_adjacency`, `from_edges` and `from_networkx` rather than this one.

    **Attributes:**

    - `inputs`, `hidden`, `outputs`: how many units of each kind.
    - `source`, `target`: the synapses, `source[k]` -> `target[k]`, sorted by source and then target.
    - `bias`: whether a constant-1 unit feeds every free unit. Its synapses are the biases $b_j$.
    - `layers`: sizes of the layers if the graph is layered (inputs first), else `None`.
    - `blocks`: for a layered graph, the pairs (from layer, to layer) that are fully connected. They make exactly the
      synapses: a layout reads one or the other.
    - `names`: one name a unit, used in messages and figures.
    """

    inputs: int
    hidden: int
    outputs: int
    source: np.ndarray
    target: np.ndarray
    bias: bool = True
    layers: tuple[int, ...] | None = None
    blocks: tuple[tuple[int, int], ...] = ()
    names: tuple[str, ...] = ()

    def __post_init__(self):
        for kind, least in (("inputs", 1), ("hidden", 0), ("outputs", 1)):
            count = getattr(self, kind)
            if not isinstance(count, int | np.integer) or isinstance(count, bool) or count < least:
                raise ValueError(f"Graph({kind}={count!r}) must be a whole number, {least} or more")
        if self.units > _MOST_UNITS:
            raise ValueError(f"Graph has {self.units:,} units; give at most {_MOST_UNITS:,}, which 32 bits can number")
        source, target = self._numbers("source"), self._numbers("target")
        if len(source) != len(target):
            raise ValueError(
                f"Graph(source=..., target=...) have {len(source)} and {len(target)} entries; give each one a synapse"
            )
        order = np.lexsort((target, source))
        object.__setattr__(self, "source", source[order])
        object.__setattr__(self, "target", target[order])
        if not self.names:
            object.__setattr__(self, "names", _default_names(self.inputs, self.hidden, self.outputs))
        self._check()
        self._check_layers()

    def _numbers(self, name: str) -> np.ndarray:
        """Numbers of units in 32 bits; nothing is rounded, and nothing wraps round."""
        given = np.asarray(getattr(self, name))
        if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
            raise ValueError(
                f"Graph({name}=...) is {given.dtype} of shape {given.shape}; give a row of whole numbers, one a synapse"
            )
        if given.size and (given.min() < 0 or given.max() >= self.units):
            raise ValueError(f"Graph({name}=...) has a synapse to or from a unit outside 0..{self.units - 1}")
        return given.astype(np.int32)

    def _check(self) -> None:
        source, target = self.source, self.target
        if len(self.names) != self.units:
            raise ValueError(f"Graph(names=...) has {len(self.names)} names for {self.units} units")
        for bad, why in (
            (source == target, "a synapse from a unit to itself: set the diagonal to 0 (a leak inhibits its unit)"),
            (target < self.inputs, "a synapse into an input: inputs are clamped, remove it"),
            (_repeated(source, target), "the same synapse twice: give each pair once"),
        ):
            if bad.any():
                k = int(np.argmax(bad))
                raise ValueError(f"Graph: {self.names[source[k]]} -> {self.names[target[k]]} is {why}")
        reached = reachable(self.units, source, target, np.arange(self.inputs))
        unreached = ~reached[self.inputs + self.hidden :]
        if unreached.any():
            name = self.names[self.inputs + self.hidden + int(np.argmax(unreached))]
            raise ValueError(f"Graph: no input reaches output {name}; add a path of synapses from an input to it")

    def _check_layers(self) -> None:
        """Layers and blocks make the synapses that there are, each of them and no other."""
        if self.layers is None:
            if self.blocks:
                raise ValueError(f"Graph(blocks={self.blocks}) needs layers: give their sizes, inputs first")
            return
        sizes = tuple(map(_whole, self.layers))
        count = len(sizes)
        if count < 2 or min(sizes) < 1 or (sizes[0], sum(sizes[1:-1]), sizes[-1]) != (
            self.inputs, self.hidden, self.outputs,
        ):  # fmt: skip
            raise ValueError(f"Graph(layers={self.layers}) are not the sizes of layers of {self.kinds}")
        pairs = [tuple(map(_whole, pair)) for pair in self.blocks]
        if len(set(pairs)) < len(pairs) or any(
            len(pair) != 2 or not (0 <= pair[0] < count and 1 <= pair[1] < count) for pair in pairs
        ):
            raise ValueError(
                f"Graph(blocks={self.blocks}) must be different pairs (from layer, to layer), "
                f"from 0..{count - 1} to 1..{count - 1}"
            )
        object.__setattr__(self, "layers", sizes)
        object.__setattr__(self, "blocks", tuple(pairs))
        found = first_difference(sizes, pairs, self.source, self.target)
        if found is not None:
            source, target, why = found
            raise ValueError(
                f"Graph(layers={self.layers}, blocks={self.blocks}) do not make its synapses: {self.names[source]} -> "
                f"{self.names[target]} is {why}; use Graph.layered, or leave both out"
            )

    def __repr__(self) -> str:
        layers = "" if self.layers is None else f", layers {'-'.join(map(str, self.layers))}"
        return f"Graph({self.kinds}; {self.synapses:,} synapses{layers}{'' if self.bias else ', no bias'})"

    @property
    def kinds(self) -> str:
        """How many units there are of each kind, in words."""
        ends = [
            f"{n:,} {name}{'' if n == 1 else 's'}" for n, name in ((self.inputs, "input"), (self.outputs, "output"))
        ]
        return f"{ends[0]}, {self.hidden:,} hidden, {ends[1]}"

    @property
    def units(self) -> int:
        return self.inputs + self.free

    @property
    def free(self) -> int:
        """Number of units with a state: hidden and outputs."""
        return self.hidden + self.outputs

    @property
    def synapses(self) -> int:
        return len(self.source)

    def name(self, free_unit: int) -> str:
        """Name of a free unit, counted from the first hidden one."""
        return self.names[self.inputs + free_unit]

    def adjacency(self) -> np.ndarray:
        """Boolean matrix, units x free: entry (i, j) says whether i sends to the j-th free unit."""
        matrix = np.zeros((self.units, self.free), bool)
        matrix[self.source, self.target - self.inputs] = True
        return matrix

    @cached_property
    def partner(self) -> np.ndarray:
        """For every synapse the number of the one the other way; -1 where there is none."""
        own, other = (
            np.asarray(a, np.int64) * self.units + b
            for a, b in ((self.source, self.target), (self.target, self.source))
        )
        at = np.minimum(np.searchsorted(own, other), max(len(own) - 1, 0))
        return np.where(own[at] == other, at, -1) if len(own) else at

    @property
    def reciprocity(self) -> float:
        """The share of synapses between free units that have a partner; NaN if there are no synapses between them."""
        found = self.partner[self.source >= self.inputs] >= 0
        return float(found.mean()) if len(found) else float("nan")

    @property
    def roles(self) -> tuple[str, ...]:
        """`"input"`, `"hidden"` or `"output"` for every unit."""
        return ("input",) * self.inputs + ("hidden",) * self.hidden + ("output",) * self.outputs

    def wiring(self) -> Wiring:
        """Units with their roles and synapses by name, for writers."""
        units = {name: {"role": role} for name, role in zip(self.names, self.roles, strict=True)}
        ends = zip(self.source.tolist(), self.target.tolist(), strict=True)
        return Wiring(units, {(self.names[i], self.names[j]): {} for i, j in ends}, repr(self))

    def to_networkx(self) -> nx.DiGraph:
        return named_graph(self.wiring())

    # A graph is compared by content: compiled code is reused for an equal graph.
    @cached_property
    def _digest(self) -> bytes:
        small = repr((self.inputs, self.hidden, self.outputs, self.bias, self.layers, self.blocks, self.names))
        digest = hashlib.blake2b(small.encode())
        digest.update(self.source.tobytes())
        digest.update(self.target.tobytes())
        return digest.digest()

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Graph) and self._digest == other._digest)

    def __hash__(self) -> int:
        return hash(self._digest)

    @classmethod
    def complete(cls, inputs: int, hidden: int, outputs: int, *, bias: bool = True) -> "Graph":
        """Every unit sends to every free unit but itself (inputs to outputs too)."""
        units = inputs + hidden + outputs
        source, target = np.divmod(np.arange(units * units), max(units, 1))
        keep = (source != target) & (target >= inputs)
        return cls(inputs, hidden, outputs, source[keep], target[keep], bias=bias)

    @classmethod
    def layered(
        cls,
        sizes: Sequence[int],
        *,
        feedback: bool = True,
        skip: bool = False,
        lateral: bool = False,
        bias: bool = True,
    ) -> "Graph":
        """Layers of the given sizes, inputs first and outputs last; neighbouring layers fully connected.

        `feedback` adds synapses back to the layer below (never to the inputs), `skip` joins layers that are
        not neighbours (in the same directions), `lateral` joins the units within each free layer.
        """
        sizes = tuple(int(size) for size in sizes)
        if len(sizes) < 2 or min(sizes) < 1:
            raise ValueError(
                f"Graph.layered(sizes={sizes}) needs an input and an output layer, every layer with 1 unit or more"
            )
        blocks = tuple(
            (p, q)
            for p in range(len(sizes))
            for q in range(1, len(sizes))
            if (lateral and p == q and sizes[p] > 1)
            or (p < q and (skip or q == p + 1))
            or (p > q and feedback and (skip or p == q + 1))
        )
        start = np.concatenate([[0], np.cumsum(sizes)])
        pairs = [
            np.stack(np.meshgrid(np.arange(start[p], start[p + 1]), np.arange(start[q], start[q + 1])), -1).reshape(
                -1, 2
            )
            for p, q in blocks
        ]
        source, target = np.concatenate(pairs).T
        keep = source != target
        return cls(
            sizes[0], sum(sizes[1:-1]), sizes[-1], source[keep], target[keep], bias=bias, layers=sizes, blocks=blocks
        )

    @classmethod
    def random(
        cls,
        inputs: int,
        hidden: int,
        outputs: int,
        *,
        density: float,
        reciprocity: float | None = None,
        seed: int = 0,
        bias: bool = True,
    ) -> "Graph":
        """Each synapse of the complete graph exists with probability `density`, drawn from `seed`.

        `reciprocity`: the share of synapses between free units that have a partner, from 0 (one way alone) to 1 (all
        in pairs), at the same expected number of synapses. By default chance decides, and it is about `density`.
        """
        source, target = draw.random(inputs, hidden + outputs, density, reciprocity, np.random.default_rng(seed))
        return cls(inputs, hidden, outputs, source, target, bias=bias)

    @classmethod
    def small_world(
        cls,
        inputs: int,
        hidden: int,
        outputs: int,
        *,
        neighbours: int,
        rewired: float = 0.1,
        seed: int = 0,
        bias: bool = True,
    ) -> "Graph":
        """Free units in a ring, in random order, each sending to its `neighbours` nearest ones; with probability
        `rewired` a synapse goes to a unit drawn at random instead. Every input sends to every free unit.

        Source: Watts & Strogatz (1998), with each direction of a pair drawn by itself.
        """
        source, target = draw.small_world(inputs, hidden + outputs, neighbours, rewired, np.random.default_rng(seed))
        return cls(inputs, hidden, outputs, source, target, bias=bias)

    @classmethod
    def from_edges(
        cls, edges: Iterable[tuple[Hashable, Hashable]], *, inputs: Sequence, outputs: Sequence, bias: bool = True
    ) -> "Graph":
        """From pairs (from, to) of unit names. Every unit that is neither input nor output is hidden."""
        edges, inputs, outputs = list(edges), list(inputs), list(outputs)
        both = set(inputs) & set(outputs)
        if both:
            raise ValueError(f"Graph.from_edges: {next(iter(both))} is both input and output; it can be only one")
        ends = dict.fromkeys(unit for edge in edges for unit in edge)
        hidden = [unit for unit in ends if unit not in set(inputs) and unit not in set(outputs)]
        order = [*inputs, *hidden, *outputs]
        index = {unit: k for k, unit in enumerate(order)}
        if len(index) != len(order):
            raise ValueError("Graph.from_edges: a unit is named twice among inputs or outputs")
        source, target = np.array([[index[i], index[j]] for i, j in edges], np.int32).reshape(-1, 2).T
        names = tuple(str(unit) for unit in order)
        return cls(len(inputs), len(hidden), len(outputs), source, target, bias=bias, names=names)

    @classmethod
    def from_adjacency(
        cls, adjacency: np.ndarray, *, inputs: Sequence[int], outputs: Sequence[int], bias: bool = True
    ) -> "Graph":
        """From a square matrix whose entry (i, j) is non-zero where unit i sends to unit j.

        `inputs` and `outputs` are row numbers. Hidden units keep the order of their rows.
        """
        adjacency = np.asarray(adjacency)
        if adjacency.ndim != 2 or adjacency.shape[0] != adjacency.shape[1]:
            raise ValueError(f"Graph.from_adjacency needs a square matrix, not one of shape {adjacency.shape}")
        units = len(adjacency)
        ends = [int(k) for k in (*inputs, *outputs)]
        if any(not 0 <= k < units for k in ends):
            raise ValueError(f"Graph.from_adjacency: inputs and outputs must be row numbers 0..{units - 1}, not {ends}")
        hidden = [k for k in range(units) if k not in set(ends)]
        order = [*(int(k) for k in inputs), *hidden, *(int(k) for k in outputs)]
        if len(set(order)) != len(order):
            raise ValueError("Graph.from_adjacency: a unit is named twice among inputs and outputs")
        place = np.argsort(np.array(order))
        source, target = np.nonzero(adjacency)
        names = tuple(str(k) for k in order)
        return cls(len(inputs), len(hidden), len(outputs), place[source], place[target], bias=bias, names=names)

    @classmethod
    def from_networkx(
        cls, graph: nx.Graph, *, inputs: Names = None, outputs: Names = None, bias: bool = True
    ) -> "Graph":
        """From a networkx graph; an undirected edge becomes two synapses, except into inputs.

        `inputs`, `outputs`: nodes, in the order that they get, or a pattern such as `"SENS_*"`; by default the nodes
        whose attribute `role` says so. `Connectome.from_networkx` reads weights and signs too.
        """
        return cls.from_wiring(from_networkx(graph), inputs=inputs, outputs=outputs, bias=bias)

    @classmethod
    def from_scipy(
        cls, matrix: Any, *, inputs: Names, outputs: Names, names: Sequence | None = None, bias: bool = True
    ) -> "Graph":
        """By the entries of a square sparse matrix. `inputs` and `outputs` are `names`, by default row numbers."""
        wiring = from_matrix(matrix, names, "Graph.from_scipy")
        return cls.from_wiring(wiring, inputs=inputs, outputs=outputs, bias=bias)

    @classmethod
    def from_csv(cls, path: str | Path, *, inputs: Names = None, outputs: Names = None, bias: bool = True) -> "Graph":
        """From a CSV file, as `Connectome.from_csv`, without its weights."""
        return cls.from_wiring(read_csv(path), inputs=inputs, outputs=outputs, bias=bias)

    @classmethod
    def from_graphml(
        cls, path: str | Path, *, inputs: Names = None, outputs: Names = None, bias: bool = True
    ) -> "Graph":
        """From a GraphML file, as `Connectome.from_graphml`, without its weights."""
        return cls.from_wiring(read_graphml(path), inputs=inputs, outputs=outputs, bias=bias)

    @classmethod
    def from_wiring(cls, wiring: Wiring, *, inputs: Names, outputs: Names, bias: bool = True) -> "Graph":
        """From units and synapses by name."""
        found = numbered(wiring, inputs, outputs)
        if found.loop.any():
            name = found.names[found.inputs + int(np.argmax(found.loop != 0))]
            raise ValueError(
                f"Graph: {name} -> {name} is a synapse from a unit to itself: set the diagonal to 0, or use "
                "Connectome, which folds it into the leak"
            )
        return cls(*found[:3], found.source, found.target, bias=bias, names=found.names)


def _whole(number: int) -> int:
    if not isinstance(number, int | np.integer) or isinstance(number, bool):
        raise ValueError(f"Graph(layers=..., blocks=...) have {number!r} in them; give whole numbers")
    return int(number)


def _default_names(inputs: int, hidden: int, outputs: int) -> tuple[str, ...]:
    kinds = (("x", inputs), ("h", hidden), ("o", outputs))
    return tuple(f"{letter}{k}" for letter, count in kinds for k in range(count))


def _repeated(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Marks a synapse that equals the one before it, in sorted order."""
    again = (source[1:] == source[:-1]) & (target[1:] == target[:-1])
    return np.concatenate([[False], again]) if len(source) else np.zeros(0, bool)
