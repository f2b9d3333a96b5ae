"""How sharp are the certificates? Random networks around the edge: how many are proved, how many settle.

python benchmarks/sharpness.py                  # tables of docs/measurements/certificates.md, docs/images/sharpness.png
python benchmarks/sharpness.py --networks 20    # fewer networks an ensemble
python benchmarks/sharpness.py --quick          # a minute, for a look; writes no figure unless --figure names one

The Markdown goes to standard output, progress to standard error. It stops with an error if a proof is contradicted:
by a simulation, by a counter-example, or by a sharper criterion that fails where a coarser one proves.
"""

import argparse
import dataclasses
import math
import sys
import time
from collections import Counter
from pathlib import Path

import jax
import numpy as np
from sharpness_networks import ENSEMBLES, TIMES_EDGE, Ensemble
from sharpness_report import CRITERIA, Verdicts, draw, remarks, row
from sharpness_simulation import STARTS, Dynamics

import direp
from direp.certificates.convergence.cascade import CASCADE
from direp.certificates.convergence.system import System
from direp.program.build import arguments, load_task
from direp.program.presets import preset


def judge(ensemble: Ensemble, graph: direp.Graph, scale: float, edge: float, seed: int) -> Verdicts:
    rng = np.random.default_rng((0, seed))
    weight = scale * edge * ensemble.draw(rng)
    # Every unit has an input of its own: whatever current could tell two equilibria apart can be given.
    network = direp.Network(graph, ensemble.neuron, np.concatenate([np.eye(ensemble.units), weight]), leak=1.0)
    system = System.of(network)
    attempts = {criterion.name: criterion.attempt(system) for criterion in CASCADE}
    proved = {name: attempt.rate for name, attempt in attempts.items() if attempt.proof is not None}
    inputs = Dynamics.of(ensemble, weight).inputs(rng)
    outcome = Dynamics.of(ensemble, weight).outcome(inputs, rng)
    refuted = helped = False
    if "local leak" not in proved:  # the search looks at proved networks too: a test of both
        cheap = (direp.LocalLeak(),)
        refuted = direp.certify(network, criteria=cheap, starts=STARTS).verdict == "refuted"
        if not refuted and outcome in ("apart", "moving"):
            helped = direp.certify(network, criteria=cheap, x=inputs, starts=STARTS).verdict == "refuted"

    where = f"{ensemble}, weights {scale} times the edge, seed {seed}"
    if proved and (refuted or helped or outcome in ("apart", "moving")):
        raise AssertionError(f"proved ({proved}) but {outcome}, refuted: {refuted or helped}. {where}")
    for coarse in ("local leak", "rows"):
        if coarse in proved and "Perron" not in proved:
            raise AssertionError(f"Perron fails where {coarse} proves. {where}")
    return Verdicts(scale, proved, outcome, refuted, helped)


def sample(ensemble: Ensemble, networks: int, progress: "Progress") -> tuple[float, list[Verdicts]]:
    """An ensemble's edge, and its networks; their weights take every value of `TIMES_EDGE` equally often."""
    graph = direp.Graph.complete(ensemble.units, ensemble.units - 1, 1, bias=False)
    edge = ensemble.edge()
    if not math.isfinite(edge):  # nothing makes it unstable: weights as without outflow
        edge = dataclasses.replace(ensemble, outflow="none").edge()
    verdicts = []
    for k, scale in enumerate(np.resize(TIMES_EDGE, networks)):
        verdicts.append(judge(ensemble, graph, float(scale), edge, k))
        progress.advance(cost(ensemble))
    return edge, verdicts


def cost(ensemble: Ensemble) -> float:
    """Rough seconds a network takes, for the remaining time."""
    return {5: 0.1, 10: 0.25, 20: 0.8}[ensemble.units] * (2 if ensemble.kind == "Rate" and ensemble.units > 10 else 1)


class Progress:
    """Share done and time left, on standard error."""

    def __init__(self, total: float):
        self.total, self.done, self.begin, self.label, self.shown = total, 0.0, time.monotonic(), "", 0.0

    def advance(self, amount: float) -> None:
        self.done += amount
        now = time.monotonic()
        if now - self.shown > (0.2 if sys.stderr.isatty() else 15):
            self.shown = now
            left = (now - self.begin) * (self.total / self.done - 1)
            line = f"{self.done / self.total:4.0%}, {left:4.0f} s left: {self.label}"
            line = f"\r{line:<79.79}" if sys.stderr.isatty() else f"{line}\n"
            print(line, end="", file=sys.stderr, flush=True)


def excitatory(networks: int) -> list[str]:
    """Any positive leak is enough where excitatory networks lose what they send."""
    ensembles = [Ensemble("Projected", "signed", n, density, 0.0) for n in (5, 10, 20) for density in (0.2, 1.0)]
    lines = ["| leak | networks | proved | criteria | rate over leak |", "|---|---|---|---|---|"]
    for leak in (1e-1, 1e-3, 1e-6, 1e-9):
        found = []
        for ensemble in ensembles:
            graph = direp.Graph.complete(ensemble.units, ensemble.units - 1, 1, bias=False)
            for k in range(networks):
                weight = np.concatenate([np.eye(ensemble.units), ensemble.draw(np.random.default_rng((2, k)))])
                network = direp.Network(graph, ensemble.neuron, weight, leak=leak)
                found.append(direp.certify(network, starts=0))
        if not all(found):
            raise AssertionError(f"an excitatory network with signed outflow and leak {leak} is not proved")
        criteria = ", ".join(f"{name} {count}" for name, count in Counter(c.criterion for c in found).items())
        rates = [certificate.rate / leak for certificate in found]
        lines.append(
            f"| {leak:.0e} | {len(found)} | {np.mean([bool(c) for c in found]):.0%} | {criteria} "
            f"| {min(rates):.6f} to {max(rates):.6f} |"
        )
    return lines


_SINGULAR = "Leaks are zero, and with signed outflow the Jacobian is then singular whatever the weights."


def deep(seeds: int) -> list[str]:
    """DEEP 2020 has no leak: nothing can prove it."""
    settings = dataclasses.replace(preset("xor", "deep-2020"), seeds=f"0..{seeds - 1}")
    task = load_task(settings)
    parts = arguments(settings, task)
    trained = direp.fit(task=task, **parts).networks
    lines, reasons = ["| networks | proved | refuted | undecided | by |", "|---|---|---|---|---|"], []
    for label, networks in (("before training", parts["network"]), ("trained on XOR", trained)):
        found = [direp.certify(network, x=np.asarray(task.train.x)) for network in networks]
        if any(found):
            raise AssertionError("a network without leak is proved")
        counts = Counter(certificate.verdict for certificate in found)
        kinds = Counter(certificate.criterion for certificate in found if certificate.verdict == "refuted")
        by = ", ".join(f"{kind} {count}" for kind, count in kinds.items())
        lines.append(f"| {len(found)} {label} | 0 | {counts['refuted']} | {counts['undecided']} | {by} |")
        named = sum(certificate.reason.startswith(_SINGULAR) for certificate in found)
        reasons.append(f"{named} of {len(found)} {label}")
    return [*lines, "", f"The reason begins with \u201c{_SINGULAR}\u201d for {' and '.join(reasons)}."]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=50, help="an ensemble; four times as many for the figure's")
    parser.add_argument("--quick", action="store_true", help="10 networks an ensemble, 20 for the figure's")
    parser.add_argument("--figure", type=Path, help="where the figure goes; by default docs/images/sharpness.png")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    few = 10 if options.quick else options.networks
    sizes = {ensemble: few * ((2 if options.quick else 4) if ensemble.panel else 1) for ensemble in ENSEMBLES}
    place = options.figure
    if place is None and not options.quick:
        place = Path(__file__).parent.parent / "docs" / "images" / "sharpness.png"

    begin = time.monotonic()
    columns = [
        "neuron", "units", "density", "inhibitory", "edge", "networks", *CRITERIA, "any", "seen to settle",
        "proved of these (95 %)", "refuted",
    ]  # fmt: skip
    print("| " + " | ".join(columns) + " |")
    print("|---" * len(columns) + "|")
    progress = Progress(sum(cost(ensemble) * count for ensemble, count in sizes.items()))
    results: dict[Ensemble, list[Verdicts]] = {}
    for ensemble, count in sizes.items():
        progress.label = f"{ensemble.label}, {ensemble.units} units"
        edge, results[ensemble] = sample(ensemble, count, progress)
        print(row(ensemble, edge, results[ensemble]), flush=True)
    print("", *remarks(results), sep="\n")
    if place is not None:
        draw(results).savefig(place, dpi=130)
    print("", *excitatory(5 if options.quick else 20), sep="\n")
    print("", *deep(5 if options.quick else 30), sep="\n")
    print(f"\n{time.monotonic() - begin:.0f} s, `{' '.join(['python', 'benchmarks/sharpness.py', *sys.argv[1:]])}`")


if __name__ == "__main__":
    main()
