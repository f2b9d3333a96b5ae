"""The SHA-256 that a file carries of its own content, so that what is read is what was written."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .messages import say


def seal(description: Mapping[str, Any], arrays: Mapping[str, Any] | None = None) -> str:
    """SHA-256 over a description (as JSON knows it), and over the names, types, shapes and bytes of arrays.

    First comes one JSON text, sorted by keys, after its length in eight bytes; it says how many bytes each array has.
    The bytes of the arrays follow, in the order of their names.
    """
    arrays = arrays or {}
    kinds = {name: [str(array.dtype), list(array.shape)] for name, array in arrays.items()}
    text = json.dumps([{**description, "sha256": None}, kinds], sort_keys=True).encode()
    digest = hashlib.sha256(len(text).to_bytes(8, "little") + text)
    for name in sorted(arrays):
        digest.update(arrays[name].tobytes())
    return digest.hexdigest()


def intact(description: Mapping[str, Any], arrays: Mapping[str, Any] | None = None) -> bool:
    """Whether the description's own `sha256` is that of the content."""
    return description["sha256"] == seal(description, arrays)


def tell_unsealed(path: Path, unknown: str = "whether it is as it was written cannot be told") -> None:
    """Say on standard error that a file has no SHA-256, and what is not known therefore."""
    say(f"{path} carries no SHA-256 of its content: {unknown}")
