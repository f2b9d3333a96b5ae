"""All layouts hold the same numbers; each method equals a plain loop over synapses."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.sparse
from cases import GRAPHS, SOME, TIGHT, data, gradients, network, relative, settle
from hypothesis import given, settings
from hypothesis import strategies as st

import direp
from direp.model.synapses.auto import lay_out

LAYERED = direp.Graph.layered([3, 4, 2, 2], skip=True, lateral=True)
LARGE = direp.Graph.complete(3, 25, 2)  # beyond the size up to which products are written out
ALL = [*GRAPHS, "large", "no recurrence"]


def graph_named(name):
    others = {"large": lambda: LARGE, "no recurrence": lambda: direp.Graph.layered([3, 2])}
    return {**GRAPHS, **others}[name]()


def layouts_of(graph):
    return [direp.Dense(graph), direp.Sparse(graph)] + ([direp.Layered(graph)] if graph.layers else [])


def random_matrix(graph, seed=0):
    return np.where(graph.adjacency(), np.random.default_rng(seed).normal(size=(graph.units, graph.free)), 0)


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=5)
@given(st.integers(0, 10_000))
def test_every_method_against_a_loop(name, seed):
    graph = graph_named(name)
    rng = np.random.default_rng(seed)
    matrix = random_matrix(graph, seed)
    x, rate, post = (jnp.asarray(rng.normal(size=(3, n))) for n in (graph.inputs, graph.free, graph.free))
    value = jnp.asarray(rng.normal(size=graph.free))
    inputs = graph.inputs
    x_, rate_, post_, value_ = (np.asarray(array) for array in (x, rate, post, value))
    everyone = np.concatenate([x_, rate_], 1)
    loop = {name: np.zeros((3, graph.free)) for name in ("input", "drive", "back")}
    outer, spread = np.zeros_like(matrix), np.zeros_like(matrix)
    turned = np.where(graph.adjacency()[inputs:], matrix[inputs:].T, 0)
    for i, j in zip(graph.source, graph.target - inputs, strict=True):
        w = matrix[i, j]
        outer[i, j] = (everyone[:, i] * post_[:, j]).sum()
        if i < inputs:
            loop["input"][:, j] += w * x_[:, i]
        else:
            loop["drive"][:, j] += w * rate_[:, i - inputs]
            loop["back"][:, i - inputs] += w * post_[:, j]
            spread[i, j] = abs(w) * value_[i - inputs]
    for layout in layouts_of(graph):
        weight = layout.from_matrix(matrix)
        np.testing.assert_allclose(layout.matrix(weight), matrix, atol=0)
        np.testing.assert_allclose(layout.input_drive(weight, x), loop["input"], atol=1e-13)
        np.testing.assert_allclose(layout.drive(weight, rate), loop["drive"], atol=1e-13)
        np.testing.assert_allclose(layout.back(weight, post), loop["back"], atol=1e-13)
        np.testing.assert_allclose(layout.outgoing(weight, jnp.abs), np.abs(matrix[inputs:]).sum(1), atol=1e-13)
        np.testing.assert_allclose(layout.incoming(weight, jnp.abs), np.abs(matrix[inputs:]).sum(0), atol=1e-13)
        np.testing.assert_allclose(layout.matrix(layout.outer(x, rate, post)), outer, atol=1e-13)
        np.testing.assert_allclose(layout.matrix(layout.per_source(weight, value, jnp.abs)), spread, atol=1e-13)
        np.testing.assert_allclose(layout.matrix(layout.reverse(weight)), np.concatenate([0 * matrix[:inputs], turned]))


@pytest.mark.parametrize(("neuron", "outflow"), [*SOME, ("projected", "signed"), ("rate-tanh", "absolute")])
def test_layouts_agree_on_states_rules_and_certificates(neuron, outflow):
    dense, *others = (network(neuron, outflow, LAYERED, layout=layout) for layout in layouts_of(LAYERED))
    x, y = data(LAYERED)
    rules = (direp.Local(direp.Centred(0.1)), direp.Trajectory(0.5), direp.Adjoint())
    state, said = settle(dense, x, stop=TIGHT).state, gradients(dense, x, y, rules, stop=TIGHT)
    for other in others:
        assert relative(state, settle(other, x, stop=TIGHT).state) < 1e-10
        for a, b in zip(said, gradients(other, x, y, rules, stop=TIGHT), strict=True):
            assert relative(dense.synapses.matrix(a.weight), other.synapses.matrix(b.weight)) < 1e-10
            assert np.abs(np.asarray(a.bias) - np.asarray(b.bias)).max() < 1e-10
            assert np.abs(np.asarray(a.leak) - np.asarray(b.leak)).max() < 1e-10
        assert abs(direp.certify(dense).rate - direp.certify(other).rate) < 1e-10


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_host_gets_the_recurrent_weights_exactly(name, dtype):
    graph = graph_named(name)
    for layout in layouts_of(graph):
        weight = layout.from_matrix(random_matrix(graph).astype(dtype))
        host = layout.host(weight)
        assert isinstance(host, np.ndarray if isinstance(layout, direp.Dense) else scipy.sparse.csr_array)
        assert host.dtype == np.float64
        full = host if isinstance(host, np.ndarray) else host.toarray()
        np.testing.assert_array_equal(full, np.asarray(layout.matrix(weight))[graph.inputs :])


def test_the_sparse_host_stores_synapses_alone():
    graph = direp.Graph.random(2, 5, 2, density=0.7, seed=3)
    layout = direp.Sparse(graph)
    host = layout.host(layout.build(lambda i, j: np.zeros(i.shape)))
    assert host.nnz == (graph.source >= graph.inputs).sum()


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("kind", [scipy.sparse.csr_array, scipy.sparse.coo_array, scipy.sparse.csc_matrix])
def test_a_scipy_matrix_is_read_like_a_dense_one(name, kind):
    graph = graph_named(name)
    matrix = random_matrix(graph)
    square = np.concatenate([np.zeros((graph.units, graph.inputs)), matrix], 1)
    for layout in layouts_of(graph):
        for given_matrix in (kind(matrix), kind(square)):
            np.testing.assert_array_equal(layout.matrix(layout.from_matrix(given_matrix)), matrix)


def test_products_of_sparse_weights_can_be_mapped_over_seeds_and_differentiated():
    graph = GRAPHS["random"]()
    dense, sparse = direp.Dense(graph), direp.Sparse(graph)
    rate = jnp.asarray(np.random.default_rng(1).normal(size=(3, 4, graph.free)))

    def slope(layout, weight, rate):
        def cost(weight):
            return (layout.drive(weight, rate) ** 2).sum() + (layout.back(weight, jnp.sin(rate)) ** 3).sum()

        return layout.mask(jax.grad(cost)(weight))

    said = []
    for layout in (dense, sparse):
        weights = [layout.from_matrix(random_matrix(graph, seed)) for seed in range(3)]
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *weights)
        drive = jax.jit(jax.vmap(layout.drive))(stacked, rate)
        forward = jax.jvp(lambda r, layout=layout, w=weights[0]: layout.drive(w, r), (rate[0],), (rate[1],))
        slopes = jax.jit(jax.vmap(lambda w, r, layout=layout: slope(layout, w, r)))(stacked, rate)
        said.append((drive, forward, jax.vmap(layout.matrix)(slopes)))
    assert relative(*said) < 1e-12


@pytest.mark.parametrize("controlled", [False, True])
@pytest.mark.usefixtures("_optax")
def test_a_sparse_network_trains_like_a_dense_one(controlled):
    graph = direp.Graph.random(2, 6, 1, density=0.6, seed=1)
    matrix = 0.3 * random_matrix(graph)
    task = direp.tasks.xor()
    runs = [
        direp.fit(
            [direp.Network(graph, direp.Projected(), scale * matrix, layout=layout) for scale in (1.0, 0.5)],
            task,
            rule=direp.Local(direp.Centred(0.05)),
            optimiser=optax.adam(1e-2),
            control=direp.LeakController() if controlled else None,
            epochs=5,
        )
        for layout in (direp.Dense(graph), direp.Sparse(graph))
    ]
    for dense, sparse in zip(runs[0].networks, runs[1].networks, strict=True):
        assert isinstance(sparse.synapses, direp.Sparse)
        assert relative(dense.matrix, sparse.matrix) < 1e-6


def test_a_large_sparse_network_settles_without_a_dense_matrix(monkeypatch):
    def refuse(self):
        raise AssertionError("a matrix of 2.5 billion entries")

    monkeypatch.setattr(direp.Graph, "adjacency", refuse)
    graph = direp.Graph.random(50, 49_900, 50, density=2e-4)
    assert 450_000 < graph.synapses < 550_000
    made = direp.Network(graph, direp.Rate(), direp.FanIn(), leak=2.0, key=jax.random.key(0))
    assert isinstance(made.synapses, direp.Sparse)
    assert max(leaf.size for leaf in jax.tree.leaves(eqx.filter(made, eqx.is_array))) <= graph.synapses
    x = np.random.default_rng(0).random((4, 50))
    settled = settle(made, x)
    assert settled.converged.all()
    # The same field, with SciPy's product.
    rate = np.asarray(settled.rate)
    drive = rate @ made.synapses.host(made.weight) + np.asarray(made.synapses.input_drive(made.weight, jnp.asarray(x)))
    np.testing.assert_allclose(settled.drive, drive + np.asarray(made.bias), atol=1e-12)


def test_the_layout_follows_the_graph():
    for units, kind in ((2000, direp.Dense), (2400, direp.Sparse)):
        chain = np.arange(units)
        graph = direp.Graph(1, units - 1, 1, chain, chain + 1)
        assert isinstance(lay_out(graph), kind)
    assert isinstance(lay_out(LAYERED), direp.Layered)
    assert isinstance(lay_out(LARGE), direp.Dense)
    assert isinstance(lay_out(direp.Graph.random(1, 2099, 1, density=0.04)), direp.Dense)


def test_layered_forms_no_matrix_of_all_units():
    graph = direp.Graph.layered([300, 200, 100, 50])
    made = direp.Network(graph, direp.Rate(), direp.FanIn(), key=jax.random.key(0))
    assert isinstance(made.synapses, direp.Layered)
    held = sum(leaf.size for leaf in made.weight.input + made.weight.recurrent)
    assert held == graph.synapses == 300 * 200 + 2 * (200 * 100 + 100 * 50)


@pytest.mark.parametrize("bad", [np.ones((3, 3)), np.ones((8, 6))])
def test_a_matrix_that_does_not_fit_is_refused(bad):
    graph = direp.Graph.complete(2, 4, 2)
    with pytest.raises(ValueError, match="weight"):
        direp.Network(graph, direp.Projected(), bad)


@pytest.mark.parametrize("kind", [np.asarray, scipy.sparse.csr_array, scipy.sparse.coo_matrix])
@pytest.mark.parametrize("name", GRAPHS)
def test_every_layout_refuses_a_matrix_that_does_not_fit(name, kind):
    graph = GRAPHS[name]()
    for layout in layouts_of(graph):
        with pytest.raises(ValueError, match=r"shape \(3, 3\)"):
            layout.from_matrix(kind(np.ones((3, 3))))
        for stray in (1.0, np.nan):
            matrix = random_matrix(graph)
            i, j = np.argwhere(~graph.adjacency())[-1]
            matrix[i, j] = stray
            with pytest.raises(ValueError, match="no synapse"):
                layout.from_matrix(kind(matrix))
