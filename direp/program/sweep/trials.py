"""Trials: settings, the folder that bears their hash, and what its content says of them. Folders are the only truth."""

import contextlib
import functools
import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from ...runs import Held, Lock, holder_of, status_of, write_json
from ..config import config_of
from ..folders import ended_as, summary_of
from ..graph_file import is_graph_file
from ..settings import Settings, is_file
from .values import HINTS, exact

State = Literal["done", "failed", "refused", "running", "missing"]
_MARK = "given_up"  # in the status of a trial that is not to be trained


@dataclass(frozen=True)
class Trial:
    """Settings to train, the values of those that differ, and where the run goes."""

    settings: Settings
    point: Mapping[str, Any]
    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def state(self) -> State:
        return state_of(self.folder)

    @property
    def ended(self) -> bool:
        return ended(self.folder) is not None


def settings_of(values: dict[str, Any]) -> Settings:
    """Settings out of JSON, each of its own type."""
    settings = Settings.from_dict(values)
    return Settings(**{name: exact(value, HINTS[name]) for name, value in settings.to_dict().items()})


def name_of(settings: Settings) -> str:
    """The name of a trial: a hash of its settings, of the source of the user's own parts and of the content of its
    files, wherever these lie."""
    kept = config_of(settings)
    for what, named in (("task", is_file(settings.task)), ("graph", is_graph_file(settings.graph))):
        if named:
            path = Path(kept["settings"][what])
            kept["settings"][what] = [path.name, _content(path, path.stat().st_mtime_ns)]
    for own in kept.get("own", {}).values():
        del own["path"]  # the settings name it
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]


@functools.lru_cache
def _content(path: Path, _: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def folder_of(sweep: Path, settings: Settings) -> Path:
    return sweep / "trials" / name_of(settings)


def state_of(folder: Path) -> State:
    """What has become of the trial of a folder: `done`, `failed` (every seed did, or it could not be trained),
    `refused` (its settings cannot be), `running` (somebody is at it) or `missing`, perhaps begun."""
    return ended(folder) or ("running" if holder_of(folder) else "missing")


def ended(folder: Path) -> State | None:
    """How the trial of a folder has ended, if it has."""
    told = status_of(folder)
    marked = told.get(_MARK) and told.get("state") in ("failed", "refused")
    return told["state"] if marked else cast(State | None, ended_as(folder))


def reason_of(folder: Path) -> str | None:
    """Why a trial has no result, if somebody knows."""
    return (summary_of(folder) or {}).get("failure") or status_of(folder).get("reason")


def mark(folder: Path, state: State, reason: str) -> None:
    """Say in its status why a trial has no run, unless it has one by now, or somebody is at it."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = Lock(folder)
    try:
        lock.take()
    except Held:
        return
    try:
        if ended(folder) is None:
            write_json(folder / "status.json", {"state": state, "reason": reason, _MARK: True, "at": time.time()})
    finally:
        lock.release()


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Write in a folder while no other process does: it is waited for."""
    lock = Lock(folder)
    while True:
        try:
            lock.take()
            break
        except Held:
            time.sleep(0.05)
    try:
        yield
    finally:
        lock.release()


def forget(trials: Iterable[Trial]) -> None:
    """Let trials that could not be trained be missing again."""
    for trial in trials:
        if status_of(trial.folder).get(_MARK):
            (trial.folder / "status.json").unlink()
            with contextlib.suppress(OSError):
                trial.folder.rmdir()
