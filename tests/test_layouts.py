"""All layouts hold the same numbers, and each method equals a loop over synapses."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.sparse
from cases import GRAPHS, flat, relative, settle
from layout_cases import LARGE, LAYERED, RING, Plain, random_weight

import direp
from direp.model import lay_out
from direp.model.synapses.base import flattened

ALL = [*GRAPHS, "large", "no recurrence"]
CASES = [*ALL, "ring"]


def graph_named(name):
    others = {"large": lambda: LARGE, "no recurrence": lambda: direp.Graph.layered([3, 2]), "ring": lambda: RING.graph}
    return {**GRAPHS, **others}[name]()


def layouts_of(graph):
    if graph == RING.graph:
        return [RING]
    return [direp.Dense(graph), direp.Sparse(graph)] + ([direp.Layered(graph)] if graph.layers else [])


def random_matrix(graph, seed=0):
    return np.where(graph.adjacency(), np.random.default_rng(seed).normal(size=(graph.units, graph.free)), 0)


@jax.jit
def everything(layout, weight, x, rate, post, value):
    return {
        "input": layout.input_drive(weight, x),
        "drive": layout.drive(weight, rate),
        "back": layout.back(weight, post),
        "outgoing": layout.outgoing(weight, jnp.abs),
        "incoming": layout.incoming(weight, jnp.abs),
        "matrix": layout.matrix(weight),
        "outer": flattened(layout.outer(x, rate, post)),
        "outgoing_gradient": flattened(layout.outgoing_gradient(weight, value, jnp.sign)),
        "scaled": flattened(layout.scaled(weight, value)),
        "scaled, incoming": flattened(layout.scaled(weight, value, incoming=True)),
    }


@pytest.mark.parametrize("name", CASES)
def test_every_method_against_a_loop_over_synapses(name):
    graph = graph_named(name)
    rng = np.random.default_rng(len(name))
    x, rate, post = (rng.normal(size=(3, n)) for n in (graph.inputs, graph.free, graph.free))
    value, everyone = rng.uniform(0.2, 2, graph.free), np.concatenate([x, rate], 1)
    for layout in [*layouts_of(graph), *([Plain(graph)] if name != "ring" else [])]:
        weight = random_weight(layout)
        numbers, place = flat(weight), layout.place
        loop = {key: np.zeros((3, graph.free)) for key in ("input", "drive", "back")}
        loop |= {key: np.zeros(graph.free) for key in ("outgoing", "incoming")}
        loop |= {key: np.zeros_like(numbers) for key in ("outer", "outgoing_gradient")}
        loop["matrix"] = np.zeros((graph.units, graph.free))
        least = np.full((2, len(numbers)), np.inf)
        for k, (i, j) in enumerate(zip(graph.source, graph.target - graph.inputs, strict=True)):
            w, free = numbers[place[k]], i - graph.inputs
            loop["matrix"][i, j] = w
            loop["outer"][place[k]] += (everyone[:, i] * post[:, j]).sum()
            least[1, place[k]] = min(least[1, place[k]], value[j])
            if free < 0:
                loop["input"][:, j] += w * x[:, i]
                least[0, place[k]] = 1
                continue
            loop["drive"][:, j] += w * rate[:, free]
            loop["back"][:, free] += w * post[:, j]
            loop["outgoing"][free] += abs(w)
            loop["incoming"][j] += abs(w)
            loop["outgoing_gradient"][place[k]] += np.sign(w) * value[free]
            least[0, place[k]] = min(least[0, place[k]], value[free])
        for key, factor in zip(("scaled", "scaled, incoming"), least, strict=True):
            loop[key] = numbers * np.where(np.isfinite(factor), factor, 0)
        found = everything(layout, weight, *(jnp.asarray(array) for array in (x, rate, post, value)))
        assert set(found) == set(loop)
        for key, expected in loop.items():
            np.testing.assert_allclose(found[key], expected, atol=1e-12, err_msg=f"{type(layout).__name__} {key}")
        inner = loop["matrix"][graph.inputs :]
        host = layout.host(weight)
        np.testing.assert_array_equal(host if isinstance(host, np.ndarray) else host.toarray(), inner)
        np.testing.assert_array_equal(layout.strengths(weight), numbers[place])
        again = layout.from_matrix(loop["matrix"])
        np.testing.assert_array_equal(flat(again), numbers)
        assert jax.tree.structure(again) == jax.tree.structure(weight)
        assert layout.shared == (name == "ring")
        if name == "ring":
            assert len(layout.numbers(weight)) == 2 * 2 + 2 * 2 + 2 * 2
            with pytest.raises(ValueError, match="Convolution shares them"):
                layout.reverse(weight)
        else:
            turned = np.where(graph.adjacency()[graph.inputs :], inner.T, 0)
            reverse = layout.matrix(layout.reverse(weight))
            np.testing.assert_array_equal(reverse, np.concatenate([0 * loop["matrix"][: graph.inputs], turned]))


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


@pytest.mark.usefixtures("_optax")
def test_a_sparse_network_trains_like_a_dense_one():
    graph = direp.Graph.random(2, 6, 1, density=0.6, seed=1)
    matrix = 0.3 * random_matrix(graph)
    task = direp.tasks.xor()
    runs = [
        direp.fit(
            [direp.Network(graph, direp.Projected(), scale * matrix, layout=layout) for scale in (1.0, 0.5)],
            task,
            rule=direp.Local(direp.Centred(0.05)),
            optimiser=optax.adam(1e-2),
            control=direp.LeakController(),
            method=direp.Preconditioned(),
            epochs=5,
        )
        for layout in (direp.Dense(graph), direp.Sparse(graph))
    ]
    for dense, sparse in zip(runs[0].networks, runs[1].networks, strict=True):
        assert isinstance(sparse.synapses, direp.Sparse)
        assert relative(dense.matrix, sparse.matrix) < 1e-6


def test_a_large_sparse_network_settles_without_a_dense_matrix(monkeypatch):
    def refuse(self):
        raise AssertionError("a matrix of 100 million entries")

    monkeypatch.setattr(direp.Graph, "adjacency", refuse)
    graph = direp.Graph.random(50, 9_900, 50, density=1e-3)
    assert 90_000 < graph.synapses < 110_000
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
