"""Two trainings are told apart by what they were asked for, and one is known again."""

import functools
import json

import jax
import numpy as np
import optax
import pytest

import direp
from direp.training import planned, prune
from direp.training.described import described, description_of, differences

pytestmark = pytest.mark.usefixtures("_optax")
TASK = direp.tasks.xor()
GRAPH = direp.Graph.complete(inputs=2, hidden=3, outputs=1)
NETWORK = direp.Network(GRAPH, direp.Projected(), leak=1.0, key=jax.random.key(0))
HOW = {"rule": direp.Local(), "optimiser": optax.adam(0.05), "epochs": 2}


def _description(**changes):
    return description_of(planned(NETWORK, TASK, **{**HOW, **changes}))


def _jitted(weights):
    """An optimiser whose numbers are those of a function within."""
    inner = jax.jit(lambda updates: jax.tree.map(lambda u: u * weights.sum(), updates))
    return optax.GradientTransformation(lambda params: (), lambda updates, state, params=None: (inner(updates), state))


OPTIMISERS = {
    "a number in the update": lambda k: optax.adam(0.1 * k),
    "a number in the state": lambda k: optax.inject_hyperparams(optax.adam)(learning_rate=0.1 * k),
    "a key": lambda k: optax.chain(optax.adam(0.1), prune(NETWORK, key=jax.random.key(k))),
    "a key of noise": lambda k: optax.chain(optax.add_noise(0.1, 0.5, jax.random.key(k)), optax.sgd(0.1)),
    "an array of a function within": lambda k: _jitted(np.full(3, 0.1 * k)),
}


@pytest.mark.parametrize("name", OPTIMISERS)
def test_optimisers_that_differ_are_told_apart_and_like_ones_are_not(name):
    one, same, other = (_description(optimiser=OPTIMISERS[name](k)) for k in (1, 1, 2))
    kept = json.loads(json.dumps(one))
    assert differences(kept, same) == {}
    assert differences(kept, other)


def test_arguments_that_are_given_beforehand_are_told_apart():
    one, same, other = (described(functools.partial(np.clip, a_min=k)) for k in (1.0, 1.0, 2.0))
    assert one == same != other


@pytest.mark.parametrize("bound", [np.inf, -np.inf, np.nan])
def test_a_number_that_json_does_not_know_is_known_again(bound, tmp_path):
    assert json.loads(json.dumps(described(bound), allow_nan=False)) == described(bound)
    assert described(np.array([bound])) == [described(bound)]
    relu = direp.Network(
        GRAPH, direp.Rate(direp.activation.relu), leak=20.0, key=jax.random.key(0)
    )  # whose rates have no upper bound
    for epochs in (2, 4):
        run = direp.fit(relu, TASK, **{**HOW, "epochs": epochs}, folder=tmp_path / "run")
    assert len(run.history["loss"]) == 4


def test_a_training_of_other_lanes_or_with_a_state_of_its_own_does_not_go_on(tmp_path):
    run = direp.fit(NETWORK, TASK, **HOW, folder=tmp_path / "run", lanes=3)
    with pytest.raises(ValueError, match="lanes was 3 and is None"):
        direp.fit(NETWORK, TASK, **HOW, folder=tmp_path / "run")
    with pytest.raises(ValueError, match="leave out state"):
        direp.fit(NETWORK, TASK, **HOW, folder=tmp_path / "other", state=run.state)
    assert not (tmp_path / "other").exists()


def test_the_config_of_a_training_that_was_made_longer_says_so(tmp_path):
    for epochs in (2, 4):
        direp.fit(NETWORK, TASK, **{**HOW, "epochs": epochs}, folder=tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["fit"]["epochs"] == 4
    direp.fit(NETWORK, TASK, **{**HOW, "epochs": 4}, folder=tmp_path)
    assert json.loads((tmp_path / "config.json").read_text()) == config


def test_a_folder_of_a_newer_version_says_so(tmp_path):
    direp.fit(NETWORK, TASK, **HOW, folder=tmp_path)
    config = {**json.loads((tmp_path / "config.json").read_text()), "schema": 99}
    config["sha256"] = direp.runs.seal(config)
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(direp.runs.Unreadable, match="of a newer version"):
        direp.fit(NETWORK, TASK, **HOW, folder=tmp_path)
