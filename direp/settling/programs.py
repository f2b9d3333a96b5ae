"""Programs that are compiled once and kept: across calls, across equal objects, and on disk across processes."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from ..model import Network

Function = TypeVar("Function", bound=Callable)


def compiled(function: Function) -> Function:
    """`function`, compiled at its first call for every structure and shape of its arguments.

    Arrays are traced, and so are the Python floats of methods, stops, rules and nudges: another value is no other
    program. Everything else in the arguments must be hashable.
    """
    program = eqx.filter_jit(function)

    @functools.wraps(function)
    def call(*arguments: Any, **settings: Any) -> Any:
        keep_programs()
        # Some devices multiply with fewer bits than they store, where a tolerance and an error bar count on all.
        with jax.default_matmul_precision("highest"):
            return program(*_arrays(arguments), **_arrays(settings))

    return call  # pyright: ignore[reportReturnType]


def _arrays(tree: Any) -> Any:
    """Python floats as arrays that are weakly typed, as Python floats are; networks as they are."""
    return jax.tree.map(
        lambda leaf: jnp.asarray(leaf) if type(leaf) is float else leaf, tree, is_leaf=lambda n: isinstance(n, Network)
    )


def traced(tree: Any, dtype: Any) -> Any:
    """Python floats as arrays of a precision: another value of a hyper-parameter needs no other program."""
    return jax.tree.map(lambda leaf: np.asarray(leaf, dtype) if isinstance(leaf, float) else leaf, tree)


@functools.cache
def keep_programs() -> None:
    """Keep compiled programs in the user's cache folder, for the next process.

    Called by whatever compiles, at its first call. Does nothing where JAX has a folder already
    (`JAX_COMPILATION_CACHE_DIR` or `jax.config`), where the folder cannot be written, or with `DIREP_CACHE=0` or `off`.
    """
    configured = "JAX_COMPILATION_CACHE_DIR" in os.environ or jax.config.jax_compilation_cache_dir  # pyright: ignore
    if configured or os.environ.get("DIREP_CACHE", "").lower() in ("0", "off"):
        return
    import pooch
    from jax.experimental.compilation_cache import compilation_cache

    folder = Path(pooch.os_cache("direp")) / "compiled"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    if not os.access(folder, os.W_OK):
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    compilation_cache.reset_cache()  # JAX looks for a folder once, when it first compiles


def within_trace(*trees: Any) -> bool:
    """Whether JAX is tracing: some leaf is a tracer, or whatever is made now would be one."""
    leaves = [*jax.tree.leaves(trees), jnp.zeros(())]
    return any(isinstance(leaf, Tracer) for leaf in leaves)
