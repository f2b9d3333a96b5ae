"""Networks in files: one safetensors file with everything, or a plain matrix with leaks from elsewhere."""

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from scipy.sparse import csr_array

from ..certificates.convergence import Counterexample
from ..model import ACTIVATIONS, AbstractNeuron, Graph, Hopfield, Network, Projected, Rate
from ..model.synapses import Sparse, lay_out
from .settings import Unreadable

__all__ = ["load_counterexample", "load_network", "network_from_matrix", "save_network"]

_FORMAT = "direp network 1"
_NEURONS = {"projected": Projected, "hopfield": Hopfield, "rate": Rate}


def save_network(path: str | Path, network: Network, counterexample: Counterexample | None = None) -> None:
    """Write a network, and what refutes its certificate, to a safetensors file.

    Raises `ValueError` for an activation that is not one of `direp.activation`: a file holds no code.
    """
    graph, neuron = network.graph, network.neuron
    activation = next((a for a in (neuron.transfer, neuron.rate) if a != ACTIVATIONS["identity"]), neuron.rate)
    name = activation.name
    if ACTIVATIONS.get(name) != activation:
        raise ValueError(
            f"save_network: activation {name!r} is not one of direp.activation; a file cannot hold its code"
        )
    kind = next(key for key, cls in _NEURONS.items() if type(neuron) is cls)
    default = Graph(graph.inputs, graph.hidden, graph.outputs, graph.source, graph.target).names
    described = {
        "units": [graph.inputs, graph.hidden, graph.outputs],
        "bias": graph.bias,
        "layers": graph.layers,
        "blocks": graph.blocks,
        "names": None if graph.names == default else graph.names,
        "neuron": {
            "kind": kind,
            "activation": name,
            "outflow": neuron.outflow.name,
            "low": neuron.low,
            "high": neuron.high,
        },
    }
    arrays = {
        "source": graph.source,
        "target": graph.target,
        "weight": _strengths(network),
        "bias": np.asarray(network.bias),
        "leak": np.asarray(network.leak),
    }
    if counterexample is not None:
        described["counterexample"] = counterexample.kind
        arrays |= {"x": counterexample.x, "states": counterexample.states}
        if counterexample.direction is not None:
            arrays["direction"] = counterexample.direction
    beside = Path(f"{path}.part")
    arrays = {key: np.ascontiguousarray(value) for key, value in arrays.items()}
    save_file(arrays, beside, metadata={"format": _FORMAT, "network": json.dumps(described)})
    os.replace(beside, path)


def _strengths(network: Network) -> np.ndarray:
    """One number a synapse, in the order of the graph."""
    if isinstance(network.synapses, Sparse):
        return np.concatenate([np.asarray(network.weight.input), np.asarray(network.weight.recurrent)])
    graph = network.graph
    return np.asarray(network.matrix)[graph.source, graph.target - graph.inputs]


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise Unreadable(f"{path} does not exist") from None
    except (SafetensorError, OSError) as error:
        raise Unreadable(f"{path} is not a readable safetensors file ({error})") from None
    if metadata.get("format") != _FORMAT:
        found = metadata.get("format", "no format")
        hint = ": give the run's folder instead" if found == "direp 1" else ""
        raise Unreadable(f"{path} is no network file (it says {found!r}, needed is {_FORMAT!r}){hint}")
    try:
        return json.loads(metadata["network"]), arrays
    except (KeyError, json.JSONDecodeError) as error:
        raise Unreadable(f"{path} is a damaged network file ({error})") from None


def load_network(path: str | Path) -> Network:
    """The network of a file that `save_network` wrote. Raises `Unreadable` if it is missing, damaged or foreign."""
    path = Path(path)
    described, arrays = _read(path)
    try:
        names = tuple(described["names"] or ())
        layers = None if described["layers"] is None else tuple(described["layers"])
        graph = Graph(
            *described["units"], arrays["source"], arrays["target"], bias=described["bias"], layers=layers,
            blocks=tuple(tuple(block) for block in described["blocks"]), names=names,
        )  # fmt: skip
        told = described["neuron"]
        bounds = {"low": told["low"], "high": told["high"]} if told["kind"] == "projected" else {}
        neuron = make_neuron(told["kind"], told["activation"], told["outflow"], **bounds)
        bias = arrays["bias"] if graph.bias else None
        return _from_edges(graph, neuron, arrays["weight"], arrays["leak"], bias)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Unreadable(f"{path} is a damaged network file ({error})") from None


def load_counterexample(path: str | Path) -> Counterexample | None:
    """The counter-example in a network file, or `None` if it holds none."""
    described, arrays = _read(Path(path))
    kind = described.get("counterexample")
    if kind is None:
        return None
    if kind not in Counterexample.KINDS or not {"x", "states"} <= set(arrays):
        raise Unreadable(f"{path} is a damaged network file (its counter-example is incomplete)")
    return Counterexample(kind, arrays["x"], arrays["states"], arrays.get("direction"))


def make_neuron(kind: str, activation: str, outflow: Any, **bounds: float) -> AbstractNeuron:
    made: Any = _NEURONS[kind]
    if kind == "projected":
        return made(outflow, **bounds)
    return made(activation, outflow)


def _from_edges(graph: Graph, neuron: AbstractNeuron, strength: np.ndarray, leak: Any, bias: Any) -> Network:
    layout = lay_out(graph)
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
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
    except FileNotFoundError:
        raise Unreadable(f"{path} does not exist") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise Unreadable(f"{path} is not a readable .npz file of plain arrays ({error})") from None
    edges = {"source", "target", "strength"} <= set(arrays)
    if "leak" not in arrays or not (edges or "weight" in arrays):
        raise Unreadable(
            f"{path} holds {', '.join(arrays) or 'nothing'}; needed are leak, and weight or source, target and strength"
        )
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
    return _from_edges(graph, neuron, strength[np.lexsort((target, source))], leak, arrays.get("bias"))
