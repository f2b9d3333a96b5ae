"""Learning on directed graphs: every rule with the same budget of trials, chosen on validation data.

python benchmarks/directed.py tune GRAPH RULE    # 24 trials on seeds 100 and 101; prints a line of JSON each
python benchmarks/directed.py choose FILE...     # of these trials, the three best again on seeds 100 to 105; the
                                                 # settings whose validation is then best, as JSON
python benchmarks/directed.py table FILE...      # seeds 0 to 9 at the settings chosen
python benchmarks/directed.py sweep FILE...      # the same at other reciprocities (random) and depths (deep), as JSON
python benchmarks/directed.py figure FILE OUT    # draws a sweep

GRAPH is random (no synapse has a partner), complete, small-world, deep or, for rules that learn by synapses back,
which the control of deep shrinks, deep-leaks. RULE is one of the names below. A trial is a learning rate, a decay and
a nudge (for the adjoint: a batch size); all else is that of the task's preset.
"""

import dataclasses
import itertools
import json
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np

from direp import fit
from direp.analysis import statistics
from direp.plot import style
from direp.program.build import Parts, load_task
from direp.program.presets import preset

_SMALL: dict[str, Any] = {"feedback_scale": 0.1, "bias": 0.3}
GRAPHS: dict[str, dict[str, Any]] = {
    "random": {"graph": "random", "density": 0.1, "reciprocity": 0.0},
    "complete": {"graph": "complete"},
    "small-world": {"graph": "small-world", **_SMALL},
    "deep": {"hidden": (64, 64, 64, 64), "control": "loops", "weight_scale": 1.4, **_SMALL},
    "deep-leaks": {"hidden": (64, 64, 64, 64), **_SMALL},
}
RULES: dict[str, dict[str, Any]] = {
    "learned": {"rule": "asym-ep", "feedback": "learned"},
    "fixed": {"rule": "asym-ep", "feedback": "fixed"},
    "shared": {"rule": "asym-ep"},
    "local": {"rule": "local"},
    "symmetric-ep": {"rule": "symmetric-ep"},
    "trajectory": {"rule": "trajectory"},
    "adjoint": {"rule": "adjoint"},
}
NAMES = {
    "shared": "exact", "learned": "learned feedback", "fixed": "fixed feedback", "local": "Local",
    "trajectory": "Trajectory (DEEP)", "symmetric-ep": "SymmetricEP", "adjoint": "Adjoint",
}  # fmt: skip
RATES = {graph: 0.02 if graph in ("random", "complete") else 0.01 for graph in GRAPHS}  # and 2, 4, 8 times that
DECAYS, NUDGES, BATCHES = (0.1, 0.3, 1.0), (0.5, 2.0), (8, 16)
TUNED, FINAL, SEEDS, FINALISTS = "100..101", "100..105", "0..9", 3
_DEPTHS = "hidden layers of 64", "hidden", [(64,) * depth for depth in range(1, 9)]
SWEEPS: dict[str, tuple[str, str, list[Any]]] = {  # of which graph: what is swept, its option, its values
    "random": ("reciprocity", "reciprocity", [0.0, 0.25, 0.5, 0.75, 1.0]), "deep": _DEPTHS, "deep-leaks": _DEPTHS,
}  # fmt: skip


def train(changes: dict[str, Any], seeds: str) -> dict[str, Any]:
    settings = dataclasses.replace(preset("digits"), task="digits", seeds=seeds, **changes)
    settings.check()
    task = load_task(settings)
    run = fit(task=task, **Parts(settings, task).fit())
    history = run.history
    kept = run.best_epoch - 1, np.arange(len(run.seeds))
    return {
        "validation": np.asarray(run.validation.accuracy).tolist(),
        "loss": np.asarray(run.validation.loss).tolist(),
        "test": np.asarray(run.test.accuracy).tolist(),
        "unsettled": float(history["unsettled"].max()),
        "certified": float(history["certified"].mean()),
        "antisymmetry": float(np.mean(history["antisymmetry"][kept])),
        "agreement": float(np.mean(history["agreement"][kept])),
        "reciprocity": run.network.graph.reciprocity,
    }


def tune(graph: str, rule: str) -> None:
    last = [{"batch_size": b} for b in BATCHES] if rule == "adjoint" else [{"beta": b} for b in NUDGES]
    for times, decay, more in itertools.product((1, 2, 4, 8), DECAYS, last):
        own = {"learning_rate": times * RATES[graph], "decay": decay, **more}
        found = train({**GRAPHS[graph], **RULES[rule], **own}, TUNED)
        del found["test"]  # nobody chooses by it
        print(json.dumps({"graph": graph, "rule": rule, "own": own, **found}), flush=True)
        jax.clear_caches()


def table(files: list[str]) -> None:
    print("| graph | rule | test accuracy | lowest | unsettled | certified | antisymmetric | agreement | command |")
    print("|---|---|---|---|---|---|---|---|---|")
    for each in _lines(files):
        graph, rule, changes = each["graph"], each["rule"], _settings(each["changes"])
        found = train(changes, SEEDS)
        mean, half = statistics.student(np.array(found["test"]))
        options = " ".join(f"--{name.replace('_', '-')} {_typed(value)}" for name, value in changes.items())
        agreement = "" if np.isnan(found["agreement"]) else f"{found['agreement']:.2f}"
        print(
            f"| {graph} | {rule} | {mean:.2%} ± {half:.2%} | {min(found['test']):.2%} | {found['unsettled']:.2%} | "
            f"{found['certified']:.0%} | {found['antisymmetry']:.2f} | {agreement} | "
            f"`direp train digits --preset default {options} --seeds {SEEDS}` |",
            flush=True,
        )
        jax.clear_caches()


def sweep(files: list[str]) -> None:
    for each in _lines(files):
        what, option, values = SWEEPS[each["graph"]]
        for value in values:
            found = train({**_settings(each["changes"]), option: value}, SEEDS)
            at = len(value) if isinstance(value, tuple) else value
            print(json.dumps({"sweep": what, "at": at, **each, **found}), flush=True)
            jax.clear_caches()


def figure(file: str, out: str) -> None:
    found = _lines([file])
    sweeps = list(dict.fromkeys(each["sweep"] for each in found))
    canvas = style.canvas(4.6 * len(sweeps), 3.6)
    axes = canvas.subplots(1, len(sweeps), squeeze=False)[0]
    for axis, what in zip(axes, sweeps, strict=True):
        for colour, rule in style.coloured(NAMES):
            own = sorted((e for e in found if (e["sweep"], e["rule"]) == (what, rule)), key=lambda e: e["at"])
            if own:
                mean, half = np.array([statistics.student(np.array(each["test"])) for each in own]).T * 100
                at = [each["at"] for each in own]
                axis.errorbar(at, mean, half, color=colour, marker="o", ms=4, lw=1.5, capsize=3, label=NAMES[rule])
        axis.set_xlabel(what)
        style.open_frame(axis)
    axes[0].set_ylabel("test accuracy, %")
    known = {name: line for axis in axes for line, name in zip(*axis.get_legend_handles_labels(), strict=True)}
    axes[0].legend(known.values(), known.keys(), frameon=False)
    style.save(canvas, Path(out))


def choose(files: list[str]) -> None:
    trials = _lines(files)
    for graph, rule in dict.fromkeys((trial["graph"], trial["rule"]) for trial in trials):
        same = [trial for trial in trials if (trial["graph"], trial["rule"]) == (graph, rule)]
        kind = {**GRAPHS[graph], **RULES[rule]}
        finalists = [{**kind, **trial["own"]} for trial in sorted(same, key=_merit)[-FINALISTS:]]
        changes = max(finalists, key=lambda each: _merit(train(each, FINAL)))
        print(json.dumps({"graph": graph, "rule": rule, "changes": changes}), flush=True)
        jax.clear_caches()


def _lines(files: list[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for name in files for line in Path(name).read_text().splitlines()]


def _settings(changes: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in changes.items()}


def _merit(found: dict[str, Any]) -> tuple[float, float]:
    return float(np.mean(found["validation"])), -float(np.mean(found["loss"]))


def _typed(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


if __name__ == "__main__":
    if len(sys.argv) == 4 and sys.argv[1] == "tune" and sys.argv[2] in GRAPHS and sys.argv[3] in RULES:
        tune(*sys.argv[2:])
    elif len(sys.argv) > 2 and sys.argv[1] in (several := {"choose": choose, "table": table, "sweep": sweep}):
        several[sys.argv[1]](sys.argv[2:])
    elif len(sys.argv) == 4 and sys.argv[1] == "figure":
        figure(*sys.argv[2:])
    else:
        raise SystemExit(
            f"usage: directed.py tune {'|'.join(GRAPHS)} {'|'.join(RULES)}, directed.py choose|table|sweep FILE..., or "
            "directed.py figure FILE OUT"
        )
