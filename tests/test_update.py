import extending.layout as example
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import network

import direp
from direp.training import own_keys


def zeros(net):
    return jax.tree.map(jnp.zeros_like, net.parameters)


def test_trainable_zeroes_places_without_a_synapse_and_what_is_not_learned():
    net = network("projected", "signed", "random")
    ones = jax.tree.map(jnp.ones_like, net.parameters)
    updates, _ = direp.trainable(net).update(ones, optax.EmptyState())
    assert (np.asarray(net.synapses.matrix(updates.weight)) == net.graph.adjacency()).all()
    assert (np.asarray(updates.bias) == 1).all()
    assert (np.asarray(updates.leak) == 0).all()
    updates, _ = direp.trainable(net, bias=False, leak=True).update(ones, optax.EmptyState())
    assert (np.asarray(updates.bias) == 0).all()
    assert (np.asarray(updates.leak) == 1).all()


@pytest.mark.parametrize("graph", ["complete", "layered"])
def test_only_the_synapses_into_outputs_learn_if_asked(graph):
    net = network("projected", "signed", graph)
    ones = jax.tree.map(jnp.ones_like, net.parameters)
    updates, _ = direp.trainable(net, outputs_only=True).update(ones, optax.EmptyState())
    into = np.arange(net.graph.free) >= net.graph.hidden
    assert (np.asarray(net.synapses.matrix(updates.weight)) == net.graph.adjacency() * into).all()
    assert (np.asarray(updates.bias) == into).all()


def test_shrink_pulls_by_the_sign():
    net = network("projected", "signed")
    updates, _ = direp.shrink(0.25).update(zeros(net), optax.EmptyState(), net.parameters)
    for update, w in zip(jax.tree.leaves(updates.weight), jax.tree.leaves(net.weight), strict=True):
        assert (np.asarray(update) == -0.25 * np.sign(w)).all()
    assert (np.asarray(updates.leak) == 0).all()


def test_prune_cuts_small_weights_at_the_published_chance():
    graph = direp.Graph.complete(3, 4, 1)
    rng = np.random.default_rng(0)
    matrix = np.where(graph.adjacency(), 0.008 * np.sign(rng.normal(size=(8, 5))), 0)
    matrix[0, 0] = 0.5  # too large to be cut
    net = direp.Network(graph, direp.Projected("signed"), matrix, bias=0.3)
    cut = np.zeros_like(matrix)
    count = 2000

    def once(key):
        pruner = direp.prune(net, key=key)
        updates, _ = pruner.update(zeros(net), pruner.init(net.parameters), net.parameters)
        after = optax.apply_updates(net.parameters, updates)
        return net.synapses.matrix(after.weight), after.bias

    matrices, biases = jax.jit(jax.vmap(once))(jax.random.split(jax.random.key(1), count))
    cut = (np.asarray(matrices) == 0).mean(0)
    assert (np.asarray(biases) == 0.3).all()
    assert cut[0, 0] == 0
    score = np.where(graph.adjacency(), np.exp(-np.abs(matrix) / 5), 0)
    chance = score / (score.sum(0) + np.exp(-0.3 / 5))
    small = graph.adjacency() & (np.abs(matrix) <= 0.01)
    assert np.abs(cut - chance)[small].max() < 5 * np.sqrt(0.25 / count)
    kept = np.asarray(matrices)[:, small]
    assert set(np.unique(np.abs(kept))) <= {0.0, 0.008}


def test_a_shared_strength_learns_only_if_all_its_synapses_enter_outputs():
    ring = example.Convolution(inputs=4, hidden=2, outputs=2, width=2)
    net = direp.Network(ring.graph, direp.Rate(), direp.FanIn(), layout=ring, key=jax.random.key(0))
    ones = jax.tree.map(jnp.ones_like, net.parameters)
    weight = direp.trainable(net, outputs_only=True).update(ones, optax.EmptyState())[0].weight
    readout, feedback = weight.recurrent
    assert [float(part.min() + part.max()) for part in (weight.input, readout, feedback)] == [0, 2, 0]


def test_every_seed_prunes_by_a_key_of_its_own():
    net, key = network("projected", "signed"), jax.random.key(3)
    state = optax.chain(optax.trace(0.9), direp.prune(net, key=key)).init(net.parameters)
    lanes = jax.vmap(lambda seed: own_keys(state, jax.random.key(seed)))(jnp.arange(4))
    words = np.asarray(jax.random.key_data(lanes[1].key))
    assert len({tuple(word) for word in words.tolist()}) == 4
    assert (words[2] == np.asarray(jax.random.key_data(own_keys(state, jax.random.key(2))[1].key))).all()
    assert (np.asarray(lanes[0].trace.bias) == 0).all()


@pytest.mark.usefixtures("_optax")
def test_networks_of_equal_weights_prune_apart_in_training():
    graph = direp.Graph.complete(2, 20, 1)
    net = direp.Network(graph, direp.Projected("signed"), 0.005 * graph.adjacency(), bias=0.3)
    run = direp.fit(
        [net, net], direp.tasks.xor(), rule=direp.Local(), epochs=3, keep="last", method=direp.Preconditioned(),
        optimiser=optax.chain(optax.sgd(0.0), direp.prune(net, key=jax.random.key(0))),
    )  # fmt: skip
    cut = [np.asarray(one.matrix)[graph.adjacency()] == 0 for one in run.networks]
    assert 0 < (cut[0] & cut[1]).mean() < min(cut[0].mean(), cut[1].mean())


PLAIN = network("projected", "signed")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: direp.shrink(0.1).update(zeros(PLAIN), optax.EmptyState()), "shrink needs the parameters"),
        (lambda: direp.shrink(-1.0), r"shrink\(strength=-1.0\) must be 0 or above"),
        (lambda: direp.shrink(np.nan), "strength=nan"),
        (lambda: direp.prune(PLAIN, threshold=-0.1, key=jax.random.key(0)), r"prune\(threshold=-0.1\) must be"),
        (lambda: direp.prune(PLAIN, scale=0.0, key=jax.random.key(0)), r"prune\(scale=0.0\) must be above 0"),
        (lambda: direp.Normal(std=-1.0), r"Normal\(std=-1.0\) must be a finite number, 0 or above"),
        (lambda: direp.Normal(bias=np.inf), r"Normal\(bias=inf\) must be a finite number"),
        (lambda: direp.FanIn(feedback=-0.2), r"FanIn\(feedback=-0.2\)"),
    ],
)
def test_wrong_use_is_refused_in_words(make, message):
    with pytest.raises(ValueError, match=message):
        make()
