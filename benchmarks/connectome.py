"""Signed connectomes learn digits: drawn, written to GraphML, read, trained under Dale's law, certified, written back.

python benchmarks/connectome.py draw KIND SEED FILE   # a connectome in a .graphml or .csv file
python benchmarks/connectome.py tune KIND             # 6 trials on the connectome of seed 100, training seeds 100 to
                                                      # 103; prints a line of JSON each, of validation data alone
python benchmarks/connectome.py table [KIND]          # the connectomes of seeds 0 to 2, training seeds 0 to 9 each

KIND is random (200 units, each synapse that may be with probability 0.1) or worm (300 units and 3,000 synapses, about
the size of C. elegans: near units on a ring are joined more often, and the numbers of synapses that units send and
receive have heavy tails). Sixty-four units are sensory, ten are read-outs, in any order; of the worm they are among
the half of units that send, or receive, most. Four units in five are excitatory, the others inhibitory; sizes of
weights are log-normal. Training is `direp train digits --graph FILE` with the options of the kind.
"""

import dataclasses
import itertools
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import jax
import networkx as nx
import numpy as np

import direp
from direp.analysis import statistics
from direp.program.build import Parts, load_task
from direp.program.presets import preset

SENSORY, READOUTS, EXCITATORY = 64, 10, 0.8
COMMON: dict[str, Any] = {"init": "file", "weight_scale": 0.3, "dale": True}
OPTIONS: dict[str, dict[str, Any]] = {  # the best by validation of `tune`
    "random": {**COMMON, "beta": 2.0, "decay": 0.1},
    "worm": {**COMMON, "beta": 8.0, "decay": 0.1},
}
BETAS, DECAYS, TUNED, SEEDS, DRAWS = (2.0, 4.0, 8.0), (0.03, 0.1), "100..103", "0..9", (0, 1, 2)


def random(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Names of units, and where there are synapses."""
    names = _names(200, *np.split(rng.permutation(200), (SENSORY, SENSORY + READOUTS))[:2])
    return names, rng.random((200, 200)) < 0.1


def worm(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    units, synapses = 300, 3000
    place, (sends, receives) = rng.random(units), rng.lognormal(0, 0.8, (2, units))
    sensory = rng.permutation(np.flatnonzero(sends > np.median(sends)))[:SENSORY]
    many = np.setdiff1d(np.flatnonzero(receives > np.median(receives)), sensory)
    readouts = rng.permutation(many)[:READOUTS]
    apart = np.abs(place[:, None] - place)
    chance = sends[:, None] * receives * (np.exp(-np.minimum(apart, 1 - apart) / 0.05) + 0.03)
    chance[:, sensory] = 0
    np.fill_diagonal(chance, 0)
    with np.errstate(divide="ignore"):
        order = np.log(chance) + rng.gumbel(size=chance.shape)  # the largest are a draw without replacement
    return _names(units, sensory, readouts), order >= np.sort(order, None)[-synapses]


KINDS = {"random": random, "worm": worm}


def _names(units: int, sensory: np.ndarray, readouts: np.ndarray) -> np.ndarray:
    names = np.full(units, "", object)
    names[sensory] = [f"SENS_{k:02d}" for k in range(SENSORY)]
    names[readouts] = [f"READ_{k}" for k in range(READOUTS)]
    names[names == ""] = [f"UNIT_{k:03d}" for k in range(units - SENSORY - READOUTS)]
    return names


def drawn(kind: str, seed: int) -> direp.Connectome:
    rng = np.random.default_rng(seed)
    names, there = KINDS[kind](rng)
    roles = [{"SENS": "sensory", "READ": "readout"}.get(name[:4], "hidden") for name in names]
    there &= ~np.eye(len(names), dtype=bool) & (np.array(roles) != "sensory")
    sign, size = np.where(rng.random(len(names)) < EXCITATORY, 1, -1), rng.lognormal(0, 0.7, there.shape)
    graph = nx.DiGraph()
    for name, role, own in zip(names, roles, sign.tolist(), strict=True):
        graph.add_node(name, role=role, sign=own)
    for i, j in np.argwhere(there):
        graph.add_edge(names[i], names[j], weight=float(sign[i] * size[i, j]))
    return direp.Connectome.from_networkx(graph)


def train(file: Path, seeds: str, **options: Any) -> tuple[Parts, direp.Run]:
    """As `direp train digits --graph FILE` with these options."""
    settings = dataclasses.replace(preset("digits", "random"), graph=str(file), seeds=seeds, **options)
    settings.check()
    task = load_task(settings)
    parts = Parts(settings, task)
    return parts, direp.fit(task=task, **parts.fit())


def tune(kind: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "drawn.graphml"
        drawn(kind, 100).to_graphml(file)
        for beta, decay in itertools.product(BETAS, DECAYS):
            own = {"beta": beta, "decay": decay}
            _, run = train(file, TUNED, **COMMON, **own)
            found = np.asarray(run.validation.accuracy, float), np.asarray(run.validation.loss, float)
            print(json.dumps({"kind": kind, **own, "validation": found[0].mean(), "loss": found[1].mean()}), flush=True)
            jax.clear_caches()


def table(kinds: list[str]) -> None:
    print(
        "| connectome | draw | synapses | test accuracy | lowest | wrong sign | certified | unsettled | written back |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for kind, draw in itertools.product(kinds, DRAWS):
        with tempfile.TemporaryDirectory() as folder:
            print(f"| {kind} | {draw} | {row(drawn(kind, draw), Path(folder), OPTIONS[kind])} |", flush=True)
        jax.clear_caches()


def row(made: direp.Connectome, folder: Path, options: dict[str, Any]) -> str:
    file = folder / "drawn.graphml"
    made.to_graphml(file)
    parts, run = train(file, SEEDS, **options)
    read = parts.connectome
    assert read == made
    wrong = added = equal = proved = 0
    for seed, network in enumerate(run.networks):
        strengths, trained = np.asarray(network.strengths()), read.updated(network)
        assert read.sign is not None
        wrong += int((strengths * read.sign < 0).sum())
        matrix = network.to_scipy()
        added += int(matrix.astype(bool).sum()) - int((matrix.astype(bool) * made.to_scipy().astype(bool)).sum())
        for form in ("graphml", "csv"):
            path = folder / f"trained-{seed}.{form}"
            getattr(trained, f"to_{form}")(path)
            again = getattr(direp.Connectome, f"from_{form}")(path)
            pairs = zip(jax.tree.leaves(network.parameters), jax.tree.leaves(rebuilt(again, network)), strict=True)
            equal += again == trained and all(np.array_equal(one, other) for one, other in pairs)
        proved += direp.certify(network, rule=run.rules[seed], starts=0).verdict == "proved"
    assert added == 0
    count, accuracy = len(run.networks), np.asarray(run.test.accuracy, float)
    mean, half = statistics.student(accuracy)
    certified = f"{proved} of {count}" + ("" if run.history["certified"].all() else ", not after every update")
    return (
        f"{read.graph.synapses:,} | {mean:.2%} ± {half:.2%} | {accuracy.min():.2%} | {wrong} | {certified} | "
        f"{run.history['unsettled'].max():.2%} | {equal} of {2 * count} equal"
    )


def rebuilt(connectome: direp.Connectome, network: direp.Network) -> Any:
    """The parameters of a network of the same kind, out of a connectome."""
    return connectome.network(network.neuron, layout=network.synapses, dtype=network.dtype).parameters


if __name__ == "__main__":
    command, *given = sys.argv[1:] or [""]
    if command == "draw" and len(given) == 3 and given[0] in KINDS and given[2].endswith((".graphml", ".csv")):
        getattr(drawn(given[0], int(given[1])), f"to_{given[2].rpartition('.')[2]}")(given[2])
    elif command == "tune" and len(given) == 1 and given[0] in KINDS:
        tune(given[0])
    elif command == "table" and set(given) <= set(KINDS):
        table(given or list(KINDS))
    else:
        names = "|".join(KINDS)
        raise SystemExit(
            f"usage: connectome.py draw {names} SEED FILE.graphml|FILE.csv, tune {names}, or table [{names}]"
        )
