"""The program `direp`. Results go to standard output, progress and messages to standard error."""

import contextlib
import dataclasses
import io
import itertools
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

import tyro

from .config import TASK_NAMES, Settings, Unreadable, WrongUse, nearest, unknown_task
from .presets import preset

__all__ = ["main"]

OK, INTERNAL, WRONG_USE, UNREADABLE, DIVERGED = 0, 1, 2, 3, 4


@dataclasses.dataclass(frozen=True)
class Output:
    out: Path | None = None
    """Run folder to write; by default a new one below runs/."""
    json: bool = False
    """Print one JSON document and nothing else on standard output."""
    quiet: bool = False
    """No progress and no messages but errors."""
    debug: bool = False
    """Show tracebacks."""


def main(arguments: list[str] | None = None) -> None:
    """Entry point: runs the command and leaves with its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    try:
        code = _run(arguments)
    except (WrongUse, ValueError) as error:
        code = _complain(error, UNREADABLE if isinstance(error, Unreadable) else WRONG_USE, debug)
    except KeyboardInterrupt:
        code = 128 + _Stop.received
        print("direp: interrupted before the run was complete; see its folder for what it holds", file=sys.stderr)
    except Exception as error:
        code = _complain(error, INTERNAL, debug)
    raise SystemExit(code)


def _complain(error: Exception, code: int, debug: bool) -> int:
    if debug:
        import traceback

        traceback.print_exc()
    lead = "internal error, please report it (--debug shows where): " if code == INTERNAL else ""
    print(f"direp: {lead}{' '.join(str(error).split())}", file=sys.stderr)
    return code


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "--version"):
        if arguments == ["--version"]:
            from . import __version__

            print(f"direp {__version__}")
        else:
            print(_HELP)
        return OK if arguments else WRONG_USE
    command, *rest = arguments
    if command != "train":
        raise WrongUse(nearest("command", command, ("train",)) + "; see direp --help")
    return _train(rest)


_HELP = """\
usage: direp COMMAND ...

Directed equilibrium propagation: train recurrent networks of leaky neurons that settle and learn locally.

commands:
  train TASK    train on a task, show progress, write a run folder   (direp train --help: all settings)

tasks: and, or, xor, not, identity, digits, iris, wine, breast-cancer, or a file.npz with arrays x and y

examples:
  direp train xor --seeds 0..99
  direp train xor --preset deep-2020 --seeds 0..99
  direp train digits --seeds 0..4 --json
  direp train --config runs/NAME/config.json    the same run again"""


@dataclasses.dataclass(frozen=True)
class Train:
    """Train a network on TASK: and, or, xor, not, identity, digits, iris, wine, breast-cancer, or a file.npz.

    A preset gives every setting a value for the task; what you set yourself overrides it.
    """

    settings: Settings
    output: Output
    preset: str = "default"
    """Named settings to begin with. Gates have small (5 hidden units) and deep-2020 (the published baseline) too."""
    config: Path | None = None
    """Settings to begin with, from the config.json of a run."""


def _parse(arguments: list[str]) -> tuple[Settings, Output]:
    task = arguments[0] if arguments and not arguments[0].startswith("-") else None
    rest = arguments if task is None else arguments[1:]
    helping = "-h" in rest or "--help" in rest
    config = _option(rest, "--config")
    if task is None and config is None and not helping:
        names = ", ".join(TASK_NAMES)
        raise WrongUse(f"train needs a task, before all options: {names}, or a file.npz with arrays x and y")
    if task is not None and task not in TASK_NAMES and not task.endswith(".npz"):
        raise WrongUse(unknown_task(task))
    if config is not None and _option(rest, "--preset") is not None:
        raise WrongUse("--config and --preset both name the settings to begin with: give one of them")
    if config is not None:
        default = _read_config(Path(config))
        task = default.task if task is None else task
    else:
        task = "xor" if task is None else task
        default = preset(task, _option(rest, "--preset") or "default")
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            parsed = tyro.cli(
                Train,
                prog="direp train TASK",
                args=rest,
                default=Train(dataclasses.replace(default, task=task), Output()),
                config=(tyro.conf.OmitArgPrefixes,),
            )
    except SystemExit as left:
        if left.code:
            raise WrongUse(_one_line(said.getvalue())) from None
        raise
    return parsed.settings, parsed.output


def _one_line(box: str) -> str:
    """What is wrong and what was perhaps meant, out of tyro's box of several lines."""
    lines = [line.strip(" │╭╮╰╯─") for line in box.splitlines()]
    told = " ".join(itertools.takewhile(bool, lines[1:])) or "the options cannot be understood"
    hint = lines.index("Perhaps you meant:") + 1 if "Perhaps you meant:" in lines else None
    meant = f"; perhaps you meant {lines[hint]}" if hint is not None else ""
    return f"{told}{meant}; direp train --help lists all"


def _option(arguments: list[str], name: str) -> str | None:
    """The value of an option that decides the defaults of all others, found before they are parsed."""
    for k, argument in enumerate(arguments):
        if argument == name and k + 1 < len(arguments):
            return arguments[k + 1]
        if argument.startswith(name + "="):
            return argument.partition("=")[2]
    return None


def _read_config(path: Path) -> Settings:
    try:
        return Settings.from_dict(json.loads(path.read_text())["settings"])
    except FileNotFoundError:
        raise Unreadable(f"--config {path} does not exist") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Unreadable(f"--config {path} is not the config.json of a run ({error})") from None


class _Stop:
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


def _train(arguments: list[str]) -> int:
    settings, output = _parse(arguments)
    settings.check()
    task = settings.load_task()

    import jax

    jax.config.update("jax_enable_x64", settings.precision == "float64")
    from .record import RunFolder
    from .report import Progress, print_summary, save_figures, summary_of
    from .train import fit

    _Stop.install()
    begun = time.perf_counter()
    arguments_of_fit = settings.build(task)
    with RunFolder(output.out, settings) as folder:
        with Progress(settings, task, show=not output.quiet) as progress:
            run = fit(task=task, callbacks=[folder.epoch, progress.epoch], **arguments_of_fit)
        seconds = time.perf_counter() - begun
        _Stop.ignore()  # what is left takes seconds, and half of it would be of no use
        folder.weights(run.networks, run.seeds)
        summary = summary_of(run, settings, folder.path, seconds)
        folder.finish(summary)
    if run.history:
        save_figures(run, folder.path)
    if output.json:
        print((folder.path / "summary.json").read_text(), end="")
    else:
        print_summary(summary, folder.path)
    if run.status == "interrupted":
        print(f"direp: interrupted; the best networks so far are in {folder.path}", file=sys.stderr)
        return 128 + _Stop.received
    if run.status == "failed":
        why = "no sample settled" if (run.history["left_out"][-1] == 1).all() else "training diverged"
        advice = "keep it certified (--margin 0.1), lower --learning-rate or raise --leak"
        print(
            f"direp: {why} for every seed; {advice}. The last good networks are in {folder.path}",
            file=sys.stderr,
        )
        return DIVERGED
    return OK
