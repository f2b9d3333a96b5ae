"""Networks in files: one safetensors file with everything, or a plain matrix with leaks from elsewhere."""

import inspect
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open
from scipy.sparse import csr_array

from ..certificates.convergence import Counterexample
from ..model import (
    OUTFLOWS,
    AbstractNeuron,
    AbstractSynapses,
    Activation,
    Graph,
    Network,
    Outflow,
    Sparse,
    Weight,
    identity,
    lay_out,
)  # fmt: skip
from . import parts
from .catalogue import is_own
from .files import read_arrays, write_arrays
from .parts import Unreadable

_FORMATS = ("direp network 1", "direp network 2")  # the first one has no layout and no parts of a user's own


def save_network(path: str | Path, network: Network, counterexample: Counterexample | None = None) -> None:
    """Write a network, and what refutes its certificate, to a safetensors file.

    A file holds no code: a neuron, an activation or a layout of the user's own is kept as its import path with the
    fingerprint of its module. Raises `ValueError` for one that no module holds under a name.
    """
    graph, layout = network.graph, network.synapses
    default = Graph(graph.inputs, graph.hidden, graph.outputs, graph.source, graph.target).names
    described: dict[str, Any] = {
        "units": [graph.inputs, graph.hidden, graph.outputs],
        "bias": graph.bias,
        "layers": graph.layers,
        "blocks": graph.blocks,
        "names": None if graph.names == default else graph.names,
        "neuron": _describe("neuron", network.neuron),
    }
    arrays = {"source": graph.source, "target": graph.target, "bias": network.bias, "leak": network.leak}
    if type(layout) is not type(lay_out(graph)):
        described["layout"] = _describe("layout", layout)
    if is_own("layout", described.get("layout", {"kind": "auto"})["kind"]):
        arrays |= dict(zip(weight_names(network.weight), jax.tree.leaves(network.weight), strict=True))
    else:
        arrays["weight"] = _strengths(network)
    described["own"] = {
        what: {"path": value, "sha256": parts.fingerprint(value)[1]}
        for part in ("neuron", "layout")
        for name, value in described.get(part, {}).items()
        if isinstance(value, str) and is_own(what := part if name == "kind" else "activation", value)
    }
    if counterexample is not None:
        described["counterexample"] = counterexample.kind
        arrays |= {"x": counterexample.x, "states": counterexample.states}
        if counterexample.direction is not None:
            arrays["direction"] = counterexample.direction
    write_arrays(Path(path), arrays, {"format": _FORMATS[-1], "network": json.dumps(described)})


def _describe(kind: str, part: Any) -> dict[str, Any]:
    """A neuron or a layout as data: what its constructor asks for, under the same names."""
    data: dict[str, Any] = {"kind": parts.name_of(kind, type(part))}
    for name, parameter in inspect.signature(type(part)).parameters.items():
        value = _activation(part) if name == "activation" else getattr(part, name, parameter.default)
        if isinstance(value, Activation):
            value = parts.name_of("activation", value)
        elif isinstance(value, Graph):
            continue
        elif isinstance(value, Outflow) and OUTFLOWS.get(value.name) == value:
            value = value.name
        elif value is parameter.empty or not isinstance(value, int | float | str | tuple | None):
            raise ValueError(
                f"save_network: {kind} {type(part).__name__} needs {name!r} to be made again, which it does not keep "
                "as a number, a word or an activation"
            )
        data[name] = value
    return data


def _again(kind: str, data: dict[str, Any], graph: Graph | None = None) -> Any:
    """A neuron or a layout from what `_describe` kept."""
    about = parts.CATALOGUE[kind]
    path = data["kind"] if is_own(kind, data["kind"]) else about.entries[data["kind"]].path
    known = {
        "graph": graph,
        **{name: tuple(value) if isinstance(value, list) else value for name, value in data.items()},
    }
    for name in ("activation", "transfer", "rate"):
        if isinstance(known.get(name), str):
            known[name] = parts.build("activation", known[name], known.__getitem__)
    return parts.call(parts.resolve(path, kind), {name: name for name in known}, known.__getitem__, f"{kind} {path}")


def describe_neuron(neuron: AbstractNeuron) -> str:
    """A neuron in a few words."""
    activation = "" if neuron.bounded else f" ({_activation(neuron).name})"
    return f"{type(neuron).__name__}{activation}, {neuron.outflow.name if neuron.outflow.active else 'no'} outflow"


def _activation(neuron: AbstractNeuron) -> Activation:
    """The one of transfer and rate that is not the identity, if any."""
    return neuron.rate if neuron.transfer == identity else neuron.transfer


def weight_names(weight: Weight) -> list[str]:
    """What files call the leaves of weights, in their order."""
    leaves = ((part, jax.tree.leaves(getattr(weight, part))) for part in Weight._fields)
    return [f"weight.{part}.{k}" for part, found in leaves for k in range(len(found))]


def _strengths(network: Network) -> np.ndarray:
    """One number a synapse, in the order of the graph."""
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(network.weight)])[network.synapses.place]


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise Unreadable(f"{path} does not exist") from None
    except (SafetensorError, OSError) as error:
        raise Unreadable(f"{path} is not a readable safetensors file ({error})") from None
    if metadata.get("format") not in _FORMATS:
        found = metadata.get("format", "no format")
        hint = ": give the run's folder instead" if found == "direp 1" else ""
        raise Unreadable(f"{path} is no network file (its format is {found!r}, needed is {_FORMATS[-1]!r}){hint}")
    try:
        return dict(json.loads(metadata["network"])), arrays
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise Unreadable(f"{path} is a damaged network file ({error})") from None


def load_network(path: str | Path, *, allow_import: bool = False) -> Network:
    """The network of a file that `save_network` wrote.

    Raises `Unreadable` if it is missing, damaged or foreign, or if it has parts of the user's own and `allow_import`
    does not allow to import their modules.
    """
    path = Path(path)
    described, arrays = _read(path)
    try:
        own = {what: (kept["path"], kept["sha256"]) for what, kept in described.get("own", {}).items()}
        own |= {
            f"{part} ({name})": (value, None)
            for part in ("neuron", "layout")
            for name, value in (described.get(part) or {}).items()
            if isinstance(value, str) and ":" in value and value not in {path for path, _ in own.values()}
        }
        parts.permit(own, path, allow_import)
        _check(described["units"], arrays)
        names = tuple(described["names"] or ())
        layers = None if described["layers"] is None else tuple(described["layers"])
        graph = Graph(
            *described["units"], arrays["source"], arrays["target"], bias=described["bias"], layers=layers,
            blocks=tuple(tuple(block) for block in described["blocks"]), names=names,
        )  # fmt: skip
        neuron = _again("neuron", described["neuron"])
        bias = arrays["bias"] if graph.bias else None
        layout = _again("layout", described["layout"], graph) if "layout" in described else lay_out(graph)
        if "weight" in arrays:
            return _from_edges(graph, neuron, arrays["weight"], arrays["leak"], bias, layout)
        places: Any = layout.filled(0.0)
        leaves = [arrays[name] for name in weight_names(places)]
        weight = jax.tree.unflatten(jax.tree.structure(places), leaves)
        return Network(graph, neuron, weight, leak=arrays["leak"], bias=bias, layout=layout, dtype=leaves[0].dtype)
    except Unreadable:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        raise Unreadable(f"{path} is a damaged network file ({error})") from None


def _check(units: list[int], arrays: dict[str, np.ndarray]) -> None:
    """Raise `ValueError` for arrays of the wrong kind, and for more units than the arrays have leaks for."""
    inputs, hidden, outputs = units
    if not 0 <= inputs <= 2**20 or hidden + outputs != arrays["leak"].size:
        raise ValueError(f"units are {units}, and there are {arrays['leak'].size} leaks")
    for name, array in arrays.items():
        kind = jnp.integer if name in ("source", "target") else jnp.floating
        if not jnp.issubdtype(array.dtype, kind):
            raise ValueError(f"{name} holds {array.dtype}")


def load_counterexample(path: str | Path) -> Counterexample | None:
    """The counter-example in a network file, or `None` if it holds none."""
    described, arrays = _read(Path(path))
    kind = described.get("counterexample")
    if kind is None:
        return None
    if not isinstance(kind, str) or kind not in Counterexample.KINDS or not {"x", "states"} <= set(arrays):
        raise Unreadable(f"{path} is a damaged network file (its counter-example is incomplete)")
    return Counterexample(kind, arrays["x"], arrays["states"], arrays.get("direction"))


def _from_edges(
    graph: Graph, neuron: AbstractNeuron, strength: np.ndarray, leak: Any, bias: Any, layout: AbstractSynapses
) -> Network:
    matrix = csr_array((strength, (graph.source, graph.target - graph.inputs)), shape=(graph.units, graph.free))
    weight: Any = matrix if isinstance(layout, Sparse) else matrix.toarray()
    return Network(graph, neuron, weight, leak=leak, bias=bias, layout=layout, dtype=jnp.result_type(strength.dtype))


def network_from_matrix(path: str | Path, neuron: AbstractNeuron) -> Network:
    """A network from an `.npz` file of plain arrays.

    - `weight`: square, entry (i, j) from unit i to unit j; or `source`, `target` and `strength`, one entry a synapse.
    - `leak`: one number, or one a unit. `bias` (optional): likewise.
    - `inputs` (optional): how many of the first units are clamped inputs (the last unit counts as output). Without it
      every unit is free and has a clamped input of its own, a current of strength 1.

    Raises `Unreadable` for a file that is not that, `ValueError` for numbers that cannot be.
    """
    path = Path(path)
    arrays, held = read_arrays(path, ("weight", "source", "target", "strength", "leak", "bias", "inputs"))
    edges = {"source", "target", "strength"} <= set(arrays)
    if "leak" not in arrays or not (edges or "weight" in arrays):
        raise Unreadable(f"{path} holds {held}; needed are leak, and weight or source, target and strength")
    leak = np.asarray(arrays["leak"], np.float64)
    clamped = int(arrays.get("inputs", 0))
    if edges:
        source, target = (np.asarray(arrays[key], np.int64).ravel() for key in ("source", "target"))
        strength = np.asarray(arrays["strength"], np.float64).ravel()
        if not len(source) == len(target) == len(strength):
            raise ValueError(f"{path}: source, target and strength differ in length; give one entry a synapse to each")
        named = int(max(source.max(initial=-1), target.max(initial=-1))) + 1
        units = max(named, leak.size + clamped if leak.ndim else 0)
    else:
        matrix = np.asarray(arrays["weight"], np.float64)
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.size == 0:
            raise ValueError(f"{path}: weight has shape {matrix.shape}; give a square matrix with a row for every unit")
        units = len(matrix)
        source, target = np.nonzero(matrix)
        strength = matrix[source, target]
    if units == 0 or not 0 <= clamped < units:
        raise ValueError(f"{path}: {units} units and {clamped} inputs leave no free unit; give at least one")
    if leak.shape not in ((), (units - clamped,)):
        raise ValueError(f"{path}: leak has shape {leak.shape}; give one number, or {units - clamped}: one a free unit")
    if (leak < 0).any():
        raise ValueError(f"{path}: leak of unit {int(np.argmin(leak))} is {leak.min():g}; leaks are 0 or above")
    if clamped == 0:
        source = np.concatenate([np.arange(units), source + units])
        target = np.concatenate([np.arange(units, 2 * units), target + units])
        strength = np.concatenate([np.ones(units), strength])
        clamped, names = units, tuple(f"{kind}{k}" for kind in ("current", "u") for k in range(units))
    else:
        names = tuple(f"x{k}" if k < clamped else f"u{k - clamped}" for k in range(units))
    free = len(names) - clamped
    graph = Graph(clamped, free - 1, 1, source, target, names=names)
    return _from_edges(graph, neuron, strength[np.lexsort((target, source))], leak, arrays.get("bias"), lay_out(graph))
