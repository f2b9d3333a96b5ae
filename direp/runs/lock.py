"""One writer at a time: a lock that says who holds it, and that no death leaves behind."""

import contextlib
import json
import os
import socket
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
    and, for holders on other machines whose file system may not pass such locks on, the time of the file, which a
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
                if fcntl is not None:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self._elsewhere(file):
                    raise OSError
            except OSError:
                holder = _holder(self.path)
                os.close(file)
                raise Held(f"{self.path.parent} is being written by {_named(holder)}") from None
            with contextlib.suppress(FileNotFoundError):
                if os.fstat(file).st_ino == self.path.stat().st_ino:
                    break
            os.close(file)  # whoever held it has taken it away meanwhile
        os.ftruncate(file, 0)
        told = {"host": socket.gethostname(), "boot": _boot(), "pid": os.getpid(), "since": _now()}
        os.pwrite(file, json.dumps(told).encode(), 0)
        self._file = file
        self._over.clear()
        threading.Thread(target=self._beat, daemon=True).start()

    def release(self) -> None:
        if self._file is None:
            return
        self._over.set()
        with contextlib.suppress(OSError):
            if os.fstat(self._file).st_ino == self.path.stat().st_ino:
                self.path.unlink()
        os.close(self._file)
        self._file = None

    def _elsewhere(self, file: int) -> bool:
        """Whether a process on another machine holds it, by what the file says and when that was renewed."""
        holder = _holder(self.path)
        if not holder or (holder.get("host"), holder.get("boot")) == (socket.gethostname(), _boot()):
            return fcntl is None and bool(holder) and abs(time.time() - os.fstat(file).st_mtime) < _DEAD
        probe = self.path.with_name(f".{os.getpid()}.now")  # times are those of the file system, whose clock is its own
        probe.touch()
        now = probe.stat().st_mtime
        probe.unlink()
        return abs(now - os.fstat(file).st_mtime) < _DEAD  # or a clock was put back since

    def _beat(self) -> None:
        while not self._over.wait(_BEAT):
            with contextlib.suppress(OSError, TypeError):
                os.utime(self._file)  # pyright: ignore[reportArgumentType]


def holder_of(folder: Path) -> str | None:
    """Who writes in a folder, in words; `None` if nobody does."""
    path = folder / "lock"
    if not path.exists():
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
