"""Are the certificates of learning ever wrong? Small random networks against an oracle in plain NumPy.

Every verdict is tried out: on the stored gradient by the oracle's own gradient and by steps up to the proved size
(exact ones, and those that the run takes in its own precision and with its controller), every condition by what it is
proved for, with other targets, other inputs and other nudges where it says so. T1 and the closed forms are equivalences
and are compared with the oracle's own eigenvalues both ways. A quarter is controlled, and a quarter drawn where nudges
drown in the tolerance: 32 bits, all defaults, targets close to what the network answers, nudges from 1e-5 to 1.

    python tests/campaigns/learning.py --networks 100000 --seed 0 --workers 2
"""

import argparse
import collections
import inspect
import json
import multiprocessing
import pathlib
import time
from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
import numpy as np
from learning_draw import CONTROLS, GRAPHS, Kind, kinds, prepared
from learning_judge import Judge, finite_differences, proved_step
from learning_oracle import Unsettled

import direp

CHUNK = 400  # networks of one kind, for which direp compiles one program
STOP = direp.Tolerance(1e-11, 1e-12, max_steps=3000)
# A version before certificates knew controls and step sizes has neither.
_CONTROLLED = "control" in inspect.signature(direp.certify_learning).parameters


@eqx.filter_jit
def through(network: direp.Network, gradient: Any, control: Any) -> Any:
    return control.gradient(network, control.init(network), gradient)


def descent(network: direp.Network, gradient: Any, control: Any) -> np.ndarray:
    """Minus the gradient that a run descends, laid out as the oracle does."""
    if control is not None:
        gradient = through(network, gradient, control)
    strengths = np.asarray(network.synapses.strengths(gradient.weight), np.float64)
    bias = np.asarray(gradient.bias, np.float64) if network.graph.bias else np.zeros(0)
    return -np.concatenate([strengths, bias])


def chunk(task: tuple[int, int, Kind, int]) -> tuple[collections.Counter, list[dict]]:
    """One kind of networks; returns counts and everything that was wrong."""
    seed, number, kind, count = task
    jax.config.update("jax_enable_x64", True)
    graph = GRAPHS[kind.graph]()
    counts: collections.Counter = collections.Counter()
    wrong = []
    for k in range(count):
        rng = np.random.default_rng((seed, number, k))
        network, net, x, y, beta = prepared(kind, graph, rng)
        counts["networks"] += 1
        rule = direp.Local(direp.Centred(beta) if kind.centred else direp.OneSided(beta))
        how = {"stop": None if kind.drowned else STOP}
        control = CONTROLS[kind.control]
        more = {"control": control} if _CONTROLLED else {}
        said = direp.certify_learning(network, x, y, rule, **more, **how)
        # The same numbers again; of several equilibria, the oracle judges the one that direp speaks of.
        run = direp.estimate(network, x, y, rule, **how)
        kept = np.setdiff1d(np.arange(len(x)), said.left_out)
        counts["samples left out"] += len(said.left_out)
        if not len(kept):
            counts["no sample settled"] += 1
            continue
        way = descent(network, run.gradient, control)
        if not np.isfinite(way).all():
            counts["no finite gradient"] += 1
            continue
        if not way.any():
            counts["gradients of exactly 0"] += 1
        try:
            judge = Judge(net, x[kept], y[kept], np.asarray(run.free.state, np.float64)[kept], rng, kind)
            judge.everything(said, way)
            if k % 20 == 0:
                finite_differences(judge)
            if said.verdict == "proved" and k % 10 == 0:
                judge.reach(proved_step(said), way)
            if most := proved_step(said):
                judge.own(network, run, way, most)
        except (Unsettled, np.linalg.LinAlgError):
            counts["not settled by the oracle"] += 1
            continue
        counts.update(judge.seen)
        wrong += [{"seed": [seed, number, k], "kind": kind.__dict__, "what": what} for what in judge.wrong]
    return counts, wrong


def campaign(
    networks: int, seed: int, workers: int, size: int, saved: pathlib.Path
) -> tuple[collections.Counter, list[dict]]:
    """All chunks; what is done is saved after each, and an interrupted campaign goes on from there."""
    size = min(size, networks)
    chosen = kinds(np.random.default_rng(seed), -(-networks // size))
    state: dict[str, Any] = json.loads(saved.read_text()) if saved.exists() else {"done": [], "counts": {}, "wrong": []}
    tasks = [(seed, n, kind, size) for n, kind in enumerate(chosen) if n not in state["done"]]
    counts, wrong = collections.Counter(state["counts"]), list(state["wrong"])
    begun = time.time()
    pool = multiprocessing.get_context("spawn").Pool(workers)
    for finished, (number, part, bad) in enumerate(pool.imap_unordered(numbered, tasks), 1):
        counts.update(part)
        wrong += bad
        state["done"].append(number)
        saved.write_text(json.dumps({"done": state["done"], "counts": counts, "wrong": wrong}))
        left = (time.time() - begun) / finished * (len(tasks) - finished)
        print(f"\r{counts['networks']:,} networks, {len(wrong)} wrong, {left:.0f} s left   ", end="", flush=True)
    return counts, wrong


def numbered(task: tuple[int, int, Kind, int]) -> tuple[int, collections.Counter, list[dict]]:
    done = chunk(task)
    jax.clear_caches()  # compiled programs of one kind are of no use to the next
    return task[1], *done


def shares_decided(counts: collections.Counter) -> Iterator[str]:
    for family in ("plain", "controlled", "drowned"):
        found = [counts[f"as run, {family}: {verdict}"] for verdict in ("proved", "refuted", "undecided")]
        if sum(found):
            yield f"{sum(found[:2]):,} of {sum(found):,} {family}"


def table(counts: collections.Counter) -> str:
    names = sorted({name.rpartition(": ")[0] for name in counts if ": " in name})
    lines = ["| verdict on | proved | refuted | undecided |", "|---|---:|---:|---:|"]
    lines += [
        f"| {name} | " + " | ".join(f"{counts[f'{name}: {v}']:,}" for v in ("proved", "refuted", "undecided")) + " |"
        for name in names
    ]
    reach = {float(name[6:]): count for name, count in counts.items() if name.startswith("reach ")}
    rest = [f"{name}: {count:,}" for name, count in counts.items() if ": " not in name and name[:6] != "reach "]
    shares = np.repeat(list(reach), list(reach.values())) if reach else np.zeros(1)
    names = "median, 10 %, 1 %, least"
    told = ", ".join(f"{q:.3f}" for q in np.quantile(shares, [0.5, 0.1, 0.01, 0]))
    decided = f"verdicts as run that are not undecided: {', '.join(shares_decided(counts))}"
    reached = f"eta* over the largest step that descends ({len(shares)}): {names}: {told}"
    return "\n".join([*lines, "", decided, "; ".join(rest), reached])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--chunk", type=int, default=CHUNK, help="networks of one kind")
    parser.add_argument("--saved", type=pathlib.Path, default=pathlib.Path("learning_campaign.json"))
    asked = parser.parse_args()
    begun = time.time()
    counts, wrong = campaign(asked.networks, asked.seed, asked.workers, asked.chunk, asked.saved)
    print(f"\n\n{table(counts)}\n\nviolations: {len(wrong)}; {time.time() - begun:.0f} s")
    if wrong:
        print(f"see {asked.saved}")
        raise SystemExit(1)


if __name__ == "__main__":
    main()
