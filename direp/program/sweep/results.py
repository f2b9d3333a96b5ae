"""What a sweep has found, out of its folders: every trial, settings ranked by their validation figures, and the chosen
ones, whose test figures alone are told."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...runs import plain, write, write_json
from ..folders import summary_of
from ..settings import parse_seeds
from .trials import Trial, reason_of

_WORSE = {"validation_accuracy": -1, "validation_loss": 1}  # the sign with which a figure counts as worse
SHOWN = 20  # lines of a table for people


def objective_of(asked: str | None, summaries: Sequence[dict[str, Any]]) -> str:
    """What trials are chosen by: as asked, else the accuracy on validation samples where there is one, else the loss.

    Raises `ValueError` for an accuracy that there is not.
    """
    known = any(summary["validation"]["accuracy"] is not None for summary in summaries)
    if asked == "validation_accuracy" and summaries and not known:
        raise ValueError("objective validation_accuracy: the task has no accuracy; use validation_loss")
    return asked or ("validation_accuracy" if known else "validation_loss")


def value_of(summary: dict[str, Any], objective: str) -> float | None:
    """The objective of a trial."""
    part, _, figure = objective.partition("_")
    return summary[part][figure]


def document_of(trials: Sequence[Trial], swept: Sequence[str], objective: str | None, sweep: Path) -> dict[str, Any]:
    """The JSON document of a sweep. Trials that differ by their seeds alone are one candidate."""
    summaries = {trial.name: summary for trial in trials if (summary := summary_of(trial.folder)) is not None}
    states = {trial.name: trial.state for trial in trials}
    by = objective_of(objective, [summaries[name] for name, state in states.items() if state == "done"])
    differing = [name for name in swept if name != "seeds"]
    entries = [_entry(trial, states[trial.name], summaries.get(trial.name), swept) for trial in trials]
    groups: dict[str, list[int]] = {}
    for k, trial in enumerate(trials):
        groups.setdefault(repr([trial.point[name] for name in differing]), []).append(k)
    candidates = [_candidate([entries[k] for k in group], trials[group[0]], differing) for group in groups.values()]
    eligible = [each for each in candidates if each["failed_seeds"] < each["seeds"]]
    candidates = sorted(eligible, key=lambda each: _rank(each, by))
    whole = bool(summaries) and all(s["train"] == s["validation"] == s["test"] for s in summaries.values())
    return plain({
        "sweep": str(sweep), "task": trials[0].settings.task if trials else None, "objective": by, "swept": [*swept],
        "all_patterns": whole,
        "counts": {"trials": len(trials), **count(states.values())},
        "chosen": _chosen(candidates[0], sweep, summaries) if candidates else None,
        "candidates": candidates,
        "trials": entries,
    })  # fmt: skip


def count(states: Any) -> dict[str, int]:
    states = [*states]
    return {state: states.count(state) for state in ("done", "failed", "refused", "running", "missing")}


def _entry(trial: Trial, state: str, summary: dict[str, Any] | None, swept: Sequence[str]) -> dict[str, Any]:
    """One trial, without its test figures."""
    found: dict[str, Any] = {
        "trial": trial.name, "state": state, "settings": {name: trial.point[name] for name in swept},
        "seeds": trial.settings.seeds,
    }  # fmt: skip
    if state in ("failed", "refused"):
        found["reason"] = reason_of(trial.folder)
    if summary is None:
        return found
    return found | {
        "validation": summary["validation"],
        "failed_seeds": summary["failed"],
        "certificate": summary["certificate"]["verdict"],
        "seconds": summary["seconds"],
        "per_seed": [
            {"seed": each["seed"], "failed": each["failed"], **each["validation"]} for each in summary["per_seed"]
        ],
    }


def _candidate(entries: list[dict[str, Any]], trial: Trial, differing: list[str]) -> dict[str, Any]:
    """Settings, over the seeds of all their trials. Failed seeds count with their last good weights."""
    done = [entry for entry in entries if "per_seed" in entry]
    seeds = [each for entry in done for each in entry["per_seed"]]
    return {
        "settings": {name: trial.point[name] for name in differing},
        "trials": [entry["trial"] for entry in done],
        "missing_trials": len(entries) - len(done),
        "seeds": len(seeds),
        "failed_seeds": sum(each["failed"] for each in seeds),
        "validation": {name: _figure([each[name] for each in seeds]) for name in ("accuracy", "loss")},
    }


def _figure(values: list[float | None]) -> dict[str, Any]:
    """Mean over seeds with its 95 % interval (bootstrap), where there are several."""
    from ...analysis import bootstrap_mean

    known = np.array([np.nan if value is None else value for value in values], float)
    if not len(known) or not np.isfinite(known).all():
        return {"mean": None, "interval": None}
    return {"mean": known.mean(), "interval": list(bootstrap_mean(known)) if len(known) > 1 else None}


def _rank(candidate: dict[str, Any], objective: str) -> tuple:
    """Those without all their seeds and without a number come last; of equal ones, the lower loss first."""
    figures = candidate["validation"]
    sign, value = _WORSE[objective], figures[objective.partition("_")[2]]["mean"]
    loss = figures["loss"]["mean"]
    unknown = float("inf")
    return (
        candidate["missing_trials"] > 0,
        unknown if value is None else sign * value,
        unknown if loss is None else loss,
    )


def _chosen(candidate: dict[str, Any], sweep: Path, summaries: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The best by validation, with its test figures."""
    seeds = [each for name in candidate["trials"] for each in summaries[name]["per_seed"]]
    return {
        **candidate,
        "runs": [str(sweep / "trials" / name) for name in candidate["trials"]],
        "test": {name: _figure([each["test"][name] for each in seeds]) for name in ("accuracy", "loss")},
    }


def table_of(document: dict[str, Any], most: int | None = None) -> str:
    """Markdown: candidates from the best one on, the chosen one's test figures, and what failed, with its reason."""
    names = [name for name in document["swept"] if name != "seeds"]
    by = document["objective"].replace("_", " ")
    figures = ("accuracy", "loss") if by.endswith("accuracy") else ("loss",)
    part = "" if document["all_patterns"] else "validation "
    heads = ["rank", *names, "seeds", *(part + figure for figure in figures), "trial"]
    lines = [_line(heads), _line(["---"] * len(heads))]
    candidates = document["candidates"]
    for rank, each in enumerate(candidates[:most], 1):
        failed = f" ({each['failed_seeds']} failed)" if each["failed_seeds"] else ""
        missing = f", {each['missing_trials']} trials missing" if each["missing_trials"] else ""
        shown = [_shown(figure, each["validation"][figure]) for figure in figures]
        trials = each["trials"][0] + (f" and {len(each['trials']) - 1} more" if len(each["trials"]) > 1 else "")
        values = [said(each["settings"][name]) for name in names]
        lines.append(_line([str(rank), *values, f"{each['seeds']}{failed}{missing}", *shown, trials]))
    if most is not None and len(candidates) > most:
        lines.append(f"\n{len(candidates) - most} more are in {Path(document['sweep']) / 'table.md'}")
    lines += ["", *_chosen_lines(document, by)]
    return "\n".join([*lines, *failures(document, most)]) + "\n"


def _chosen_lines(document: dict[str, Any], by: str) -> list[str]:
    chosen = document["chosen"]
    if chosen is None:
        return ["No trial has a result."]
    by = by.removeprefix("validation ") if document["all_patterns"] else by
    values = ", ".join(f"{name} {said(value)}" for name, value in chosen["settings"].items())
    lines = [f"Chosen by {by}{': ' if values else ''}{values}"]
    if document["all_patterns"]:
        lines[0] += ". All figures are of all patterns: the task has no others"
    else:
        tests = [
            f"{name} {_shown(name, figure)}" for name, figure in chosen["test"].items() if figure["mean"] is not None
        ]
        lines[0] += f". On test samples, looked at for this one alone: {', '.join(tests)}"
    lines[0] += "."
    return [
        *lines,
        f"Run: {chosen['runs'][0]}" + (f" and {len(chosen['runs']) - 1} more" if chosen["runs"][1:] else ""),
    ]


def failures(document: dict[str, Any], most: int | None = None) -> list[str]:
    """A line a trial that failed or was refused, with its reason."""
    found = [entry for entry in document["trials"] if entry["state"] in ("failed", "refused")]
    lines = []
    for entry in found[:most]:
        values = ", ".join(f"{name} {said(value)}" for name, value in entry["settings"].items())
        lines.append(f"{entry['state']}: {entry['trial']} ({values or 'no setting differs'}): {entry['reason']}")
    more = [f"and {len(found) - most} more"] if most is not None and len(found) > most else []
    return ["", *lines, *more] if lines else []


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def said(value: Any) -> str:
    """A value of a setting, for people."""
    if value is None:
        return "none"
    if isinstance(value, list | tuple):
        return " ".join(map(said, value))
    return f"{value:g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)


def _shown(name: str, figure: dict[str, Any]) -> str:
    if figure["mean"] is None:
        return ""
    write_as = "{:.2%}" if name == "accuracy" else "{:.3g}"
    low, high = figure["interval"] or (figure["mean"],) * 2
    spread = f" ({write_as.format(low)} to {write_as.format(high)})" if low < high else ""
    return write_as.format(figure["mean"]) + spread


def csv_of(document: dict[str, Any]) -> str:
    """A line a trial, without test figures."""
    names = document["swept"]
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow([
        "trial", "state", *names, *(["seeds"] if "seeds" not in names else []), "seeds_trained", "seeds_failed",
        "validation_accuracy", "validation_loss", "certificate", "seconds", "reason",
    ])  # fmt: skip
    for entry in document["trials"]:
        validation = entry.get("validation", {})
        values = ["none" if (value := entry["settings"][name]) is None else _cell(value) for name in names]
        rows.writerow([
            entry["trial"], entry["state"], *values, *([entry["seeds"]] if "seeds" not in names else []),
            len(parse_seeds(entry["seeds"])) if validation else 0, entry.get("failed_seeds"),
            validation.get("accuracy"), validation.get("loss"), entry.get("certificate"), entry.get("seconds"),
            entry.get("reason"),
        ])  # fmt: skip
    return text.getvalue()


def _cell(value: Any) -> Any:
    return " ".join(map(str, value)) if isinstance(value, list) else value


def write_results(document: dict[str, Any], sweep: Path, formats: Sequence[str] = ("png",)) -> None:
    """`results.json`, `results.csv`, `table.md` and the figure, if there is something to draw."""
    write_json(sweep / "results.json", document)
    write(sweep / "results.csv", csv_of(document))
    write(sweep / "table.md", table_of(document))
    if document["candidates"] and formats:
        from ...plot.style import save
        from ..figures.sweep import sweep_figure

        save(sweep_figure(document), sweep / "sweep.png", formats)
