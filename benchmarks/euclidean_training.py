"""Learning inside a Euclidean norm, beside the diagonal norms and no control at all. Prints a Markdown table.

python benchmarks/euclidean_training.py digits --seeds 0..4
python benchmarks/euclidean_training.py mnist --seeds 0 --data-dir FOLDER --epochs 6

Every row is the task's preset for its graph (digits: complete; mnist: random) with another control. *Strength* is the
spectral radius of the recurrent coupling over the leaks, the largest modulus of an eigenvalue of $d_2W$ divided by the
total leak of the unit that receives. *Share* is the time that a control takes to bring the weights of an update back
inside, over that of the whole update, each on one seed alone and the median of many calls.
"""

import argparse
import dataclasses
import time
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import direp
from direp.program.build import Parts, load_task
from direp.program.presets import preset
from direp.rules import companions
from direp.training import planned

GRAPHS = {"digits": "complete", "mnist": "random"}
CONTROLS: list[dict[str, Any]] = [
    {"control": "leak", "norm": "local"},
    {"control": "leak", "norm": "perron"},
    {"control": "leak", "norm": "euclidean"},
    {"control": "weights", "norm": "perron"},
    {"control": "weights", "norm": "euclidean"},
    {"margin": None},
]


def strength(network: direp.Network) -> float:
    inner = np.asarray(network.matrix, np.float64)[network.graph.inputs :]
    return float(np.abs(np.linalg.eigvals(network.neuron.gain * inner / np.asarray(network.total_leak()))).max())


def median(call: Callable[[], Any], times: int) -> float:
    jax.block_until_ready(call())
    found = []
    for _ in range(times):
        begun = time.perf_counter()
        jax.block_until_ready(call())
        found.append(time.perf_counter() - begun)
    return float(np.median(found))


def share(arguments: dict[str, Any], run: direp.Run, task: direp.tasks.Task, times: int) -> float:
    """Of an update as the training of its first seed ends, from states at rest."""
    first = {**arguments, "network": arguments["network"][:1], "seeds": run.seeds[:1]}
    trainer = planned(task=task, **{name: value for name, value in first.items() if name != "lanes"}).trainer
    if trainer.control is None:
        return 0.0
    state = jax.tree.map(lambda leaf: leaf[0], run.state)
    network = trainer.network.replace(state.parameters)
    feedback = tuple(node.recurrent for node in companions(state.parameters.rule))
    own, count = state.optimiser.constraint, arguments["batch_size"]
    x, y = (jnp.asarray(table[:count], network.dtype) for table in task.train)
    begin, valid = trainer.network.rest(count), jnp.ones(count, bool)
    projected = eqx.filter_jit(lambda control, *held: control.project(*held))
    updated = eqx.filter_jit(lambda trainer, *held: trainer.step(*held))
    return median(lambda: projected(trainer.control, network, own, feedback), times) / median(
        lambda: updated(trainer, state, x, y, begin, valid), times
    )


def row(task: direp.tasks.Task, settings: Any, options: dict[str, Any], times: int) -> str:
    arguments = Parts(settings, task).fit()
    begun = time.perf_counter()
    run = direp.fit(task=task, **arguments)
    seconds = (time.perf_counter() - begun) / len(run.seeds)
    history, tests = run.history, np.asarray(run.test.accuracy)
    strengths, leaks = [strength(each) for each in run.networks], [float(n.total_leak().mean()) for n in run.networks]
    controlled = arguments["control"] is not None
    named = " ".join(f"--{name} {value}" for name, value in options.items())
    figures = (
        settings.task,
        f"{options['control']}, {options['norm']}" if controlled else "none",
        f"{tests.mean():.2%} ({tests.min():.2%} to {tests.max():.2%})",
        f"{np.max(history['validation_accuracy'], 0).mean():.2%}",
        f"{np.mean(strengths):.2f} ({min(strengths):.2f} to {max(strengths):.2f})",
        f"{np.mean(leaks):.2f}",
        f"{history['steps_mean'].mean():.1f}, {history['steps_max'].max():.0f}",
        f"{history['unsettled'].mean():.2%}, {int(np.sum(run.test.unconverged))}",
        f"{history['certified'].mean():.1%}" if controlled else "",
        f"{history['lowest_margin'].min():.3f}" if controlled else "",
        f"{share(arguments, run, task, times):.1%}" if controlled else "",
        f"{seconds:.0f}",
        f"`{named}`",
    )
    return f"| {' | '.join(figures)} |"


def main(name: str, seeds: str, changes: dict[str, Any], only: list[int] | None, times: int) -> None:
    """`changes`: settings other than those of the preset."""
    settings = dataclasses.replace(preset(name, GRAPHS[name]), seeds=seeds, **changes)
    told = "".join(f" --{k.replace('_', '-')} {v}" for k, v in changes.items() if k != "data_dir")
    task = load_task(settings)
    print(
        "| task | control | test accuracy (lowest to highest seed) | validation | strength | mean leak | settling "
        "steps: mean, most | unsettled: phases, test samples | epochs certified | lowest margin | share | "
        f"seconds a seed | options of `direp train {name} --graph {GRAPHS[name]} --seeds {seeds}"
        f"{told}` |"
    )
    print("|---" * 13 + "|")
    for k, options in enumerate(CONTROLS):
        if only is None or k in only:
            print(row(task, dataclasses.replace(settings, **options), options, times), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=GRAPHS)
    parser.add_argument("--seeds", default="0..2")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--data-dir")
    parser.add_argument("--only", type=int, nargs="*", help="numbers of rows, from 0")
    parser.add_argument("--times", type=int, default=30)
    asked = parser.parse_args()
    given = {name: getattr(asked, name) for name in ("epochs", "learning_rate", "data_dir")}
    changes = {name: value for name, value in given.items() if value is not None}
    main(asked.task, asked.seeds, changes, asked.only, asked.times)
