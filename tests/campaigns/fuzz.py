"""Does anything that stands in a file bring the program down? Real files of every kind that it reads, damaged.

Each damaged file is read as the program reads it: it is accepted, or refused with exit code 2 or 3 and one line that
can be printed, in words of this project. Never: a traceback or an internal error, more than 5 seconds, more memory
than ten times the file and 200 MB, an import or a process that a file asks for, a warning. What a checksum covers is
the same or refused; files whose checksums were made to fit reach the checks behind them. Some of the files that are
accepted go on to the commands that take them.

    python tests/campaigns/fuzz.py --cases 100000 --seed 0
    python tests/campaigns/fuzz.py --kind config --first 1234 --cases 1      (one case again)
"""

import argparse
import collections
import contextlib
import faulthandler
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import jax
import numpy as np
from fuzz_kinds import KINDS
from fuzz_mutate import FORMS, RAW, SENTINEL, pick
from fuzz_specimen import Specimen

from direp.program import cli

SECONDS, MEGABYTES = 5.0, 200
_EVERY = 500  # of so many files in a row the first ones, one a specimen, go on to the commands if they are accepted
_LONGEST = 2000  # characters of a message
_LARGEST = 2**24  # bytes of a file
_FORBIDDEN = ("pickle.find_class", "os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "socket.connect")


class Case(NamedTuple):
    """What became of a damaged file: `wrong` is empty, or says what must not be."""

    outcome: str
    wrong: str
    detail: str
    seconds: float
    megabytes: float


class _TooSlow(BaseException):
    pass


class Watch:
    """Time, memory and, with `hear`, imports and processes while the program reads. Use it as a context."""

    def __init__(self, hear: bool = False) -> None:
        self.asked: list[str] = []
        self.patience, self._on = 2 * SECONDS, False
        if hear:
            sys.addaudithook(self._hear)  # which stays for good

    def _hear(self, event: str, arguments: tuple) -> None:
        if self._on and event in _FORBIDDEN:
            self.asked.append(event)

    def __enter__(self) -> "Watch":
        self.asked.clear()
        self.seconds, self._begun = 0.0, time.perf_counter()
        self._resident = _resident("VmRSS")
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        signal.signal(signal.SIGALRM, _late)
        signal.setitimer(signal.ITIMER_REAL, self.patience)
        self._on = True
        return self

    def __exit__(self, *_: object) -> None:
        self._on = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        self.seconds = time.perf_counter() - self._begun
        self.megabytes = _resident("VmHWM") - self._resident


def _late(*_: object) -> None:
    raise _TooSlow


def _resident(what: str) -> float:
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        return 0.0
    return int(text.partition(f"{what}:")[2].split()[0]) / 1024


def damaged(rng: np.random.Generator, specimen: Specimen) -> tuple[bytes, bool, bool]:
    """Other content, whether its checksums are to fit, and whether single bytes were changed."""
    raw = rng.random() < 0.3
    content = specimen.content
    for _ in range(1 if rng.random() < 0.85 else 2):
        with contextlib.suppress(Exception):  # a second mutation may not know the file any more
            changed = pick(rng, RAW if raw else FORMS[specimen.form])(rng, content)
            content = changed if len(changed) <= _LARGEST else content
        if len(content) > 100 * len(specimen.content):  # a bomb: the next mutation would unpack it
            break
    return content, specimen.place is not None and rng.random() < 0.6, raw


def judge(watch: Watch, specimen: Specimen, rng: np.random.Generator, deep: bool) -> Case:
    content, fitting, raw = damaged(rng, specimen)
    if fitting and specimen.place is not None:
        specimen.place(content)
    else:
        specimen.path.write_bytes(content)
    read, place, foreign = [], [], []
    size = sum(path.stat().st_size for path in specimen.path.parent.iterdir() if path.is_file())

    def run(arguments: list[str]) -> int:
        try:
            read.append(specimen.read())
            return 0
        except BaseException as error:
            place.append(_place(error))
            foreign.append(not _in_words(error))
            raise

    try:
        with mock.patch.object(cli, "_run", run):
            code, _, said = called(watch)
        wrong = _faults(watch, code, said, (0, 2, 3), size)
        if any(foreign):
            wrong = wrong or "a message of another library's"
        if code == 0 and content != specimen.content:
            guarded = (specimen.sealed and not fitting) or (specimen.checked and raw)
            if guarded and read[0] != specimen.before and "SHA-256" not in said:
                wrong = wrong or "altered, and not noticed"
            if deep and not wrong:
                return _used(watch, specimen, rng, said)
        unchanged = "unchanged" if content == specimen.content else "accepted"
        outcome = "refused" if code in (2, 3) else unchanged if code == 0 else "other"
        return Case(
            outcome,
            wrong,
            f"{place[-1] if place else ''}: {said[-300:]!r}" if wrong else "",
            watch.seconds,
            watch.megabytes,
        )
    finally:
        specimen.restore()


def _used(watch: Watch, specimen: Specimen, rng: np.random.Generator, said: str) -> Case:
    """The commands that take a file like this one: whatever they find, they end in words."""
    arguments = pick(rng, specimen.commands)
    watch.patience = 60  # they compile
    shutil.rmtree(specimen.path.parent / "out", ignore_errors=True)
    try:
        code, _, said = called(watch, *arguments)
    finally:
        watch.patience = 2 * SECONDS
        shutil.rmtree(specimen.path.parent / "out", ignore_errors=True)
    wrong = _faults(watch, code, said, (0, 2, 3, 4, 5, 6), None)
    return Case("used", f"then {arguments[0]}: {wrong}" if wrong else "", repr(said[-300:]) if wrong else "", 0, 0)


def called(watch: Watch, *arguments: str) -> tuple[Any, str, str]:
    """Exit code, standard output and standard error of the program."""
    streams = [io.TextIOWrapper(io.BytesIO(), "utf-8", errors) for errors in ("strict", "backslashreplace")]
    code: Any = None
    with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]), watch:
        try:
            cli.main(list(arguments))
        except SystemExit as left:
            code = left.code
        except _TooSlow:
            code = "too slow"
        except BaseException as error:
            code = f"{type(error).__name__} out of main"
    jax.config.update("jax_enable_x64", True)
    for stream in streams:
        stream.flush()
    out, err = (stream.buffer.getvalue().decode() for stream in streams)  # pyright: ignore
    return code, out, err


def _place(error: BaseException) -> str:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/direp/" in frame.filename]
    last = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
    return f"{type(error).__name__} at {last}"


def _in_words(error: BaseException) -> bool:
    """Whether the error was raised in words of this project, by one of its lines."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return ("/direp/" in last.filename or "fuzz_data" in last.filename) and (last.line or "").startswith("raise")


def _faults(watch: Watch, code: Any, said: str, allowed: tuple[int, ...], size: int | None) -> str:
    """The first thing that must not be."""
    lines = said.splitlines()
    refused = code in (2, 3)
    for wrong, what in (
        (code not in allowed, f"exit code {code}"),
        (bool(watch.asked), f"asked for {', '.join(watch.asked[:3])}"),
        (SENTINEL in sys.modules, "imported a module"),
        ("Traceback" in said, "traceback"),
        ("Warning:" in said, "warning"),
        ("not enough memory" in said, "out of memory"),
        (refused and len(lines) != 1, f"{len(lines)} lines"),
        (refused and len(said) > _LONGEST, "a long message"),
        (not all(letter.isprintable() for line in lines for letter in line), "control characters"),
        (size is not None and watch.seconds > SECONDS, "slow"),
        (size is not None and watch.megabytes > MEGABYTES + 10 * size / 2**20, "memory"),
    ):
        if wrong:
            return what
    return ""


@contextlib.contextmanager
def specimens(kind: str) -> Iterator[list[Specimen]]:
    """Those of a kind, read once as they are."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / f"{SENTINEL}.py").write_text("def boom(*_, **__): pass\n")
        stack.enter_context(mock.patch.object(sys, "path", [*sys.path, str(folder)]))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("always")
        (folder / kind).mkdir()
        found = KINDS[kind](folder / kind, stack)
        for specimen in found:
            specimen.before = specimen.read()
        yield found


def cases(
    kind: str, seed: int, first: int, count: int, watch: Watch, journal: int | None = None, every: int = _EVERY
) -> Iterator[tuple[int, Case]]:
    """The same ones whoever asks, and wherever the first one is. With `every` 0 none goes on to the commands."""
    with specimens(kind) as found:
        for k in range(first, first + count):
            if journal is not None:
                os.pwrite(journal, f"{k:12}".encode(), 0)
            rng = np.random.default_rng([seed, zlib.crc32(kind.encode()), k])
            deep = every > 0 and k % every < len(found) and bool(found[0].commands)
            yield k, judge(watch, found[k % len(found)], rng, deep)


def _work(kind: str, seed: int, first: int, count: int, journal: str) -> None:
    """The worker: prints what is wrong as JSON, a line a case, and the sum of all at the end."""
    faulthandler.enable()
    limit = 8 * 2**30
    resource.setrlimit(resource.RLIMIT_AS, (limit + int(_resident("VmSize") * 2**20), resource.RLIM_INFINITY))
    jax.config.update("jax_enable_x64", True)
    counts: collections.Counter[str] = collections.Counter()
    slowest = largest = 0.0
    handle = os.open(journal, os.O_WRONLY | os.O_CREAT)
    for k, case in cases(kind, seed, first, count, Watch(hear=True), handle):
        counts[case.outcome] += 1
        slowest, largest = max(slowest, case.seconds), max(largest, case.megabytes)
        if case.wrong:
            print(json.dumps({"kind": kind, "case": k, "wrong": case.wrong, "detail": case.detail}), flush=True)
    print(json.dumps({"counts": counts, "slowest": slowest, "largest": largest}), flush=True)


def campaign(kind: str, seed: int, first: int, count: int) -> tuple[dict[str, int], list[dict[str, Any]], float, float]:
    """All cases of a kind, in a process that is begun again behind a case that takes it down."""
    counts, wrong, slowest, largest, last = collections.Counter(), [], 0.0, 0.0, first + count
    with tempfile.TemporaryDirectory() as folder:
        journal = str(Path(folder) / "journal")
        while first < last:
            command = [sys.executable, __file__, "--worker", journal, "--kind", kind, "--seed", str(seed)]
            command += ["--first", str(first), "--cases", str(last - first)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
            told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
            wrong += [entry for entry in told if "wrong" in entry]
            for entry in (entry for entry in told if "counts" in entry):
                counts.update(entry["counts"])
                slowest, largest = max(slowest, entry["slowest"]), max(largest, entry["largest"])
            if done.returncode == 0:
                break
            at = int(Path(journal).read_text()) if Path(journal).exists() else first
            wrong.append({"kind": kind, "case": at, "wrong": f"the process ended with {done.returncode}", "detail": ""})
            counts["other"] += 1
            first = at + 1
    return counts, wrong, slowest, largest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=9000, help="of all kinds together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--first", type=int, default=0, help="the number of the first case of each kind")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.worker:
        _work(asked.kind[0], asked.seed, asked.first, asked.cases, asked.worker)
        return
    begun, bad = time.time(), 0
    for kind in asked.kind:
        since = time.time()
        counts, wrong, slowest, largest = campaign(kind, asked.seed, asked.first, -(-asked.cases // len(asked.kind)))
        told = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(counts.items()))
        print(
            f"{kind:8} {sum(counts.values()):7,} files: {told}; wrong: {len(wrong)}; slowest {slowest:.1f} s, "
            f"at most {largest:.0f} MB; {time.time() - since:.0f} s", flush=True,
        )  # fmt: skip
        bad += len(wrong)
        shown: dict[str, list[dict[str, Any]]] = {}
        for entry in wrong:
            shown.setdefault(f"{entry['wrong']} | {entry['detail'].partition(': ')[0]}", []).append(entry)
        for what, entries in sorted(shown.items(), key=lambda item: -len(item[1])):
            first = entries[0]
            print(f"  {len(entries):5} x {what}, first case {first['case']}: {first['detail'][:300]}", file=sys.stderr)
    print(f"{asked.cases:,} files, wrong: {bad}; {time.time() - begun:.0f} s")
    raise SystemExit(1 if bad else 0)


if __name__ == "__main__":
    main()
