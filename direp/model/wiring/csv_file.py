"""Comma-separated tables: a list of synapses, or a square matrix with names. Strict: nothing is guessed."""

import csv
import difflib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .table import UNIT_COLUMNS, Wiring, attribute_names, flag, number, role, sign

_KNOWN = ("source", "target", "weight", *UNIT_COLUMNS, "fixed")


def read_csv(path: str | Path) -> Wiring:
    """The wiring of a CSV file (UTF-8, commas, a header).

    - A list: columns `source`, `target`, and if you like `weight`, `sign` and `fixed`, a row a synapse. A row without
      target is about the unit `source` itself: its `role`, `sign`, `leak` and `bias`, and that it is there. Other
      columns are attributes, as text.
    - A matrix: names in the header and, in the same order, in the first column; the entry is the weight of the synapse
      from its row to its column, 0 or empty for none. Columns `role`, `sign`, `leak`, `bias` may follow.

    Raises `ValueError` of one line, with the number of the line, what it has and what is allowed.
    """
    path = Path(path)
    rows = _rows(path)
    try:
        _, header = next(rows)
    except StopIteration:
        raise ValueError(
            f"{path} is empty: needed are columns source and target, or a square matrix with names"
        ) from None
    header = [name.strip() for name in header]
    where = f"{path}, line 1"
    repeated = next((name for k, name in enumerate(header) if name in header[:k]), None)
    if repeated is not None:
        raise ValueError(f"{where}: column {repeated!r} is there twice: give each column a name of its own")
    wiring = Wiring(origin=str(path))
    if {"source", "target"} <= set(header):
        _read_list(wiring, header, rows, where)
    elif {"source", "target"} & set(header) or len(header) < 2:
        raise ValueError(
            f"{where}: columns are {', '.join(header)}; needed are source and target, or a square matrix with names"
        )
    else:
        _read_matrix(wiring, header, rows, where)
    return wiring


def _rows(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Where each row is, and its cells."""
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(
            f"{path}, line {line}: byte {content[error.start]:#04x} is no UTF-8: save the file as UTF-8"
        ) from None
    if "\0" in text:
        raise ValueError(
            f"{path}, line {text[: text.index(chr(0))].count(chr(10)) + 1}: holds a NUL character: this is no text"
        )
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    width = 0
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise ValueError(f"{path}, line {reader.line_num}: {error}: this is no CSV row") from None
        where = f"{path}, line {reader.line_num}"
        if not row:
            continue
        width = width or len(row)
        if len(row) != width:
            raise ValueError(f"{where}: has {len(row)} cells, and the header has {width}: give each row as many")
        yield where, row


def _read_list(wiring: Wiring, header: list[str], rows: Iterator[tuple[str, list[str]]], where: str) -> None:
    for name in header:
        near = difflib.get_close_matches(name.lower(), _KNOWN, n=1, cutoff=0.75)
        if name not in _KNOWN and near:
            raise ValueError(f"{where}: column {name!r} is too like {near[0]!r}: write {near[0]}, or another name")
    declared: set[str] = set()
    for at, row in rows:
        cells = {name: cell.strip() for name, cell in zip(header, row, strict=True) if cell.strip()}
        source, target = cells.pop("source", ""), cells.pop("target", "")
        if not target:
            if "weight" in cells:
                raise ValueError(
                    f"{at}: weight {cells['weight']} without a target: name the unit that the synapse enters"
                )
            if source in declared:
                raise ValueError(f"{at}: unit {source!r} is there twice: give it one row without target")
            _check(cells, at)
            declared.add(source)
            if source in wiring.units:
                wiring.units[source].update(cells)
            else:
                wiring.add_unit(source, cells, at)
            continue
        stray = [name for name in UNIT_COLUMNS if name != "sign" and name in cells]
        if stray:
            raise ValueError(
                f"{at}: {stray[0]} {cells[stray[0]]} stands at a synapse: give it to a unit, in a row without target"
            )
        for name in (source, target):
            if name not in wiring.units:
                wiring.add_unit(name, {}, at)
        _check(cells, at)
        wiring.add_synapse(source, target, cells, at)


def _check(cells: dict[str, Any], where: str) -> None:
    """Numbers, signs and roles, while the line is known. Replaces numbers by what they are."""
    for name in ("weight", "leak", "bias"):
        if name in cells:
            cells[name] = number(cells[name], where, name)
    if "sign" in cells:
        cells["sign"] = sign(cells["sign"], where)
    if "fixed" in cells:
        cells["fixed"] = flag(cells["fixed"], where)
    if "role" in cells:
        role(cells["role"], where)


def _read_matrix(wiring: Wiring, header: list[str], rows: Iterator[tuple[str, list[str]]], where: str) -> None:
    names = [name for name in header[1:] if name not in UNIT_COLUMNS]
    more = header[1 + len(names) :]
    if set(more) != set(header[1:]) - set(names):
        raise ValueError(f"{where}: columns {', '.join(UNIT_COLUMNS)} stand behind those of all units in a matrix")
    for name in names:
        wiring.add_unit(name, {}, where)
    count = 0
    for at, row in rows:
        expected = names[count] if count < len(names) else None
        if row[0].strip() != expected:
            wanted = f"{expected!r}, as in the header" if expected else "no more rows than the header has names"
            raise ValueError(
                f"{at}: row is {row[0].strip()!r}; needed is {wanted}: a square matrix, or columns source and target"
            )
        count += 1
        cells = {name: cell.strip() for name, cell in zip(more, row[1 + len(names) :], strict=True) if cell.strip()}
        _check(cells, at)
        wiring.units[names[count - 1]].update(cells)
        for name, cell in zip(names, row[1:], strict=False):
            if cell.strip() and (value := number(cell, at, f"weight to {name}")):
                wiring.add_synapse(names[count - 1], name, {"weight": value}, at)
    if count < len(names):
        raise ValueError(
            f"{wiring.origin}: has rows for {count} units, and columns for {len(names)}: give a square matrix"
        )


def write_csv(path: str | Path, wiring: Wiring) -> None:
    """A list: first a row for every unit, then one for every synapse. Numbers are written so that they come back equal;
    other attributes come back as text."""
    units, synapses = list(wiring.units.values()), list(wiring.synapses.values())
    columns = ["source", "target", *(name for name in _KNOWN[2:] if any(name in row for row in (*units, *synapses)))]
    columns += [name for name in attribute_names((*units, *synapses)) if name not in columns]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for name, row in wiring.units.items():
        writer.writerow([name, "", *(_cell(row.get(column)) for column in columns[2:])])
    for (source, target), row in wiring.synapses.items():
        writer.writerow([source, target, *(_cell(row.get(column)) for column in columns[2:])])
    Path(path).write_bytes(text.getvalue().encode())


def _cell(value: Any) -> str:
    return "" if value is None else repr(value) if isinstance(value, float) else str(value)
