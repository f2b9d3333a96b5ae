"""The program as tests call it: in this process, with what it prints and its exit code; and runs to share."""

import contextlib
import functools
import io
import json
import os
import re
import tempfile
import time
from pathlib import Path
from unittest import mock

import jax
import numpy as np
import pytest
from matplotlib.figure import Figure

from direp.program import cli
from direp.program.run_folder import keep_networks, new_run
from direp.program.settings import Settings
from direp.runs import Requests

_KEPT = tempfile.TemporaryDirectory()  # until the process ends


def _unseen(figure, file, **_):
    """A figure that is drawn as an empty file."""


def call(*arguments, drawn=False):
    """Exit code, standard output, standard error. Figures are made, and put on paper where a test looks at them."""
    out, err = io.StringIO(), io.StringIO()
    paper = contextlib.nullcontext() if drawn else mock.patch.object(Figure, "savefig", _unseen)
    # Optax itself multiplies floats with integer counts, which strict promotion refuses.
    with (
        paper, jax.numpy_dtype_promotion("standard"), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as left,
    ):  # fmt: skip
        cli.main([str(argument) for argument in arguments])
    jax.config.update("jax_enable_x64", True)
    return left.value.code, out.getvalue(), err.getvalue()


def untold(heading, *documents, page="reference/json.md"):
    """The keys of JSON documents that the section of a page does not name."""
    text = (Path(__file__).parent.parent / "docs" / page).read_text()
    section = re.search(rf"^## [^\n]*\b{heading}\b[^\n]*\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)[1]
    return sorted({key for document in documents for key in document if f"`{key}`" not in section})


def signalled(number):
    """Send this process a signal, and wait until it is heard: by a thread."""
    os.kill(os.getpid(), number)
    begun = time.monotonic()
    while Requests.now.received != number and time.monotonic() < begun + 60:
        time.sleep(0.001)


@functools.cache
def finished():
    """A real run with JSON on standard output and nothing else: its folder, its document, what standard error had."""
    folder = Path(_KEPT.name) / "xor"
    code, out, err = call(
        "train", "xor", "--preset", "small", "--seeds", "0,2..3", "--epochs", "60", "--json", "--out", folder,
        drawn=True,
    )  # fmt: skip
    assert code == 0
    return folder, json.loads(out), err


def folder_of(path, networks, preset=None, **settings):
    """A run folder as training leaves it, without the training."""
    kind = str(np.asarray(networks[0].leak).dtype)
    settings = Settings(**{**(preset or {}), "precision": kind, "seeds": f"3..{2 + len(networks)}", **settings})
    with new_run(path, settings) as folder:
        keep_networks(path, folder, networks, tuple(range(3, 3 + len(networks))))
    return path
