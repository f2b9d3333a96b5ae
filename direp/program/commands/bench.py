"""`direp bench`: how fast this machine settles and trains networks."""

import dataclasses
import json
import sys
from pathlib import Path

from .. import device
from ..settings import WrongUse, nearest
from . import OK, Output, Stop, fresh_folder, parse

__all__ = ["bench"]

_PARTS = ("startup", "gate", "dense", "sparse", "ode")


@dataclasses.dataclass(frozen=True)
class Bench:
    """Time direp on this machine beside plain NumPy, SciPy and the machine's own matrix product; a few minutes.

    Writes bench.json and bench.png to a folder, and prints a table.
    """

    output: Output
    parts: tuple[str, ...] = _PARTS
    """What to time: startup, gate (many small networks), dense, sparse, ode (beside SciPy's solver)."""
    repeats: int = 5
    """Rounds; the first one, which compiles, does not count."""


def bench(arguments: list[str]) -> int:
    asked = parse("bench", Bench, arguments, Bench(Output()))
    for part in asked.parts:
        if part not in _PARTS:
            raise WrongUse(nearest("--parts", part, _PARTS))
    if asked.repeats < 1:
        raise WrongUse(f"--repeats {asked.repeats} is out of range: give 1 or more")
    folder = fresh_folder(asked.output.out, Path("runs") / "bench")
    Stop.install()
    device.start(double=False, lanes=1000 if "gate" in asked.parts else 1)

    from rich.console import Console
    from rich.progress import Progress

    from ..bench import PARTS, machine
    from ..figures.bench import bench_figure

    timings = []
    with Progress(console=Console(stderr=True), transient=True, disable=asked.output.quiet) as progress:
        row = progress.add_task("bench", total=len(asked.parts))
        for part in asked.parts:
            progress.update(row, description=part)
            timings += PARTS[part](asked.repeats)
            progress.advance(row)
    document = {"machine": machine(), "timings": [timing.to_dict() for timing in timings]}
    text = json.dumps(document, indent=2)
    (folder / "bench.json").write_text(text + "\n")
    bench_figure(document).savefig(folder / "bench.png", dpi=130)
    print(text if asked.output.json else table(document))
    if not asked.output.quiet:
        print(f"direp: bench.json and bench.png are in {folder}", file=sys.stderr)
    return OK


def table(document: dict) -> str:
    """Markdown, with the machine above."""
    about = document["machine"]
    lines = [
        f"{about['processor']}, {about['cores']} cores, JAX {about['jax']}, NumPy {about['numpy']}, {about['date']}",
        "",
        "| part | what | median | from, to | times as fast as | note |",
        "|---|---|---:|---:|---:|---|",
    ]
    for timing in document["timings"]:
        shown = [seconds(timing[name]) for name in ("seconds", "low", "high")]
        ratio = "" if timing["ratio"] is None else f"{timing['ratio']:.3g} ({timing['against'].split(',')[0]})"
        cells = (timing["part"], timing["name"], shown[0], f"{shown[1]}, {shown[2]}", ratio, timing["note"])
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def seconds(value: float) -> str:
    """With the unit that suits."""
    for least, unit, factor in ((1, "s", 1), (1e-3, "ms", 1e3), (0, "µs", 1e6)):
        if value >= least:
            return f"{value * factor:.3g} {unit}"
    return f"{value:.3g} s"
