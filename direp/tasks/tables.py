"""Tables: scikit-learn's bundled data sets, a user's own arrays and tables, split and scaled."""

import difflib
from collections.abc import Sequence
from typing import Any

import numpy as np

from .preparation import KINDS, Inputs, Preparation, Targets, arrow, is_text
from .task import Samples, Task

# Functions of sklearn.datasets. Scikit-learn loads when it is needed: gates do not wait for it.
BUNDLED = {"digits": "load_digits", "iris": "load_iris", "wine": "load_wine", "breast-cancer": "load_breast_cancer"}
_FEW = 20  # whole numbers of up to so many different values are labels, unless the user says otherwise


def bundled(name: str, *, scale: str = "standard", split: int = 0) -> Task:
    """A data set that comes with scikit-learn: `digits`, `iris`, `wine` or `breast-cancer`. See `from_arrays`."""
    if name not in BUNDLED:
        near = difflib.get_close_matches(name, BUNDLED, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"bundled({name!r}) is unknown: {hint}there are {', '.join(BUNDLED)}")
    from sklearn import datasets

    data = getattr(datasets, BUNDLED[name])()
    names = tuple(str(label) for label in data.target_names)
    return from_arrays(data.data, data.target, name=name, scale=scale, split=split, classes=names)


def from_arrays(
    x: np.ndarray,
    y: np.ndarray,
    *,
    name: str = "data",
    kind: str = "classification",
    scale: str = "standard",
    split: int = 0,
    validation: float = 0.15,
    test: float = 0.15,
    classes: tuple[str, ...] | None = None,
    reach: tuple[float, float] | None = None,
) -> Task:
    """A task from arrays: `x` (samples x inputs) and one label or number a sample (or a table of numbers).

    **Arguments:**

    - `kind`: `"classification"` (labels of any type, one output unit a class; or one-hot rows), `"multilabel"` (rows of
      0 and 1) or `"regression"`.
    - `scale`: `"standard"` (zero mean, unit variance), `"global"` (zero mean each, one variance for
      all: for images), `"range"` (to [0, 1]) or `"none"`. Fitted on the training part.
    - `split`: the seed of the split into training, validation and test, stratified by label. It is not the seed of
      a run: all runs of a task share their test samples.
    - `validation`, `test`: their shares of all samples.
    - `reach`: what outputs can reach, such as `(0, 1)`: targets of a regression are scaled into its inner 80 %, by the
      training part. By default they stay as they are.
    """
    x, y = np.asarray(x), np.asarray(y)
    for part, given in (("x", x), ("y", y)):
        if np.iscomplexobj(given):
            raise ValueError(f"from_arrays({part}=...) holds complex numbers; give real ones")
    if x.ndim == 1:
        x = x[:, None]
    if x.ndim != 2:
        raise ValueError(f"from_arrays(x=...) has shape {x.shape}; needed is (samples, inputs): flatten images first")
    if not x.size:
        raise ValueError(f"from_arrays(x=...) has shape {x.shape} and holds no numbers; give samples x inputs")
    if not y.ndim:
        raise ValueError(f"from_arrays(y=...) is the single entry {str(y)[:40]}; give one for each row of x")
    if len(y) != len(x):
        hint = "x looks transposed: give x.T" if x.shape[1] == len(y) else "give one for each row"
        raise ValueError(f"from_arrays: x has shape {x.shape}, {len(x)} samples, but y has {len(y)} targets; {hint}")
    try:
        x = x.astype(float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"from_arrays(x=...) is not all numbers ({error}); encode categories first") from None
    if not np.isfinite(x).all():
        row, column = np.argwhere(~np.isfinite(x))[0]
        raise ValueError(f"from_arrays: x[{row}, {column}] is {x[row, column]}; remove or fill in such entries")
    parts = (validation, test)
    return _task("from_arrays", name, x, y, (), kind, scale, split, parts, classes, reach)


def from_table(
    table: Any,
    target: str | Sequence[str],
    *,
    name: str = "data",
    kind: str = "auto",
    drop: Sequence[str] = (),
    scale: str = "standard",
    split: int = 0,
    validation: float = 0.15,
    test: float = 0.15,
    reach: tuple[float, float] | None = None,
) -> Task:
    """A task from a table with named columns: an Arrow table (`read_table` makes one of a file), a frame of pandas
    or of polars.

    A column of words becomes an input for each, which is 0 or 1; a gap in numbers is filled with their median, a gap in
    words is none of them. All this is fitted on the training part alone, and `Task.preparation` keeps it.

    **Arguments:**

    - `target`: the column to predict, or several. `drop`: columns to leave out.
    - `kind`: as in `from_arrays`; `"auto"`: words, truth values, and up to 20 different whole numbers are labels, other
      numbers a regression.
    - The others: as in `from_arrays`.
    """
    table = arrow(table)
    targets, left_out = ([target] if isinstance(target, str) else list(target)), list(drop)
    for what, names in (("target", targets), ("drop", left_out)):
        for column in names:
            if column not in table.column_names:
                near = difflib.get_close_matches(column, table.column_names, n=1)
                hint = f"did you mean {near[0]!r}? " if near else ""
                raise ValueError(f"{what} {column!r} is no column: {hint}there are {', '.join(table.column_names)}")
    columns = [_labels(column, table.column(column)) for column in targets]
    if len(columns) > 1 and any(column.dtype.kind in "OU" for column in columns):
        raise ValueError("several targets must be numbers: name one column of words, or train a network for each")
    y = columns[0] if len(columns) == 1 else np.stack(columns, 1)
    inputs = table.drop_columns([*dict.fromkeys([*targets, *left_out])])
    if not inputs.num_columns:
        raise ValueError("no column is left to predict from: name fewer in target and drop")
    kind = kind_of(y) if kind == "auto" else kind
    parts = (validation, test)
    return _task("from_table", name, inputs, y, tuple(targets), kind, scale, split, parts, None, reach)


def kind_of(y: np.ndarray) -> str:
    """What targets look like: words, truth values and a few different whole numbers are labels; rows of 0 and 1 with
    several 1s are several labels (truth values count as these); other numbers are a regression."""
    y = np.asarray(y)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.dtype.kind not in ("iufb" if y.ndim == 2 else "iuf"):
        return "classification"
    if y.ndim == 2:
        marks = ((y == 0) | (y == 1)).all()
        return ("classification" if (y.sum(1) == 1).all() else "multilabel") if marks else "regression"
    return "classification" if (y == np.round(y)).all() and len(np.unique(y)) <= _FEW else "regression"


def _task(call, name, x, y, targets, kind, scale, split, shares, classes, reach) -> Task:
    validation, test = shares
    if not (validation > 0 and test > 0 and validation + test < 1):
        raise ValueError(f"{call}(validation={validation}, test={test}) must be above 0 and leave some to train on")
    if kind not in KINDS:
        raise ValueError(f"{call}(kind={kind!r}) must be one of {', '.join(map(repr, KINDS))}")
    what, y = _targets(call, y, kind, targets)
    stratify = None
    if kind == "classification":
        labels, stratify, counts = np.unique(y, return_inverse=True, return_counts=True)
        if counts.min() < 3:
            raise ValueError(
                f"{call}: class {labels[counts.argmin()]} has {counts.min()} of the samples; every class needs 3 "
                "or more, one for each of training, validation and test (numbers to predict need kind='regression')"
            )
    training, validating, testing = _split(call, len(y), split, validation, test, stratify)
    if classes is not None:
        what, y = Targets("classification", targets, classes), np.array(classes, object)[stratify]
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is found below
        if kind == "regression":
            what = Targets.regression(y[training], reach, targets)
        inputs = Inputs.fit(x, scale, np.asarray(training))
        x, y = inputs.encode(x), what.encode(y)
    for part, numbers, scales in (("inputs", x, inputs), ("targets", y, what)):
        if not (np.isfinite(numbers).all() and np.isfinite(scales.scale).all() and np.isfinite(scales.centre).all()):
            raise ValueError(
                f"{call}: {part} are too large, or too far apart, for 64 bits once scaled: scale them down"
            )
    parts = (Samples(x[part], y[part]) for part in (training, validating, testing))
    shown = tuple(map(str, what.classes))
    return Task(name, *parts, kind=kind, classes=shown, preparation=Preparation(inputs, what))


def _split(call: str, count: int, split: int, validation: float, test: float, stratify: np.ndarray | None):
    from sklearn.model_selection import train_test_split

    try:
        rest, testing = train_test_split(np.arange(count), test_size=test, random_state=split, stratify=stratify)
        share = validation / (1 - test)
        again = None if stratify is None else stratify[rest]
        training, validating = train_test_split(rest, test_size=share, random_state=split, stratify=again)
    except ValueError as error:
        raise ValueError(f"{call}: {count} samples cannot be split like this: {error}") from None
    return training, validating, testing


def _targets(call: str, y: np.ndarray, kind: str, names: tuple[str, ...]) -> tuple[Targets, np.ndarray]:
    """What targets mean, and those of all samples: labels, or a table of numbers."""
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if kind != "classification":
        try:
            y = y.reshape(len(y), -1).astype(float)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{call}: the targets are not all numbers ({error}), which {kind} needs") from None
        if not np.isfinite(y).all():
            row = int(np.argwhere(~np.isfinite(y))[0, 0])
            raise ValueError(f"{call}: the target of row {row} is {y[row]}; remove or fill in such entries")
        if kind == "multilabel" and not ((y == 0) | (y == 1)).all():
            raise ValueError(f"{call}(kind='multilabel') needs targets of 0 and 1")
        return Targets(kind, names), y
    if y.ndim != 1:
        if y.ndim != 2 or y.dtype.kind not in "biuf" or not (((y == 0) | (y == 1)).all() and (y.sum(1) == 1).all()):
            raise ValueError(
                f"{call}: y has shape {y.shape}; needed is one label for each sample, or rows with a single 1 "
                "(several 1s need kind='multilabel', numbers kind='regression')"
            )
        y = y.argmax(1) if len(names) != y.shape[1] else np.array(names)[y.argmax(1)]
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise ValueError(f"{call}: the labels hold NaN or infinite entries; remove those samples")
    if y.dtype.kind == "f" and (y != np.round(y)).any():
        raise ValueError(f"{call}: y holds fractions, which are no labels; to predict numbers, give kind='regression'")
    kinds = sorted({type(label).__name__ for label in y.tolist()})
    if len(kinds) > 1 or kinds[0] not in ("bool", "int", "float", "str"):
        raise ValueError(
            f"{call}: the labels are {' and '.join(kinds)}; needed is one kind, of words, numbers or truth values"
        )
    labels = np.unique(y)
    if len(labels) < 2:
        raise ValueError(f"{call}: y holds one class only ({labels[0]}); classification needs 2 or more")
    return Targets("classification", names, tuple(labels.tolist())), y


def _labels(name: str, column: Any) -> np.ndarray:
    """A target column as numbers, truth values or words."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):  # first, as its gaps may be among its words
        kind, column = kind.value_type, column.cast(kind.value_type)
    if column.null_count:
        row = next(k for k, value in enumerate(column) if not value.is_valid)
        raise ValueError(
            f"target {name!r} is missing in {column.null_count} of {len(column)} rows, first in row {row + 1} below "
            "the names of columns: remove such rows"
        )
    if not (pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)
            or pa.types.is_decimal(kind) or is_text(kind)):  # fmt: skip
        raise ValueError(f"target {name!r} holds {kind}; give labels or numbers")
    if pa.types.is_integer(kind):  # as they are: a list would make floats of numbers beyond 63 bits
        return column.to_numpy()
    # Words as objects: an array of text makes every one as long as the longest.
    return np.array(column.to_pylist(), object if is_text(kind) else float if pa.types.is_decimal(kind) else None)
