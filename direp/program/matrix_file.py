"""Networks from plain matrices of elsewhere."""

from pathlib import Path

import numpy as np

from ..model import AbstractNeuron, Graph, Network, lay_out
from ..runs import Unreadable, read_arrays
from .network_file import check_precision, from_edges


def network_from_matrix(path: str | Path, neuron: AbstractNeuron) -> Network:
    """A network from an `.npz` file of plain arrays.

    - `weight`: square, entry (i, j) from unit i to unit j; or `source`, `target` and `strength`, one entry a synapse.
    - `leak`: one number, or one a unit. `bias` (optional): likewise.
    - `inputs` (optional): how many of the first units are clamped inputs. Without it every unit is free and has a
      clamped input of its own, a current of strength 1.
    - `outputs` (optional): how many of the last units are outputs, which a nudge acts on; 1 without it.
    - `slopes` (optional) is for `direp certify`: see `slopes_of_matrix`.

    Weights, leaks and biases are real numbers that 64-bit floats hold exactly: floats or whole numbers. Raises
    `Unreadable` for a file that is not that, `ValueError` for numbers that cannot be.
    """
    path = Path(path)
    edges = ("source", "target", "strength")
    optional = ("bias", "inputs", "outputs", "slopes")
    arrays, held = read_arrays(path, ("weight", *edges, "leak", "bias", "inputs", "outputs"))
    if set(held) - {*optional} not in ({"weight", "leak"}, {*edges, "leak"}):
        raise Unreadable(
            f"{path} holds {', '.join(held) or 'nothing'}; needed are leak, and weight or source, target and strength; "
            "bias, inputs, outputs and slopes may be there"
        )
    leak = _reals(path, "leak", arrays["leak"])
    bias = _reals(path, "bias", arrays["bias"]) if "bias" in arrays else None
    clamped = int(_whole(path, "inputs", arrays.get("inputs", np.array(0)), 0))
    outputs = int(_whole(path, "outputs", arrays.get("outputs", np.array(1)), 0))
    if "weight" in arrays:
        matrix = arrays["weight"]
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.size == 0:
            raise ValueError(f"{path}: weight has shape {matrix.shape}; give a square matrix with a row for every unit")
        units = len(matrix)
        source, target = np.nonzero(matrix)
        strength = _reals(path, "weight", matrix[source, target])
    else:
        source, target = (_whole(path, name, arrays[name], 1) for name in ("source", "target"))
        strength = _reals(path, "strength", arrays["strength"])
        if not source.shape == target.shape == strength.shape:
            raise ValueError(f"{path}: source, target and strength differ in length; give one entry a synapse to each")
        units = int(max(source.max(initial=-1), target.max(initial=-1))) + 1
        units = max(units, leak.size + clamped if leak.ndim else 0)
        if units > leak.size + 2 * strength.size:
            raise ValueError(
                f"{path}: units are numbered up to {units - 1:,}, and leak and synapses have entries for "
                f"{leak.size + 2 * strength.size:,} at most: number them without gaps"
            )
    check_precision(path, {"strength": strength})
    if units > path.stat().st_size:  # a compressed file of zeros
        raise ValueError(f"{path}: it names {units:,} units, and has fewer bytes: write it with numpy.savez")
    if units == 0 or not 0 <= clamped < units:
        raise ValueError(f"{path}: {units} units and {clamped} inputs leave no free unit; give at least one")
    if not 1 <= outputs <= units - clamped:
        raise ValueError(
            f"{path}: outputs is {outputs}; give 1 to {units - clamped}: how many of the free units, the last"
        )
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
    graph = Graph(clamped, free - outputs, outputs, source, target, names=names)
    return from_edges(graph, neuron, strength[np.lexsort((target, source))], leak, bias, lay_out(graph))


def slopes_of_matrix(path: str | Path) -> np.ndarray | None:
    """The array `slopes` of such a file, if it has one: d1 and d2 of every free unit (free x 2), or d2 alone (free)."""
    return read_arrays(Path(path), ("slopes",))[0].get("slopes")


def _reals(path: Path, name: str, array: np.ndarray) -> np.ndarray:
    """Real numbers in 64-bit floats, none of them changed by that."""
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{path}: {name} holds {array.dtype}; give real numbers")
    if not np.isfinite(array).all():
        raise ValueError(f"{path}: {name} holds NaN or infinite entries")
    with np.errstate(over="ignore"):
        floats = array.astype(np.float64)
    exact = floats == array if array.dtype.kind == "f" else (array >= -(2**53)) & (array <= 2**53)
    if not exact.all():
        raise ValueError(f"{path}: {name} holds {array.dtype} numbers that 64-bit floats do not; round them first")
    return floats


def _whole(path: Path, name: str, array: np.ndarray, dimensions: int) -> np.ndarray:
    """Whole numbers, 0 or above, that 64 bits hold."""
    if array.dtype.kind not in "iu" or array.ndim != dimensions:
        what = "a row of whole numbers" if dimensions else "one whole number"
        raise ValueError(f"{path}: {name} holds {array.dtype} of shape {array.shape}; give {what}")
    if array.size and (array.min() < 0 or array.max() > np.iinfo(np.int64).max):
        raise ValueError(f"{path}: {name} has entries from {array.min()} to {array.max()}; give numbers from 0 on")
    return array.astype(np.int64)
