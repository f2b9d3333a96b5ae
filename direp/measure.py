r"""Rules held against the exact gradient on one network and its data: cosine, error, by groups of synapses, order in
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

from .graph import Graph
from .network import Network, Parameters
from .nudge import AbstractCost, Centred, OneSided, SquaredError
from .rules import AbstractRule, Adjoint, AsymEP, Estimate, Local, SymmetricEP, VectorField, estimate
from .settling import AbstractStop, Tolerance

__all__ = ["Comparison", "compare_gradients", "groups", "order_in_beta", "state_of"]

_NUDGED = (Local, VectorField, SymmetricEP, AsymEP)


@dataclass(frozen=True)
class Comparison:
    r"""A rule's gradient $\hat g$ against the exact one $g$, over synapses and biases.

    `cosine`; `relative_error` $\lVert\hat g-g\rVert/\lVert g\rVert$; `norm_ratio` $\lVert\hat g\rVert/\lVert
    g\rVert$. NaN where the exact gradient is zero. `groups` has the same by groups of synapses.
    """

    cosine: float
    relative_error: float
    norm_ratio: float
    groups: "dict[str, Comparison]"

    @property
    def angle(self) -> float:
        """In degrees."""
        return math.degrees(math.acos(min(max(self.cosine, -1.0), 1.0))) if math.isfinite(self.cosine) else math.nan

    def to_dict(self) -> dict[str, Any]:
        own = {
            "cosine": self.cosine, "relative_error": self.relative_error, "norm_ratio": self.norm_ratio,
            "angle": self.angle, "descends": self.cosine > 0 if math.isfinite(self.cosine) else None,
        }  # fmt: skip
        return {**own, "groups": {name: part.to_dict() for name, part in self.groups.items()}} if self.groups else own


def groups(graph: Graph) -> dict[str, np.ndarray]:
    """Masks over synapses, in the order of `Graph.source`: by layers if there are any, else by kinds of units."""
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
            mask = (source == p) & (target == q)
            if mask.any():
                found[f"{names[p]} to {names[q]}"] = mask
    return found


def _flat(network: Network, gradient: Parameters) -> tuple[np.ndarray, np.ndarray]:
    graph = network.graph
    weight = np.asarray(network.synapses.matrix(gradient.weight))[graph.source, graph.target - graph.inputs]
    return weight, np.asarray(gradient.bias) if graph.bias else np.zeros(0)


def _against(said: np.ndarray, exact: np.ndarray, parts: dict[str, tuple[np.ndarray, np.ndarray]]) -> Comparison:
    size, true = np.linalg.norm(said), np.linalg.norm(exact)
    with np.errstate(divide="ignore", invalid="ignore"):
        return Comparison(
            float(said @ exact / (size * true)), float(np.linalg.norm(said - exact) / true), float(size / true),
            {name: _against(*pair, {}) for name, pair in parts.items()},
        )  # fmt: skip


@eqx.filter_jit
def _estimate(network: Network, x, y, rule: AbstractRule, cost: AbstractCost, stop, valid, key) -> Estimate:
    return estimate(network, x, y, rule, cost=cost, stop=stop, valid=valid, key=key)


def _traced(rule: AbstractRule, dtype: Any) -> AbstractRule:
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype) if isinstance(leaf, float) else leaf, rule)


def compare_gradients(
    network: Network,
    x: np.ndarray,
    y: np.ndarray,
    rules: Mapping[str, AbstractRule],
    *,
    cost: AbstractCost | None = None,
    stop: AbstractStop | None = None,
    key: PRNGKeyArray | None = None,
) -> tuple[dict[str, Comparison], dict[str, tuple[int, ...]]]:
    """Every rule against `Adjoint`, and the samples that were left out of it.

    A sample that does not settle in some phase of a rule is left out of both that rule and the exact gradient beside
    it. `stop` is by default as tight as the numbers allow: a response is a small difference.
    """
    cost = SquaredError() if cost is None else cost
    eps = float(jnp.finfo(network.dtype).eps)
    stop = Tolerance(100 * eps, 100 * eps, max_steps=50_000) if stop is None else stop
    key = jax.random.key(0) if key is None else key
    data = (jnp.asarray(x, network.dtype), jnp.asarray(y, network.dtype))

    def run(rule: AbstractRule, valid: Array) -> Estimate:
        return _estimate(network, *data, _traced(rule, network.dtype), cost, stop, valid, key)

    everyone = jnp.ones(len(data[0]), bool)
    exact, masks = run(Adjoint(), everyone), groups(network.graph)
    compared, left_out = {}, {}
    for name, rule in rules.items():
        said = run(rule, exact.used)
        true = exact if bool((said.used == exact.used).all()) else run(Adjoint(), said.used)
        told, right = _flat(network, said.gradient), _flat(network, true.gradient)
        parts = {group: (told[0][mask], right[0][mask]) for group, mask in masks.items()}
        if network.graph.bias:
            parts["biases"] = (told[1], right[1])
        compared[name] = _against(np.concatenate(told), np.concatenate(right), parts)
        left_out[name] = tuple(int(n) for n in np.flatnonzero(~np.asarray(said.used)))
    return compared, left_out


def order_in_beta(
    network: Network,
    x: np.ndarray,
    y: np.ndarray,
    rule: AbstractRule,
    *,
    cost: AbstractCost | None = None,
    betas: tuple[float, ...] = (0.02, 0.01, 0.005),
) -> dict[str, Any] | None:
    r"""How the error of a nudged rule shrinks with $\beta$: relative errors at `betas`, one-sided and centred, and the
    slope of their logarithms. Against the exact gradient for `AsymEP`, else against the rule's own limit, which two
    smaller centred nudges give; `None` for a rule without a nudge."""
    if not isinstance(rule, _NUDGED):
        return None
    cost = SquaredError() if cost is None else cost
    eps = float(jnp.finfo(network.dtype).eps)
    stop = Tolerance(100 * eps, 100 * eps, max_steps=50_000)
    data = (jnp.asarray(x, network.dtype), jnp.asarray(y, network.dtype))

    def said(rule: AbstractRule) -> np.ndarray:
        told = _estimate(network, *data, _traced(rule, network.dtype), cost, stop, jnp.ones(len(data[0]), bool), None)
        return np.concatenate(_flat(network, told.gradient))

    kind, smallest = type(rule), min(betas)
    if isinstance(rule, AsymEP):
        limit = said(Adjoint())
    else:
        limit = (4 * said(kind(Centred(smallest / 4))) - said(kind(Centred(smallest / 2)))) / 3
    scale = float(np.linalg.norm(limit))
    found: dict[str, Any] = {"betas": list(betas), "against": "exact" if isinstance(rule, AsymEP) else "own limit"}
    for name, nudge in (("one-sided", OneSided), ("centred", Centred)):
        missed = [said(kind(nudge(beta))) - limit for beta in betas]
        errors = [float(np.linalg.norm(part)) / scale if scale else math.nan for part in missed]
        # Differences as small as rounding have no order.
        sure = min(errors) > 1e4 * eps / min(betas)
        slope = float(np.polyfit(np.log(betas), np.log(errors), 1)[0]) if sure else math.nan
        found[name] = {"errors": errors, "order": slope}
    return found


def state_of(network: Network, x: np.ndarray, y: np.ndarray, rule: Local, cost: AbstractCost | None = None) -> dict:
    """What a rule has to work with: sizes of weights by group, responses of hidden units, units without a gradient."""
    graph, cost = network.graph, SquaredError() if cost is None else cost
    weight, _ = _flat(network, network.parameters)
    data = (jnp.asarray(x, network.dtype), jnp.asarray(y, network.dtype))
    stop = Tolerance(max_steps=50_000)
    said = _estimate(network, *data, _traced(rule, network.dtype), cost, stop, jnp.ones(len(data[0]), bool), None)
    free, neuron = said.free, network.neuron
    field = network.field(data[0])
    held = np.asarray(field.held(free.state, field.flow(free.state, free.drive)))
    silent = np.asarray(neuron.rate_slope(free.state) * neuron.transfer_slope(free.drive) == 0) | held
    moved = np.abs(np.asarray(said.nudged[0].rate - free.rate))
    return {
        "rms_weight": {name: float(np.sqrt(np.mean(weight[mask] ** 2))) for name, mask in groups(graph).items()},
        "mean_response_hidden": float(moved[:, : graph.hidden].mean()) if graph.hidden else math.nan,
        "mean_response_outputs": float(moved[:, graph.hidden :].mean()),
        "without_gradient_hidden": float(silent[:, : graph.hidden].mean()) if graph.hidden else math.nan,
        "without_gradient_outputs": float(silent[:, graph.hidden :].mean()),
        "loss": float(np.asarray(said.loss).mean()),
    }
