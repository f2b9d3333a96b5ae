"""From a run, or its folder, to what is wrong with it."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ...runs import WEIGHTS, Unreadable, read_history, status_of
from ...training import Run
from ..catalogue import CATALOGUE, WrongUse, check, names
from ..folders import summary_of
from ..parts import build
from ..run_folder import LoadedRun, open_run, read_run_config
from ..words import plural
from .examination import Examination
from .finding import Diagnosis
from .subject import Subject
from .symptom import AbstractSymptom

_NEEDED = {
    "folder": "there is no run folder",
    "history": "no figures of epochs can be read",
    "networks": "no networks can be read",
    "start": "how training began is not known",
}


def diagnose(
    run: str | Path | LoadedRun | Run,
    *,
    symptoms: tuple[str, ...] = (),
    allow_import: bool = False,
    step: Callable[[str, float], Any] = lambda what, share: None,
) -> Diagnosis:
    """What is wrong with a run and what to try: findings in the order of causes, each with what was measured.

    **Arguments:**

    - `run`: a run folder (finished or not), a run that [`load_run`][direp.load_run] read, or what [`fit`][direp.fit]
      returned, of which symptoms that need its settings are not looked for.
    - `symptoms`: names of the catalogue, or `module:Name` of one's own; by default all, in the order of causes.
    - `allow_import`: import the modules of a user's own parts that the run names.
    - `step`: called with what is being measured, and the share of the symptoms that are done.

    A folder of which only some can be read is judged by that; `Diagnosis.missing` says what could not be. Raises
    `ValueError` for what is no run folder, and for names that are unknown.
    """
    return judged(examined(run, allow_import), symptoms, step)


def examined(run: str | Path | LoadedRun | Run, allow_import: bool = False) -> Examination:
    """A run as it is opened, before anything is measured; see `diagnose`."""
    if not isinstance(run, str | Path | LoadedRun | Run):
        given = f"diagnose(run=...) is {type(run).__name__}"
        raise WrongUse(f"{given}; needed is a run folder, or a run of direp.fit or direp.load_run")
    with jax.enable_x64(True):
        return _opened(run, allow_import)


def _opened(run: str | Path | LoadedRun | Run, allow_import: bool) -> Examination:
    if isinstance(run, Run):
        losses = _losses(run.seeds, run.train.loss)
        return Examination(Subject.of_fit(run), dict(run.history), losses=losses)
    path = run.path if isinstance(run, LoadedRun) else Path(run)
    if not path.is_dir():
        raise Unreadable(f"{path} {'is no folder' if path.exists() else 'does not exist'}: name a run folder")
    missing: list[str] = []
    status, settings, history, subject = status_of(path), None, {}, None
    with _noted(missing):
        settings = read_run_config(path).settings
    if settings is None and not status and not (path / "metrics.jsonl").exists():
        raise Unreadable(missing[0])
    if status.get("epoch", 1) or (path / "metrics.jsonl").exists():
        with _noted(missing):
            history = read_history(path)
            if (ends := len(next(iter(history.values())))) < status.get("epoch", 0):
                missing.append(
                    f"{path / 'metrics.jsonl'} ends after {plural(ends, 'epoch')}, the run after {status['epoch']:,}: "
                    "the figures of the others are lost"
                )
    if isinstance(run, LoadedRun):
        subject = Subject.of_folder(run)
    elif not (path / WEIGHTS).exists():
        if status.get("state") in ("done", "failed", None):  # else there are none yet
            missing.append(f"{path / WEIGHTS} does not exist: its networks were not looked at")
    elif settings is not None:
        with _noted(missing):
            subject = Subject.of_folder(open_run(path, allow_import=allow_import))
    if subject is None and not history and not status:
        raise Unreadable(missing[0])
    told = (summary_of(path) or {}).get("per_seed") or []
    with contextlib.suppress(TypeError, KeyError, ValueError, OverflowError):
        told = _losses([each["seed"] for each in told], [each["train"]["loss"] for each in told])
    losses = told if isinstance(told, dict) else {}
    return Examination(subject, history, settings, path, status, losses, tuple(missing))


def _losses(seeds: Any, losses: Any) -> dict[int, float]:
    """The loss of every seed, infinite where it is not known."""
    known = np.nan_to_num(np.asarray(losses, float), nan=np.inf)
    return {seed: float(loss) for seed, loss in zip(seeds, known, strict=True)}


@contextlib.contextmanager
def _noted(missing: list[str]) -> Iterator[None]:
    """Whatever of a folder cannot be read is kept as a line."""
    try:
        yield
    except (Unreadable, WrongUse) as error:
        missing.append(str(error))


def judged(
    run: Examination, symptoms: tuple[str, ...] = (), step: Callable[[str, float], Any] = lambda what, share: None
) -> Diagnosis:
    """What is wrong with a run that was opened; see `diagnose`."""
    for name in symptoms:
        check("symptom", name, "symptom")
    looked: list[AbstractSymptom] = [build("symptom", name, {}.__getitem__) for name in symptoms or names("symptom")]
    with jax.enable_x64(True):
        return _judged(run, looked, step)


def _judged(run: Examination, looked: list[AbstractSymptom], step: Callable[[str, float], Any]) -> Diagnosis:
    has = {
        "folder": run.path is not None,
        "history": bool(run.history),
        "networks": run.subject is not None,
        "start": run.subject is not None and run.subject.begun is not None,
    }
    known = {type(symptom): name for name, symptom in zip(_names(looked), looked, strict=True)}
    findings, skipped, hidden = [], {}, {}
    run.step = lambda what: step(what, 0)
    for symptom in looked:
        name = known[type(symptom)]
        step(name, 0)
        if not has[symptom.needs]:
            skipped[name] = _NEEDED[symptom.needs]
        elif name in hidden:
            skipped[name] = f"it says nothing beside: {hidden[name]}"
        else:
            found = symptom.look(run)
            if found is not None:
                findings.append(found)
                hidden |= {other: found.name for other in symptom.hides if other not in hidden}
        step(name, 1)
    subject = run.subject
    name = subject.name if subject is not None else str(run.path)
    for found in findings:  # by another symptom, which may name what it finds
        skipped.pop(found.name, None)
    return Diagnosis(name, _outcome(run), tuple(findings), tuple(run.seen), skipped, run.missing)


def _names(looked: list[AbstractSymptom]) -> list[str]:
    """Names in the catalogue, or of the class."""
    entries = {entry.path.rpartition(":")[2]: name for name, entry in CATALOGUE["symptom"].entries.items()}
    return [entries.get(type(symptom).__name__, type(symptom).__name__) for symptom in looked]


def _outcome(run: Examination) -> str:
    if run.subject is None:
        return ""
    worst = min(zip(run.outcomes, run.chosen, strict=True), key=lambda each: (not each[0].unlearned, each[1]))
    of = "" if len(run.of.seeds) == 1 else f" (seed {run.of.seeds[worst[1]]}, of {plural(len(run.of.seeds), 'seed')})"
    return f"{worst[0].words}{of}"
