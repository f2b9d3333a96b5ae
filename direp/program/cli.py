"""The program `direp`. Results go to standard output, progress and messages to standard error."""

import contextlib
import importlib
import os
import sys
import textwrap
from pathlib import Path

from ..runs import Told, listening, one_line
from .catalogue import WrongUse, names, nearest
from .commands import COMMANDS, INTERNAL, OK, UNREADABLE, WRONG_USE, Stop


def main(arguments: list[str] | None = None) -> None:
    """Entry point: runs the command and leaves with its exit code. Without `arguments` the process is its own."""
    own = arguments is None
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    for name in ("stdout", "stderr"):  # closed by whoever started the program: messages would go to the other one
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115
    with listening(leaves=True), contextlib.redirect_stderr(Told(sys.stderr)):  # what nobody hears ends nothing
        code = _coded(arguments, debug)
        if own:
            _leave(Stop.code() if code == OK and Stop.asked() else code)  # until the very end
    raise SystemExit(code)


def _coded(arguments: list[str], debug: bool) -> int:
    """The exit code of a command, whatever it raises."""
    try:
        code = _run(arguments)
        return Stop.code() if Stop.asked() else code
    except ValueError as error:
        from ..runs import Unreadable  # with what `direp --help` need not wait for

        return _complain(error, UNREADABLE if isinstance(error, Unreadable) else WRONG_USE, debug)
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except OSError as error:  # a full disk, a folder that is gone
        return _complain(error, UNREADABLE, debug)
    except KeyboardInterrupt:
        print("direp: interrupted before there was a result", file=sys.stderr)
        return Stop.code()
    except Exception as error:
        if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
            advice = ValueError(
                "there is not enough memory: lower --batch-size or --hidden, or train fewer --seeds at once"
            )
            return _complain(advice, WRONG_USE, debug)
        else:
            return _complain(error, INTERNAL, debug)


def _leave(code: int) -> None:
    """End the process as it is: whatever comes while an interpreter is taken down, a signal too, would change the exit
    code of what is done."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or none
            stream.flush()
    os._exit(code)


def _complain(error: Exception, code: int, debug: bool) -> int:
    if debug:
        import traceback

        traceback.print_exc()
    lead = "internal error, please report it (--debug shows where): " if code == INTERNAL else ""
    with contextlib.suppress(OSError):  # a standard error that is full
        print(f"direp: {lead}{one_line(error)}", file=sys.stderr, flush=True)
    return code


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "--version"):
        if arguments == ["--version"]:
            from .. import __version__

            print(f"direp {__version__}")
        else:
            print(_help())
        return OK if arguments else WRONG_USE
    command, *rest = arguments
    if command not in COMMANDS:
        raise WrongUse(nearest("command", command, COMMANDS) + "; see direp --help")
    module = importlib.import_module(f".commands.{command}", __package__)
    return getattr(module, command)(rest)


def _help() -> str:
    commands = [
        textwrap.fill(
            f"{about} (direp {name} --help)", 118, initial_indent=f"  {f'{name} {takes}'.strip():<14}  ",
            subsequent_indent=" " * 18,
        )
        for name, (takes, about) in COMMANDS.items()
    ]  # fmt: skip
    own = "a file (.csv, .tsv, .parquet, or .npz with arrays x and y), or your own, as module:function"
    tasks = f"tasks: {', '.join(names('task'))}, {own}"
    return _HELP.format(commands="\n".join(commands), tasks=textwrap.fill(tasks, 118, subsequent_indent=" " * 7))


_HELP = """\
usage: direp COMMAND ...

Directed equilibrium propagation: train recurrent networks of leaky neurons that settle and learn locally.

commands:
{commands}

{tasks}

examples:
  direp train xor --seeds 0..99
  direp train xor --preset deep-2020 --seeds 0..99    DEEP as published (Farinha et al. 2020, arXiv:2006.08798)
  direp train digits --seeds 0..4 --json
  direp train xor --rule mymodule:MyRule        a rule of your own, from mymodule.py
  direp train --config runs/NAME/config.json    the same run again
  direp resume runs/NAME                        go on where it was ended
  direp train houses.csv --target price          a table of your own
  direp predict runs/NAME new_houses.csv
  direp certify runs/NAME
  direp certify matrix.npz --neuron rate --activation tanh
  direp gradient runs/NAME
  direp export runs/NAME net.cir --phase nudged
  direp plot runs/ONE runs/OTHER --format png svg
  direp compare xor --preset small --rules local local:beta=0.1 adjoint --seeds 0..99
  direp sweep sweep.toml --workers 4
  direp reproduce deep-2020

exit codes: 0 done, 1 internal error, 2 wrong use, 3 unreadable file, 4 diverged or never settled, 5 not certified,
6 refuted with a counter-example, 130/143 interrupted"""
