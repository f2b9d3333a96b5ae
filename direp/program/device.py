"""How the program runs JAX: on which device, in which precision, with compiled programs that are kept."""

import os
from contextlib import suppress


def configure(*, double: bool, lanes: int = 1, platform: str = "auto") -> None:
    """Set JAX up; to be called before anything is computed.

    - `double`: 64 bits.
    - `lanes`: how many networks are trained side by side. On a CPU they are dealt out to its cores, each a device.
    - `platform`: `cpu`, `gpu` or `tpu`; `auto` takes the best there is. Raises `ValueError` where it is not there.

    Compiled programs are kept, see `keep_programs`.
    """
    import jax

    from ..settling import keep_programs

    jax.config.update("jax_enable_x64", double)
    keep_programs()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if lanes > 1 and cores > 1:
        # Devices share one pool of threads, and each keeps a thread while it waits for a batch of dense systems: with
        # none to spare all would wait for ever. XLA reads this as it begins.
        os.environ.setdefault("PJRT_NPROC", str(2 * cores))
        # Once JAX has begun, the number stays what it was.
        with suppress(RuntimeError):
            jax.config.update("jax_num_cpu_devices", max(k for k in range(1, cores + 1) if lanes % k == 0))
    if platform != "auto":
        try:
            found = jax.devices(platform)
        except RuntimeError:
            raise ValueError(
                f"--device {platform} is not there: JAX has {jax.default_backend()}; leave --device out to use that, "
                f"or install the JAX that has {platform}"
            ) from None
        jax.config.update("jax_default_device", found[0])
