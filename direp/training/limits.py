r"""Limits on single synapses while a network learns: signs that never change, bounds, strengths that stay."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..model import Graph, Network
from ..model.synapses import Weight
from ..settling import check_kind
from .constraint import AbstractConstraint
from .control import AbstractControl


class Limits(NamedTuple):
    """The lowest and the highest strength of every synapse, each arranged like a `Weight`."""

    low: Any
    high: Any


class AbstractLimits(AbstractConstraint):
    r"""An interval for every synapse, into which its strength is clipped after every update.

    A new one says which interval (`limits`). Companions of synapses between free units (`LearnedFeedback`) keep to the
    interval of their partners: clipping both alike never takes them apart, $|m-w|\le|m_0-w_0|\prod_k(1-\eta_kd_k)$. Its
    state are the intervals.
    """

    @abstractmethod
    def limits(self, network: Network) -> Limits:
        """The intervals for a network as training begins; traced. Wrong structure is for `check`."""

    def check(self, network: Network) -> None:
        """Raise `ValueError` if the limits do not fit the network."""

    def begin(self, network):
        self.check(network)
        return self.begin_with(network, ())[0]

    def begin_with(self, network, feedback):
        parameters, _, feedback = self.project(network, self.init(network), feedback)
        return network.replace(parameters), feedback

    def init(self, network, feedback=()):
        low, high = self.limits(network)
        pairs = [_pinched(*pair) for pair in zip(jax.tree.leaves(low), jax.tree.leaves(high), strict=True)]
        return Limits(*(jax.tree.unflatten(jax.tree.structure(low), ends) for ends in zip(*pairs, strict=True)))

    def project(self, network, state, feedback=()):
        weight = jax.tree.map(jnp.clip, network.weight, state.low, state.high)
        between = state.low.recurrent, state.high.recurrent
        feedback = tuple(jax.tree.map(jnp.clip, each, *between) for each in feedback)
        return network.parameters._replace(weight=weight), state, feedback


class Dale(AbstractLimits):
    r"""Every synapse keeps its sign: it may fall to zero, and never beyond. Dale's law, where all synapses of a unit
    have one sign (`of_units`).

    Before training a strength of the wrong sign is replaced by that of its size and the right one,
    $\mathrm{sign}_{ij}|w_{ij}|$; so are companions.

    **Arguments:**

    - `signs`: one for each synapse in the order of the graph, such as `connectome.sign`: 1 excitatory, -1 inhibitory, 0
      free. By default the signs with which the weights begin.
    """

    signs: Array | np.ndarray | None = None

    def __init__(self, signs: Any = None):
        if signs is not None:
            signs = np.asarray(signs)
            if signs.ndim != 1 or signs.dtype.kind not in "iuf" or not np.isin(signs, (-1, 0, 1)).all():
                raise ValueError(
                    "Dale(signs=...) must be a row of 1, -1 and 0 (free), one for each synapse in the order of the "
                    "graph; Dale.of_units(graph, signs) takes one for each unit"
                )
            signs = signs.astype(np.int8)
        self.signs = signs

    @classmethod
    def of_units(cls, graph: Graph, signs: Mapping[str, int] | Sequence[int] | np.ndarray) -> "Dale":
        """From one sign a unit (inputs first), for all synapses that it sends; or from names of units to signs, where
        units that are not named are free."""
        check_kind("Dale.of_units(graph=...)", graph, Graph, "a Graph, such as network.graph")
        if isinstance(signs, Mapping):
            unknown = set(signs) - set(graph.names)
            if unknown:
                raise ValueError(f"Dale.of_units: the graph has no unit {sorted(map(str, unknown))[0]!r}")
            signs = [signs.get(name, 0) for name in graph.names]
        row = np.asarray(signs)
        if row.shape != (graph.units,):
            raise ValueError(f"Dale.of_units(signs=...) has shape {row.shape}; give {graph.units}, one for each unit")
        return cls(row[graph.source])

    def check(self, network):
        if self.signs is not None:
            _check_each(network, "Dale(signs=...)", self.signs)

    def begin_with(self, network, feedback):
        signs = self._signs(network)
        turned = lambda w, sign: jnp.where(sign == 0, w, sign * jnp.abs(w))  # noqa: E731
        weight = jax.tree.map(turned, network.weight, signs)
        feedback = tuple(jax.tree.map(turned, each, signs.recurrent) for each in feedback)
        return network.replace(network.parameters._replace(weight=weight)), feedback

    def _signs(self, network: Network) -> Weight:
        if self.signs is None:
            return jax.tree.map(jnp.sign, network.weight)
        return _arranged(network, jnp.asarray(self.signs, network.dtype))

    def limits(self, network):
        signs = self._signs(network)
        low = jax.tree.map(lambda sign: jnp.where(sign > 0, 0.0, -jnp.inf).astype(sign.dtype), signs)
        high = jax.tree.map(lambda sign: jnp.where(sign < 0, 0.0, jnp.inf).astype(sign.dtype), signs)
        return Limits(low, high)


class Bounds(AbstractLimits):
    r"""Every strength stays between two bounds, $\mathrm{low}\le w_{ij}\le\mathrm{high}$.

    Up to rounding inwards: strengths stop a few units in the last place before a bound that is not 0.

    **Arguments:**

    - `low`, `high`: a number, or one for each synapse in the order of the graph. Infinite: no bound.
    """

    low: Array | np.ndarray | float = -np.inf
    high: Array | np.ndarray | float = np.inf

    def __init__(self, low: Any = -np.inf, high: Any = np.inf):
        ends = [np.asarray(end) for end in (low, high)]
        if any(end.dtype.kind not in "iuf" or end.ndim > 1 or np.isnan(end).any() for end in ends):
            raise ValueError("Bounds(low=..., high=...) must be numbers, or one for each synapse; infinite: no bound")
        if ends[0].ndim == ends[1].ndim == 1 and len(ends[0]) != len(ends[1]):
            raise ValueError(f"Bounds(low=..., high=...) have {len(ends[0])} and {len(ends[1])} entries")
        if not (ends[0] <= ends[1]).all() or (ends[0] == np.inf).any() or (ends[1] == -np.inf).any():
            raise ValueError(f"Bounds(low={low}, high={high}): every low must be at most its high")
        self.low, self.high = (end.astype(np.float64) for end in ends)

    def check(self, network):
        for name, each in (("low", self.low), ("high", self.high)):
            if np.ndim(each):
                _check_each(network, f"Bounds({name}=...)", each)

    def limits(self, network):
        each = (jnp.broadcast_to(jnp.asarray(end, network.dtype), network.synapses.place.shape)
                for end in (self.low, self.high))  # fmt: skip
        return Limits(*(_arranged(network, end) for end in each))


class FixedSynapses(AbstractLimits):
    """Some synapses stay as they are when training begins, exactly. Their companions take the same strength.

    **Arguments:**

    - `fixed`: for each synapse, in the order of the graph, whether it stays. `FixedSynapses.between(graph, pairs)`
      takes names.
    """

    fixed: Array | np.ndarray

    def __init__(self, fixed: Any):
        fixed = np.asarray(fixed)
        if fixed.ndim != 1 or fixed.dtype != bool:
            raise ValueError(
                f"FixedSynapses(fixed=...) is {fixed.dtype} of shape {fixed.shape}; give a row of True and False, one "
                "for each synapse in the order of the graph"
            )
        self.fixed = fixed

    @classmethod
    def between(cls, graph: Graph, pairs: Sequence[tuple[str, str]]) -> "FixedSynapses":
        """The synapses of these pairs (from, to) of names."""
        check_kind("FixedSynapses.between(graph=...)", graph, Graph, "a Graph, such as network.graph")
        ends = zip(graph.source.tolist(), graph.target.tolist(), strict=True)
        number = {(graph.names[i], graph.names[j]): k for k, (i, j) in enumerate(ends)}
        fixed = np.zeros(graph.synapses, bool)
        for source, target in pairs:
            if (source, target) not in number:
                raise ValueError(f"FixedSynapses.between: the graph has no synapse {source} -> {target}")
            fixed[number[source, target]] = True
        return cls(fixed)

    def check(self, network):
        _check_each(network, "FixedSynapses(fixed=...)", self.fixed)

    def limits(self, network):
        kept = _arranged(network, jnp.asarray(self.fixed, network.dtype))
        ends = (jax.tree.map(lambda w, k, end=end: jnp.where(k > 0, w, end).astype(w.dtype), network.weight, kept)
                for end in (-jnp.inf, jnp.inf))  # fmt: skip
        return Limits(*ends)


def check_limits(constraints: Sequence[AbstractLimits], control: AbstractControl | None, network: Network) -> Network:
    """The network with which training begins. Raises `ValueError` for limits that leave a synapse no strength, or that
    exclude zero where a control scales weights towards it."""
    for each in constraints:
        network = each.begin(network)
    found = [each.init(network) for each in constraints]
    sides = [[np.asarray(network.synapses.strengths(side), np.float64) for side in pair] for pair in found]
    low = np.max([pair[0] for pair in sides], axis=0)
    high = np.min([pair[1] for pair in sides], axis=0)
    graph = network.graph
    scaled = control is not None and control.scales
    between = graph.source >= graph.inputs
    for bad, why in (
        (low > high, f"{_named(constraints)} leave it no strength, between {{low:.4g}} and {{high:.4g}}"),
        (scaled & between & ((low > 0) | (high < 0)),
         f"{type(control).__name__} scales weights towards 0, which {_named(constraints)} exclude "
         "({low:.4g} to {high:.4g}): use LeakController, or bounds that include 0"),
    ):  # fmt: skip
        if bad.any():
            k = int(np.argmax(bad))
            ends = graph.names[graph.source[k]], graph.names[graph.target[k]]
            raise ValueError(f"fit: synapse {ends[0]} -> {ends[1]}: {why.format(low=low[k], high=high[k])}")
    return network


def _named(constraints: Sequence[AbstractLimits]) -> str:
    return " and ".join(type(each).__name__ for each in constraints)


def _check_each(network: Network, where: str, values: Any) -> None:
    """One value a synapse; synapses that share a strength have one value."""
    place, values = network.synapses.place, np.asarray(values)
    if values.shape != place.shape:
        raise ValueError(f"{where} has {len(values)} entries; this graph has {len(place)} synapses")
    if network.synapses.shared:
        kept = np.zeros(place.max() + 1, values.dtype)
        kept[place] = values
        if (kept[place] != values).any():
            raise ValueError(f"{where} differs among synapses that share a strength: give them one value")


def _arranged(network: Network, values: Array) -> Weight:
    """One number a synapse in the arrangement of the weights; zero elsewhere."""
    zero = jax.tree.map(lambda w: jnp.zeros(w.shape, values.dtype), network.weight)
    return network.synapses.with_strengths(zero, values)


def _pinched(low: Array, high: Array) -> tuple[Array, Array]:
    """An interval within, from which the rounding of an update does not lead out.

    A strength moves to w + (kept - w). Where the bound is 0 that cannot pass it, as rounding is monotonic.
    """
    eps = 4 * float(jnp.finfo(low.dtype).eps)
    size = jnp.maximum(*(jnp.where(jnp.isfinite(end), jnp.abs(end), 0) for end in (low, high)))
    inner = jnp.where(low == 0, low, low + eps * size), jnp.where(high == 0, high, high - eps * size)
    narrow = inner[0] > inner[1]
    middle = jnp.where(narrow, low + (high - low) / 2, 0)
    return jnp.where(narrow, middle, inner[0]), jnp.where(narrow, middle, inner[1])
