"""What is odd about the data."""

import numpy as np
from scipy import stats

from ...advice import odd_data, unscaled
from ...words import plural
from ..finding import Finding
from ..symptom import AbstractSymptom

_UNLIKELY = 1e-6  # that parts drawn from one distribution differ so much


class Inputs(AbstractSymptom):
    """Inputs of a size that saturates units, columns that a few values dwarf, test rows that were trained on."""

    needs = "start"
    hides = ("saturated",)

    def look(self, run):
        parts = run.of.parts
        assert parts is not None
        run.seen.setdefault("the data")
        size = unscaled(parts) if run.unlearned or run.overfitted else None
        odd = odd_data(parts)
        if not (size or odd):
            return None
        cause = (size or odd or "").partition(":")[0]
        largest = float(np.abs(run.of.task.train.x).max())
        of = plural(len(run.of.task.train.x), "training row")
        remedies = tuple(filter(None, [run.again("--scale standard") if size else "", odd if odd else ""]))
        return Finding("data", cause, f"the largest input is {largest:.3g}, of {of}", remedies, {"largest": largest})


class Parts(AbstractSymptom):
    """Training and held-out rows that do not come from one distribution."""

    def look(self, run):
        task = run.of.task
        if task.whole or not len(task.validation.x) + len(task.test.x):
            return None
        run.seen.setdefault("the parts of the data")
        worst, where = 1.0, ""
        for name in ("validation", "test"):
            part = getattr(task, name)
            if not len(part.x):
                continue
            for what in ("x", "y"):
                mine, other = getattr(task.train, what), getattr(part, what)
                for column in range(mine.shape[1]):
                    chance = float(stats.ks_2samp(mine[:, column], other[:, column])[1]) * mine.shape[1]  # pyright: ignore
                    if chance < worst:
                        worst, where = chance, f"{'input' if what == 'x' else 'target'} {column} of the {name} part"
        if not worst < _UNLIKELY:
            return None
        return Finding(
            "uneven", "training and held-out rows are not alike: what is learned of one says little of the other",
            f"{where} differs from the training part with p = {worst:.1g} (Kolmogorov-Smirnov, {len(task.train.x):,} "
            "training rows)", ("mix all rows before they are split", "--split 1 draws other parts"), {"p": worst},
        )  # fmt: skip
