"""Connectomes: a graph with what is known of its synapses, read from files and libraries and written back."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import scipy.sparse

from .graph import Graph, Names
from .network import Network
from .neuron import AbstractNeuron
from .synapses import AbstractSynapses, lay_out
from .wiring import (
    Wiring,
    flag,
    from_matrix,
    from_networkx,
    numbered,
    read_csv,
    read_graphml,
    to_dataframe,
    to_networkx,
    to_scipy,
    write_csv,
    write_graphml,
)


def _sum_below(one: Any, other: np.ndarray) -> np.ndarray:
    """A sum of 64-bit numbers, where it is not exact the next one below it."""
    total = one + other
    part = total - one
    lost = (one - (total - part)) + (other - part)  # Knuth: what rounding has taken, exactly
    return np.where(lost < 0, np.nextafter(total, -np.inf), total)


@dataclass(frozen=True, eq=False, repr=False)
class Connectome:
    r"""A graph with the weights and signs of its synapses, and whatever else a file says of units and synapses.

    Read with `from_csv`, `from_graphml`, `from_networkx`, `from_scipy` or `from_adjacency`. All take

    - `inputs`, `outputs`: names of sensory and read-out units, in the order that they get; or a pattern such as
      `"SENS_*"`, in the order of the file; by default the units whose `role` says so (input or sensory; output, readout
      or read-out; hidden or interneuron).
    - `bias`: whether every free unit has a bias.
    - `into_inputs`: inputs are clamped, and synapses into them are refused (`"refuse"`) or left out (`"drop"`).

    **Attributes:**

    - `graph`: the units, named as in the file, and their synapses.
    - `weight`: one a synapse, in the order of the graph, as it was read; 1 where there are none.
    - `sign`: one a synapse, 1, -1 or 0 (free); its own, else that of its source. `None` if the file has none.
    - `loop`: the weight of each free unit's synapse to itself; 0 without one.
    - `leak`, `bias`: one a free unit, or `None`.
    - `units`, `synapses`: further attributes of each, written back as they were.
    """

    graph: Graph
    weight: np.ndarray
    sign: np.ndarray | None
    loop: np.ndarray
    leak: np.ndarray | None = None
    bias: np.ndarray | None = None
    units: tuple[dict[str, Any], ...] = ()
    synapses: tuple[dict[str, Any], ...] = ()

    def __repr__(self) -> str:
        signs = (
            "no signs"
            if self.sign is None
            else f"{(self.sign > 0).sum():,} excitatory, {(self.sign < 0).sum():,} inhibitory"
        )
        loops = f", {count} self-synapse{'s' if count > 1 else ''}" if (count := np.count_nonzero(self.loop)) else ""
        return f"Connectome({self.graph.kinds}; {self.graph.synapses:,} synapses, {signs}{loops})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Connectome):
            return NotImplemented
        mine, theirs = (
            [each is not None and each.tobytes() for each in (c.weight, c.sign, c.loop, c.leak, c.bias)]
            for c in (self, other)
        )
        return (
            self.graph == other.graph
            and mine == theirs
            and (self.units, self.synapses) == (other.units, other.synapses)
        )

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    @property
    def strength(self) -> np.ndarray:
        """Weights with their signs: sign x size where there is a sign, else the weight as it is."""
        return (
            self.weight if self.sign is None else np.where(self.sign != 0, self.sign * np.abs(self.weight), self.weight)
        )

    @property
    def fixed(self) -> np.ndarray | None:
        """Which synapses are marked as fixed (attribute `fixed`); `None` if there is no such mark."""
        if not any("fixed" in each for each in self.synapses):
            return None
        return np.array([flag(each.get("fixed", False), "Connectome") for each in self.synapses], bool)

    def network(
        self,
        neuron: AbstractNeuron,
        weight: Any = None,
        *,
        leak: Any = None,
        bias: Any = None,
        key: Any = None,
        layout: AbstractSynapses | None = None,
        dtype: Any = None,
    ) -> Network:
        r"""A network of these synapses.

        A unit's synapse to itself of weight $w$ adds $ws_j$ to its drive and $f(w)$ to what it loses: where drive and
        rate are linear (`Projected`), that is exactly a leak of $\lambda_j-w+f(w)$, and is folded into it.
        Elsewhere, and where that leak were negative, it is refused.

        **Arguments:** as for `Network`. By default `weight` is `strength`; `leak` and `bias` are those of the file, if
        it has them, and 1 and what the weights bring.
        """
        layout = lay_out(self.graph) if layout is None else layout
        weight = layout.from_strengths(self.strength) if weight is None else weight
        leak = 1.0 if leak is None and self.leak is None else self.leak if leak is None else leak
        bias = self.bias if bias is None else bias
        return Network(
            self.graph, neuron, weight, leak=self.folded(neuron, leak), bias=bias, key=key, layout=layout, dtype=dtype
        )

    def folded(self, neuron: AbstractNeuron, leak: Any) -> Any:
        """Leaks with the synapses from units to themselves in them, rounded down. Raises `ValueError` where no leak can
        stand for them."""
        if not self.loop.any():
            return leak
        k = int(np.argmax(self.loop != 0))
        name = self.graph.name(k)
        if not (neuron.transfer.linear and neuron.rate.linear):
            activation = neuron.rate if neuron.transfer.linear else neuron.transfer
            raise ValueError(
                f"Connectome: {name} -> {name} is a synapse from a unit to itself, and with {type(neuron).__name__} "
                f"({activation.name}) what it adds is no multiple of the state, so that no leak can stand for it: use "
                "Projected, or remove it"
            )
        moved = _sum_below(leak, neuron.outflow.value(self.loop) - self.loop)
        if (moved < 0).any():
            k = int(np.argmin(moved))
            name, least = self.graph.name(k), self.loop[k] - neuron.outflow.value(self.loop[k])
            raise ValueError(
                f"Connectome: {name} -> {name} of weight {self.loop[k]:g} would leave its unit a leak of {moved[k]:g}; "
                f"give it a leak of {least:g} or more, or scale the synapse down"
            )
        return moved

    def updated(self, network: Network) -> "Connectome":
        """The same with the weights, leaks and biases of a network of this graph, for writing back. Synapses from units
        to themselves are in the leaks."""
        if network.graph != self.graph:
            raise ValueError(f"Connectome.updated: the network is of {network.graph}, not of {self.graph}")
        strengths, leak, bias = (np.asarray(a, np.float64) for a in (network.strengths(), network.leak, network.bias))
        return dataclasses.replace(self, weight=strengths, leak=leak, bias=bias, loop=np.zeros(self.graph.free))

    def wiring(self) -> Wiring:
        """Units and synapses by name, for writers."""
        graph, plain = self.graph, self.graph.wiring()
        units = {name: {**role, **more} for (name, role), more in zip(plain.units.items(), self.units, strict=True)}
        for what, each in (("leak", self.leak), ("bias", self.bias)):
            for name, value in zip(
                graph.names[graph.inputs :], () if each is None else each.tolist(), strict=each is not None
            ):
                units[name][what] = value
        synapses: dict[tuple[str, str], dict[str, Any]] = {}
        for k, (pair, more) in enumerate(zip(plain.synapses, self.synapses, strict=True)):
            sign = {} if self.sign is None else {"sign": int(self.sign[k])}
            synapses[pair] = {"weight": float(self.weight[k]), **sign, **more}
        for k in np.flatnonzero(self.loop).tolist():
            synapses[graph.name(k), graph.name(k)] = {"weight": float(self.loop[k])}
        return Wiring(units, synapses, repr(self))

    def to_networkx(self) -> nx.DiGraph:
        return to_networkx(self.wiring())

    def to_scipy(self) -> scipy.sparse.csr_array:
        """Weights from row to column, in the order of `graph.names`."""
        return to_scipy(self.wiring())

    def to_dataframe(self) -> Any:
        """A pandas table with a row for each synapse."""
        return to_dataframe(self.wiring())

    def to_graphml(self, path: str | Path) -> None:
        write_graphml(path, self.wiring())

    def to_csv(self, path: str | Path) -> None:
        write_csv(path, self.wiring())

    @classmethod
    def from_csv(
        cls,
        path: str | Path,
        *,
        inputs: Names = None,
        outputs: Names = None,
        bias: bool = True,
        into_inputs: str = "refuse",
    ) -> "Connectome":
        """From a CSV file: a list of synapses (columns `source`, `target`, `weight`, `sign`; rows without target tell
        `role`, `sign`, `leak` and `bias` of a unit), or a square matrix with names in header and first column."""
        return cls.from_wiring(read_csv(path), inputs=inputs, outputs=outputs, bias=bias, into_inputs=into_inputs)

    @classmethod
    def from_graphml(
        cls, path: str | Path, *, inputs: Names = None, outputs: Names = None, weight: str = "weight",
        bias: bool = True, into_inputs: str = "refuse",
    ) -> "Connectome":  # fmt: skip
        """From a GraphML file; attributes as in `from_networkx`."""
        wiring = read_graphml(path, weight=weight)
        return cls.from_wiring(wiring, inputs=inputs, outputs=outputs, bias=bias, into_inputs=into_inputs)

    @classmethod
    def from_networkx(
        cls, graph: nx.Graph, *, inputs: Names = None, outputs: Names = None, weight: str = "weight", bias: bool = True,
        into_inputs: str = "refuse",
    ) -> "Connectome":  # fmt: skip
        """From a networkx graph: edges with attributes `weight` (or another one) and `sign`, nodes with `role`, `sign`,
        `leak` and `bias`. An undirected edge becomes two synapses, except into inputs."""
        wiring = from_networkx(graph, weight=weight, origin="Connectome.from_networkx")
        return cls.from_wiring(wiring, inputs=inputs, outputs=outputs, bias=bias, into_inputs=into_inputs)

    @classmethod
    def from_scipy(
        cls, matrix: Any, *, inputs: Names, outputs: Names, names: Sequence | None = None, bias: bool = True,
        into_inputs: str = "refuse",
    ) -> "Connectome":  # fmt: skip
        """From a square sparse matrix, whose entries, zeros among them, are synapses from row to column. `inputs` and
        `outputs` are `names`, by default row numbers."""
        wiring = from_matrix(matrix, names, "Connectome.from_scipy")
        return cls.from_wiring(wiring, inputs=inputs, outputs=outputs, bias=bias, into_inputs=into_inputs)

    @classmethod
    def from_adjacency(
        cls, matrix: Any, *, inputs: Names, outputs: Names, names: Sequence | None = None, bias: bool = True,
        into_inputs: str = "refuse",
    ) -> "Connectome":  # fmt: skip
        """As `from_scipy` from a dense matrix, whose entries other than 0 are synapses."""
        wiring = from_matrix(np.asarray(matrix), names, "Connectome.from_adjacency")
        return cls.from_wiring(wiring, inputs=inputs, outputs=outputs, bias=bias, into_inputs=into_inputs)

    @classmethod
    def from_wiring(
        cls,
        wiring: Wiring,
        *,
        inputs: Names = None,
        outputs: Names = None,
        bias: bool = True,
        into_inputs: str = "refuse",
    ) -> "Connectome":
        """From units and synapses by name."""
        found = numbered(wiring, inputs, outputs, into_inputs=into_inputs)
        try:
            graph = Graph(*found[:3], found.source, found.target, bias=bias, names=found.names)
        except ValueError as error:
            raise ValueError(f"{wiring.origin}: {str(error).removeprefix('Graph: ')}") from None
        weight = np.ones(graph.synapses) if found.weight is None else found.weight
        return cls(graph, weight, found.sign, found.loop, found.leak, found.bias, found.units, found.synapses)
