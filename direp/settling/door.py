"""`settle`, the door to the loop."""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Num

from ..model import AbstractField, Network
from .loop import run
from .methods import AbstractMethod, choose_method
from .result import Settled
from .stop import AbstractStop, Tolerance

__all__ = ["settle"]


def settle(
    network: Network | AbstractField,
    x: Num[ArrayLike, "batch input"] | None = None,
    *,
    method: AbstractMethod | None = None,
    stop: AbstractStop | None = None,
    state: Num[ArrayLike, "batch free"] | None = None,
) -> Settled:
    """Bring a network with clamped inputs `x` (or a field, such as `Nudged`) to equilibrium.

    **Arguments:**

    - `method`: by default what `choose_method(network)` says.
    - `stop`: by default `Tolerance()`; `Steps(n)` takes a fixed number of steps.
    - `state`: where to start; by default at rest. Start a nudged phase from the free one.

    **Returns:**

    A [`Settled`][direp.Settled]. A sample that does not settle is never an exception and never silent: see its
    `result`.
    """
    if isinstance(network, Network):
        if x is None:
            raise ValueError("settle(x=...) is missing: give the clamped inputs, one row for every sample")
        x = jnp.asarray(x, network.dtype)
        field = network.field(x)
        batch = x.shape[0]
        start = network.rest(batch) if state is None else jnp.asarray(state, network.dtype)
        if start.shape != (batch, network.graph.free):
            raise ValueError(f"settle(state=...) has shape {start.shape}; needed is ({batch}, {network.graph.free})")
    elif state is None:
        raise ValueError("settle(state=...) is missing: a field starts from a given state, e.g. the free phase's")
    else:
        field, start = network, jnp.asarray(state)
    method = choose_method(field.network) if method is None else method
    method.check(field.network)
    settled, _ = run(field, start, method, stop or Tolerance(), observer=None, observed=None)
    return settled
