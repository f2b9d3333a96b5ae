"""`direp export`: a network in a file that others read: SPICE, NIR, GraphML or CSV."""

import dataclasses
import io
import math
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...runs import quoted
from .. import device
from ..folders import new_file
from ..settings import WrongUse, nearest
from ..words import plural
from . import OK, first, parse

if TYPE_CHECKING:
    from ...model import Network
    from ...rules import AbstractCost

_SPICE = (".cir", ".net", ".sp", ".spice")
_KINDS = (*_SPICE, ".nir", ".graphml", ".csv")
_ALL = f"{', '.join(_SPICE)} (a netlist of SPICE), .nir, .graphml or .csv"


@dataclasses.dataclass(frozen=True)
class Export:
    """Write the network of RUN (a folder of direp train, or a .safetensors file of one network) to FILE, a new file:
    .cir, .net, .sp or .spice, a netlist of SPICE; .nir, a graph of NIR; .graphml or .csv, a connectome.

    A netlist has the inputs of one sample as sources. It asks for the operating point, or with --transient for the
    states from rest on; ngspice simulates both. The other files hold the network alone.
    """

    seed: int | None = None
    """The network of this seed; by default the best one on validation samples."""
    sample: int = 0
    """For a netlist: which training sample, counted from 0, is clamped (and gives the targets)."""
    input: tuple[float, ...] = ()
    """For a netlist: numbers to clamp instead, as the network sees them (scaled)."""
    target: tuple[float, ...] = ()
    """For a netlist: targets instead of the sample's, one number for each output."""
    phase: str = "free"
    """For a netlist: free, nudged (as strongly as the run was), or the strength of a nudge, such as 0.5."""
    transient: float | None = None
    """For a netlist: follow the states for so long, in the network's time, in place of the operating point."""
    time: float = 1.0
    """For a netlist: one unit of the network's time in seconds."""
    capacitance: float = 1.0
    """For a netlist: the capacitor of every unit in farads; a leak or weight of 1 is capacitance/time siemens."""
    quiet: bool = False
    """No messages but errors."""
    debug: bool = False
    """Show tracebacks."""
    allow_import: bool = False
    """Import the modules of a user's own parts that the run names."""

    def check(self, kind: str) -> None:
        for name in ("time", "capacitance", "transient"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise WrongUse(f"--{name} {value} is out of range: give a finite number above 0")
        if self.sample < 0:
            raise WrongUse(f"--sample {self.sample} is out of range: give 0 or more")
        if self.sample and self.input:
            raise WrongUse("--sample and --input name two inputs for one circuit: give one of them")
        if kind in _SPICE:
            return
        for name in ("sample", "input", "target", "phase", "transient", "time", "capacitance"):
            if getattr(self, name) != getattr(Export, name):
                raise WrongUse(f"--{name} is for a netlist, and a {kind} file holds the network alone: leave it out")


@dataclasses.dataclass(frozen=True)
class _Found:
    """What is exported: a network, the nudge and the cost that it was trained with, if it was, and samples' rows."""

    network: "Network"
    beta: float | None
    cost: "AbstractCost | None"
    rows: Callable[[], tuple[Any, Any]] | None


def export(arguments: list[str]) -> int:
    """The command: exit code 2 for what the file cannot express."""
    run, rest = first("export", arguments, "two arguments, before all options: a run folder and a file to write")
    if run is not None and (not rest or rest[0].startswith("-")):
        raise WrongUse(f"export needs a file to write after the run folder, with the suffix {_ALL}")
    out, rest = (Path(rest[0]), rest[1:]) if run is not None else (Path("net.cir"), rest)
    asked = parse("export RUN FILE", Export, rest, Export())
    if out.suffix not in _KINDS:
        raise WrongUse(f"{out} has the suffix {out.suffix!r}, of no file that is written: give {_ALL}")
    asked.check(out.suffix)
    if out.exists():
        raise WrongUse(f"{out} exists already: name a new file, nothing is overwritten")
    if not out.parent.is_dir():
        raise WrongUse(f"{out.parent} is no folder: make it first, or name a file in one that is there")

    device.configure(double=True)
    found = _open(Path(run or ""), asked, needs_data=out.suffix in _SPICE and not asked.input)
    if out.suffix in _SPICE:
        said = _write_netlist(out, found, asked)
    elif out.suffix == ".nir":
        said = _write_nir(out, found.network)
    else:
        said = _write_connectome(out, found.network)
    if not asked.quiet:
        print(f"direp: {out}: {said}", file=sys.stderr)
    return OK


def _open(path: Path, asked: Export, needs_data: bool) -> _Found:
    if path.suffix == ".safetensors" and not (path.parent / "config.json").exists():
        from ..network_file import open_network

        if asked.seed is not None:
            raise WrongUse(f"--seed {asked.seed}: {path} holds one network, without seeds: leave it out")
        return _Found(open_network(path, allow_import=asked.allow_import)[0], None, None, None)
    from ..run_folder import open_run

    path = path.parent if path.name == "weights.safetensors" else path
    run = open_run(path, allow_import=asked.allow_import, needs_data=True if needs_data else None)
    seed, seeds = run.chosen if asked.seed is None else asked.seed, run.parts.seeds
    if seed not in seeds:
        raise WrongUse(f"--seed {seed} is not of this run: there are {', '.join(map(str, seeds[:12]))}")
    settings = run.settings
    beta = settings.beta if settings.beta_end is None else settings.beta_end
    rows = (lambda: (run.task.train.x, run.task.train.y)) if needs_data else None
    return _Found(run.networks[seeds.index(seed)], beta, run.parts.cost, rows)


def _write_netlist(out: Path, found: _Found, asked: Export) -> str:
    from ...circuit import netlist
    from ...rules import SquaredError

    beta = _strength(asked.phase, found.beta)
    if beta and not isinstance(found.cost, SquaredError | None):
        raise WrongUse(
            f"--phase {asked.phase}: the run's cost is {type(found.cost).__name__}, and a netlist has sources for the "
            "nudge of SquaredError alone; give --phase free"
        )
    x, y = _clamped(found, asked, beta)
    text = netlist(
        found.network, x, y, beta=beta, cost=found.cost if beta else None, transient=asked.transient, time=asked.time,
        capacitance=asked.capacitance,
    )  # fmt: skip
    new_file(out, text)
    phase = f"nudged phase, beta={beta:g}" if beta else "free phase"
    asks = "operating point" if asked.transient is None else f"transient of {asked.transient:g}"
    return f"{phase}, {asks}; ngspice -b -r {quoted(out.with_suffix('.raw'))} {quoted(out)} simulates it"


def _write_nir(out: Path, network: "Network") -> str:
    from ...circuit import to_nir

    graph = to_nir(network)
    import nir

    held = io.BytesIO()
    nir.write(held, graph)  # pyright: ignore[reportArgumentType]
    new_file(out, held.getvalue())
    return f"{len(graph.nodes)} nodes, {len(graph.edges)} edges"


def _write_connectome(out: Path, network: "Network") -> str:
    with tempfile.TemporaryDirectory() as folder:
        beside = Path(folder) / out.name
        (network.to_graphml if out.suffix == ".graphml" else network.to_csv)(beside)
        new_file(out, beside.read_bytes())
    return str(network.graph)


def _strength(phase: str, own: float | None) -> float:
    """The strength of the nudge, 0 for the free phase."""
    if phase == "free":
        return 0.0
    if phase == "nudged":
        if own is None:
            raise WrongUse("--phase nudged: a file of one network does not tell how it was nudged; give a number")
        return float(own)
    try:
        beta = float(phase)
    except ValueError:
        raise WrongUse(nearest("--phase", phase, ("free", "nudged", "a number such as 0.5"))) from None
    if not (beta and math.isfinite(beta)):
        raise WrongUse(f"--phase {phase} is no nudge: give free, nudged, or a finite number other than 0")
    return beta


def _clamped(found: _Found, asked: Export, beta: float) -> tuple[Any, Any]:
    """The inputs of the circuit and, where it is nudged, its targets."""
    graph = found.network.graph
    for name, given, size in (("input", asked.input, graph.inputs), ("target", asked.target, graph.outputs)):
        if given and len(given) != size:
            there = f"{plural(len(given), 'number')}, and the network {plural(size, name)}"
            raise WrongUse(f"--{name} has {there}: give one for each")
        if not all(map(math.isfinite, given)):
            raise WrongUse(f"--{name} holds a number that is not finite: give finite numbers")
    if asked.target and not beta:
        raise WrongUse("--target is for a nudged phase: give --phase nudged, or leave it out")
    x, y = asked.input or None, asked.target or None
    if x is None:
        if found.rows is None:
            raise WrongUse(f"a file of one network has no samples: give --input with {plural(graph.inputs, 'number')}")
        every, targets = found.rows()
        if asked.sample >= len(every):
            raise WrongUse(f"--sample {asked.sample} is not there: the run has training samples 0 to {len(every) - 1}")
        x, y = every[asked.sample], y or targets[asked.sample]
    elif beta and y is None:
        needed = plural(graph.outputs, "number")
        raise WrongUse(f"--phase {asked.phase} with --input needs --target: {needed} to nudge towards")
    return x, y if beta else None
