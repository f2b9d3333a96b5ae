"""A sweep over Dask workers that are killed on the way, its client restarted: is every trial there once, and are the
numbers those of the same sweep in one process?

    python tests/campaigns/sweeps.py
    python tests/campaigns/sweeps.py --workers 4 --kills 2 --seeds 4 --keep /tmp/sweeps

A scheduler and workers of one thread are started on this machine. With 4 seeds there are 200 trials. Exit code 1 if
anything differs.
"""

import argparse
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from direp.program.sweep.trials import state_of
from direp.runs import Unreadable, read_back

SPEC = """
task = "xor"
preset = "small"

[settings]
epochs = {epochs}

[grid]
hidden = [3, 5]
beta = [0.5, 1, 2, 4, 6]
learning_rate = [0.01, 0.02, 0.05, 0.1, 0.2]
seeds = "0..{last}"
"""
_LOST = 60.0  # seconds after which nothing happens any more


def started(arguments: list[str], log: Path) -> subprocess.Popen:
    with log.open("a") as told:
        return subprocess.Popen([sys.executable, *arguments], stdout=told, stderr=told, start_new_session=True)


@contextlib.contextmanager
def cluster(home: Path, count: int) -> Iterator[tuple[str, list[subprocess.Popen]]]:
    """The address of a scheduler, and its workers."""
    quiet = ["--no-dashboard"]
    place = home / "scheduler.json"
    hub = started(
        [
            "-m",
            "distributed.cli.dask_scheduler",
            "--host",
            "127.0.0.1",
            "--port",
            "0",
            *quiet,
            "--scheduler-file",
            place,
        ],
        home / "scheduler.log",
    )
    members: list[subprocess.Popen] = []
    try:
        address = json.loads(awaited(lambda: place.exists() and place.read_text()))["address"]
        members += [
            started(
                ["-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny", *quiet,
                 "--local-directory", home],
                home / f"worker-{k}.log",
            )
            for k in range(count)
        ]  # fmt: skip
        yield address, members
    finally:
        for process in (*members, hub):
            process.kill()
            process.wait()


def awaited(what: Any) -> Any:
    end = time.monotonic() + _LOST
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.05)
    raise TimeoutError("nothing happened for a minute")


def done(folder: Path) -> int:
    return len(list((folder / "trials").glob("*/summary.json")))


def disturbed(spec: Path, folder: Path, home: Path, count: int, kills: int, trials: int) -> list[str]:
    """The sweep on a cluster, with `kills` workers killed and the client killed and begun again. What was done."""
    events = []
    with cluster(home, count) as (address, members):
        command = ["-m", "direp", "sweep", str(spec), "--scheduler", address, "--out", str(folder), "--quiet"]
        client, log = started(command, home / "client.log"), home / "client.log"
        planned = [("worker", (k + 1) * trials // (kills + 2)) for k in range(kills)]
        planned.insert(max(len(planned) - 1, 0), ("client", planned[-1][1] - trials // 10 if planned else trials // 2))
        for what, after in planned:
            last, since = done(folder), time.monotonic()
            while (now := done(folder)) < after and client.poll() is None:
                if now > last:
                    last, since = now, time.monotonic()
                if time.monotonic() - since > _LOST:
                    raise TimeoutError(f"no trial for a minute; see {home}")
                time.sleep(0.02)
            if client.poll() is not None:
                raise RuntimeError(f"the client has ended early; see {log}")
            busy = len(list((folder / "trials").glob("*/lock")))
            victim = client if what == "client" else members.pop(0)
            os.kill(victim.pid, signal.SIGKILL)
            victim.wait()
            events.append(f"{what} killed with {done(folder)} trials done and {busy} being trained")
            if what == "client":
                client = started(command, log)
        code = client.wait(timeout=20 * _LOST)
        events.append(f"client ended with exit code {code}, {len(members)} workers left")
    return events


def compared(one: Path, other: Path, trials: int) -> list[str]:
    """What is wrong with a sweep's folder, beside the undisturbed one."""
    wrong = []
    documents = [json.loads((folder / "results.json").read_text()) for folder in (one, other)]
    tables = [{entry["trial"]: entry for entry in document["trials"]} for document in documents]
    for document, table, folder in zip(documents, tables, (one, other), strict=True):
        names = [path.name for path in (folder / "trials").iterdir()]
        if not len(document["trials"]) == len(table) == len(names) == trials or set(names) != set(table):
            wrong.append(f"{folder}: {len(document['trials'])} entries, {len(names)} folders; expected {trials}")
        wrong += [f"{name}: {state}" for name in names if (state := state_of(folder / "trials" / name)) != "done"]
        wrong += [f"left over: {path}" for path in folder.glob("trials/*/*.part")]
    for name, entry in tables[0].items():
        mine, its = ({**each, "seconds": None} for each in (entry, tables[1].get(name, {})))
        if mine != its:
            wrong.append(f"{name}: {mine.get('validation')} here, {its.get('validation')} in one process")
        weights = [_weights(folder / "trials" / name) for folder in (one, other)]
        if None in weights or weights[0] != weights[1]:
            wrong.append(f"{name}: other weights, or none")
    chosen = [document["chosen"]["settings"] for document in documents]
    if chosen[0] != chosen[1]:
        wrong.append(f"chosen: {chosen[0]} here, {chosen[1]} in one process")
    return wrong


def _weights(run: Path) -> dict[str, bytes] | None:
    try:
        _, arrays = read_back(run / "weights.safetensors", "file of a run's weights", "direp 2", ())
    except Unreadable:
        return None
    return {name: array.tobytes() for name, array in arrays.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--kills", type=int, default=2, help="so many workers are killed")
    parser.add_argument("--seeds", type=int, default=4, help="50 trials each")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--keep", type=Path, help="a new folder for both sweeps and the logs")
    asked = parser.parse_args()
    trials = 50 * asked.seeds
    with tempfile.TemporaryDirectory() as temporary:
        home = (asked.keep or Path(temporary)).absolute()
        home.mkdir(parents=True, exist_ok=True)
        spec = home / "spec.toml"
        spec.write_text(SPEC.format(epochs=asked.epochs, last=asked.seeds - 1))
        begun = time.monotonic()
        events = disturbed(spec, home / "cluster", home, asked.workers, asked.kills, trials)
        between = time.monotonic()
        alone = started(
            ["-m", "direp", "sweep", str(spec), "--out", str(home / "alone"), "--quiet"], home / "alone.log"
        )
        alone.wait()
        ended = time.monotonic()
        wrong = compared(home / "cluster", home / "alone", trials)
        again = subprocess.run(
            [sys.executable, "-m", "direp", "sweep", str(spec), "--out", str(home / "cluster"), "--quiet"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        seconds = re.search(r"time\s+([\d.]+) s", again.stdout)
    print(f"| {trials} XOR trials | |\n| --- | --- |")
    for event in events:
        print(f"| {event} | |")
    print(f"| {asked.workers} Dask workers, disturbed | {between - begun:.0f} s |")
    print(f"| one process | {ended - between:.0f} s |")
    print(f"| once more, nothing missing | {seconds[1] if seconds else '?'} s |")
    print(f"| trials or numbers that differ | {len(wrong)} |")
    for line in wrong[:20]:
        print(line, file=sys.stderr)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
