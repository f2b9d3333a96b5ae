"""Trainings in folders that tests end in whatever way: how they are made, and how they are compared."""

import os
from unittest import mock

import jax
import numpy as np
import optax
import pytest

import direp
from direp import tasks
from direp.runs import CHECKPOINT, WEIGHTS, read_back

FORMATS = {WEIGHTS: "direp 2", CHECKPOINT: "direp checkpoint 1"}


class Ended(BaseException):
    """A process that is gone."""


def content(path):
    metadata, arrays = read_back(path, "file", FORMATS[path.name], ())
    return metadata, {name: (array.dtype, array.shape, array.tobytes()) for name, array in arrays.items()}


def same(one, other):
    for name in FORMATS:
        assert content(one / name) == content(other / name), name
    for name in ("metrics.jsonl", "config.json"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


X = np.random.default_rng(0).normal(size=(60, 4))
TABLE = tasks.from_arrays(X, (X[:, 0] * X[:, 1] > 0).astype(int) + (X[:, 2] > 0))


def fit(folder, epochs=3, count=2, task=TABLE, rule=None, control=None, **more):
    """Epochs of several calls each, as those of larger tasks are."""
    graph = direp.Graph.layered((task.inputs, 5, task.outputs))
    made = [
        direp.Network(graph, direp.Projected(), direp.FanIn(hidden_bias=0.3), key=jax.random.key(k), dtype=np.float32)
        for k in range(count)
    ]
    rule = rule or direp.AsymEP(beta=1.0, feedback=direp.LearnedFeedback())
    with mock.patch("direp.training.epochs._FEW", 1):
        return direp.fit(
            made, task, rule=rule, optimiser=optax.adam(0.02), control=control or direp.LeakController(),
            epochs=epochs, batch_size=8, folder=folder, checkpoint=0.0, **more,
        )  # fmt: skip


def gone(self, *_):
    """As a process that is killed leaves a folder: the lock is the system's to take away."""
    os.close(self._lock._file)
    self._lock._over.set()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A training that nobody ended: its folder and its run."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    with jax.numpy_dtype_promotion("standard"):
        return folder, fit(folder)
