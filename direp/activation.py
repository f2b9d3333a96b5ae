"""Activation functions that carry what the certificates need: their range and the bounds of their slope."""

import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class Activation(eqx.Module):
    r"""A function $\rho$ applied unit by unit, with its range and slope bounds $d_1\le\rho'\le d_2$.

    **Arguments:**

    - `name`: what messages and files call it.
    - `fn`: $\rho$, from an array to an array of the same shape; made of JAX operations.
    - `range`: the interval that holds every value of $\rho$ (`-inf` and `inf` allowed).
    - `slope`: $(d_1, d_2)$, or `None` if unknown. Without it nothing can be certified.
    """

    name: str = eqx.field(static=True)
    fn: Callable[[Array], Array] = eqx.field(static=True)
    range: tuple[float, float] = eqx.field(static=True)
    slope: tuple[float, float] | None = eqx.field(static=True)

    def __check_init__(self):
        for what, bounds in (("range", self.range), ("slope", self.slope)):
            if bounds is not None and not bounds[0] <= bounds[1]:
                raise ValueError(f"Activation({what}={bounds}) must be (lower, upper) with lower <= upper")

    def __call__(self, s: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        return self.fn(s)

    def derivative(self, s: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        r"""$\rho'(s)$, unit by unit."""
        return jax.jvp(self.fn, (s,), (jnp.ones_like(s),))[1]

    @property
    def gain(self) -> float:
        r"""$\max(|d_1|,|d_2|)$, the largest factor by which $\rho$ can stretch; infinite if unknown."""
        return math.inf if self.slope is None else max(abs(self.slope[0]), abs(self.slope[1]))


identity = Activation("identity", lambda s: s, (-math.inf, math.inf), (1.0, 1.0))
hard_sigmoid = Activation("hard-sigmoid", lambda s: jnp.clip(s, 0, 1), (0.0, 1.0), (0.0, 1.0))
sigmoid = Activation("sigmoid", jax.nn.sigmoid, (0.0, 1.0), (0.0, 0.25))
tanh = Activation("tanh", jnp.tanh, (-1.0, 1.0), (0.0, 1.0))
relu = Activation("relu", jax.nn.relu, (0.0, math.inf), (0.0, 1.0))
softplus = Activation("softplus", jax.nn.softplus, (0.0, math.inf), (0.0, 1.0))
