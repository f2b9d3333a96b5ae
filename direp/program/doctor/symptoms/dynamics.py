"""Networks that do not settle, or run away."""

import numpy as np

from ....settling import Tolerance
from ...words import plural
from ..finding import Finding
from ..symptom import AbstractSymptom

_SHARE = 0.01  # of phases or rows: more are worth a word
_MEASURED_THERE = (
    "saturated", "dead", "stifled", "weak-nudge", "strong-nudge", "blocked", "misaligned", "large-steps", "small-steps",
    "short", "overfitted", "unexplained",
)  # fmt: skip


class Diverged(AbstractSymptom):
    """Weights or losses that stopped being numbers."""

    needs = "history"
    hides = ("unsettled", *_MEASURED_THERE)

    def look(self, run):
        failed, left_out = run.figure("failed"), run.figure("left_out")
        count = failed[-1].sum() if len(failed) else 0
        lost = ~np.isfinite(run.figure("loss")[-1:])
        ran_away = failed[-1:] > 0
        if len(left_out):
            ran_away &= ~(left_out[-1:] >= 1)
        if not (ran_away.any() or lost.any()):
            return None
        margin, settings = run.last("margin"), run.settings
        held = settings is not None and (settings.margin is not None or settings.guarantee != "none")
        loose = not held and not margin > 0
        cause = "activity and weights grow without bound: " + (
            "nothing keeps the network contracting" if loose else "updates are too large"
        )
        rate = "" if settings is None else f" {settings.learning_rate / 10:g}"
        calmer = (run.again("--margin 0.1"),) if loose else ()
        loss = "not a number" if lost.all() else f"{run.figure('loss')[-1][~lost[-1]].max():.3g}"
        return Finding(
            "diverged", cause,
            f"{plural(int(max(count, lost.sum())), 'seed')} failed, the last loss is {loss}; contraction margin "
            f"{margin:.3g} after {plural(run.epochs, 'epoch')}",
            (*calmer, run.again(f"--learning-rate{rate}")), {"failed": int(count), "margin": margin},
        )  # fmt: skip


class Unsettled(AbstractSymptom):
    """Free phases that do not come to rest: too few steps, or no equilibrium that attracts."""

    needs = "history"
    hides = _MEASURED_THERE

    def look(self, run):
        share, over = run.last("unsettled"), float(np.nanmean(run.figure("unsettled")))
        if run.subject is None:
            return self._found(run, max(share, over), "phases", {}) if share > _SHARE else None
        run.seen.setdefault("how these settle")
        rests = run.settled("kept") + (run.settled("start") if run.of.begun is not None and share > _SHARE else [])
        lost = float(np.mean([~np.asarray(rest.converged) for rest in rests]))
        if lost <= _SHARE:
            return None  # what does not settle, if any, is a nudged phase
        ends = {name: int(rows.sum()) for rest in rests for name, rows in rest.ends.items()}
        return self._found(run, lost, "rows", ends)

    def _found(self, run, lost: float, of: str, ends: dict[str, int]) -> Finding:
        evidence = f"{lost:.0%} of {of} do not settle ({run.last('unsettled'):.0%} of phases in the last epoch)"
        more = {"unsettled": lost, "ends": ends}
        settings = run.settings
        if run.subject is not None:
            rests = run.patient("kept")
            would = float(np.mean([np.asarray(rest.converged) for rest in rests]))
            steps = max(int(np.asarray(rest.steps).max()) for rest in rests)
            evidence += f"; with time and in 64 bits {would:.0%} do, in at most {steps:,} steps, {run.extent}"
            if would > 1 - _SHARE:
                stop = run.of.stop
                tight = isinstance(stop, Tolerance) and stop.max_steps >= 2 * steps
                if tight and settings is not None and settings.precision == "float32":
                    cause = "the tolerance is finer than 32 bits can settle to"
                    return Finding(
                        "unsettled",
                        cause,
                        evidence,
                        (run.again("--tolerance 1e-5"), run.again("--precision float64")),
                        more,
                    )
                cause = f"phases are cut off: {stop.max_steps:,} steps do not bring the network to rest"
                freed = settings is not None and settings.fixed_steps
                remedy = "--fixed-steps none" if freed else f"--max-steps {max(5000, 2 * steps)}"
                return Finding(
                    "unsettled", cause, evidence, (run.again(remedy), run.again(f"{remedy} --method auto")), more
                )
        margin = run.last("lowest_margin")
        evidence += f"; contraction margin {margin:.3g}"
        cause = "weights are too strong for the leaks: no equilibrium was found that attracts the network"
        return Finding(
            "unsettled", cause, evidence, (run.again("--margin 0.1"), run.again("--weight-scale 0.1 --leak 1")), more
        )
