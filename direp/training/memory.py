"""Whether a training fits into memory, estimated before it begins."""

from pathlib import Path

import jax
import numpy as np

from ..model import Network
from .step import AT_ONCE

# Estimates on the safe side: batches of states alive at once (settling holds 6 to 7, a rule its phases and their
# differences), and copies of the parameters (best, gradient, update, Adam's two, and the one before).
_STATES, _COPIES = 16, 8


def check_memory(network: Network, seeds: int, size: int, parts: list[int]) -> None:
    """Refuse what cannot fit into memory before the system ends the program for it."""
    free = free_memory()
    if free is None:
        return
    number = network.dtype.itemsize
    fixed = sum(leaf.nbytes for leaf in jax.tree.leaves(network.parameters)) * _COPIES * seeds
    fixed += parts[0] * network.graph.free * number * seeds + sum(parts) * network.graph.inputs * number
    sample = _STATES * network.graph.free * number * seeds
    fixed += min(max(parts), AT_ONCE) * sample  # an evaluation
    needed = fixed + size * sample
    if needed <= free:
        return
    fits = (free - fixed) // sample
    way_out = f"batch_size={2 ** int(np.log2(fits))} would fit" if fits >= 1 else "train fewer seeds at once"
    raise ValueError(
        f"fit: about {needed / 2**30:.3g} GiB are needed for batches of {size} and {seeds} seed(s) of "
        f"{network.graph.synapses:,} synapses, and {free / 2**30:.3g} GiB are free: {way_out}"
    )


def free_memory() -> int | None:
    """Bytes that arrays may still take on the device, as far as it is known."""
    device = jax.devices()[0]
    stats = device.memory_stats() if device.platform != "cpu" else None
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    described = Path("/proc/meminfo")
    if device.platform == "cpu" and described.exists():
        lines = dict(line.split(":", 1) for line in described.read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    return None
