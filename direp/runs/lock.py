"""One writer at a time: a lock that says who holds it, and that no death leaves behind."""

import contextlib
import json
import os
import socket
import tempfile
import threading
import time
from pathlib import Path

from .errors import Unreadable

try:
    import fcntl
except ImportError:  # not on Windows: there the heartbeat alone tells
    fcntl = None

_BOOT = Path("/proc/sys/kernel/random/boot_id")  # tells machines of one name apart
_BEAT, _DEAD = 10.0, 60.0  # seconds between signs of life, and without one until a holder elsewhere counts as dead


class Held(ValueError):
    """Somebody else writes there."""


class Lock:
    """The file `lock` of a folder, held from `take` to `release`.

    Two things keep others out: the operating system's lock on the file, which ends with its process however that ends;
    and, for holders on other machines and on file systems that do not know such locks, the time of the file, which a
    living holder renews every 10 seconds. A file that nobody has locked and nobody has renewed for 60 is left over.
    """

    def __init__(self, folder: Path):
        self.path = folder / "lock"
        self._file: int | None = None
        self._over = threading.Event()

    def take(self) -> None:
        """Raise `Held`, naming the holder, if there is one."""
        if self.path.exists() and not self.path.is_file():  # a pipe would be waited for
            raise Unreadable(f"{self.path} is no file, as a lock is: delete it")
        while True:
            file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                if self._others(file):
                    raise Held(f"{self.path.parent} is being written by {_named(_holder(self.path))}")
                if _same(file, self.path):
                    os.ftruncate(file, 0)
                    told = {"host": socket.gethostname(), "boot": _boot(), "pid": os.getpid(), "since": _now()}
                    os.pwrite(file, json.dumps(told).encode(), 0)
                    break
            except BaseException:
                os.close(file)
                raise
            os.close(file)  # whoever held it has taken it away meanwhile
        self._file = file
        self._over.clear()
        threading.Thread(target=self._beat, daemon=True).start()

    def release(self) -> None:
        if self._file is None:
            return
        self._over.set()
        with contextlib.suppress(OSError):
            if _same(self._file, self.path):
                self.path.unlink()
        os.close(self._file)
        self._file = None

    @property
    def held(self) -> bool:
        """Whether it is still held here: a folder that was removed has taken its lock along."""
        return self._file is not None and _same(self._file, self.path)

    def _others(self, file: int) -> bool:
        """Whether somebody else holds it: by the system's lock, or by what the file says and when that was renewed."""
        locked = False
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                locked = True
            except (BlockingIOError, PermissionError):
                return True
            except OSError:  # a file system without such locks
                pass
        holder = _holder(self.path)
        here = (holder.get("host"), holder.get("boot")) == (socket.gethostname(), _boot())
        if not holder or (here and locked):
            return False
        # Times are those of the file system, whose clock is its own, and may be put back.
        with tempfile.NamedTemporaryFile(dir=self.path.parent, prefix=".") as probe:
            return abs(os.fstat(probe.fileno()).st_mtime - os.fstat(file).st_mtime) < _DEAD

    def _beat(self) -> None:
        while not self._over.wait(_BEAT):
            with contextlib.suppress(OSError, TypeError):
                os.utime(self._file)  # pyright: ignore[reportArgumentType]


def holder_of(folder: Path) -> str | None:
    """Who writes in a folder, in words; `None` if nobody does."""
    path = folder / "lock"
    if not path.is_file():
        return None
    lock = Lock(folder)
    try:
        lock.take()
    except Held as held:
        return str(held).partition(" by ")[2]
    except OSError:  # a folder that is not ours to write in
        return _named(_holder(path))
    lock.release()
    return None


def _same(file: int, path: Path) -> bool:
    """Whether an open file is the one of that name."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _holder(path: Path) -> dict:
    try:
        found = json.loads(path.read_text())
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError, RecursionError):
        return {}


def _named(holder: dict) -> str:
    if not holder:
        return "another process"
    return f"process {holder.get('pid')} on {holder.get('host')}, since {holder.get('since')}"


def _boot() -> str | None:
    with contextlib.suppress(OSError):
        return _BOOT.read_text().strip()
    return None


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S")
