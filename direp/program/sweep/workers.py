"""Where trials are trained: in this process, in others of this machine, on a Dask cluster, or wherever an executor of
`concurrent.futures` leads."""

import contextlib
import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from ...runs import Unreadable, listening
from ..catalogue import WrongUse

_FAR = 1000  # blocks that another machine is given ahead


class Crew(NamedTuple):
    """An executor, how many blocks it trains at once, and how many it is given at once."""

    executor: Executor
    count: int
    ahead: int


Workers = Callable[[], AbstractContextManager[Crew]]
"""What makes a crew, and another one where that one broke."""


class InProcess(Executor):
    """What is submitted is done at once, here. An interrupt is not kept for later."""

    def submit(self, fn: Callable, /, *args: Any, **kwargs: Any) -> Future:
        future: Future = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


@contextlib.contextmanager
def here() -> Iterator[Crew]:
    yield Crew(InProcess(), 1, 1)


def given(executor: Executor) -> Workers:
    """A user's own executor, which stays open."""
    return lambda: contextlib.nullcontext(Crew(executor, os.cpu_count() or 1, _FAR))


def processes(count: int) -> Workers:
    """So many processes of this machine, each with its share of the cores."""

    @contextlib.contextmanager
    def opened() -> Iterator[Crew]:
        spawn = multiprocessing.get_context("spawn")  # a process that has begun JAX cannot be forked
        before = {*multiprocessing.active_children()}
        pool = _Processes(count, spawn, _begin, (spawn.Value("i", 0), count))
        try:
            yield Crew(pool, count, count)
        except BaseException:  # their trials are left, to be gone on with
            ours = {*multiprocessing.active_children()} - before
            for process in ours:
                process.terminate()
            pool.shutdown(wait=False, cancel_futures=True)
            for process in ours:
                process.join(10)
            raise
        pool.shutdown()

    return opened


class _Processes(ProcessPoolExecutor):
    """Processes that a signal ends at a safe point: what they were at is saved."""

    def submit(self, fn: Callable, /, *args: Any, **kwargs: Any) -> Future:
        return super().submit(_heard, fn, *args, **kwargs)


def _heard(fn: Callable, *args: Any, **kwargs: Any) -> None:
    with listening(leaves=True) as asked:
        try:
            fn(*args, **kwargs)
        except KeyboardInterrupt:
            os._exit(128 + (asked.received or signal.SIGTERM))


def _begin(begun: Any, count: int) -> None:
    """Of every process: interrupts are for the one that began it, whose end is its end too; and so many cores."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()
    with begun.get_lock():
        place = begun.value
        begun.value += 1
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[place % count :: count] or [cores[place % len(cores)]])


def dask(address: str) -> Workers:
    """The workers of a Dask scheduler."""

    @contextlib.contextmanager
    def opened() -> Iterator[Crew]:
        try:
            from distributed import Client
        except ImportError:
            raise WrongUse("--scheduler needs Dask: pip install 'direp[cluster]'") from None
        try:
            client = Client(address, timeout=10, set_as_default=False)
        except (OSError, ValueError, RuntimeError) as error:
            why = " ".join(str(error).split())
            raise Unreadable(f"--scheduler {address}: no scheduler answers there ({why})") from None
        executor = client.get_executor(pure=False)  # a block may be asked for again
        cores: Any = client.ncores()
        count = sum(cores.values())
        if not count:
            print(f"direp: {address} has no workers yet: waiting for them", file=sys.stderr)
        logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # what it says of a lost scheduler, we say
        try:
            yield Crew(executor, count or 1, _FAR)
        finally:
            with contextlib.suppress(Exception):  # a lost scheduler cannot be told
                executor.shutdown(wait=False)
            with contextlib.suppress(Exception):
                client.close(timeout=2)

    return opened
