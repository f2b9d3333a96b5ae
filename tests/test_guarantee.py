"""Training inside the guaranteed region: it stays there, certified, and the batch loss never rises."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import TIGHT, step

import direp
from direp.certificates.learning.structure import detailed_balance, pairs, structural
from direp.model.activation import identity, sigmoid, tanh
from direp.training import constrain

SMALL = direp.Local(direp.Centred(1e-3))
NEURONS = {"rate-tanh": direp.Rate(tanh), "hopfield-sigmoid": direp.Hopfield(sigmoid)}


def networks(graph, neuron, count, leak=1.0, spread=0.6):
    return [
        direp.Network(graph, neuron, direp.Normal(spread, 1.0, 0.5, 0.0, 0.5), leak=leak, key=jax.random.key(k))
        for k in range(count)
    ]


@pytest.mark.usefixtures("_optax")
@pytest.mark.parametrize(
    ("neuron", "gate", "optimiser"),
    [("rate-tanh", "xor", lambda: optax.sgd(0.05)), ("hopfield-sigmoid", "identity", lambda: optax.rmsprop(1e-3))],
)
def test_the_batch_loss_never_rises_over_a_whole_training(neuron, gate, optimiser):
    task = direp.tasks.gate(gate)
    graph = direp.Graph.layered([task.inputs, 4, 1])
    run = direp.fit(
        networks(graph, NEURONS[neuron], 4), task, rule=SMALL, optimiser=optimiser(), epochs=400, stop=TIGHT,
        guarantee=direp.SignSymmetric(), keep="last", method=direp.Preconditioned(),
    )  # fmt: skip
    loss = run.history["loss"]
    assert (np.diff(loss, axis=0) <= 1e-14).all()
    assert (loss[-1] < loss[0]).all()
    assert run.history["certified"].all()
    for net in run.networks:
        weight = np.asarray(net.matrix)[graph.inputs :]
        assert (weight[:4, 4] * weight[4, :4] > 0).all()
        said = direp.certify_learning(net, task.train.x, task.train.y, SMALL)
        assert step(said, "T6 detailed balance").proved
        assert said.verdict == "proved"
        assert direp.certify(net)


@pytest.mark.usefixtures("_optax")
def test_outside_the_region_the_batch_loss_does_rise():
    task, rises = direp.tasks.xor(), 0
    graph = direp.Graph.layered([2, 4, 1])
    nets = [direp.SignSymmetric().begin(net) for net in networks(graph, NEURONS["rate-tanh"], 6)]
    for k, net in enumerate(nets):
        weight = np.array(net.matrix)
        weight[:2] *= 3
        weight[6, :4] *= -1  # feedback of the wrong sign
        nets[k] = direp.Network(graph, net.neuron, weight, leak=1.0, bias=net.bias)
    run = direp.fit(
        nets,
        task,
        rule=SMALL,
        optimiser=optax.sgd(0.05),
        epochs=200,
        stop=TIGHT,
        keep="last",
        method=direp.Preconditioned(),
    )
    rises = (np.diff(run.history["loss"], axis=0) > 1e-12).sum()
    assert rises > 0


@pytest.mark.usefixtures("_optax")
@pytest.mark.parametrize(
    ("guarantee", "neuron", "graph", "condition"),
    [
        (direp.Balanced(), direp.Projected(), direp.Graph.complete(2, 4, 1), structural),
        (direp.Balanced(), direp.Rate(tanh), direp.Graph.random(2, 6, 1, density=0.6, seed=2), structural),
        (direp.Pairs(), direp.Projected("signed"), direp.Graph.layered([2, 4, 1]), pairs),
        (direp.SignSymmetric(), direp.Projected(), direp.Graph.layered([2, 4, 1], skip=True), detailed_balance),
    ],
)
def test_every_update_stays_inside_the_region(guarantee, neuron, graph, condition):
    outside, net = (make(networks(graph, neuron, 1)[0]) for make in (lambda net: net, guarantee.begin))
    assert not condition(outside).proved
    wrapped, params = constrain(optax.adam(0.3), guarantee, net), net.parameters
    state, step = wrapped.init(params), jax.jit(wrapped.update)
    for seed in range(8):
        rng = np.random.default_rng(seed)
        noise = jax.tree.map(lambda leaf, rng=rng: jnp.asarray(rng.normal(size=leaf.shape)), params)
        noise = noise._replace(weight=net.synapses.mask(noise.weight), leak=jnp.zeros_like(params.leak))
        updates, state = step(noise, state, params)
        params = optax.apply_updates(params, updates)
        said = condition(net.replace(params))
        assert said.proved, said.note
        assert direp.certify(net.replace(params)).rate >= guarantee.margin
    assert np.abs(np.asarray(net.replace(params).matrix) - np.asarray(net.matrix)).max() > 0.1


def test_starting_keeps_the_sizes_that_fit():
    graph = direp.Graph.layered([2, 3, 1])
    net = networks(graph, direp.Rate(tanh), 1, leak=4.0)[0]
    moved = direp.SignSymmetric(margin=0.5).begin(net)
    old, new = np.asarray(net.matrix), np.asarray(moved.matrix)
    assert (old[:2] == new[:2]).all()
    assert np.abs(np.abs(old) - np.abs(new)).max() < 1e-12
    tight = direp.SignSymmetric(margin=3.9).begin(net)
    assert float(direp.contraction_margin(tight).min()) >= 3.9 - 1e-9


KINDS = {
    "sign-symmetric": (direp.SignSymmetric, direp.Graph.layered, direp.Rate(tanh)),
    "balanced": (direp.Balanced, lambda sizes: direp.Graph.complete(*sizes), direp.Hopfield(sigmoid)),
    "pairs": (direp.Pairs, direp.Graph.layered, direp.Projected("signed")),
}


@pytest.mark.parametrize(
    ("kind", "dtype", "units", "leak", "margin"),
    [
        ("sign-symmetric", jnp.float32, 2000, 1.0, 0.1),
        ("sign-symmetric", jnp.float32, 50, 0.101, 0.1),
        ("sign-symmetric", jnp.float64, 9, 30.0, 29.9),
        ("balanced", jnp.float32, 12, 0.07, 0.0699),
        ("pairs", jnp.float32, 9, 0.101, 0.1),
        ("pairs", jnp.float64, 9, 0.101, 0.1),
    ],
)
def test_a_network_of_a_guarantee_is_certified_at_its_margin_whatever_its_size(kind, dtype, units, leak, margin):
    make, graph, neuron = KINDS[kind]
    for key in range(1 if units > 1000 else 3):
        leaks = leak * (1 + np.random.default_rng(key).random(units + 1) * (key % 2))
        size = direp.Normal([1.0, 0.01, 100.0][key], 1.0, 0.5, 0.0, 0.5)
        net = direp.Network(graph([2, units, 1]), neuron, size, leak=leaks, key=jax.random.key(key), dtype=dtype)
        guarantee = make(margin=margin)
        inside = guarantee.begin(net)
        assert direp.certify(inside, starts=0).rate >= margin
        low, high = (
            np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(end)]) for end in guarantee.init(inside)
        )
        assert (low <= high).all()
        assert (low * high > 0).sum() == (np.asarray(inside.matrix)[2:] != 0).sum()  # feedback of 0 silences a unit


LAYERS = direp.Graph.layered([2, 3, 1])


@pytest.mark.parametrize(
    ("guarantee", "graph", "neuron", "leak", "message"),
    [
        (direp.SignSymmetric(), direp.Graph.complete(2, 3, 1), direp.Projected(), 1.0, "without loops"),
        (direp.SignSymmetric(), LAYERS, direp.Projected("signed"), 1.0, "no outflow"),
        (direp.Balanced(), direp.Graph.complete(2, 3, 2), direp.Projected(), 1.0, "one output"),
        (direp.Pairs(), LAYERS, direp.Projected(), 1.0, "signed outflow"),
        (direp.SignSymmetric(), LAYERS, direp.Projected(), 0.05, "no room"),
    ],
)
def test_networks_without_a_guarantee_are_refused_with_the_way_out(guarantee, graph, neuron, leak, message):
    with pytest.raises(ValueError, match=message):
        guarantee.begin(networks(graph, neuron, 1, leak=leak)[0])


def test_a_guarantee_keeps_the_leaks_it_has():
    net = networks(LAYERS, direp.Projected(), 1)[0]
    with pytest.raises(ValueError, match="leave out control and learn_leak"):
        direp.fit(
            net, direp.tasks.xor(), rule=SMALL, optimiser=optax.sgd(0.1), guarantee=direp.SignSymmetric(),
            control=direp.LeakController(),
        )  # fmt: skip


def test_a_nudge_beyond_the_margin_of_a_guarantee_is_refused_before_training():
    with pytest.raises(ValueError, match=r"can take 0\.5 from the margin 0\.1 that SignSymmetric keeps"):
        direp.fit(
            networks(LAYERS, direp.Projected(), 1)[0], direp.tasks.xor(), rule=direp.Local(direp.Centred(0.5)),
            optimiser=optax.sgd(0.1), guarantee=direp.SignSymmetric(),
        )  # fmt: skip


def test_wrong_values_are_refused_in_words():
    with pytest.raises(ValueError, match=r"floor=0\.0"):
        direp.SignSymmetric(floor=0.0)
    with pytest.raises(ValueError, match=r"margin=-1\.0"):
        direp.Balanced(margin=-1.0)


def test_a_guarantee_reads_the_data_of_a_neuron_and_not_its_class():
    class Own(direp.model.AbstractNeuron):
        transfer, rate, low, high = identity, identity, 0.0, 1.0
        outflow: direp.model.Outflow = direp.model.OUTFLOWS["signed"]

    graph = direp.Graph.layered([2, 3, 1])
    (inside,) = networks(graph, Own(), 1)
    assert pairs(direp.Pairs().begin(inside)).proved
    with pytest.raises(ValueError, match="with signed outflow"):
        direp.Pairs().begin(networks(graph, direp.Projected(direp.model.Outflow("signed", -1, 1)), 1)[0])


def test_an_outflow_is_known_by_its_slopes_not_by_its_name():
    graph = direp.Graph.layered([2, 4, 1])
    for below, above in ((-1, -1), (0, 1)):
        neuron = direp.Projected(direp.Outflow("signed", below, above))
        with pytest.raises(ValueError, match="with signed outflow"):
            direp.Pairs().begin(networks(graph, neuron, 1)[0])
    own, named = (
        direp.Pairs().begin(networks(graph, direp.Projected(outflow), 1)[0])
        for outflow in (direp.Outflow("own", 1, 1), "signed")
    )
    np.testing.assert_array_equal(own.matrix, named.matrix)
