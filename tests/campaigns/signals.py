"""Signals at random moments of a training: acted on in time, with the documented exit code, and nothing lost.

`python tests/campaigns/signals.py --each 100 --seed 0` starts real processes and sends each SIGINT, SIGTERM, SIGHUP or
SIGUSR1, half of them twice. An ending signal must end its process within five seconds, with the code that is
documented; SIGUSR1 must let it train to its end; and what is left must be gone on with to the bits of a run that nobody
ended.
"""

import argparse
import collections
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from kills import FORMATS, RUNS, content, program

ENDING = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
IN_TIME = 5.0


def tried(name: str, reference: Path, folder: Path, length: float, rng: random.Random, *, double: bool) -> list[str]:
    """One process with one signal or two; what was wrong."""
    first = rng.choice([*ENDING, signal.SIGUSR1])
    arguments = program("train", *RUNS[name], "--out", str(folder), "--quiet")
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if rng.random() < 0.8:
        while not (folder / "lock").exists() and process.poll() is None:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, length))
    else:  # while it begins, after the interpreter has loaded
        time.sleep(rng.uniform(1.0, 3.0))
    if process.poll() is not None:
        process.communicate()
        return ["late"]
    process.send_signal(first)
    second = rng.choice(list(ENDING)) if double else None
    if second is not None:
        time.sleep(rng.uniform(0.3, 1.5))
        if process.poll() is None:
            process.send_signal(second)
    sent = time.monotonic()
    ends = first in ENDING or second is not None
    said = process.communicate(timeout=120)[1]
    took, wrong = time.monotonic() - sent, []
    if process.returncode == 0 and took < 0.5 and (folder / "summary.json").exists():
        return ["late"]  # it had come to its end
    allowed = {ENDING[number] for number in (first, second) if number in ENDING} if ends else {0}
    if process.returncode not in allowed:
        wrong.append(f"exit {process.returncode}, not {sorted(allowed)}: {said.strip()[-300:]}")
    if ends and took > IN_TIME:
        wrong.append(f"took {took:.1f} s")
    if "Traceback" in said or "Exception ignored" in said:
        wrong.append(f"said {said.strip()[-300:]}")
    if (folder / "config.json").exists():
        again = program("resume", str(folder), "--quiet")
        last = subprocess.run(again, capture_output=True, text=True, check=False, timeout=300)
        if last.returncode:
            wrong.append(f"resume: exit {last.returncode}: {last.stderr.strip()}")
        elif any(content(folder / file) != content(reference / file) for file in FORMATS):
            wrong.append("other weights after it went on")
    return [f"{name}, {first.name}{'' if second is None else f' and {second.name}'}: {each}" for each in wrong]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", type=int, default=100, help="single ones, and double ones")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it, and so would theirs
    rng, begun, found = random.Random(asked.seed), time.perf_counter(), collections.Counter()
    with tempfile.TemporaryDirectory() as kept:
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(kept) / "cache"))
        references, lengths = {}, {}
        for name, how in RUNS.items():
            references[name] = Path(kept) / name
            for _ in range(2):
                shutil.rmtree(references[name], ignore_errors=True)
                process = subprocess.Popen(program("train", *how, "--quiet", "--out", str(references[name])), stdout=-3)
                while not (references[name] / "lock").exists() and process.poll() is None:
                    time.sleep(0.01)
                started = time.perf_counter()
                if process.wait():
                    sys.exit(f"the reference {name} ended with {process.returncode}")
                lengths[name] = time.perf_counter() - started
        tries = 0
        while min(found["single"], found["double"]) < asked.each:
            double = found["single"] >= asked.each or (found["double"] < asked.each and rng.random() < 0.5)
            name = rng.choice(list(RUNS))
            folder = Path(kept) / f"{name}-{tries}"
            wrong = tried(name, references[name], folder, lengths[name], rng, double=double)
            shutil.rmtree(folder, ignore_errors=True)
            tries += 1
            if wrong == ["late"]:
                continue
            found["double" if double else "single"] += 1
            found["wrong"] += bool(wrong)
            for each in wrong:
                print(f"  {each}")
    told = ", ".join(f"{count} {what}" for what, count in found.items())
    print(f"{told} in {time.perf_counter() - begun:.0f} s")
    sys.exit(1 if found["wrong"] else 0)


if __name__ == "__main__":
    main()
