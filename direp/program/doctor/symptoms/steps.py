"""Steps that are too large, too small or too few."""

import numpy as np

from ....runs import quoted
from ...words import plural
from ..finding import Finding
from ..symptom import AbstractSymptom

_LARGE = 0.5  # a first update of this share of the weights
_ENOUGH = 100  # updates: with fewer, more of them are the remedy
_WORSE = 1.2  # times the least loss
_FALLING = 0.05  # of the loss, over the last fifth of the epochs
_WANTED = 0.1  # of the weights: a first update of this size is usual


def better_rate(run) -> str:
    """A learning rate whose first update is of a usual size."""
    assert run.settings is not None
    return f"--learning-rate {float(f'{run.settings.learning_rate * _WANTED / run.first_update:.1g}'):g}"


class LargeSteps(AbstractSymptom):
    """Updates that throw the weights about: the loss rises again."""

    needs = "start"
    hides = ("dead", "saturated", "weak-nudge", "strong-nudge", "blocked", "misaligned", "short", "unexplained")

    def look(self, run):
        if not run.unlearned or not run.history:
            return None
        loss = np.nanmean(run.figure("loss"), 1)
        worse = float(loss[-1] / max(loss.min(), 1e-12))
        if not (run.first_update > _LARGE and (worse > _WORSE or loss.argmin() == 0)):
            return None
        return Finding(
            "large-steps", "the learning rate is too large: updates overshoot, and what is learned is lost again",
            f"the first update moves weights by {run.first_update:.0%} of their size, {run.extent}; the loss has risen "
            f"to {worse:.2g} times its least, of {plural(run.epochs, 'epoch')}", (run.again(better_rate(run)),),
            {"first_update": run.first_update, "loss_over_least": worse},
        )  # fmt: skip


class SmallSteps(AbstractSymptom):
    """Updates so small that the weights are where they began."""

    needs = "start"
    hides = ("misaligned", "short", "unexplained")

    def look(self, run):
        if not run.unlearned or not run.history or not run.still:
            return None
        moved, loss = run.first_update * run.updates, np.nanmean(run.figure("loss"), 1)
        few = run.updates < _ENOUGH
        assert run.settings is not None
        epochs = f"--epochs {10 * run.settings.epochs}"
        name, cause = "small-steps", "the learning rate is too small: weights are still where they began"
        if few:
            name, cause = "short", "too few updates: training ended before weights had moved"
        return Finding(
            name, cause,
            f"an update moves weights by {run.first_update:.1e} of their size, {run.extent}: all {run.updates:,} by at "
            f"most {moved:.1%}; loss {loss[0]:.3g} to {loss[-1]:.3g}",
            tuple(map(run.again, (epochs, better_rate(run)) if few else (better_rate(run), epochs))),
            {"first_update": run.first_update, "updates": run.updates},
        )  # fmt: skip


class Short(AbstractSymptom):
    """A loss that was still falling when training ended."""

    needs = "history"
    hides = ("misaligned", "unexplained")

    def look(self, run):
        if run.subject is None or not run.unlearned:
            return None
        loss = np.nanmean(run.figure("loss"), 1)
        before = loss[max(len(loss) - 1 - max(len(loss) // 5, 1), 0)]
        fall = float(1 - loss[-1] / before) if before > 0 else 0.0
        if not (fall > _FALLING or len(loss) == 1):
            return None
        more = (
            f"direp resume {quoted(run.path)} --epochs {3 * run.epochs}"
            if run.path is not None
            else f"epochs={3 * run.epochs}"
        )
        return Finding(
            "short", "training ended while the loss was still falling",
            f"the loss fell by {fall:.0%} over the last fifth of {plural(run.epochs, 'epoch')}, to {loss[-1]:.3g}",
            (more,),
            {"fall": fall, "epochs": run.epochs},
        )  # fmt: skip
