import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import NEURONS, OUTFLOWS, TIGHT, data, estimate, flat, mean_cost, network
from hypothesis import given
from hypothesis import strategies as st

import direp


def zeros(net):
    return jax.tree.map(jnp.zeros_like, net.parameters)


@given(
    st.integers(0, 100_000),
    st.sampled_from(list(NEURONS)),
    st.sampled_from(OUTFLOWS),
    st.booleans(),
    st.floats(0.01, 1.0),
)
def test_held_leaks_certify_after_any_update(seed, neuron, outflow, follow, margin):
    net = network(neuron, outflow, seed=seed)
    control = direp.LeakController(margin, follow=follow)
    chain = control.hold(net)
    rng = np.random.default_rng(seed)
    updates = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), net.parameters)
    updates = updates._replace(weight=net.synapses.mask(updates.weight), leak=jnp.zeros_like(net.leak))
    updates, _ = chain.update(updates, chain.init(net.parameters), net.parameters)
    after = net.replace(optax.apply_updates(net.parameters, updates))
    certificate = direp.certify(after)
    assert certificate.verdict == "proved"
    assert certificate.rate > margin - 1e-9
    if not follow:
        assert (np.asarray(after.leak) >= np.asarray(net.leak) - 1e-12).all()


@pytest.mark.parametrize(
    ("neuron", "outflow"), [("projected", "signed"), ("projected", "none"), ("rate-tanh", "absolute")]
)
def test_the_gradient_through_held_leaks_equals_finite_differences(neuron, outflow):
    """With leaks at the criterion, the cost as a function of the weights has the gradient that `through` gives."""
    control = direp.LeakController(0.5)
    net = network(neuron, outflow, scale=0.2)
    net = control.start(net)
    x, y = data(net.graph)
    gradient = estimate(net, x, y, direp.Adjoint(), stop=TIGHT).gradient
    through = control.through(net)
    gradient, _ = through.update(gradient, through.init(net.parameters), net.parameters)
    rng = np.random.default_rng(0)
    step = net.synapses.mask(jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), net.weight))
    h = 1e-6

    def cost(sign):
        weight = jax.tree.map(lambda w, d: w + sign * h * d, net.weight, step)
        return mean_cost(control.start(net.replace(net.parameters._replace(weight=weight))), x, y)

    slope = (cost(1) - cost(-1)) / (2 * h)
    assert abs(flat(gradient.weight) @ flat(step) - slope) < 1e-6 * np.linalg.norm(flat(gradient.weight))


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
        (lambda net: direp.LeakController(0.0), "margin=0.0"),
        (lambda net: direp.LeakController(0.1, floor=-1.0), "floor=-1.0"),
        (lambda net: direp.shrink(0.1).update(zeros(net), optax.EmptyState()), "needs the parameters"),
        (
            lambda net: direp.LeakController().hold(net).update(zeros(net), optax.EmptyState()),
            "needs the parameters",
        ),
    ],
)
def test_wrong_use_is_refused_in_words(make, message):
    with pytest.raises(ValueError, match=message):
        make(network("projected", "signed"))
