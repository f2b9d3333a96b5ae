"""Graphs have the reciprocity that is asked for, and how directed a network is is measured."""

import jax
import numpy as np
import pytest
from cases import LAYOUTS, network

import direp
from direp.rules import antisymmetry


@pytest.mark.parametrize("reciprocity", [0.0, 0.3, 1.0])
def test_a_random_graph_has_the_reciprocity_that_is_asked_for(reciprocity):
    graphs = [direp.Graph.random(5, 40, 4, density=0.2, reciprocity=reciprocity, seed=seed) for seed in range(20)]
    for graph in graphs:
        inner = graph.adjacency()[5:]
        assert np.isclose(graph.reciprocity, (inner & inner.T).sum() / inner.sum())
        assert abs(graph.reciprocity - reciprocity) < 0.01
    count = [graph.adjacency()[5:].sum() for graph in graphs]
    assert abs(np.mean(count) / (44 * 43 * 0.2) - 1) < 4 * np.sqrt(0.8 / 0.2 / (44 * 43 * 20))
    # Every pair is as likely as any other, and so is each of its directions.
    mean = np.mean([graph.adjacency()[5:] for graph in graphs], axis=0)
    assert abs(np.triu(mean, 1).sum() - np.tril(mean, -1).sum()) < 4 * np.sqrt(20 * np.mean(count)) / 20
    with pytest.raises(ValueError, match="reciprocity=0"):
        direp.Graph.random(5, 40, 4, density=0.6, reciprocity=0.0)


def test_a_small_world_has_the_neighbours_that_are_asked_for():
    ring = direp.Graph.small_world(3, 20, 2, neighbours=4, rewired=0.0)
    inner = ring.adjacency()[3:]
    assert (inner.sum(0) == 4).all()
    assert (inner.sum(1) == 4).all()
    assert ring.reciprocity == 1.0
    assert ring.adjacency()[:3].all()
    apart = direp.Graph.small_world(3, 20, 2, neighbours=4, rewired=1.0, seed=1)
    assert (apart.adjacency()[3:].sum(1) == 4).all()
    assert apart.reciprocity < 0.5
    with pytest.raises(ValueError, match="neighbours=22"):
        direp.Graph.small_world(3, 20, 2, neighbours=22)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_directedness_is_that_of_the_matrix_in_every_layout(layout):
    place = LAYOUTS[layout]()
    net = network("projected", "none", "complete" if place is None else place.graph, layout=place)
    recurrent = np.asarray(net.matrix)[net.graph.inputs :]
    share = np.linalg.norm(recurrent - recurrent.T) / 2 / np.linalg.norm(recurrent)
    assert np.isclose(antisymmetry(net), share)
    assert 0.3 < share < 0.9
    graph = direp.Graph.random(3, 12, 2, density=0.3, reciprocity=0.0)
    assert np.isclose(antisymmetry(direp.Network(graph, direp.Projected(), key=jax.random.key(0))), np.sqrt(0.5))
    even = network("projected", "none", symmetric=True)
    assert np.isclose(antisymmetry(even), 0.0, atol=1e-7)
