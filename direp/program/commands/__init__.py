"""The commands of the program, one module each, and what they share: exit codes, output, parsing, interrupts."""

import contextlib
import dataclasses
import io
import itertools
import signal
from pathlib import Path
from typing import Any, TypeVar

import tyro

from ..settings import WrongUse

__all__ = [
    "DIVERGED", "INTERNAL", "OK", "REFUTED", "UNDECIDED", "UNREADABLE", "WRONG_USE", "Output", "Stop",
    "fresh_folder", "option", "parse",
]  # fmt: skip

OK, INTERNAL, WRONG_USE, UNREADABLE, DIVERGED, UNDECIDED, REFUTED = range(7)


@dataclasses.dataclass(frozen=True)
class Output:
    out: Path | None = None
    """Folder to write; by default a new one."""
    json: bool = False
    """Print one JSON document and nothing else on standard output."""
    quiet: bool = False
    """No progress and no messages but errors."""
    debug: bool = False
    """Show tracebacks."""


def fresh_folder(out: Path | None, default: Path) -> Path:
    """A new or empty folder; nothing is overwritten."""
    if out is not None:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise WrongUse(f"--out {out} already holds something: name a new folder, nothing is overwritten")
        folder = out
    else:
        choices = [default, *(default.with_name(f"{default.name}-{k}") for k in range(2, 1000))]
        folder = next(choice for choice in choices if not choice.exists())
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WrongUse(
            f"{folder} cannot be made ({error.strerror}): name a folder you may write to, with --out"
        ) from None
    return folder


T = TypeVar("T")


def parse(command: str, kind: type[T], arguments: list[str], default: T) -> T:
    """Options by tyro, its box of several lines condensed to one."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(
                kind, prog=f"direp {command}", args=arguments, default=default, config=(tyro.conf.OmitArgPrefixes,)
            )
    except SystemExit as left:
        if left.code:
            raise WrongUse(_one_line(said.getvalue(), command.split()[0])) from None
        raise


def _one_line(box: str, command: str) -> str:
    """What is wrong and what was perhaps meant, out of tyro's box of several lines."""
    lines = [line.strip(" │╭╮╰╯─") for line in box.splitlines()]
    told = " ".join(itertools.takewhile(bool, lines[1:])) or "the options cannot be understood"
    hint = lines.index("Perhaps you meant:") + 1 if "Perhaps you meant:" in lines else None
    meant = f"; perhaps you meant {lines[hint]}" if hint is not None else ""
    return f"{told}{meant}; direp {command} --help lists all"


def option(arguments: list[str], name: str) -> str | None:
    """The value of an option that decides the defaults of all others, found before they are parsed."""
    for k, argument in enumerate(arguments):
        if argument == name and k + 1 < len(arguments):
            return arguments[k + 1]
        if argument.startswith(name + "="):
            return argument.partition("=")[2]
    return None


class Stop:
    """Turns a request to end into the interrupt that training knows, and remembers which it was."""

    received: int = signal.SIGINT

    @classmethod
    def install(cls) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, cls.handle)

    @staticmethod
    def ignore() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)

    @classmethod
    def handle(cls, number: int, frame: Any) -> None:
        cls.received = number
        raise KeyboardInterrupt
