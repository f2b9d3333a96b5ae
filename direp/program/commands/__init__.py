"""The commands of the program, one module each, and what they share: exit codes, output, parsing, progress, ends."""

import contextlib
import dataclasses
import io
import itertools
import re
import signal
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar

import tyro

from ...runs import Requests
from ..catalogue import flag
from ..settings import Settings, WrongUse

__all__ = [
    "COMMANDS", "DIVERGED", "INTERNAL", "OK", "REFUTED", "UNDECIDED", "UNREADABLE", "WRONG_USE", "Output", "Stop",
    "first", "option", "parse", "progress", "typed", "worst",
]  # fmt: skip

OK, INTERNAL, WRONG_USE, UNREADABLE, DIVERGED, UNDECIDED, REFUTED = range(7)

COMMANDS = {
    "train": ("TASK", "train on a task, show progress, write a run folder"),
    "resume": ("RUN", "go on with a run that was ended, or train it for longer"),
    "certify": ("PATH", "does it settle? proof, counter-example or what is missing, for a run folder, a network file "
                        "or a matrix with leaks"),
    "gradient": ("RUN", "gradient estimates against the exact gradient, rule by rule"),
    "doctor": ("RUN", "what is wrong with a run and what to try: causes with what was measured"),
    "predict": ("RUN FILE", "what a trained network says of new rows: answers, probabilities, settled or not"),
    "export": ("RUN FILE", "the network as a netlist of SPICE, a graph of NIR, GraphML or CSV"),
    "dies": ("RUN", "how a trained network does on dies whose devices are off, coarse, drifting or noisy"),
    "report": ("RUN [RUN ...]", "runs explained in one page, their networks to settle and nudge in it"),
    "plot": ("RUN [RUN ...]", "learning curves of several runs side by side"),
    "compare": ("TASK", "rules trained side by side on the same seeds, with intervals"),
    "reproduce": ("NAME", "published results trained again: tables, figures, and a text that says what is whose"),
    "sweep": ("SPEC", "many trials by grid, at random or by search: trains what is missing, here or on a cluster"),
    "bench": ("", "how fast this machine settles and trains"),
}  # fmt: skip

VERDICTS = ("refuted", "undecided", "proved")  # the worst one first


@dataclasses.dataclass(frozen=True)
class Output:
    out: Path | None = None
    """Folder to write; by default a new one."""
    format: tuple[Literal["png", "svg", "pdf"], ...] = ("png",)
    """How figures are written: png, svg, pdf, or several of them."""
    json: bool = False
    """Print one JSON document and nothing else on standard output."""
    quiet: bool = False
    """No progress and no messages but errors."""
    debug: bool = False
    """Show tracebacks."""


T = TypeVar("T")


def first(command: str, arguments: list[str], needed: str) -> tuple[str | None, list[str]]:
    """The argument before all options, and the others. `None` where help is asked for without it."""
    if arguments and not arguments[0].startswith("-"):
        return arguments[0], arguments[1:]
    if not {"-h", "--help"} & set(arguments):
        raise WrongUse(f"{command} needs {needed}")
    return None, arguments


def parse(command: str, kind: type[T], arguments: list[str], default: T) -> T:
    """Options by tyro, its box of several lines condensed to one."""
    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            return tyro.cli(
                kind, prog=f"direp {command}", args=_prepared(arguments), default=default,
                config=(tyro.conf.OmitArgPrefixes,),
            )  # fmt: skip
    except SystemExit as left:
        if left.code:
            raise WrongUse(_one_line(box.getvalue(), command.split()[0], arguments)) from None
        raise


def _prepared(arguments: list[str]) -> list[str]:
    """`none` for a number that may be left out, in the spelling of tyro; and no option twice, of which one is lost."""
    hints = typing.get_type_hints(Settings)
    optional = {flag(name) for name, kind in hints.items() if type(None) in typing.get_args(kind)}
    prepared: list[str] = []
    seen: set[str] = set()
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if argument.startswith("--"):
            if name.replace("_", "-") in seen:
                raise WrongUse(f"{name} is given twice: give it once, with all its values, such as --hidden 64 32")
            seen.add(name.replace("_", "-"))
            if name in optional and value.lower() == "none":
                argument = f"{name}{equals}None"
        elif argument.lower() == "none" and prepared and prepared[-1] in optional:
            argument = "None"
        prepared.append(argument)
    return prepared


def _one_line(box: str, command: str, arguments: list[str]) -> str:
    """What is wrong and what was perhaps meant, out of tyro's box of several lines."""
    stripped = (line.strip(" │╭╮╰╯─") for line in box.splitlines())
    lines = ["" if set(line) == {"-"} else line for line in stripped]  # where there is no UTF-8
    text = itertools.dropwhile(lambda line: not line, lines[1:])
    wrong = " ".join(itertools.takewhile(bool, text)) or "the options cannot be understood"
    if unread := re.match("Error parsing (--[a-z-]+): ", wrong):
        given = " ".join(values(arguments, unread[1])) or option(arguments, unread[1])
        needed = "a whole number" if re.search(r"INT|int\(\)", wrong) else "a number"
        wrong = f"{unread[1]} {given} cannot be read: needed is {needed}"
    hint = lines.index("Perhaps you meant:") + 1 if "Perhaps you meant:" in lines else None
    meant = f"; perhaps you meant {lines[hint]}" if hint is not None else ""
    return f"{wrong.rstrip('.')}{meant}; direp {command} --help lists all"


def option(arguments: list[str], name: str) -> str | None:
    """The value of an option that decides the defaults of all others, found before they are parsed."""
    for k, argument in enumerate(arguments):
        if argument == name and k + 1 < len(arguments):
            return arguments[k + 1]
        if argument.startswith(name + "="):
            return argument.partition("=")[2]
    return None


def values(arguments: list[str], name: str) -> list[str]:
    """All values of an option that takes several, as they were typed."""
    for k, argument in enumerate(arguments):
        if argument == name:
            return list(itertools.takewhile(lambda value: not value.startswith("--"), arguments[k + 1 :]))
    return []


def typed(arguments: list[str], setting: str) -> bool:
    """Whether the user typed the option of a setting."""
    return any(argument.partition("=")[0] in ("--" + setting, flag(setting)) for argument in arguments)


def worst(found: list[T], verdict: Callable[[T], str], size: Callable[[T], float]) -> int:
    """The place of the worst verdict, and of the smallest size among its like."""
    return min(range(len(found)), key=lambda k: (VERDICTS.index(verdict(found[k])), size(found[k])))


@contextlib.contextmanager
def progress(name: str, total: int, quiet: bool, least: int = 2) -> Iterator[Callable[..., None]]:
    """The bar of `progress_bar`, for what has a few steps; its `step` is a safe point to be interrupted at."""
    from ...training import progress_bar

    Stop.check()
    with progress_bar(name, total, counted=False, quiet=quiet or total < least) as bar:

        def step(what: str = "", share: float | int = 1, figures: str = "") -> None:
            bar(what, share, figures)
            Stop.check()

        yield step


class Stop:
    """Requests to end as commands see them: at safe points."""

    @staticmethod
    def asked() -> bool:
        return Requests.now is not None and Requests.now.received is not None

    @staticmethod
    def code() -> int:
        """The exit code of what a signal ended."""
        return 128 + ((Requests.now and Requests.now.received) or signal.SIGINT)

    @staticmethod
    def check(*_: Any) -> None:
        """A safe point. Takes and ignores what training gives to its callbacks."""
        if Requests.now is not None and Requests.now.take():
            raise KeyboardInterrupt
