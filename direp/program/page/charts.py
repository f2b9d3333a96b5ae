"""Figures over epochs for a page: panels of series, each with its middle and its bands over seeds."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...plot.style import LOSS_FLOOR

_MOST = 300  # epochs that a line shows
_COLOURS, _STYLES = 8, ("solid", "dashed", "dotted")  # those of page.css, and what further lines are told apart by

Shown = dict[str, tuple[str, str, dict[str, str]]]

# Of one run: what a panel is called, its unit, and its figures with their names.
_ONE: Shown = {
    "loss": ("Loss", "mean cost", {"loss": "training", "validation_loss": "validation"}),
    "accuracy": ("Accuracy", "share correct", {"accuracy": "training", "validation_accuracy": "validation"}),
    "margin": ("Contraction margin", "1/time", {"lowest_margin": "lowest of the epoch"}),
    "directed": ("How directed", "", {"antisymmetry": "antisymmetric share", "agreement": "feedback to weights, cosine",
                                      "cosine": "rule to gradient, cosine"}),
    "steps": ("Steps to settle", "", {"steps_mean": "mean", "steps_max": "most"}),
    "lost": ("Left out", "share of samples", {"unsettled": "unsettled", "unmoved": "not moved by the nudge"}),
}  # fmt: skip
# Of several runs a panel a figure, and a line a run.
_SEVERAL: Shown = {
    "loss": ("Loss on validation samples", "mean cost", {"validation_loss": ""}),
    "accuracy": ("Accuracy on validation samples", "share correct", {"validation_accuracy": ""}),
    "margin": ("Contraction margin", "1/time", {"lowest_margin": ""}),
    "steps": ("Steps to settle", "mean", {"steps_mean": ""}),
}


def charts_of(histories: Mapping[str, Mapping[str, np.ndarray]], whole: bool = False) -> list[dict[str, Any]]:
    """Panels of one run or several, by name; each history has figures, epochs x seeds. Of a figure that says nothing
    (not measured, or zero throughout) there is no line. `whole`: validation samples are the training samples."""
    longest = max((len(values) for history in histories.values() for values in history.values()), default=0)
    chosen = np.unique(np.linspace(0, longest - 1, min(longest, _MOST)).astype(int))
    panels = []
    for key, (title, unit, named) in (_ONE if len(histories) == 1 else _SEVERAL).items():
        series = [
            _series(history[name], label or run, n if label else k, chosen)
            for k, (run, history) in enumerate(histories.items())
            for n, (name, label) in enumerate(named.items())
            if _says(history, name, key) and not (whole and label == "validation")
        ]
        if series:
            panels.append(
                {"title": title, "unit": unit, "log": key == "loss", "floor": LOSS_FLOOR, "zero": key != "accuracy",
                 "epochs": (chosen + 1).tolist(), "series": series}
            )  # fmt: skip
    return panels


def _says(history: Mapping[str, np.ndarray], name: str, key: str) -> bool:
    values = np.asarray(history.get(name, np.nan), float)
    return bool(np.isfinite(values).any() and (key != "lost" or np.nansum(values) > 0))


def _series(values: np.ndarray, name: str, colour: int, chosen: np.ndarray) -> dict[str, Any]:
    """At the chosen epochs the median of all seeds, quartiles and range; nothing beyond the last one."""
    table = np.full((len(chosen), np.asarray(values).reshape(len(values), -1).shape[1]), np.nan)
    there = chosen < len(values)
    table[there] = np.asarray(values, float).reshape(len(values), -1)[chosen[there]]
    known = np.asarray(np.isfinite(table).any(axis=1))
    table[~known] = 0.0

    def told(row: np.ndarray) -> list[float | None]:
        return [float(f"{v:.4g}") if k else None for v, k in zip(row.tolist(), known.tolist(), strict=True)]

    ends = {"least": 0, "low": 0.25, "middle": 0.5, "high": 0.75, "most": 1}
    bands = {end: told(np.nanquantile(table, share, axis=1)) for end, share in ends.items()}
    look = {"colour": colour % _COLOURS, "style": _STYLES[colour // _COLOURS % len(_STYLES)]}
    return {"name": name, **look, "seeds": table.shape[1], **bands}
