r"""How far a state can be from the equilibrium: $\lVert s-s^*\rVert\le\lVert F(s)-n(s)\rVert/c$ in the certified norm.

$F-n$ is the projected field, zero at units that a face holds. It is evaluated in 64 bits from the numbers as stored,
and a bound on the rounding of that evaluation is added, so the bar holds for the equilibrium in exact arithmetic.
"""

import copy
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...model import AbstractField, AbstractNeuron, Network, NetworkField
from ...rules import Nudged
from .norm import AbstractNorm

_EPS = float(np.finfo(np.float64).eps)


def error_bar(norm: AbstractNorm, rate: float, field: AbstractField, state: np.ndarray) -> np.ndarray:
    """A bound of |s - s*| of every unit (batch x free), for a network's own field or a nudged one that contracts at
    `rate` in `norm`."""
    bar = reach_of(norm, rate, *speeds(field, state))
    network: Any = field.network
    neuron = _as_cast(network.neuron, network.dtype)
    if neuron.low is None or neuron.high is None:
        return bar
    # Nor is an equilibrium outside the box.
    inside = np.maximum(np.asarray(state, np.float64) - neuron.low, neuron.high - np.asarray(state, np.float64))
    return np.minimum(bar, np.nextafter(inside, np.inf))


def speeds(field: AbstractField, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The projected field at states (batch x free), and a bound on its rounding."""
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"), jax.default_matmul_precision("highest"):
        return _velocity(_double(field), jnp.asarray(np.asarray(state, np.float64), jnp.float64))


def reach_of(norm: AbstractNorm, rate: Any, speed: np.ndarray, doubt: np.ndarray) -> np.ndarray:
    """How far an equilibrium can be from states with these fields, in every unit; `rate` is one for all or for each."""
    length = norm.upper(speed, doubt) / rate * (1 + 8 * _EPS)
    bar = length[:, None] * norm.entries
    return np.where(np.isfinite(bar), bar, np.inf)


def _double(field: AbstractField) -> Any:
    """The same field in 64 bits, from the numbers as stored."""
    if isinstance(field, Nudged):
        y, beta = (jnp.asarray(np.asarray(leaf, np.float64), jnp.float64) for leaf in (field.y, field.beta))
        return Nudged(_double(field.base), field.cost, y, beta)
    assert isinstance(field, NetworkField)
    network: Network = field.network
    whole: Any = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf, np.float64), jnp.float64), network)
    object.__setattr__(whole, "neuron", _as_cast(network.neuron, network.dtype))
    return whole.field(jnp.asarray(np.asarray(field.x, np.float64), jnp.float64))


def _as_cast(neuron: AbstractNeuron, dtype: Any) -> AbstractNeuron:
    """The neuron with the faces of its box as they are in a precision."""
    if neuron.low is None or neuron.high is None:
        return neuron
    cast = copy.copy(neuron)
    for name in ("low", "high"):
        object.__setattr__(cast, name, float(np.asarray(getattr(neuron, name), dtype)))
    return cast


def _velocity(field: Any, state: Any) -> tuple[np.ndarray, np.ndarray]:
    """The projected field at a state, and a bound on its rounding."""
    network: Network = field.network
    synapses, neuron = network.synapses, network.neuron
    base: Any = field.base if isinstance(field, Nudged) else field
    drive = field.drive(state)
    flow = field.flow(state, drive)
    size = jax.tree.map(jnp.abs, network.weight)
    terms = synapses.drive(size, jnp.abs(field.rate(state))) + synapses.input_drive(size, jnp.abs(base.x))
    terms = terms + jnp.abs(network.bias)
    if isinstance(field, Nudged):
        parts = field.cost.sizes(network.outputs(state), field.y)
        assert parts is not None
        terms = terms + jnp.abs(field.beta) * jnp.pad(parts, ((0, 0), (network.graph.hidden, 0)))
    leak = network.leak + synapses.outgoing(network.weight, jnp.abs)
    passed = jnp.abs(flow + field.total_leak * state)
    doubt = neuron.transfer.gain * terms + passed + leak * jnp.abs(state)
    doubt = 4 * (network.graph.units + 16) * _EPS * doubt + 1e-300
    flow, doubt, state = (np.asarray(part, np.float64) for part in (flow, doubt, state))
    if neuron.low is None or neuron.high is None:
        return flow, doubt
    # What a face holds: towards the inside alone may its unit move.
    below, above = np.maximum(flow + doubt, 0), np.maximum(doubt - flow, 0)
    speed = np.where(state <= neuron.low, below, np.where(state >= neuron.high, above, np.abs(flow) + doubt))
    return speed, np.zeros_like(speed)
