"""Continuous time: an adaptive ODE solver, for trajectories and for settling smooth fields."""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Num

from ..model import AbstractField, Network
from .methods import AbstractMethod

__all__ = ["ODE", "trajectory"]


def _check_smooth(field: AbstractField, who: str) -> None:
    if field.network.neuron.bounded:
        name = type(field.network.neuron).__name__
        raise ValueError(
            f"{who}: the field of {name} jumps at the faces of its box, which an adaptive solver cannot follow; use "
            "Euler(h) for its trajectories and Preconditioned() to settle it, or Hopfield or Rate neurons"
        )


def _integrate(field: AbstractField, state: Array, until: Array, saveat: diffrax.SaveAt, rtol: Any, atol: Any):
    # One system for the whole batch. Its error is measured by the largest entry, so every sample keeps the tolerance.
    return diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, s, args: field.flow(s, field.drive(s))),
        diffrax.Tsit5(),
        t0=jnp.zeros_like(until),
        t1=until,
        dt0=None,
        y0=state,
        saveat=saveat,
        stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol, norm=lambda y: jnp.abs(y).max()),
        max_steps=4096,
        throw=False,
    )


class ODE(AbstractMethod):
    r"""Follow $\dot s=F(s)$ itself: every step integrates over `span` slowest leak times, with adaptive accuracy.

    For `Hopfield` and `Rate`. Slower than `Preconditioned`, and the one to use if the path matters: where several
    equilibria exist, it finds the one that the dynamics would. Its accuracy must be finer than the residual asked for;
    by default `rtol` and `atol` are 1e-9 and 1e-11 in 64 bits, 1e-5 and 1e-7 in 32.
    """

    span: float | Array = 2.0
    rtol: float | Array | None = None
    atol: float | Array | None = None

    def prepare(self, field):
        _check_smooth(field, "ODE")
        leak = field.total_leak.min()
        return self.span / jnp.maximum(leak, 1e-3 * jnp.abs(field.total_leak).max() + jnp.finfo(leak.dtype).tiny)

    def step(self, prepared, memory, field, state, flow):
        fine = state.dtype == jnp.float64
        rtol = (1e-9 if fine else 1e-5) if self.rtol is None else self.rtol
        atol = (1e-11 if fine else 1e-7) if self.atol is None else self.atol
        solution = _integrate(field, state, prepared, diffrax.SaveAt(t1=True), rtol, atol)
        assert solution.ys is not None
        return solution.ys[-1], None


def trajectory(
    network: Network,
    x: Num[ArrayLike, "batch input"],
    times: Num[ArrayLike, " time"],
    *,
    state: Num[ArrayLike, "batch free"] | None = None,
    rtol: float = 1e-7,
    atol: float = 1e-9,
) -> Float[Array, "time batch free"]:
    """States of a network with clamped inputs at the given times (increasing, from 0 on), by Tsit5.

    For `Hopfield` and `Rate` neurons. Raises `ValueError` for `Projected`, whose field is not smooth, and where the
    solver cannot reach the last time.
    """
    times = jnp.asarray(times, network.dtype)
    if times.ndim != 1 or (np.diff(np.asarray(times)) < 0).any() or float(times[0]) < 0:
        raise ValueError("trajectory(times=...) must be increasing and start at 0 or later")
    x = jnp.asarray(x, network.dtype)
    field = network.field(x)
    _check_smooth(field, "trajectory")
    start = network.rest(x.shape[0]) if state is None else jnp.asarray(state, network.dtype)
    solution = eqx.filter_jit(_integrate)(field, start, times[-1], diffrax.SaveAt(ts=times), rtol, atol)
    if not bool(jax.device_get(solution.result == diffrax.RESULTS.successful)):
        raise ValueError(
            "trajectory: the solver did not reach the last time; the states grow without bound or too stiff"
        )
    assert solution.ys is not None
    return solution.ys
