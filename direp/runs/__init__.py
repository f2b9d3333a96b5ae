"""Run folders: files that are whole or not there, sealed by the SHA-256 of their content, and what they hold."""

import importlib
import re
from pathlib import Path
from typing import Any

# Listed once, in the stub, and loaded on first use: `direp --help` does not wait for NumPy.
_HOME = {
    name: module
    for module, name in re.findall(r"^from \.(\S+) import (\w+)", Path(__file__).with_suffix(".pyi").read_text(), re.M)
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'direp.runs' has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
