"""The program `direp`. Results go to standard output, progress and messages to standard error."""

import importlib
import os
import sys

from .commands import INTERNAL, OK, UNREADABLE, WRONG_USE, Stop
from .settings import Unreadable, WrongUse, nearest

__all__ = ["main"]

COMMANDS = ("train", "certify", "gradient", "compare", "bench")


def main(arguments: list[str] | None = None) -> None:
    """Entry point: runs the command and leaves with its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    try:
        code = _run(arguments)
    except (WrongUse, ValueError) as error:
        code = _complain(error, UNREADABLE if isinstance(error, Unreadable) else WRONG_USE, debug)
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = OK
    except KeyboardInterrupt:
        code = 128 + Stop.received
        print("direp: interrupted before the run was complete; see its folder for what it holds", file=sys.stderr)
    except Exception as error:
        if "RESOURCE_EXHAUSTED" in str(error):
            told = ValueError("the device is out of memory: lower --batch-size, or train fewer --seeds at once")
            code = _complain(told, WRONG_USE, debug)
        else:
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
            from .. import __version__

            print(f"direp {__version__}")
        else:
            print(_HELP)
        return OK if arguments else WRONG_USE
    command, *rest = arguments
    if command not in COMMANDS:
        raise WrongUse(nearest("command", command, COMMANDS) + "; see direp --help")
    module = importlib.import_module(f".commands.{command}", __package__)
    return getattr(module, command)(rest)


_HELP = """\
usage: direp COMMAND ...

Directed equilibrium propagation: train recurrent networks of leaky neurons that settle and learn locally.

commands:
  train TASK      train on a task, show progress, write a run folder   (direp train --help: all settings)
  certify PATH    does it settle? proof, counter-example or what is missing, for a run folder, a network file or a
                  matrix with leaks                                    (direp certify --help: all options)

  gradient RUN    what synapses say against the exact gradient, rule by rule   (direp gradient --help: all options)
  compare TASK    rules trained side by side on the same seeds, with intervals  (direp compare --help: all settings)
  bench           how fast this machine settles and trains              (direp bench --help: all options)

tasks: and, or, xor, not, identity, digits, iris, wine, breast-cancer, mnist, fashion-mnist, or a file.npz with arrays
       x and y

examples:
  direp train xor --seeds 0..99
  direp train xor --preset deep-2020 --seeds 0..99
  direp train digits --seeds 0..4 --json
  direp train --config runs/NAME/config.json    the same run again
  direp certify runs/NAME
  direp certify matrix.npz --neuron rate --activation tanh
  direp gradient runs/NAME
  direp compare xor --preset small --rules local local:beta=0.1 adjoint --seeds 0..99

exit codes: 0 done, 1 internal error, 2 wrong use, 3 unreadable file, 4 diverged or never settled, 5 not certified,
6 refuted with a counter-example, 130/143 interrupted"""
