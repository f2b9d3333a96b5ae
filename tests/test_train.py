import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import flat

import direp
from direp import tasks
from direp.program.build import arguments, load_task
from direp.program.presets import PRESETS, preset
from direp.program.settings import Settings
from direp.training import memory
from direp.training import step as trainer

pytestmark = pytest.mark.usefixtures("_optax")


def gate_run(name="xor", seeds="0..9", **changes):
    settings = Settings.from_dict({**preset(name).to_dict(), "seeds": seeds, **changes})
    settings.check()
    task = load_task(settings)
    return direp.fit(task=task, **arguments(settings, task))


@pytest.mark.parametrize("name", tasks.GATES)
def test_the_default_preset_solves_every_gate_certified_at_every_epoch(name):
    run = gate_run(name, epochs=120)
    assert run.solved.all()
    assert run.history["lowest_margin"].min() > 0.099
    assert run.history["unsettled"].max() == 0
    assert all(direp.certify(net, nudge=run.trainer.rule.nudge).verdict == "proved" for net in run.networks)
    # What the run reports is what the networks do.
    for net, loss in zip(run.networks, run.test.loss, strict=True):
        outputs = np.asarray(net.outputs(direp.settle(net, run.task.test.x).state))
        assert abs(0.5 * ((outputs - run.task.test.y) ** 2).mean(0).sum() - loss) < 1e-4
        assert (np.round(outputs) == run.task.test.y).all()


def test_five_hidden_units_suffice():
    assert gate_run(hidden=(5,), epochs=150).solved.all()


def test_learning_blind_to_the_controlled_leak_does_worse():
    """The ablation behind the default: synapses that ignore the leak their own controller sets."""
    blind = gate_run(hidden=(5,), epochs=150, seeds="0..29", through_leak=False)
    assert blind.solved.mean() < 0.9


def test_seeds_reproduce_and_do_not_depend_on_their_neighbours():
    one, two = gate_run(seeds="3..5", epochs=20), gate_run(seeds="3..5", epochs=20)
    for a, b in zip(one.networks, two.networks, strict=True):
        assert (flat(a.parameters) == flat(b.parameters)).all()
    alone = gate_run(seeds="4", epochs=20)
    np.testing.assert_allclose(flat(alone.network.parameters), flat(one.networks[1].parameters), rtol=1e-3, atol=1e-4)
    assert np.abs(flat(one.networks[0].parameters) - flat(one.networks[1].parameters)).max() > 0.1


def test_a_run_compiles_once(monkeypatch):
    traced = []
    original = direp.training.step.Trainer.epoch

    def counted(*arguments, **settings):
        traced.append(1)
        return original(*arguments, **settings)

    monkeypatch.setattr(direp.training.step.Trainer, "epoch", counted)
    run = gate_run("or", epochs=47)
    assert len(run.history["loss"]) == 47
    assert sum(traced) == 1


def test_hyper_parameters_are_traced():
    task = tasks.gate("and")
    traced = []

    @eqx.filter_jit
    def once(network, rule):
        traced.append(1)
        return direp.estimate(network, task.train.x, task.train.y, rule).gradient.bias

    network = direp.Network(direp.Graph.complete(2, 2, 1), direp.Projected("signed"), key=jax.random.key(0))
    said = [once(network, direp.Local(beta=jnp.array(beta))) for beta in (0.5, 1.0, 2.0)]
    assert len(traced) == 1
    assert not np.allclose(said[0], said[2])


def test_minibatches_learn_and_the_best_epoch_is_chosen_on_validation_data():
    settings = Settings.from_dict({**preset("iris").to_dict(), "seeds": "0..1", "epochs": 25, "hidden": (16,)})
    task = load_task(settings)
    run = direp.fit(task=task, **arguments(settings, task))
    history = run.history
    for k in range(2):
        order = list(zip(history["validation_accuracy"][:, k], -history["validation_loss"][:, k], strict=True))
        assert run.best_epoch[k] == 1 + max(range(25), key=lambda e: order[e])
        assert run.validation.accuracy[k] == history["validation_accuracy"][run.best_epoch[k] - 1, k]
    assert run.test.accuracy.mean() > 0.8
    assert run.test.unconverged.sum() == 0
    # Test data has no part in training: other test samples, same networks.
    other = dataclasses.replace(task, test=tasks.Samples(task.test.x[::-1] * 3, task.test.y))
    again = direp.fit(task=other, **arguments(settings, task))
    assert (flat(again.network.parameters) == flat(run.network.parameters)).all()


def test_regression_learns():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 2))
    y = 0.5 + 0.2 * np.tanh(x @ [1.0, -0.5])
    task = tasks.from_arrays(x, y, kind="regression")
    graph = direp.Graph.layered([2, 8, 1])
    network = direp.Network(graph, direp.Rate(direp.activation.tanh), direp.FanIn(), key=jax.random.key(0))
    run = direp.fit(
        network, task, rule=direp.Local(beta=0.5), optimiser=optax.adam(0.02), epochs=60, batch_size=28,
        control=direp.LeakController(), stop=direp.Tolerance(1e-6, 1e-6),
    )  # fmt: skip
    assert float(run.test.loss[0]) < 0.2 * float(task.test.y.var() / 2)
    assert np.isnan(run.test.accuracy).all()
    assert run.solved is None


def test_training_that_diverges_stops_with_the_last_good_state():
    task = tasks.gate("xor")
    network = direp.Network(
        direp.Graph.complete(2, 3, 1), direp.Rate(direp.activation.relu), key=jax.random.key(0), leak=5.0
    )
    explode = optax.stateless(lambda updates, params: jax.tree.map(lambda p: 1e30 * (1 + jnp.abs(p)) ** 30, params))
    run = direp.fit(network, task, rule=direp.Local(beta=0.5), optimiser=explode, epochs=40)
    assert run.status == "failed"
    assert run.failed.all()
    assert len(run.history["loss"]) < 40
    assert np.isfinite(flat(run.network.parameters)).all()


def test_a_phase_that_diverges_is_counted_and_kept_out():
    task = tasks.gate("and")
    graph = direp.Graph.complete(2, 2, 1)
    matrix = 2.0 * graph.adjacency()
    network = direp.Network(graph, direp.Rate(direp.activation.relu), matrix, leak=1.0)
    run = direp.fit(
        network,
        task,
        rule=direp.Local(beta=0.1),
        optimiser=optax.sgd(1e-3),
        epochs=5,
        stop=direp.Tolerance(max_steps=500),
    )
    # Only the pattern of zeros stays finite.
    assert run.history["left_out"][0, 0] == 0.75
    assert run.test.unconverged[0] == 3
    assert not run.solved.any()


@pytest.mark.parametrize("task", PRESETS)
def test_every_preset_is_well_formed(task):
    for name in PRESETS[task]:
        settings = preset(task, name)
        settings.check()
        assert Settings.from_dict(settings.to_dict()) == settings


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": tasks.gate("not")}, "needs|has 1 inputs"),
        ({"epochs": 0}, "epochs=0"),
        ({"keep": "middle"}, "keep='middle'"),
        ({"seeds": [1, 2]}, "1 networks but 2 seeds"),
        ({"cost": direp.CrossEntropy()}, "cross-entropy"),
    ],
)
def test_wrong_use_is_refused_in_words(change, message):
    network = direp.Network(direp.Graph.complete(2, 2, 1), direp.Projected("signed"), key=jax.random.key(0))
    settings = {
        "task": tasks.xor(),
        "rule": direp.Local(),
        "optimiser": optax.adam(0.1),
        "epochs": 1,
        **change,
    }
    with pytest.raises(ValueError, match=message):
        direp.fit(network, **settings)


def test_large_parts_are_evaluated_in_pieces(monkeypatch):
    task = direp.tasks.bundled("iris")
    network = direp.Network(direp.Graph.layered([4, 6, 3]), direp.Projected(), key=jax.random.key(0))
    settings = {"rule": direp.Local(1.0), "optimiser": optax.adam(0.01), "epochs": 2, "batch_size": 30}
    whole = direp.fit(network, task, **settings)
    monkeypatch.setattr(trainer, "AT_ONCE", 17)
    settings["probe"] = 1  # another program, so that it is compiled anew
    pieces = direp.fit(network, task, **settings)
    for part in ("train", "validation", "test"):
        for a, b in zip(getattr(whole, part), getattr(pieces, part), strict=True):
            assert np.allclose(a, b, rtol=1e-10)


def test_what_does_not_fit_into_memory_is_refused_with_the_batch_that_would(monkeypatch):
    task = direp.tasks.bundled("digits")
    network = direp.Network(direp.Graph.layered([64, 32, 10]), direp.Projected(), key=jax.random.key(0))
    settings = {"rule": direp.Local(1.0), "optimiser": optax.adam(0.01), "epochs": 1}
    monkeypatch.setattr(memory, "free_memory", lambda: 10 * 2**20)
    with pytest.raises(ValueError, match=r"batches of 1257 .* batch_size=(\d+) would fit") as told:
        direp.fit(network, task, **settings)
    fits = int(str(told.value).split("batch_size=")[1].split()[0])
    assert 16 <= fits < 1257
    direp.fit(network, task, **settings, batch_size=fits)
    with pytest.raises(ValueError, match="fewer seeds at once"):
        direp.fit([network] * 9, task, **settings, batch_size=fits)
