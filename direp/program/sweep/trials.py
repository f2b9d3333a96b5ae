"""Trials: settings, the folder that bears their hash, and what its content says of them. Folders are the only truth."""

import functools
import hashlib
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ...runs import write_json
from ..config import config_of
from ..graph_file import is_graph_file
from ..settings import Settings, is_file
from .values import HINTS, exact

State = Literal["done", "failed", "refused", "running", "missing"]
ENDED = ("done", "failed", "refused")
_MARK = "not-trained.json"  # in the folder of a trial without a run: its state and the reason


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
    `refused` (its settings cannot be), `running` (somebody has begun it) or `missing`."""
    if (summary := summary_of(folder)) is not None:
        return "failed" if summary.get("status") == "failed" else "done"
    if (mark := _read(folder / _MARK)) is not None:
        return "refused" if mark.get("state") == "refused" else "failed"
    return "running" if _unfinished(folder).is_dir() else "missing"


def reason_of(folder: Path) -> str | None:
    """Why a trial has no result, if somebody knows."""
    summary, mark = summary_of(folder) or {}, _read(folder / _MARK) or {}
    return summary.get("failure") or mark.get("reason")


def summary_of(folder: Path) -> dict[str, Any] | None:
    return _read(folder / "summary.json")


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def mark(folder: Path, state: State, reason: str) -> None:
    """Keep why a trial has no run, unless it has one by now."""
    with begun(folder) as own:
        (own / "run").mkdir()
        write_json(own / "run" / _MARK, {"state": state, "reason": reason})
        put(own / "run", folder)


def forget(trials: Iterable[Trial]) -> None:
    """Let trials that could not be trained be missing again."""
    for trial in trials:
        if (trial.folder / _MARK).exists():
            shutil.rmtree(trial.folder)


class begun:
    """A trial that is being trained: a folder of this process alone, which nobody takes for a result. What is left in
    it at the end is no trial, and goes."""

    def __init__(self, folder: Path):
        self._shared = _unfinished(folder)

    def __enter__(self) -> Path:
        for last in (False, False, True):
            self._shared.mkdir(parents=True, exist_ok=True)
            try:
                self._own = Path(tempfile.mkdtemp(prefix=f"{socket.gethostname()}.{os.getpid()}.", dir=self._shared))
                break
            except FileNotFoundError:  # whoever was at this trial has just cleared up
                if last:
                    raise
        return self._own

    def __exit__(self, *_: object) -> None:
        _clear(self._own)


def _clear(own: Path) -> None:
    shutil.rmtree(own, ignore_errors=True)
    for empty in (own.parent, own.parent.parent):
        try:
            empty.rmdir()
        except OSError:  # others are at it
            return


def put(run: Path, folder: Path) -> None:
    """Let a whole folder be the trial, in one step. Where there is a result already, that one stays."""
    folder.parent.mkdir(exist_ok=True)
    for _ in range(2):
        try:
            run.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
            if summary_of(folder) is not None or summary_of(run) is None:
                return
            shutil.rmtree(folder, ignore_errors=True)  # a mark, and here is a result
        else:
            return


def tidy(sweep: Path) -> None:
    """Remove what processes of this machine have left that were ended in the middle of a trial."""
    for own in (sweep / "unfinished").glob("*/*"):
        host, pid, _ = own.name.rsplit(".", 2)
        if host == socket.gethostname() and not _alive(int(pid)):
            _clear(own)


def _alive(pid: int) -> bool:
    if os.name != "posix":  # elsewhere to ask is to kill
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _unfinished(folder: Path) -> Path:
    return folder.parent.parent / "unfinished" / folder.name
