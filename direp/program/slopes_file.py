"""Slope bounds of every unit from a file: CSV, .npy or .npz of plain arrays."""

import csv
import difflib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..runs import Unreadable, check_file, read_arrays, reading

if TYPE_CHECKING:
    from ..certificates import Slopes

_COLUMNS = ("unit", "d1", "d2")


def read_slopes(path: str | Path, names: Sequence[str]) -> "Slopes":
    """What a file says of the slopes of units with these names (the free ones, in the order of the graph).

    - `.csv`: d1 and d2 of a unit in each line, or d2 alone (d1 is then 0), in the order of the units. With a header of
      `unit`, `d1` and `d2` lines are in any order; `d1` and `unit` may be missing.
    - `.npy`, or `.npz` with an array `slopes`: free x 2, or free.

    Raises `Unreadable` for a file that is not that, `ValueError` for numbers that cannot be.
    """
    from ..certificates import Slopes

    path = Path(path)
    if path.suffix not in (".csv", ".npy", ".npz"):
        raise Unreadable(f"{path} is no file of slopes: give .csv, .npy, or .npz with an array slopes")
    check_file(path)
    read = {".csv": _csv, ".npy": _npy, ".npz": _npz}[path.suffix]
    return Slopes(read(path, list(names)), path.name)


def _npz(path: Path, names: list[str]) -> np.ndarray:
    arrays, held = read_arrays(path, ("slopes",))
    if "slopes" not in arrays:
        raise Unreadable(f"{path} holds {', '.join(held) or 'nothing'}; needed is slopes: free x 2, or free")
    return arrays["slopes"]


def _npy(path: Path, names: list[str]) -> np.ndarray:
    with reading(f"{path} is not a readable .npy file of plain numbers: write one with numpy.save"):
        return np.load(path, allow_pickle=False)


def _csv(path: Path, names: list[str]) -> Any:
    try:
        text = path.read_bytes().decode("utf-8-sig")
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise Unreadable(f"{path} is no CSV file in UTF-8: {error}") from None
    rows = [[cell.strip() for cell in row] for row in rows]
    if not rows:
        raise Unreadable(f"{path} is empty: give d1 and d2 of a unit in each line")
    head = rows[0] if _is_header(rows[0]) else ["d2"] if len(rows[0]) == 1 else ["d1", "d2"]
    rows, first = (rows[1:], 2) if _is_header(rows[0]) else (rows, 1)
    if "d2" not in head or set(head) - set(_COLUMNS) or len(set(head)) < len(head):
        raise Unreadable(f"{path}: columns are {', '.join(head)}; needed is d2, and unit and d1 may be there")
    table = []
    for line, row in enumerate(rows, first):
        if len(row) != len(head):
            raise Unreadable(f"{path}, row {line}: has {len(row)} cells, and row 1 has {len(head)}: give each as many")
        table.append(dict(zip(head, row, strict=True)))
    if "unit" in head:
        table = _ordered(path, table, names)
    return np.array([[_number(path, row.get("d1", "0")), _number(path, row["d2"])] for row in table]).reshape(-1, 2)


def _is_header(row: list[str]) -> bool:
    return any(cell in _COLUMNS for cell in row)


def _ordered(path: Path, table: list[dict[str, str]], names: list[str]) -> list[dict[str, str]]:
    by_name = {row["unit"]: row for row in table}
    strange = next((name for name in by_name if name not in names), None)
    if strange is not None:
        near = difflib.get_close_matches(strange, names, n=1)
        raise ValueError(
            f"{path}: {strange!r} is no free unit of the network"
            + (
                f": did you mean {near[0]!r}?"
                if near
                else f"; they are {', '.join(names[:5])}{' ...' * (len(names) > 5)}"
            )
        )
    if len(by_name) < len(table):
        raise ValueError(f"{path}: a unit is there twice: give each one line")
    missing = [name for name in names if name not in by_name]
    if missing:
        raise ValueError(f"{path}: has no line for {', '.join(missing[:5])}: give every free unit its slopes")
    return [by_name[name] for name in names]


def _number(path: Path, cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        raise ValueError(f"{path}: {cell!r} is no number: write one such as 0.25") from None
