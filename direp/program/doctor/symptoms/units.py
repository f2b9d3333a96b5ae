"""Units that do not move."""

import numpy as np

from ..examination import Examination
from ..finding import Finding
from ..symptom import AbstractSymptom

_MANY = 0.5  # of hidden units: so many are worth a word
_ALWAYS = 0.95  # of the samples: a unit that is still on so many is stuck
_ALIKE = 1e-3  # the spread of rates that are alike
_FAR = 5.0  # times what the leak holds against it: a drive is far beyond the bounds
_FAINT = 0.03  # the root mean square of rates: below, leaks leave next to nothing
_AFTER = ("stifled", "weak-nudge", "strong-nudge", "blocked", "misaligned", "small-steps", "short", "unexplained")


def shares(run: Examination, at: str) -> tuple[float, float]:
    """The shares of hidden units that are constant (dead), and of those that stand at bounds since they are driven far
    beyond them, or that jump from bound to bound (saturated); means over the networks, NaN where none settles."""
    found = []
    for unit in run.units(at):
        stuck = unit.still.mean(0) >= _ALWAYS
        saturated = stuck & ((unit.driven > _FAR) | (unit.rate.std(0) > _ALIKE))
        found.append(((stuck & ~saturated).mean(), saturated.mean()) if len(stuck) else (0.0, 0.0))
    dead, saturated = np.mean(found, axis=0) if found else (np.nan, np.nan)
    return float(dead), float(saturated)


def before(share: float) -> str:
    """What a share was as training began, where that is known."""
    return f" ({share:.0%} as training began)" if np.isfinite(share) else ""


class Dead(AbstractSymptom):
    """Hidden units that say the same of every sample, and have no gradient."""

    hides = _AFTER

    def look(self, run):
        if not run.unlearned:
            return None
        dead, _ = shares(run, "kept")
        begun = shares(run, "start")[0] if run.of.begun is not None else np.nan
        if not np.nanmax([dead, begun, 0]) >= _MANY or (begun < _MANY and run.first_update > _SHOVES):
            return None
        early = begun >= _MANY
        cause = "hidden units are held at a bound on every sample " + (
            "from the start: their drive is off"
            if early
            else "since training drove them there"
            if np.isfinite(begun)
            else "where their drive keeps them"
        )
        remedies = (
            ("--bias 0.3", "--neuron rate --activation sigmoid") if early else ("--learning-rate 0.01", "--bias 0.3")
        )
        return Finding(
            "dead", cause,
            f"{dead:.0%} of hidden units have no gradient and one rate for all samples{before(begun)}"
            f", {run.extent}", tuple(map(run.again, remedies)), {"dead": dead, "dead_at_start": begun},
        )  # fmt: skip


_SHOVES = 0.5  # a first update of this share of the weights drives units to their bounds


class Saturated(AbstractSymptom):
    """Hidden units that samples throw from bound to bound: drives are too large."""

    hides = _AFTER

    def look(self, run):
        if not run.unlearned:
            return None
        _, saturated = shares(run, "kept")
        begun = shares(run, "start") if run.of.begun is not None else (0.0, np.nan)
        if not np.nanmax([saturated, begun[1], 0]) >= _MANY:
            return None
        return Finding(
            "saturated", "drives are so large that units stand at their bounds, where nothing moves them",
            f"{saturated:.0%} of hidden units are saturated on nearly all samples{before(begun[1])}, "
            f"{run.extent}", tuple(map(run.again, ("--scale standard --weight-scale 0.25", "--bias 0.5"))),
            {"saturated": saturated, "saturated_at_start": begun[1]},
        )  # fmt: skip


class Stifled(AbstractSymptom):
    """Leaks so large that rates hardly leave zero."""

    needs = "start"
    hides = _AFTER

    def look(self, run):
        if not run.unlearned:
            return None
        rates = {at: _size([unit.rate for unit in run.units(at)]) for at in ("start", "kept")}
        leaks = {
            at: float(np.median([np.median(network.total_leak()) for network, _ in run.networks(at)]))
            for at in ("start", "kept")
        }
        if not rates["start"] < _FAINT:
            return None
        settings = run.settings
        remedies = ["--leak 1 --margin 0.1", "--control weights --leak 1"]
        if settings is not None and settings.margin is not None and leaks["start"] > 2 * settings.leak:
            remedies.append("--norm perron")
        return Finding(
            "stifled", "leaks are so large beside the weights that rates hardly leave zero",
            f"median leak {leaks['start']:.3g} at the start and {leaks['kept']:.3g} now; hidden rates of "
            f"{rates['start']:.2g} (root mean square), {run.extent}", tuple(map(run.again, remedies)),
            {"leak": leaks, "rate": rates},
        )  # fmt: skip


def _size(rates: list[np.ndarray]) -> float:
    """The root mean square of rates; NaN of none."""
    return float(np.sqrt(np.mean([np.mean(each**2) for each in rates]))) if rates and rates[0].size else np.nan
