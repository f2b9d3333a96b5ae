"""Networks in files: one safetensors file with everything."""

import collections
import inspect
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
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
    identity,
    lay_out,
)  # fmt: skip
from ..runs import Unreadable, read_back, reading, tell_unsealed, write_arrays
from ..training import weight_names
from . import parts
from .catalogue import is_own

_FORMAT = "direp network 3"
# The first has no layout and no parts of a user's own; neither has a SHA-256.
_OLDER = ("direp network 1", "direp network 2")
_FLOATS = (np.float32, np.float64)
_EXAMPLE = ("x", "states", "direction")  # arrays of a counter-example
_ARRAYS = ("source", "target", "weight", "leak", "bias", *_EXAMPLE)
_DESCRIBED = {"units", "bias", "layers", "blocks", "names", "neuron", "layout", "own", "counterexample"}
_STATES = {"two equilibria": 2, "unstable equilibrium": 1, "cycle": 2, "growth": 1}  # how many each one has
_MOST_INPUTS = 2**20
_MOST_ENTRIES = 2**23  # of a matrix that the synapses of a file do not fill


def save_network(path: str | Path, network: Network, counterexample: Counterexample | None = None) -> None:
    """Write a network, and what refutes its certificate, to a safetensors file.

    A file holds no code: a neuron, an activation or a layout of the user's own is kept as its import path with the
    fingerprint of its module. Raises `ValueError` for one that no module holds under a name, for numbers other than
    float32 and float64, and for names of units that are alike or cannot be printed.
    """
    graph, layout = network.graph, network.synapses
    if network.leak.dtype not in _FLOATS:
        raise ValueError(
            f"save_network: the network has numbers of {network.leak.dtype}, and a file holds float32 or float64: "
            "make it with Network(dtype=jnp.float32)"
        )
    default = Graph(graph.inputs, graph.hidden, graph.outputs, graph.source, graph.target).names
    if graph.names != default:
        _check_names(graph.names)
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
    write_arrays(Path(path), arrays, {"format": _FORMAT, "network": json.dumps(described)})


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
    maker = parts.resolve(path, kind)
    given = {name for name, value in data.items() if value is not None}  # older files say null of what is not there
    unknown = given - {"kind", *inspect.signature(maker).parameters}
    if unknown:
        raise ValueError(f"{kind} {path} knows no {', '.join(sorted(unknown))}")
    return parts.call(maker, {name: name for name in known}, known.__getitem__, f"{kind} {path}")


def describe_neuron(neuron: AbstractNeuron, slopes: str | None = None) -> str:
    """A neuron in a few words; with slopes that were given, from where they are in place of its activation."""
    activation = "" if neuron.bounded else f" ({_activation(neuron).name})"
    activation = activation if slopes is None else f" (slopes from {slopes})"
    return f"{type(neuron).__name__}{activation}, {neuron.outflow.name if neuron.outflow.active else 'no'} outflow"


def _activation(neuron: AbstractNeuron) -> Activation:
    """The one of transfer and rate that is not the identity, if any."""
    return neuron.rate if neuron.transfer == identity else neuron.transfer


def _strengths(network: Network) -> np.ndarray:
    """One number a synapse, in the order of the graph."""
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(network.weight)])[network.synapses.place]


def check_floats(name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    """Raise `ValueError` unless an array out of a file holds finite floats of that shape; leaks are not negative."""
    if array.dtype not in _FLOATS or array.shape != shape:
        raise ValueError(
            f"{name} is {array.dtype} of shape {array.shape}; needed are floats of shape {shape}, of 32 or 64 bits"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinite entries")
    if name == "leak" and (array < 0).any():
        raise ValueError(f"{name} has an entry of {array.min():g}; leaks are 0 or above")


def check_precision(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Raise `Unreadable` where JAX would round what a file holds."""
    found = {str(array.dtype) for array in arrays.values() if jnp.issubdtype(array.dtype, jnp.floating)}
    if any(jax.dtypes.canonicalize_dtype(name) != name for name in found):
        raise Unreadable(
            f"{path} holds numbers of 64 bits, which JAX would round to 32: call jax.config.update('jax_enable_x64', "
            "True) first"
        )


def load_network(path: str | Path, *, allow_import: bool = False) -> Network:
    """The network of a file that `save_network` wrote; see `open_network`."""
    return open_network(path, allow_import=allow_import)[0]


def load_counterexample(path: str | Path) -> Counterexample | None:
    """The counter-example in a network file, or `None` if it holds none. Raises as `open_network`."""
    described, arrays, sealed = _read(Path(path))
    with reading(f"{path} is a damaged network file"):
        _check(described, arrays)
        example = _counterexample(described, arrays)
    if not sealed:
        tell_unsealed(Path(path))
    return example


def open_network(path: str | Path, *, allow_import: bool = False) -> tuple[Network, Counterexample | None]:
    """The network of a file that `save_network` wrote, and the counter-example in it, if any.

    Raises `Unreadable` if it is missing, damaged or foreign, if its content is not that of its SHA-256, or if it has
    parts of the user's own and `allow_import` does not allow to import their modules. A file of an older format,
    without SHA-256, is read, and standard error says so.
    """
    path = Path(path)
    described, arrays, sealed = _read(path)
    found = _opened(path, described, arrays, allow_import)
    if not sealed:
        tell_unsealed(path)
    return found


def _opened(
    path: Path, described: dict[str, Any], arrays: dict[str, np.ndarray], allow_import: bool
) -> tuple[Network, Counterexample | None]:
    with reading(f"{path} is a damaged network file"):
        own = {what: (kept["path"], kept["sha256"]) for what, kept in described.get("own", {}).items()}
        own |= {
            f"{part} ({name})": (value, None)
            for part in ("neuron", "layout")
            for name, value in (described.get(part) or {}).items()
            if isinstance(value, str) and ":" in value and value not in {path for path, _ in own.values()}
        }
        parts.permit(own, path, allow_import)
        _check(described, arrays)
        example = _counterexample(described, arrays)
        check_precision(path, {name: array for name, array in arrays.items() if name not in _EXAMPLE})
        layers = None if described["layers"] is None else tuple(described["layers"])
        graph = Graph(
            *described["units"], arrays["source"], arrays["target"], bias=described["bias"], layers=layers,
            blocks=tuple(tuple(block) for block in described["blocks"]), names=tuple(described["names"] or ()),
        )  # fmt: skip
        if (graph.source != arrays["source"]).any() or (graph.target != arrays["target"]).any():
            raise ValueError("its synapses are not sorted by source and target, as their weights would be")
        neuron = _again("neuron", described["neuron"])
        layout = _again("layout", described["layout"], graph) if "layout" in described else lay_out(graph)
        if "weight" in arrays:
            return from_edges(graph, neuron, arrays["weight"], arrays["leak"], arrays["bias"], layout), example
        weight = weight_of(layout, arrays)
        made = Network(
            graph, neuron, weight, leak=arrays["leak"], bias=arrays["bias"], layout=layout, dtype=arrays["leak"].dtype
        )
        return made, example


def weight_of(layout: AbstractSynapses, arrays: Mapping[str, np.ndarray], lead: tuple[int, ...] = ()) -> Any:
    """The weights of a layout out of the arrays of a file, with some axes before their own. Raises `ValueError` for
    what does not fit."""
    kept: Any = layout.mask(layout.filled(1.0))
    leaves, shape = jax.tree.flatten(kept)
    names = weight_names(kept)
    unknown = {name for name in arrays if name.startswith("weight.")} - set(names)
    if unknown:
        raise ValueError(f"{', '.join(sorted(unknown))} is no weight of this layout")
    for name, leaf in zip(names, leaves, strict=True):
        check_floats(name, arrays[name], (*lead, *leaf.shape))
        if arrays[name][..., np.asarray(leaf) == 0].any():
            raise ValueError(f"{name} is not zero where there is no synapse")
    return jax.tree.unflatten(shape, [arrays[name] for name in names])


def check_alike(arrays: Mapping[str, np.ndarray]) -> None:
    """Raise `ValueError` unless weights, leaks and biases are of one kind."""
    own = ("weight", "leak", "bias")
    kinds = {str(array.dtype) for name, array in arrays.items() if name.partition(".")[0] in own}
    if len(kinds) > 1:
        raise ValueError(f"weights, leaks and biases are of several kinds: {', '.join(sorted(kinds))}")


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray], bool]:
    """What a network file says of its network, its arrays, and whether it carries a SHA-256."""
    metadata, arrays = read_back(path, "network file; weights of a run are read with its folder", _FORMAT, _OLDER)
    with reading(f"{path} is a damaged network file"):
        return dict(json.loads(metadata["network"])), arrays, "sha256" in metadata


def _check(described: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Raise `ValueError` for a description or arrays of the wrong kind, and for more units than the arrays fill."""
    unknown = set(described) - _DESCRIBED
    layout_decides = "weight" not in arrays
    foreign = [name for name in arrays if name not in _ARRAYS and not (layout_decides and name.startswith("weight."))]
    if unknown or foreign:
        raise ValueError(f"{', '.join([*unknown, *foreign])} is not known")
    units, names = described["units"], described["names"]
    if not (isinstance(units, list) and [type(count) for count in units] == [int] * 3 and min(units) >= 0):
        raise ValueError(f"units are {units!r}; needed are three whole numbers")
    inputs, hidden, outputs = units
    if inputs > _MOST_INPUTS or hidden + outputs != arrays["leak"].size:
        raise ValueError(f"units are {units}, and there are {arrays['leak'].size} leaks")
    if not isinstance(described["bias"], bool):
        raise ValueError(f"bias is {described['bias']!r}; needed is true or false")
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise ValueError("names are not a list of words")
    if names is not None:
        _check_names(names)
    for name in ("leak", "bias"):
        check_floats(name, arrays[name], (hidden + outputs,))
    if "weight" in arrays:
        check_floats("weight", arrays["weight"], arrays["source"].shape)
    check_alike(arrays)


def _check_names(names: Sequence[str]) -> None:
    """Raise `ValueError` for names of units that do not tell them apart, or that would not be shown as they are."""
    for name, count in collections.Counter(names).items():
        if count > 1:
            raise ValueError(f"names hold {name!r} {count} times: give each unit a name of its own")
        if not name.isprintable():
            raise ValueError(f"names hold {name!r}: give names that can be printed, without control characters")


def _counterexample(described: dict[str, Any], arrays: dict[str, np.ndarray]) -> Counterexample | None:
    kind = described.get("counterexample")
    needed = () if kind is None else _EXAMPLE if kind == "growth" else _EXAMPLE[:2]
    if kind is not None and kind not in _STATES:
        raise ValueError(f"counter-example {kind!r} is none of {', '.join(_STATES)}")
    if set(needed) != set(arrays) & set(_EXAMPLE):
        raise ValueError(f"its counter-example, {kind}, needs {', '.join(needed) or 'no arrays'}")
    if kind is None:
        return None
    inputs, *free = described["units"]
    shapes = {"x": (inputs,), "states": (_STATES[kind], sum(free)), "direction": (sum(free),)}
    for name in needed:
        check_floats(name, arrays[name], shapes[name])
    return Counterexample(kind, arrays["x"], arrays["states"], arrays.get("direction"))


def from_edges(
    graph: Graph, neuron: AbstractNeuron, strength: np.ndarray, leak: Any, bias: Any, layout: AbstractSynapses
) -> Network:
    entries = graph.units * graph.free
    if not isinstance(layout, Sparse) and entries > max(_MOST_ENTRIES, 64 * graph.synapses):
        raise ValueError(
            f"its {graph.synapses:,} synapses do not fill a matrix of {entries:,} entries: give it the layout Sparse"
        )
    matrix = csr_array((strength, (graph.source, graph.target - graph.inputs)), shape=(graph.units, graph.free))
    weight: Any = matrix if isinstance(layout, Sparse) else matrix.toarray()
    return Network(graph, neuron, weight, leak=leak, bias=bias, layout=layout, dtype=jnp.result_type(strength.dtype))
