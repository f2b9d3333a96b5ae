"""Tables of numbers: scikit-learn's bundled data sets and a user's own arrays, split and scaled."""

import difflib

import numpy as np

from .task import Samples, Task

# Functions of sklearn.datasets. Scikit-learn loads when it is needed: gates do not wait for it.
BUNDLED = {"digits": "load_digits", "iris": "load_iris", "wine": "load_wine", "breast-cancer": "load_breast_cancer"}


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
) -> Task:
    """A task from arrays: `x` (samples x inputs) and one label or number a sample (or a table of numbers).

    **Arguments:**

    - `kind`: `"classification"` (labels of any type, one output unit a class) or `"regression"`.
    - `scale`: `"standard"` (zero mean, unit variance), `"global"` (zero mean each, one variance for
      all: for images), `"range"` (to [0, 1]) or `"none"`. Fitted on the training part.
    - `split`: the seed of the split into training, validation and test, stratified by label. It is not the seed of
      a run: all runs of a task share their test samples.
    - `validation`, `test`: their shares of all samples.
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
    if len(y) != len(x):
        hint = "x looks transposed: give x.T" if x.shape[1] == len(y) else "give one for each row"
        raise ValueError(f"from_arrays: x has shape {x.shape}, {len(x)} samples, but y has {len(y)} targets; {hint}")
    try:
        x = x.astype(float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"from_arrays(x=...) is not all numbers ({error}); encode categories first") from None
    if not (validation > 0 and test > 0 and validation + test < 1):
        raise ValueError(
            f"from_arrays(validation={validation}, test={test}) must be above 0 and leave some to train on"
        )
    if not np.isfinite(x).all():
        row, column = np.argwhere(~np.isfinite(x))[0]
        raise ValueError(f"from_arrays: x[{row}, {column}] is {x[row, column]}; remove or fill in such entries")

    if kind == "classification":
        labels, codes, counts = _encode(y)
        targets, stratify = np.eye(len(labels))[codes], codes
        if counts.min() < 3:
            raise ValueError(
                f"from_arrays: class {labels[counts.argmin()]} has {counts.min()} of the samples; every class needs 3 "
                "or more, one for each of training, validation and test (numbers to predict need kind='regression')"
            )
        classes = tuple(str(label) for label in labels) if classes is None else classes
    elif kind == "regression":
        try:
            targets, stratify, classes = y.reshape(len(y), -1).astype(float), None, ()
        except (TypeError, ValueError) as error:
            raise ValueError(f"from_arrays(y=...) is not all numbers ({error}), which regression needs") from None
    else:
        raise ValueError(f"from_arrays(kind={kind!r}) must be 'classification' or 'regression'")

    from sklearn.model_selection import train_test_split

    index = np.arange(len(x))
    try:
        rest, testing = train_test_split(index, test_size=test, random_state=split, stratify=stratify)
        share = validation / (1 - test)
        again = None if stratify is None else stratify[rest]
        training, validating = train_test_split(rest, test_size=share, random_state=split, stratify=again)
    except ValueError as error:
        raise ValueError(f"from_arrays: {len(x)} samples cannot be split like this: {error}") from None
    x = scaled(scale, x[training], x)
    parts = (Samples(x[part], targets[part]) for part in (training, validating, testing))
    return Task(name, *parts, kind=kind, classes=classes)


def _encode(y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if y.ndim != 1:
        one_hot = y.ndim == 2 and y.shape[1] > 1 and y.dtype.kind in "bif" and ((y == 0) | (y == 1)).all()
        hint = ": give y.argmax(1)" if one_hot else ""
        raise ValueError(f"from_arrays(y=...) has shape {y.shape}; needed is one label for each sample{hint}")
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise ValueError("from_arrays(y=...) holds NaN or infinite labels; remove those samples")
    if y.dtype.kind == "f" and (y != np.round(y)).any():
        raise ValueError(
            "from_arrays(y=...) holds fractions, which are no labels; to predict numbers, make the task in Python with "
            "kind='regression'"
        )
    labels, codes, counts = np.unique(y, return_inverse=True, return_counts=True)
    if len(labels) < 2:
        raise ValueError(f"from_arrays(y=...) holds one class only ({labels[0]}); classification needs 2 or more")
    return labels, codes, counts


def scaled(scale: str, training: np.ndarray, x: np.ndarray) -> np.ndarray:
    """All of `x`, scaled by what the training part alone shows."""
    if scale == "none":
        return x
    if scale == "global":
        centre = training.mean(0)
        return (x - centre) / max(float((training - centre).std()), 1e-12)
    from sklearn.preprocessing import MinMaxScaler, StandardScaler

    scalers = {"standard": StandardScaler, "range": MinMaxScaler}
    if scale not in scalers:
        raise ValueError(f"from_arrays(scale={scale!r}) must be 'standard', 'global', 'range' or 'none'")
    return scalers[scale]().fit(training).transform(x)
