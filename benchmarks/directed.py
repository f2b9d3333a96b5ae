"""Learning on directed graphs: every rule with the same budget of trials, chosen on validation data.

python benchmarks/directed.py tune GRAPH RULE    # 24 trials on seeds 100 and 101; prints a line of JSON each
python benchmarks/directed.py table FILE...      # the three best trials of these files again on seeds 100 to 105, and
                                                 # seeds 0 to 9 at the one whose validation is then best

GRAPH is random (no synapse has a partner), complete, small-world or deep; RULE one of the names below. A trial is a
learning rate, a decay and a nudge (for the adjoint: a batch size); all else is that of the task's preset.
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
from direp.program.build import Parts, load_task
from direp.program.presets import preset

GRAPHS: dict[str, dict[str, Any]] = {
    "random": {"graph": "random", "density": 0.1, "reciprocity": 0.0},
    "complete": {"graph": "complete"},
    "small-world": {"graph": "small-world"},
    "deep": {"hidden": (64, 64, 64, 64)},
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
RATES, DECAYS, NUDGES, BATCHES = (0.02, 0.04, 0.08, 0.16), (0.1, 0.3, 1.0), (0.5, 2.0), (8, 16)
TUNED, FINAL, SEEDS, FINALISTS = "100..101", "100..105", "0..9", 3


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
    for rate, decay, more in itertools.product(RATES, DECAYS, last):
        own = {"learning_rate": rate, "decay": decay, **more}
        found = train({**GRAPHS[graph], **RULES[rule], **own}, TUNED)
        del found["test"]  # nobody chooses by it
        print(json.dumps({"graph": graph, "rule": rule, "own": own, **found}), flush=True)
        jax.clear_caches()


def table(files: list[str]) -> None:
    trials = [json.loads(line) for name in files for line in Path(name).read_text().splitlines()]
    print("| graph | rule | test accuracy | lowest | unsettled | certified | antisymmetric | agreement | command |")
    print("|---|---|---|---|---|---|---|---|---|")
    for key in dict.fromkeys((trial["graph"], trial["rule"]) for trial in trials):
        same = [trial for trial in trials if (trial["graph"], trial["rule"]) == key]
        kind = {**GRAPHS[key[0]], **RULES[key[1]]}
        finalists = [{**kind, **trial["own"]} for trial in sorted(same, key=_merit)[-FINALISTS:]]
        changes = max(finalists, key=lambda each: _merit(train(each, FINAL)))
        found = train(changes, SEEDS)
        mean, half = statistics.student(np.array(found["test"]))
        options = " ".join(f"--{name.replace('_', '-')} {_typed(value)}" for name, value in changes.items())
        agreement = "" if np.isnan(found["agreement"]) else f"{found['agreement']:.2f}"
        print(
            f"| {key[0]} | {key[1]} | {mean:.2%} ± {half:.2%} | {min(found['test']):.2%} | {found['unsettled']:.2%} | "
            f"{found['certified']:.0%} | {found['antisymmetry']:.2f} | {agreement} | "
            f"`direp train digits --preset default {options} --seeds {SEEDS}` |",
            flush=True,
        )
        jax.clear_caches()


def _merit(found: dict[str, Any]) -> tuple[float, float]:
    return float(np.mean(found["validation"])), -float(np.mean(found["loss"]))


def _typed(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


if __name__ == "__main__":
    if len(sys.argv) == 4 and sys.argv[1] == "tune" and sys.argv[2] in GRAPHS and sys.argv[3] in RULES:
        tune(*sys.argv[2:])
    elif len(sys.argv) > 2 and sys.argv[1] == "table":
        table(sys.argv[2:])
    else:
        raise SystemExit(f"usage: directed.py tune {'|'.join(GRAPHS)} {'|'.join(RULES)}, or directed.py table FILE...")
