"""Directed equilibrium propagation: leaky recurrent networks on any directed graph, that settle and learn locally.

The names stand in the order of the data flow: task, graph, network, settle, nudge, rule, update, run.
"""

import importlib
import re
from pathlib import Path
from typing import Any

# They are listed once, in the stub that type checkers and editors read.
_HOME = {
    name: room
    for room, name in re.findall(r"^from \.(\S*) import (\w+)", Path(__file__).with_suffix(".pyi").read_text(), re.M)
}

__all__ = [*_HOME]  # pyright: ignore[reportUnsupportedDunderAll]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Names load on first use, so that `direp --help` does not wait for JAX."""
    if name not in _HOME:
        raise AttributeError(f"module 'direp' has no attribute {name!r}")
    if not _HOME[name]:
        return importlib.import_module(f".{name}", __name__)
    value = getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
