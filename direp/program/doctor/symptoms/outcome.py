"""What a run comes to, where no cause was found before."""

from ....runs import quoted
from ...words import plural
from ..finding import Finding
from ..symptom import AbstractSymptom


class Overfitted(AbstractSymptom):
    """A network that is right on the rows it was trained on and not on others."""

    def look(self, run):
        over = [k for k, each in enumerate(run.outcomes) if each.overfitted]
        if not over:
            return None
        seeds = f"{len(over)} of {plural(len(run.chosen), 'seed')}"
        return Finding(
            "overfitted", "the network knows its training rows by heart, and other rows far less",
            f"{run.outcomes[over[0]].words}; {len(run.rows.x):,} rows, {seeds}",
            ("more rows, or fewer columns (--drop)", *map(run.again, ("--decay 1", "--hidden 8"))),
            {"networks": len(over)},
        )  # fmt: skip


class Unexplained(AbstractSymptom):
    """A network that does worse than a linear model, for no reason that was found."""

    def look(self, run):
        bad = [k for k, each in enumerate(run.outcomes) if each.unlearned]
        if not bad:
            return None
        return Finding(
            "unexplained", "the network has not learned its task, and none of the other symptoms is there",
            f"{run.outcomes[bad[0]].words}; {len(bad)} of {plural(len(run.chosen), 'seed')}",
            (f"direp gradient {quoted(run.path or 'RUN')}",
             *map(run.again, ("--hidden 32", "--learning-rate 0.01 --epochs 300"))),
            {"networks": len(bad)},
        )  # fmt: skip
