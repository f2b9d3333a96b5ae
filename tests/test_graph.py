import copy
import dataclasses

import jax
import jaxtyping
import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import direp

Graph = direp.Graph


def test_complete_has_every_synapse_but_loops_and_into_inputs():
    graph = Graph.complete(2, 5, 1)
    assert graph.synapses == 2 * 6 + 6 * 5
    adjacency = graph.adjacency()
    assert adjacency[:2].all()
    assert (adjacency[2:] == ~np.eye(6, dtype=bool)).all()


@given(st.lists(st.integers(1, 4), min_size=2, max_size=5), st.booleans(), st.booleans(), st.booleans())
def test_layered_against_a_plain_loop(sizes, feedback, skip, lateral):
    graph = Graph.layered(sizes, feedback=feedback, skip=skip, lateral=lateral)
    layer = np.repeat(np.arange(len(sizes)), sizes)
    for i in range(graph.units):
        for j in range(graph.inputs, graph.units):
            p, q = layer[i], layer[j]
            wanted = (
                (p == q and lateral and i != j)
                or (p < q and (skip or q == p + 1))
                or (p > q and feedback and (skip or p == q + 1))
            )
            assert graph.adjacency()[i, j - graph.inputs] == wanted


LAYERED = Graph.layered([2, 3, 2, 1], skip=True, lateral=True)


def changed(graph, **fields):
    return lambda: dataclasses.replace(graph, **fields)


def test_layers_and_blocks_make_exactly_the_synapses():
    """A synapse or a block more or less is refused, and the message names the first one that differs."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        for k, (i, j) in enumerate(zip(LAYERED.source, LAYERED.target, strict=True)):
            keep = np.arange(LAYERED.synapses) != k
            less = changed(LAYERED, source=LAYERED.source[keep], target=LAYERED.target[keep])
            with pytest.raises(ValueError, match=f"{LAYERED.names[i]} -> {LAYERED.names[j]} is missing"):
                less()
        for block in LAYERED.blocks:
            less = changed(LAYERED, blocks=tuple(other for other in LAYERED.blocks if other != block))
            layer = np.repeat(np.arange(4), LAYERED.layers)
            i, j = next(
                (i, j) for i, j in zip(LAYERED.source, LAYERED.target, strict=True) if (layer[i], layer[j]) == block
            )
            with pytest.raises(ValueError, match=f"{LAYERED.names[i]} -> {LAYERED.names[j]} is there"):
                less()
        assert changed(LAYERED, blocks=[list(block) for block in LAYERED.blocks])() == LAYERED
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


CHAIN = Graph.layered([2, 3, 1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (changed(CHAIN, blocks=((0, 1), (1, 2))), "o0 -> h0 is there, and in none of its blocks"),
        (changed(CHAIN, blocks=((0, 1), (1, 1), (1, 2), (2, 1))), "h0 -> h1 is missing, and in block"),
        (changed(CHAIN, blocks=()), "x0 -> h0 is there"),
        (changed(CHAIN, blocks=((0, 1), (1, 2), (2, 0))), "must be different pairs"),
        (changed(CHAIN, blocks=((0, 1), (1, 2), (1, 2), (2, 1))), "must be different pairs"),
        (changed(CHAIN, blocks=((0, 1), (1, 2), (2, 1, 1))), "must be different pairs"),
        (changed(CHAIN, layers=(2, 2, 2)), "not the sizes of layers of 2 inputs, 3 hidden, 1 output"),
        (changed(CHAIN, layers=(2, 4, 0)), "not the sizes of layers"),
        (changed(CHAIN, layers=(2, 3.0, 1)), "give whole numbers"),
        (changed(CHAIN, layers=None), "needs layers"),
        (changed(CHAIN, source=CHAIN.source * 1.0), "give a row of whole numbers"),
        (changed(CHAIN, source=CHAIN.source + np.int64(2**32)), "outside 0..5"),
        (changed(CHAIN, source=CHAIN.source[1:]), "have 11 and 12 entries"),
        (changed(CHAIN, hidden=True), "hidden=True"),
    ],
)
def test_graphs_that_do_not_fit_together_are_refused(make, message):
    jaxtyping.config.update("jaxtyping_disable", True)  # as for a user, whose calls no type checker reads
    try:
        with pytest.raises(ValueError, match=message):
            make()
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


def test_random_density_and_reproducibility():
    graph = Graph.random(3, 100, 4, density=0.2, seed=1)
    assert abs(graph.synapses / (107 * 104) - 0.2) < 0.02
    assert graph == Graph.random(3, 100, 4, density=0.2, seed=1)
    assert graph != Graph.random(3, 100, 4, density=0.2, seed=2)


def test_same_graph_from_every_source():
    edges = [("a", "h"), ("h", "g"), ("g", "h"), ("h", "out"), ("out", "g")]
    one = Graph.from_edges(edges, inputs=["a"], outputs=["out"])
    two = Graph.from_networkx(nx.DiGraph(edges), inputs=["a"], outputs=["out"])
    order = ["a", "h", "g", "out"]
    matrix = nx.to_numpy_array(nx.DiGraph(edges), nodelist=order)
    three = Graph.from_adjacency(matrix, inputs=[0], outputs=[3])
    assert one == two
    assert (one.adjacency() == three.adjacency()).all()
    assert nx.utils.graphs_equal(nx.DiGraph(one.to_networkx().edges), nx.DiGraph(edges))
    assert {one, two} == {one}


def test_adjacency_rows_need_not_be_in_order():
    matrix = np.zeros((3, 3))
    matrix[2, 0] = matrix[0, 1] = 1  # 2 -> 0 -> 1
    graph = Graph.from_adjacency(matrix, inputs=[2], outputs=[1])
    assert graph.names == ("2", "0", "1")
    assert graph.source.tolist() == [0, 1]
    assert graph.target.tolist() == [1, 2]


def test_graphs_and_networks_are_shown_in_a_line_and_copies_equal_them():
    graph = Graph.layered([2, 3, 1], bias=False)
    net = direp.Network(graph, direp.Projected("signed"), direp.FanIn(), key=jax.random.key(0))
    assert repr(graph) == "Graph(2 inputs, 3 hidden, 1 output; 12 synapses, layers 2-3-1, no bias)"
    shown = "Network(2 inputs, 3 hidden, 1 output; 12 synapses, Layered; Projected, signed outflow; float64)"
    assert repr(net) == shown
    for thing in (graph, net):
        again = copy.deepcopy(thing)
        assert again == thing
        assert repr(again) == repr(thing)


SMALL, KEY = Graph.complete(1, 2, 1), jax.random.key(0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda make: make(SMALL, "rate"), r"Network\(neuron='rate'\) must be a neuron, such as Projected\(\)"),
        (lambda make: make((1, 2, 1), direp.Rate()), r"Network\(graph=\(1, 2, 1\)\) must be a Graph"),
        (lambda make: make(SMALL, direp.Rate(), layout="dense"), r"Network\(layout='dense'\) must be a layout"),
        (
            lambda make: make(SMALL, direp.Rate(), layout=direp.Dense(Graph.complete(2, 2, 1))),
            r"layout=Dense\(...\)\) was made for Graph\(2 inputs.*not for Graph\(1 input, 2 hidden",
        ),
        (lambda make: make(SMALL, direp.Rate(), np.zeros((4, 3)) + 1j), r"Network\(weight=...\) holds complex"),
        (lambda make: make(SMALL, direp.Rate(), np.zeros((4, 3)), leak=1 + 1j), r"Network\(leak=...\) holds complex"),
        (lambda make: make(SMALL, direp.Rate(), np.zeros((4, 3)), bias=1j), r"Network\(bias=...\) holds complex"),
        (
            lambda make: jax.jit(lambda key: make(SMALL, direp.Rate(), key=key).leak)(jax.random.key(0)),
            "made inside jit",
        ),
        (lambda make: jax.vmap(lambda leak: make(SMALL, direp.Rate(), leak=leak).leak)(np.ones(2)), "made inside jit"),
    ],
)
def test_a_network_of_the_wrong_parts_is_refused_in_words(make, message):
    jaxtyping.config.update("jaxtyping_disable", True)  # as for a user, whose calls no type checker reads
    try:
        with pytest.raises(ValueError, match=message):
            make(direp.Network)
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Graph.from_edges([("a", "h"), ("b", "o")], inputs=["a"], outputs=["o"]), "no input reaches output o"),
        (lambda: Graph.from_edges([("a", "o"), ("o", "o")], inputs=["a"], outputs=["o"]), "from a unit to itself"),
        (lambda: Graph.from_edges([("a", "o"), ("o", "a")], inputs=["a"], outputs=["o"]), "inputs are clamped"),
        (lambda: Graph.from_edges([("a", "o"), ("a", "o")], inputs=["a"], outputs=["o"]), "twice"),
        (lambda: Graph.from_edges([("a", "o")], inputs=["a"], outputs=["a"]), "both input and output"),
        (lambda: Graph.layered([2, 0, 1]), "1 unit or more"),
        (lambda: Graph.layered([2]), "input and an output layer"),
        (lambda: Graph.complete(0, 2, 1), "inputs=0"),
        (lambda: Graph.complete(1, -1, 1), "hidden=-1"),
        (lambda: Graph.random(1, 2, 1, density=0.0), "density=0.0"),
        (lambda: Graph.from_adjacency(np.ones((2, 3)), inputs=[0], outputs=[1]), "square"),
        (lambda: Graph.from_adjacency(np.ones((2, 2)), inputs=[0], outputs=[7]), "row numbers"),
        (lambda: Graph.from_networkx(nx.path_graph(3), inputs=[0], outputs=[9]), "no unit 9"),
    ],
)
def test_refusals_name_what_is_wrong(make, message):
    with pytest.raises(ValueError, match=message):
        make()
