"""`settle`, the door to the loop."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Num

from ..model import AbstractField, Network
from .checks import check_kind
from .implicit import equilibrium
from .methods import AbstractMethod, choose_method
from .programs import compiled
from .result import Settled
from .stop import AbstractStop, Tolerance


def settle(
    network: Network | AbstractField,
    x: Num[ArrayLike, "batch input"] | None = None,
    *,
    method: AbstractMethod | None = None,
    stop: AbstractStop | None = None,
    state: Num[ArrayLike, "batch free"] | None = None,
) -> Settled:
    """Bring a network with clamped inputs `x` (or a field, such as `Nudged`) to equilibrium.

    Compiled once for every structure and shape and kept, on disk too; works inside `jit`, `vmap` and `grad`.

    `state`, `rate` and `drive` can be differentiated, forward and in reverse, with respect to the inputs, the network's
    parameters and whatever else a field holds: by the implicit function theorem at the equilibrium, not through the
    steps. A sample that has not settled has no such derivative and gives NaN, unless a loss leaves it out. That
    includes samples that a fixed number of steps, `Steps(n)`, does not bring to rest: the derivative through time is
    that of the rule `BPTT`. `residual`, `steps` and `result` count as constant, and so does the starting `state`.

    **Arguments:**

    - `method`: by default `choose_method(network)`.
    - `stop`: by default `Tolerance()`; `Steps(n)` takes a fixed number of steps.
    - `state`: where to start; by default at rest. Start a nudged phase from the free one.

    **Returns:**

    A [`Settled`][direp.Settled]. A sample that does not settle is never an exception and never silent: see its
    `result`.
    """
    x, state = phase("settle", network, x, state)
    method, stop = how_to_settle("settle", network, method, stop)
    return _settle(network, x, state, method, stop)


@compiled
def _settle(network: Network | AbstractField, x: Any, state: Any, method: AbstractMethod, stop: AbstractStop):
    return equilibrium(*begin(network, x, state), method, stop)


def phase(call: str, network: Any, x: Any, state: Any) -> tuple[Any, Any]:
    """The inputs and the start of a phase as arrays, checked; `call` is whose arguments they are."""
    check_kind(f"{call}(network=...)", network, (Network, AbstractField), "a Network, or a field such as direp.Nudged")
    if isinstance(network, AbstractField):
        if state is None:
            raise ValueError(f"{call}(state=...) is missing: a field starts from a given state, e.g. the free phase's")
        return None, on_device(state, network.total_leak.dtype)
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


def how_to_settle(call: str, network: Any, method: Any, stop: Any) -> tuple[AbstractMethod, AbstractStop]:
    """The method and the stop, checked, and chosen where none is given."""
    network = network.network if isinstance(network, AbstractField) else network
    method = choose_method(network) if method is None else method
    stop = Tolerance() if stop is None else stop
    check_kind(f"{call}(method=...)", method, AbstractMethod, "a method object such as direp.Newton()")
    check_kind(f"{call}(stop=...)", stop, AbstractStop, "a stop object such as direp.Tolerance(1e-6)")
    method.check(network)
    return method, stop


def on_device(table: ArrayLike, dtype: Any) -> Any:
    """A table as an array: JAX's stay where they are, to be converted by what is compiled."""
    return table if isinstance(table, jax.Array) else np.asarray(table, dtype)
