"""Messages to people, who may have gone: what they cannot be told is lost, and nothing else."""

import contextlib
import shlex
import sys
from pathlib import Path
from typing import Any


def say(text: str) -> None:
    """A line on standard error."""
    print(f"direp: {text}", file=Told(sys.stderr))


def quoted(path: Path | str) -> str:
    """A path as it is typed in a shell: in quotes where it has a space, or another character that means something."""
    return shlex.quote(str(path))


class Told:
    """A stream of text whose writing never fails: a closed terminal, a pipe that nobody reads, a full disk."""

    def __init__(self, stream: Any):
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
