"""Trainings that go on: where calls end, what tells one training from another, and settings at random."""

import functools
import json
from typing import Any
from unittest import mock

import equinox as eqx
import jax
import numpy as np
import optax
import pytest
from campaigns.resumes import trial
from resume_cases import FORMATS, TABLE, Ended, X, content, gone

import direp
from direp import tasks
from direp.runs import CHECKPOINT, RunFolder
from direp.runs.files import plain
from direp.training import planned, prune, train_together
from direp.training.described import description_of, differences

pytestmark = pytest.mark.usefixtures("_optax")


def _asked(epochs=12, rate=0.02, **more) -> dict[str, Any]:
    """A task so small that a call trains several epochs."""
    graph = direp.Graph.layered((TABLE.inputs, 4, TABLE.outputs))
    start = direp.FanIn(hidden_bias=0.3)
    network = direp.Network(graph, direp.Projected(), start, key=jax.random.key(0), dtype=np.float32)
    how = {"network": network, "task": TABLE, "rule": direp.Local(), "optimiser": optax.adam(rate), "epochs": epochs}
    return how | {"batch_size": 8, **more}


def _quick(folder, *given, **more):
    return direp.fit(**_asked(*given, **more), folder=folder, checkpoint=0.0)


def test_one_epoch_is_the_first_of_many(tmp_path):
    """The program of large tasks has other last digits."""
    how = {"control": direp.LeakController(), "evaluate": False}
    with mock.patch("direp.training.epochs._updated", side_effect=Ended):  # that of large tasks
        for epochs in (1, 2, 12):
            _quick(tmp_path / "longer", epochs, **how)
    _quick(tmp_path / "long", **how)
    for name in FORMATS:
        assert content(tmp_path / "longer" / name)[1] == content(tmp_path / "long" / name)[1]


def test_what_has_failed_ends_where_it_always_ends(tmp_path):
    """Killed before it could tell that, or asked for more, or with others beside it that go on."""
    whole = _quick(tmp_path / "whole", 25, rate=3e38)
    assert (whole.status, len(whole.history["loss"])) == ("failed", 10)
    with (
        mock.patch.object(RunFolder, "finish", side_effect=Ended), mock.patch.object(RunFolder, "__exit__", gone),
        mock.patch("direp.training.loop.conclude", side_effect=Ended), pytest.raises(Ended),
    ):  # fmt: skip
        _quick(tmp_path / "killed", 25, rate=3e38)
    assert _quick(tmp_path / "killed", 5, rate=3e38).status == "failed"  # fewer than it has
    for folder, short in (("killed", 25), ("longer", 5)):
        assert _quick(tmp_path / folder, short, rate=3e38).status == "failed"
        assert _quick(tmp_path / folder, 25, rate=3e38).status == "failed"
        assert content(tmp_path / folder / CHECKPOINT)[1] == content(tmp_path / "whole" / CHECKPOINT)[1]
    own, other = planned(**_asked(25, rate=3e38)), planned(**_asked(25))
    alone, beside = train_together([own], 2), train_together([other, own], 2)
    assert alone is not None
    assert beside is not None
    assert [row["loss"].tobytes() for row in alone[0].rows] == [row["loss"].tobytes() for row in beside[1].rows]


class _Cost(direp.SquaredError):
    by: Any = eqx.field(static=True, default=None)


def _times(factor):
    return lambda error: factor * error


def _started_at(value):
    return optax.adagrad(0.1, initial_accumulator_value=value)


def _regression(column):
    return tasks.from_arrays(X, X[:, column], kind="regression")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"cost": _Cost(_times(1))}, {"cost": _Cost(_times(2))}),
        ({"cost": _Cost(lambda error: 2 * error)}, {"cost": _Cost(lambda error: 3 * error)}),
        ({"cost": _Cost(functools.partial(_times, 1))}, {"cost": _Cost(functools.partial(_times, 2))}),
        ({"cost": _Cost(frozenset("ab"))}, {"cost": _Cost(frozenset("ac"))}),
        ({"optimiser": _started_at(0.1)}, {"optimiser": _started_at(0.2)}),
        ({"optimiser": optax.add_noise(0.1, 0.5, key=1)}, {"optimiser": optax.add_noise(0.1, 0.5, key=2)}),
        ({"constraints": [direp.Bounds(-1, np.inf)]}, {"constraints": [direp.Bounds(-1, 2)]}),
        ({"task": _regression(0)}, {"task": _regression(1)}),
    ],
)  # fmt: skip
def test_trainings_are_told_apart_and_known_again(one, other):
    """What functions hold, what an optimiser begins with, and numbers that JSON does not know."""
    if "task" in one:
        graph = direp.Graph.layered((4, 3, 1))
        network = {"network": direp.Network(graph, direp.Projected(), direp.FanIn(), key=jax.random.key(0))}
        one, other = one | network, other | network
    first, second = (description_of(planned(**_asked(**more))) for more in (one, other))
    assert differences(first, second)
    kept = json.loads(json.dumps(plain(first)))
    assert not differences(kept, description_of(planned(**_asked(**one))))


def test_keys_and_lanes_are_part_of_a_training(tmp_path):
    network = _asked()["network"]
    with_key = [optax.chain(optax.sgd(0.1), prune(network, key=jax.random.key(k))) for k in (0, 1)]
    _quick(tmp_path / "keys", 2, optimiser=with_key[0])
    with pytest.raises(ValueError, match="optimiser"):
        _quick(tmp_path / "keys", 2, optimiser=with_key[1])
    _quick(tmp_path / "lanes", 2, lanes=2, optimiser=with_key[0])
    with pytest.raises(ValueError, match="lanes was 2 and is None"):
        _quick(tmp_path / "lanes", 2, optimiser=with_key[0])


@pytest.mark.parametrize("seed", [1])
def test_settings_at_random(seed):
    """A few cases of `campaigns/resumes.py`."""
    _, found, shown = trial(seed)
    assert not found, shown
