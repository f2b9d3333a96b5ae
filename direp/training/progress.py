"""Progress of what takes long, on standard error: a bar in terminals and notebooks, lines now and then in files."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import IO, Any, cast

import numpy as np

from ..runs import Told, say
from ..tasks import Task
from .metrics import summarise

_LONG = 20  # seconds after which the time taken is told
_FIRST, _LAST = 10.0, 300.0  # seconds to the first line in a file, and between the last ones


@contextlib.contextmanager
def progress_bar(name: str, total: int, *, counted: bool = True, quiet: bool = False) -> Iterator[Callable[..., None]]:
    """A bar with the time that is left, on standard error. Yields `step(what, share, figures)`: what is being done, by
    how much of `total` it is further, and what to show beside.

    In a terminal, and in a notebook with ipywidgets, the bar is drawn anew in its place. Anywhere else, such as in a
    file, it is a line after 10 seconds, 20, 40 and so on, at least every five minutes, and one at the end.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn
    from rich.table import Column

    # Where the line is too short, the figures at its end give way.
    count = (MofNCompleteColumn(table_column=Column(min_width=2 * len(str(total)) + 1)),) if counted else ()
    elapsed, ahead = (kind(table_column=Column(min_width=7)) for kind in (TimeElapsedColumn, TimeRemainingColumn))
    left = (elapsed, "eta", ahead, "{task.fields[figures]}")
    begun, notebook = time.perf_counter(), _notebook()
    widgets = notebook and _widgets()
    drawn = widgets or (not notebook and sys.stderr.isatty())  # a notebook calls itself a terminal
    look: dict[str, Any] = {"width": None} if drawn else {"width": 160, "force_terminal": False}
    console = Console(file=cast(IO[str], Told(sys.stderr)), force_jupyter=widgets, **look)
    bar = Progress(
        "{task.description}", BarColumn(bar_width=18), *count, *left, console=console, disable=quiet,
        redirect_stdout=sys.stdout.isatty(),  # what goes to a file stays what it is
    )  # fmt: skip
    wait, due = _FIRST, begun + _FIRST
    with bar:
        row = bar.add_task(name, total=total, figures="")

        def step(what: str = "", share: float | int = 1, figures: str = "") -> None:
            nonlocal wait, due
            bar.update(row, description=what or name, advance=share, figures=figures)
            if not (drawn or quiet) and time.perf_counter() > due:
                console.print(bar.get_renderable())
                wait = min(2 * wait, _LAST)
                due = time.perf_counter() + wait

        yield step
    seconds = time.perf_counter() - begun
    if seconds > _LONG and not quiet:
        say(f"{name} took {seconds:.0f} s")


def _notebook() -> bool:
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


def _widgets() -> bool:
    """Whether a notebook can draw a bar anew."""
    try:
        import IPython.display  # noqa: F401  # pyright: ignore[reportMissingImports]
        import ipywidgets  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError:
        return False
    return True


@contextlib.contextmanager
def epochs_shown(task: Task, epochs: int, progress: bool | str) -> Iterator[tuple[Callable[..., None], ...]]:
    """The bar of a training, named `progress` or as the task; yields the callbacks that it needs, if any."""
    if not progress:
        yield ()
        return
    with progress_bar(progress if isinstance(progress, str) else task.name, epochs) as step:
        step(share=0, figures="compiling")

        def shown(number: int, row: dict[str, np.ndarray]) -> None:
            step(figures=line_of(task, row))

        yield (shown,)


def line_of(task: Task, row: dict[str, Any]) -> str:
    """An epoch beside the bar: loss, accuracy, settling steps, unsettled and unmoved shares, margin."""
    now = summarise(row)
    part = "" if task.whole else "validation_"
    figures = [f"loss {now[part + 'loss']:.4f}"]
    if task.kind != "regression":
        figures.append(f"right {now[part + 'accuracy']:.1%}")
    figures.append(f"steps {now['steps_mean']:.0f}/{now['steps_max']:.0f}")
    figures.append(f"unsettled {now['unsettled']:.1%}")
    if now["unmoved"]:
        figures.append(f"unmoved {now['unmoved']:.1%}")
    figures.append(f"margin {now['lowest_margin']:+.2g}")
    if now["failed"]:
        figures.append(f"failed seeds {now['failed']:.0f}")
    return ", ".join(figures)
