"""Samples that weigh unequally, trainings that go on, and what ends them."""

import dataclasses

import jax
import numpy as np
import optax
import pytest

import direp
from direp import tasks
from direp.training import STOP

pytestmark = pytest.mark.usefixtures("_optax")
EPOCHS = 20  # ten a call, so that all trainings here share a program


def _noise(count=24, classes=3, weight=None):
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(count, 4)), np.eye(classes)[rng.integers(0, classes, count)]
    return x, y, weight


@pytest.mark.parametrize(
    "rule",
    [
        direp.Local(beta=1.0), direp.SymmetricEP(direp.Centred(0.05)), direp.Trajectory(beta=1.0),
        direp.VectorField(beta=0.1),
        direp.AsymEP(beta=1.0), direp.Dyadic(), direp.Adjoint(), direp.BPTT(20), direp.Homeostasis(direp.Local(), 0.1),
    ],
    ids=lambda rule: type(rule).__name__,
)  # fmt: skip
def test_a_weight_counts_a_sample_as_often_as_it_is_repeated(rule):
    """Random probes of homeostasis are drawn a sample, so only its part without them is compared."""
    x, y, _ = _noise()
    weight = np.random.default_rng(2).integers(0, 4, len(x)).astype(float)
    neuron = direp.Rate("sigmoid", "signed")
    network = direp.Network(direp.Graph.complete(4, 3, 3), neuron, direp.Normal(0.2), leak=2.0, key=jax.random.key(0))
    if isinstance(rule, direp.Homeostasis):
        rule = direp.Homeostasis(direp.Local(), 0.0)
    key, stop = jax.random.key(1), direp.Tolerance(1e-12, 1e-12)
    again = np.repeat(np.arange(len(x)), weight.astype(int))
    one = direp.estimate(network, x, y, rule, weight=3 * weight, key=key, stop=stop)
    if isinstance(rule, direp.Trajectory):  # which divides by the steps of the slowest sample that counts
        keep = weight > 0
        one = direp.estimate(network, x[keep], y[keep], rule, weight=3 * weight[keep], key=key, stop=stop)
    other = direp.estimate(network, x[again], y[again], rule, key=key, stop=stop)
    for a, b in zip(jax.tree.leaves(one.gradient), jax.tree.leaves(other.gradient), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-13)
    assert not np.asarray(one.used)[(weight if len(one.used) == len(weight) else weight[weight > 0]) == 0].any()


def test_samples_that_count_nothing_are_in_no_figure():
    x = np.random.default_rng(0).normal(size=(60, 2))
    task = tasks.from_arrays(x, (x[:, 0] > 0).astype(int))
    weight = (np.arange(len(task.train.x)) % 2).astype(float)
    half = dataclasses.replace(task, train=tasks.Samples(*(part[weight > 0] for part in task.train)))
    one, other = (
        direp.fit(_started(task), each, rule=direp.Local(), optimiser=optax.adam(0.02), epochs=3, keep="last")
        for each in (dataclasses.replace(task, weight=weight), half)
    )
    for name, values in other.history.items():
        np.testing.assert_allclose(one.history[name], values, rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("size", [1e-60, 1e60])
def test_weights_count_by_their_ratios_whatever_the_precision_holds(size):
    x = np.random.default_rng(0).normal(size=(60, 2))
    task = tasks.from_arrays(x, (x[:, 0] > 0).astype(int))
    graph = direp.Graph.layered((2, 4, 2))
    network = direp.Network(graph, direp.Projected(), leak=1.0, key=jax.random.key(0), dtype=np.float32)
    weight = 1.0 + np.arange(len(task.train.x)) % 3
    one, other = (_fit(dataclasses.replace(task, weight=w), network, 3) for w in (weight, size * weight))
    assert not other.failed.any()
    np.testing.assert_allclose(other.history["loss"], one.history["loss"], rtol=1e-5)


def _started(task):
    graph = direp.Graph.layered((task.inputs, 5, task.outputs))
    return direp.Network(graph, direp.Projected(), direp.FanIn(hidden_bias=0.3), key=jax.random.key(0))


def _fit(task, network, epochs, **more):
    settings = {"rule": direp.Local(beta=1.0), "optimiser": optax.adam(0.02), "control": direp.LeakController()}
    return direp.fit(network, task, **settings, epochs=epochs, batch_size=8, keep="last", **more)


def test_a_training_goes_on_where_it_stopped_bit_by_bit():
    x, y, _ = _noise(60)
    task = tasks.from_arrays(x, y)
    network = _started(task)
    whole = _fit(task, network, EPOCHS)
    half = _fit(task, network, EPOCHS - 10)
    rest = _fit(task, network, 10, state=half.state)
    for a, b in zip(jax.tree.leaves(whole.networks), jax.tree.leaves(rest.networks), strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
    assert (np.concatenate([half.history["loss"], rest.history["loss"]]) == whole.history["loss"]).all()
    with pytest.raises(ValueError, match="of another training"):
        direp.fit(network, task, rule=direp.Local(beta=1.0), optimiser=optax.sgd(0.1), state=half.state)


def test_a_callback_ends_a_training():
    x, y, _ = _noise(60)
    task = tasks.from_arrays(x, y)
    run = _fit(task, _started(task), EPOCHS, callbacks=[lambda number, row: STOP if number == 3 else None])
    assert run.status == "stopped"
    assert 3 <= len(run.history["loss"]) <= 10


def test_weights_of_samples_reach_the_training():
    x, y, _ = _noise(60)
    task = tasks.from_arrays(x, y)
    weight = np.zeros(len(task.train.x))
    weight[:16] = 1
    few = tasks.Task("few", tasks.Samples(*(part[:16] for part in task.train)), task.validation, task.test)
    whole = tasks.Task("whole", *task_parts(task), weight=weight)
    settings = {"rule": direp.Local(beta=1.0), "optimiser": optax.adam(0.02), "epochs": EPOCHS, "keep": "last"}
    one, other = (direp.fit(_started(task), each, **settings) for each in (few, whole))
    for a, b in zip(jax.tree.leaves(one.networks), jax.tree.leaves(other.networks), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)
    np.testing.assert_allclose(one.history["loss"], other.history["loss"], rtol=1e-12)
    with pytest.raises(ValueError, match="every weight is 0"):
        tasks.Task("none", *task_parts(task), weight=0 * weight)
    with pytest.raises(ValueError, match="a finite number, 0 or above, for each of"):
        tasks.Task("short", *task_parts(task), weight=weight[:3])


def test_weights_count_in_batches_of_one():
    """Steps without momentum from the same start: those of a sample are as long as it weighs beside the mean."""
    x, y, _ = _noise(60)
    task = tasks.from_arrays(x, y)
    settings = {"rule": direp.Local(beta=1.0), "optimiser": optax.sgd(1e-9), "epochs": 1, "batch_size": 1}
    weight, moved = np.random.default_rng(0).integers(1, 5, len(task.train.x)), {}
    begun = _started(task)
    for name, each in {"weighted": weight, "alike": None, "scaled": 8.0 * weight}.items():
        made = tasks.Task("own", *task_parts(task), weight=each)
        run = direp.fit(begun, made, **settings, keep="last")
        moved[name] = np.asarray(run.network.bias - begun.bias) / 1e-9
    found = direp.estimate(begun, *task.train, settings["rule"], weight=weight).gradient.bias
    np.testing.assert_allclose(moved["weighted"], -len(weight) * np.asarray(found), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(moved["scaled"], moved["weighted"], rtol=1e-9)
    assert np.abs(moved["alike"] - moved["weighted"]).max() > 0.1


def task_parts(task):
    return task.train, task.validation, task.test
