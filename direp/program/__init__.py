"""The program `direp`: settings and presets, run folders, figures, commands."""

import importlib
import re
from pathlib import Path
from typing import Any

# What the estimators share with the program, listed once, in the stub. Nothing loads before it is used, so that
# `direp --help` does not wait for JAX.
_HOME = {
    name: module
    for module, name in re.findall(r"^from \.(\S+) import (\w+)", Path(__file__).with_suffix(".pyi").read_text(), re.M)
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'direp.program' has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
