"""Netlists against direp: ngspice's operating point beside the equilibrium, and how fast its transients from two states
come together beside what is proved. Prints a Markdown table; needs ngspice.

python benchmarks/circuit.py
python benchmarks/circuit.py --networks --certified 150    # operating points of drawn networks, all proved to settle

Every network is confirmed as it is, and as one mismatched die: its weights, leaks and biases times 1 + 5 % of noise, a
network with a certificate of its own. Options: --networks xor digits random, --seed K (of noise and starts), --time T
(how long states are followed), --mismatch SHARE, --certified N.
"""

import argparse
import dataclasses
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import direp
from direp.circuit import simulate
from direp.program.build import Parts, load_task
from direp.program.presets import preset

TIGHT = direp.Tolerance(1e-12, 1e-13, max_steps=100_000)
BETA = 1.0
FLOOR = 1e-3  # of the first distance: below, the simulator's own errors count


def trained(task: str) -> tuple[direp.Network, np.ndarray, np.ndarray]:
    """A trained network, and a sample: the nudge pulls to another answer than it was taught."""
    settings = dataclasses.replace(preset(task, "default"), seeds="0")
    settings.check()
    data = load_task(settings)
    run = direp.fit(task=data, **Parts(settings, data).fit())
    x, y = (np.asarray(part[1], np.float64) for part in data.train)
    return run.networks[0].astype(np.float64), x, 1 - y


def drawn(seed: int = 0) -> tuple[direp.Network, np.ndarray, np.ndarray]:
    """A random directed graph of 256 free units, its leaks held so that it is certified."""
    graph, rng = direp.Graph.random(16, 246, 10, density=0.05, seed=seed), np.random.default_rng(seed)
    bias = rng.normal(0.3, 0.3, graph.free)
    network = direp.Network(graph, direp.Projected(), direp.Normal(), leak=0.1, bias=bias, key=jax.random.key(seed))
    network = direp.LeakController(0.3, follow=False).begin(network)
    return network, rng.random(graph.inputs), rng.random(graph.outputs)


def mismatched(network: direp.Network, share: float, rng: np.random.Generator) -> direp.Network:
    """A die: every weight, leak and bias is off by up to a share of itself."""
    noisy = jax.tree.map(lambda leaf: leaf * (1 + share * rng.uniform(-1, 1, leaf.shape)), network.parameters)
    return network.replace(noisy)


def apart(found: np.ndarray, true: Any) -> float:
    """The largest difference of a state, over the largest state."""
    true = np.asarray(true)
    return float(np.abs(found - true).max() / np.abs(true).max())


def points(network: direp.Network, x: np.ndarray, y: np.ndarray) -> list[float]:
    """How far operating points are from equilibria, in the free and in the nudged phase."""
    free = direp.settle(network, x[None], stop=TIGHT)
    field = network.field(jnp.asarray(x[None]))
    nudged = direp.Nudged(field, direp.SquaredError(), jnp.asarray(y[None]), jnp.asarray(BETA))
    other = direp.settle(nudged, state=free.state, stop=TIGHT)
    assert bool(free.converged.all() and other.converged.all())
    assert apart(np.asarray(free.state), other.state) > 1e-3, "the nudge moves nothing"
    texts = direp.netlist(network, x), direp.netlist(network, x, y, beta=BETA)
    return [
        apart(simulate(text).states[0], settled.state[0]) for text, settled in zip(texts, (free, other), strict=True)
    ]


def contraction(
    network: direp.Network, x: np.ndarray, certificate: direp.Certificate, length: float, rng: np.random.Generator
) -> tuple[float, float]:
    """The slowest rate at which the distance of two transients shrinks between two of 40 times, and the share of the
    first distance that is left at the last of these."""
    grid = np.linspace(0, length, 41)[1:]
    starts = rng.random((2, network.graph.free))
    paths = []
    for start in starts:
        found = simulate(direp.netlist(network, x, state=start, transient=length))
        paths.append(np.stack([np.interp(grid, found.time, each) for each in found.states.T], 1))
    assert certificate.norm is not None
    first = certificate.norm.length(starts[0] - starts[1])
    distance = np.concatenate([[first], certificate.norm.length(paths[0] - paths[1])]) / first
    kept = distance > FLOOR
    count = len(kept) if kept.all() else int(np.argmin(kept))
    rates = -np.diff(np.log(distance[:count])) / np.diff(np.concatenate([[0.0], grid])[:count])
    return float(rates.min()), float(distance[count - 1])


def many(count: int) -> None:
    """The worst operating point of drawn networks of all outflows and of 20 to 62 units, whose leaks are held."""
    worst = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        graph = direp.Graph.random(3, int(rng.integers(15, 60)), 3, density=float(rng.uniform(0.25, 0.9)), seed=seed)
        neuron = direp.Projected(("none", "signed", "absolute")[seed % 3])
        bias = rng.normal(0.2, 0.5, graph.free)
        network = direp.Network(graph, neuron, direp.Normal(), leak=0.1, bias=bias, key=jax.random.key(seed))
        network = direp.LeakController(float(rng.choice([0.01, 0.1, 1])), follow=False).begin(network)
        x = rng.normal(size=graph.inputs)
        settled = direp.settle(network, x[None], stop=TIGHT)
        assert bool(settled.converged.all())
        worst.append(apart(simulate(direp.netlist(network, x)).states[0], settled.state[0]))
    print(f"\n{count} networks: operating points off by {max(worst):.1e} at most")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--networks", nargs="*", default=["xor", "digits", "random"])
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--time", type=float, default=10.0)
    options.add_argument("--mismatch", type=float, default=0.05)
    options.add_argument("--certified", type=int, default=0)
    asked = options.parse_args()
    print(
        "| network | free units, synapses | operating point off by: free | nudged | certified rate, norm | "
        "slowest rate of the transients | distance left | seconds |\n|---|---|---|---|---|---|---|---|"
    )
    for name in asked.networks:
        network, x, y = drawn() if name == "random" else trained(name)
        rng = np.random.default_rng(asked.seed)
        for label, each in ((name, network), (f"{name}, a die", mismatched(network, asked.mismatch, rng))):
            begun = time.perf_counter()
            certificate = direp.certify(each, starts=0)
            free, nudged = points(each, x, y)
            if certificate:
                slowest, left = contraction(each, x, certificate, asked.time, rng)
                proved, seen = f"{certificate.rate:.3g}, {certificate.norm}", f"{slowest:.3g} | {left:.2g}"
            else:
                proved, seen = certificate.verdict, "not followed | "
            size = f"{each.graph.free}, {each.graph.synapses:,}"
            seconds = time.perf_counter() - begun
            print(f"| {label} | {size} | {free:.1e} | {nudged:.1e} | {proved} | {seen} | {seconds:.0f} |", flush=True)
    if asked.certified:
        many(asked.certified)


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    main()
