"""Continuous time: an adaptive ODE solver, for trajectories of any field and for settling smooth ones."""

from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Num

from ..model import AbstractField, Network
from .checks import check_number
from .door import begin, phase
from .methods import AbstractMethod
from .programs import compiled, within_trace


def _check_smooth(field: AbstractField) -> None:
    if field.network.neuron.bounded:
        name = type(field.network.neuron).__name__
        raise ValueError(
            f"ODE: the velocity of {name} jumps where a unit reaches a face of its box, where an adaptive solver takes "
            "many tiny steps: use Preconditioned() or Euler(h) to settle it; direp.trajectory shows its path"
        )


def _integrate(
    velocity: Any, args: Any, state: Array, until: Array, saveat: diffrax.SaveAt, rtol: Any, atol: Any, steps: int
):
    # One system for the whole batch. Its error is measured by the largest entry, so every sample keeps the tolerance.
    return diffrax.diffeqsolve(
        diffrax.ODETerm(velocity),
        diffrax.Tsit5(),
        t0=jnp.zeros_like(until),
        t1=until,
        dt0=None,
        y0=state,
        args=args,
        saveat=saveat,
        stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol, norm=lambda y: jnp.abs(y).max()),
        max_steps=steps,
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
        _check_smooth(field)
        leak = field.total_leak.min()
        return self.span / jnp.maximum(leak, 1e-3 * jnp.abs(field.total_leak).max() + jnp.finfo(leak.dtype).tiny)

    def step(self, prepared, memory, field, state, flow):
        fine = state.dtype == jnp.float64
        rtol = (1e-9 if fine else 1e-5) if self.rtol is None else self.rtol
        atol = (1e-11 if fine else 1e-7) if self.atol is None else self.atol
        flow = lambda t, s, field: field.flow(s, field.drive(s))  # noqa: E731
        solution = _integrate(flow, field, state, prepared, diffrax.SaveAt(t1=True), rtol, atol, 4096)
        assert solution.ys is not None
        return solution.ys[-1], None


def trajectory(
    network: Network | AbstractField,
    x: Num[ArrayLike, "batch input"] | None = None,
    times: Num[ArrayLike, " time"] | None = None,
    *,
    state: Num[ArrayLike, "batch free"] | None = None,
    rtol: float = 1e-7,
    atol: float = 1e-9,
) -> Float[Array, "time batch free"]:
    """States at the given times (increasing, from 0 on) of a network with clamped inputs, or of a field.

    A nudged phase is `trajectory(direp.Nudged(...), times=times, state=free.state)`. Computed in 64 bits, by Tsit5 with
    steps as small as the tolerances ask for, in a box too: there a unit stands still while a face holds it back, and
    steps shrink where one reaches a face. Raises `ValueError` where the solver cannot reach the last time.
    """
    x, state = phase("trajectory", network, x, state)
    dtype = network.total_leak.dtype if isinstance(network, AbstractField) else network.dtype
    times = np.asarray([] if times is None else times, np.float64)
    if times.ndim != 1 or not times.size or not np.isfinite(times).all() or (np.diff(times) < 0).any() or times[0] < 0:
        raise ValueError("trajectory(times=...) must be increasing numbers, the first of them 0 or later")
    check_number("trajectory(rtol", rtol, above=0)
    check_number("trajectory(atol", atol, above=0)
    with jax.enable_x64(True):
        network, x, state = jax.tree.map(_double, (network, x, state))
        states, reached = _follow(network, x, state, times, rtol, atol)
    if not within_trace(reached) and not bool(reached):
        raise ValueError(
            "trajectory: the solver did not reach the last time: the states grow without bound, or the tolerances ask "
            "for too many steps"
        )
    return states.astype(dtype)


def _double(leaf: Any) -> Any:
    inexact = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jnp.floating)
    return leaf.astype(jnp.float64) if inexact else leaf


@compiled
def _follow(network: Network | AbstractField, x: Any, state: Any, times: Any, rtol: Any, atol: Any):
    field, start = begin(network, x, state)

    def velocity(t: Array, state: Array, field: AbstractField) -> Array:
        # Within a step a state may leave the box: what moves it is the field at the face.
        inside = field.clip(state)
        return field.velocity(inside, field.drive(inside))

    saveat = diffrax.SaveAt(ts=times)
    solution = _integrate(velocity, field, field.clip(start), times[-1], saveat, rtol, atol, 2**20)
    assert solution.ys is not None
    return field.clip(jnp.asarray(solution.ys)), solution.result == diffrax.RESULTS.successful
