"""A certificate is data: a claim, a verdict, and all that the verdict rests on."""

import dataclasses
import html
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from ...arithmetic import at_least
from ...model import AbstractField, Network, NetworkField
from ...rules import AbstractCost, Nudged
from ...settling import AbstractMethod, AbstractStop, Fallback, Tolerance
from .error_bar import error_bar
from .norm import AbstractNorm
from .slopes import Slopes
from .within import Within

Verdict = Literal["proved", "refuted", "undecided"]


def as_data(value: Any) -> Any:
    """What a certificate holds, as dictionaries, lists and numbers for JSON."""
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if dataclasses.is_dataclass(value):
        return {field.name: as_data(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [as_data(entry) for entry in value]
    if isinstance(value, Mapping):
        return {name: as_data(entry) for name, entry in value.items()}
    return value.tolist() if isinstance(value, np.ndarray) else value


class Judged:
    """A claim (a main clause) and the verdict on it: what all certificates share."""

    claim: str
    verdict: Verdict

    def __bool__(self) -> bool:
        return self.verdict == "proved"

    @property
    def sentence(self) -> str:
        """What is proved, refuted or not decided."""
        before = {"proved": "proved:", "refuted": "refuted: it is not true that", "undecided": "not decided whether"}
        return f"{before[self.verdict]} {self.claim}"

    def _repr_html_(self) -> str:
        """For notebooks: the sentence, and a table of what it rests on."""
        shown = (
            "criterion",
            "rate",
            "phases",
            "scope",
            "cosine",
            "angle",
            "reach",
            "shares",
            "assumptions",
            "reason",
            "blame",
        )
        values = {name: value for name in shown if (value := getattr(self, name, None)) not in (None, (), {}, "")}
        return f"<p><b>{html.escape(self.sentence)}</b></p>{html_table(values)}"


def html_table(values: Mapping[str, Any]) -> str:
    """Names and values in two columns; of several values, one a line."""

    def cell(value: Any) -> str:
        if isinstance(value, Mapping):
            value = [f"{name}: {entry:.4g}" for name, entry in value.items()]
        parts = value if isinstance(value, list | tuple) else [value]
        return "<br>".join(html.escape(f"{part:.4g}" if isinstance(part, float) else str(part)) for part in parts)

    rows = (f"<tr><th>{html.escape(name)}</th><td>{cell(value)}</td></tr>" for name, value in values.items())
    return f"<table>{''.join(rows)}</table>"


@dataclass(frozen=True)
class Proof:
    """What a criterion has proved, rounding included: every phase contracts in one and the same norm.

    - `rates`: the rate of every phase (1/time). `step`: the largest Euler step (time) that is covered.
    - `shrink`: an Euler step of that length takes at least this share from distances and residuals, in every phase.
    - `check`: how the decisive inequality was decided.
    """

    norm: AbstractNorm
    rates: dict[str, float]
    step: float
    shrink: float
    check: str = "sums in 64 bits less their worst rounding error; signs that this leaves open by exact rationals"

    @property
    def rate(self) -> float:
        return min(self.rates.values())

    @property
    def factor(self) -> float:
        """1 - `shrink`, rounded up."""
        return _factor(self.shrink)


def _factor(shrink: float) -> float:
    return min(math.nextafter(1 - shrink, 2), 1.0)


@dataclass(frozen=True)
class Attempt:
    """How one criterion fared.

    `rate` is the best it could prove (1/time; not positive where it failed, minus infinity where it does not apply),
    `note` says why it failed, `blame` lists the free units that stand in the way, worst first. `free` says whether the
    free phase, at least, is proved to contract.
    """

    criterion: str
    proof: Proof | None = None
    rate: float = -math.inf
    note: str = ""
    blame: tuple[int, ...] = ()
    free: bool = False

    def to_dict(self) -> dict[str, Any]:
        rate = self.rate if self.proof is None else self.proof.rate
        return {"criterion": self.criterion, "proved": self.proof is not None, "rate": rate, "note": self.note}


@dataclass(frozen=True)
class Remedy:
    """What would make a network certified by `Perron`, each alone.

    - `leak`: to add to each free unit (1/time), the least in total that was found.
    - `common_leak`: the least that, added to every unit, is enough.
    - `weight_scale`: the largest factor on all weights between free units; `None` where none was found.
    """

    leak: np.ndarray
    common_leak: float
    weight_scale: float | None

    def describe(self, names: tuple[str, ...]) -> str:
        if not self.leak.any():
            return "The criterion Perron proves it as it is."
        most = [int(k) for k in np.argsort(-self.leak)[:3] if self.leak[k] > 0]
        units = ", ".join(f"{names[k]} +{_digits(self.leak[k], math.ceil)}" for k in most)
        others = int((self.leak > 0).sum()) - len(most)
        more = f" and {others} more units, {_digits(self.leak.sum(), math.ceil)} in all" if others > 0 else ""
        parts = [f"more leak ({units}{more})", f"{_digits(self.common_leak, math.ceil)} more leak for every unit"]
        if self.weight_scale is not None:
            parts.append(f"weights between free units scaled by {_digits(self.weight_scale, math.floor)}")
        return "Any of these would certify it: " + "; or ".join(parts) + "."


def _digits(value: float, rounded: Callable[[float], int]) -> str:
    """Three digits, rounded to the safe side: a reader who does what is written gets what is promised."""
    step = 10.0 ** (math.floor(math.log10(value)) - 2) if value > 0 else 1.0
    return f"{rounded(value / step) * step:.3g}"


def _equal(one: Any, other: Any) -> bool:
    """Whether two pytrees are of one kind and hold the same numbers; those that JAX traces count as the same."""

    def alike(a: Any, b: Any) -> bool:
        return np.shape(a) == np.shape(b) and (isinstance(b, Tracer) or np.array_equal(a, b))

    same = jax.tree.structure(one) == jax.tree.structure(other)
    return same and all(map(alike, jax.tree.leaves(one), jax.tree.leaves(other)))


_DENSE = 1000  # free units up to which stragglers are finished by dense systems


class About(NamedTuple):
    """What a certificate is of; with a `mismatch`, all its dies. `strengths`: the name of the phase at every
    strength of a nudge, 0 for none. `leak`: the largest total leak."""

    network: Network
    cost: AbstractCost
    strengths: dict[float, str]
    leak: float
    mismatch: Any = None


@dataclass(frozen=True, repr=False)
class Certificate(Judged):
    """What is claimed of a network and how far that is proved.

    - `claim`: a main clause. `verdict` on it: `"proved"`, `"refuted"` or `"undecided"`; `sentence` puts both together.
    - `criterion`: what decided; for `"undecided"`, what came closest.
    - `norm`: the norm in which distances shrink, with its weights; `None` if not even the free phase is
      proved to. `norms`: those of phases that shrink in another one.
    - `rate`: distances shrink at least like exp(-rate t) (1/time); for `"undecided"`, the bound that was not positive.
    - `phases`: the rate of every phase that is proved to contract: `"free"`, the nudge, such as `"beta=+0.5"`, or the
      field that a rule settles. `uncovered`: the phases of the rule of which nothing is known, each with why.
    - `largest_step`: projected Euler with a step up to this (time) contracts, in every phase; at exactly this step
      distances and residuals lose the share `shrink` or more: they shrink by `factor`.
    - `assumptions`: what must hold for the verdict to. `check`: how the decisive inequality was re-checked.
    - `attempts`: how every criterion that was tried fared.
    - `reason`: why it is not `"proved"`, or empty. `blame`: names of the units that stand in the way.
    - `remedy`: what would make it certified. `counterexample`: what refutes the claim.
    - `about`: the network itself and the phases that are covered.
    - `within`: of `certify(inputs=...)`, for which inputs and states it holds; `None`: for all.
    - `slopes`: of `certify(slopes=...)`, the bounds that it holds for, in place of those of the network's activation.
    """

    claim: str
    verdict: Verdict
    criterion: str
    norm: AbstractNorm | None
    rate: float
    phases: dict[str, float]
    largest_step: float
    shrink: float
    assumptions: tuple[str, ...]
    check: str
    attempts: tuple[Attempt, ...] = ()
    reason: str = ""
    blame: tuple[str, ...] = ()
    remedy: Remedy | None = None
    counterexample: Any = None
    norms: dict[str, AbstractNorm] = dataclasses.field(default_factory=dict)
    uncovered: tuple[str, ...] = ()
    about: About | None = None
    within: Within | None = None
    slopes: Slopes | None = None

    def __str__(self) -> str:
        if self:
            phases = ", ".join(f"{phase} {at_least(rate)}" for phase, rate in self.phases.items())
            norm = "a norm of each" if self.norm is None else self.norm
            where = "" if self.within is None else f", {self.within}"
            return f"{self.sentence}, rate {at_least(self.rate)} in {norm}{where} ({self.criterion}; phases: {phases})"
        return f"{self.sentence} ({self.criterion}). {self.reason}"

    def __repr__(self) -> str:
        how = {"proved": f"at rate {at_least(self.rate)} by", "refuted": "by", "undecided": "closest:"}[self.verdict]
        return f"Certificate({self.verdict} {how} {self.criterion})"

    @property
    def factor(self) -> float:
        """1 - `shrink`, rounded up."""
        return _factor(self.shrink)

    def check_network(self, network: Network) -> None:
        """Raise `ValueError` if this is a certificate of another network. Of a network that JAX traces the numbers are
        not known: its graph, neuron, layout and precision are compared alone. One of slopes that were given is of
        networks alone whose own are within."""
        if self.slopes is not None:
            self.slopes.check(network)
        mine = None if self.about is None else self.about.network
        if mine is None or (mine.dtype == network.dtype and _equal(mine, network)):
            return
        dies = self.about.mismatch if self.about is not None else None
        if dies is None or not dies.covers(mine, network):
            raise ValueError("this certificate is of another network: call certify on the one that settles")

    def method(self, chosen: AbstractMethod) -> AbstractMethod:
        """How to settle, given the method that suits the graph: full steps where the norm has one weight a unit, and
        implicit steps for samples that take long (up to 1,000 units: each is a dense system). Raises `ValueError` if
        nothing is proved."""
        if not self:
            raise ValueError(
                f"a certificate that is {self.verdict} bounds no distance and chooses no steps: leave certificate out, "
                "or mend the network first (its reason says how)"
            )
        whole = self.within is None or self.within.full_steps
        entrywise = self.norm is not None and self.norm.entrywise
        method = chosen.contracting() if whole and entrywise else chosen
        small = self.about is None or self.about.network.graph.free <= _DENSE
        return Fallback(method, patience=2000) if small and not isinstance(method, Fallback) else method

    def stop(self, stop: AbstractStop) -> AbstractStop:
        """The tolerance, its share of a nudge finer by the rate over the largest total leak: so much further from
        equilibrium than a unit by itself can a network be, for the same residual."""
        if not isinstance(stop, Tolerance) or self.about is None or not self:
            return stop
        slow = self.rate / self.about.leak
        slow *= 1.0 if self.norm is None else float(self.norm.entries.min() / self.norm.entries.max())
        return dataclasses.replace(stop, share=stop.share * min(max(slow, 0.0), 1.0))

    def error(self, field: AbstractField, state: np.ndarray) -> np.ndarray | None:
        r"""A bound of $|s-s^*|$ of every unit (batch x free) at states of a phase; `None` if the phase is not covered.

        The length of the projected field in `norm` over the rate of the phase, plus what rounding may hide. Raises
        `ValueError` if the field is not that of the network which the certificate is of, or its inputs are not."""
        if self.about is None or (self.norm is None and self.within is None):
            return None
        self.check_network(field.network)
        if self.within is not None:
            return self.within.bars(field, state)
        assert self.norm is not None
        beta, base, alike = 0.0, field, True
        if isinstance(field, Nudged):
            beta, base, alike = float(field.beta), field.base, _equal(field.cost, self.about.cost)
            rates = self.about.network.outputs(jnp.asarray(state, self.about.network.dtype))
            alike = alike and field.cost.sizes(rates, jnp.asarray(field.y)) is not None
        name = self.about.strengths.get(beta)
        if not isinstance(base, NetworkField) or name is None or not alike:
            return None
        return error_bar(self.norm, self.phases[name], field, state)

    def steps(self, ratio: float) -> int | None:
        """Euler steps of `largest_step` after which distances and residuals, in its norm, have shrunk by `ratio`
        (below 1) or more, from anywhere (or from states in `within.box`), in every phase; `None` if not proved, or too
        many to count."""
        if not ratio > 0:
            raise ValueError(f"Certificate.steps(ratio={ratio}) must be above 0")
        if not self:
            return None
        # A hair more than the quotient of two rounded logarithms.
        count = math.log(ratio) / math.log1p(-self.shrink) * (1 + 1e-12) if ratio < 1 else 0.0
        return math.ceil(count) if count < math.inf else None

    def steps_to(self, velocity: np.ndarray, tolerance: float, phase: str = "free") -> int | None:
        r"""Euler steps of `largest_step` after which no entry of the projected field exceeds `tolerance` (rate/time),
        from states (in `within.box`, where there is one) with the projected field `velocity` (batch x free) of a phase:
        an a-priori bound; `None` if not proved, or each sample in a norm of its own."""
        velocity = np.asarray(velocity, np.float64)
        if not tolerance > 0 or not np.isfinite(velocity).all():
            raise ValueError("Certificate.steps_to needs a finite velocity and a tolerance above 0")
        if not self or self.norm is None:
            return None
        if phase not in self.phases:
            raise ValueError(f"Certificate.steps_to(phase={phase!r}) must be one of {', '.join(self.phases)}")
        norm = self.norms.get(phase, self.norm)
        worst = float(np.max(norm.upper(velocity, np.zeros_like(velocity)))) * norm.reach * (1 + 1e-12)
        return self.steps(tolerance / worst) if worst > 0 else 0

    def to_dict(self) -> dict[str, Any]:
        """Everything but the counter-example's arrays, for JSON."""
        names = [field.name for field in dataclasses.fields(self) if field.name != "about"]
        data = {name: as_data(getattr(self, name)) for name in names}
        example = None if self.counterexample is None else self.counterexample.kind
        return {**data, "factor": self.factor, "steps_per_digit": self.steps(0.1), "counterexample": example}
