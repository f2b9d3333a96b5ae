"""`direp predict`: what a trained network says of new rows."""

import csv
import dataclasses
import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...runs import Unreadable, plain, quoted, read_arrays
from .. import device
from ..folders import new_file
from ..settings import WrongUse
from ..words import plural
from . import DIVERGED, OK, first, parse, progress

if TYPE_CHECKING:
    from ...training import Prediction
    from ..run_folder import LoadedRun


@dataclasses.dataclass(frozen=True)
class Predict:
    """What the network of RUN (a folder of direp train) says of the rows of FILE: a .csv, .tsv or .parquet file with
    the columns that it was trained on, an .npz file with an array x, or - for CSV from standard input.

    One line a row, as CSV: the answer, for labels the probability of each, whether the network settled, and a proved
    bound on the distance of its outputs from equilibrium (where there is a certificate).
    """

    seed: int | None = None
    """The network of this seed; by default the best one on validation samples."""
    out: Path | None = None
    """A new file for the answers; by default standard output."""
    json: bool = False
    """Print one JSON document in place of CSV."""
    quiet: bool = False
    """No progress and no messages but errors."""
    debug: bool = False
    """Show tracebacks."""
    allow_import: bool = False
    """Import the modules of a user's own parts that the run names."""


def predict(arguments: list[str]) -> int:
    """The command: exit code 4 if no row settled."""
    run, rest = first("predict", arguments, "two arguments, before all options: a run folder and a file of rows")
    if run is not None and (not rest or (rest[0].startswith("-") and rest[0] != "-")):
        raise WrongUse("predict needs a file of rows after the run folder: .csv, .tsv, .parquet or .npz, or - for CSV")
    path, rest = (rest[0], rest[1:]) if run is not None else ("", rest)
    asked = parse("predict RUN FILE", Predict, rest, Predict())
    if asked.out is not None and asked.out.exists():
        raise WrongUse(f"--out {asked.out} exists already: name a new file, nothing is overwritten")
    if run is not None and Path(run).is_file() and Path(path).is_dir():
        raise WrongUse(f"the run folder comes first: direp predict {quoted(path)} {quoted(run)}")
    from ..run_folder import open_run

    device.configure(double=True)
    loaded = open_run(Path(run or ""), allow_import=asked.allow_import, needs_data=None)
    table, given = _rows(path, loaded)
    with progress("predict", _count(table), asked.quiet, least=20_000) as step:
        found = loaded.predict(table, asked.seed, step=lambda count: step(share=count))
    text = _json(loaded, asked, found) if asked.json else _csv(loaded, found)
    if asked.out is None:
        print(text, end="")
    else:
        new_file(asked.out, text)
    if not asked.quiet:
        for line in _told(loaded, asked, found, table, given):
            print(f"direp: {line}", file=sys.stderr)
    return DIVERGED if len(found) and not found.settled.any() else OK


def _rows(path: str, run: "LoadedRun") -> tuple[Any, Any]:
    """The rows, and their targets if the file has them too."""
    from ..build import read_table

    kept = run.preparation or run.task.preparation
    if path.lower().endswith(".npz"):
        arrays, held = read_arrays(Path(path), ("x", "y"))
        if "x" not in arrays:
            raise Unreadable(f"{path} holds {', '.join(held) or 'nothing'}; needed is an array named x")
        return arrays["x"], arrays.get("y")
    columns = () if kept is None else kept.inputs.columns
    words = [column.name for column in columns if column.categories]
    numbers = [column.name for column in columns if not column.categories]
    what = None if kept is None else kept.targets
    labels = (
        what.names
        if what is not None and len(what.names) == 1 and what.classes and isinstance(what.classes[0], str)
        else ()
    )
    table = read_table(path, words=[*words, *labels], numbers=numbers)
    targets = () if kept is None else kept.targets.names
    return table, table.select(targets) if targets and set(targets) <= set(table.column_names) else None


def _count(table: Any) -> int:
    return getattr(table, "num_rows", None) or len(table)


def _answers(run: "LoadedRun", found: "Prediction") -> dict[str, Any]:
    """Columns of answers: one a target, or the label and its probabilities."""
    kept = run.preparation or run.task.preparation
    assert kept is not None
    names, targets = kept.targets.names, kept.targets
    values = found.value if found.value.ndim == 2 else found.value[:, None]
    if len(names) != values.shape[1]:
        names = ("prediction",) if values.shape[1] == 1 else tuple(f"prediction {k}" for k in range(values.shape[1]))
    more: dict[str, Any] = {}
    if found.probability is not None:
        classes = names if targets.kind == "multilabel" else targets.classes
        more |= {f"P({label})": found.probability[:, k].tolist() for k, label in enumerate(classes)}
    more["settled"] = ["yes" if still else "no" for still in found.settled]
    if found.error is not None and found.error.ndim == 1:
        more["error"] = found.error.tolist()
    elif found.error is not None:
        more |= {f"error({name})": found.error[:, k].tolist() for k, name in enumerate(names)}
    columns: dict[str, Any] = {name: values[:, k].tolist() for k, name in enumerate(names)}
    for name, column in more.items():
        while name in columns:  # a target may be called so
            name += "_"
        columns[name] = column
    return columns


def _csv(run: "LoadedRun", found: "Prediction") -> str:
    columns, text = _answers(run, found), io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue()


def _json(run: "LoadedRun", asked: Predict, found: "Prediction") -> str:
    document = {
        "run": str(run.path), "task": run.settings.task, "seed": run.chosen if asked.seed is None else asked.seed,
        "rows": len(found), "unsettled": int((~found.settled).sum()), "predictions": _answers(run, found),
    }  # fmt: skip
    return json.dumps(plain(document), indent=2) + "\n"


def _worst(found: "Prediction", targets: Any) -> str:
    """The largest bound, of each target in its own units."""
    from ...arithmetic import at_most

    assert found.error is not None
    largest = np.atleast_1d(found.error[found.settled].max(0, initial=0))
    each = [f"at most {at_most(float(bound), 2)}" for bound in largest]
    named = len(each) > 1 and len(targets.names) == len(each)
    return ", ".join(f"{bound} ({name})" for bound, name in zip(each, targets.names, strict=True)) if named else each[0]


def _told(run: "LoadedRun", asked: Predict, found: "Prediction", table: Any, given: Any) -> list[str]:
    """What a person should know: which network answered, what did not settle, what it had not met."""
    from ..scores import scores_of, spoken

    kept = run.preparation or run.task.preparation
    assert kept is not None
    lines, many = [], len(run.parts.seeds) > 1
    which = f" by seed {run.chosen}, the best on validation samples" if many and asked.seed is None else ""
    unsettled = int((~found.settled).sum())
    if found.error is None:
        off = "; it is not proved to settle, so that no error is bounded"
    else:
        off = f", outputs {_worst(found, kept.targets)} from equilibrium"
    lines.append(f"{plural(len(found), 'row')}{which}, {unsettled} unsettled{off}")
    for name, words in kept.inputs.unknown(table).items():
        shown = ", ".join(map(repr, words[:5])) + (" and more" if len(words) > 5 else "")
        lines.append(f"column {name!r} holds {shown}, which the training part did not: taken as a gap")
    gaps = kept.inputs.gaps(table)
    if gaps:
        shown = ", ".join(f"{name} ({count})" for name, count in list(gaps.items())[:6])
        lines.append(f"gaps were filled as in training: {shown}")
    if given is not None:
        truth = kept.targets.raw(given)
        there = np.array([all(v is not None and v == v for v in np.atleast_1d(row).tolist()) for row in truth])
        some = "" if there.all() else f" ({there.sum()} of {plural(len(there), 'row')})"
        if there.any():
            scores = scores_of(kept.targets, dataclasses.replace(found, value=found.value[there]), truth[there])
            lines.append(f"against the targets in the file{some}: {spoken(scores)}")
    return lines
