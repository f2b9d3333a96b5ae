"""Wirings from and to networkx, SciPy and pandas."""

from collections.abc import Sequence
from typing import Any

import networkx as nx
import numpy as np
import scipy.sparse

from .table import Wiring


def from_networkx(graph: nx.Graph, *, weight: str = "weight", origin: str = "Graph.from_networkx") -> Wiring:
    """Nodes are units, named by their text; `weight` is the attribute of edges that holds the weight. Other attributes
    are `role`, `sign`, `leak` and `bias` of nodes and `sign` of edges; the rest is kept.

    An undirected edge becomes two synapses, except into inputs. Parallel edges are refused.
    """
    if not isinstance(graph, nx.Graph):
        raise ValueError(f"{origin} needs a networkx graph, not {type(graph).__name__}")
    wiring = Wiring(origin=origin, undirected=not graph.is_directed())
    for node, attributes in graph.nodes(data=True):
        wiring.add_unit(str(node), dict(attributes), origin)
    for source, target, attributes in graph.edges(data=True):
        own = {key: value for key, value in attributes.items() if key != weight}
        if weight in attributes:
            own["weight"] = attributes[weight]
        wiring.add_synapse(str(source), str(target), own, origin)
    return wiring


def from_matrix(matrix: Any, names: Sequence[Any] | None, origin: str) -> Wiring:
    """From a square matrix, dense or SciPy's sparse: entry (i, j) is the weight of the synapse from i to j.

    Entries that a sparse matrix holds are synapses even if they are 0; those of a dense one are if they are not.
    Without `names` units are called by their row numbers.
    """
    sparse = scipy.sparse.issparse(matrix)
    shape: tuple[int, ...] = tuple(matrix.shape if sparse else np.shape(matrix))
    if len(shape) != 2 or shape[0] != shape[1]:
        raise ValueError(f"{origin} needs a square matrix, not one of shape {shape}")
    entries = scipy.sparse.coo_array(matrix if sparse else np.asarray(matrix))
    entries.sum_duplicates()
    (source, target), values = entries.coords, entries.data
    called = [str(name) for name in (range(shape[0]) if names is None else names)]
    if len(called) != shape[0]:
        raise ValueError(f"{origin}: {len(called)} names for a matrix of {shape[0]} rows")
    wiring = Wiring(origin=origin)
    for name in called:
        wiring.add_unit(name, {}, origin)
    for i, j, value in zip(source.tolist(), target.tolist(), values.tolist(), strict=True):
        wiring.add_synapse(called[i], called[j], {"weight": value}, origin)
    return wiring


def to_networkx(wiring: Wiring) -> nx.DiGraph:
    graph = nx.DiGraph()
    graph.add_nodes_from((name, dict(attributes)) for name, attributes in wiring.units.items())
    graph.add_edges_from((source, target, dict(each)) for (source, target), each in wiring.synapses.items())
    return graph


def to_scipy(wiring: Wiring) -> scipy.sparse.csr_array:
    """Weights (1 without them) from row to column, in the order of the units; a synapse of weight 0 is an entry."""
    place = {name: k for k, name in enumerate(wiring.units)}
    source = [place[source] for source, _ in wiring.synapses]
    target = [place[target] for _, target in wiring.synapses]
    values = np.array([each.get("weight", 1.0) for each in wiring.synapses.values()], np.float64)
    return scipy.sparse.csr_array((values, (source, target)), shape=(len(place), len(place)))


def to_dataframe(wiring: Wiring) -> Any:
    """A pandas table with a row for each synapse: source, target, and attributes."""
    try:
        import pandas
    except ModuleNotFoundError:
        raise ModuleNotFoundError("to_dataframe needs pandas, which is not installed: pip install pandas") from None
    rows = [{"source": source, "target": target, **each} for (source, target), each in wiring.synapses.items()]
    return pandas.DataFrame(rows, columns=None if rows else ["source", "target"])
