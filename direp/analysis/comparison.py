"""Several runs on the same seeds compared: figures with intervals, and paired differences."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..training import Run
from .statistics import bootstrap_mean, wilson


def solved_by(run: Run) -> np.ndarray:
    """Whether a seed has counted as solved up to an epoch (epochs x seeds), for a task with such a notion."""
    assert run.task.solved is not None
    now = run.task.solved(run.history["validation_loss"], run.history["validation_accuracy"])
    return np.logical_or.accumulate(now, 0)


def epochs_to_solve(run: Run) -> np.ndarray | None:
    """For every seed the first epoch that counts as solved, infinite if none does; `None` without such a notion."""
    if run.task.solved is None or not run.history:
        return None
    solved = solved_by(run)
    return np.where(solved.any(0), solved.argmax(0) + 1.0, np.inf)


def figures_of(run: Run, summary: dict[str, Any]) -> dict[str, Any]:
    """One rule's figures: shares with Wilson's interval, means with a bootstrap's, all at 95 per cent.

    `steps` are those of a sample's free phase in the mean, `steps_total` those of all free phases of a training. Seeds
    that failed count with their last good weights.
    """
    accuracy, loss = np.asarray(run.test.accuracy, float), np.asarray(run.test.loss, float)
    history, solved, first = run.history, run.solved, epochs_to_solve(run)
    cosine = history.get("cosine", np.full((1, 1), np.nan))
    measured = np.isfinite(cosine).any()
    return {
        "seeds": len(run.seeds),
        "failed": int(run.failed.sum()),
        "solved": None if solved is None else int(solved.sum()),
        "solved_interval": None if solved is None else wilson(int(solved.sum()), len(solved)),
        "epochs_to_solve": None if first is None else float(np.median(first)),
        "test_accuracy": float(accuracy.mean()),
        "test_accuracy_interval": bootstrap_mean(accuracy),
        "test_loss": float(loss.mean()),
        "test_loss_interval": bootstrap_mean(loss),
        "cosine": float(np.nanmean(cosine)) if measured else None,
        "unsettled": float(history["unsettled"].mean()) if history else None,
        "steps": float(history["steps_mean"].mean()) if history else None,
        "steps_total": float(history["steps_mean"].sum(0).mean()) * len(run.task.train.x) if history else None,
        "updates_fell_back": float(history["fell_back"].mean()) if history else None,
        "certificate": summary["certificate"]["verdict"],
        "epochs": summary["epochs"],
        "seconds": summary["seconds"],
        "per_seed": {"seed": list(run.seeds), "test_accuracy": accuracy.tolist(), "test_loss": loss.tolist()},
    }


def paired(runs: Mapping[str, Run]) -> dict[str, Any]:
    """Differences to the first run, seed by seed, with a bootstrap's interval."""
    if not runs:
        return {}
    (first, base), *others = runs.items()
    found = {}
    for name, run in others:
        entry: dict[str, Any] = {"against": first}
        for figure in ("accuracy", "loss"):
            difference = np.asarray(getattr(run.test, figure), float) - np.asarray(getattr(base.test, figure), float)
            entry[figure] = {"mean": float(difference.mean()), "interval": bootstrap_mean(difference)}
        if run.solved is not None and base.solved is not None:
            entry["solved_only_here"] = int((run.solved & ~base.solved).sum())
            entry["solved_only_there"] = int((base.solved & ~run.solved).sum())
        found[name] = entry
    return found


def _range(interval: tuple[float, float], percent: bool = True) -> str:
    scale, unit = (100, " %") if percent else (1, "")
    return f"{scale * interval[0]:.1f} to {scale * interval[1]:.1f}{unit}"


def table(document: dict[str, Any]) -> str:
    """A Markdown table, a row a rule; and a line if they did not have the same number of updates."""
    head = ["rule", "solved", "epochs to solve (median)", "test accuracy", "difference to the first", "unsettled",
            "steps a free phase", "cosine to the gradient", "certificate", "seconds"]  # fmt: skip
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for name, entry in document["rules"].items():
        solved = ""
        if entry["solved"] is not None:
            solved = f"{entry['solved']} of {entry['seeds']} ({_range(entry['solved_interval'])})"
        first = entry["epochs_to_solve"]
        pair = document["paired"].get(name)
        accuracy = f"{entry['test_accuracy']:.2%}"
        if np.isfinite(entry["test_accuracy_interval"]).all():
            accuracy += f" ({_range(entry['test_accuracy_interval'])})"
        difference = ""
        if pair is not None:
            difference = f"{100 * pair['accuracy']['mean']:+.2f} points"
            if np.isfinite(pair["accuracy"]["interval"]).all():
                difference += f" ({_range(pair['accuracy']['interval']).removesuffix(' %')})"
        failed = f"{entry['failed']} failed" if entry["failed"] else ""
        cells = [
            name, ", ".join(filter(None, (solved, failed))),
            "" if first is None else f"{first:.0f}" if np.isfinite(first) else "most never do",
            accuracy, difference, "" if entry["unsettled"] is None else f"{entry['unsettled']:.2%}",
            "" if entry["steps"] is None else f"{entry['steps']:.1f}",
            "" if entry["cosine"] is None else f"{entry['cosine']:.3f}",
            entry["certificate"], f"{entry['seconds']:.0f}",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    if len({entry["updates"] for entry in document["rules"].values()}) > 1:
        updates = ", ".join(f"{name} {entry['updates']}" for name, entry in document["rules"].items())
        lines += ["", f"Budgets differ. Updates a seed: {updates}."]
    return "\n".join(lines) + "\n"
