"""Disks that fill up or turn read-only under a training: a clear error, networks where they can be written, and the
checkpoint before it as it was.

`python tests/campaigns/disks.py` mounts a small file system of its own for every case, and so needs to be root on
Linux.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from kills import content, program

from direp.runs import CHECKPOINT, WEIGHTS

_BOUND = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--inh-caps", "-all"]  # as to rights
TRAINS = ("digits", "--epochs", "20", "--seeds", "0,1")


def case(kind: str, after: int, home: Path) -> dict:
    """Train into a disk that fails after so many checkpoints; what is there in the end."""
    disk = home / f"{kind}-{after}"
    disk.mkdir()
    home.chmod(0o777)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m,mode=777", "tmpfs", str(disk)], check=True)
    try:
        folder = disk / "run"
        arguments = _BOUND + program("train", *TRAINS, "--checkpoint", "0", "--quiet", "--json", "--out", str(folder))
        process = subprocess.Popen(arguments, stdout=-1, stderr=-1, text=True, cwd=home)
        epochs = 0
        while process.poll() is None and (epochs < after or not (folder / CHECKPOINT).exists()):
            time.sleep(0.005)
            metrics = folder / "metrics.jsonl"
            epochs = len(metrics.read_text().splitlines()) if metrics.exists() else 0
        if process.poll() is not None:
            sys.exit(f"the run ended before its disk failed: {process.communicate()[1]}")
        if kind == "full":
            with (disk / "filler").open("wb", buffering=0) as filler:
                try:
                    while True:
                        filler.write(bytes(4096))
                except OSError:
                    pass
        else:
            folder.chmod(0o555)
            for path in folder.iterdir():
                path.chmod(0o444)
        before = content(folder / CHECKPOINT)
        said = process.communicate()[1].strip().splitlines()
        after_it = content(folder / CHECKPOINT)
        rescued = [line.rpartition(" in ")[2] for line in said if "the networks are in" in line]
        found = {
            "exit": process.returncode, "said": said, "readable": True,
            "epoch": after_it[0]["epoch"], "networks": bool(rescued) and (Path(rescued[0]) / WEIGHTS).exists(),
            "went on": int(after_it[0]["epoch"]) >= int(before[0]["epoch"]),
        }  # fmt: skip
        if kind == "full":
            (disk / "filler").unlink()
        else:
            folder.chmod(0o777)
            for path in folder.iterdir():
                path.chmod(0o666)
        again = subprocess.run(program("resume", str(folder), "--quiet"), capture_output=True, text=True, check=False)
        found["resumed"] = again.returncode
        found["content"] = {name: content(folder / name) for name in (WEIGHTS, CHECKPOINT)}
        return found
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinds", nargs="+", default=["full", "read-only"])
    parser.add_argument("--after", type=int, nargs="+", default=[1, 3, 6], help="epochs until the disk fails")
    asked = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory() as kept:
        reference = Path(kept) / "reference"
        subprocess.run(program("train", *TRAINS, "--quiet", "--out", str(reference)), check=True, stdout=-3)
        whole = {name: content(reference / name) for name in (WEIGHTS, CHECKPOINT)}
        for kind in asked.kinds:
            for after in asked.after:
                found = case(kind, after, Path(kept))
                same = found.pop("content") == whole
                fine = found["exit"] == 3 and found["networks"] and found["resumed"] == 0 and same
                wrong += not fine
                said = " / ".join(found.pop("said"))
                print(f"{kind} after epoch {after}: {found}, same after it went on: {same}\n  {said}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
