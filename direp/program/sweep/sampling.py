"""Which trials a sweep consists of, in rounds: all at once for a grid and for random draws; for a search, a few at a
time, each round by what the folders say of those before it."""

import dataclasses
import itertools
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..catalogue import CATALOGUE, WrongUse
from ..folders import summary_of
from ..presets import sized
from ..settings import Settings, is_file, parse_seeds
from .results import objective_of, value_of
from .spec import SAMPLERS, Drawn, Spec
from .trials import Trial, folder_of
from .values import Range


def rounds(spec: Spec, sweep: Path) -> Iterator[list[Trial]]:
    """The trials of a sweep, each once. The next round may be asked for when those before it have ended; what a round
    asks for is then always the same."""
    base = sized_base(spec)
    if spec.search is None:
        yield _trials(spec, base, sweep, points(spec))
    else:
        yield from _searched(spec, spec.search, base, sweep)


def sized_base(spec: Spec) -> Settings:
    """The settings to begin with; for data of the user's own, what the number of its samples decides."""
    base = spec.base()
    own = is_file(spec.task) and spec.preset is None
    free = [name for name in sized(1) if own and name not in (*spec.settings, *spec.swept)]
    if not free:
        return base
    from ..build import load_task

    values = sized(len(load_task(base).train.x))
    return dataclasses.replace(base, **{name: values[name] for name in free})


def points(spec: Spec) -> Iterator[dict[str, Any]]:
    """The values of the settings that differ, trial by trial: the product of the grid, for every draw."""
    for drawn in _draws(spec.random):
        for values in itertools.product(*spec.grid.values()):
            yield dict(zip(spec.grid, values, strict=True)) | drawn


def _draws(random: Drawn | None) -> Iterator[dict[str, Any]]:
    """Draw k of a setting depends on the seed, on k and on the setting's name: more draws, or other settings beside it,
    leave it as it is."""
    if random is None:
        yield {}
        return
    for k in range(random.trials):
        yield {name: _draw(entry, random.seed, k, name) for name, entry in random.ranges.items()}


def _draw(entry: Range | tuple, seed: int, k: int, name: str) -> Any:
    share = np.random.default_rng([seed, k, zlib.crc32(name.encode())]).random()
    return entry.at(share) if isinstance(entry, Range) else entry[int(share * len(entry))]


def _trials(spec: Spec, base: Settings, sweep: Path, found: Iterator[dict[str, Any]]) -> list[Trial]:
    made: dict[Path, Trial] = {}
    for point in found:
        # One number may stand for several, such as units of hidden layers.
        own = {name: _several(name, value) for name, value in point.items()}
        settings = spec.at(base, own)
        if "lanes" not in (*spec.settings, *spec.swept):
            settings = dataclasses.replace(settings, lanes=lanes_of(settings))
        folder = folder_of(sweep, settings)
        made.setdefault(folder, Trial(settings, own, folder))
    return [*made.values()]


_LANES = 16  # by benchmarks/lanes.py: more gain little, and a trial alone in its program pays for all of them
_SMALL = 64  # hidden units


def lanes_of(settings: Settings) -> int | None:
    """How many lanes the program of a trial has, in which others may be trained beside it: by its settings alone, so
    that its bits do not depend on which others there are. `None` for tasks of more samples than the four of a gate, and
    for many units, which gain less than twofold, and wait for the slowest lane."""
    own = CATALOGUE["task"].entries.get(settings.task)
    if own is None or own.path != "direp.tasks:gate" or sum(settings.hidden) > _SMALL:
        return None
    seeds = len(parse_seeds(settings.seeds))
    return max(1, _LANES // seeds) * seeds


def _several(name: str, value: Any) -> Any:
    several = isinstance(getattr(Settings, name), tuple)
    return (value,) if several and not isinstance(value, tuple) else value


def _searched(spec: Spec, search: Drawn, base: Settings, sweep: Path) -> Iterator[list[Trial]]:
    """As many trials as asked for. All that Optuna knows is what it has asked for, and what the folders say of it."""
    optuna = _optuna()
    ranges = {name: _distribution(optuna, entry) for name, entry in search.ranges.items()}
    asked: list[tuple[dict[str, Any], Trial]] = []
    seen: set[Path] = set()
    while len(asked) < search.trials:
        study = _study(optuna, spec, search, ranges, asked)
        drawn = [study.ask(ranges).params for _ in range(min(search.at_once, search.trials - len(asked)))]
        own = [{name: _read(search.ranges[name], value) for name, value in each.items()} for each in drawn]
        trials = [_trials(spec, base, sweep, iter([point]))[0] for point in own]
        asked += zip(drawn, trials, strict=True)
        fresh = {trial.folder: trial for trial in trials if trial.folder not in seen}
        seen |= set(fresh)
        if fresh:
            yield [*fresh.values()]
        if not all(trial.ended for trial in trials):
            raise RuntimeError("the next round was asked for before this one had ended")


def _study(optuna: Any, spec: Spec, search: Drawn, ranges: dict[str, Any], asked: list) -> Any:
    """A study in memory of all trials so far."""
    summaries = [summary_of(trial.folder) if trial.state == "done" else None for _, trial in asked]
    objective = objective_of(spec.objective, [summary for summary in summaries if summary is not None])
    seed = int(np.random.default_rng([search.seed, len(asked)]).integers(2**31))
    kind = getattr(optuna.samplers, SAMPLERS[search.sampler])
    study = optuna.create_study(
        sampler=kind(seed=seed), direction="maximize" if objective == "validation_accuracy" else "minimize"
    )
    for (params, _), summary in zip(asked, summaries, strict=True):
        value = None if summary is None else value_of(summary, objective)
        state = optuna.trial.TrialState.FAIL if value is None else optuna.trial.TrialState.COMPLETE
        study.add_trial(optuna.trial.create_trial(state=state, value=value, params=params, distributions=ranges))
    return study


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise WrongUse("[search] needs Optuna: pip install 'direp[search]', or draw by [random]") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _distribution(optuna: Any, entry: Range | tuple) -> Any:
    if isinstance(entry, tuple):  # by their places: Optuna takes no tuples
        return optuna.distributions.CategoricalDistribution(range(len(entry)))
    kind = optuna.distributions.IntDistribution if entry.whole else optuna.distributions.FloatDistribution
    return kind(entry.low, entry.high, log=entry.log)


def _read(entry: Range | tuple, value: Any) -> Any:
    return entry.neat(value) if isinstance(entry, Range) else entry[value]
