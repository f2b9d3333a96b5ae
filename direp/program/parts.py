"""Parts of a program by name: imported, built with what the settings know, checked; a user's own ones with care.

A file never brings code to run by itself: what it names by import path is found on `sys.path` or in the current
directory without importing anything, compared with the fingerprint that the file holds, and imported only if allowed.
"""

import contextlib
import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from .catalogue import CATALOGUE, WrongUse, is_own, names, nearest
from .words import one_line


class Unreadable(ValueError):
    """A file that is not there or does not hold what it should; says so in one line."""

    def __init__(self, message: object):
        super().__init__(one_line(message))


@contextlib.contextmanager
def reading(what: str, tell: Callable[[Exception], object] = str) -> Iterator[None]:
    """A context in which a file is parsed: whatever a parser raises there is `Unreadable`, `what` with the reason in
    brackets. Sizes are to be compared before memory is taken: that there is not enough is no fault of the file's."""
    try:
        yield
    except (Unreadable, MemoryError):
        raise
    except RecursionError:
        raise Unreadable(f"{what} (it is nested too deeply)") from None
    except Exception as error:
        raise Unreadable(f"{what} ({str(tell(error)) or type(error).__name__})") from None


def fingerprint(path: str) -> tuple[Path | None, str | None]:
    """The source file of the module of `module:Name` and its SHA-256 (for a package, of all its modules), without
    importing anything; `None` where there is none."""
    importlib.invalidate_caches()
    pieces = path.partition(":")[0].split(".")
    file: str | None = None
    where: list[str] | None = None
    if not all(pieces):
        return None, None
    for k in range(len(pieces)):  # one by one: `importlib.util.find_spec` would import the packages above
        name = ".".join(pieces[: k + 1])
        found = (finder.find_spec(name, where) for finder in sys.meta_path)
        spec = next(filter(None, found), None) or PathFinder.find_spec(name, where or [str(Path.cwd())])
        if spec is None:
            return None, None
        file, where = spec.origin, list(spec.submodule_search_locations or ())
    if file is None or not file.endswith(".py"):
        return None, None
    source = Path(file)
    whole = sorted(source.parent.rglob("*.py")) if source.name == "__init__.py" else [source]
    return source, hashlib.sha256(b"\n".join(part.read_bytes() for part in whole)).hexdigest()


def permit(own: Mapping[str, tuple[str, str | None]], where: Path, allowed: bool) -> None:
    """Ask before the parts of the user's own that a file names, what for -> (import path, fingerprint when it was
    written), are imported.

    Raises `Unreadable` if a module is missing, or if importing is not allowed; says on standard error what has changed.
    """
    named = ", ".join(f"{what} {path}" for what, (path, _) in own.items())
    states = {}
    for path, before in own.values():
        module = path.partition(":")[0]
        file, now = fingerprint(path)
        if file is None:
            raise Unreadable(
                f"{where} needs {named}, and module {module!r} is neither on sys.path nor in the current directory: "
                "run direp where it lies, or set PYTHONPATH"
            )
        states[file] = "unknown to it" if before is None else "unchanged" if now == before else "changed since"
    shown = ", ".join(f"{file} ({state})" for file, state in states.items())
    if own and not allowed:
        raise Unreadable(f"{where} needs {named}, from {shown}: code is imported only with --allow-import")
    if "changed since" in states.values():
        print(f"direp: {where} needs {named}, from {shown}: numbers may differ", file=sys.stderr)


def resolve(path: str, what: str) -> Any:
    """What an import path, `module:Name` or `module:Class.method`, stands for."""
    module, _, attribute = path.partition(":")
    if not all(module.split(".")) or not all(attribute.split(".")):
        raise WrongUse(f"{what} {path!r} is no import path: write module:Name")
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # standard output is for results
            found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        name = error.name or module
        if name != module and not module.startswith(f"{name}."):
            raise WrongUse(f"{what} {path}: module {module!r} imports {name!r}, which is not installed") from None
        raise WrongUse(f"{what} {path}: there is no module {name!r} on sys.path or in the current directory") from None
    except (Exception, SystemExit) as error:
        raise WrongUse(f"{what} {path}: importing {module!r} fails: {type(error).__name__}: {error}") from error
    home = getattr(found, "__file__", None) or "built in"
    for name in attribute.split("."):
        if not hasattr(found, name):
            content = getattr(found, "__dict__", {}).items()
            own = [other for other, value in content if getattr(value, "__module__", None) == module]
            shown = [other for other in own if not other.startswith("_")] or ["none of its own"]
            raise WrongUse(nearest(f"{what} {path}: in {module!r} ({home}), the name", name, shown))
        found = getattr(found, name)
    return found


def build(kind: str, name: str, known: Callable[[str], Any], what: str | None = None) -> Any:
    """The part of a name in the catalogue, or of an import path; `None` for an entry without one.

    Its constructor's parameters get what `known` says of the settings that the kind has for them.
    """
    about, own = CATALOGUE[kind], is_own(kind, name)
    what = what or f"--{kind}"
    if not about.base and not about.takes:
        return name
    path = name if own else about.entries[name].path
    if not path:
        return None
    maker = resolve(path, what)
    bases = tuple(resolve(base, what) for base in about.base.split())
    if bases and isinstance(maker, bases):
        return maker
    if not callable(maker) or inspect.isbuiltin(maker):  # such as os:system: no part is made in C
        raise WrongUse(f"{what} {path} is of type {type(maker).__name__}; needed is {_any(bases)}, or what makes one")
    settings = {name: setting or name for name, _, setting in (item.partition("=") for item in about.takes.split())}
    made = call(maker, settings, known, f"{what} {path}")
    if bases and not isinstance(made, bases):
        raise WrongUse(f"{what} {path} makes an object of type {type(made).__name__}; needed is {_any(bases)}")
    return made


def call(maker: Callable, settings: Mapping[str, str], known: Callable[[str], Any], what: str) -> Any:
    """`maker` with the arguments that it asks for, from its parameters' names to settings to their values."""
    given, asked = {}, inspect.signature(maker).parameters
    for name, parameter in asked.items():
        optional = parameter.default is not parameter.empty
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if name == "beta" and "nudge" in asked and optional:  # the nudge holds it
            continue
        if name in settings and parameter.kind is not parameter.POSITIONAL_ONLY:
            given[name] = known(settings[name])
        elif not optional:
            raise WrongUse(
                f"{what} needs {name!r}, which nothing fills: give it a default, or ask for any of "
                f"{', '.join(settings) or 'no argument'}"
            )
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return maker(**given)
    except (ValueError, ImportError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        shown = ", ".join(given) or "no argument"
        raise WrongUse(f"{what} fails when called with {shown}: {type(error).__name__}: {error}") from error


def _any(bases: tuple[type, ...]) -> str:
    return " or ".join(base.__name__ for base in bases)


def name_of(kind: str, part: Any) -> str:
    """The name in the catalogue of a class, function or object, or else its import path. Raises `ValueError` where it
    has neither: a file holds no code."""
    for name, entry in CATALOGUE[kind].entries.items():
        if entry.path and resolve(entry.path, kind) == part:
            return name
    if hasattr(part, "__qualname__"):
        places = [(part.__module__, part.__qualname__)]
    else:  # an object: it is found by looking, for it does not know where it was made
        loaded = [(name, dict(vars(module))) for name, module in sys.modules.items() if hasattr(module, "__dict__")]
        places = [(name, key) for name, content in loaded for key, value in content.items() if value is part]
    home, found = next((place for place in places if place[0] != "__main__"), ("__main__", "<"))
    if "<" in found or home == "__main__":
        raise ValueError(
            f"{kind} {getattr(part, 'name', part)!r} is not one of {', '.join(names(kind))} nor found in a module "
            "under a name of its own; a file cannot hold its code"
        )
    return f"{home}:{found}"
