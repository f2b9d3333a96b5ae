"""`direp bench`: how fast this machine settles and trains networks."""

import dataclasses
import json
import sys
from typing import Annotated

from ...runs import write_json
from .. import device
from ..catalogue import check, names
from ..folders import fresh_folder, new_folder, stamped
from ..parts import build
from ..settings import WrongUse, help_of
from . import OK, Output, parse, progress


@dataclasses.dataclass(frozen=True)
class Bench:
    """Time direp on this machine beside plain NumPy, SciPy and the machine's own matrix product; a few minutes.

    Writes bench.json and a figure to a folder, and prints a table.
    """

    output: Output
    parts: Annotated[tuple[str, ...], help_of("part", "What to time: ")] = names("part")
    repeats: int = 5
    """Rounds; the first one, which compiles, does not count."""


def bench(arguments: list[str]) -> int:
    asked = parse("bench", Bench, arguments, Bench(Output()))
    for part in asked.parts:
        check("part", part, "--parts")
    if not asked.parts:
        raise WrongUse(f"--parts is empty: name one or more of {', '.join(names('part'))}")
    if asked.repeats < 1:
        raise WrongUse(f"--repeats {asked.repeats} is out of range: give 1 or more")
    folder = fresh_folder(asked.output.out, stamped("bench"))
    device.configure(double=False, lanes=1000 if "gate" in asked.parts else 1)

    from ...plot.style import save
    from ..bench import machine
    from ..figures.bench import bench_figure

    timings = []
    with progress("bench", len(asked.parts), asked.output.quiet) as step:
        for part in asked.parts:
            step(part, 0)
            timings += build("part", part, {"repeats": asked.repeats}.__getitem__)
            step(part)
    document = {"machine": machine(), "timings": [timing.to_dict() for timing in timings]}
    write_json(new_folder(folder) / "bench.json", document)
    save(bench_figure(document), folder / "bench.png", asked.output.format)
    print(json.dumps(document, indent=2) if asked.output.json else table(document))
    if not asked.output.quiet:
        print(f"direp: bench.json and its figure are in {folder}", file=sys.stderr)
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
