"""Directed graphs: which units there are, and which synapses may exist between them."""

import hashlib
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import networkx as nx
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order


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
    - `blocks`: for a layered graph, the pairs (from layer, to layer) that are fully connected.
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
            if not isinstance(count, int | np.integer) or count < least:
                raise ValueError(f"Graph({kind}={count!r}) must be a whole number, {least} or more")
        source, target = np.asarray(self.source, np.int32), np.asarray(self.target, np.int32)
        order = np.lexsort((target, source))
        object.__setattr__(self, "source", source[order])
        object.__setattr__(self, "target", target[order])
        if not self.names:
            object.__setattr__(self, "names", _default_names(self.inputs, self.hidden, self.outputs))
        self._check()

    def _check(self) -> None:
        source, target = self.source, self.target
        if len(self.names) != self.units:
            raise ValueError(f"Graph(names=...) has {len(self.names)} names for {self.units} units")
        if source.size and (min(source.min(), target.min()) < 0 or max(source.max(), target.max()) >= self.units):
            raise ValueError(f"Graph has a synapse to or from a unit outside 0..{self.units - 1}")
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

    def to_networkx(self) -> nx.DiGraph:
        graph = nx.DiGraph()
        kinds = ["input"] * self.inputs + ["hidden"] * self.hidden + ["output"] * self.outputs
        graph.add_nodes_from((name, {"kind": kind}) for name, kind in zip(self.names, kinds, strict=True))
        graph.add_edges_from((self.names[i], self.names[j]) for i, j in zip(self.source, self.target, strict=True))
        return graph

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
        cls, inputs: int, hidden: int, outputs: int, *, density: float, seed: int = 0, bias: bool = True
    ) -> "Graph":
        """Each synapse of the complete graph exists with probability `density`, drawn from `seed`."""
        if not 0 < density <= 1:
            raise ValueError(f"Graph.random(density={density}) must be above 0 and at most 1")
        rng = np.random.default_rng(seed)
        units, free = inputs + hidden + outputs, hidden + outputs
        # Drawn as positions, so that a large sparse graph never forms a matrix.
        count = rng.binomial(units * free, density)
        place = np.unique(rng.integers(0, units * free, size=count))
        while len(place) < count:
            place = np.unique(np.concatenate([place, rng.integers(0, units * free, size=count - len(place))]))
        source, target = np.divmod(place, max(free, 1))
        keep = source != target + inputs
        return cls(inputs, hidden, outputs, source[keep], target[keep] + inputs, bias=bias)

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
    def from_networkx(cls, graph: nx.Graph, *, inputs: Sequence, outputs: Sequence, bias: bool = True) -> "Graph":
        """From a networkx graph; an undirected edge becomes two synapses, except into inputs."""
        edges = list(graph.edges())
        if not graph.is_directed():
            edges += [(j, i) for i, j in edges]
            edges = [(i, j) for i, j in edges if j not in set(inputs)]
        missing = [unit for unit in (*inputs, *outputs) if unit not in graph]
        if missing:
            raise ValueError(f"Graph.from_networkx: the graph has no unit {missing[0]!r}")
        return cls.from_edges(edges, inputs=inputs, outputs=outputs, bias=bias)


def reachable(units: int, source: np.ndarray, target: np.ndarray, begin: np.ndarray) -> np.ndarray:
    """Which units a path along `source` -> `target` reaches from some of `begin`: a search from an extra unit there."""
    source = np.concatenate([source, np.full(len(begin), units)])
    target = np.concatenate([target, begin])
    links = coo_array((np.ones(len(source), np.int8), (source, target)), shape=(units + 1, units + 1)).tocsr()
    seen = np.zeros(units + 1, bool)
    seen[breadth_first_order(links, units, return_predecessors=False)] = True
    return seen[:units]


def _default_names(inputs: int, hidden: int, outputs: int) -> tuple[str, ...]:
    kinds = (("x", inputs), ("h", hidden), ("o", outputs))
    return tuple(f"{letter}{k}" for letter, count in kinds for k in range(count))


def _repeated(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Marks a synapse that equals the one before it, in sorted order."""
    again = (source[1:] == source[:-1]) & (target[1:] == target[:-1])
    return np.concatenate([[False], again]) if len(source) else np.zeros(0, bool)
