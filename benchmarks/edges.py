"""How far does each criterion reach? The largest weights that it proves, as a share of the linear edge, and its cost.

python benchmarks/edges.py              # the table: random signed networks of 20 to 2,000 units
python benchmarks/edges.py --solver     # at 10 to 24 units, beside the semidefinite solver
python benchmarks/edges.py --cost       # what each criterion costs from 100 to 100,000 units

Weights are normal, leaks 1. The linear edge is the scale at which the network with the steepest slopes loses stability.
With equal leaks every rate is $1-s\\gamma$ for weights of scale s, so that one rate gives the largest scale that is
proved, $s/(1-c)$; and 0.99 of it is proved in a second call. Markdown to standard output.
"""

import argparse
import sys
import time

import jax
import numpy as np
from scipy.sparse import csr_array

import direp
from direp.certificates import LMI, Circle, Perron, Rows, Spectral, Symmetric, Vertices
from direp.certificates.convergence import System

NEURONS = {"projected": direp.Projected(), "rate (tanh)": direp.Rate(direp.model.tanh)}


def system_of(weight, neuron) -> System:
    size = weight.shape[0]
    return System(weight, np.ones(size), neuron, size - 1, direp.SquaredError(), {"free": 0.0})


def drawn(units: int, density: float, seed: int) -> np.ndarray:
    """Weights whose linear edge is at scale one."""
    rng = np.random.default_rng((units, round(100 * density), seed))
    weight = rng.standard_normal((units, units)) * (rng.random((units, units)) < density)
    np.fill_diagonal(weight, 0)
    return weight / np.linalg.eigvals(weight).real.max()


def reach(criterion, weight, neuron, scale: float) -> tuple[float, float, bool]:
    """The largest scale that is proved, the seconds of one call, and whether 0.99 of that is proved again."""
    begun = time.perf_counter()
    attempt = criterion.attempt(system_of(scale * weight, neuron))
    seconds = time.perf_counter() - begun
    if not np.isfinite(attempt.rate):
        return np.nan, seconds, False
    largest = scale / (1 - attempt.rate)
    again = criterion.attempt(system_of(0.99 * largest * weight, neuron))
    return largest, seconds, again.proof is not None


def edges(seeds: int) -> None:
    criteria = (Rows(), Perron(), Spectral(sharpen_up_to=0), Spectral(), Circle())
    print("| units, density | neuron | rows | Perron | spectral, first weights | spectral | circle |")
    print("|---|---|---|---|---|---|---|")
    for units, density in ((20, 1.0), (138, 0.1), (522, 0.1), (522, 1.0), (2000, 0.1)):
        weights = [drawn(units, density, seed) for seed in range(seeds if units < 2000 else 1)]
        for name, neuron in NEURONS.items():
            cells = []
            for criterion in criteria:
                if criterion.name == "circle" and (units > criterion.up_to or neuron.bounded):
                    cells.append("as spectral" if neuron.bounded else "-")
                    continue
                scale = 0.6 if criterion.name in ("spectral", "circle") else 0.05
                found = [reach(criterion, weight, neuron, scale) for weight in weights]
                largest, seconds = (np.array([each[k] for each in found]) for k in (0, 1))
                sure = "" if all(each[2] for each in found) else " (not proved again)"
                cells.append(f"{np.mean(largest):.2f}, {np.max(seconds):.1f} s{sure}")
                print(units, density, name, criterion.name, cells[-1], file=sys.stderr)
            print(f"| {units:,}, {density:g} | {name} | {' | '.join(cells)} |", flush=True)


def solver(seeds: int) -> None:
    neurons = {**NEURONS, "hopfield (sigmoid)": direp.Hopfield(direp.model.sigmoid)}
    criteria = (Spectral(), Circle(), LMI(rounds=8))
    print("| units | neuron | spectral over the solver: mean, least | circle over the solver | seconds of each |")
    print("|---|---|---|---|---|")
    for units in (10, 16, 24):
        for name, neuron in neurons.items():
            rates, spent = [], np.zeros(3)
            for seed in range(seeds):
                system = system_of(0.5 * drawn(units, 1.0, seed), neuron)
                row = []
                for k, criterion in enumerate(criteria):
                    begun = time.perf_counter()
                    attempt = criterion.attempt(system)
                    spent[k] += time.perf_counter() - begun
                    row.append(attempt.rate if attempt.proof is not None else np.nan)
                rates.append(row)
            one, two, best = np.array(rates).T
            both = [f"{np.nanmean(each / best):.3f}, {np.nanmin(each / best):.3f}" for each in (one, two)]
            both = [both[0], "-" if neuron.bounded else both[1]]
            each = ", ".join(f"{seconds / seeds:.2g}" for seconds in spent)
            print(f"| {units} | {name} | {both[0]} | {both[1]} | {each} |", flush=True)


def cost(sizes: list[int]) -> None:
    criteria = (direp.LocalLeak(), Rows(), Perron(), Spectral(), Symmetric(), Circle(), LMI(), Vertices())
    print("| units, synapses | " + " | ".join(criterion.name for criterion in criteria) + " |")
    print("|---|" + "---|" * len(criteria))
    for units, synapses in ((100, 10_000), (1_000, 1_000_000), (10_000, 1_000_000), (100_000, 2_000_000)):
        if units not in sizes:
            continue
        rng = np.random.default_rng(0)
        source, target = rng.integers(0, units, (2, synapses))
        strength = rng.standard_normal(synapses) * 0.25 / np.sqrt(synapses / units)
        weight = csr_array((strength * (source != target), (source, target)), shape=(units, units))
        weight = weight.toarray() if units <= 1_000 else weight
        cells = []
        for criterion in criteria:
            begun = time.perf_counter()
            attempt = criterion.attempt(system_of(weight, NEURONS["rate (tanh)"]))
            seconds = time.perf_counter() - begun
            said = "proved" if attempt.proof is not None else "not tried" if "not tried" in attempt.note else "no"
            cells.append("not tried" if said == "not tried" else f"{seconds:.2g} s, {said}")
        print(f"| {units:,}, {synapses:,} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="networks of each kind (one of 2,000 units)")
    parser.add_argument("--solver", action="store_true", help="beside the semidefinite solver")
    parser.add_argument("--cost", action="store_true", help="what each criterion costs")
    parser.add_argument("--units", type=int, nargs="+", default=[100, 1_000, 10_000, 100_000], help="of --cost")
    given = parser.parse_args()
    with jax.enable_x64(True), np.errstate(all="ignore"):
        if given.solver:
            solver(given.seeds)
        elif given.cost:
            cost(given.units)
        else:
            edges(given.seeds)


if __name__ == "__main__":
    main()
