"""Requests to end, or to save: signals set flags that loops read at safe points, and no handler ever raises.

What is raised in a handler can vanish: Python runs handlers wherever it stands, in a callback of a garbage collection
too, where exceptions are printed and forgotten. And it runs none while it waits for a compiler. Here a thread of its
own reads the numbers of signals from a pipe that the interpreter's C code writes at once.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
SAVING = tuple(getattr(signal, name) for name in ("SIGUSR1",) if hasattr(signal, name))
_SAME = 0.2  # seconds in which a second signal is the first one, sent to a process and to its group


class Requests:
    """The requests of one process, while it listens.

    - `received`: the number of the signal that asks to end, `None` before there is one.
    - `taken`: whether a safe point was reached since: what is left is being saved.
    """

    now: ClassVar["Requests | None"] = None  # who listens in this process
    grace: ClassVar[float] = 2.0  # seconds that a step may take to its end

    def __init__(self, *, leaves: bool):
        self.received: int | None = None
        self.taken, self.save = False, False
        self.late: Callable[[int], None] | None = None  # saves what there is if no safe point comes in time
        self.after = ""  # what is said then, such as how to go on
        self.leaves, self._since = leaves, 0.0

    @property
    def pending(self) -> bool:
        """Whether somebody asks to end, and nothing has come of it yet."""
        return self.received is not None and not self.taken

    def take(self) -> bool:
        """A safe point: whether to end here."""
        if not self.pending:
            return False
        self.taken = True
        return True

    def take_save(self) -> bool:
        """A safe point: whether to save here and go on."""
        asked, self.save = self.save, False
        return asked

    def _on(self, number: int) -> None:
        if number in SAVING:
            self.save = True
        elif self.received is None:
            self.received, self._since = number, time.monotonic()
            _say("ending after this step; once more ends at once" if self.leaves else "ending after this step")
            if self.leaves:
                threading.Thread(target=self._wait, daemon=True).start()
        elif time.monotonic() - self._since > _SAME and self.leaves:
            os._exit(128 + number)

    def _second(self, number: int, frame: Any) -> None:
        """A handler of the interpreter's, for a process that is not ours to end."""
        if self.received is not None:
            raise KeyboardInterrupt
        self._on(number)

    def _wait(self) -> None:
        """End the process if it comes to no safe point in time: it compiles, or is at one long step."""
        time.sleep(self.grace)
        if self.taken:
            return
        number = self.received or signal.SIGINT
        try:
            if self.late is not None:
                self.late(number)
            if self.late is None or self.after:
                _say(self.after or "interrupted before there was a result")
        finally:
            os._exit(128 + number)


def _say(text: str) -> None:
    with contextlib.suppress(OSError):  # whoever listened is gone
        os.write(2, f"direp: {text}\n".encode())


@contextlib.contextmanager
def listening(*, leaves: bool) -> Iterator[Requests]:
    """Listen to signals. Within another listener it is that one that is asked, and outside the main thread, where
    nobody can listen, nothing is ever requested.

    `leaves`: the process is ours to end: a second signal ends it at once, and one for which no safe point comes within
    2 seconds then. Otherwise it is but SIGINT that is heard, and the second one is Python's own `KeyboardInterrupt`.
    """
    if Requests.now is not None or threading.current_thread() is not threading.main_thread():
        inner = Requests.now or Requests(leaves=False)
        try:
            yield inner
        finally:
            inner.late = None  # what it would save has been saved, or is lost
        return
    heard = (*ENDING, *SAVING) if leaves else (signal.SIGINT,)
    if not leaves and signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield Requests(leaves=False)  # whoever set a handler of their own means it
        return
    asked = Requests(leaves=leaves)
    # What nohup and others ignore stays ignored.
    before = {n: signal.getsignal(n) for n in heard if signal.getsignal(n) is not signal.SIG_IGN}
    with _woken(asked, set(before)) if leaves else contextlib.nullcontext():
        for number in before:
            signal.signal(number, _nothing if leaves else asked._second)
        Requests.now = asked
        try:
            yield asked
        finally:
            Requests.now, asked.taken = None, True  # nobody is left to be waited for
            for number, handler in before.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)


@contextlib.contextmanager
def _woken(asked: Requests, heard: set[int]) -> Iterator[None]:
    """A thread that is told of signals whatever the interpreter is at."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    thread = threading.Thread(target=_watch, args=(reading, asked, heard), daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(writing)
        thread.join(1)


def _nothing(number: int, frame: Any) -> None:
    """The pipe has it."""


def _watch(reading: int, asked: Requests, heard: set[int]) -> None:
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        while numbers := pipe.read(1):
            if numbers[0] in heard:
                asked._on(numbers[0])
