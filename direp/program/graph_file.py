"""Graphs from files: connectomes in GraphML and CSV, what a run folder keeps of them, and the networks they are."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..model import AbstractNeuron, Connectome, Network

GRAPH_FILES = (".graphml", ".csv")


def is_graph_file(name: str) -> bool:
    return Path(name).suffix in GRAPH_FILES


def read_connectome(path: str | Path) -> "Connectome":
    """The connectome of a file. Raises `Unreadable`, in one line, for a file that is not that."""
    from ..model import Connectome
    from ..runs import Unreadable

    try:
        return Connectome.from_wiring(_wiring(path))
    except ValueError as error:
        raise Unreadable(str(error)) from None


def _wiring(path: str | Path) -> Any:
    from ..model import read_csv, read_graphml
    from ..runs import check_file

    check_file(Path(path))
    return (read_csv if Path(path).suffix == ".csv" else read_graphml)(path)


def network_from_graph_file(path: Path, neuron: "AbstractNeuron", leak: float) -> tuple["Network", str | None]:
    """A network with the weights of a file, its leaks and biases where it has them. Where no unit of the file has a
    role, every unit is free and has a clamped input of its own, a current of strength 1; the last counts as output.
    With it what `folded` says."""
    from ..model import Connectome
    from ..runs import Unreadable

    try:
        wiring = _wiring(path)
        if not any("role" in unit for unit in wiring.units.values()):
            units = list(wiring.units)
            weight = {"weight": 1.0} if any("weight" in synapse for synapse in wiring.synapses.values()) else {}
            for name in units:
                wiring.add_unit(f"current into {name}", {"role": "input"}, wiring.origin)
                wiring.add_synapse(f"current into {name}", name, weight, wiring.origin)
            for name in units[-1:]:
                wiring.units[name]["role"] = "output"
        connectome = Connectome.from_wiring(wiring)
    except ValueError as error:
        raise Unreadable(str(error)) from None
    return connectome.network(neuron, leak=leak if connectome.leak is None else None), folded(connectome)


def folded(connectome: "Connectome | None") -> str | None:
    """That units' synapses to themselves are in their leaks, if there are any."""
    if connectome is None or not connectome.loop.any():
        return None
    count = int((connectome.loop != 0).sum())
    synapses = f"{count} synapse{'s' if count > 1 else ''} from a unit to itself"
    return (
        f"{synapses} {'are' if count > 1 else 'is'} folded into the leak (rounded down): leaks are what is left of them"
    )


def kept_graph(name: str) -> tuple[str, bytes, dict[str, Any]] | None:
    """What a run folder keeps of the file of a graph: the name and content of a copy, and what config.json says of it;
    `None` for a graph that is no file."""
    if not is_graph_file(name):
        return None
    content, copy = Path(name).read_bytes(), f"graph{Path(name).suffix}"
    said = {"path": str(Path(name).resolve()), "file": copy, "sha256": hashlib.sha256(content).hexdigest()}
    return copy, content, {"graph": said}


def find_graph(folder: Path, said: Any) -> str:
    """The copy in a folder that its config.json tells of. Raises `ValueError` if it is not there or was altered."""
    names = {"path", "file", "sha256"}
    if not (isinstance(said, dict) and set(said) == names and all(isinstance(said[name], str) for name in names)):
        raise ValueError(f"graph is {str(said)[:40]}; needed are {', '.join(sorted(names))}")
    copy = folder / said["file"]
    if said["file"] not in [f"graph{suffix}" for suffix in GRAPH_FILES] or not copy.is_file():
        raise ValueError(f"the file of its graph, {said['file']!r}, is not beside it")
    if hashlib.sha256(copy.read_bytes()).hexdigest() != said["sha256"]:
        raise ValueError(f"{said['file']} was altered: its content is not that of the sha256 that config.json tells")
    return str(copy)
