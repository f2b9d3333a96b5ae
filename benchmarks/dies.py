"""Dies of trained networks: does every one settle where it is proved, how far beyond, and how well do they do?

python benchmarks/dies.py settle                        # ten networks, 10,000 dies each
python benchmarks/dies.py accuracy digits --seeds 0..2
python benchmarks/dies.py accuracy mnist --seeds 0 --data-dir FOLDER --epochs 3 --dies 20 --samples 2000

`settle`: half of the dies have every device off by the whole proved share, up or down, half are drawn evenly. Each
starts from two random states at two inputs, and must come to one place at each (64 bits; where full steps do not
settle, Euler steps do). *Fails* is the least share, to a tenth of itself, at which one of 200 dies with every device
off does not. `accuracy`: mean and worst over dies, trained without room for dies and with --mismatch; the mean of the
seeds, and the worst of all.
Prints Markdown; progress on standard error.
"""

import argparse
import dataclasses
import sys
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import direp
from direp.analysis import Devices, on_dies
from direp.certificates import CASCADE, Mismatch
from direp.certificates.convergence import largest_mismatch
from direp.program.build import Parts, load_task
from direp.program.presets import preset
from direp.program.settings import parse_seeds
from direp.settling import compiled
from direp.settling.methods import choose_method

TEN: list[tuple[str, dict[str, Any]]] = [
    ("xor", {}),
    ("xor", {"norm": "perron"}),
    ("iris", {}),
    ("wine", {"neuron": "rate", "activation": "tanh"}),
    ("breast-cancer", {"neuron": "hopfield", "activation": "sigmoid"}),
    ("digits", {"graph": "complete"}),
    ("digits", {"graph": "complete", "norm": "perron"}),
    ("digits", {"graph": "complete", "norm": "euclidean"}),
    ("digits", {"graph": "layered", "control": "weights"}),
    ("digits", {"graph": "random", "neuron": "rate", "activation": "tanh", "norm": "euclidean"}),
]
KNOWN = [criterion for criterion in CASCADE if criterion.mismatch]
CHUNK = 20


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def trained(task: str, changes: dict[str, Any]) -> tuple[direp.Run, direp.tasks.Task]:
    settings = dataclasses.replace(preset(task, "default"), **changes)
    settings.check()
    loaded = load_task(settings)
    return direp.fit(task=loaded, **Parts(settings, loaded).fit()), loaded


def proved(network: direp.Network, share: float) -> Any:
    return direp.certify(network, criteria=KNOWN, starts=0, mismatch=Mismatch(share))


def dies_of(network: direp.Network, share: float, count: int, seed: int, corners: float) -> Iterator[direp.Network]:
    rng, mismatch = np.random.default_rng(seed), Mismatch(share)
    for k in range(count):
        yield mismatch.die(network, rng, corner=k < corners * count)


@compiled
def _apart(network: direp.Network, dies: Any, x: jax.Array, starts: jax.Array, method: Any, most: int) -> jax.Array:
    """How far the ends of two starts are from each other; infinite where one does not settle."""
    stop = direp.Tolerance(1e-9, 1e-9, max_steps=most)

    def one(parameters: Any) -> jax.Array:
        ends = [direp.settle(network.replace(parameters), x, method=method, stop=stop, state=s) for s in starts]
        far = jnp.abs(ends[0].state - ends[1].state).max()
        return jnp.where(ends[0].converged.all() & ends[1].converged.all(), far, jnp.inf)

    return jax.vmap(one)(dies)


def failing(network: direp.Network, share: float, count: int, x: np.ndarray, corners: float) -> int:
    """How many dies do not settle to one place."""
    rng = np.random.default_rng(1)
    reach = (0.0, 1.0) if network.neuron.bounded else (-3.0, 3.0)
    starts = jnp.asarray(rng.uniform(*reach, (2, len(x), network.graph.free)))
    bad, some, full = 0, [], choose_method(network)
    for k, die in enumerate(dies_of(network, share, count, 2, corners)):
        some.append(die.parameters)
        if len(some) == CHUNK or k == count - 1:
            stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *some)
            apart = np.asarray(_apart(network, stacked, jnp.asarray(x), starts, full, 500))
            for one in np.flatnonzero(~(apart < 1e-5)):
                again = jax.tree.map(lambda leaf, one=one: leaf[one][None], stacked)
                made = network.replace(jax.tree.map(lambda leaf: leaf[0], again))
                small = direp.Euler(0.5 / float(np.abs(np.asarray(made.total_leak())).max()))
                bad += not float(_apart(network, again, jnp.asarray(x), starts, small, 100_000)[0]) < 1e-5
            some = []
    return bad


def settle(count: int, only: list[int]) -> None:
    print(
        "| network | units | proved for every die within | of so many dies, not settled to one place | fails | ratio |"
    )
    print("|---|---:|---:|---:|---:|---:|")
    for name, changes in [TEN[k] for k in only]:
        epochs = {"epochs": 20} if name == "digits" else {}
        run, task = trained(name, {**changes, **epochs, "seeds": "0", "precision": "float64"})
        network, x = run.network, np.asarray(task.train.x[:2], float)
        share = largest_mismatch(lambda share, network=network: bool(proved(network, share)), gap=0.01)
        say(f"{name} {changes}: {share:.3g}")
        bad = failing(network, share, count, x, 0.5)
        beyond = share
        while beyond < 0.99 and not failing(network, beyond, 200, x, 1.0):
            beyond = min(beyond * 1.1, 0.99)
        fails, ratio = ("above 99 %", "") if beyond >= 0.99 else (f"{beyond:.1%}", f"{beyond / share:.1f}")
        told = ", ".join([name, *map(str, changes.values())])
        print(f"| {told} | {network.graph.free} | {share:.2%} | {bad} of {count:,} | {fails} | {ratio} |", flush=True)


def accuracy(name: str, seeds: str, dies: int, samples: int, changes: dict[str, Any]) -> None:
    runs = {}
    for share in (0.0, 0.02, 0.05, 0.1):
        run, task = trained(name, {**changes, "seeds": seeds, "mismatch": f"{share:g}"})
        assert not run.failed.any()
        runs[share] = run, dataclasses.replace(task, test=type(task.test)(*(t[:samples] for t in task.test)))
        say(f"trained with room for {share:.0%}: {run.test.accuracy.mean():.2%}")
    print("| dies within | bits | trained without room: stored | mean of dies | worst | every die proved "
          "| with room: stored | mean of dies | worst | every die proved |")  # fmt: skip
    print("|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for share, bits in [(x, None) for x in (0.02, 0.05, 0.1)] + [(0.05, b) for b in (8, 6, 4)]:
        cells = []
        for room in (0.0, share):
            run, task = runs[room]
            found = [
                on_dies(network, task, Devices(share, bits=bits), dies, cost=run.trainer.cost)
                for network in run.networks
            ]
            written = [network if bits is None else direp.quantised(network, bits) for network in run.networks]
            sure = [bool(proved(network, share)) for network in written]
            assert not any(each.unsettled.any() for each, proof in zip(found, sure, strict=True) if proof)
            certain = sum(sure)
            stored = np.mean([each.stored["accuracy"] for each in found])
            mean, worst = np.mean([each.accuracy for each in found]), min(each.accuracy.min() for each in found)
            cells += [f"{stored:.2%}", f"{mean:.2%}", f"{worst:.2%}", f"{certain} of {len(found)}"]
            say(f"{share:.0%}, {bits} bits, room {room:.0%}: {' '.join(cells[-4:])}")
        print(f"| {share:.0%} | {bits or 'all'} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["settle", "accuracy"])
    parser.add_argument("task", nargs="?", default="digits", choices=["digits", "mnist"])
    parser.add_argument("--seeds", default="0..2")
    parser.add_argument("--dies", type=int)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--data-dir")
    parser.add_argument("--only", default=f"0..{len(TEN) - 1}", help="which of the ten networks")
    asked = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    if asked.what == "settle":
        settle(asked.dies or 10_000, list(parse_seeds(asked.only)))
    else:
        changes: dict[str, Any] = {"graph": "complete"} if asked.task == "digits" else {"graph": "random"}
        changes |= {"epochs": asked.epochs} if asked.epochs else {}
        changes |= {"data_dir": asked.data_dir} if asked.data_dir else {}
        accuracy(asked.task, asked.seeds, asked.dies or 100, asked.samples, changes)


if __name__ == "__main__":
    main()
