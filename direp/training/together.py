"""Trainings that share a program, side by side: another lane each, with its own numbers.

A lane comes to the same bits whatever the others hold, so that a program of a fixed number of lanes gives a training
the same numbers, with whomever it is trained. Lanes without a training repeat the last one.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..runs import listening
from ..settling import traced
from .epochs import Standing, begin, lanes_of, rows_to_failure, together_of, train_epochs
from .plan import Plan


def program_of(plan: Plan) -> Any:
    """What two trainings have in common if they can be lanes of one program: all but the values of numbers."""
    arrays, rest = eqx.partition((plan.trainer, plan.parameters, plan.weight), eqx.is_array_like)
    leaves = [(_array(leaf), skip) for skip, tree in enumerate(arrays[:2]) for leaf in jax.tree.leaves(tree)]
    kinds = tuple((leaf.shape[skip:], leaf.dtype) for leaf, skip in leaves)  # of parameters, the seeds are no matter
    sizes = (plan.samples, plan.rows, plan.size, plan.epochs)
    return id(plan.task), sizes, kinds, jax.tree.structure(arrays), jax.tree.structure(rest), *jax.tree.leaves(rest)


def side_by_side(plans: Sequence[Plan], lanes: int) -> Plan:
    """One plan of so many lanes for several that share a program: a trainer for every lane, and a network."""
    seeds = [seed for plan in plans for seed in plan.seeds]
    if len({program_of(plan) for plan in plans}) > 1 or any(plan.weight is not None for plan in plans[1:]):
        raise ValueError("these trainings share no program: train each on its own")
    if len(seeds) > lanes:
        raise ValueError(f"lanes={lanes} do not hold {len(seeds)} networks: give one for each, or more")
    trainers = [traced(plan.trainer, plan.network.dtype) for plan in plans for _ in plan.seeds]
    trainers += [trainers[-1]] * (lanes - len(seeds))
    static = eqx.filter(trainers[0], eqx.is_array_like, inverse=True)
    arrays = [jax.tree.map(_array, eqx.filter(trainer, eqx.is_array_like)) for trainer in trainers]
    stacked = eqx.combine(jax.tree.map(_stacked, *arrays), static)
    parameters = jax.tree.map(lambda *leaves: np.concatenate(leaves), *(plan.parameters for plan in plans))
    return dataclasses.replace(
        plans[0],
        trainer=stacked,
        seeds=tuple(seeds + seeds[-1:] * (lanes - len(seeds))),
        parameters=padded(parameters, lanes),
        each=True,
    )


def _array(leaf: Any) -> Any:
    """On the host, where random keys cannot be."""
    return leaf if jnp.issubdtype(jnp.result_type(leaf), jax.dtypes.prng_key) else np.asarray(leaf)


def _stacked(*leaves: Any) -> Any:
    return np.stack(leaves) if isinstance(leaves[0], np.ndarray) else jnp.stack(leaves)


def padded(tree: Any, lanes: int) -> Any:
    """With the last lane again, up to so many."""
    return jax.tree.map(lambda leaf: leaf[np.minimum(np.arange(lanes), len(leaf) - 1)], tree)


def cut(now: Standing, first: int, last: int) -> Standing:
    """Some lanes."""
    rows = [{name: values[first:last] for name, values in row.items()} for row in now.rows]
    some = lambda tree: jax.tree.map(lambda leaf: leaf[first:last], tree)  # noqa: E731
    under = None if now.under is None else (some(now.under[0]), some(now.under[1]), now.under[2])
    return Standing(some(now.state), rows, under, now.first)


def widened(now: Standing, lanes: int) -> Standing:
    """The way back, for the first lanes: the last one again, up to so many."""
    rows = [{name: padded(values, lanes) for name, values in row.items()} for row in now.rows]
    under = None if now.under is None else (padded(now.under[0], lanes), padded(now.under[1], lanes), now.under[2])
    return Standing(padded(now.state, lanes), rows, under, now.first)


def train_together(plans: Sequence[Plan], lanes: int) -> list[Standing] | None:
    """Train all side by side: where each one stands in the end; `None` where that was interrupted."""
    wide = side_by_side(plans, lanes)
    with listening(leaves=False) as asked:
        begun, _ = begin(wide.trainer, wide.parameters, np.asarray(wide.seeds), wide.rows, wide.each)
        parts = jax.device_put(wide.parts[:2])
        safe = lambda now: asked.take()  # noqa: E731
        now, status = train_epochs(
            wide, Standing(begun, []), *parts, wide.epochs, lambda *_: None, safe, lanes_of(wide)
        )
    if status == "interrupted":
        return None
    on_host = lambda leaf: leaf if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else np.asarray(leaf)  # noqa: E731
    now = now._replace(state=jax.tree.map(on_host, now.state))
    ends = np.cumsum([len(plan.seeds) for plan in plans])
    stands = [cut(now, end - len(plan.seeds), end) for plan, end in zip(plans, ends.tolist(), strict=True)]
    # One that has failed ends there, whether others go on or not.
    over = [rows_to_failure(now.rows, together_of(wide), wide.epochs) for now in stands]
    return [now._replace(rows=now.rows[:count]) for now, count in zip(stands, over, strict=True)]
