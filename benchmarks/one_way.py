"""XOR on random one-way graphs: 16 hidden units, no synapse between free units has a partner, a graph for every seed.

python benchmarks/one_way.py            # every rule: 4 trials on seeds 1000 to 1049, then seeds 0 to 499 at the best
python benchmarks/one_way.py --seeds 20 --tuning 10 local adjoint    # fewer seeds, some rules

The graph of a seed has one synapse between any two free units (density 0.5), in a direction drawn from the seed, and
one from every input to every free unit. All seeds train in one program, as complete graphs in which the synapses that a
graph has not are zero and stay so. All but the rule, its nudge and the learning rate is the preset of the gates. A
trial is a learning rate and a nudge, or for a rule without nudge one of four learning rates; the best solves most.
"""

import argparse
import dataclasses
import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tables import wilson

import direp
from direp.model.synapses import Weight
from direp.program.build import Parts, load_task
from direp.program.presets import preset
from direp.rules import AbstractRule, Companions, FixedFeedback, LearnedFeedback
from direp.rules.learned import Learned

INPUTS, HIDDEN, FREE = 2, 16, 17
RATES, NUDGES, ALONE = (0.02, 0.05), (2.0, 6.0), (0.01, 0.02, 0.05, 0.1)
TUNED = 1000  # the first seed of the trials


class Drawn(NamedTuple):
    """Companions of the synapses that a network has, as `LearnedFeedback` draws them: those that are zero have none."""

    learned: bool

    def __call__(self, network: direp.Network, key: Any) -> Companions:
        weight: Any = network.weight.recurrent
        forth = jnp.triu(jnp.ones(weight.shape, bool))
        drawn, exists = jax.random.normal(key, weight.shape, weight.dtype), weight != 0
        for kind in (forth, ~forth):
            count = jnp.maximum((exists & kind).sum(0), 1)
            spread = jnp.sqrt(jnp.where(kind, weight**2, 0).sum(0) / count)
            drawn = jnp.where(kind, drawn * spread, drawn)
        return Companions(jnp.where(exists, drawn, 0), self.learned)


class Learns(LearnedFeedback):
    def __init__(self):
        self.own = Learned(Drawn(learned=True))


class Fixed(FixedFeedback):
    def __init__(self):
        self.own = Learned(Drawn(learned=False))


def nudged(make: Any, **more: Any) -> Any:
    return lambda beta: make(beta=beta, **more)


# With a nudge, or without one.
RULES: dict[str, Any] = {
    "local": nudged(direp.Local),
    "symmetric-ep": nudged(direp.SymmetricEP),
    "trajectory (DEEP's rule)": nudged(direp.Trajectory),
    "asym-ep, exact": nudged(direp.AsymEP),
    "asym-ep, learned": nudged(direp.AsymEP, feedback=Learns()),
    "asym-ep, fixed": nudged(direp.AsymEP, feedback=Fixed()),
    "dyadic, exact": direp.Dyadic(),
    "dyadic, learned": direp.Dyadic(feedback=Learns()),
    "adjoint": direp.Adjoint(),
    "dyadic, exact, lifted": direp.Dyadic(lift=True),
    "dyadic, learned, lifted": direp.Dyadic(feedback=Learns(), lift=True),
    "dyadic, fixed, lifted": direp.Dyadic(feedback=Fixed(), lift=True),
    "adjoint, lifted": direp.Adjoint(lift=True),
}


def network_of(seed: int, neuron: Any, settings: Any) -> direp.Network:
    """The network of a seed on its own graph, as a complete one."""
    turned = np.triu(np.random.default_rng(seed).random((FREE, FREE)) < 0.5, 1)
    between = turned | np.tril(~turned.T, -1)
    entering = np.ones((INPUTS, FREE), bool)
    source, target = np.nonzero(np.concatenate([entering, between]))
    graph = direp.Graph(INPUTS, HIDDEN, 1, source, INPUTS + target)
    assert graph.reciprocity == 0
    draw = direp.Normal(settings.weight_scale, settings.input_scale, settings.bias, input_mean=0.5)
    own = direp.Network(graph, neuron, draw, leak=settings.leak, key=jax.random.key(seed))
    whole = direp.Graph.complete(INPUTS, HIDDEN, 1)
    return direp.Network(whole, neuron, np.asarray(own.matrix), leak=settings.leak, bias=np.asarray(own.bias))


def absent() -> optax.GradientTransformation:
    """Synapses and companions that are zero as training begins stay so."""

    def init(params: Any) -> Any:
        return jax.tree.map(lambda leaf: (leaf != 0).astype(leaf.dtype), (params.weight, params.rule))

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        weight, rule = jax.tree.map(jnp.multiply, (updates.weight, updates.rule), state)
        return updates._replace(weight=Weight(*weight), rule=rule), state

    return optax.GradientTransformation(init, update)


def train(rule: AbstractRule, rate: float, seeds: range) -> direp.Run:
    settings = dataclasses.replace(preset("xor"), task="xor", seeds=str(seeds[0]), learning_rate=rate)
    task = load_task(settings)
    parts = Parts(settings, task)
    arguments = parts.fit()
    arguments["network"] = [network_of(seed, parts.network.neuron, settings) for seed in seeds]
    arguments["optimiser"] = optax.chain(arguments["optimiser"], absent())
    run = direp.fit(task=task, **{**arguments, "rule": rule, "seeds": seeds})
    for network in run.networks:
        between = np.asarray(network.matrix)[INPUTS:]
        assert not (between * between.T).any(), "a synapse got a partner"
    return run


def trials(name: str) -> list[tuple[dict[str, float], AbstractRule, float]]:
    make = RULES[name]
    if isinstance(make, AbstractRule):
        return [({"learning rate": rate}, make, rate) for rate in ALONE]
    both = itertools.product(RATES, NUDGES)
    return [({"learning rate": rate, "beta": beta}, make(beta), rate) for rate, beta in both]


def table(names: list[str], seeds: int, tuning: int) -> None:
    print("| rule | chosen | solved | interval | test loss, median | dead outputs | unsettled |")
    print("|---|---|---|---|---|---|---|")
    for name in names:
        merits = []
        for own, rule, rate in trials(name):
            run = train(rule, rate, range(TUNED, TUNED + tuning))
            merits.append((int(_solved(run).sum()), -float(np.mean(run.test.loss)), own, rule, rate))
        _, _, own, rule, rate = max(merits, key=lambda merit: merit[:2])
        run = train(rule, rate, range(seeds))
        hits = int(_solved(run).sum())
        chosen = ", ".join(f"{what} {value:g}" for what, value in own.items())
        print(
            f"| {name} | {chosen} | {hits} of {seeds} ({hits / seeds:.1%}) | {wilson(hits, seeds)} | "
            f"{np.median(run.test.loss):.2g} | {run.history['dead_outputs'][-1].mean():.0%} | "
            f"{run.history['unsettled'].max():.2%} |",
            flush=True,
        )
        jax.clear_caches()


def _solved(run: direp.Run) -> np.ndarray:
    assert run.solved is not None
    return run.solved


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rules", nargs="*", help=f"of {', '.join(RULES)}; by default all")
    parser.add_argument("--seeds", type=int, default=500)
    parser.add_argument("--tuning", type=int, default=50)
    asked = parser.parse_args()
    table([name for name in RULES if not asked.rules or name in asked.rules], asked.seeds, asked.tuning)
