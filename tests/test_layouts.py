"""All layouts hold the same numbers; each method equals a loop over synapses, and shared strengths sum over theirs."""

import equinox as eqx
import extending.layout as example
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.sparse
from cases import GRAPHS, NEURONS, TIGHT, data, flat, gradients, mean_cost, relative, settle
from extending.task import rings

import direp
from direp.analysis import groups
from direp.model import Weight, lay_out
from direp.model.synapses.base import flattened
from direp.model.synapses.linear import _found

LAYERED = direp.Graph.layered([3, 4, 2, 2], skip=True, lateral=True)
LARGE = direp.Graph.complete(3, 25, 2)  # beyond the size up to which products are written out
RING = example.Convolution(inputs=4, hidden=2, outputs=2, width=2)
ALL = [*GRAPHS, "large", "no recurrence"]
CASES = [*ALL, "ring"]


class Plain(direp.LinearMap):
    """One strength a synapse, by the two products alone: what is derived must be what `Dense` computes."""

    graph: direp.Graph = eqx.field(static=True)

    def build(self, make):
        return direp.Dense(self.graph).build(make)

    def input_drive(self, weight, x):
        return x @ weight.input

    def drive(self, weight, rate):
        return rate @ weight.recurrent


def graph_named(name):
    others = {"large": lambda: LARGE, "no recurrence": lambda: direp.Graph.layered([3, 2]), "ring": lambda: RING.graph}
    return {**GRAPHS, **others}[name]()


def layouts_of(graph):
    if graph == RING.graph:
        return [RING]
    return [direp.Dense(graph), direp.Sparse(graph)] + ([direp.Layered(graph)] if graph.layers else [])


def random_matrix(graph, seed=0):
    return np.where(graph.adjacency(), np.random.default_rng(seed).normal(size=(graph.units, graph.free)), 0)


def random_weight(layout, seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    return layout.mask(layout.build(lambda i, j: rng.normal(0, scale, np.broadcast_shapes(i.shape, j.shape))))


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


class _Wrong(Plain):
    """A chain x0 -> h0 -> o0, and one mistake."""

    mistake: str = eqx.field(static=True, default="")

    def __init__(self, mistake):
        self.graph = direp.Graph(1, 1, 1, np.array([0, 1]), np.array([1, 2]))
        self.mistake = mistake

    def build(self, make):
        source, target = np.array([0]), np.array([1 if self.mistake != "other ends" else 2])
        return Weight(jnp.asarray(make(source, target)), jnp.asarray(make(np.array([1]), np.array([2]))))

    def input_drive(self, weight, x):
        return jnp.concatenate([x * weight.input, 0 * x], 1)

    def drive(self, weight, rate):
        sent = rate[:, :1] * weight.recurrent * (2 if self.mistake == "a factor" else 1)
        sent = sent + weight.input if self.mistake == "no linear map" else sent
        first = rate[:, 1:] * weight.recurrent if self.mistake == "back" else 0 * sent
        first, sent = (sent, first) if self.mistake == "turned" else (first, sent)
        return jnp.concatenate([first, sent][: 1 if self.mistake == "narrow" else 2], 1)


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        ("narrow", r"_Wrong.drive gives shape \(2, 1\) for 2 samples; this graph needs \(2, 2\)"),
        ("back", "_Wrong.drive has a synapse o0 -> h0 that the graph has not"),
        ("turned", "_Wrong.drive has a synapse h0 -> h0 that the graph has not"),
        ("a factor", "some synapse's strength is not one of the numbers"),
        ("no linear map", "has a synapse o0 -> o0 that the graph has not"),
        ("other ends", "_Wrong.build makes a number for unit 0 -> unit 2"),
    ],
)
def test_a_layout_that_does_not_fit_its_graph_is_refused_in_words(mistake, message):
    with pytest.raises(ValueError, match=message):
        direp.Network(
            _Wrong(mistake).graph, direp.Rate(), direp.Normal(), layout=_Wrong(mistake), key=jax.random.key(0)
        )
    assert _Wrong("").place.tolist() == [0, 1]


def test_a_linear_map_that_holds_arrays_is_refused():
    class Holds(Plain):
        numbers: jax.Array

    with pytest.raises(ValueError, match=r"Holds: a LinearMap keeps all .* static fields"):
        Holds(LARGE, jnp.zeros(2))


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


class Curved(example.Convolution):
    """Products that agree with a matrix for unit vectors and positive strengths, and nowhere else."""

    kind: str = eqx.field(static=True, default="")

    def __init__(self, kind):
        super().__init__(inputs=4, hidden=2, outputs=2, width=2)
        self.kind = kind

    def drive(self, weight, rate):
        if self.kind == "strength":
            weight = jax.tree.map(lambda w: jnp.where(w < 0, 10 * w, w), weight)
        if self.kind == "rate":
            rate = rate**2
        offset = 0.1 * (rate.sum(1, keepdims=True) - 1) if self.kind == "offset" else 0
        mixed = jnp.roll(rate, 1, 0) * (rate.sum() - len(rate)) if self.kind == "batch" else 0
        return super().drive(weight, rate + mixed) + offset


@pytest.mark.parametrize("kind", ["strength", "rate", "offset", "batch"])
def test_products_that_are_not_linear_are_refused(kind):
    layout = Curved(kind)
    with pytest.raises(ValueError, match=r"Curved.drive is not linear: .* sum over its synapses is"):
        direp.Network(layout.graph, direp.Rate("tanh"), layout=layout, key=jax.random.key(0))
