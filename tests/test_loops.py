"""`LoopProjection` keeps a network certified, spares the way forth, and takes no more of the way back than it must."""

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import optax
import pytest
from cases import GRAPHS, NEURONS, data, network, noise, updated
from extending.layout import Convolution
from hypothesis import given, settings
from hypothesis import strategies as st

import direp
from direp.training.loops import longest_way

IDENTITY = optax.identity()


@settings(max_examples=8)
@given(
    seed=st.integers(0, 100_000),
    neuron=st.sampled_from(list(NEURONS)),
    graph=st.sampled_from(list(GRAPHS)),
    margin=st.floats(0.01, 1.0),
    share=st.floats(0.05, 0.95),
)
def test_it_certifies_after_any_update_and_moves_nothing_that_runs_forth(seed, neuron, graph, margin, share):
    net, control = network(neuron, "none", graph, seed=seed), direp.LoopProjection(margin, share)
    before, after, norm = updated(control, net, seed)
    criterion = direp.LocalLeak()
    margins = np.asarray(criterion.margin(after, norm))
    assert margins.min() > margin - 1e-9 * float(np.asarray(norm).max())
    assert direp.certify(after, criteria=(direp.Perron(),), starts=0).rate > margin - 1e-6
    wanted, kept = (np.asarray(each.matrix)[net.graph.inputs :] for each in (before, after))
    forth = np.triu(np.ones_like(wanted, bool), 1)
    np.testing.assert_array_equal(kept[forth], wanted[forth])
    np.testing.assert_array_equal(after.matrix[: net.graph.inputs], before.matrix[: net.graph.inputs])
    back = ~forth & (wanted != 0)
    factor = kept[back] / wanted[back]
    assert ((factor > 0) & (factor <= 1)).all()
    # A unit whose synapses were scaled has nothing to spare.
    scaled = np.zeros(net.graph.free, bool)
    scaled[np.nonzero(back)[0][factor < 1 - 1e-12]] = True
    np.testing.assert_allclose(margins[scaled], margin, atol=1e-9 * float(np.asarray(norm).max()))


def test_what_runs_forth_may_be_as_strong_as_it_likes():
    """Where all weights of a unit are scaled alike, they lose four fifths."""
    graph = direp.Graph.layered([2, 5, 5, 5, 2])
    net = direp.Network(graph, direp.Projected(), direp.FanIn(50.0, 0.01), key=jax.random.key(0))
    spared, scaled = (
        np.abs(control(0.1).begin(net).matrix[2:7]).max() / np.abs(net.matrix[2:7]).max()
        for control in (direp.LoopProjection, lambda margin: direp.WeightProjection(margin, direp.Perron()))
    )
    assert spared == 1
    assert scaled < 0.2


@pytest.mark.usefixtures("_optax")
@pytest.mark.parametrize("feedback", [direp.LearnedFeedback(2.0), direp.FixedFeedback(2.0)], ids=["learned", "fixed"])
def test_it_keeps_the_phases_of_feedback_certified_all_through_a_training(feedback):
    graph = direp.Graph.layered([2, 6, 6, 2])
    net = direp.Network(graph, direp.Projected(), direp.FanIn(3.0, 1.5), key=jax.random.key(3), dtype=jnp.float32)
    rule = direp.AsymEP(1.0, feedback=feedback)
    run = direp.fit(
        net, noise(graph), rule=rule, optimiser=optax.adamw(0.05, weight_decay=0.1),
        control=direp.LoopProjection(0.1), epochs=5, batch_size=8,
    )  # fmt: skip
    assert run.assumptions == ()
    assert run.history["certified"].all()
    certificate = direp.certify(run.networks[0], rule=run.rules[0], starts=0)
    assert certificate
    assert set(certificate.phases) == {"free", "AsymField beta=+1"}
    assert min(certificate.phases.values()) >= 0.1 - 1e-3


def test_a_step_under_it_is_not_called_proved():
    """Norm weights move along a step, and what lies between two networks of its set need not be in it."""
    control = direp.LoopProjection(0.1)
    net = control.begin(network("rate-tanh", "none", "layered"))
    x, y = data(net.graph)
    rule, how = direp.AsymEP(direp.Centred(1e-3)), {"stop": direp.Tolerance(1e-12, 1e-13)}
    assert direp.certify_learning(net, x, y, rule, **how)
    found = direp.certify_learning(net, x, y, rule, control=control, **how)
    assert found.verdict == "undecided"
    assert "moves its norm" in found.reason


@pytest.mark.parametrize("graph", GRAPHS)
def test_the_longest_way_is_that_of_the_graph_without_synapses_back(graph):
    graph = GRAPHS[graph]()
    forth = [(i, j) for i, j in zip(graph.source, graph.target, strict=True) if graph.inputs <= i < j]
    assert longest_way(graph) == nx.dag_longest_path_length(nx.DiGraph(forth))


def test_where_the_way_forth_outgrows_the_norm_in_training_the_margin_says_so():
    graph = direp.Graph.complete(1, 40, 1)
    net = direp.Network(graph, direp.Projected(), direp.Normal(0.1), key=jax.random.key(0), dtype=jnp.float32)
    control = direp.LoopProjection(0.1)
    grown = control.begin(net)
    weight = jax.tree.map(lambda w: 1000 * w, grown.weight)
    parameters, norm, _ = control.project(grown.replace(grown.parameters._replace(weight=weight)), control.init(grown))
    after = grown.replace(parameters)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((parameters, norm)))
    assert float(control.margin_of(after, norm).min()) < 0


def test_what_it_cannot_keep_is_refused_in_words():
    graph = direp.Graph.layered([2, 3, 2])
    signed = direp.Network(graph, direp.Projected(outflow="signed"), direp.Normal(), key=jax.random.key(0))
    with pytest.raises(ValueError, match="use a neuron without outflow, or WeightProjection"):
        direp.LoopProjection(0.1).begin(signed)
    ring = Convolution(3, 6, 2)
    shared = direp.Network(ring.graph, direp.Projected(), direp.Normal(), key=jax.random.key(0), layout=ring)
    with pytest.raises(ValueError, match="LoopProjection needs a strength for every synapse"):
        direp.LoopProjection(0.1).begin(shared)
    long = direp.Network(
        direp.Graph.complete(1, 200, 1), direp.Projected(), direp.Normal(5.0), key=jax.random.key(0), dtype=jnp.float32
    )
    with pytest.raises(ValueError, match="the way forth has 200 steps"):
        direp.LoopProjection(0.1).begin(long)
    task = direp.tasks.from_arrays(np.arange(8.0)[:, None] / 8, np.arange(8) // 4)
    long = direp.Network(
        direp.Graph.complete(1, 200, 2), direp.Projected(), direp.Normal(5.0), key=jax.random.key(0), dtype=jnp.float32
    )
    with pytest.raises(ValueError, match="the way forth has 201 steps"):
        direp.fit(long, task, rule=direp.Local(1.0), optimiser=IDENTITY, control=direp.LoopProjection(0.1), epochs=1)
    for share in (0.0, 1.0):
        with pytest.raises(ValueError, match=r"LoopProjection\(share=.*between 0 and 1"):
            direp.LoopProjection(0.1, share)
