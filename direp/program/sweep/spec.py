"""What a sweep is asked to train: a TOML file, read and checked.

Pure Python at import, so that a wrong file is told at once.
"""

import dataclasses
import functools
import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...runs import Unreadable
from ..catalogue import WrongUse, nearest
from ..presets import preset, suited
from ..settings import COUNTED, Settings, check_task, fits, is_file, short
from .values import Range, beside, read_range, read_seeds, read_value, read_values

OBJECTIVES = ("validation_accuracy", "validation_loss")
SAMPLERS = {"tpe": "TPESampler", "random": "RandomSampler"}  # those of Optuna that need no more than Optuna
MOST = 100_000  # trials that a spec may name
_TOP = ("task", "preset", "seeds", "objective", "settings", "grid", "random", "search")
_NAMES = tuple(entry.name for entry in dataclasses.fields(Settings) if entry.name not in ("task", "seeds"))


@dataclass(frozen=True)
class Drawn:
    """Trials whose settings are drawn: so many, from these ranges and lists of values."""

    trials: int
    seed: int = 0
    ranges: dict[str, Range | tuple] = field(default_factory=dict)
    sampler: str = ""
    at_once: int = 1


@dataclass(frozen=True)
class Spec:
    """A sweep: `task`, the `preset` to begin with, the `seeds` that a trial trains side by side, `settings` that all
    trials share; and what differs: a `grid` of values, each combined with each, and settings at `random`, each draw
    combined with all of the grid; or a `search`, which draws by what it has seen. Trials are chosen by `objective`, by
    default the accuracy on validation samples where there is one, else the loss.
    """

    task: str
    preset: str | None = None
    seeds: str = "0"
    objective: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    grid: dict[str, tuple] = field(default_factory=dict)
    random: Drawn | None = None
    search: Drawn | None = None

    @property
    def swept(self) -> tuple[str, ...]:
        """The names of the settings that differ."""
        drawn = [name for own in (self.random, self.search) if own is not None for name in own.ranges]
        return (*self.grid, *drawn)

    def base(self) -> Settings:
        """The settings that trials begin with."""
        shared = {**self.settings, "seeds": self.seeds}
        graph, hidden = shared.get("graph"), shared.get("hidden", ())
        return _with(preset(self.task, self.preset or suited(self.task, graph, len(hidden))), shared, self.swept)

    def at(self, base: Settings, point: Mapping[str, Any]) -> Settings:
        """The settings of a trial: those that differ have the values of this point."""
        return _with(base, point, tuple(self.settings))

    def to_dict(self) -> dict[str, Any]:
        """As JSON knows it, and `read` reads it again."""
        kept = {name: value for name, value in dataclasses.asdict(self).items() if value not in (None, {})}
        for name in ("random", "search"):
            drawn = getattr(self, name)
            if drawn is not None:
                own = {key: value for key, value in kept[name].items() if key != "ranges" and value != ""}
                kept[name] = {**own, **{key: _written(entry) for key, entry in drawn.ranges.items()}}
        if "random" in kept:
            del kept["random"]["at_once"]
        if "seeds" in self.grid:
            del kept["seeds"]
        for table in ("settings", "grid"):
            if table in kept:
                kept[table] = {name: _plain(value) for name, value in kept[table].items()}
        return kept


def _with(settings: Settings, given: Mapping[str, Any], elsewhere: Sequence[str]) -> Settings:
    """Other values for some settings. What carries deviations back belongs to the rule, and goes with another one."""
    other = given.get("rule", settings.rule) != settings.rule
    own = {"feedback": Settings.feedback} if other and "feedback" not in elsewhere else {}
    return dataclasses.replace(settings, **{**own, **given})


def _plain(value: Any) -> Any:
    """`none` where there is no number, as TOML has no such word."""
    return [_plain(each) for each in value] if isinstance(value, tuple) else "none" if value is None else value


def _written(entry: Range | tuple) -> Any:
    if isinstance(entry, tuple):
        return _plain(entry)
    return {"low": entry.low, "high": entry.high, **({"log": True} if entry.log else {})}


def read_spec(path: Path) -> Spec:
    """The spec of a TOML file, or of a sweep's folder or its `spec.json`. Files that it names lie beside it.

    Raises `Unreadable` for a file that is not there or neither TOML nor JSON, `WrongUse` for one that asks for what
    cannot be.
    """
    path = path / "spec.json" if path.is_dir() else path
    if not path.is_file():
        raise Unreadable(f"{path} {'is no file' if path.exists() else 'does not exist'}: name a sweep's TOML file")
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise Unreadable(f"{path} is no readable {'JSON' if path.suffix == '.json' else 'TOML'} ({error})") from None
    return spec_of(content, str(path), path.parent)


def spec_of(content: Any, where: str = "the spec", home: Path | None = None) -> Spec:
    """The spec that such tables ask for; `where` they stand, for messages, and the folder where files lie that they
    name."""
    home = Path.cwd() if home is None else home
    content = _table(content, where)
    for name in content:
        if name not in _TOP:
            where_it_goes = "; a setting goes into [settings]" if name in _NAMES else ""
            raise WrongUse(nearest(f"{where}: key", name, _TOP) + where_it_goes)
    if not isinstance(content.get("task"), str):
        raise WrongUse(f'{where}: a sweep needs a task, such as task = "xor"')
    if not isinstance(content.get("preset", ""), str):
        raise WrongUse(f"{where}: preset is {short(content['preset'])}; needed is a name, such as small")
    task = beside(content["task"], home) if is_file(content["task"]) else content["task"]
    read = functools.partial(read_value, home=home)
    about = f"{where}: [settings]"
    settings = {
        name: read(f"{about} {name}", name, value)
        for name, value in _settings(content.get("settings", {}), about).items()
    }
    about = f"{where}: [grid]"
    grid = {
        name: read_values(f"{about} {name}", name, value, read)
        for name, value in _settings(content.get("grid", {}), about, ("seeds",)).items()
    }
    drawn = {
        kind: _drawn(content[kind], f"{where}: [{kind}]", kind == "search", read)
        for kind in ("random", "search")
        if kind in content
    }
    spec = Spec(
        task, content.get("preset"), read_seeds(f"{where}: seeds", content.get("seeds", "0")), content.get("objective"),
        settings, grid, **drawn,
    )  # fmt: skip
    _check(spec, where, "seeds" in content)
    return spec


def _check(spec: Spec, where: str, seeded: bool) -> None:
    """Raise `WrongUse` unless the parts of a spec fit together."""
    try:
        check_task(spec.task)
        spec.base()
    except WrongUse as error:
        raise WrongUse(f"{where}: {error}") from None
    if spec.objective is not None and spec.objective not in OBJECTIVES:
        raise WrongUse(nearest(f"{where}: objective", str(spec.objective), OBJECTIVES))
    if spec.search is not None and (spec.grid or spec.random):
        raise WrongUse(f"{where}: [search] draws all that differs: leave out [grid] and [random], or give lists in it")
    places = [*spec.settings, *spec.swept, *(["seeds"] if seeded else [])]
    twice = next((name for name in places if places.count(name) > 1), None)
    if twice is not None:
        raise WrongUse(f"{where}: {twice} is given twice: as one value for all trials, or as several, in one table")
    count = math.prod(map(len, spec.grid.values())) * (spec.random.trials if spec.random else 1)
    if max(count, spec.search.trials if spec.search else 0) > MOST:
        raise WrongUse(f"{where}: it names {count:,} trials, more than {MOST:,}: give fewer values")


def _table(content: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(content, Mapping):
        raise WrongUse(f"{where} is {short(content)}; needed is a table of names and values")
    return content


def _settings(content: Any, where: str, more: tuple[str, ...] = ()) -> Mapping[str, Any]:
    """A table whose keys are settings."""
    for name in _table(content, where):
        if name in ("task", "seeds") and name not in more:
            raise WrongUse(f"{where} {name} is out of place: give {name} above all tables")
        if name not in (*_NAMES, *more):
            raise WrongUse(nearest(f"{where} setting", name, sorted((*_NAMES, *more))))
    return content


def _drawn(content: Any, where: str, search: bool, read: Any) -> Drawn:
    """The table of a random sweep or of a search."""
    known = {"trials": 1, "seed": 0, **({"at_once": 1} if search else {})}
    names = (*known, "sampler") if search else tuple(known)
    content = _settings(content, where, names)
    if "trials" not in content:
        raise WrongUse(f"{where} needs a number of trials, such as trials = 20")
    own: dict[str, Any] = {}
    for name, least in known.items():
        value = content.get(name, Drawn.at_once if name == "at_once" else 0)
        if not fits(value, int) or not least <= value <= COUNTED:
            raise WrongUse(f"{where} {name} is {short(value)}; needed is a whole number from {least} on")
        own[name] = value
    if search:
        own["sampler"] = content.get("sampler", "tpe")
        if own["sampler"] not in SAMPLERS:
            raise WrongUse(nearest(f"{where} sampler", str(own["sampler"]), SAMPLERS))
    ranges = {
        name: read_range(f"{where} {name}", name, value, read) for name, value in content.items() if name not in names
    }
    if not ranges:
        raise WrongUse(f"{where} draws nothing: give a range, such as beta = {{low = 0.1, high = 10, log = true}}")
    return Drawn(**own, ranges=ranges)
