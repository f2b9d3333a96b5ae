"""What lanes gain: XOR for many seeds, each a trial, side by side in one program, against a process for each.

    python benchmarks/lanes.py --seeds 100 --processes 10

Each process is `direp train --config` of one trial's config.json, with its programs compiled already. The time of all
is that of the processes run, times seeds over processes. Exit code 1 if weights differ in any bit.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from direp.runs import WEIGHTS, read_back

SPEC = """
task = "xor"
preset = "small"

[settings]
epochs = {epochs}
{lanes}

[grid]
seeds = "0..{last}"
"""


def timed(*arguments: object) -> np.ndarray:
    """Seconds that pass, and of processors."""
    begun = now()
    subprocess.run([sys.executable, "-m", "direp", *map(str, arguments), "--quiet"], check=True, capture_output=True)
    return now() - begun


def now() -> np.ndarray:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return np.array([time.perf_counter(), used.ru_utime + used.ru_stime])


def networks(run: Path) -> tuple[dict[str, str], dict[str, bytes]]:
    metadata, arrays = read_back(run / WEIGHTS, "file of a run's weights", "direp 2", ())
    return metadata, {name: array.tobytes() for name, array in arrays.items()}


def swept(home: Path, name: str, epochs: int, seeds: int, lanes: str = "") -> tuple[Path, np.ndarray]:
    """A sweep's folder, and its time; one of a single trial goes before, so that nothing is compiled in it."""
    seconds = np.zeros(2)
    for part, last in (("before", 0), ("all", seeds - 1)):
        spec = home / f"{name}-{part}.toml"
        spec.write_text(SPEC.format(epochs=epochs, last=last, lanes=lanes))
        seconds = timed("sweep", spec, "--out", home / f"{name}-{part}")
    return home / f"{name}-all", seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--processes", type=int, default=10, help="so many seeds are trained in a process of their own")
    parser.add_argument("--epochs", type=int, default=300)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        folder, together = swept(home, "lanes", asked.epochs, asked.seeds)
        _, alone = swept(home, "alone", asked.epochs, asked.seeds, 'lanes = "none"')
        runs = sorted((folder / "trials").iterdir())
        chosen = runs[:: max(1, len(runs) // asked.processes)][: asked.processes]
        timed("train", "--config", runs[0] / "config.json", "--out", home / "first")
        each = [timed("train", "--config", run / "config.json", "--out", home / run.name) for run in chosen]
        differing = sum(networks(run) != networks(home / run.name) for run in chosen)
    processes = np.mean(each, 0) * len(runs)
    print(f"| XOR, {len(runs)} seeds of {asked.epochs} epochs | time | of processors | times less of it |")
    print("| --- | --- | --- | --- |")
    said = f"a process for each seed, one after another ({len(chosen)} run)"
    for what, seconds in (
        (said, processes), ("one sweep, each trial by itself", alone), ("one sweep, trials side by side", together),
    ):  # fmt: skip
        print(f"| {what} | {seconds[0]:.0f} s | {seconds[1]:.1f} s | {processes[1] / seconds[1]:.0f} |")
    print(f"| weights that differ in any bit | {differing} of {len(chosen)} | | |")
    return int(bool(differing))


if __name__ == "__main__":
    sys.exit(main())
