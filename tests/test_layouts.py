"""Dense and layered layouts hold the same numbers; each method equals a plain loop over synapses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import GRAPHS, NEURONS, OUTFLOWS, TIGHT, data, gradients, network, relative, settle
from hypothesis import given, settings
from hypothesis import strategies as st

import direp

LAYERED = direp.Graph.layered([3, 4, 2, 2], skip=True, lateral=True)
LARGE = direp.Graph.complete(3, 25, 2)  # beyond the size up to which products are written out


@pytest.mark.parametrize("name", [*GRAPHS, "large"])
@settings(max_examples=5)
@given(st.integers(0, 10_000))
def test_every_method_against_a_loop(name, seed):
    graph = LARGE if name == "large" else GRAPHS[name]()
    rng = np.random.default_rng(seed)
    layouts = [direp.Dense(graph)] + ([direp.Layered(graph)] if graph.layers else [])
    matrix = np.where(graph.adjacency(), rng.normal(size=(graph.units, graph.free)), 0)
    x, rate, post = (jnp.asarray(rng.normal(size=(3, n))) for n in (graph.inputs, graph.free, graph.free))
    value = jnp.asarray(rng.normal(size=graph.free))
    inputs = graph.inputs
    x_, rate_, post_, value_ = (np.asarray(array) for array in (x, rate, post, value))
    everyone = np.concatenate([x_, rate_], 1)
    loop = {name: np.zeros((3, graph.free)) for name in ("input", "drive", "back")}
    outer, spread = np.zeros_like(matrix), np.zeros_like(matrix)
    for i, j in zip(graph.source, graph.target - inputs, strict=True):
        w = matrix[i, j]
        outer[i, j] = (everyone[:, i] * post_[:, j]).sum()
        if i < inputs:
            loop["input"][:, j] += w * x_[:, i]
        else:
            loop["drive"][:, j] += w * rate_[:, i - inputs]
            loop["back"][:, i - inputs] += w * post_[:, j]
            spread[i, j] = abs(w) * value_[i - inputs]
    for layout in layouts:
        weight = layout.from_matrix(matrix)
        np.testing.assert_allclose(layout.matrix(weight), matrix, atol=0)
        np.testing.assert_allclose(layout.input_drive(weight, x), loop["input"], atol=1e-13)
        np.testing.assert_allclose(layout.drive(weight, rate), loop["drive"], atol=1e-13)
        np.testing.assert_allclose(layout.back(weight, post), loop["back"], atol=1e-13)
        np.testing.assert_allclose(layout.outgoing(weight, jnp.abs), np.abs(matrix[inputs:]).sum(1), atol=1e-13)
        np.testing.assert_allclose(layout.incoming(weight, jnp.abs), np.abs(matrix[inputs:]).sum(0), atol=1e-13)
        np.testing.assert_allclose(layout.matrix(layout.outer(x, rate, post)), outer, atol=1e-13)
        np.testing.assert_allclose(layout.matrix(layout.per_source(weight, value, jnp.abs)), spread, atol=1e-13)


@pytest.mark.parametrize("outflow", OUTFLOWS)
@pytest.mark.parametrize("neuron", NEURONS)
def test_layouts_agree_on_states_rules_and_certificates(neuron, outflow):
    dense, layered = (network(neuron, outflow, LAYERED, layout=kind(LAYERED)) for kind in (direp.Dense, direp.Layered))
    x, y = data(LAYERED)
    one, two = settle(dense, x, stop=TIGHT), settle(layered, x, stop=TIGHT)
    assert relative(one.state, two.state) < 1e-10
    rules = (direp.Local(direp.Centred(0.1)), direp.Trajectory(0.5), direp.Adjoint())
    for a, b in zip(*(gradients(net, x, y, rules, stop=TIGHT) for net in (dense, layered)), strict=True):
        assert relative(dense.synapses.matrix(a.weight), layered.synapses.matrix(b.weight)) < 1e-10
        assert np.abs(np.asarray(a.bias) - np.asarray(b.bias)).max() < 1e-10
        assert np.abs(np.asarray(a.leak) - np.asarray(b.leak)).max() < 1e-10
    assert abs(direp.certify(dense).rate - direp.certify(layered).rate) < 1e-10


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
