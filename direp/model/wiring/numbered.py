"""From names to numbers: inputs first, then hidden, then outputs; synapses sorted by source and target."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import numpy as np

from .table import Wiring, flag, number, role, sign

Names = Sequence[Any] | str | None


class Numbered(NamedTuple):
    """A wiring whose units have numbers. What no unit or no synapse has is `None`."""

    inputs: int
    hidden: int
    outputs: int
    names: tuple[str, ...]
    source: np.ndarray
    target: np.ndarray
    weight: np.ndarray | None  # one a synapse, as it was given
    sign: np.ndarray | None  # one a synapse; 0 is free
    loop: np.ndarray  # the weight of each free unit's synapse to itself, with its sign; 0 without one
    leak: np.ndarray | None  # one a free unit
    bias: np.ndarray | None
    units: tuple[dict[str, Any], ...]  # other attributes, and roles and signs as they were given
    synapses: tuple[dict[str, Any], ...]


def numbered(wiring: Wiring, inputs: Names, outputs: Names, *, into_inputs: str = "refuse") -> Numbered:
    """Number the units of a wiring.

    `inputs`, `outputs`: names, in the order that they get; or a pattern such as `"SENS_*"`, in the order of the units;
    by default the units whose `role` says so. `into_inputs="drop"` leaves out synapses into inputs.
    """
    origin = wiring.origin
    if into_inputs not in ("refuse", "drop"):
        raise ValueError(f"into_inputs={into_inputs!r} must be 'refuse' or 'drop'")
    if not wiring.units:
        raise ValueError(f"{origin} has no units")
    ends = {"input": _chosen(wiring, inputs, "input"), "output": _chosen(wiring, outputs, "output")}
    both = set(ends["input"]) & set(ends["output"])
    if both:
        raise ValueError(f"{origin}: {min(both)} is both input and output; it can be only one")
    for kind, found in ends.items():
        if len(set(found)) < len(found):
            raise ValueError(f"{origin}: a unit is named twice among {kind}s")
        if not found:
            raise ValueError(f"{origin} names no {kind}s: give {kind}s=[...] or a pattern, or units of the role {kind}")
    own = {name: kind for kind, found in ends.items() for name in found}
    names = (*ends["input"], *(name for name in wiring.units if name not in own), *ends["output"])
    place = {name: k for k, name in enumerate(names)}
    clamped, free = len(ends["input"]), len(names) - len(ends["input"])

    rows = [(place[i], place[j], attributes) for (i, j), attributes in wiring.synapses.items()]
    if wiring.undirected:
        rows += [(j, i, attributes) for i, j, attributes in rows if i != j]
    if wiring.undirected or into_inputs == "drop":
        rows = [row for row in rows if row[1] >= clamped]
    rows.sort(key=lambda row: row[:2])
    into = next((row for row in rows if row[1] < clamped), None)
    if into is not None:
        raise ValueError(
            f"{origin}: {names[into[0]]} -> {names[into[1]]} is a synapse into an input: inputs are clamped, remove it "
            "(all such ones: Connectome.from_...(into_inputs='drop'))"
        )
    weight = _weights(wiring, rows, names)
    signs = _signs(wiring, rows, names)
    loop = np.zeros(free)
    for k, (i, j, _) in enumerate(rows):
        if i == j:
            loop[i - clamped] += signs[k] * abs(weight[k]) if signs[k] else weight[k]  # 0, never -0
    kept = np.array([i != j for i, j, _ in rows], bool)
    rows = [row for row in rows if row[0] != row[1]]
    source, target = np.array([row[:2] for row in rows], np.int64).reshape(-1, 2).T
    has_sign = any("sign" in each for each in (*wiring.units.values(), *wiring.synapses.values()))
    units = tuple(_attributes(wiring.units[name], own.get(name, "hidden")) for name in names)
    rest = tuple({key: value for key, value in row[2].items() if key not in ("weight", "sign")} for row in rows)
    for i, j, attributes in rows:
        if "fixed" in attributes:
            flag(attributes["fixed"], f"{origin}: synapse {names[i]} -> {names[j]}")
    return Numbered(
        clamped, free - len(ends["output"]), len(ends["output"]), names, source, target,
        weight[kept] if any("weight" in each for each in wiring.synapses.values()) else None,
        signs[kept].astype(np.int8) if has_sign else None, loop,
        _of_units(wiring, names[clamped:], "leak"), _of_units(wiring, names[clamped:], "bias"), units, rest,
    )  # fmt: skip


def _chosen(wiring: Wiring, given: Names, kind: str) -> list[str]:
    origin = wiring.origin
    if given is None:
        roles = {name: each["role"] for name, each in wiring.units.items() if "role" in each}
        return [name for name, found in roles.items() if role(found, f"{origin}: unit {name}") == kind]
    if isinstance(given, str):
        found = [name for name in wiring.units if fnmatchcase(name, given)]
        if not found:
            raise ValueError(
                f"{origin}: no unit has a name like {given!r} ({kind}s); the first is {next(iter(wiring.units))!r}"
            )
        return found
    found = [str(name) for name in given]
    missing = [name for name in found if name not in wiring.units]
    if missing:
        raise ValueError(f"{origin}: the graph has no unit {missing[0]}, named among {kind}s")
    return found


def _weights(wiring: Wiring, rows: list, names: tuple[str, ...]) -> np.ndarray:
    """The weight of every synapse; 1 where no synapse has one."""
    given = ["weight" in attributes for *_, attributes in rows]
    if not any(given):
        return np.ones(len(rows))
    if not all(given):
        i, j, _ = rows[given.index(False)]
        raise ValueError(
            f"{wiring.origin}: synapse {names[i]} -> {names[j]} has no weight, and others have: give it one"
        )
    return np.array([
        number(attributes["weight"], f"{wiring.origin}: synapse {names[i]} -> {names[j]}", "weight")
        for i, j, attributes in rows
    ])  # fmt: skip


def _signs(wiring: Wiring, rows: list, names: tuple[str, ...]) -> np.ndarray:
    """The sign of every synapse: its own, else that of its source, else 0."""
    units = {
        name: sign(each["sign"], f"{wiring.origin}: unit {name}")
        for name, each in wiring.units.items()
        if "sign" in each
    }
    found = np.zeros(len(rows), np.int64)
    for k, (i, j, attributes) in enumerate(rows):
        where = f"{wiring.origin}: synapse {names[i]} -> {names[j]}"
        of_unit = units.get(names[i], 0)
        own = sign(attributes["sign"], where) if "sign" in attributes else 0
        if own * of_unit < 0:
            raise ValueError(
                f"{where} has sign {own}, and {names[i]} has {of_unit}: give both one sign, or one of them"
            )
        found[k] = own or of_unit
    return found


def _of_units(wiring: Wiring, names: tuple[str, ...], what: str) -> np.ndarray | None:
    """A number for each free unit, or `None` if none has one."""
    given = [name for name in names if what in wiring.units[name]]
    if not given:
        return None
    if len(given) < len(names):
        lacks = next(name for name in names if what not in wiring.units[name])
        raise ValueError(f"{wiring.origin}: unit {lacks} has no {what}, and others have: give it one")
    return np.array([number(wiring.units[name][what], f"{wiring.origin}: unit {name}", what) for name in names])


def _attributes(given: dict[str, Any], kind: str) -> dict[str, Any]:
    """What is kept for writing back, beside leaks and biases of free units: a role as it was given, unless it has
    changed."""
    moved = ("role",) if kind == "input" else ("role", "leak", "bias")
    rest = {key: value for key, value in given.items() if key not in moved}
    if "role" in given and role(given["role"], "") == kind:
        rest["role"] = given["role"]
    return rest
