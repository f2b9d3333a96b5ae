"""Companions of synapses along a training: how far they are from the weights, how far updates are from the gradient,
and what is proved of that. Prints Markdown tables and draws docs/images/companions.png.

python benchmarks/companions.py random deep

A network after so many updates is that of the preset's own training, whose optimiser stands still from there on.
Options: --seeds A..B, --decay D (in place of the preset's), --after N... (the numbers of updates), --figures FOLDER,
--saved FILE (all numbers as JSON, which are read from it where it exists).
"""

import argparse
import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import direp
from direp.program.build import Parts, load_task
from direp.program.figures.style import BLUE, GREEN, GREY, ORANGE, canvas, open_frame, save
from direp.program.presets import preset
from direp.rules import Adjoint, companions, cosine, estimate, parameters_of

GRID = (0, 1, 2, 4, 8, 14, 20, 28, 40, 60, 80, 120, 160, 240, 400, 800, 1600, 2400)


ROUNDED = 0.04  # degrees: what 32 bits tell of an angle


def halted(optimiser: optax.GradientTransformation, updates: int) -> optax.GradientTransformation:
    """The optimiser, which moves nothing after so many updates."""
    return optax.chain(optimiser, optax.scale_by_schedule(lambda count: jnp.where(count < updates, 1.0, 0.0)))


@eqx.filter_jit
def measured(network: direp.Network, rule: Any, control: Any, x: Any, y: Any) -> jax.Array:
    """The cosines between the update of a batch and its exact gradient, each with what the control makes of it: as run
    and in the limit of a small nudge; of all that learns, and of what hidden units learn."""
    beside, state = companions(parameters_of(rule)), control.init(network)
    hidden = (jnp.arange(network.graph.free) < network.graph.hidden).astype(network.dtype)

    def parts(each: Any, used: Any = None) -> list[direp.Parameters]:
        found = estimate(network, x, y, each, valid=used)
        whole = control.gradient(network, state, found.gradient, beside)
        weight = network.synapses.scaled(whole.weight, hidden, incoming=True)
        return [whole, whole._replace(weight=weight, bias=whole.bias * hidden)]

    exact = parts(Adjoint(dense_up_to=300))
    made = [parts(each) for each in (rule, direp.Dyadic(rule.feedback))]
    return jnp.stack([jnp.stack([cosine(network, *pair) for pair in zip(each, exact, strict=True)]) for each in made])


def degrees(cosines: np.ndarray) -> np.ndarray:
    return np.degrees(np.arccos(np.clip(cosines, -1, 1)))


def look(network: direp.Network, rule: Any, control: Any, task: direp.tasks.Task, size: int) -> dict[str, Any]:
    """What is measured and proved of all batches of a network."""
    (own,) = companions(parameters_of(rule))
    pairs = zip(jax.tree.leaves(own.recurrent), jax.tree.leaves(network.weight.recurrent), strict=True)
    apart = math.sqrt(sum(float(((m - w) ** 2).sum()) for m, w in pairs))
    weight = math.sqrt(sum(float((w**2).sum()) for w in jax.tree.leaves(network.weight.recurrent)))
    true, bounds = [], []
    for first in range(0, len(task.train.x) - size + 1, size):
        x, y = task.train.x[first : first + size], task.train.y[first : first + size]
        x, y = (jnp.asarray(part, network.dtype) for part in (x, y))
        true.append(degrees(np.asarray(measured(network, rule, control, x, y))))
        bounds.append([
            direp.bound_feedback(network, x, y, rule, control=control, hidden_only=hidden) for hidden in (False, True)
        ])  # fmt: skip
    run, limit = np.swapaxes(np.array(true), 0, 1)
    table = {
        name: np.array([[getattr(b, name) for b in pair] for pair in bounds]) for name in ("angle", "lost", "condition")
    }
    return {"apart": apart, "weight": weight, "run": run, "limit": limit, **table}


def follow(name: str, seeds: str, decay: float | None, grid: list[int]) -> dict[str, Any]:
    """A preset's training of digits, seen after each number of updates of the grid."""
    settings = preset("digits", name)
    settings = dataclasses.replace(settings, seeds=seeds, keep="last", **({} if decay is None else {"decay": decay}))
    settings.check()
    task = load_task(settings)
    parts = Parts(settings, task)
    given, size = parts.fit(), settings.batch_size
    each = -(-len(task.train.x) // size)
    steps = np.array([float(parts.part("schedule")(k)) for k in range(parts.updates)]) * settings.decay
    rows: list[dict[str, Any]] = []
    for updates in grid:
        own = {"optimiser": halted(given["optimiser"], updates), "epochs": max(1, -(-updates // each))}
        run = direp.fit(task=task, **{**given, **own})
        found = [
            look(net, rule, given["control"], task, size) for net, rule in zip(run.networks, run.rules, strict=True)
        ]
        if not rows:
            first = run
        rows.append({key: np.array([seed[key] for seed in found]).tolist() for key in found[0]})
        for part, kind in enumerate(("all", "hidden")):
            table = {key: of_all(rows[-1], key, part) for key in ("angle", "limit", "run", "condition", "lost")}
            cells = [f"{np.median(each):.3g} | {each.max():.3g}" for each in list(table.values())[:-1]]
            share = (table["lost"] < 1).mean()
            left = law(steps)[updates]
            print(f"| {name} | {updates} | {left:.2g} | {kind} | {share:.1%} | {' | '.join(cells)} |", flush=True)
    # Before training: with the median and the largest condition number of all batches on the way, where the control
    # keeps its margin in the norm in which the law is told, that of equal weights.
    prior, control = {}, first.trainer.control
    equal = not control.moves and all((np.asarray(control.init(net)) == 1).all() for net in first.networks)
    for part, kind in enumerate(("all", "hidden") if equal else ()):
        chi = np.concatenate([of_all(row, "condition", part) for row in rows])
        prior[kind] = [
            [float(at), [
                direp.updates_to_descent(net, rule, steps, rate=float(settings.margin), condition=at)
                for net, rule in zip(first.networks, first.rules, strict=True)
            ]] for at in (np.median(chi), chi.max())
        ]  # fmt: skip
    print(
        f"\n{name}: updates told before training, by condition number: {prior}; the law leaves {law(steps)[-1]:.2g}\n"
    )
    return {"grid": grid, "rows": rows, "steps": steps.tolist(), "prior": prior}


def of_all(row: dict[str, Any], key: str, part: int) -> np.ndarray:
    """A figure of every batch of every seed, but those whose update is zero: there is nothing left to learn."""
    known = np.isfinite(np.array(row["condition"])[..., part])
    return np.array(row[key])[..., part][known]


def law(steps: np.ndarray) -> np.ndarray:
    """The share of the first difference that is left before each update, and after the last."""
    return np.exp(np.concatenate([[0.0], np.cumsum(np.log1p(-steps))]))


def figure(found: dict[str, dict[str, Any]]) -> Any:
    drawn = canvas(4.3 * len(found), 6.0)
    axes = drawn.subplots(2, len(found), sharex=True, sharey="row", squeeze=False)
    for (name, each), (top, bottom) in zip(found.items(), axes.T, strict=True):
        grid, steps = np.array(each["grid"]), np.array(each["steps"])
        at = np.where(grid > 0, grid, 0.5)
        apart, weight = (np.array([row[key] for row in each["rows"]]) for key in ("apart", "weight"))
        ratio = apart / weight
        predicted = apart[0] * law(steps)[grid][:, None] / weight
        top.plot(at, np.median(predicted, 1), color=GREY, lw=5, alpha=0.35, label="law of decay")
        top.plot(at, np.median(ratio, 1), color=BLUE, lw=1.5, label="measured")
        top.fill_between(at, ratio.min(1), ratio.max(1), color=BLUE, alpha=0.18, lw=0)
        lines = (("angle", ORANGE, "proved: at most"), ("limit", BLUE, "small nudge"), ("run", GREEN, "nudge as run"))
        for key, colour, label in lines:
            values = [of_all(row, key, 1) for row in each["rows"]]
            values = [np.maximum(v, ROUNDED) for v in values] if key == "limit" else values
            bottom.plot(at, [np.median(v) for v in values], color=colour, lw=1.5, label=label)
            low, high = np.transpose([np.quantile(v, [0.05, 0.95]) for v in values])
            bottom.fill_between(at, low, high, color=colour, alpha=0.18, lw=0)
        proved = np.array([of_all(row, "lost", 1).max() < 1 for row in each["rows"]])
        since = int(np.flatnonzero(~proved).max(initial=-1)) + 1
        if since < len(grid):
            bottom.axvline(at[since], color=GREY, ls=":", lw=1)
            text = f"from {grid[since]} on every \nbatch is proved \nto descend "
            bottom.annotate(text, (at[since], 0.8), color=GREY, fontsize=8, va="bottom", ha="right")
        top.set(xscale="log", yscale="log", title=f"digits, {name}")
        bottom.axhline(90, color=GREY, ls=":", lw=1)
        bottom.set(yscale="log", ylim=(ROUNDED, 250), xlabel="updates (at the left end none)")
        bottom.set_yticks((0.1, 1, 10, 90, 180), ("0.1", "1", "10", "90", "180"))
        bottom.minorticks_off()
        for axis in (top, bottom):
            open_frame(axis)
    axes[0, 0].set_ylabel(r"$\Vert M-W\Vert\,/\,\Vert W\Vert$")
    axes[1, 0].set_ylabel("hidden synapses: angle to\nthe gradient (degrees)")
    for axis in axes[:, 0]:
        axis.legend(frameon=False, fontsize=8, loc="lower left")
    return drawn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("presets", nargs="+", choices=("random", "deep", "complete", "small-world"))
    parser.add_argument("--seeds", default="0..4")
    parser.add_argument("--decay", type=float)
    parser.add_argument("--after", nargs="+", type=int, default=list(GRID))
    parser.add_argument("--figures", type=Path)
    parser.add_argument("--saved", type=Path)
    asked = parser.parse_args()
    if asked.saved and asked.saved.exists():
        found = json.loads(asked.saved.read_text())
    else:
        columns = ("bound", "small nudge", "as run", "condition")
        heads = " | ".join(f"{name}, median | worst" for name in columns)
        print(f"| preset | updates | left of M - W | part | proved | {heads} |")
        print("|" + "---|" * 13)
        found = {name: follow(name, asked.seeds, asked.decay, asked.after) for name in asked.presets}
        if asked.saved:
            asked.saved.write_text(json.dumps(found))
    if asked.figures:
        save(figure(found), asked.figures / "companions.png")


if __name__ == "__main__":
    main()
