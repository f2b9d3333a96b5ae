"""What is claimed of learning, measured: runs the program as a user would, prints Markdown tables, draws figures.

python benchmarks/learning.py reliable      # five gates, seven ways to learn, 1000 seeds each
python benchmarks/learning.py nudge         # success against the strength of the nudge, and why
python benchmarks/learning.py tables        # digits, wine, breast cancer: every rule, and frozen hidden units
python benchmarks/learning.py homeostasis   # a pull towards symmetry, on a deeper network

Options: --seeds N, --figures FOLDER (by default docs/images).
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from tables import wilson

from direp.analysis import statistics

GATES = ("and", "or", "xor", "not", "identity")
SMALL = ("--preset", "small")
WAYS: dict[str, tuple[str, ...]] = {
    "DEEP 2020 as published": ("--preset", "deep-2020"),
    "DEEP's rule, controlled leak": (*SMALL, "--rule", "trajectory"),
    "Local, leak 1, no control": (*SMALL, "--margin", "None", "--leak", "1", "--max-steps", "1000"),
    "Local, controlled leak": SMALL,
    "Local, guaranteed region": ("--preset", "guaranteed", "--hidden", "5"),
    "AsymEP, same nudge": (*SMALL, "--rule", "asym-ep"),
    "adjoint (exact gradient)": (*SMALL, "--rule", "adjoint"),
}
BETAS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0, 6.0, 10.0)
SMOOTH = ("--neuron", "rate", "--activation", "sigmoid", "--outflow", "none", "--leak", "1", "--weight-scale", "0.5")
COLOURS = ("#3b6fb6", "#d1742f", "#3a8f5c", "#8a4fa3", "#b03a3a", "#6b6b6b", "#c2a026", "#2aa5a0")


def train(arguments: list[str], look: Any = None) -> tuple[dict, list[dict], Any]:
    """The summary, the lines of metrics, and what `look` finds in the folder."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "run"
        beside = Path(sys.executable).parent / "direp"
        program = str(beside) if beside.exists() else "direp"
        command = [program, "train", *arguments, "--json", "--quiet", "--out", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode not in (0, 4):
            raise SystemExit(done.stderr)
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        return json.loads(done.stdout), lines, None if look is None else look(folder)


def reliable(seeds: int, gates: tuple[str, ...]) -> None:
    print("| gate | way to learn | solved | interval | unsettled in training | seconds | command |")
    print("|---|---|---|---|---|---|---|")
    for gate in gates:
        for way, options in WAYS.items():
            arguments = [gate, *options, "--seeds", f"0..{seeds - 1}"]
            result, _, _ = train(arguments)
            print(
                f"| {gate} | {way} | {result['solved']} of {seeds} | {wilson(result['solved'], seeds)} | "
                f"{result['settle']['training_unsettled']:.2%} | {result['seconds']:.0f} | "
                f"`direp train {' '.join(arguments)}` |",
                flush=True,
            )


def dead(folder: Path) -> np.ndarray:
    """For every network of a run, its loss and the size of its exact gradient."""
    import equinox as eqx

    import direp
    from direp.program.build import load_task
    from direp.program.run_folder import open_run

    run = open_run(folder)
    settings, networks = run.settings, run.networks
    task = load_task(settings)
    exact = eqx.filter_jit(lambda net: direp.estimate(net, task.train.x, task.train.y, direp.Adjoint()))
    found = []
    for network in networks:
        said = exact(network)
        size = np.sqrt(float(direp.rules.inner(network, said.gradient, said.gradient)))
        found.append((float(np.asarray(said.loss).mean()), size))
    return np.array(found)


def nudge(seeds: int, figures: Path) -> None:
    cases = {
        "Local": (*SMALL, "--rule", "local"),
        "AsymEP": (*SMALL, "--rule", "asym-ep"),
        "Local, no dead units (sigmoid)": (*SMALL, *SMOOTH, "--rule", "local"),
    }
    exact = {"adjoint": (*SMALL, "--rule", "adjoint"), "adjoint, no dead units": (*SMALL, *SMOOTH, "--rule", "adjoint")}
    print("| rule | beta | solved | interval | unsolved | of these, exact gradient zero | command |")
    print("|---|---|---|---|---|---|---|")
    rows: dict[str, list[tuple[float, int, int]]] = {}
    for name, options in {**cases, **exact}.items():
        for beta in BETAS if name in cases else (1.0,):
            # --keep last: what matters is where training ends.
            chosen = ["xor", *options, "--keep", "last", "--seeds", f"0..{seeds - 1}"]
            chosen += ["--beta", f"{beta:g}"] if name in cases else []
            result, _, state = train(chosen, dead)
            solved = np.array([entry["solved"] for entry in result["per_seed"]])
            hits, stuck = int(solved.sum()), int((state[~solved, 1] < 1e-6).sum())
            rows.setdefault(name, []).append((beta, hits, stuck))
            print(
                f"| {name} | {f'{beta:g}' if name in cases else ''} | {hits} of {seeds} | {wilson(hits, seeds)} | "
                f"{seeds - hits} | {stuck} | `direp train {' '.join(chosen)}` |",
                flush=True,
            )
    nudge_figure(rows, seeds).savefig(figures / "strong_nudge.png", dpi=130)


def nudge_figure(rows: dict[str, list[tuple[float, int, int]]], seeds: int) -> Figure:
    figure = Figure(figsize=(8.6, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharex=True)
    for (name, points), colour in zip(rows.items(), COLOURS, strict=False):
        beta, solved, stuck = (np.array(column) for column in zip(*points, strict=True))
        low, high = np.array([statistics.wilson(hits, seeds) for hits in solved]).T
        if len(points) > 1:
            left.plot(beta, 100 * solved / seeds, "o-", color=colour, ms=3, label=name)
            left.fill_between(beta, 100 * low, 100 * high, color=colour, alpha=0.25, lw=0)
            right.plot(beta, 100 * stuck / seeds, "o-", color=colour, ms=3, label=name)
        else:
            left.axhspan(100 * low[0], 100 * high[0], color=colour, alpha=0.35, lw=0)
            left.axhline(100 * solved[0] / seeds, color=colour, ls="--", lw=1, label=name)
            right.axhline(100 * stuck[0] / seeds, color=colour, ls="--", lw=1, label=name)
    left.set(xscale="log", xlabel="nudge beta", ylabel="% of seeds", title="XOR solved", ylim=(0, 103))
    right.set(xscale="log", xlabel="nudge beta", title="ends unsolved, exact gradient zero", ylim=(0, 103))
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
    right.legend(*left.get_legend_handles_labels(), frameon=False, fontsize=7, loc="upper right")
    return figure


RULES: dict[str, tuple[str, ...]] = {
    "Local": (),
    "SymmetricEP": ("--rule", "symmetric-ep"),
    "DEEP's rule (trajectory)": ("--rule", "trajectory"),
    "AsymEP": ("--rule", "asym-ep"),
    "adjoint (exact gradient)": ("--rule", "adjoint", "--no-lift"),
    "Local, hidden units frozen": ("--outputs-only",),
    "Local, 16 hidden": ("--hidden", "16"),
    "Local, 16 hidden, frozen": ("--hidden", "16", "--outputs-only"),
}


def interval(values: np.ndarray) -> str:
    mean, half = statistics.student(values)
    return f"{mean:.2%} ± {half:.2%} ({values.min():.2%} to {values.max():.2%})"


def tables(seeds: int, figures: Path) -> None:
    print(
        "| task | rule | test accuracy, mean ± 95 % (lowest to highest) | cosine to the gradient: first, middle, ",
        end="",
    )
    print("last epoch | unsettled test samples | seconds | command |")
    print("|---|---|---|---|---|---|---|")
    curves: dict[str, dict[str, np.ndarray]] = {}
    for task in ("digits", "wine", "breast-cancer"):
        for name, options in RULES.items():
            arguments = [task, *options, "--probe", "64", "--seeds", f"0..{seeds - 1}"]
            result, lines, _ = train(arguments)
            each = [line["per_seed"]["cosine"] if "per_seed" in line else [line["cosine"]] for line in lines]
            cosine = np.array([[np.nan if c is None else c for c in row] for row in each], float)
            curves.setdefault(task, {})[name] = cosine
            accuracy = np.array([entry["test"]["accuracy"] for entry in result["per_seed"]])
            shown = ", ".join(f"{np.nanmean(cosine[k]):.3f}" for k in (0, len(cosine) // 2, -1))
            print(
                f"| {task} | {name} | {interval(accuracy)} | {shown} | {result['settle']['unconverged']} | "
                f"{result['seconds']:.0f} | `direp train {' '.join(arguments)}` |",
                flush=True,
            )
    angle_figure(curves).savefig(figures / "angle_over_training.png", dpi=130)


def angle_figure(curves: dict[str, dict[str, np.ndarray]]) -> Figure:
    figure = Figure(figsize=(3.5 * len(curves), 3.6), layout="constrained")
    for axis, (task, rules) in zip(np.atleast_1d(figure.subplots(1, len(curves))), curves.items(), strict=True):
        shown = {name: cosine for name, cosine in rules.items() if "16" not in name and "frozen" not in name}
        for (name, cosine), colour in zip(shown.items(), COLOURS, strict=False):
            angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
            known = np.isfinite(angle).any(1)  # a gradient of zero has no angle
            angle, epochs = angle[known], np.arange(1, len(angle) + 1)[known]
            axis.plot(epochs, np.nanmean(angle, 1), color=colour, lw=1.4, label=name)
            axis.fill_between(epochs, np.nanmin(angle, 1), np.nanmax(angle, 1), color=colour, alpha=0.15, lw=0)
        axis.axhline(90, color="grey", lw=0.8, ls=":")
        axis.set(title=task, xlabel="epoch", ylim=(0, 125))
        axis.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("degrees from the exact gradient")
    figure.axes[0].legend(frameon=False, fontsize=7)
    return figure


def skewness(folder: Path) -> np.ndarray:
    from direp.program.run_folder import open_run
    from direp.rules import antisymmetry

    return np.array([float(antisymmetry(network)) for network in open_run(folder).networks])


def homeostasis(seeds: int, figures: Path) -> None:
    print("| pull | antisymmetric part of the weights | cosine to the gradient, last epoch | test accuracy | command |")
    print("|---|---|---|---|---|")
    drawn = {}
    for strength in (0.0, 0.001, 0.01, 0.1):
        arguments = ["digits", "--preset", "default", "--hidden", "32", "32", "32"]
        arguments += ["--homeostasis", f"{strength:g}", "--decay", "0"]
        arguments += ["--keep", "last", "--probe", "64", "--seeds", f"0..{seeds - 1}"]
        result, lines, skew = train(arguments, skewness)
        each = [line["per_seed"]["cosine"] if "per_seed" in line else [line["cosine"]] for line in lines]
        cosine = np.array([[np.nan if c is None else c for c in row] for row in each], float)
        drawn[f"pull {strength:g}"] = cosine
        accuracy = np.array([entry["test"]["accuracy"] for entry in result["per_seed"]])
        print(
            f"| {strength:g} | {skew.mean():.3f} ({skew.min():.3f} to {skew.max():.3f}) | "
            f"{np.nanmean(cosine[-1]):.3f} ({np.nanmin(cosine[-1]):.3f} to {np.nanmax(cosine[-1]):.3f}) | "
            f"{interval(accuracy)} | `direp train {' '.join(arguments)}` |",
            flush=True,
        )
    angle_figure({"digits, 32-32-32 hidden": drawn}).savefig(figures / "homeostasis.png", dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("reliable", "nudge", "tables", "homeostasis"))
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--gates", nargs="+", choices=GATES, default=GATES, help="of reliable")
    parser.add_argument("--figures", type=Path, default=Path(__file__).parent.parent / "docs" / "images")
    asked = parser.parse_args()
    asked.figures.mkdir(parents=True, exist_ok=True)
    if asked.what == "reliable":
        reliable(asked.seeds or 1000, asked.gates)
    elif asked.what == "nudge":
        nudge(asked.seeds or 1000, asked.figures)
    elif asked.what == "tables":
        tables(asked.seeds or 10, asked.figures)
    else:
        homeostasis(asked.seeds or 10, asked.figures)


if __name__ == "__main__":
    main()
