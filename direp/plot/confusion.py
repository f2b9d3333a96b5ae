"""What a network says of every class."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from .style import EMPTY, WARM, Place, beside, place, readable, shortened

_LEAST = 4.5  # points: smaller numbers cannot be read
_FEW = 10  # classes up to which shares stand below counts
_PARTS = {"train": "training", "validation": "validation", "test": "test"}


def confusion_matrix(
    run: Any,
    ax: Place = None,
    *,
    said: Any = None,
    classes: Any = None,
    part: str = "validation",
    task: Any = None,
    seed: int | None = None,
    title: str = "",
) -> Axes:
    """How many samples of a class (rows) a network takes for which (columns): counts, and their share of the class as
    colours, in per cent too where there is room. Numbers too small to be read are left out.

    **Arguments:**

    - `run`: a `Run`, or whatever has its `task` and either its `validation`, ... or its `predict`; or the true classes
      of samples, beside which `said` are those that were said.
    - `classes`: their names in order, of arrays; by default what is found in them.
    - `part`: of the task's samples, `"validation"`, `"test"` or `"train"`. The title names it.
    - `task`: whose samples to take; by default that of the run. A run that was loaded from its folder alone has none.
    - `seed`: by default the one that does best on validation samples.
    """
    from sklearn.metrics import confusion_matrix as counts_of  # two seconds

    if said is not None:
        true, said = np.ravel(np.asarray(run)), np.ravel(np.asarray(said))
        if true.shape != said.shape or not true.size:
            raise ValueError(f"confusion_matrix: {true.size} true classes and {said.size} said ones; give pairs")
        labels = np.unique(np.concatenate([true, said])) if classes is None else np.asarray(classes)
        names = [str(label) for label in labels]
    else:
        true, said, names, what = _of_run(run, part, task, seed)
        labels, title = np.arange(len(names)), title or what
    unknown = set(true.tolist() + said.tolist()) - set(labels.tolist())
    if unknown:
        raise ValueError(f"confusion_matrix(classes={names}) lacks {unknown.pop()!r}, which is there")
    counts = np.asarray(counts_of(true, said, labels=labels))
    return _draw(counts, [shortened(name, 14) for name in names], ax, title)


def _of_run(run: Any, part: str, task: Any, seed: int | None) -> tuple[np.ndarray, np.ndarray, list[str], str]:
    """True classes and those said, by number; their names; what was asked, in words."""
    if part not in _PARTS:
        raise ValueError(f"confusion_matrix(part={part!r}) must be one of {', '.join(map(repr, _PARTS))}")
    found = None if task is not None else getattr(run, part, None)
    if task is None and getattr(run, "lost", None):
        raise ValueError(
            "confusion_matrix: the data of a loaded run was not read; give confusion_matrix(run, task=...)"
        )
    task = run.task if task is None else task
    if task.kind != "classification":
        raise ValueError(f"confusion_matrix: task {task.name!r} is a {task.kind}; only classes are mixed up")
    x, y = getattr(task, part)
    if not len(y):
        raise ValueError(f"confusion_matrix: task {task.name!r} has no {_PARTS[part]} samples; give part=...")
    if found is not None:
        outputs = np.asarray(found.outputs)[run.best if seed is None else run.seeds.index(seed)]
    else:
        outputs = np.asarray(run.predict(_rows(task, x), seed=seed).outputs)
    classes = task.classes or tuple(map(str, range(max(task.outputs, 2))))
    asked = f"all {len(y)} samples" if task.whole else f"{len(y):,} {_PARTS[part]} samples"
    true, said = (v[:, 0].round() if v.shape[1] == 1 else v.argmax(1) for v in (np.asarray(y), outputs))
    share = float((true == said).mean())
    what = f"{task.name}: {asked}, {share:.1%} right".replace("%", " %")
    return true.astype(int), said.astype(int), [str(name) for name in classes], what


def _rows(task: Any, x: Any) -> np.ndarray:
    """Inputs as the data of the task was before it was scaled."""
    if task.preparation is None:
        return np.asarray(x, float)
    inputs = task.preparation.inputs
    if any(column.categories for column in inputs.columns):
        raise ValueError(
            f"confusion_matrix: task {task.name!r} has a column of words; give the classes themselves, "
            "confusion_matrix(true, said=run.predict(table).value)"
        )
    return np.asarray(x, float) * inputs.scale + inputs.centre


def _draw(counts: np.ndarray, names: list[str], ax: Place, title: str) -> Axes:
    size, total = len(names), counts.sum(1, keepdims=True)
    shares = np.where(total > 0, counts / np.maximum(total, 1), np.nan)
    side = float(np.clip(0.55 * size, 2.4, 6))
    (axis,) = place(ax, side + 1.6, side + 1.0)
    box = axis.get_window_extent()
    cell = 72 * min(box.width, box.height) / axis.figure.dpi / size  # points
    image = axis.imshow(shares, cmap=WARM, vmin=0, vmax=1, interpolation="nearest")
    axis.set_facecolor(EMPTY)
    for (row, column), count in np.ndenumerate(counts):
        share = f"{shares[row, column]:.0%}".replace("%", " %") if total[row] else ""
        for text in (f"{count:,}\n{share}", f"{count:,}")[size > _FEW :]:
            most = max(map(len, text.split("\n")))
            font = min(8.0, cell / (0.62 * most), cell / (1.3 * text.count("\n") + 1.3))
            if font >= (6 if "\n" in text else _LEAST) and (count or row == column):
                colour = readable(WARM(shares[row, column])) if total[row] else "black"
                axis.text(column, row, text, ha="center", va="center", fontsize=font, color=colour, linespacing=1.1)
                break
    font = float(np.clip(0.75 * cell, 5, 8))
    longest = max(map(len, names))
    axis.set_xticks(range(size), names, fontsize=font, rotation=45 if longest > 3 else 0)
    for label in axis.get_xticklabels() if longest > 3 else ():
        label.set(ha="right", rotation_mode="anchor")
    axis.set_yticks(range(size), names, fontsize=font)
    axis.set(xlabel="said", ylabel="true")
    axis.set_title(title, fontsize=9)
    axis.tick_params(length=0)
    figure: Any = axis.figure
    bar = figure.colorbar(image, cax=beside(axis, 0.1, 0.12), ticks=[0, 0.5, 1])
    bar.ax.tick_params(labelsize=7)
    bar.set_label("share of the class", fontsize=7)
    return axis
