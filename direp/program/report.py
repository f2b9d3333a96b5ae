"""What a person sees of a run: progress while it trains, the summary after it, the figures in its folder."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..arithmetic import at_least
from ..certificates import CASCADE, Certificate, certify
from ..plot.style import canvas, save
from ..runs import quoted
from ..tasks import Task
from ..training import Evaluation, Run, read
from .advice import dead_units
from .build import Parts
from .scores import mean_of, scores_of
from .scores import spoken as scored
from .settings import Settings, share_of
from .words import plural, spoken


def task_line(task: Task) -> str:
    """What the data of a file was taken for."""
    kept = task.preparation
    targets = "" if kept is None or not kept.targets.names else f" of {', '.join(kept.targets.names)}"
    columns = "" if kept is None else f" from {plural(len(kept.inputs.columns), 'column')}"
    what = f"{task.kind}{targets}" + (f" ({len(task.classes)} classes)" if task.classes else "")
    sizes = ", ".join(f"{len(getattr(task, part).x):,} to {verb}" for part, verb in _PARTS.items())
    return f"{task.name}: {what}{columns}; rows: {sizes}"


_PARTS = {"train": "train on", "validation": "choose by", "test": "test on"}


def summary_of(
    run: Run, settings: Settings, folder: Path, seconds: float, certificates: list[Certificate]
) -> dict[str, Any]:
    """The JSON document of a run. Over several seeds: means, the largest steps, the worst certificate."""
    worst = worst_of(certificates)
    parts = {"train": run.train, "validation": run.validation, "test": run.test}
    history, solved = run.history, run.solved
    return {
        "run": str(folder), "task": settings.task, "status": run.status, "seeds": len(run.seeds),
        "solved": None if solved is None else int(solved.sum()),
        "failed": int(run.failed.sum()),
        **{name: {"loss": np.mean(part.loss), "accuracy": np.mean(part.accuracy)} for name, part in parts.items()},
        "settle": {
            "unconverged": int(np.sum(run.test.unconverged)),
            "method": type(run.trainer.method).__name__,
            "steps_median": np.median(run.test.steps),
            "steps_max": int(np.max(run.test.steps)),
            "training_unsettled": history["unsettled"].mean() if history else None,
        },
        **({"scores": scores} if (scores := _scores(run)) else {}),
        "certificate": {
            **_short(worst),
            **({"mismatch": share} if (share := share_of(settings.mismatch)) else {}),
            "phases": worst.phases, "uncovered": list(worst.uncovered), "reason": worst.reason,
            "lowest_margin_in_training": history["lowest_margin"].min() if history else None,
            "certified_epochs": history["certified"].all(1).mean() if history else None,
        },
        "directed": _directed(run),
        "dead": dead_units(run, settings),
        "assumptions": [
            sentence.replace(_IN_PYTHON, f"direp certify {quoted(folder)}") for sentence in run.assumptions
        ],
        **({"left_out": f"{run.unmoved}: {_stronger(settings)}"} if run.unmoved else {}),
        **({"failure": why_failed(run, settings)[0]} if run.failed.any() else {}),
        "epochs": len(history.get("loss", [])),
        "seconds": seconds,
        "per_seed": [_seed(run, parts, certificates, solved, k) for k in range(len(run.seeds))],
    }  # fmt: skip


def _scores(run: Run) -> dict[str, Any] | None:
    """How the test part does in the units of the data, means over the seeds that did not fail."""
    kept = run.task.preparation
    if kept is None or run.task.whole:
        return None
    fine = np.flatnonzero(~run.failed) if not run.failed.all() else range(len(run.seeds))
    y, all_settled = kept.targets.decode(run.task.test.y), np.ones(len(run.task.test.y), bool)
    outputs = np.asarray(run.test.outputs)
    said = [read(kept.targets, outputs[k], all_settled, None, run.trainer.cost) for k in fine]
    return mean_of([scores_of(kept.targets, each, y) for each in said])


def _directed(run: Run) -> dict[str, Any]:
    """How directed the networks are, in the mean, and how far their feedback agrees with the weights (`None` if it has
    no strengths of its own)."""
    found: dict[str, Any] = {"reciprocity": run.network.graph.reciprocity}
    kept = np.maximum(run.best_epoch - 1, 0), np.arange(len(run.seeds))
    for name in ("antisymmetry", "agreement"):
        each = run.history[name][kept] if run.history else np.full(1, np.nan)
        found[name] = float(np.nanmean(each)) if np.isfinite(each).any() else None
    return found


_IN_PYTHON = "certify(network, rule=...)"  # what sentences of the library advise


def _stronger(settings: Settings) -> str:
    return "raise --beta" + ("" if settings.precision == "float64" else " or use --precision float64")


def why_failed(run: Run, settings: Settings) -> tuple[str, str]:
    """What ended the failed seeds, by their last epoch, and what helps."""
    unmoved, left_out = (run.history[name][-1][run.failed] for name in ("unmoved", "left_out"))
    calmer = "keep it certified (--margin 0.1), lower --learning-rate or raise --leak"
    if (unmoved == 1).all():
        return "the nudge moved no sample", _stronger(settings)
    if not (left_out == 1).all():
        return "training diverged", calmer
    if (unmoved == 0).all():
        return "no sample settled", calmer
    return "no sample settled and was moved by the nudge", f"{_stronger(settings)}; {calmer}"


def certificates_of(run: Run, parts: Parts) -> list[Certificate]:
    """Of every seed, for the phases it was trained with; first by the criterion that its control kept."""
    criteria = CASCADE if parts.control is None else (parts.control.criterion, *CASCADE)
    settings: dict[str, Any] = {"cost": parts.cost, "criteria": criteria, "starts": 0}
    if parts.mismatch.share:
        known = [criterion for criterion in criteria if criterion.mismatch]
        settings |= {"criteria": known, "mismatch": parts.mismatch}
    phases = parts.phases if run.phases is None else run.phases
    pairs = zip(run.rules, run.networks, strict=True)
    return [certify(network, rule=phases.of(rule, network), **settings) for rule, network in pairs]


def worst_of(certificates: list[Certificate]) -> Certificate:
    return min(certificates, key=lambda c: (c.verdict == "proved", c.rate))


def _short(certificate: Certificate) -> dict[str, Any]:
    return {"verdict": certificate.verdict, "criterion": certificate.criterion, "rate": certificate.rate}


def _seed(run: Run, parts: dict[str, Evaluation], certificates: list[Certificate], solved, k: int) -> dict[str, Any]:
    return {
        "seed": run.seeds[k],
        "solved": None if solved is None else bool(solved[k]),
        "failed": bool(run.failed[k]),
        "best_epoch": int(run.best_epoch[k]),
        **{name: {"loss": part.loss[k], "accuracy": part.accuracy[k]} for name, part in parts.items()},
        "unconverged": int(run.test.unconverged[k]),
        "steps_max": int(run.test.steps[k].max()),
        "certificate": _short(certificates[k]),
    }


def print_summary(summary: dict[str, Any], folder: Path) -> None:
    """A few lines for people, on standard output."""
    print(headline(summary))
    for name, text in lines_of(summary):
        print(f"  {name:<12} {text}")
    print(f"  folder       {folder}")


def headline(summary: dict[str, Any]) -> str:
    """The task, and how long it was trained."""
    seeds = summary["seeds"]
    over = f", mean of {plural(seeds, 'seed')}" if seeds > 1 else ""
    return f"{summary['task']}: {plural(summary['epochs'], 'epoch')} in {summary['seconds']:.1f} s{over}"


def lines_of(summary: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What a summary tells people: names, and sentences; a name that is empty goes on with the last one."""
    seeds = summary["seeds"]
    if summary["solved"] is not None:
        yield "solved", f"{summary['solved']} of {seeds}"
    same = summary["train"] == summary["test"]
    for name in ("test",) if same else ("train", "validation", "test"):
        part = summary[name]
        accuracy = "" if np.isnan(part["accuracy"]) else f"   right {part['accuracy']:.2%}"
        spread = ""
        if seeds > 1 and accuracy:
            each = [entry[name]["accuracy"] for entry in summary["per_seed"]]
            spread = f" (from {min(each):.2%} to {max(each):.2%})"
        yield "all patterns" if same else name, f"loss {part['loss']:.4f}{accuracy}{spread}"
    if "scores" in summary:
        yield "scores", scored(summary["scores"])
    settle = summary["settle"]
    yield (
        "settling",
        f"{plural(settle['unconverged'], 'test sample')} unsettled; {settle['steps_median']:.0f} "
        f"steps in the median, {settle['steps_max']} at most ({settle['method']})",
    )
    directed = summary["directed"]
    if directed["antisymmetry"] is not None:
        agreed = directed["agreement"]
        feedback = "" if agreed is None else f"; feedback at cosine {agreed:.2f} to the weights"
        yield (
            "directed",
            f"{directed['reciprocity']:.0%} of synapses have a partner; antisymmetric share of the "
            f"weights {directed['antisymmetry']:.2f}{feedback}",
        )
    yield "certificate", certificate_line(summary)
    for n, sentence in enumerate(summary["assumptions"]):
        yield "" if n else "assuming", spoken(sentence)
    if "advice" in summary["dead"]:
        yield "dead units", summary["dead"]["advice"]
    if "left_out" in summary:
        yield "nudge", summary["left_out"]
    if summary["failed"]:
        yield "failed", f"{plural(summary['failed'], 'seed')}: {summary['failure']}; the last good weights are kept"


def certificate_line(summary: dict[str, Any]) -> str:
    """What is proved of the networks, or why it is not."""
    proof = summary["certificate"]
    if proof["verdict"] != "proved":
        return f"{proof['verdict']} ({proof['criterion']}): {spoken(proof['reason'])}"
    phases = ", ".join(proof["phases"])
    free_only = next((text.split()[0] for text in summary["assumptions"] if "but not the phases" in text), None)
    final = " for the final networks" if free_only else ""
    every = f"every die within {100 * proof['mismatch']:g} % " if "mismatch" in proof else ""
    return (
        f"proved{final}: {every}contracts at rate {at_least(proof['rate'])} ({proof['criterion']}; "
        f"phases {spoken(phases)})" + (f"; in training {free_only} keeps the free phase only" if free_only else "")
    )


def save_figures(run: Run, folder: Path, formats: Sequence[str] = ("png",)) -> None:
    from .. import plot

    seed = f"seed {run.seeds[0]}"
    figures = {
        "learning_curve": lambda paper: plot.learning_curve(run, paper),
        "weight_matrix": lambda paper: plot.weight_matrix(run.network, paper, f"{run.task.name}, weights of {seed}"),
    }
    columns = () if run.task.preparation is None else run.task.preparation.inputs.columns
    if run.task.inputs == 2 and not any(column.categories for column in columns):
        figures["decision_map"] = lambda paper: plot.decision_map(
            run, paper, seed=run.seeds[0], title=f"{run.task.name}, {seed}"
        )
    for name, draw in figures.items():
        paper = canvas()
        draw(paper)
        save(paper, folder / f"{name}.png", formats)
