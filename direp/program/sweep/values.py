"""Values of settings as files have them: numbers, lists, `none`, ranges; read into what `Settings` holds."""

import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..catalogue import CATALOGUE, WrongUse, check, nearest
from ..graph_file import is_graph_file
from ..settings import Settings, fits, parse_seeds, short

HINTS = typing.get_type_hints(Settings)


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, `whole` ones or all; with `log`, alike in every decade."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def at(self, share: float) -> float | int:
        """The number with this share of the range, 0 to 1, below it."""
        if self.whole:  # each whole number has its part of the range
            low, high = self.low - 0.5, self.high + 0.5
        else:
            low, high = self.low, self.high
        found = low * (high / low) ** share if self.log else low + share * (high - low)
        return self.neat(found)

    def neat(self, value: float) -> float | int:
        """As it is trained and written: four digits tell settings apart."""
        value = round(value) if self.whole else float(f"{value:.4g}")
        return type(value)(min(max(value, self.low), self.high))


def read_seeds(where: str, value: Any) -> str:
    """Seeds as `Settings` has them: a number, a list of them, or a range such as 0..4."""
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    try:
        parse_seeds(text)
    except WrongUse as error:
        raise WrongUse(f"{where}: {str(error).removeprefix('--seeds ')}") from None
    return text


def read_value(where: str, name: str, given: Any, home: Path) -> Any:
    """A value of a setting as `Settings` has it: `none`, one number for several, and whole numbers for others too."""
    if name == "seeds":
        return read_seeds(where, given)
    hint = HINTS[name]
    value = _several(given, hint)
    if not fits(value, hint):
        raise WrongUse(f"{where} is {short(value)}; needed is something like {getattr(Settings, name)!r}")
    if (name == "graph" and is_graph_file(value)) or (name == "data_dir" and value):
        return beside(value, home)
    if name in CATALOGUE:
        check(name, value, where)
    return exact(value, hint)


def _several(value: Any, hint: Any) -> Any:
    kinds = typing.get_args(hint)
    if value == "none" and type(None) in kinds:
        return None
    if isinstance(value, list):
        return tuple(value)
    one = typing.get_origin(hint) is tuple and kinds[-1] is ... and not isinstance(value, tuple)
    return (value,) if one else value


def exact(value: Any, hint: Any) -> Any:
    """A value of the very type of a hint that it fits: 6 and 6.0 are one strength of a nudge."""
    if isinstance(value, tuple):
        return tuple(exact(each, typing.get_args(hint)[0]) for each in value) if typing.get_args(hint) else value
    return float(value) if float in (hint, *typing.get_args(hint)) and fits(value, int) else value


def read_values(where: str, name: str, value: Any, read: Any) -> tuple:
    """The values of a list, each once. Of seeds, a range is as good as a list."""
    if name == "seeds" and isinstance(value, str):
        value = list(parse_seeds(read_seeds(where, value)))
    if not isinstance(value, list | tuple) or not value:
        raise WrongUse(f"{where} is {short(value)}; needed is a list of values, such as [1, 2]")
    return tuple(dict.fromkeys(read(where, name, each) for each in value))


def read_range(where: str, name: str, value: Any, read: Any) -> Range | tuple:
    """What a setting is drawn from: a list of values, or a table with `low`, `high` and perhaps `log`."""
    if not isinstance(value, Mapping):
        return read_values(where, name, value, read)
    for key in value:
        if key not in ("low", "high", "log"):
            raise WrongUse(nearest(f"{where}: key", key, ("low", "high", "log")))
    kinds = {HINTS[name], *typing.get_args(HINTS[name])} & {int, float}
    low, high, log = (value.get(key, default) for key, default in (("low", ""), ("high", ""), ("log", False)))
    if len(kinds) != 1 or typing.get_args(HINTS[name])[1:2] not in ((), (type(None),), (...,)):
        raise WrongUse(f"{where} has no range: it is something like {getattr(Settings, name)!r}; give a list of values")
    kind = kinds.pop()
    if (
        not fits(low, kind)
        or not fits(high, kind)
        or not isinstance(log, bool)
        or not -math.inf < low < high < math.inf
    ):
        raise WrongUse(f"{where} is {short(dict(value))}; needed are a low and a higher high, and log = true or none")
    if log and low <= 0:
        raise WrongUse(f"{where} begins at {low}: give a low above 0, or leave out log")
    return Range(exact(low, kind), exact(high, kind), log, kind is int)


def beside(name: str, home: Path) -> str:
    """The path of a file that lies in a folder, unless its name says where."""
    return str((home / name).absolute())
