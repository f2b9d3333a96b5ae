"""How the program runs JAX: precision, compiled programs that are kept, cores as devices."""

import os
from contextlib import suppress
from pathlib import Path

__all__ = ["start"]


def start(*, double: bool, lanes: int = 1) -> None:
    """Set JAX up; to be called before anything is computed.

    - `double`: 64 bits.
    - `lanes`: how many networks are trained side by side. On a CPU they are dealt out to its cores, each a device.

    Compiled programs are kept in the user's cache, or where `JAX_COMPILATION_CACHE_DIR` says.
    """
    import jax
    import pooch

    jax.config.update("jax_enable_x64", double)
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(Path(pooch.os_cache("direp")) / "compiled"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if lanes > 1 and cores > 1:
        with_room = max(k for k in range(1, cores + 1) if lanes % k == 0)
        # Once JAX has begun, the number stays what it was.
        with suppress(RuntimeError):
            jax.config.update("jax_num_cpu_devices", with_room)
