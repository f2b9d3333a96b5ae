"""Numbers that are known, on the host: JAX compiles each of its operations for every shape, and NumPy none.

For what only moves numbers, and for single sums and products, whose results are those of JAX (and as silent about
what overflows with `np.errstate(all="ignore")`).
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array


def space(*trees: Any) -> Any:
    """NumPy where all numbers are known, JAX's where some are traced."""
    return jnp if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(trees)) else np


def opened(*trees: Any) -> tuple[Any, ...]:
    """`space` of some trees, and these with its arrays."""
    xp = space(trees)
    return xp, *jax.tree.map(xp.asarray, trees)


def placed(numbers: Any) -> Array:
    """An array of NumPy as one of JAX, for which `jnp.asarray` would compile a program."""
    return jax.device_put(numbers) if isinstance(numbers, (np.ndarray, np.generic)) else numbers


def put(into: Any, at: Any, values: Any) -> Any:
    """The array `into` with other values at some places."""
    if not isinstance(into, np.ndarray):
        return into.at[at].set(values)
    full = into.copy()
    full[at] = values
    return full
