r"""Rules compared with the exact gradient on one network and its data: cosine, error, by groups of synapses, order in
$\beta$."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from ..model import Network, Parameters
from ..rules import (
    AbstractCost,
    AbstractRule,
    Adjoint,
    Centred,
    Estimate,
    OneSided,
    SquaredError,
    cosine,
    estimate,
    nudges_of,
    phases_of,
    with_nudge,
)  # fmt: skip
from ..settling import AbstractStop, Tolerance, traced

_DENSE = 256  # free units up to which the oracle solves directly
_REACHED = 1e-4  # relative error at which the limit of a rule counts as the exact gradient


@dataclass(frozen=True)
class Comparison:
    r"""A rule's gradient $\hat g$ against the exact one $g$, over synapses and biases.

    - `cosine`; `relative_error` $\lVert\hat g-g\rVert/\lVert g\rVert$; `norm_ratio`
      $\lVert\hat g\rVert/\lVert g\rVert$; `inner` $\langle\hat g,g\rangle$, positive where a small step descends. NaN
      where the exact gradient is zero.
    - `groups`: the same by groups of synapses.
    - `worst_sample`: the sample whose own cosine is the lowest, and that cosine; `None` if no sample has one.
    - `unsettled`: the samples that did not settle in some phase of this rule.
    """

    cosine: float
    relative_error: float
    norm_ratio: float
    inner: float
    groups: "dict[str, Comparison]"
    worst_sample: tuple[int, float] | None = None
    unsettled: tuple[int, ...] = ()

    @property
    def angle(self) -> float:
        """In degrees."""
        return math.degrees(math.acos(min(max(self.cosine, -1.0), 1.0))) if math.isfinite(self.cosine) else math.nan

    def to_dict(self) -> dict[str, Any]:
        own: dict[str, Any] = {
            "cosine": self.cosine, "relative_error": self.relative_error, "norm_ratio": self.norm_ratio,
            "angle": self.angle, "inner": self.inner,
            "descends": self.inner > 0 if math.isfinite(self.cosine) else None,
        }  # fmt: skip
        if not self.groups:
            return own
        worst = None if self.worst_sample is None else dict(zip(("index", "cosine"), self.worst_sample, strict=True))
        parts = {name: part.to_dict() for name, part in self.groups.items()}
        return {**own, "worst_sample": worst, "unsettled": len(self.unsettled), "groups": parts}


def groups(network: Network) -> dict[str, np.ndarray]:
    """Masks over the numbers that learn, as `synapses.numbers` orders them: by layers if there are any, else by kinds
    of units. A strength that synapses of several groups share is in each."""
    graph, place = network.graph, network.synapses.place
    _, first, number = np.unique(place, return_index=True, return_inverse=True)
    number = np.argsort(np.argsort(first))[number]
    if graph.layers is not None:
        edges = np.cumsum(graph.layers)
        names = ["inputs", *(f"hidden {k}" for k in range(1, len(graph.layers) - 1)), "outputs"]
    else:
        edges = np.cumsum([graph.inputs, graph.hidden, graph.outputs])
        names = ["inputs", "hidden", "outputs"]
    source, target = (np.searchsorted(edges, units, side="right") for units in (graph.source, graph.target))
    found = {}
    for p in range(len(names)):
        for q in range(len(names)):
            mask = np.zeros(len(first), bool)
            mask[number[(source == p) & (target == q)]] = True
            if mask.any():
                found[f"{names[p]} to {names[q]}"] = mask
    return found


def _flat(network: Network, gradient: Parameters) -> tuple[np.ndarray, np.ndarray]:
    weight = np.asarray(network.synapses.numbers(gradient.weight))
    return weight, np.asarray(gradient.bias) if network.graph.bias else np.zeros(0)


def _against(
    estimated: np.ndarray, exact: np.ndarray, parts: dict[str, tuple[np.ndarray, np.ndarray]], **more
) -> Comparison:
    size, true, product = np.linalg.norm(estimated), np.linalg.norm(exact), float(estimated @ exact)
    found = {name: _against(*pair, {}) for name, pair in parts.items()}
    if not true > 0:
        return Comparison(math.nan, math.nan, math.nan, product, found, **more)
    # Of an estimate of zero the angle is unknown; its error is not.
    cosine = float(product / size / true) if size > 0 else math.nan
    error = float(np.linalg.norm(estimated - exact) / true)
    return Comparison(cosine, error, float(size / true), product, found, **more)


@eqx.filter_jit
def _one_by_one(network: Network, x, y, rules: tuple[AbstractRule, ...], oracle, cost, stop, key) -> Array:
    """The cosine between each rule and the oracle for every sample by itself (samples x rules)."""

    def one(sample: tuple[Array, Array]) -> Array:
        part = (sample[0][None], sample[1][None])
        estimated = [
            estimate(network, *part, rule, cost=cost, stop=stop, key=key).gradient for rule in (oracle, *rules)
        ]
        return jnp.stack([cosine(network, gradient, estimated[0]) for gradient in estimated[1:]])

    return jax.lax.map(one, (x, y))


class _Bench:
    """What all rules are measured with: the data in the network's numbers, a tight stop, the oracle."""

    def __init__(
        self, network: Network, x, y, cost: AbstractCost | None, stop: AbstractStop | None, key=None, lift=False
    ):
        eps = float(jnp.finfo(network.dtype).eps)
        tight = (100 + network.graph.units) * eps  # a sum of so many terms is no surer than that
        self.network, self.dtype = network, network.dtype
        self.x, self.y = jnp.asarray(x, network.dtype), jnp.asarray(y, network.dtype)
        self.cost = SquaredError() if cost is None else cost
        self.stop = Tolerance(tight, tight, max_steps=50_000) if stop is None else stop
        self.key = jax.random.key(0) if key is None else key
        self.oracle = traced(Adjoint(dense_up_to=_DENSE, rtol=tight, lift=lift), self.dtype)

    def run(self, rule: AbstractRule, valid: np.ndarray | None = None) -> Estimate:
        valid = np.ones(len(self.x), bool) if valid is None else valid
        settings: Any = {"cost": self.cost, "stop": self.stop, "valid": jnp.asarray(valid), "key": self.key}
        return estimate(self.network, self.x, self.y, traced(rule, self.dtype), **settings)

    def all(self, rules: Mapping[Any, AbstractRule]) -> tuple[dict[Any, Estimate], dict[Any, np.ndarray], np.ndarray]:
        """Every rule on the samples that settle in all of them; what each left out; and these samples. A rule in which
        no sample settles takes none from the others."""
        estimated = {name: self.run(rule) for name, rule in rules.items()}
        masks = {name: np.asarray(one.used) for name, one in estimated.items()}
        common = np.logical_and.reduce([mask for mask in masks.values() if mask.any()] or [np.zeros(len(self.x), bool)])
        if any((mask != common).any() for mask in masks.values()):
            estimated = {name: self.run(rule, common) for name, rule in rules.items()}
        return estimated, masks, common


def compare_gradients(
    network: Network,
    x: np.ndarray,
    y: np.ndarray,
    rules: Mapping[str, AbstractRule],
    *,
    cost: AbstractCost | None = None,
    stop: AbstractStop | None = None,
    key: PRNGKeyArray | None = None,
    alone: bool = True,
    lift: bool = False,
) -> tuple[dict[str, Comparison], tuple[int, ...]]:
    """Every rule against `Adjoint`, and the samples that were left out.

    A sample that does not settle in some phase of some rule is left out of all rules and of the exact gradient, so that
    all are compared on the same; only a rule in which no sample settles takes none from the others. By default `stop`
    is as tight as the numbers allow: a response is a small difference. Use 64-bit networks. Unless `alone`, samples are
    not compared one by one, which takes longer than all the rest, and no `worst_sample` is known. With `lift` the exact
    gradient looks past outputs that stand at a bound off which their error pulls them.
    """
    bench = _Bench(network, x, y, cost, stop, key, lift)
    estimated, counted, used = bench.all({**rules, "": bench.oracle})
    exact, masks = _flat(network, estimated[""].gradient), groups(network)
    order = tuple(traced(rule, bench.dtype) for rule in rules.values())
    each = np.full((len(used), len(order)), np.nan)
    if alone:
        each = np.array(_one_by_one(network, bench.x, bench.y, order, bench.oracle, bench.cost, bench.stop, bench.key))
    each[~used] = np.nan
    compared = {}
    for k, name in enumerate(rules):
        own = _flat(network, estimated[name].gradient)
        parts = {group: (own[0][mask], exact[0][mask]) for group, mask in masks.items()}
        if network.graph.bias:
            parts["biases"] = (own[1], exact[1])
        unsettled = tuple(int(n) for n in np.flatnonzero(~counted[name]))
        compared[name] = _against(
            np.concatenate(own), np.concatenate(exact), parts, worst_sample=_lowest(each[:, k]),
            unsettled=unsettled,
        )  # fmt: skip
    return compared, tuple(int(n) for n in np.flatnonzero(~used))


def is_flat(network: Network, x: np.ndarray, y: np.ndarray, cost: AbstractCost | None = None) -> bool:
    """Whether samples settle and their exact gradient is zero nevertheless: there is nothing to compare a rule with."""
    bench = _Bench(network, x, y, cost, None)
    exact = bench.run(bench.oracle)
    return bool(exact.used.any()) and not np.concatenate(_flat(network, exact.gradient)).any()


def _lowest(values: np.ndarray) -> tuple[int, float] | None:
    if np.isnan(values).all():
        return None
    index = int(np.nanargmin(values))
    return index, float(values[index])


def order_in_beta(
    network: Network,
    x: np.ndarray,
    y: np.ndarray,
    rule: AbstractRule,
    *,
    cost: AbstractCost | None = None,
    betas: tuple[float, ...] = (0.02, 0.01, 0.005, 0.0025),
) -> dict[str, Any] | None:
    r"""How the error of a nudged rule shrinks with $\beta$: relative errors at `betas` (falling), one-sided and
    centred, and the slope of their logarithms (`order`).

    `limit` is against the rule's own limit, which two smaller centred nudges give; `exact` against the exact gradient,
    where that limit reaches it. The slope is that of the smallest betas as far as they agree: a unit that meets a bound
    on the way breaks it. It is NaN where fewer than three agree or stand out of rounding. `None` for a rule without a
    nudge, for one that watches its phases step by step (`Trajectory`), and where there is no gradient.
    """
    if not nudges_of(rule) or phases_of(rule, network, cost).watched:
        return None
    betas = tuple(sorted(betas, reverse=True))
    bench = _Bench(network, x, y, cost, None)
    nudges = {
        (name, beta): nudge(beta) for name, nudge in (("one-sided", OneSided), ("centred", Centred)) for beta in betas
    }
    smaller = {("small", k): Centred(betas[-1] / k) for k in (2, 4)}
    rules = {key: with_nudge(rule, nudge) for key, nudge in {**nudges, **smaller}.items()}
    estimates, _, used = bench.all({**rules, "exact": bench.oracle})
    estimated = {key: np.concatenate(_flat(network, one.gradient)) for key, one in estimates.items()}
    if not used.any() or not estimated["exact"].any():
        return None
    ends = {"limit": (4 * estimated["small", 4] - estimated["small", 2]) / 3}
    if np.linalg.norm(ends["limit"] - estimated["exact"]) < _REACHED * np.linalg.norm(estimated["exact"]):
        ends["exact"] = estimated["exact"]
    found: dict[str, Any] = {"betas": list(betas)}
    floor = 1e4 * float(jnp.finfo(network.dtype).eps) / betas[-1]
    for against, end in ends.items():
        size = float(np.linalg.norm(end))
        found[against] = {}
        for name in ("one-sided", "centred"):
            errors = [float(np.linalg.norm(estimated[name, beta] - end)) / size if size else math.nan for beta in betas]
            found[against][name] = {"errors": errors, "order": _slope(betas, errors, floor)}
    return found


def _slope(betas: tuple[float, ...], errors: list[float], floor: float) -> float:
    """Of the smallest betas whose errors stand out of rounding and whose slopes agree, three or more."""
    sure = [k for k, error in enumerate(errors) if error > floor]
    x, y = np.log([betas[k] for k in sure]), np.log([errors[k] for k in sure])
    slopes = np.diff(y) / np.diff(x) if len(sure) > 1 else np.zeros(0)
    agree = 0
    while agree < len(slopes) and abs(slopes[len(slopes) - 1 - agree] - slopes[-1]) < 0.2:
        agree += 1
    return float(np.polyfit(x[-agree - 1 :], y[-agree - 1 :], 1)[0]) if agree >= 2 else math.nan


def state_of(
    network: Network,
    x: np.ndarray,
    y: np.ndarray,
    rule: AbstractRule,
    cost: AbstractCost | None = None,
    tolerance: float = 0.0,
) -> dict[str, Any]:
    r"""What a rule has to work with: sizes of weights by group, responses $|\Delta r|$ to its first nudged phase (and
    the share of them below a tolerance of settling), units whose exact gradient is zero because they are saturated."""
    graph, bench = network.graph, _Bench(network, x, y, cost, None)
    weight, _ = _flat(network, network.parameters)
    estimated = bench.run(rule)
    free, neuron, field = estimated.free, network.neuron, network.field(bench.x)
    held = np.asarray(field.held(free.state, field.flow(free.state, free.drive)))
    silent = np.asarray(neuron.rate_slope(free.state) * neuron.transfer_slope(free.drive) == 0) | held
    used = np.asarray(estimated.used)
    moved = np.abs(np.asarray(estimated.nudged[0].rate - free.rate))[used]
    found: dict[str, Any] = {
        "rms_weight": {name: float(np.sqrt(np.mean(weight[mask] ** 2))) for name, mask in groups(network).items()},
        "loss": float(np.asarray(estimated.loss)[used].mean()) if used.any() else math.nan,
    }
    for name, part in (("hidden", slice(0, graph.hidden)), ("outputs", slice(graph.hidden, None))):
        known = moved[:, part].size > 0
        found[f"mean_response_{name}"] = float(moved[:, part].mean()) if known else math.nan
        found[f"below_tolerance_{name}"] = float((moved[:, part] < tolerance).mean()) if known else math.nan
        found[f"without_gradient_{name}"] = float(silent[used][:, part].mean()) if known else math.nan
    return found
