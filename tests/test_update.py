import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import network

import direp


def zeros(net):
    return jax.tree.map(jnp.zeros_like, net.parameters)


def test_trainable_zeroes_what_is_no_synapse_and_what_is_not_learned():
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


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda net: direp.shrink(0.1).update(zeros(net), optax.EmptyState()), "needs the parameters"),
    ],
)
def test_wrong_use_is_refused_in_words(make, message):
    with pytest.raises(ValueError, match=message):
        make(network("projected", "signed"))
