"""What training tells of itself: the figures of an update, of an epoch, of a set of samples."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array


class Evaluation(NamedTuple):
    """How a network does on a set of samples. `unconverged` counts samples whose free phase did not settle; `outputs`
    are those of every sample, where it came to stand."""

    loss: Array
    accuracy: Array
    unconverged: Array
    steps: Array  # of every sample
    outputs: Array

    @classmethod
    def empty(cls, outputs: int, dtype: Any) -> "Evaluation":
        """Of no samples."""
        none: Any = np.full((), np.nan, dtype)
        count: Any = np.zeros((), np.int32)
        return cls(none, none, count, np.zeros(0, np.int32), np.zeros((0, outputs), dtype))  # pyright: ignore


class Metrics(NamedTuple):
    r"""One epoch of one seed, for people: training figures are those of the samples as they passed by.

    `unsettled` is the share of phases that did not settle, `unmoved` that of samples left out as no nudge moved them
    (`settling.UNMOVED`), `left_out` the share of all samples kept out of the updates,
    `steps_mean` is over free phases, `steps_max` over all. `margin` is the contraction margin after the epoch and
    `lowest_margin` its least value after any update of the epoch, both in the norm of the control. Without a control
    they are the sharpest of a few norms, after the epoch, and the local one after any update. `certified`: whether the
    free phase was proved to contract, rounding included, after every update (without a control: after the last); under
    a control the margins and this are of the phases of a rule's own feedback too. In the Euclidean norm margins after
    updates are estimates; `margin` and `certified` are what was proved of the epoch's end.
    `fell_back` is the share of batches that a `Safeguard` left to its fallback, `cosine` that of the angle between the
    rule and the exact gradient on the probe batch, after the epoch (NaN without one). `antisymmetry` is
    $\lVert W_A\rVert/\lVert W\rVert$ after the epoch, `agreement` the cosine between weights and the strengths of the
    rule's feedback (NaN if it has none of its own). `dead` is the share of hidden units without a gradient for
    any sample of the epoch: a bound held them, or their slope was zero, whenever they settled. `dead_outputs` is that
    of outputs without one for any sample at which an error pulled them off that bound, and there were some.
    """

    loss: Array
    accuracy: Array
    validation_loss: Array
    validation_accuracy: Array
    unsettled: Array
    unmoved: Array
    left_out: Array
    validation_unsettled: Array
    steps_mean: Array
    steps_max: Array
    margin: Array
    lowest_margin: Array
    certified: Array
    fell_back: Array
    cosine: Array
    antisymmetry: Array
    agreement: Array
    dead: Array
    dead_outputs: Array
    failed: Array


class StepMetrics(NamedTuple):
    """What one update gives to the figures of its epoch."""

    loss: Array
    correct: Array
    unsettled: Array
    unmoved: Array
    phases: Array
    used: Array
    steps: Array
    steps_max: Array
    fell_back: Array
    margin: Array
    rounding: Array
    alive: Array  # which units have a gradient for some sample; outputs: for one with an error
    wrong: Array  # which outputs have an error, and no bound on the way to their target, for some sample


_WORST = {
    "lowest_margin": np.min,
    "margin": np.min,
    "certified": np.min,
    "steps_max": np.max,
    "failed": np.sum,
    "validation_unsettled": np.sum,
}


def summarise(row: dict[str, np.ndarray]) -> dict[str, float]:
    """One number a figure over seeds: the worst margin and steps, sums of counts, means of the rest."""
    if len(row["failed"]) == 1:  # as below, without NumPy's reductions: this is a third of a sweep of small trainings
        return {name: float(rounded(name, values)[0]) for name, values in row.items()}
    fine = ~row["failed"] if not row["failed"].all() else np.ones_like(row["failed"])
    return {
        name: float(_WORST[name](values)) if name in _WORST else float(np.mean(rounded(name, values)[fine]))
        for name, values in row.items()
    }


def rounded(name: str, values: np.ndarray) -> np.ndarray:
    """Shares of samples without what rounding left of them: no share is below zero."""
    return np.maximum(np.round(values, 6), 0) if name in ("left_out", "unmoved", "unsettled") else values
