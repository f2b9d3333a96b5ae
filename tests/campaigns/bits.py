"""Is a file with a flipped bit ever taken for another network? Every bit of a network file (with a counter-example), of
the config and the weights of a run folder, and of a plain matrix.

What is read after a flip is compared with what was written, bit by bit: it is refused, or it is exactly the same.

    python tests/campaigns/bits.py
    python tests/campaigns/bits.py --draws 100000 --bits 2 --seed 1
"""

import argparse
import collections
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import direp
from direp.certificates.convergence import Counterexample
from direp.model import Network
from direp.program.matrix_file import network_from_matrix
from direp.program.network_file import open_network, save_network
from direp.program.run_folder import keep_networks, new_run, open_run
from direp.program.settings import Settings
from direp.runs import Unreadable


class Subject(NamedTuple):
    """A file, how it is read, and the number of its first bytes that are a header."""

    name: str
    path: Path
    read: Callable[[], Any]
    header: int


def content(network: Network) -> tuple:
    """All that a network is, to be compared bit by bit."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(network.parameters)]
    numbers = [(str(leaf.dtype), leaf.shape, leaf.tobytes()) for leaf in leaves]
    return network.graph, network.neuron, type(network.synapses), numbers


def subjects(folder: Path) -> list[Subject]:
    """The files, written into a folder."""
    graph = direp.Graph.layered([2, 3, 1])
    rng = np.random.default_rng(0)
    weight = np.where(graph.adjacency(), rng.normal(0, 1, (graph.units, graph.free)), 0)
    network = direp.Network(graph, direp.Rate(direp.activation.tanh, "absolute"), weight, leak=1 + rng.random(4))
    example = Counterexample("two equilibria", rng.random(2), rng.random((2, 4)))
    saved = folder / "network.safetensors"
    save_network(saved, network, example)

    def read_network() -> Any:
        found, counter = open_network(saved)
        assert counter is not None
        return content(found), counter.kind, counter.x.tobytes(), counter.states.tobytes(), counter.direction

    settings = Settings(hidden=(2,), seeds="0..1")
    complete = direp.Graph.complete(2, 2, 1)
    made = [
        direp.Network(complete, direp.Projected("signed"), key=jax.random.key(seed), dtype=jnp.float32)
        for seed in range(2)
    ]
    run = folder / "run"
    with new_run(run, settings) as kept:
        keep_networks(run, kept, made, (0, 1))

    def read_run() -> Any:
        found = open_run(run)
        return found.settings, [content(network) for network in found.networks]

    matrix = folder / "matrix.npz"
    np.savez(matrix, weight=weight[2:] - np.diag(np.diag(weight[2:])), leak=np.full(4, 2.0), bias=rng.random(4))

    def read_matrix() -> Any:
        return content(network_from_matrix(matrix, direp.Projected()))

    return [
        Subject("network file", saved, read_network, _header(saved)),
        Subject("weights of a run", run / "weights.safetensors", read_run, _header(run / "weights.safetensors")),
        Subject("config of a run", run / "config.json", read_run, (run / "config.json").stat().st_size),
        Subject("matrix (.npz)", matrix, read_matrix, 0),
    ]


def _header(path: Path) -> int:
    return 8 + int.from_bytes(path.read_bytes()[:8], "little")


def judge(subject: Subject, flips: Iterable[tuple[int, ...]]) -> tuple[collections.Counter, list[str]]:
    """What becomes of each flip of some bits at once, by part of the file; and those that make another network."""
    before, counts, wrong = subject.read(), collections.Counter(), []
    whole = subject.path.read_bytes()
    try:
        for bits in flips:
            changed = bytearray(whole)
            for bit in bits:
                changed[bit // 8] ^= 1 << bit % 8
            subject.path.write_bytes(changed)
            part = "header" if min(bits) // 8 < subject.header else "numbers"
            try:
                outcome = "the same" if subject.read() == before else "another"
            except (Unreadable, ValueError):
                outcome = "refused"
            counts[part, outcome] += 1
            if outcome == "another":
                wrong.append(f"{subject.name}, {part}: bits {', '.join(map(str, bits))}")
    finally:
        subject.path.write_bytes(whole)
    return counts, wrong


def every(subject: Subject) -> Iterator[tuple[int, ...]]:
    return ((bit,) for bit in range(8 * subject.path.stat().st_size))


def drawn(subject: Subject, count: int, bits: int, seed: int) -> Iterator[tuple[int, ...]]:
    rng = np.random.default_rng(seed)
    size = 8 * subject.path.stat().st_size
    return (tuple(rng.choice(size, bits, replace=False).tolist()) for _ in range(count))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=0, help="draw so many flips a file, in place of every single bit")
    parser.add_argument("--bits", type=int, default=1, help="how many bits each draw flips")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    begun, total, bad = time.time(), 0, []
    with tempfile.TemporaryDirectory() as folder:
        for subject in subjects(Path(folder)):
            flips = drawn(subject, asked.draws, asked.bits, asked.seed) if asked.draws else every(subject)
            counts, wrong = judge(subject, flips)
            bad += wrong
            total += sum(counts.values())
            for part in ("header", "numbers"):
                told = {outcome: counts[part, outcome] for outcome in ("refused", "the same", "another")}
                if any(told.values()):
                    name = subject.name if subject.header == 0 or part == "numbers" else f"{subject.name}, header"
                    shown = ", ".join(f"{count:,} {outcome}" for outcome, count in told.items())
                    print(f"{name:28} {sum(told.values()):7,} flips: {shown}")
    print(f"{total:,} flips, accepted with other numbers: {len(bad)}; {time.time() - begun:.0f} s")
    if bad:
        print(json.dumps(bad[:20], indent=1), file=sys.stderr)
        raise SystemExit(1)


if __name__ == "__main__":
    main()
