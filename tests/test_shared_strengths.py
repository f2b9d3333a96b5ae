"""A strength that synapses share gets the sum of what they would get: in rules, training and proofs of learning."""

import equinox as eqx
import extending.layout as example
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import NEURONS, TIGHT, data, flat, gradients, mean_cost, network, relative
from extending.task import rings
from layout_cases import LAYERED, RING, random_weight

import direp
from direp.analysis import groups
from direp.arithmetic import precise
from direp.certificates.learning.linear import Sample
from direp.certificates.learning.structure import detailed_balance, pairs, structural
from direp.certificates.region import Box
from direp.model import Dense
from direp.model.synapses.linear import _found

RULES = {
    "local": direp.Local(direp.Centred(0.1)),
    "trajectory": direp.Trajectory(0.5),
    "symmetric": direp.SymmetricEP(0.5),
    "asym-ep": direp.AsymEP(direp.Centred(0.1)),
    "dyadic": direp.Dyadic(),
    "homeostasis": direp.Homeostasis(direp.VectorField(0.5), 0.1),
    "bptt": direp.BPTT(5),
    "adjoint": direp.Adjoint(dense_up_to=0),
    "exact": direp.Adjoint(),
}
SETTINGS = {"stop": TIGHT, "key": jax.random.key(0), "method": direp.Preconditioned()}  # the one that compiles fastest


def made(layout, neuron, outflow):
    rng = np.random.default_rng(1)
    net = direp.Network(
        layout.graph, NEURONS[neuron](outflow), random_weight(layout, scale=0.3), layout=layout,
        leak=1.5 + rng.random(layout.graph.free), bias=rng.normal(0.4, 0.2, layout.graph.free),
    )  # fmt: skip
    return direp.LeakController(0.3, follow=False).begin(net)


@pytest.mark.parametrize(
    ("layout", "neuron", "outflow"),
    [
        (direp.Sparse(LAYERED), "hopfield-sigmoid", "signed"),
        (direp.Layered(LAYERED), "hopfield-sigmoid", "signed"),
        (RING, "rate-tanh", "absolute"),
    ],
)
def test_every_rule_gives_a_number_the_sum_over_its_synapses_of_what_dense_weights_get(layout, neuron, outflow):
    own = made(layout, neuron, outflow)
    dense = direp.Network(
        own.graph, own.neuron, np.asarray(own.matrix), leak=own.leak, bias=own.bias, layout=direp.Dense(own.graph)
    )
    x, y = data(layout.graph)
    wanted, found = (gradients(net, x, y, tuple(RULES.values()), **SETTINGS) for net in (dense, own))
    for name, a, b in zip(RULES, wanted, found, strict=True):
        total = np.zeros(len(flat(own.weight)))
        np.add.at(total, layout.place, np.asarray(dense.synapses.strengths(a.weight)))
        assert np.abs(total).max() > 1e-4, name
        assert relative(b.weight, total) < 1e-9, name
        assert relative(b.bias, a.bias) < 1e-9, name
        assert np.abs(np.asarray(b.leak) - np.asarray(a.leak)).max() < 1e-9, name
    assert abs(direp.certify(dense).rate - direp.certify(own).rate) < 1e-10


def test_exact_rules_of_a_convolution_are_the_slope_of_its_cost():
    net = made(RING, "rate-tanh", "absolute")
    x, y = data(RING.graph)
    rules = tuple(RULES.values())  # compiled for the test before
    said = dict(zip(RULES, gradients(net, x, y, rules, **SETTINGS), strict=True))
    step, h = random_weight(RING, seed=7), 1e-5

    def cost(size):
        weight = jax.tree.map(lambda w, d: w + size * d, net.weight, step)
        return mean_cost(net.replace(net.parameters._replace(weight=weight)), x, y)

    slope = (cost(h) - cost(-h)) / (2 * h)
    for name, exact in (("exact", 1e-7), ("adjoint", 1e-7), ("dyadic", 1e-7), ("asym-ep", 0.05)):
        assert abs(flat(said[name].weight) @ flat(step) - slope) < exact * np.linalg.norm(flat(said[name].weight)), name


@pytest.mark.usefixtures("_optax")
def test_the_convolution_learns_within_its_constraint_and_proofs_that_read_synapses_refuse_it():
    layout, task = example.Convolution(inputs=8, hidden=4, outputs=2), rings()
    net = direp.Network(layout.graph, direp.Rate("tanh"), direp.FanIn(), layout=layout, key=jax.random.key(1))
    rule, control = direp.Local(direp.Centred(0.05)), direp.LeakController(0.2)
    run = direp.fit(net, task, rule=rule, optimiser=optax.adam(0.02), epochs=20, control=control)
    net, x = run.network, task.test.x
    assert run.history["loss"][-1] < 0.9 * run.history["loss"][0]
    assert run.history["certified"].all()
    certificate = direp.certify(net)
    assert certificate.verdict == "proved"
    assert certificate.rate > 0.2 - 1e-5
    assert "224 synapses that share 28 strengths, Convolution" in repr(net)
    matrix = np.array(net.matrix)
    assert len(np.unique(np.abs(matrix))) == 29  # zero too
    stay = direp.SignSymmetric()
    for refused in (
        lambda: stay.begin(net),
        lambda: direp.prune(net, key=jax.random.key(0)),
        lambda: direp.certify_region(direp.Box(net, net, x[0], x[0])),
    ):
        with pytest.raises(ValueError, match="needs a strength for every synapse, and Convolution shares them"):
            refused()
    matrix[net.graph.inputs, -1] += 1
    with pytest.raises(ValueError, match=r"h\d -> o1 shares its strength with another, but weight has"):
        direp.Network(net.graph, net.neuron, matrix, layout=net.synapses)


def test_the_certificate_of_learning_adds_up_what_synapses_share():
    nudge = direp.Centred(0.05)
    for outflow in ("none", "signed", "absolute"):
        net = made(RING, "rate-tanh", outflow)
        x, y = data(net.graph, batch=2)
        found = direp.certify_learning(net, x, y, direp.Local(nudge), stop=TIGHT)
        local, exact = gradients(net, x, y, (direp.Local(nudge), direp.Adjoint()), stop=TIGHT)
        low, high = found.cosine
        assert low - 1e-9 <= float(direp.rules.cosine(net, local, exact)) <= high + 1e-9
        assert high - low < 1e-6
        # Synapse by synapse, as if none were shared, the cosine is another.
        alone = direp.Network(net.graph, net.neuron, net.matrix, leak=net.leak, bias=net.bias)
        apart = direp.certify_learning(alone, x, y, direp.Local(nudge), stop=TIGHT).cosine
        assert not low - 1e-4 < apart[0] < high + 1e-4


class Tied(direp.LinearMap):
    """All synapses into a unit from inputs share one strength."""

    graph: direp.Graph = eqx.field(static=True)

    def build(self, make):
        graph, unit = self.graph, np.arange(self.graph.units)
        full = np.where(graph.adjacency(), make(unit[:, None], unit[None, graph.inputs :]), 0)
        return direp.model.Weight(jnp.asarray(full[0]), jnp.asarray(full[graph.inputs :]))

    def input_drive(self, weight, x):
        return x.sum(-1, keepdims=True) * jnp.where(self.graph.adjacency()[0], weight.input, 0)

    def drive(self, weight, rate, into=None):
        return rate @ jnp.where(self.graph.adjacency()[self.graph.inputs :], weight.recurrent, 0)


def test_shared_strengths_add_up_before_the_inner_product():
    net = network("rate-tanh", "signed", symmetric=False)
    x, y = data(net.graph)
    matrix = np.array(net.matrix)
    matrix[:2] = matrix[0]  # one strength for both inputs of a unit
    net, tied = (
        direp.Network(net.graph, net.neuron, matrix, leak=net.leak, bias=net.bias, layout=layout(net.graph))
        for layout in (Dense, Tied)
    )
    with precise():
        state = np.asarray(direp.settle(net, x, stop=direp.Tolerance(1e-13, 1e-14)).state)[0]
        plain, grouped = (Sample.at(each, x[0], y[0], state) for each in (net, tied))
        error = direp.arithmetic.exact(np.eye(6)[:, -1:])
        alone, summed = (
            np.array([float(ball.mid()) for ball in each.synapses(each.adjoint(error)).entries()])
            for each in (plain, grouped)
        )
    graph = net.graph
    own = alone[: graph.synapses]
    into = [own[(graph.source < 2) & (graph.target - 2 == j)].sum() for j in range(6)]
    assert np.allclose(summed[:6], into)
    assert np.allclose(np.sort(summed[6:]), np.sort(np.concatenate([own[graph.source >= 2], alone[graph.synapses :]])))
    assert "shares some" in structural(tied).note or "one output" in structural(tied).note
    none = direp.Network(graph, direp.Rate("tanh"), net.matrix, leak=net.leak, layout=Tied(graph))
    assert "shares some" in detailed_balance(none).note
    layer = direp.Graph.layered([2, 2, 1])
    hidden = direp.Network(layer, direp.Projected("signed"), np.zeros((5, 3)), layout=Tied(layer))
    assert "shares some" in pairs(hidden).note
    with pytest.raises(ValueError, match="needs a strength for every synapse"):
        Box.around(hidden, [0.5, 0.5])
    certificate = direp.certify_learning(tied, x, y, direp.Local(0.1))
    assert certificate.verdict in ("proved", "refuted")


def test_gradients_are_compared_over_the_numbers_that_learn():
    masks = groups(made(RING, "rate-tanh", "none"))
    assert {name: mask.sum() for name, mask in masks.items()} == {
        "inputs to hidden": 4, "hidden to outputs": 4, "outputs to hidden": 4,
    }  # fmt: skip
    assert sum(masks.values()).tolist() == [1] * 12
    weight = random_weight(RING)
    for mask, part in zip(masks.values(), (weight.input, *weight.recurrent), strict=True):
        assert sorted(np.asarray(RING.numbers(weight))[mask]) == sorted(flat(part))


def test_places_are_found_inside_a_compiled_function_too():
    weight, factor = random_weight(RING), jnp.linspace(0.5, 1, RING.graph.free)
    plain = RING.scaled(weight, factor)
    _found.cache_clear()
    lanes = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), weight)
    inside = jax.jit(jax.vmap(lambda w: RING.scaled(w, factor)))(lanes)
    assert relative(jax.tree.map(lambda leaf: leaf[1], inside), plain) < 1e-15
