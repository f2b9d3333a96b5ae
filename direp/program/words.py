"""Words for people: the library's own fields by the names of rules, and paths as a shell takes them."""

import shlex
from pathlib import Path

_PHASES = {"AsymField": "AsymEP", "AdjointField": "the adjoint"}


def spoken(text: str) -> str:
    """A sentence of a certificate with the rules in place of the fields that they settle."""
    for field, name in _PHASES.items():
        text = text.replace(field, name)
    return text


def quoted(path: str | Path | None) -> str:
    """A path within a command to type."""
    return shlex.quote(str(path))
