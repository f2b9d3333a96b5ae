"""Saturated networks: how many are proved to settle for inputs in a box, or for samples, and how many by global slopes.

python benchmarks/saturated.py                 # the tables of docs/measurements/certificates.md, some minutes
python benchmarks/saturated.py --networks 1    # fewer networks a case

Signed random weights, 1 to 8 times the edge of linear stability, leak 1, 10 to 100 units. Drives into the units have a
spread of 0.5 to 2 times what all other units together can send into one at most. The Markdown goes to standard output,
progress to standard error. It stops with an error if a proof is contradicted by a simulation: two places from 32 starts
at one of 10 inputs (NumPy, Euler steps).
"""

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import jax
import numpy as np

import direp

NEURONS: dict[str, Callable[[], direp.Rate | direp.Hopfield | direp.Projected]] = {
    "`Rate(tanh)`": lambda: direp.Rate("tanh"),
    "`Hopfield(tanh)`": lambda: direp.Hopfield("tanh"),
    "`Hopfield(hard-sigmoid)`": lambda: direp.Hopfield("hard-sigmoid"),
    "`Projected`": lambda: direp.Projected(),
}
UNITS, EDGES, DRIVES = (10, 30, 100), (1, 2, 4, 8), (0.5, 1.0, 2.0)
SAMPLES, INPUTS, STARTS = 8, 10, 32


@dataclass(frozen=True)
class Case:
    neuron: str
    units: int
    edges: int
    drive: float
    seed: int

    def network(self) -> direp.Network:
        rng = np.random.default_rng((self.units, self.seed))
        weight = rng.normal(size=(self.units, self.units))
        np.fill_diagonal(weight, 0)
        weight *= self.edges / np.linalg.eigvals(weight).real.max()  # leak 1, slope 1
        sent = np.abs(weight).sum(0).mean()  # at rates up to 1
        bias = rng.normal(size=self.units) * self.drive * sent
        outer = rng.normal(size=(2, self.units)) * 0.05 * self.drive * sent
        if self.neuron in ("`Hopfield(hard-sigmoid)`", "`Projected`"):
            bias -= 0.5 * weight.sum(0) - 0.5  # rates from 0 to 1, so that a half of them is the middle
        graph = direp.Graph.complete(2, self.units - 1, 1)
        return direp.Network(graph, NEURONS[self.neuron](), np.concatenate([outer, weight]), leak=1.0, bias=bias)


def settles(case: Case, network: direp.Network, x: np.ndarray, time: float) -> bool:
    """Whether all starts come to one place at each of the inputs."""
    rng = np.random.default_rng((1, case.seed))
    matrix, bias = np.asarray(network.matrix), np.asarray(network.bias)
    drive, inner = x @ matrix[:2] + bias, matrix[2:]
    s = rng.choice([-1.0, 1.0], (STARTS, 1, case.units)) * rng.uniform(0, 1, (STARTS, 1, case.units))
    if case.neuron == "`Projected`":
        s = (s + 1) / 2
    elif case.neuron.startswith("`Hopfield"):
        s = s * (np.abs(drive) + np.abs(inner).sum(0)).max(0)
    s = np.repeat(s, len(x), 1)
    functions = {
        "`Rate(tanh)`": lambda s: np.tanh(s @ inner + drive) - s,
        "`Hopfield(tanh)`": lambda s: np.tanh(s) @ inner + drive - s,
        "`Hopfield(hard-sigmoid)`": lambda s: np.clip(s, 0, 1) @ inner + drive - s,
        "`Projected`": lambda s: s @ inner + drive - s,
    }
    flow, boxed = functions[case.neuron], case.neuron == "`Projected`"
    for _ in range(int(time / 0.1)):
        s = s + 0.1 * flow(s)
        s = np.clip(s, 0, 1) if boxed else s
    return bool((np.ptp(s, 0) <= 1e-4 * (1 + np.abs(s).max())).all())


@dataclass(frozen=True)
class Outcome:
    everywhere: bool
    box: bool
    data: bool
    share: float
    seen: bool
    enters: float | None
    seconds: float


def judge(case: Case) -> Outcome:
    network, rng = case.network(), np.random.default_rng((2, case.seed))
    x = rng.uniform(-1, 1, (INPUTS, 2))
    corners = np.array(list(itertools.product((-1.0, 1.0), repeat=2)))
    x[:4] = corners
    everywhere = direp.certify(network, starts=0)
    begun = time.perf_counter()
    box = direp.certify(network, inputs=direp.Between(-1, 1))
    seconds = time.perf_counter() - begun
    samples = rng.uniform(-1, 1, (SAMPLES, 2))
    data = direp.certify(network, inputs=samples)
    assert box.within is not None
    assert data.within is not None
    seen = settles(case, network, x, 100)
    if (everywhere or box) and not seen and not settles(case, network, x, 2000):
        raise AssertionError(f"proved and seen not to settle: {case}, {everywhere}, {box}")
    mine = samples[data.within.proved]
    if len(mine) and not settles(case, network, mine, 100) and not settles(case, network, mine, 2000):
        raise AssertionError(f"samples proved and seen not to settle: {case}, {data}")
    return Outcome(bool(everywhere), bool(box), bool(data), data.within.share, seen, box.within.enters, seconds)


def line(name: str, outcomes: Iterable[Outcome]) -> str:
    rows = list(outcomes)
    shares = (np.mean([getattr(row, key) for row in rows]) for key in ("seen", "everywhere", "box", "data", "share"))
    times = [row.enters for row in rows if row.box and row.enters is not None]
    enters = f"{np.median(times):.0f} ({np.max(times):.0f})" if times else ""
    return f"| {name} | {len(rows)} | {' | '.join(f'{share:.0%}' for share in shares)} | {enters} |"


HEAD = (
    "networks | seen to settle | by global slopes | box of inputs | all samples | of the samples | enters: median "
    "(largest)"
)


def main(networks: int) -> None:
    jax.config.update("jax_enable_x64", True)
    cases = [Case(*each) for each in itertools.product(NEURONS, UNITS, EDGES, DRIVES, range(networks))]
    found: dict[Case, Outcome] = {}
    for k, case in enumerate(cases):
        found[case] = judge(case)
        if k % 20 == 0:
            print(f"{k} of {len(cases)}", file=sys.stderr)
    print(f"| neuron | drives | {HEAD} |\n|{'---|' * 9}")
    for neuron, drive in itertools.product(NEURONS, DRIVES):
        rows = [o for c, o in found.items() if (c.neuron, c.drive) == (neuron, drive)]
        print(line(f"{neuron} | {drive:g}", rows))
    print(f"\n| weights, edges | units | {HEAD} |\n|{'---|' * 9}")
    for edges, units in itertools.product(EDGES, UNITS):
        rows = [o for c, o in found.items() if (c.edges, c.units) == (edges, units)]
        print(line(f"{edges} | {units}", rows))
    seconds = np.median([o.seconds for c, o in found.items() if c.units == 100 and o.box])
    print(
        f"\n{len(found)} networks; proved and seen not to settle: 0. A box takes {seconds:.2f} s at 100 units (median)."
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=5, help="a case (neuron, units, weights, drives)")
    main(parser.parse_args().networks)
