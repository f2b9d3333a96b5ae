"""What a run wrote of its epochs, read back."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from .errors import Unreadable, reading
from .files import check_file


def read_history(path: Path) -> dict[str, np.ndarray]:
    """The figures of every epoch, epochs x seeds each, out of the `metrics.jsonl` of a run folder (or that file
    itself); a single column where it kept no more than one number over all seeds. What is not known is NaN.

    Raises `Unreadable` if there is no such file, no epoch in it, a line that is not one, or one that is missing between
    others. What is missing at the end only the status of the run can tell.
    """
    path = path / "metrics.jsonl" if path.is_dir() else path
    check_file(path)
    with reading(f"{path} cannot be read"):
        text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    if lines and not text.endswith("\n") and not _whole(lines[-1]):
        lines.pop()  # a process was ended while it wrote it
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(lines, 1):
        with reading(f"{path} is damaged: line {number} is no epoch of a run"):
            rows.append(_row(line, number))
            if rows[-1].keys() != rows[0].keys():
                raise ValueError("it has other figures than the first one")
            sizes = {name: len(values) for name, values in rows[-1].items()}
            if sizes != {name: len(values) for name, values in rows[0].items()}:
                raise ValueError("it has other seeds than the first one")
    if not rows:
        raise Unreadable(f"{path} holds no epoch: the run ended before its first one")
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def _whole(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _row(line: str, number: int) -> dict[str, np.ndarray]:
    """The figures of this epoch, one number a seed where they were kept."""
    entry = json.loads(line)
    if entry["epoch"] != number:
        raise ValueError(f"it is of epoch {entry['epoch']!r}, not {number}: a line is missing or there twice")
    told = {name: value for name, value in entry.items() if name not in ("epoch", "per_seed")}
    told |= entry.get("per_seed", {})
    row = {name: np.atleast_1d(np.asarray(value, float)) for name, value in told.items()}
    if not row or any(values.ndim != 1 or not values.size for values in row.values()):
        raise ValueError("its figures are no numbers")
    return row
