"""Runs that are killed at random moments, while they write too, and gone on with: to the bits of one that never was.

`python tests/campaigns/kills.py --kills 200 --seed 0` starts real processes and ends them by SIGKILL. After every kill
the newest checkpoint must be readable; after the last one of a run `direp resume` ends it, and its weights, checkpoint,
figures of all epochs, certificate and pictures must be those of a run that nobody ended, byte by byte.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from direp.runs import CHECKPOINT, WEIGHTS, read_back

# What is trained: seeds side by side in several epochs a call, epochs that are ended between batches, and a rule with
# companions and a schedule on a graph without layers.
RUNS = {
    "xor": ("xor", "--seeds", "0..9", "--epochs", "400"),
    "digits": ("digits", "--epochs", "6", "--seeds", "0,1"),
    "random": ("digits", "--graph", "random", "--hidden", "64", "--epochs", "4", "--seeds", "3"),
}
SAME = ("config.json", "metrics.jsonl", "certificate.json", "learning_curve.png", "weight_matrix.png")
FORMATS = {WEIGHTS: "direp 2", CHECKPOINT: "direp checkpoint 1"}
_LONGEST = 120.0  # seconds that a process may take


def program(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "direp", *arguments]


def killed(arguments: list[str], after: float, folder: Path, writing: bool) -> bool:
    """Start a process and end it by SIGKILL so many seconds after its folder is there, or when it next writes after
    that; whether it was alive then."""
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    limit = time.monotonic() + _LONGEST
    while not (folder / "lock").exists() and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.005)
    time.sleep(after)
    while writing and process.poll() is None and not any(folder.glob("*.safetensors.part")):
        time.sleep(0.0002)  # a checkpoint, or weights
    alive = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    return alive


def tried(name: str, reference: Path, folder: Path, length: float, rng: random.Random, most: int) -> dict[str, int]:
    """One run that is killed up to `most` times on its way, and what was wrong with it."""
    found = dict.fromkeys(("kills", "within a write", "with a checkpoint", "unreadable", "different", "failed"), 0)
    begin = program("train", *RUNS[name], "--out", str(folder), "--quiet", "--checkpoint", "0")
    again = program("resume", str(folder), "--quiet", "--checkpoint", "0")
    for k in range(rng.randint(1, most)):
        started = begin if not (folder / "config.json").exists() else again
        if not killed(started, rng.uniform(0, length), folder, rng.random() < 0.5):
            break
        found["kills"] += 1
        found["within a write"] += any(folder.glob("*.part"))
        if (folder / CHECKPOINT).exists():
            found["with a checkpoint"] += 1
            try:
                content(folder / CHECKPOINT)
            except ValueError as error:
                print(f"  unreadable after kill {k}: {error}")
                found["unreadable"] += 1
    last = subprocess.run(again, capture_output=True, text=True, timeout=_LONGEST, check=False)
    if last.returncode:
        print(f"  resume of {folder}: exit {last.returncode}: {last.stderr.strip()}")
        found["failed"] += 1
        return found
    differ = [file for file in SAME if (folder / file).read_bytes() != (reference / file).read_bytes()]
    differ += [name for name in FORMATS if content(folder / name) != content(reference / name)]
    if differ or figures(folder) != figures(reference):
        print(f"  {folder} differs: {', '.join(differ) or 'summary.json'}")
        found["different"] += 1
    return found


def content(path: Path) -> tuple:
    """Metadata, with the SHA-256 of all arrays, and the arrays bit by bit: their order in a file is that of chance."""
    metadata, arrays = read_back(path, "file", FORMATS[path.name], ())
    return metadata, {name: (array.dtype, array.shape, array.tobytes()) for name, array in arrays.items()}


def figures(folder: Path) -> dict:
    """What a summary says beside its time and place."""
    summary = json.loads((folder / "summary.json").read_text())
    return {name: value for name, value in summary.items() if name not in ("seconds", "run", "assumptions")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--most", type=int, default=4, help="kills of one run")
    parser.add_argument("--runs", nargs="+", default=list(RUNS), choices=list(RUNS))
    asked = parser.parse_args()
    rng, total, begun, runs = random.Random(asked.seed), {}, time.perf_counter(), 0
    with tempfile.TemporaryDirectory() as kept:
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(kept) / "cache"))
        references, lengths = {}, {}
        for name in asked.runs:
            references[name] = Path(kept) / name
            for _ in range(2):  # the second time programs are compiled already
                arguments = program("train", *RUNS[name], "--quiet", "--checkpoint", "0", "--out")
                subprocess.run(["rm", "-rf", str(references[name])], check=True)
                process = subprocess.Popen([*arguments, str(references[name])], stdout=subprocess.DEVNULL)
                while not (references[name] / "lock").exists() and process.poll() is None:
                    time.sleep(0.01)
                started = time.perf_counter()
                if process.wait():
                    sys.exit(f"the reference {name} ended with {process.returncode}")
                lengths[name] = time.perf_counter() - started
        while total.get("kills", 0) < asked.kills:
            name = asked.runs[runs % len(asked.runs)]
            folder = Path(kept) / f"{name}-{runs}"
            for what, count in tried(name, references[name], folder, lengths[name], rng, asked.most).items():
                total[what] = total.get(what, 0) + count
            subprocess.run(["rm", "-rf", str(folder)], check=True)
            runs += 1
    told = ", ".join(f"{count} {what}" for what, count in total.items())
    print(f"{runs} runs in {time.perf_counter() - begun:.0f} s: {told}")
    sys.exit(1 if total["unreadable"] or total["different"] or total["failed"] else 0)


if __name__ == "__main__":
    main()
