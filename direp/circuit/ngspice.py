"""Netlists simulated by ngspice, where it is installed."""

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

_WORDS = ("timestep too small", "singular matrix", "no convergence", "error")  # of what has failed, in this order


class Simulated(NamedTuple):
    """What a simulator found: the voltage of every node that it saved, by name, at every point (one for an operating
    point), and the times of these (seconds; zero for an operating point)."""

    time: np.ndarray
    voltage: dict[str, np.ndarray]

    @property
    def states(self) -> np.ndarray:
        """The states of the free units at every point, points x free."""
        count = sum(name[0] == "s" for name in self.voltage)
        return np.stack([self.voltage[f"s{j}"] for j in range(count)], axis=1)


def simulate(text: str, *, program: str = "ngspice", timeout: float | None = None) -> Simulated:
    """What ngspice makes of a netlist of [`netlist`][direp.netlist].

    Raises `FileNotFoundError` where there is no such program, `RuntimeError` with what it says where it fails or has no
    operating point, and
    `subprocess.TimeoutExpired` after `timeout` seconds.
    """
    found = shutil.which(program)
    if found is None:
        raise FileNotFoundError(
            f"simulate: there is no program {program!r}; install ngspice (https://ngspice.sourceforge.io)"
        )
    with tempfile.TemporaryDirectory() as folder:
        given, raw = Path(folder) / "net.cir", Path(folder) / "net.raw"
        given.write_text(text, encoding="ascii")
        done = subprocess.run(
            [found, "-n", "-b", "-r", str(raw), str(given)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            errors="replace", timeout=timeout, cwd=folder, check=False,
        )  # fmt: skip
        points = _read(raw) if raw.exists() else None
    if points is None or not len(points.time):
        said = [line.strip() for line in f"{done.stderr}\n{done.stdout}".splitlines() if line.strip()]
        telling = next(
            (line for word in _WORDS for line in said if word in line.lower()), f"exit code {done.returncode}"
        )
        raise RuntimeError(f"ngspice found nothing: {telling}")
    if "transient op started" in done.stderr.lower():
        # Where Newton's method and stepping fail, ngspice follows the circuit for 10 us, and calls that the answer.
        raise RuntimeError(
            "ngspice found no operating point, and gives voltages that are none: follow the states, "
            "netlist(transient=...)"
        )
    return points


def _read(path: Path) -> Simulated:
    """A raw file: a header in text, and numbers of 64 bits, point after point."""
    header, _, content = path.read_bytes().partition(b"Binary:\n")
    lines = header.decode("ascii", "replace").splitlines()
    told = dict(line.split(":", 1) for line in lines if ":" in line)
    count, points = int(told["No. Variables"]), int(told["No. Points"])
    first = lines.index("Variables:") + 1
    names = [line.split()[1].lower() for line in lines[first : first + count]]
    table = np.frombuffer(content, np.float64, count * points).reshape(points, count)
    voltage = {name[2:-1]: table[:, k] for k, name in enumerate(names) if name.startswith("v(")}
    return Simulated(table[:, 0] if names[:1] == ["time"] else np.zeros(points), voltage)
