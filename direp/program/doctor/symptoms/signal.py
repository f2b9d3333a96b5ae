"""Responses to the nudge, and whether they are the gradient."""

import numpy as np

from ....analysis import groups
from ....model import Graph
from ....rules import feedback_of, nudges_of
from ....runs import quoted
from ...advice import faint
from ..examination import Examination
from ..finding import Finding
from ..symptom import AbstractSymptom

_LEFT_OUT = 0.05  # of the samples
_BOUND = 0.01  # of the outputs
_NOTHING = 0.01  # of the gradient into hidden units
_VANISHED = 1e-3  # of a synapse's gradient into outputs
_OFF, _CLEAR = 0.3, 0.7  # cosines
_CHANNEL = "--rule asym-ep --feedback learned"


def way_back(graph: Graph) -> str:
    """What stands in the way of feedback, by the graph alone."""
    if graph.reciprocity < 0.5:
        return f"{1 - graph.reciprocity:.0%} of synapses between free units have no way back"
    layers = len(graph.layers or ()) - 2
    return f"errors pass {layers} hidden layers" if layers > 1 else "feedback is not tied to the weights"


def into_hidden(run: Examination, at: str, rule: str) -> tuple[float, float]:
    """Cosine and norm ratio to the exact gradient over the synapses into hidden units, means over the networks that
    have such a gradient; NaN where none has."""
    found = []
    for compared in run.compared(at):
        if rule not in compared:
            return np.nan, np.nan
        names = [name for name in compared[rule].groups if "to hidden" in name]
        exact = {name: compared["exact"].groups[name].inner for name in names}
        total = np.sqrt(sum(exact.values()))
        if not total > 0:
            continue
        own = [compared[rule].groups[name] for name in names if exact[name] > 0]
        sizes = [part.norm_ratio**2 * exact[name] for part, name in zip(own, filter(exact.get, names), strict=True)]
        length, inner = np.sqrt(sum(sizes)), sum(part.inner for part in own)
        found.append((inner / total / length if length > 0 else np.nan, length / total))
    return (_mean([cosine for cosine, _ in found]), _mean([ratio for _, ratio in found]))


def fading(run: Examination, at: str) -> float:
    """How large a synapse's exact gradient is into the first hidden layer, beside that into outputs (root mean
    squares), the mean over the networks; NaN where there is none."""
    found = []
    for (network, _), compared in zip(run.networks(at), run.compared(at), strict=True):
        size = {name: mask.sum() for name, mask in groups(network).items()}
        rms = {name: np.sqrt(compared["exact"].groups[name].inner / size[name]) for name in size}
        first = [value for name, value in rms.items() if name in ("inputs to hidden", "inputs to hidden 1")]
        last = [value for name, value in rms.items() if name.endswith("to outputs")]
        if first and last and max(last) > 0:
            found.append(first[0] / max(last))
    return _mean(found)


def _mean(values: list[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else np.nan


class WeakNudge(AbstractSymptom):
    """A nudge that moves nothing, or less than rounding and tolerance do; or that leaves outputs at a bound."""

    needs = "start"
    hides = ("blocked", "misaligned", "small-steps", "short", "unexplained")

    def look(self, run):
        nudges = nudges_of(run.of.rules[0])
        if not nudges:
            return None
        beta = min(abs(float(strength)) for nudge in nudges for strength in nudge.strengths)
        unmoved = run.last("unmoved")
        words = faint(run.of.parts) if run.of.parts is not None and run.unlearned else None
        if words or unmoved > _LEFT_OUT:
            cause = f"a nudge of {beta:g} moves the network by no more than rounding and tolerance do"
            still = "" if np.isnan(unmoved) else f"{unmoved:.0%} of samples of the last epoch were not moved; "
            evidence = f"{still}{words or 'the first update is clear'}"
            stronger = max(100 * beta, 0.5)
            remedies = (f"--beta {stronger:g}", "--precision float64")
        elif run.unlearned and run.last("dead_outputs") > _BOUND and not run.still:
            cause = (
                f"a nudge of {beta:g} cannot pull outputs off the bound where they stand on samples that they get wrong"
            )
            evidence = (
                f"{run.last('dead_outputs'):.0%} of outputs stand at a bound on every such sample of the last epoch"
            )
            remedies = (f"--beta {10 * beta:g}",)
        else:
            return None
        return Finding(
            "weak-nudge", cause, evidence, tuple(map(run.again, remedies)), {"beta": beta, "unmoved": unmoved}
        )


class StrongNudge(AbstractSymptom):
    """A nudge under which phases do not settle, or whose response is no gradient any more."""

    hides = ("misaligned", "small-steps", "short", "unexplained")

    def look(self, run):
        nudges = nudges_of(run.of.rules[0])
        if not nudges:
            return None
        beta = max(abs(float(strength)) for nudge in nudges for strength in nudge.strengths)
        share = run.last("unsettled")
        remedies = tuple(map(run.again, (f"--beta {beta / 10:g}", "--nudge one-sided")))
        if share > 0.01:
            return Finding(
                "strong-nudge", f"under a nudge of {beta:g} phases do not settle; free phases do",
                f"{share:.0%} of phases of the last epoch do not settle", remedies, {"beta": beta, "unsettled": share},
            )  # fmt: skip
        if not run.unlearned:
            return None
        ats = ("start", "kept") if run.of.begun is not None else ("kept",)
        found = {at: (into_hidden(run, at, "own")[0], into_hidden(run, at, "limit")[0]) for at in ats}
        worst = next((at for at, (own, limit) in found.items() if own < _OFF and limit > _CLEAR), None)
        if worst is None:
            return None
        own, limit = found[worst]
        return Finding(
            "strong-nudge", f"a nudge of {beta:g} carries the network too far for its response to be a gradient",
            f"cosine to the exact gradient {own:.2f} with it and {limit:.2f} with a very small one, synapses into "
            f"hidden units, {run.extent}", remedies, {"beta": beta, "cosine": own, "cosine_limit": limit},
        )  # fmt: skip


class Blocked(AbstractSymptom):
    """Hidden units that learn next to nothing as no feedback reaches them."""

    needs = "start"
    hides = ("misaligned", "small-steps", "short", "unexplained")

    def look(self, run):
        graph = run.of.networks[0].graph
        if not run.unlearned or not graph.hidden:
            return None
        (cosine, ratio), limit = into_hidden(run, "start", "own"), into_hidden(run, "start", "limit")[1]
        ratio, share = limit if np.isfinite(limit) else ratio, fading(run, "start")
        measured = {"norm_ratio": ratio, "cosine": cosine, "first_layer": share}
        if ratio < _NOTHING:
            stronger = run.settings is None or not run.settings.untaken("feedback_scale")
            return Finding(
                "blocked",
                f"hidden units learn next to nothing, as hardly any feedback reaches them: {way_back(graph)}",
                f"as training began, the rule's estimate into hidden units has {ratio:.1e} of the size of the gradient"
                f", {run.extent}", tuple(map(run.again, (_CHANNEL, "--feedback-scale 1")[: 1 + stronger])), measured,
            )  # fmt: skip
        if not share < _VANISHED:
            return None
        return Finding(
            "blocked", "the gradient itself fades on its way to the first hidden layer",
            f"as training began, that of a synapse into the first hidden units is {share:.1e} of that of one into "
            f"outputs (root mean squares), {run.extent}",
            tuple(map(run.again, ("--weight-scale 1.4 --control loops", "--leak 0.5", "--hidden 64"))), measured,
        )  # fmt: skip


class Misaligned(AbstractSymptom):
    """A rule whose estimate into hidden units points elsewhere than the gradient."""

    hides = ("unexplained",)

    def look(self, run):
        graph = run.of.networks[0].graph
        if not run.unlearned or not graph.hidden:
            return None
        ats = ("start", "kept") if run.of.begun is not None else ("kept",)
        found = {at: into_hidden(run, at, "own")[0] for at in ats}
        known = [cosine for cosine in found.values() if np.isfinite(cosine)]
        if not known or not np.mean(known) < _OFF:
            return None
        rule = type(run.of.rules[0]).__name__
        learned = "--feedback learned" if feedback_of(run.of.rules[0]) else _CHANNEL
        shown = ", ".join(
            f"{cosine:.2f} {'as training began' if at == 'start' else 'now'}" for at, cosine in found.items()
        )
        return Finding(
            "misaligned", f"{rule} does not follow the gradient into hidden units: {way_back(graph)}",
            f"cosine to the exact gradient {shown}, {run.extent}",
            (*map(run.again, (learned, "--rule asym-ep")), f"direp gradient {quoted(run.path or 'RUN')}"),
            {"cosine": found},
        )  # fmt: skip
