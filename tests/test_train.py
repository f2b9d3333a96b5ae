import copy
import dataclasses
import subprocess
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import compilations, flat
from jax.experimental.compilation_cache import compilation_cache

import direp
from direp import tasks
from direp.program.build import arguments, load_task
from direp.program.presets import PRESETS, preset
from direp.program.settings import Settings
from direp.settling import keep_programs
from direp.training import memory
from direp.training import step as trainer
from direp.training.recorded import RecordedOptimiser

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
    # In 64 bits: in 32, one rounding decides when a unit reaches a face, and other lanes round differently.
    settings = {"epochs": 20, "precision": "float64"}
    one, two = gate_run(seeds="3..12", **settings), gate_run(seeds="3..12", **settings)
    for a, b in zip(one.networks, two.networks, strict=True):
        assert (flat(a.parameters) == flat(b.parameters)).all()
    alone = gate_run(seeds="4", **settings)
    np.testing.assert_allclose(flat(alone.network.parameters), flat(one.networks[1].parameters), rtol=1e-9, atol=1e-9)
    assert np.abs(flat(one.networks[0].parameters) - flat(one.networks[1].parameters)).max() > 0.1


def test_other_keys_rates_decays_nudges_and_margins_are_no_other_program():
    task = tasks.xor()

    def fitted(seed, rate, decay, beta, margin, updates):
        network = direp.Network(direp.Graph.complete(2, 3, 1), direp.Projected("signed"), key=jax.random.key(seed))
        schedule = optax.cosine_decay_schedule(rate, updates, alpha=rate)
        optimiser = optax.chain(optax.add_decayed_weights(decay), optax.adam(schedule, b1=0.5))
        control = direp.LeakController(margin, floor=margin)
        rule = direp.Local(beta=beta)
        return direp.fit(network, task, rule=rule, optimiser=optimiser, control=control, epochs=30, seeds=[seed])

    one = fitted(0, 0.05, 0.001, 6.0, 0.1, 30)
    with compilations() as count:
        other, again = fitted(3, 0.02, 0.002, 5.0, 0.2, 40), fitted(0, 0.05, 0.001, 6.0, 0.1, 30)
        assert count == []
    assert (flat(again.network.parameters) == flat(one.network.parameters)).all()
    assert np.abs(flat(other.network.parameters) - flat(one.network.parameters)).max() > 0.1
    # A run says what it was in a line, and survives copying.
    assert len(repr(one)) < 120
    assert "all samples" in one._repr_html_()
    assert "0 unsettled" in one._repr_html_()
    assert one.unmoved is None
    still = {**one.history, "unmoved": np.full_like(one.history["unmoved"], 0.25)}
    assert "left out 25 % of samples in the last epoch: a nudge of 6 does" in (
        dataclasses.replace(one, history=still)._repr_html_()
    )
    copied = copy.deepcopy(one)
    assert (copied.solved == one.solved).all()
    assert (flat(copied.network.parameters) == flat(one.network.parameters)).all()
    assert isinstance(copied.rule, direp.Local)


OPTIMISERS = {
    "sgd": lambda k: optax.sgd(0.1 / k, momentum=0.5),
    "adamw": lambda k: optax.adamw(optax.cosine_decay_schedule(0.1 / k, 10 * k), weight_decay=0.01 * k),
    "chain": lambda k: optax.chain(optax.clip_by_global_norm(0.5 / k), optax.scale_by_rms(), optax.scale(-0.1 * k)),
    "constants": lambda k: optax.stateless(lambda u, p: jax.tree.map(lambda a: a * jnp.arange(3.0) * k, u)),
    "branches": lambda k: optax.stateless(
        lambda u, p: jax.tree.map(lambda a: jax.lax.cond(a.sum() > k, jnp.sin, lambda b: b * 3 * k, a), u)
    ),
}


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_recorded_optimiser_is_the_optimiser(name):
    """Equal programs must compute what their own optimiser does, and unequal ones must not be taken for equal."""
    rng = np.random.default_rng(0)
    parameters = {"a": jnp.asarray(rng.normal(size=3)), "b": jnp.asarray(rng.normal(size=3))}
    recorded = [RecordedOptimiser.of(OPTIMISERS[name](k), parameters) for k in (2, 2, 3)]
    assert recorded[0].update.program == recorded[1].update.program
    assert recorded[0].init.program == recorded[2].init.program
    # Numbers within a branch stay in the program (and so do 1 and -1), all others are traced.
    assert (recorded[0].update.program == recorded[2].update.program) == (name != "branches")
    update = eqx.filter_jit(lambda recorded, *given: recorded.update(*given))
    for k, mine in ((2, recorded[0]), (3, recorded[2])):
        optimiser = OPTIMISERS[name](k)
        state = own = optimiser.init(parameters)
        for _ in range(4):
            gradient = jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape)), parameters)
            wanted, state = jax.jit(optimiser.update)(gradient, state, parameters)
            found, own = update(mine, gradient, own, parameters)
            np.testing.assert_allclose(flat(found), flat(wanted), rtol=1e-13)


WRONG = {
    "fit(net, task, rule='local', optimiser=adam)": "rule=...) got 'local': give a rule object such as direp.Local(",
    "fit(net, 'xor', rule=direp.Local(), optimiser=adam)": "task=...) got 'xor': give a task such as direp.tasks.xor()",
    "fit(net, ([1], [2]), rule=direp.Local(), optimiser=adam)": "direp.tasks.from_arrays(x, y)",
    "fit(net, task, rule=direp.Local(), optimiser=None)": "optimiser=...) got None: give an optax transformation",
    "fit(3, task, rule=direp.Local(), optimiser=adam)": "network=...) got 3: give a Network",
    "fit([], task, rule=direp.Local(), optimiser=adam)": "network=...) got None: give a Network",
    "fit(net, task, rule=direp.Local(), optimiser=adam, epochs=1.5)": "epochs=1.5) must be a whole number, 1 or more",
    "fit(net, task, rule=direp.Local(), optimiser=adam, control='leak')": "direp.LeakController()",
    "jax.jit(lambda b: fit(net, task, rule=direp.Local(b), optimiser=adam))(2.0)": "fit cannot be traced",
    "jax.jit(lambda b: fit(net, task, rule=direp.Local(), optimiser=optax.adam(b)))(2.0)": "fit cannot be traced",
    "direp.settle(net, [[0, 1]], method='newton')": "method=...) got 'newton': give a method object such as",
    "direp.settle('net')": "network=...) got 'net': give a Network, or a field such as direp.Nudged",
    "direp.Euler(0)": "Euler(h=0) must be above 0",
    "direp.Euler(True)": "Euler(h=True) must be above 0",
    "direp.Euler('x')": "Euler(h='x') must be above 0",
    "direp.Tolerance(-1)": "Tolerance(rtol=-1) must be 0 or above",
    "direp.Tolerance(max_steps=1.5)": "Tolerance(max_steps=1.5) must be a whole number, 1 or more",
    "direp.Anderson(2.5)": "Anderson(memory=2.5) must be a whole number",
}


def test_arguments_of_the_wrong_kind_are_refused_in_words():
    """In a process of its own: here, types are checked before the library sees them."""
    script = f"""
import jax, optax, direp
from direp import fit
task, adam = direp.tasks.xor(), optax.adam(0.1)
net = direp.Network(direp.Graph.complete(2, 2, 1), direp.Projected(), key=jax.random.key(0))
for call, words in {WRONG!r}.items():
    try:
        eval(call)
    except ValueError as error:
        assert words in str(error) and "\\n" not in str(error), (call, error)
    else:
        raise AssertionError(call)
print(len(direp.settle(net, [[0, 1]]).state))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == "1\n", done.stderr


def test_compiled_programs_are_kept_for_the_next_process_unless_told_not_to(monkeypatch, tmp_path):
    names = ("compilation_cache_dir", *(f"persistent_cache_min_{n}" for n in ("compile_time_secs", "entry_size_bytes")))
    names = [f"jax_{name}" for name in names]
    before = [getattr(jax.config, name) for name in names]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    own = f"{tmp_path}/direp/compiled"
    try:
        for variables, configured, kept in (
            ({}, None, own),
            ({"DIREP_CACHE": "off"}, None, None),
            ({"DIREP_CACHE": "0"}, None, None),
            ({"JAX_COMPILATION_CACHE_DIR": "/x"}, None, None),
            ({}, "/mine", "/mine"),
        ):
            for name in ("DIREP_CACHE", "JAX_COMPILATION_CACHE_DIR"):
                monkeypatch.delenv(name, raising=False)
            for name, value in variables.items():
                monkeypatch.setenv(name, value)
            jax.config.update("jax_compilation_cache_dir", configured)
            keep_programs.__wrapped__()
            assert jax.config.jax_compilation_cache_dir == kept
    finally:
        for name, value in zip(names, before, strict=True):
            jax.config.update(name, value)
        compilation_cache.reset_cache()


@pytest.fixture(scope="module")
def iris():
    with jax.numpy_dtype_promotion("standard"):
        settings = Settings.from_dict({**preset("iris").to_dict(), "seeds": "0..1", "epochs": 25, "hidden": (16,)})
        task = load_task(settings)
        return settings, task, direp.fit(task=task, **arguments(settings, task))


def test_minibatches_learn_and_the_best_epoch_is_chosen_on_validation_data(iris):
    settings, task, run = iris
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


def test_no_sample_left_out_is_a_share_of_zero():
    """41 times the nearest number to a 41st is not 1 in 32 bits."""
    network = direp.Network(direp.Graph.layered([1, 1, 1]), direp.Projected(), leak=1.0, key=jax.random.key(0))
    samples = tasks.Samples(np.ones((41, 1)), np.ones((41, 1)))
    task = tasks.Task("ones", samples, samples, samples, kind="regression")
    network = network.astype(np.float32)
    run = direp.fit(network, task, rule=direp.Local(beta=1.0), optimiser=optax.sgd(1e-3), epochs=1)
    assert run.history["left_out"][0, 0] == 0


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
    settings = {"task": tasks.xor(), "rule": direp.Local(), "optimiser": optax.adam(0.1), "epochs": 1, **change}
    with pytest.raises(ValueError, match=message):
        direp.fit(network, **settings)


def test_large_parts_are_evaluated_in_pieces(monkeypatch, iris):
    _, task, run = iris
    monkeypatch.setattr(trainer, "AT_ONCE", 17)
    evaluate = jax.jit(lambda *given: run.trainer.evaluate(*given))
    x, y = (jnp.asarray(table) for table in task.train)
    pieces = evaluate(run.network.parameters, tasks.Samples(x, y), jax.random.key(0))
    # Products of other shapes add up in another order, and settle to the same tolerance: some units in the last place.
    for a, b in zip(run.train, pieces, strict=True):
        assert np.allclose(a[0], b, rtol=1e-5, atol=1e-6)


def test_what_does_not_fit_into_memory_is_refused_with_the_batch_that_would(monkeypatch):
    task = direp.tasks.bundled("digits")
    network = direp.Network(direp.Graph.layered([64, 32, 10]), direp.Projected(), key=jax.random.key(0))
    settings = {"rule": direp.Local(1.0), "optimiser": optax.adam(0.01), "epochs": 1}
    monkeypatch.setattr(memory, "free_memory", lambda: 10 * 2**20)
    with pytest.raises(ValueError, match=r"batches of 1257 .* batch_size=(\d+) would fit") as refused:
        direp.fit(network, task, **settings)
    fits = int(str(refused.value).split("batch_size=")[1].split()[0])
    assert 16 <= fits < 1257
    memory.check_memory(network, 1, fits, [len(part.x) for part in (task.train, task.validation, task.test)])
    with pytest.raises(ValueError, match="fewer seeds at once"):
        direp.fit([network] * 9, task, **settings, batch_size=fits)


def test_learned_leaks_never_fall_below_zero():
    task = direp.tasks.gate("xor")
    graph = direp.Graph.complete(2, 3, 1)
    net = direp.Network(graph, direp.Rate(direp.activation.tanh), direp.Normal(0.3), leak=1.0, key=jax.random.key(0))
    falling = optax.stateless(lambda updates, _: updates._replace(leak=jnp.full_like(updates.leak, -0.6)))
    run = direp.fit(net, task, rule=direp.Adjoint(), optimiser=falling, epochs=2, learn_leak=True, keep="last")
    assert (np.asarray(run.network.leak) == 0).all()
