"""Does `direp doctor` name what is wrong? Runs that are spoilt on purpose, and healthy ones. Prints Markdown tables.

python benchmarks/doctor.py                        # all cases, about twenty minutes on two cores
python benchmarks/doctor.py --keep FOLDER          # keeps the runs, and takes those that are there
python benchmarks/doctor.py --only dead healthy    # some kinds of cases

python benchmarks/doctor.py --measures            # what thresholds are compared with, of the healthy runs

Every run has three seeds. Thresholds were chosen on seeds 0 to 3, order and gates on 10 to 12: 20 to 22 are neither's.
A cause counts as named where the first finding is one of those that a case allows; a healthy run counts as such where
there is no finding at all.
"""

import argparse
import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np

import direp
from direp.program import cli

TABLE = "digits --preset default"
DIGITS = f"{TABLE} --hidden 32 --epochs 15"
# What was done to a run -> the names that may come first, and the runs.
SPOILT: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "diverged": (("diverged", "unsettled"), (
        "iris --neuron hopfield --activation relu --margin none --leak 0.1 --learning-rate 1",
        "wine --neuron hopfield --activation relu --margin none --leak 0.1 --learning-rate 3",
    )),
    "no equilibrium": (("unsettled",), (
        "xor --margin none --leak 0.1 --outflow none --weight-scale 2",
        "xor --margin none --leak 0.1 --outflow none --weight-scale 4",
    )),
    "too few steps": (("unsettled",), (
        "iris --max-steps 3", "wine --fixed-steps 2", "xor --max-steps 2 --method euler",
    )),
    "rate too large": (("large-steps",), (
        "iris --learning-rate 1", "wine --learning-rate 3", f"{DIGITS} --learning-rate 1",
    )),
    "rate too small": (("small-steps",), (
        "xor --learning-rate 1e-5", "iris --learning-rate 1e-6", "wine --learning-rate 1e-5",
        f"{DIGITS} --learning-rate 1e-6",
    )),
    "nudge too weak": (("weak-nudge",), (
        "xor --beta 1e-6", "xor --preset small --beta 0.05", "iris --beta 1e-7", f"{DIGITS} --beta 1e-7",
    )),
    "nudge too strong": (("strong-nudge",), (
        f"{DIGITS} --neuron rate --activation tanh --beta 1000",
        "wine --neuron rate --activation tanh --beta 3000",
    )),
    "leaks too large": (("stifled",), (
        "xor --leak 100", "xor --margin 50", "iris --leak 200", "iris --margin 100", f"{DIGITS} --leak 300",
    )),
    "dead": (("dead",), ("xor --bias -20", "iris --bias -20", "wine --bias -30", f"{DIGITS} --bias -10")),
    "saturated": (("saturated", "data"), (
        "xor --input-scale 200", "xor --input-scale 500 --bias 0", "iris --scale none --weight-scale 50",
        "unscaled.npz --scale none",
    )),
    "no feedback": (("blocked",), (
        f"{TABLE} --epochs 15 --graph forward.csv --rule local", "xor --graph forward-xor.csv --rule local",
    )),
    "wrong rule": (("misaligned", "blocked"), (
        f"{TABLE} --hidden 64 --epochs 15 --graph random --density 0.1 --reciprocity 0 --rule local",
        f"{TABLE} --hidden 32 32 32 --epochs 15 --rule local",
    )),
    "too few epochs": (("short",), ("xor --epochs 2", "iris --epochs 2", f"{TABLE} --hidden 32 --epochs 1")),
    "noise": (("overfitted",), ("noise.npz", "noise.npz --hidden 16 --split 1")),
    "copied rows": (("data",), ("copied.npz",)),
    "killed": (("unfinished",), ("digits --epochs 5000", "xor --epochs 1000000")),
}  # fmt: skip
HEALTHY = (
    "and", "or", "xor", "xor --preset small", "xor --preset guaranteed", "xor --hidden 8", "identity", "iris", "wine",
    "breast-cancer", "digits --epochs 20", DIGITS, "digits --graph random --hidden 64 --epochs 20",
    "iris --hidden 8 --epochs 100", "wine --rule asym-ep --feedback learned",
    "wine --neuron rate --activation sigmoid", "clean.npz", "curve.npz",
)  # fmt: skip


def write_files(home: Path) -> None:
    """Data and graphs of the cases."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 8))
    y = (x[:, 0] * x[:, 1] + x[:, 2] > 0).astype(int)
    np.savez(home / "clean.npz", x=x, y=y)
    np.savez(home / "curve.npz", x=x[:, :2], y=np.sin(2 * x[:, 0]) + 0.3 * x[:, 1])
    np.savez(home / "unscaled.npz", x=x * 3000, y=y)
    np.savez(home / "noise.npz", x=rng.normal(size=(150, 40)), y=rng.integers(2, size=150))
    np.savez(home / "copied.npz", x=np.concatenate([x[:100]] * 3), y=np.concatenate([y[:100]] * 3))
    for name, sizes in {"forward.csv": (64, 32, 10), "forward-xor.csv": (2, 3, 1)}.items():
        ends = np.cumsum(sizes)
        pairs = [np.meshgrid(np.arange(sizes[0]), np.arange(sizes[0], ends[1]), indexing="ij")]
        pairs += [np.meshgrid(np.arange(sizes[0], ends[1]), np.arange(ends[1], ends[2]), indexing="ij")]
        source, target = (np.concatenate([pair[k].ravel() for pair in pairs]) for k in (0, 1))
        graph = direp.Graph(*sizes, source, target)
        direp.Network(graph, direp.Projected(), direp.FanIn(), leak=1.0, key=jax.random.key(0)).to_csv(home / name)


def killed(arguments: list[str], folder: Path) -> None:
    """Begin a training, and kill it once it has trained some epochs."""
    program = [sys.executable, "-m", "direp", "train", *arguments, "--quiet", "--out", str(folder)]
    process = subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    figures = folder / "metrics.jsonl"
    while process.poll() is None and not (figures.exists() and figures.stat().st_size):
        time.sleep(0.2)
    time.sleep(1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def called(*arguments: str) -> tuple[int, str]:
    """Exit code and standard output of the program."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        try:
            cli.main(list(arguments))
        except SystemExit as left:
            return int(left.code or 0), out.getvalue()
    return 0, out.getvalue()


def place_of(case: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in case)


def examined(case: str, kill: bool, home: Path, seeds: str) -> tuple[dict, float]:
    """What the doctor says of a run of a case, and the seconds that this took."""
    folder = home / "runs" / place_of(case)
    arguments = [*case.split(), "--seeds", seeds]
    if not folder.exists():
        if kill:
            killed(arguments, folder)
        else:
            called("train", *arguments, "--quiet", "--out", str(folder))
    begun = time.monotonic()
    code, said = called("doctor", str(folder), "--json", "--quiet")
    assert said, (case, code)
    return json.loads(said), time.monotonic() - begun


def measures(home: Path, seeds: str) -> None:
    """What thresholds are compared with, whether a symptom would look at it in such a run or not."""
    from direp.program.doctor.diagnose import examined as opened
    from direp.program.doctor.symptoms import signal, units

    print("| healthy | first update | hidden rates at start | dead, saturated | size and cosine into hidden, ", end="")
    print("nudge to zero, at start | fading |\n|---|---|---|---|---|---|")
    for case in HEALTHY:
        examined(case, False, home, seeds)
        with jax.enable_x64(True):
            run = opened(home / "runs" / place_of(case))
            rates = [np.sqrt((unit.rate**2).mean()) for unit in run.units("start")]
            dead, saturated = units.shares(run, "kept")
            cosine, ratio = signal.into_hidden(run, "start", "limit")
            print(
                f"| `direp train {case}` | {run.first_update:.3f} | {np.mean(rates):.2f} | {dead:.0%}, {saturated:.0%} "
                f"| {ratio:.2f}, {cosine:.2f} | {signal.fading(run, 'start'):.2g} |",
                flush=True,
            )


def main(home: Path, only: list[str], seeds: str) -> None:
    right = count = 0
    print("| spoilt by | named first | then | seconds | measured | command |\n|---|---|---|---|---|---|")
    for kind, (allowed, cases) in SPOILT.items():
        for case in cases if not only or kind in only else ():
            found, seconds = examined(case, kind == "killed", home, seeds)
            names = [finding["name"] for finding in found["findings"]]
            fits = found["cause"] in allowed
            right, count = right + fits, count + 1
            first = found["findings"][0]["evidence"] if names else found["outcome"]
            print(
                f"| {kind} | {found['cause'] or 'nothing'}{'' if fits else ' (**wrong**)'} | {', '.join(names[1:])} | "
                f"{seconds:.0f} | {first} | `direp train {case}` |",
                flush=True,
            )
    print(f"\nThe right cause first in {right} of {count} runs.\n")
    if only and "healthy" not in only:
        return
    print("| healthy | found | seconds | outcome |\n|---|---|---|---|")
    silent = 0
    for case in HEALTHY:
        found, seconds = examined(case, False, home, seeds)
        names = ", ".join(finding["name"] for finding in found["findings"])
        silent += not names
        print(f"| `direp train {case}` | {names or 'nothing'} | {seconds:.0f} | {found['outcome']} |", flush=True)
    print(f"\nSilent on {silent} of {len(HEALTHY)} healthy runs.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, help="where runs are kept, or are already")
    parser.add_argument("--only", nargs="+", default=[], choices=[*SPOILT, "healthy"], help="some kinds of cases")
    parser.add_argument("--measures", action="store_true", help="of healthy runs, what thresholds are compared with")
    parser.add_argument("--seeds", default="20..22", help="of every run")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        home = (asked.keep or Path(temporary)).resolve()
        home.mkdir(parents=True, exist_ok=True)
        os.chdir(home)
        write_files(home)
        if asked.measures:
            measures(home, asked.seeds)
        else:
            main(home, asked.only, asked.seeds)
