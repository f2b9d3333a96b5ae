"""Makes the tables of docs/measurements/results.md: runs the program as a user would, and prints a Markdown table.

python benchmarks/tables.py gates        # every gate, 1000 seeds, and the published baseline
python benchmarks/tables.py ablation     # what the controlled leak and the nudge are good for
python benchmarks/tables.py tables       # the bundled data sets
python benchmarks/tables.py controls     # what staying certified costs, for every control
"""

import json
import subprocess
import sys
import tempfile
from math import sqrt
from pathlib import Path

import numpy as np

from direp.analysis import statistics

GATES = [
    *((f"{gate}, 16 hidden", [gate, "--seeds", "0..999"]) for gate in ("xor", "and", "or", "not", "identity")),
    *(
        (f"{gate}, 5 hidden", [gate, "--preset", "small", "--seeds", "0..999"])
        for gate in ("xor", "and", "or", "not", "identity")
    ),
    ("xor, DEEP 2020 as published", ["xor", "--preset", "deep-2020", "--seeds", "0..99"]),
]
SMALL = ["xor", "--preset", "small", "--seeds", "0..999"]
ABLATION = [
    ("default, 5 hidden", SMALL),
    ("synapses blind to the controlled leak", [*SMALL, "--no-through-leak"]),
    ("no controller, leak 1", [*SMALL, "--margin", "None", "--leak", "1"]),
    ("nudge 0.1", [*SMALL, "--beta", "0.1"]),
    ("nudge 1", [*SMALL, "--beta", "1"]),
    ("nudge 2", [*SMALL, "--beta", "2"]),
    ("exact gradient (adjoint)", [*SMALL, "--rule", "adjoint"]),
    ("absolute outflow, same leak", [*SMALL, "--outflow", "absolute"]),
]
TABLES = [(task, [task, "--seeds", "0..19"]) for task in ("digits", "iris", "wine", "breast-cancer")]
NORMS = ("local", "rows", "perron")
CONTROLS = [
    ("none", ["--margin", "None"]),
    *((f"leaks, {norm}", ["--norm", norm]) for norm in NORMS),
    *((f"weights, {norm}", ["--control", "weights", "--norm", norm]) for norm in NORMS),
]


def run(arguments: list[str]) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        command = ["direp", "train", *arguments, "--json", "--quiet", "--out", str(Path(folder) / "run")]
        beside = Path(sys.executable).parent / "direp"
        command[0] = str(beside) if beside.exists() else "direp"
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode not in (0, 4):
            raise SystemExit(done.stderr)
        return json.loads(done.stdout)


def wilson(hits: int, count: int) -> str:
    low, high = statistics.wilson(hits, count)
    return f"{low:.1%} to {high:.1%}"


def solving(cases: list[tuple[str, list[str]]]) -> None:
    print("| setting | solved | interval | lowest margin in training | unsettled in training | seconds | command |")
    print("|---|---|---|---|---|---|---|")
    for label, arguments in cases:
        result = run(arguments)
        solved, seeds = result["solved"], result["seeds"]
        margin = result["certificate"]["lowest_margin_in_training"]
        print(
            f"| {label} | {solved} of {seeds} | {wilson(solved, seeds)} | {margin:+.3g} | "
            f"{result['settle']['training_unsettled']:.2%} | {result['seconds']:.0f} | "
            f"`direp train {' '.join(arguments)}` |",
            flush=True,
        )


def learning(cases: list[tuple[str, list[str]]]) -> None:
    figures = "test accuracy, mean with 95 % interval (lowest to highest seed) | validation | unsettled test samples"
    print(f"| task | {figures} | certificate | seconds | command |")
    print("|---|---|---|---|---|---|---|")
    for label, arguments in cases:
        result = run(arguments)
        tests = np.array([seed["test"]["accuracy"] for seed in result["per_seed"]])
        error = tests.std(ddof=1) / sqrt(len(tests))
        proof = result["certificate"]
        print(
            f"| {label} | {tests.mean():.2%} ± {1.96 * error:.2%} ({tests.min():.2%} to {tests.max():.2%}) | "
            f"{result['validation']['accuracy']:.2%} | {result['settle']['unconverged']} | {proof['verdict']}, rate "
            f"{proof['rate']:.2g} | {result['seconds']:.0f} | `direp train {' '.join(arguments)}` |",
            flush=True,
        )


def controls() -> None:
    figures = "test accuracy, mean with 95 % interval (lowest to highest seed) | solved | certified epochs"
    print(f"| task | control | {figures} | unsettled: phases in training, test samples | seconds | command |")
    print("|---|---|---|---|---|---|---|---|")
    for task in ("xor", "iris", "digits"):
        for label, options in CONTROLS:
            # Scaled weights need leaks above the margin; those of the gates' preset are at it.
            leak = ["--leak", "1"] if task == "xor" and not label.startswith("leaks") else []
            arguments = [task, "--seeds", "0..19", *options, *leak]
            result = run(arguments)
            tests = np.array([seed["test"]["accuracy"] for seed in result["per_seed"]])
            error = 1.96 * tests.std(ddof=1) / sqrt(len(tests))
            solved = "" if result["solved"] is None else f"{result['solved']} of {result['seeds']}"
            settle = result["settle"]
            print(
                f"| {task} | {label} | {tests.mean():.2%} ± {error:.2%} ({tests.min():.2%} to {tests.max():.2%}) | "
                f"{solved} | {result['certificate']['certified_epochs']:.1%} | {settle['training_unsettled']:.2%}, "
                f"{settle['unconverged']} | {result['seconds']:.0f} | `direp train {' '.join(arguments)}` |",
                flush=True,
            )


if __name__ == "__main__":
    kinds = {"gates": lambda: solving(GATES), "ablation": lambda: solving(ABLATION), "tables": lambda: learning(TABLES)}
    kinds["controls"] = controls
    if len(sys.argv) != 2 or sys.argv[1] not in kinds:
        raise SystemExit(f"usage: python benchmarks/tables.py {'|'.join(kinds)}")
    kinds[sys.argv[1]]()
