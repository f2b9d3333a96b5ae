"""What all formats have in common: units with attributes, and synapses between them with attributes."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

UNIT_COLUMNS = ("role", "sign", "leak", "bias")  # attributes of a unit that have a meaning
ROLES = {
    "input": "input", "sensory": "input",
    "output": "output", "readout": "output", "read-out": "output",
    "hidden": "hidden", "interneuron": "hidden",
}  # fmt: skip
_SIGNS = {"1": 1, "+1": 1, "+": 1, "excitatory": 1, "-1": -1, "-": -1, "inhibitory": -1, "0": 0, "free": 0}

_FLAGS = {"1": True, "true": True, "0": False, "false": False}


@dataclass(frozen=True)
class Wiring:
    """Units and synapses by name, before they are numbered.

    - `units`: from the name of each unit, in order, to its attributes; `role`, `sign`, `leak` and `bias` have a sense.
    - `synapses`: from (from, to) to attributes; `weight`, `sign` and `fixed` have a meaning.
    - `origin`: what messages call it, such as the path of a file.
    - `undirected`: every synapse stands for both directions, except into inputs.
    """

    units: dict[str, dict[str, Any]] = field(default_factory=dict)
    synapses: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    origin: str = "the connectome"
    undirected: bool = False

    def add_unit(self, name: str, attributes: dict[str, Any], where: str) -> None:
        if name in self.units:
            raise ValueError(f"{where}: unit {name!r} is there twice: give each unit a name of its own")
        if not name or name != name.strip() or not name.isprintable():
            raise ValueError(f"{where}: {name!r} is no name of a unit: give printable text without spaces at its ends")
        self.units[name] = attributes

    def add_synapse(self, source: str, target: str, attributes: dict[str, Any], where: str) -> None:
        if (source, target) in self.synapses:
            raise ValueError(f"{where}: synapse {source} -> {target} is there twice: give it once, with the sum")
        self.synapses[source, target] = attributes


def number(value: Any, where: str, what: str) -> float:
    """A finite number that 64 bits hold as it is written. Raises `ValueError`."""
    text = value.strip() if isinstance(value, str) else value
    try:
        if isinstance(text, bool) or (isinstance(text, str) and ("_" in text or not text.isascii())):
            raise ValueError
        found = float(text)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{where}: {what} {value!r} is no number: write one such as 0.25") from None
    if not math.isfinite(found):
        raise ValueError(f"{where}: {what} {value!r} is not a finite number of 64 bits")
    if not isinstance(text, str | float) and found != text:
        raise ValueError(f"{where}: {what} {value!r} is no number of 64 bits: round it first")
    return found


def sign(value: Any, where: str) -> int:
    """1, -1 or 0 (free). Raises `ValueError`."""
    text = str(value).strip().lower()
    if text not in _SIGNS:
        try:
            text = str(int(number(value, where, "sign"))) if number(value, where, "sign") % 1 == 0 else text
        except ValueError:
            text = ""
    if text not in _SIGNS:
        raise ValueError(f"{where}: sign {value!r} is unknown: write 1 (excitatory), -1 (inhibitory) or 0 (free)")
    return _SIGNS[text]


def role(value: Any, where: str) -> str:
    """`"input"`, `"hidden"` or `"output"`. Raises `ValueError`."""
    found = ROLES.get(str(value).strip().lower())
    if found is None:
        raise ValueError(f"{where}: role {value!r} is unknown: there are {', '.join(ROLES)}")
    return found


def flag(value: Any, where: str) -> bool:
    """Whether a synapse is fixed. Raises `ValueError`."""
    found = _FLAGS.get(str(value).strip().lower())
    if found is None:
        raise ValueError(f"{where}: fixed {value!r} is unknown: write 1 or true, 0 or false")
    return found


def attribute_names(rows: Iterable[dict[str, Any]]) -> list[str]:
    """All names of attributes, each once, in the order in which they appear."""
    return list(dict.fromkeys(name for row in rows for name in row))
