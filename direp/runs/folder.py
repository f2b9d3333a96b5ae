"""A run folder while somebody writes in it: one writer, files that are whole, and a disk that may fail."""

import contextlib
import functools
import json
import os
import platform
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from .errors import Unreadable, reading
from .files import append, plain, read_back, read_text, write, write_arrays, write_json
from .lock import Held, Lock
from .messages import say
from .seals import intact, seal

_SHOWN = ("jax", "jaxlib", "equinox", "optax", "numpy", "scipy", "scikit-learn")
_STATUS, CHECKPOINT, WEIGHTS = "status.json", "checkpoint.safetensors", "weights.safetensors"
SCHEMA = 2  # of config.json; the first one was not written down
_FAILS = (OSError, Unreadable, Held)  # what a disk does: Unreadable is what does not read back as it was written


class RunFolder:
    """Writes a run as it goes. Only one process may, and what fails on the way ends no training: it is said, and tried
    again; at the end everything goes where it can be written.

    - `config.json`: what was asked for, the environment, and the SHA-256 of both, which `sha256` is.
    - `status.json`: how it stands, and why. `log.txt`: what was said. `metrics.jsonl`: the figures of every epoch.
    - `checkpoint.safetensors`: where it stands. `weights.safetensors`: the networks that it would keep if it ended.

    Raises `Held` if another process writes there, or has begun another run there.
    """

    def __init__(
        self, path: Path, config: Mapping[str, Any] | None = None, files: Mapping[str, bytes] | None = None, *,
        begun: bool = False,
    ):  # fmt: skip
        """A new folder with a config, and more files beside it; without a config, one that is there, to go on with.
        With `begun`, one that may have been begun: a whole `config.json` in it stays."""
        self.path, self._files = path, dict(files or {})
        self._made = [folder for folder in (path, *path.parents) if not folder.exists()]
        self._lines: list[str] = []
        self._started, self._pending, self._amended = False, False, False
        self._failing: set[str] = set()
        self._begun = self._last = time.monotonic()
        self._spent = 0.0  # seconds of earlier processes
        self._took = 0.0  # seconds, by the last checkpoint
        self._status: dict[str, Any] = {}
        path.mkdir(parents=True, exist_ok=True)
        self._writing = threading.RLock()  # a request that comes late saves from a thread of its own
        self._lock = Lock(path)
        self._lock.take()
        try:
            self._new = config is not None and not (begun and _whole(path / "config.json"))
            if self._new:
                if begun:
                    (path / "config.json").unlink(missing_ok=True)  # there by half
                content = plain({"schema": SCHEMA, **(config or {}), "environment": environment()})
                self._files["config.json"] = _text({"sha256": seal(content), **content})
                self._lay()
            else:
                self._files["config.json"] = (path / "config.json").read_bytes()
                self._spent = float(self.stands().get("seconds", 0.0))
            with reading(f"{path / 'config.json'} cannot be read"):
                self.config = dict(json.loads(self._files["config.json"]))
                if "sha256" in self.config and not intact(self.config):
                    raise ValueError("it was altered: its content is not that of its sha256")
                if self.config.get("schema", 1) > SCHEMA:
                    raise ValueError(f"it is of a newer version of direp: this one knows schemas up to {SCHEMA}")
        except BaseException:
            self._lock.release()
            raise

    @property
    def sha256(self) -> str:
        return str(self.config.get("sha256") or seal(self.config))

    @property
    def seconds(self) -> float:
        """That processes have had the folder open, one after the other."""
        return self._spent + time.monotonic() - self._begun

    def amend(self, **changes: Any) -> None:
        """Change the config of a run, from when it goes on; files that were written with the earlier one stay its
        own."""
        content = {name: value for name, value in self.config.items() if name != "sha256"}
        content = plain({**content, **changes, "before": [*content.get("before", []), self.sha256]})
        self.config = {"sha256": seal(content), **content}
        self._files["config.json"] = _text(self.config)
        self._amended = True

    def _lay(self) -> None:
        kept = self.path / "config.json"
        if kept.exists() and kept.read_bytes() != self._files["config.json"]:
            raise Held(f"{self.path} holds another run by now")
        for name, content in self._files.items():
            write(self.path / name, content)

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, *_: object) -> None:
        """A run that was refused before its first epoch leaves nothing behind."""
        try:
            refused = error is not None and self._new and not self._lines and not (self.path / CHECKPOINT).exists()
            if refused and self._lock.held:
                for name in (*self._files, "metrics.jsonl", "log.txt", "status.json"):
                    with contextlib.suppress(OSError):
                        (self.path / name).unlink()
            elif isinstance(error, KeyboardInterrupt) and self._started:
                self.tell("interrupted", epoch=len(self._lines))
            elif error is not None and self._started:
                why = f"{type(error).__name__}: {' '.join(str(error).split())}"
                self.tell("error", why, epoch=len(self._lines))
        finally:
            self._lock.release()
        if refused:
            with contextlib.suppress(OSError):
                for folder in self._made:
                    folder.rmdir()

    def stands(self) -> dict[str, Any]:
        """What `tell` told last, perhaps in another process; empty if nothing did."""
        return status_of(self.path)

    def say(self, text: str, *, show: bool = True) -> None:
        """To the log, and to standard error."""
        if show:
            say(text)
        with contextlib.suppress(OSError):
            append(self.path / "log.txt", f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")

    def tell(self, state: str, reason: str | None = None, **more: Any) -> None:
        """How the run stands, and why: `running`, `interrupted`, `done`, `stopped` (by a callback), `failed` (every
        seed did), `refused` or `error`."""
        now = {"state": state, "reason": reason, "pid": os.getpid(), "host": platform.node(), **more}
        told = {**now, "seconds": round(self.seconds, 1)}
        if now != self._status and self._try(_STATUS, lambda: write_json(self.path / _STATUS, told)):
            self._status = now

    def line(self, content: Mapping[str, Any]) -> None:
        """The figures of an epoch, as a line of `metrics.jsonl` that is on its way to the disk at once."""
        self._lines.append(json.dumps(plain(content)) + "\n")
        self._try("metrics.jsonl", self._append)

    def start(self, lines: list[Mapping[str, Any]]) -> None:
        """Begin, or go on after epochs whose lines are these."""
        if self._amended:  # no earlier: what is refused changes nothing
            write(self.path / "config.json", self._files["config.json"])
            self._amended = False
        self._lines = [json.dumps(plain(line)) + "\n" for line in lines]
        self._started = True
        if not self._new and (before := self.config.get("environment")) != (now := environment()):
            before = before if isinstance(before, dict) else {}
            changed = [name for name in now if before.get(name) != now[name]]
            self.say(f"{self.path} was begun with other {' and '.join(changed)}: numbers may differ")
        self._pending = True
        self._try("metrics.jsonl", self._append)
        self.tell("running", epoch=len(lines))
        self._last = time.monotonic()

    def _append(self) -> None:
        """The last line; all of them where half a line may be there, or none is."""
        path, whole = self.path / "metrics.jsonl", self._pending
        self._pending = True
        if whole or not path.exists():
            write(path, "".join(self._lines))
        else:
            append(path, self._lines[-1])
        self._pending = False

    def due(self, seconds: float) -> bool:
        """Whether the last checkpoint is so long ago; where one takes long, they take a tenth of the time at most."""
        return time.monotonic() - self._last >= (seconds and max(seconds, 10 * self._took))

    def save(self, name: str, arrays: Mapping[str, Any], metadata: Mapping[str, str]) -> bool:
        """Arrays in the place of those that were there, once they were read back; whether that could be."""
        begun = time.monotonic()
        done = self._try(name, lambda: self.put(self.path, name, arrays, metadata))
        self._last = time.monotonic()
        if name == CHECKPOINT:
            self._took = self._last - begun
        return done

    def put(self, place: Path, name: str, arrays: Mapping[str, Any], metadata: Mapping[str, str]) -> None:
        """Arrays that tell which config they belong to."""
        write_arrays(place / name, arrays, {**metadata, "config": self.sha256})

    def saved(self, form: str) -> tuple[dict[str, str], dict[str, np.ndarray]] | None:
        """The last checkpoint, if there is one. Raises `Unreadable` for one that is damaged, or of another run."""
        path = self.path / CHECKPOINT
        if not path.exists():
            return None
        metadata, arrays = read_back(path, "checkpoint", form, ())
        if metadata.get("config") not in (self.sha256, *self.config.get("before", [])):
            raise Unreadable(f"{path} was not written with the config.json beside it")
        return metadata, arrays

    def _try(self, what: str, act: Callable[[], None]) -> bool:
        """Do it; if the disk fails, say so once and go on."""
        with self._writing:
            try:
                self._own()
                act()
            except _FAILS as error:
                if what not in self._failing:
                    self._failing.add(what)
                    why = getattr(error, "strerror", None) or error
                    self.say(f"{self.path / what} cannot be written ({why}); training goes on")
                return False
            self._failing.discard(what)
            return True

    def _own(self) -> None:
        """A folder that was removed is made again, with its lock, unless somebody else has done so."""
        if self._lock.held:
            return
        self._lock.release()
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock.take()
        try:
            self._lay()
        except BaseException:
            self._lock.release()
            raise
        self._pending = True

    def finish(self, write_all: Callable[[Path], Any]) -> Path:
        """Everything that is to stay, written by `write_all` into the folder, or where that cannot be, into another
        one, which is returned."""
        homes = (self.path, self.path.parent, Path.cwd(), Path(tempfile.gettempdir()))
        failed: OSError | ValueError | None = None
        for k, home in enumerate(homes):
            place = self.path
            try:
                if k == 0:
                    self._own()
                else:
                    place = Path(tempfile.mkdtemp(prefix=f"{self.path.name}-rescued-", dir=home))
                for name, content in {**self._files, "metrics.jsonl": "".join(self._lines).encode()}.items():
                    if not (place == self.path and name != "metrics.jsonl" and (place / name).exists()):
                        write(place / name, content)
                write_all(place)
            except _FAILS as error:
                failed = failed or error
                if place != self.path:
                    shutil.rmtree(place, ignore_errors=True)
                continue
            if place != self.path:
                self.say(f"{self.path} cannot be written ({failed}): the networks are in {place}")
            return place
        raise failed or OSError(f"{self.path} cannot be written")


def status_of(path: Path) -> dict[str, Any]:
    """What a run folder's `status.json` says; empty if there is none that can be read."""
    try:
        found = json.loads(read_text(path / _STATUS))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(found, dict) or not isinstance(found.get("state"), str | None):
        return {}
    return found if all(isinstance(found.get(name, 0), int | float) for name in ("epoch", "seconds")) else {}


def unused(path: Path) -> bool:
    """Whether a run may begin in a folder: there is none, or nothing in it but what a process left that was killed as
    it began."""
    left = lambda name: name == "lock" or name.endswith(".part")  # noqa: E731
    return not os.path.lexists(path) or (path.is_dir() and all(left(entry.name) for entry in path.iterdir()))


def environment() -> dict[str, Any]:
    """What a number may depend on beside its config: versions, machine, and the devices that seeds are dealt out to."""
    import jax

    from .. import __version__

    chosen: Any = jax.config.jax_default_device  # pyright: ignore[reportAttributeAccessIssue]
    devices = jax.devices(getattr(chosen, "platform", chosen))
    versions = {"direp": __version__, "python": platform.python_version(), **_installed()}
    return {
        "versions": versions, "platform": f"{platform.system()} {platform.release()}", "machine": platform.machine(),
        "devices": f"{len(devices)} x {devices[0].device_kind}",
    }  # fmt: skip


@functools.cache
def _installed() -> dict[str, str]:
    return {name: version(name) for name in _SHOWN}


def _whole(path: Path) -> bool:
    """Whether a config.json is there as it was written."""
    try:
        content = json.loads(read_text(path))
        return content["sha256"] == seal(content)
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return False


def _text(content: Any) -> bytes:
    return (json.dumps(content, indent=2) + "\n").encode()
