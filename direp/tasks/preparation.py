"""From the columns of a table to the inputs of a network, and from its outputs back to labels or values.

What is learned of the training part (scales, categories, what fills gaps) is plain data: a run keeps it as JSON, and
new rows go the same way.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

KINDS = ("classification", "multilabel", "regression")
SCALES = ("standard", "global", "range", "none")
_MOST_CATEGORIES = 100


@dataclass(frozen=True)
class Column:
    """A column of a table. `categories` are those of a column of words, each of which becomes an input that is 0 or 1;
    without them the column holds numbers, and `fill` stands for one that is missing."""

    name: str
    fill: float = 0.0
    categories: tuple[str, ...] = ()

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the inputs that it becomes."""
        return tuple(f"{self.name}={category}" for category in self.categories) or (self.name,)


@dataclass(frozen=True)
class Inputs:
    """How rows become inputs: columns in this order, words as one input a category, $(x-\\text{centre})/\\text{scale}$.

    - `named`: whether the columns had names, by which those of new rows are then found.
    - `centre`, `scale`: one number for all inputs, or one for each.
    """

    columns: tuple[Column, ...]
    centre: np.ndarray
    scale: np.ndarray
    named: bool = False

    @classmethod
    def fit(cls, table: Any, scale: str, rows: np.ndarray | None = None, weight: np.ndarray | None = None) -> "Inputs":
        """From a table, of which `rows` (by default all) are the training part; `weight` counts each of these."""
        columns = tuple(_column(name, values, rows) for name, values in columns_of(table).items())
        if not columns:
            raise ValueError("the table has no column of inputs")
        bare = cls(columns, np.zeros(1), np.ones(1), not isinstance(table, np.ndarray))
        raw = bare.encode(table)
        raw = raw if rows is None else raw[rows]
        words = np.array([bool(column.categories) for column in columns for _ in column.inputs])
        centre, spread = _scaling(scale, raw, weight)
        if words.any() and scale != "none":  # an input that is 0 or 1 is scaled already
            centre, spread = (np.where(words, plain, ends) for plain, ends in ((0.0, centre), (1.0, spread)))
        return dataclasses.replace(bare, centre=np.atleast_1d(centre), scale=np.atleast_1d(spread))

    @property
    def names(self) -> tuple[str, ...]:
        """One name an input."""
        return tuple(name for column in self.columns for name in column.inputs)

    def encode(self, table: Any) -> np.ndarray:
        """Rows (a matrix, or a table with named columns) as inputs, samples x inputs."""
        held = self._held(table)
        if isinstance(table, np.ndarray) and table.dtype != object and not any(c.categories for c in self.columns):
            fill = np.array([column.fill for column in self.columns])
            return (np.where(np.isnan(table), fill, table) - self.centre) / self.scale
        parts = [_encoded(column, held[column.name]) for column in self.columns]
        return (np.concatenate(parts, 1) - self.centre) / self.scale

    def _held(self, table: Any) -> dict[str, np.ndarray]:
        """The columns of some rows: by name where both have names, else by place."""
        held, needed = columns_of(table), [column.name for column in self.columns]
        if self.named and not isinstance(table, np.ndarray):
            missing = [name for name in needed if name not in held]
            if missing:
                lacks = f"column {_some(missing)} is" if len(missing) == 1 else f"columns {_some(missing)} are"
                raise ValueError(
                    f"{lacks} missing: the network was trained on {_some(needed)}, and these rows have "
                    f"{_some(list(held))}"
                )
            return held
        if len(held) != len(needed):
            raise ValueError(
                f"these rows have {len(held)} columns; the network was trained on {len(needed)}, in the order "
                f"{_some(needed)}"
            )
        return dict(zip(needed, held.values(), strict=True))

    def unknown(self, table: Any) -> dict[str, tuple[str, ...]]:
        """For every column of words, those in these rows that the training part did not have: they count as none."""
        held, found = self._held(table), {}
        for column in (column for column in self.columns if column.categories):
            words = {_word(word) for word in held[column.name].tolist() if word is not None}
            if new := sorted(words - set(column.categories)):
                found[column.name] = tuple(new)
        return found

    def gaps(self, table: Any) -> dict[str, int]:
        """How many entries are missing in these rows, for every column that has such."""
        held = self._held(table)
        counts = {
            name: sum(v is None or v != v for v in held[name].tolist()) for name in (c.name for c in self.columns)
        }
        return {name: count for name, count in counts.items() if count}


@dataclass(frozen=True)
class Targets:
    """What outputs mean.

    - `kind`: `"classification"`, `"multilabel"` (every output says yes or no by itself) or `"regression"`.
    - `names`: of the target columns.
    - `classes`: the labels, one an output (two for a single output, which stands for the second).
    - `centre`, `scale`: a regression's output is $(y-\\text{centre})/\\text{scale}$, one number for every target.
    """

    kind: str
    names: tuple[str, ...] = ()
    classes: tuple[Any, ...] = ()
    centre: np.ndarray = field(default_factory=lambda: np.zeros(1))
    scale: np.ndarray = field(default_factory=lambda: np.ones(1))

    @classmethod
    def regression(
        cls, y: np.ndarray, reach: tuple[float, float] | None, names: Sequence[str] = (),
        weight: np.ndarray | None = None,
    ) -> "Targets":  # fmt: skip
        """Numbers, the training part of which (samples x targets) fills what outputs can reach, but for a tenth at
        either end; by default they stay as they are. Where only one end is bounded, the part begins there, at a tenth,
        and spreads to 0.9; where none is, it has zero mean and unit variance."""
        names = tuple(names)
        if reach is None:
            return cls("regression", names)
        kept = y if weight is None else y[weight > 0]
        low, high = reach
        if np.isinf(low) and np.isinf(high):
            centre, spread = _moments(y, weight)
            return cls("regression", names, centre=centre, scale=spread)
        low, high = (high - 1 if np.isinf(low) else low), (low + 1 if np.isinf(high) else high)
        first, width = low + 0.1 * (high - low), 0.8 * (high - low)
        least, span = kept.min(0), np.ptp(kept, axis=0)
        scale = np.where(span > 0, span, 1.0) / width
        middle = np.where(span > 0, least, least - 0.5)  # a constant target lies in the middle
        return cls("regression", names, centre=middle - first * scale, scale=scale)

    def encode(self, y: np.ndarray) -> np.ndarray:
        """Targets as outputs, samples x outputs."""
        if self.kind == "regression":
            return (np.asarray(y, float).reshape(len(y), -1) - self.centre) / self.scale
        if self.kind == "multilabel":
            return np.asarray(y, float)
        place = {label: k for k, label in enumerate(self.classes)}
        return np.eye(len(place))[[place[label] for label in np.asarray(y).tolist()]]

    def raw(self, table: Any) -> np.ndarray:
        """Targets as they stand in a table, as labels or numbers of the kind that the training had."""
        if isinstance(table, np.ndarray):
            if self.kind == "classification" and table.ndim == 2:
                table = table[:, 0] if table.shape[1] == 1 else table.argmax(1)
            return table
        columns = [table.column(name).to_pylist() for name in self.names]
        if self.kind != "classification":
            return np.array(columns, float).T
        if len(columns) > 1:  # a single 1 in every row: the column that has it is the label
            rows = np.array(columns, float).T
            return np.array([None if np.isnan(row).any() else self.names[row.argmax()] for row in rows], object)
        kinds = {str(label): label for label in self.classes} | {label: label for label in self.classes}  # 1.0 is 1
        return np.array([kinds.get(label, kinds.get(str(label), label)) for label in columns[0]], object)

    def decode(self, outputs: np.ndarray) -> np.ndarray:
        """Labels (or values, samples x targets; a row of numbers if there is one target) from outputs."""
        if self.kind == "regression":
            values = outputs * self.scale + self.centre
            return values[:, 0] if values.shape[1] == 1 else values
        if self.kind == "multilabel":
            return (outputs > 0.5).astype(int)
        chosen = (outputs[:, 0] > 0.5).astype(int) if outputs.shape[1] == 1 else outputs.argmax(1)
        return np.array(self.classes)[chosen]


@dataclass(frozen=True)
class Preparation:
    """What a run keeps of its data: how rows become inputs, and what outputs mean."""

    inputs: Inputs
    targets: Targets

    @classmethod
    def plain(cls, inputs: int, outputs: int) -> "Preparation":
        """Rows that are inputs, and values that are outputs."""
        columns = tuple(Column(f"x{k}") for k in range(inputs))
        return cls(
            Inputs(columns, np.zeros(1), np.ones(1)), Targets("regression", tuple(f"y{k}" for k in range(outputs)))
        )

    def check(self, inputs: int, outputs: int) -> None:
        """Raise `ValueError` unless it is that of a network with so many inputs and outputs."""
        columns, targets = self.inputs.columns, self.targets
        classes = len(targets.classes) if targets.kind == "classification" else outputs
        for fine, what in (
            (len(self.inputs.names) == inputs, f"its columns make {len(self.inputs.names)} inputs, not {inputs}"),
            (all(isinstance(c.fill, float) and np.isfinite(c.fill) for c in columns), "what fills gaps is no number"),
            (all(isinstance(word, str) for c in columns for word in (c.name, *c.categories)), "columns are no text"),
            (targets.kind in KINDS, f"its kind is {targets.kind!r}, none of {', '.join(KINDS)}"),
            (classes == outputs or (classes, outputs) == (2, 1), f"it has {classes} classes for {outputs} outputs"),
            (all(isinstance(label, str | int | float) for label in targets.classes), "its classes are no labels"),
            (all(isinstance(name, str) for name in targets.names), "its targets have names that are no text"),
            *((part.centre.shape in ((1,), (size,)) and part.scale.shape in ((1,), (size,))
               and np.isfinite([*part.centre, *part.scale]).all() and (part.scale > 0).all(), "its scales do not fit")
              for part, size in ((self.inputs, inputs), (targets, outputs))),
        ):  # fmt: skip
            if not fine:
                raise ValueError(what)

    def to_dict(self) -> dict[str, Any]:
        """As JSON knows it; every number comes back bit by bit."""
        kept = dataclasses.asdict(self)
        for part in kept.values():
            part |= {name: part[name].tolist() for name in ("centre", "scale")}
        return kept

    @classmethod
    def from_dict(cls, kept: dict[str, Any]) -> "Preparation":
        inputs, targets = dict(kept["inputs"]), dict(kept["targets"])
        for part in (inputs, targets):
            part |= {name: np.array(part[name], float) for name in ("centre", "scale")}
        inputs["columns"] = tuple(
            Column(**{**column, "categories": tuple(column["categories"])}) for column in inputs["columns"]
        )
        targets |= {name: tuple(targets[name]) for name in ("names", "classes")}
        return cls(Inputs(**inputs), Targets(**targets))


def columns_of(table: Any) -> dict[str, np.ndarray]:
    """The columns of a matrix or of an Arrow table: numbers in 64 bits with NaN for a gap, or words with `None`."""
    if isinstance(table, np.ndarray):
        return {f"x{k}": table[:, k] for k in range(table.shape[1])}
    return {name: _values(name, table.column(name)) for name in table.column_names}


def arrow(frame: Any) -> Any:
    """A frame of pandas or polars, or whatever exports Arrow's streams, as an Arrow table."""
    import pyarrow

    table = frame if isinstance(frame, pyarrow.Table) else pyarrow.table(frame)
    names = table.column_names
    twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if twice is not None:
        raise ValueError(f"the table has two columns {twice!r}: give each its own name")
    return table


def is_text(kind: Any) -> bool:
    """Whether an Arrow type is one of words."""
    import pyarrow as pa

    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _values(name: str, column: Any) -> np.ndarray:
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if pa.types.is_boolean(kind):
        column = column.cast(pa.int8())
    if is_text(kind):
        return np.array(column.to_pylist(), object)
    if pa.types.is_null(kind):
        return np.full(len(column), np.nan)
    if not (pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)
            or pa.types.is_decimal(kind)):  # fmt: skip
        raise ValueError(f"column {name!r} holds {kind}; give numbers or words, or leave it out (--drop {name})")
    return column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False).astype(float)


def _column(name: str, values: np.ndarray, rows: np.ndarray | None) -> Column:
    """What the training part shows of a column."""
    values = values if rows is None else values[rows]
    if values.dtype != object:
        values = values.astype(float)
        there = values[np.isfinite(values)]
        if not len(there):
            raise ValueError(f"column {name!r} holds no number in the training part; leave it out (--drop {name})")
        if np.isinf(values).any():
            raise ValueError(f"column {name!r} holds infinite numbers; remove or replace them")
        return Column(name, float(np.median(there)))
    words = [word for word in values if word is not None]
    found = sorted({str(word) for word in words})
    if not found:
        raise ValueError(f"column {name!r} is empty in the training part; leave it out (--drop {name})")
    if len(found) > _MOST_CATEGORIES or (len(found) > 10 and len(found) > len(words) / 2):
        raise ValueError(
            f"column {name!r} holds {len(found)} different words in {len(words)} rows, too many to tell apart (such as "
            f"{_some(found[:2])}): leave it out (--drop {name}), or write it as numbers"
        )
    return Column(name, categories=tuple(found))


def _encoded(column: Column, values: np.ndarray) -> np.ndarray:
    if column.categories:
        words = np.array([None if word is None else _word(word) for word in values.tolist()], object)
        return np.stack([words == category for category in column.categories], 1).astype(float)
    if values.dtype == object:
        word = next((word for word in values if word is not None), None)
        if word is not None:
            raise ValueError(
                f"column {column.name!r} holds the word {word!r}; the network was trained on numbers there"
            )
        return np.full((len(values), 1), column.fill)
    values = values.astype(float)
    if np.isinf(values).any():
        raise ValueError(f"column {column.name!r} holds infinite numbers; remove or replace them")
    return np.where(np.isnan(values), column.fill, values)[:, None]


def _word(value: Any) -> str:
    """A number in a column of words reads as it would have been written."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _scaling(scale: str, x: np.ndarray, weight: np.ndarray | None) -> tuple[Any, Any]:
    if scale == "none":
        return 0.0, 1.0
    if scale == "range":
        kept = x if weight is None else x[weight > 0]
        low, high = kept.min(0), kept.max(0)
        return low, np.where(high > low, high - low, 1.0)
    centre, spread = _moments(x, weight)
    moves = np.ptp(x, axis=0) > 0
    if scale == "standard":
        return centre, spread
    if scale != "global":
        raise ValueError(f"scale={scale!r} must be one of {', '.join(map(repr, SCALES))}")
    largest = max(float(spread[moves].max(initial=0)), np.finfo(float).tiny)
    whole = largest * float(np.linalg.norm(spread[moves] / largest)) / np.sqrt(len(spread))
    return centre, whole if moves.any() else 1.0


def _moments(x: np.ndarray, weight: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of every column; 1 in place of one that only rounding makes."""
    unit = np.ldexp(
        1.0, np.frexp(np.abs(x).max(0))[1] - 1
    )  # squares of numbers of any size neither vanish nor overflow
    small = x / unit
    centre = np.average(small, 0, weight)
    spread = np.sqrt(np.average((small - centre) ** 2, 0, weight))
    return centre * unit, np.where(spread > 20 * np.finfo(float).eps, spread * unit, 1.0)


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:6]))
    return f"{shown} and {len(names) - 6} more" if len(names) > 6 else shown
