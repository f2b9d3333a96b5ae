"""The laws of a cost and of a nudge."""

import contextlib

import flint
import jax
import jax.numpy as jnp
import numpy as np

from ..arithmetic import exact, placed, precise
from ..rules import AbstractCost, AbstractNudge
from .example import close, holds, in_64_bits


@in_64_bits
def check_cost(cost: AbstractCost, outputs: int = 3) -> None:
    """The gradient is that of the value; the curvature bounds the Hessian; and where the cost has an enclosure, that
    holds gradient and Hessian, and its bound on what a nudge does to a log-norm holds.

    Raises `AssertionError`.
    """
    rng = np.random.default_rng(0)
    rate, y = rng.random((20, outputs)), rng.random((20, outputs))
    y /= y.sum(1, keepdims=True)
    own = jax.jit(jax.vmap(jax.grad(lambda r, y: cost.value(r, y))))(placed(rate), placed(y))
    close(cost.gradient(placed(rate), placed(y)), own, "the gradient is not the derivative of the value")
    hessian = np.asarray(jax.jit(jax.vmap(jax.hessian(lambda r, y: cost.value(r, y))))(placed(rate), placed(y)))
    largest = np.abs(np.diagonal(hessian, axis1=1, axis2=2)).max()
    holds(largest <= cost.curvature * (1 + 1e-9), f"curvature is {cost.curvature}, but the Hessian has {largest:.4g}")
    with precise(), contextlib.suppress(NotImplementedError):  # no enclosure: proofs refuse the cost by name
        for k in range(3):
            gradient, matrix = cost.enclose(exact(rate[k]), y[k])
            for what, balls, numbers, tolerance in (
                ("gradient", gradient, own[k], 1e-9), ("Hessian", matrix, hessian[k], 1e-7)
            ):  # fmt: skip
                for ball, number in zip(np.ravel(balls), np.ravel(numbers), strict=True):
                    far = abs(float(flint.arb(ball).mid()) - number)
                    holds(far <= tolerance * (1 + abs(number)), f"the enclosed {what} is another")
    for beta in (-0.7, 0.4):
        for slope in ((0.0, 1.0), (0.2, 0.9)):
            bound = np.asarray(cost.feedback(beta, slope, np.ones(outputs)))
            for square in hessian:
                added = -beta * square * rng.uniform(*slope, outputs)
                diagonal = np.diagonal(added)
                log_norm = diagonal + np.abs(added).sum(0) - np.abs(diagonal)
                holds((log_norm <= bound + 1e-9).all(), f"feedback(beta={beta}) is {bound}, below {log_norm}")


@in_64_bits
def check_nudge(nudge: AbstractNudge, cost: AbstractCost | None = None) -> None:
    r"""The difference of its phases recovers the slope of anything that is linear in $\beta$.

    Raises `AssertionError`.
    """
    now = nudge.now(3, jax.random.key(0))
    strengths = [float(beta) for beta in now.strengths]
    holds(all(np.isfinite(beta) and beta != 0 for beta in strengths), f"strengths {strengths} must be finite and not 0")
    allowed = {float(beta) for beta in nudge.strengths}
    inside = all(min(allowed) - 1e-6 <= beta <= max(allowed) + 1e-6 for beta in strengths)
    holds(inside, f"the phases run at {strengths}, and strengths promises {sorted(allowed)}")
    free, slope = jnp.linspace(-1, 1, 5), jnp.linspace(2, 3, 5)
    phases = [free + beta * slope for beta in strengths]
    close(now.difference(free, phases), slope, "the difference of the phases is not the slope in beta")
