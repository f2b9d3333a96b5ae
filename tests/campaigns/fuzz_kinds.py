"""The kinds of files that the program reads: one more kind is one more entry here."""

import contextlib
from collections.abc import Callable
from pathlib import Path

from fuzz_checkpoints import checkpoints, specs
from fuzz_data import data, graphs, images, matrices, new_rows
from fuzz_runs import configs, metrics, networks, weights
from fuzz_specimen import Specimen

# From the name of a kind to what makes its specimens in a folder; the stack takes what is to be undone behind them.
KINDS: dict[str, Callable[[Path, contextlib.ExitStack], list[Specimen]]] = {
    "config": configs, "weights": weights, "network": networks, "matrix": matrices, "graph": graphs, "data": data,
    "rows": new_rows, "metrics": metrics, "images": images, "checkpoint": checkpoints, "spec": specs,
}  # fmt: skip
