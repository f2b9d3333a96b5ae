"""Scores of predictions in the units of the data: what a table's user asks for."""

from typing import Any

import numpy as np

from ..tasks import Targets
from ..training import Prediction

_FEW = 12  # classes up to which each one is told


def scores_of(targets: Targets, found: Prediction, y: np.ndarray) -> dict[str, Any]:
    """Of labels accuracy, balanced accuracy, and precision and recall of every class; of several labels at once the
    share of rows that are right throughout, and F1; of numbers $R^2$ and the mean absolute error, target by target.

    `y` are targets as the data has them; empty if some of them are missing.
    """
    from sklearn import metrics as _metrics

    metrics: Any = _metrics  # whose stubs know less than it does

    if any(value is None or value != value for value in np.asarray(y).ravel().tolist()):
        return {}
    if targets.kind == "regression":
        true, said = (np.asarray(v, float).reshape(len(y), -1) for v in (y, found.value))
        names = targets.names or tuple(f"y{k}" for k in range(true.shape[1]))
        each = {
            name: {"r2": _r2(true[:, k], said[:, k]), "mae": float(metrics.mean_absolute_error(true[:, k], said[:, k]))}
            for k, name in enumerate(names)
        }
        return {"r2": float(np.mean([e["r2"] for e in each.values()])), "targets": each}
    if targets.kind == "multilabel":
        right = (found.value == y).all(1)
        f1 = metrics.f1_score(np.asarray(y, int), found.value, average="macro", zero_division=0)
        return {"accuracy": float(right.mean()), "f1": float(f1)}
    labels = list(targets.classes)
    place = {label: k for k, label in enumerate(labels)}
    true, said = (np.array([place.get(label, -1) for label in np.asarray(v).tolist()]) for v in (y, found.value))
    there = np.unique(true)
    precision, recall, _, count = metrics.precision_recall_fscore_support(
        true, said, labels=range(len(labels)), zero_division=0
    )
    classes = {
        str(label): {"precision": float(precision[k]), "recall": float(recall[k]), "samples": int(count[k])}
        for k, label in enumerate(labels)
    }
    known = [recall[k] if k >= 0 else 0.0 for k in there]
    return {"accuracy": float((true == said).mean()), "balanced_accuracy": float(np.mean(known)), "classes": classes}


def _r2(true: np.ndarray, said: np.ndarray) -> float:
    from sklearn.metrics import r2_score

    return float(r2_score(true, said)) if len(true) > 1 else float("nan")


def mean_of(several: list[dict[str, Any]]) -> dict[str, Any]:
    """Means, entry by entry, over seeds."""
    first = several[0]
    return {
        name: mean_of([one[name] for one in several])
        if isinstance(value, dict)
        else value
        if isinstance(value, int)
        else float(np.mean([one[name] for one in several]))
        for name, value in first.items()
    }


def spoken(scores: dict[str, Any]) -> str:
    """In a line."""
    if "targets" in scores:
        parts = [
            f"{name}: R2 {each['r2']:.3f}, mean error {each['mae']:.4g}" for name, each in scores["targets"].items()
        ]
        return "; ".join(parts)
    if "f1" in scores:
        return f"all labels right {scores['accuracy']:.2%}, F1 {scores['f1']:.3f}"
    return f"right {scores['accuracy']:.2%}, balanced over classes {scores['balanced_accuracy']:.2%}"
