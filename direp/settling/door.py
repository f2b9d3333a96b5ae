"""`settle`, the door to the loop."""

from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike
from jaxtyping import Array, Num

from ..model import AbstractField, Network
from .checks import check_kind
from .implicit import equilibrium
from .methods import AbstractMethod, Fallback, choose_method
from .programs import compiled, within_trace
from .result import CYCLING, MAX_STEPS, NON_FINITE, Settled
from .stability import repels
from .stop import AbstractStop, Tolerance


@runtime_checkable
class ContractionProof(Protocol):
    """A proof that a network contracts, such as a `Certificate`: what settling asks of it."""

    def check_network(self, network: Network) -> None:
        """Raise `ValueError` for another network; of what JAX traces the numbers are not known and may be any."""
        ...

    def method(self, chosen: AbstractMethod) -> AbstractMethod:
        """How to settle, given what its graph and size suggest. Raises `ValueError` if nothing is proved."""
        ...

    def stop(self, stop: AbstractStop) -> AbstractStop:
        """When a sample is done, given what was asked for: a slow network needs a finer tolerance for a response."""
        ...

    def error(self, field: AbstractField, state: np.ndarray) -> np.ndarray | None:
        """A bound of every unit's distance from its equilibrium, where the phase is covered."""
        ...


def settle(
    network: Network | AbstractField,
    x: Num[ArrayLike, "batch input"] | None = None,
    *,
    method: AbstractMethod | None = None,
    stop: AbstractStop | None = None,
    state: Num[ArrayLike, "batch free"] | None = None,
    certificate: ContractionProof | None = None,
) -> Settled:
    """Bring a network with clamped inputs `x` (or a field, such as `Nudged`) to equilibrium.

    Compiled once for every structure and shape and kept, on disk too; works inside `jit`, `vmap` and `grad`.

    `state`, `rate` and `drive` can be differentiated, forward and in reverse, with respect to the inputs, the network's
    parameters and whatever else a field holds: by the implicit function theorem at the equilibrium, not through the
    steps. A sample that has not settled has no such derivative and gives NaN, unless a loss leaves it out. That
    includes samples that a fixed number of steps, `Steps(n)`, does not bring to rest: the derivative through time is
    that of the rule `BPTT`. `residual`, `steps` and `result` count as constant, and so does the starting `state`.

    **Arguments:**

    - `method`: by default `choose_method(network)`, and `Implicit` for the samples that it leaves unsettled
      (up to 256 units, if `stop` allows 500 steps or more, and not where JAX traces the call).
    - `stop`: by default `Tolerance()`; `Steps(n)` takes a fixed number of steps.
    - `state`: where to start; by default at rest. Start a nudged phase from the free one.
    - `certificate`: that of this network, `certify(network, ...)`, with the phase of a field covered. Its norm chooses
      the steps, and `Settled.error` bounds how far every unit is from its equilibrium. Where JAX traces the call, it
      chooses steps and tolerance all the same, and `error` is `None`: a bound needs the numbers. Another network is
      refused; of one that is traced, another graph, neuron, layout or precision.

    **Returns:**

    A [`Settled`][direp.Settled]. A sample that does not settle is never an exception and never silent: see its
    `result`.
    """
    x, state = phase("settle", network, x, state)
    chosen, stop = how_to_settle("settle", network, method, stop, certificate)
    settled = _settle(network, x, state, chosen, stop)
    if method is None and (persistent := persist(network, chosen, stop, settled.result)) is not None:
        again = _settle(network, x, state, persistent, stop)
        settled = unless_it_repels(network, x, settled, again)
    if certificate is None:
        return settled
    return eqx.tree_at(lambda s: s.error, settled, error_bar(certificate, network, x, settled), is_leaf=_is_none)


def _is_none(leaf: Any) -> bool:
    return leaf is None


def error_bar(certificate: ContractionProof, network: Network | AbstractField, x: Any, settled: Settled) -> Any:
    """The bound of a phase (an array, or `None`), where its numbers are known."""
    if within_trace(network, x, settled):
        return None
    field = network if isinstance(network, AbstractField) else network.field(jnp.asarray(x, network.dtype))
    return certificate.error(field, np.asarray(settled.state))


def unless_it_repels(network: Network | AbstractField, x: Any, first: Settled, second: Settled) -> Settled:
    """On the host: the second try, but the first one's samples for which the second has found an equilibrium that
    repels."""
    rows = np.flatnonzero(~np.asarray(first.converged) & np.asarray(second.converged))
    if not len(rows):
        return second
    field = network if isinstance(network, AbstractField) else network.field(jnp.asarray(x, network.dtype))
    wrong = rows[repels(field.take(jnp.asarray(rows)), second.state[rows])]
    return jax.tree.map(lambda a, b: b.at[wrong].set(a[wrong]) if len(wrong) else b, first, second)


_DENSE = 256  # free units up to which dense systems of stragglers are solved unasked,
_LEAST = 500  # and what a limit of steps must allow for that


def persist(network: Network | AbstractField, method: AbstractMethod, stop: AbstractStop, result: Any) -> Any:
    """The method for a second try where a first one has left samples unsettled; `None` if there is no need."""
    if isinstance(result, Tracer) or not stop.early or stop.max_steps < _LEAST or isinstance(method, Fallback):
        return None
    unsettled = np.isin(np.asarray(result), (MAX_STEPS, NON_FINITE, CYCLING))
    graph = (network.network if isinstance(network, AbstractField) else network).graph
    return Fallback(method, patience=stop.max_steps) if unsettled.any() and graph.free <= _DENSE else None


@compiled
def _settle(network: Network | AbstractField, x: Any, state: Any, method: AbstractMethod, stop: AbstractStop):
    return equilibrium(*begin(network, x, state), method, stop)


def phase(call: str, network: Any, x: Any, state: Any) -> tuple[Any, Any]:
    """The inputs and the start of a phase as arrays, checked; `call` is whose arguments they are."""
    check_kind(f"{call}(network=...)", network, (Network, AbstractField), "a Network, or a field such as direp.Nudged")
    if isinstance(network, AbstractField):
        if state is None:
            raise ValueError(f"{call}(state=...) is missing: a field starts from a given state, e.g. the free phase's")
        state, free = on_device(state, network.total_leak.dtype), network.network.graph.free
        if state.ndim != 2 or state.shape[1] != free:
            raise ValueError(f"{call}(state=...) has shape {state.shape}; needed is a row of {free} for every sample")
        return None, state
    if x is None:
        raise ValueError(f"{call}(x=...) is missing: give the clamped inputs, one row for every sample")
    x = on_device(x, network.dtype)
    state = None if state is None else on_device(state, network.dtype)
    if state is not None and x.ndim == 2 and state.shape != (len(x), network.graph.free):
        raise ValueError(f"{call}(state=...) has shape {state.shape}; needed is ({len(x)}, {network.graph.free})")
    return x, state


def begin(network: Network | AbstractField, x: Any, state: Any) -> tuple[AbstractField, Array]:
    """The field of a phase and where it starts."""
    if isinstance(network, AbstractField):
        return network, jnp.asarray(state, network.total_leak.dtype)
    field = network.field(jnp.asarray(x, network.dtype))
    return field, network.rest(len(x)) if state is None else jnp.asarray(state, network.dtype)


def how_to_settle(
    call: str, network: Any, method: Any, stop: Any, certificate: Any = None
) -> tuple[AbstractMethod, AbstractStop]:
    """The method and the stop, checked, and chosen where none is given."""
    network = network.network if isinstance(network, AbstractField) else network
    if certificate is not None:
        check_kind(f"{call}(certificate=...)", certificate, ContractionProof, "what certify returns, or nothing")
        certificate.check_network(network)
    given, method = method, choose_method(network) if method is None else method
    check_kind(f"{call}(method=...)", method, AbstractMethod, "a method object such as direp.Newton()")
    if certificate is not None:
        advised = certificate.method(method)
        method = advised if given is None else method
    stop = Tolerance() if stop is None else stop
    check_kind(f"{call}(stop=...)", stop, AbstractStop, "a stop object such as direp.Tolerance(1e-6)")
    method.check(network)
    return method, stop if certificate is None else certificate.stop(stop)


def on_device(table: ArrayLike, dtype: Any) -> Any:
    """A table as an array: JAX's stay where they are, to be converted by what is compiled."""
    return table if isinstance(table, jax.Array) else np.asarray(table, dtype)
