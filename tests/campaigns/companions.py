"""Does the bound on what companions of synapses miss of the gradient ever fail, and how sharp is it?

Draws networks of all neurons, outflows, kinds of graphs and layouts, with companions from nearly equal to unrelated,
and compares `direp.bound_feedback` with adjoints and gradients by dense linear algebra (`companions_oracle.py`).

    python tests/campaigns/companions.py --networks 100000 --seed 0
"""

import argparse
import collections
import itertools
import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from companions_oracle import Nets, Truth, held_leak, truth

import direp
from direp.rules import initialise, parameters_of, with_companions, with_parameters

NEURONS: tuple[tuple[str, str], ...] = (
    ("projected", "none"), ("hopfield", "sigmoid"), ("hopfield", "hard-sigmoid"), ("rate", "tanh"),
    ("rate", "softplus"),
)  # fmt: skip
PLACES: tuple[tuple[str, Any], ...] = (
    ("complete", direp.Dense), ("random", direp.Sparse), ("layered", direp.Layered), ("random", direp.Dense),
    ("layered", direp.Sparse),
)  # fmt: skip
SAMPLES = 3


class Kind(NamedTuple):
    """What networks of a kind share; of several hundred of them each number is another."""

    neuron: str
    activation: str
    outflow: str
    template: direp.Network
    rule: direp.AbstractRule
    controlled: bool

    def __str__(self) -> str:
        control = "a control" if self.controlled else "no control"
        return f"{self.neuron} {self.activation}, {self.outflow} outflow, {self.template.graph.kinds}, {control}"


def kinds(count: int = 30) -> list[Kind]:
    """Every neuron with every outflow, twice; graphs, layouts and controls in turn."""
    found = []
    for k, ((neuron, activation), outflow) in enumerate(
        itertools.islice(itertools.cycle(itertools.product(NEURONS, ("none", "signed", "absolute"))), count)
    ):
        shape, layout = PLACES[(k + k // 15) % len(PLACES)]
        graph = {
            "complete": lambda: direp.Graph.complete(2, 4, 2),
            "random": lambda k=k: direp.Graph.random(3, 7, 2, density=0.5, seed=k),
            "layered": lambda: direp.Graph.layered([2, 4, 3, 2], skip=True),
        }[shape]()
        part = direp.Projected(outflow) if neuron == "projected" else None
        part = part or {"hopfield": direp.Hopfield, "rate": direp.Rate}[neuron](activation, outflow)
        template = direp.Network(graph, part, key=jax.random.key(k), layout=layout(graph))
        rule = (direp.Dyadic, direp.AsymEP)[k % 2](feedback=direp.LearnedFeedback())
        found.append(
            Kind(neuron, activation, outflow, template, initialise(rule, template, jax.random.key(k)), k % 2 < 1)
        )
    return found


def draw(kind: Kind, count: int, rng: np.random.Generator) -> tuple[Nets, np.ndarray]:
    """Networks of a kind, and the margin to which leaks are held."""
    graph = kind.template.graph
    exists = np.asarray(graph.adjacency(), bool)
    inner = exists[graph.inputs :]

    def spread(low: float, high: float) -> np.ndarray:
        return np.exp(rng.uniform(np.log(low), np.log(high), (count, 1, 1)))

    size = spread(0.05, 1.0)
    weight = size * rng.normal(size=(count, *exists.shape)) * exists
    companion = weight[:, graph.inputs :] + size * spread(1e-3, 2.0) * rng.normal(size=(count, *inner.shape)) * inner
    positive = rng.random(count) < 0.2
    weight[positive, graph.inputs :] = np.abs(weight[positive, graph.inputs :])
    more = rng.random(count) < 0.5
    apart = np.abs(companion - weight[:, graph.inputs :])
    companion = np.where((positive & more)[:, None, None], weight[:, graph.inputs :] + apart, companion)
    bias = rng.normal(0.4, 0.3, (count, graph.free))
    x, y = rng.normal(0.3, 0.7, (count, SAMPLES, graph.inputs)), rng.random((count, SAMPLES, graph.outputs))
    margin, floor = spread(0.05, 1.0)[:, 0, 0], rng.choice([0.05, 1.0], count)
    activation = {"projected": "none"}.get(kind.neuron, kind.activation)
    bare = np.zeros((count, graph.free))
    nets = Nets(kind.neuron, activation, kind.outflow, graph.outputs, exists, weight, companion, bias, bare, x, y)
    return nets._replace(leak=held_leak(nets, margin, floor)), margin


def bound(kind: Kind, nets: Nets, margin: np.ndarray, n: int) -> direp.FeedbackBound:
    """What direp says of one of the networks; of every other one about what hidden units learn."""
    network, graph = kind.template, kind.template.graph
    weight = network.synapses.from_matrix(nets.weight[n])
    companion = np.concatenate([0 * nets.weight[n, : graph.inputs], nets.companion[n]])
    network = network.replace(direp.Parameters(weight, *(jnp.asarray(each[n]) for each in (nets.bias, nets.leak))))
    beside = with_companions(parameters_of(kind.rule), [network.synapses.from_matrix(companion).recurrent])
    control = direp.LeakController(float(margin[n]), floor=0.0) if kind.controlled else None
    rule = with_parameters(kind.rule, beside)
    return direp.bound_feedback(network, nets.x[n], nets.y[n], rule, control=control, hidden_only=n % 2 == 1)


def judge(said: direp.FeedbackBound, true: Truth, n: int) -> tuple[list[str], dict[str, Any]]:
    """What is wrong with a bound, and how sharp it is."""
    apart, bar = np.abs(true.other[n] - true.exact[n]), 1e-9 * (1 + np.abs(true.exact[n]).max())
    counts = true.into_hidden if n % 2 else 1.0
    g, update = counts * true.gradient[n], counts * true.update[n]
    size, product = float(update @ update), float(update @ g)
    laws = {
        "the response is that of the companions": np.abs(said.response - true.other[n]).max() <= bar,
        "the error of every unit is within its bound": (apart <= said.error + bar).all(),
        "norms alone are no sharper": (said.error <= true.crude[n][:, None] + bar).all()
        and np.allclose(said.crude, true.crude[n], rtol=1e-6, atol=bar),
    }
    cosine = 1.0
    if size > 0:
        few, cosine = 1e-9 + bar / np.sqrt(size), product / np.sqrt(max(size * float(g @ g), 1e-300))
        laws |= {
            "what the inner product lacks": (size - product) / size <= said.lost + few,
            "how far apart the gradients are": np.linalg.norm(update - g) / np.sqrt(size) <= said.apart + few,
            "the relative error": np.linalg.norm(update - g) <= (said.relative_error + few) * np.linalg.norm(g),
            "the cosine": cosine >= said.cosine - few,
            "descent": not said.descends or product > 0,
            "what the condition number allows": said.lost <= said.condition * true.factor[n] * (1 + 1e-6) + few,
        }
    figures: dict[str, Any] = {"proved": said.descends, "descends": product > 0}
    true_error = apart.max(1)
    clear = true_error > 1e-6 * np.abs(true.exact[n]).max()
    for name, given in (("sharp", said.error.max(1)), ("sizes", true.sizes[n].max(1)), ("crude", said.crude)):
        figures[name] = (given[clear] / true_error[clear]).tolist()
    if size > 0:
        figures["angles"] = [said.angle, float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))]
    return [name for name, holds in laws.items() if not holds], figures


class Tally:
    """Violations, and figures of all networks."""

    def __init__(self) -> None:
        self.networks = self.left_out = self.still = 0
        self.wrong: list[str] = []
        self.figures: collections.defaultdict[str, list[Any]] = collections.defaultdict(list)

    def take(self, kind: Kind, count: int, rng: np.random.Generator) -> None:
        nets, margin = draw(kind, count, rng)
        true = truth(nets, margin if kind.controlled else None)
        for n in range(count):
            self.networks += 1
            said = bound(kind, nets, margin, n)
            if not (said.used.all() and true.settled[n].all()):
                self.left_out += 1
                continue
            found, figures = judge(said, true, n)
            self.still += not said.response.any()
            self.wrong += [f"{kind}: {law}" for law in found]
            for name, value in figures.items():
                self.figures[name] += value if name in ("sharp", "sizes", "crude") else [value]

    def summary(self) -> dict[str, Any]:
        quantiles = {
            name: [float(np.quantile(self.figures[name], q)) for q in (0.0, 0.5, 0.9, 1.0)]
            for name in ("sharp", "sizes", "crude")
        }
        angles = np.array(self.figures["angles"])
        proved = np.array(self.figures["proved"])
        return {
            "networks": self.networks, "left_out": self.left_out, "without_error": self.still,
            "violations": collections.Counter(self.wrong), "bound_over_error": quantiles,
            "proved": float(proved.mean()), "descends": float(np.mean(self.figures["descends"])),
            "median_angle": [float(np.median(each)) for each in angles[angles[:, 0] < 90].T],
        }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--saved", type=Path, help="a file for the figures, as JSON")
    asked = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    begun, tally, every = time.time(), Tally(), kinds()
    for k, kind in enumerate(every):
        left = asked.networks // len(every) + (k < asked.networks % len(every))
        rng = np.random.default_rng((asked.seed, k))
        while left:
            tally.take(kind, min(left, 500), rng)
            left -= min(left, 500)
    found = tally.summary()
    print(f"{found['networks']:,} networks, {found['left_out']} left out as unsettled; {time.time() - begun:.0f} s")
    print(f"violations: {sum(found['violations'].values())}", *found["violations"].items(), sep="\n  ")
    for name, (least, median, most, worst) in found["bound_over_error"].items():
        print(
            f"{name:6} bound over true error: least {least:.4g}, median {median:.3g}, 90 % {most:.3g}, most {worst:.3g}"
        )
    print(f"proved to descend: {found['proved']:.1%}; descend: {found['descends']:.1%}")
    print("median angle where proved: bound {:.3g}, true {:.3g} degrees".format(*found["median_angle"]))
    if asked.saved:
        asked.saved.write_text(json.dumps(found, indent=1))
    if found["violations"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
