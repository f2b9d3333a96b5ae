"""`direp dies`: how a trained network does on dies."""

import dataclasses
import json
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ...runs import Unreadable, plain, write_json
from .. import device
from ..folders import fresh_folder, new_folder
from ..settings import WrongUse, share_of
from . import DIVERGED, OK, Output, first, parse, progress

if TYPE_CHECKING:
    from ...analysis import Devices, OnDies
    from ..run_folder import LoadedRun

_UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "y": 365.25 * 86400}
_TIME = re.compile(r"(\d+(?:\.\d+)?)(s|min|h|d|y)")


@dataclasses.dataclass(frozen=True)
class Dies:
    """How the network of RUN (a folder of direp train) does on dies, copies of it in devices that are not what is
    stored: mean and worst accuracy (of a regression: loss), how many do not settle, and a histogram.

    A number is written to a level (--bits), off by up to --mismatch, drifts (--drift) and is read with noise. What is
    proved of all dies says direp certify RUN --mismatch; of drift and noise nothing is proved.
    """

    output: Output
    mismatch: str = "5%"
    """By how much a device may be off, evenly up to so much."""
    bits: int | None = None
    """Weights, biases and leaks at 2^bits levels; by default as they are."""
    on_off: float = math.inf
    """The largest conductance over the least that is not none."""
    read_noise: str = "0%"
    """Standard deviation of a reading of a weight or bias, of its size; one reading a die."""
    drift: str = "0s"
    """Time since weights and biases were written, as 20s, 5min, 1h, 30d or 1y: they fall like time^-exponent from 1 s
    on."""
    drift_exponent: float = 0.05
    """Exponent of the drift, the mean over devices."""
    drift_spread: float = 0.0
    """Standard deviation of the exponent over devices, of its mean."""
    dies: int = 100
    """How many are drawn."""
    corner: bool = False
    """Every device off by all of --mismatch, up or down, in place of evenly."""
    part: Literal["test", "validation", "train"] = "test"
    """Samples to be judged by."""
    seed: int | None = None
    """The network of this seed; by default the best one on validation samples."""
    draw: int = 0
    """Seed of the dies."""
    allow_import: bool = False
    """Import the modules of a user's own parts that the run names."""

    def devices(self) -> "Devices":
        """Raise `WrongUse` for what no device can be."""
        from ...analysis import Devices

        if self.dies < 1:
            raise WrongUse(f"--dies {self.dies} is out of range: give 1 or more")
        if self.bits is not None and not 1 <= self.bits <= 24:
            raise WrongUse(f"--bits {self.bits} is out of range: give 1 to 24")
        if not self.on_off > 1:
            raise WrongUse(f"--on-off {self.on_off:g} is out of range: give a number above 1")
        if self.bits is None and math.isfinite(self.on_off):
            raise WrongUse(f"--on-off {self.on_off:g} is of the levels of --bits: give --bits too, such as --bits 8")
        if self.draw < 0:
            raise WrongUse(f"--draw {self.draw} is out of range: give 0 or more")
        for name in ("drift_exponent", "drift_spread"):
            value, option = getattr(self, name), f"--{name.replace('_', '-')}"
            if not 0 <= value < math.inf:
                raise WrongUse(f"{option} {value:g} is out of range: give 0 or more")
            if value != getattr(Dies, name) and not seconds(self.drift):
                raise WrongUse(f"{option} {value:g} is of a drift, of which there is none: give --drift, such as 30d")
        return Devices(
            share_of(self.mismatch), self.bits, self.on_off, share_of(self.read_noise, "--read-noise"),
            seconds(self.drift), self.drift_exponent, self.drift_spread,
        )  # fmt: skip


def seconds(text: str) -> float:
    """A time such as `20s`, `5min`, `1h`, `30d` or `1y`."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise WrongUse(f"--drift {text} is no time: give a number and a unit, as 20s, 5min, 1h, 30d or 1y")
    return float(match[1]) * _UNITS[match[2]]


def dies(arguments: list[str]) -> int:
    """The command: exit code 4 if no die settles for all samples."""
    run, rest = first("dies", arguments, "a run folder, before all options")
    asked = parse("dies RUN", Dies, rest, Dies(Output()))
    devices = asked.devices()
    from ..run_folder import open_run

    device.configure(double=True)
    loaded = open_run(Path(run or ""), allow_import=asked.allow_import, needs_data=True)
    found, seed = _judged(loaded, asked, devices)
    folder = new_folder(fresh_folder(asked.output.out, loaded.path / "dies"))
    document = _document(loaded, asked, found, seed)
    write_json(folder / "dies.json", plain(document))
    import numpy as np

    from ...plot import dies_histogram
    from ...plot.style import canvas, save

    if np.isfinite(getattr(found, found.by)).any():
        figure = canvas()
        dies_histogram(found, figure)
        save(figure, folder / "dies.png", asked.output.format)
    if asked.output.json:
        print(json.dumps(plain(document), indent=2))
    else:
        _show(document, folder)
    return DIVERGED if (found.unsettled == found.samples).all() else OK


def _judged(run: "LoadedRun", asked: Dies, devices: "Devices") -> tuple["OnDies", int]:
    from ...analysis import on_dies
    from ..run_folder import wide

    seed = run.chosen if asked.seed is None else asked.seed
    if seed not in run.parts.seeds:
        raise WrongUse(f"--seed {seed} is not of this run: it has {run.settings.seeds}")
    if not len(getattr(run.task, asked.part).x):
        raise Unreadable(f"{run.path} has no {asked.part} samples: its task is judged by --part train")
    network, how = run.networks[run.parts.seeds.index(seed)], run.parts.fit()
    with wide(run.settings.precision), progress("dies", asked.dies, asked.output.quiet) as step:
        found = on_dies(
            network, run.task, devices, asked.dies, part=asked.part, seed=asked.draw, cost=run.parts.cost,
            method=how["method"], stop=how["stop"], corner=asked.corner, step=step,
        )  # fmt: skip
    return found, seed


def _document(run: "LoadedRun", asked: Dies, found: "OnDies", seed: int) -> dict[str, Any]:
    told = dataclasses.asdict(found.devices)
    return {
        "run": str(run.path), "task": run.settings.task, "seed": seed, "part": asked.part, "samples": found.samples,
        "dies": len(found.loss), "draw": asked.draw, "corner": asked.corner, "mismatch": found.devices.share,
        "devices": {name: value for name, value in told.items() if name != "mismatch"}, "by": found.by,
        "summary": found.summary(), "stored": found.stored, "loss": found.loss.tolist(),
        "accuracy": found.accuracy.tolist(), "unsettled": found.unsettled.astype(int).tolist(),
        "steps": found.steps.astype(int).tolist(),
    }  # fmt: skip


def _show(document: dict[str, Any], folder: Path) -> None:
    told, share = document["summary"], document["by"] == "accuracy"

    def shown(key: str) -> str:
        return f"{told[key]:.2%}" if share else f"{told[key]:.4g}"

    end = "least" if share else "largest"
    many = document["dies"]
    lines = {
        "network": f"{document['task']}, seed {document['seed']}, on {document['samples']} {document['part']} samples",
        "as stored": f"{document['by']} {shown('stored')}",
        "on dies": f"{shown('mean')} in the mean of {many}, 90 % of them {shown('5 %')} to {shown('95 %')}",
        "worst die": shown(end),
        "settling": f"{told['dies with unsettled samples']} of {many} dies have samples that did not settle",
        "folder": str(folder),
    }
    for name, line in lines.items():
        print(f"{name:<12} {line}")
