"""A neuron is data: what is declared is tried, proofs hold for what they read and refuse the rest by name."""

import copy
import importlib
import json

import equinox as eqx
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from campaigns import user_made
from cases import NEURONS, OUTFLOWS, data, network

import direp
from direp.arithmetic import Smooth, precise
from direp.certificates.convergence import Judged
from direp.certificates.learning.linear import Sample
from direp.certificates.learning.structure import detailed_balance, pairs, structural
from direp.certificates.region import Box, certify_region
from direp.model import ACTIVATIONS, AbstractNeuron, Activation, Dense, Outflow
from direp.model.activation import identity, relu, sigmoid, softplus, tanh
from direp.model.trial import refute
from direp.settling import linearise

activation_module = importlib.import_module("direp.model.activation")
bent = Activation("bent", lambda s: jnp.tanh(s) + 0.5 * jnp.sin(s), (-1.5, 1.5), (-0.5, 1.5))


class Both(AbstractNeuron):
    """Nonlinear on both sides."""

    transfer: Activation = eqx.field(static=True)
    rate: Activation = eqx.field(static=True)
    outflow: Outflow = eqx.field(static=True)
    low: float | None = eqx.field(static=True, default=None)
    high: float | None = eqx.field(static=True, default=None)


rising = Outflow("rising", 0, 1)
MADE = {
    "both": lambda outflow: Both(tanh, sigmoid, outflow),
    "bent": lambda outflow: Both(identity, bent, outflow),
    "boxed": lambda outflow: Both(tanh, identity, outflow, -0.5, 0.8),
    "boxed rate": lambda outflow: Both(identity, tanh, outflow, 0.0, 1.0),
    **{name: (lambda outflow, make=make: make(outflow)) for name, make in NEURONS.items()},
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_activations_of_the_library_are_what_they_declare(name):
    refute(ACTIVATIONS[name])


FALSE = {
    r"slope=\(0, 0.1\) is false: the slope of fn is 1 at s = 0": {"slope": (0.0, 0.1)},
    r"slope=\(0.1, 1\) is false: the slope of fn is .* at s = ": {"slope": (0.1, 1.0)},
    r"range=\(-1, 0.9\) is false: fn is 1 at s = ": {"range": (-1.0, 0.9)},
    r"above_identity=True is false: fn is .* at s = ": {"above_identity": True},
    r"enclose is false: over the ball .* value .* at s = ": {"enclose": sigmoid.enclose},
    r"enclose is false: over the ball .* slope .* at s = ": {"enclose": lambda b: (b.tanh(), 0.9 - b.tanh() ** 2)},
    r"interval is false: over .* value .* at s = ": {"interval": sigmoid.interval},
    r"interval is false: slope_of": {
        "interval": Smooth(-1.0, 1.0, np.tanh, tanh.interval.slope_at, lambda r: 1.0 - r)
    },
    r"fn rises by 1 from s = 0.1": {"fn": lambda s: jnp.where(s > 0.123, 1.0, 0.0)},
    "does not act unit by unit": {"fn": lambda s: s / (1 + jnp.abs(s).max())},
    "range=.* must be": {"range": (1.0, 0.0)},
    "is that of direp.activation": {"name": "tanh"},
}  # fmt: skip


@pytest.mark.parametrize("message", FALSE)
def test_a_false_declaration_is_refused_with_its_place(message):
    given = {"name": "mine", "fn": jnp.tanh, "range": (-1.0, 1.0), "slope": (0.0, 1.0)} | FALSE[message]
    with pytest.raises(ValueError, match=message):
        Activation(**given)


def test_an_activation_is_made_inside_a_transformation_and_without_a_derivative():
    def traced(x):
        return x * Activation("double", lambda s: 2 * s, (-np.inf, np.inf), (2.0, 2.0)).gain

    assert jax.jit(traced)(1.0) == 2.0
    rounded = lambda s: jax.pure_callback(np.clip, jax.ShapeDtypeStruct(s.shape, s.dtype), s, 0.0, 1.0)  # noqa: E731
    assert not Activation("outside", rounded, (0.0, 1.0), (0.0, 1.0)).differentiable
    with pytest.raises(ValueError, match="rises by"):
        Activation("outside", rounded, (0.0, 1.0), (0.0, 0.5))


def test_a_transfer_that_is_not_the_declared_activation_is_refused():
    """Once certified as `proved`, while two starts settled at 0 and 1.865."""

    class Sharp(AbstractNeuron):
        activation: Activation = eqx.field(static=True, default=tanh)
        rate: Activation = eqx.field(static=True, default=identity)
        outflow: Outflow = eqx.field(static=True, default=Outflow.of("none"))
        low: None = None
        high: None = None

        def transfer(self, drive):
            return jnp.tanh(20 * drive)

    with pytest.raises(ValueError, match=r"Sharp\(transfer=...\) is .* it must be an Activation, whose data"):
        Sharp()

    class Elsewhere(Both):
        def held(self, state, field):
            return state < 0

    with pytest.raises(ValueError, match=r"Elsewhere.held replaces that of AbstractNeuron"):
        Elsewhere(tanh, tanh, rising)


def test_a_slope_of_fifty_that_is_declared_as_a_tenth_is_refused():
    with pytest.raises(ValueError, match=r"slope=\(0, 0.1\) is false: the slope of fn is 50 at s = 0"):
        Activation("steep", lambda s: jnp.tanh(50 * s), (-1.0, 1.0), (0.0, 0.1))


def test_wrong_data_is_refused_in_words():
    assert direp.Rate("tanh", "signed") == direp.Rate(tanh, Outflow.of("signed"))
    for make, message in (
        (lambda: direp.Rate("tan"), r"Rate\('tan'\) must be one of 'hard-sigmoid', .*, or an Activation"),
        (lambda: direp.Hopfield(outflow="both"), r"Hopfield\(outflow='both'\) must be one of 'none', 'signed'"),
        (lambda: direp.Projected(low=1.0, high=0.0), r"Projected\(low=1.0, high=0.0\) needs finite bounds, low < high"),
        (lambda: Both(tanh, tanh, rising, 0.0, None), r"Both\(low=0.0, high=None\) needs finite bounds"),
        (lambda: Outflow("steep", 0, 3), r"Outflow\(below=0, above=3\) must each be -1, 0 or 1"),
        (lambda: direp.arithmetic.Ramp(0.0, np.inf), r"both finite or both infinite"),
    ):
        with pytest.raises(ValueError, match=message):
            make()


def test_copies_equal_their_originals():
    for neuron in (direp.Rate("tanh"), direp.Hopfield("softplus", "absolute"), direp.Projected("signed")):
        net = direp.Network(direp.Graph.complete(1, 2, 1), neuron, key=jax.random.key(0))
        again = copy.deepcopy(net)
        assert again.neuron == neuron
        assert hash(again.neuron) == hash(neuron)
        assert jax.tree.structure(again) == jax.tree.structure(net)
    assert copy.deepcopy(bent) == bent
    assert bent != Activation("bent", bent.fn, (-1.5, 1.5), (-0.5, 1.6))
    assert tanh != sigmoid


def test_outflows_are_the_same_for_all_numbers():
    from fractions import Fraction

    import flint

    values = np.array([-1.5, -0.25, 0.0, 0.5, 2.0])
    shape = {"none": 0 * values, "signed": values, "absolute": abs(values), "rising": np.maximum(values, 0)}
    for name, expected in shape.items():
        outflow = rising if name == "rising" else Outflow.of(name)
        assert (outflow.value(values) == expected).all()
        assert (np.asarray(outflow.value(jnp.asarray(values))) == expected).all()
        assert [outflow.value(Fraction(v)) for v in values] == expected.tolist()
        assert all(isinstance(outflow.value(Fraction(v)), Fraction) for v in values)
        assert [float(outflow.value(flint.arb(v))) for v in values] == expected.tolist()
        moved = (outflow.value(values + 1e-6) - outflow.value(values - 1e-6)) / 2e-6
        assert np.allclose(outflow.slope(values), moved)
        assert np.allclose(outflow.slope(jnp.asarray(values)), moved)
        low, high = outflow.bounds(values - 0.3, values + 0.3)
        for at in np.linspace(-0.29, 0.29, 8):
            slope = outflow.slope(values + at)
            assert ((low <= slope) & (slope <= high)).all()


CRITERIA = (direp.LocalLeak(), direp.Rows(), direp.Perron(), direp.Compartmental(), direp.Symmetric(), direp.LMI())


def drawn(make, outflow, rng, excess, symmetric=False, hidden=2):
    graph = direp.Graph.complete(2, hidden, 1)
    neuron = make(Outflow.of(outflow))
    matrix = np.where(graph.adjacency(), rng.normal(0, 0.8, (graph.units, graph.free)), 0)
    inner = matrix[2:]
    if symmetric:
        matrix[2:] = inner = (inner + inner.T) / 2
    need = neuron.gain * np.abs(inner).sum(1) - neuron.outflow.value(inner).sum(1)
    return direp.Network(
        graph, neuron, matrix, leak=np.maximum(need + excess, 0.05), bias=rng.normal(0.2, 0.3, graph.free)
    )


@pytest.mark.parametrize("outflow", [*OUTFLOWS, rising], ids=str)
@pytest.mark.parametrize("name", MADE)
def test_every_certificate_of_every_neuron_holds_in_its_norm_or_is_refused_by_name(name, outflow):
    rng, proved = np.random.default_rng(0), set()
    for k in range(6):
        net = drawn(MADE[name], outflow, rng, (0.5, 0.05, -0.3)[k % 3], symmetric=k % 2 == 0)
        neuron, inner = net.neuron, np.asarray(net.matrix)[2:]
        (a, b), (c, d) = neuron.transfer.slope, neuron.rate.slope
        total = np.asarray(net.leak) + neuron.outflow.value(inner).sum(1)
        for criterion in CRITERIA:
            certificate = direp.certify(net, criteria=(criterion,), nudge=direp.OneSided(-0.02), starts=0)
            if not certificate:
                assert certificate.attempts[0].note
                continue
            proved.add(certificate.criterion)
            for nudge, rate in zip((0.0, -0.02), certificate.phases.values(), strict=True):
                for _ in range(8):
                    after, before = rng.choice([a, b], 3), rng.choice([c, d], 3)
                    coupling = inner.T - nudge * np.diag([0.0, 0.0, 1.0])
                    jacobian = after[:, None] * coupling * before - np.diag(total)
                    for v in rng.normal(size=(4, 3)):
                        shrunk = certificate.norm.length(v + 1e-6 * jacobian @ v)
                        assert shrunk <= (1 - 1e-6 * rate + 1e-11) * certificate.norm.length(v)
        if name in ("both", "boxed", "boxed rate"):
            notes = {step.criterion: step.note for step in direp.certify(net, criteria=CRITERIA[4:], starts=0).attempts}
            assert all("transfer" in note and "identity" in note for note in notes.values())
    assert {"local leak", "Perron"} <= proved


@pytest.mark.parametrize("name", MADE)
def test_responses_are_exact_where_weights_are_symmetric_and_adjoints_are_derivatives(name):
    """In balls against finite differences of the settled output, for every neuron."""
    for outflow in ("none", "signed"):
        make = MADE[name]
        if name == "bent":
            continue  # no enclosure: see the next test
        net = drawn(make, outflow, np.random.default_rng(3), 0.8, symmetric=True)
        x, state = np.array([0.4, 0.7]), np.zeros(3)
        neuron = net.neuron

        def settled(net, state=state, x=x):
            weight, fn = np.asarray(net.matrix), (net.neuron.transfer.fn, net.neuron.rate.fn)
            total = np.asarray(net.leak) + net.neuron.outflow.value(weight[2:]).sum(1)
            for _ in range(400):
                drive = x @ weight[:2] + np.asarray(fn[1](state)) @ weight[2:] + np.asarray(net.bias)
                state = state + (np.asarray(fn[0](drive)) - total * state) / (1 + total)
                state = np.clip(state, net.neuron.low, net.neuron.high) if net.neuron.bounded else state
            return state

        with precise():
            sample = Sample.at(net, x, np.zeros(1), settled(net))
            error = direp.arithmetic.exact(np.array([[0.0], [0.0], [1.0]]))
            exact, local = (
                np.array([float(b.mid()) for b in sample.synapses(way(error)).entries()])
                for way in (sample.adjoint, sample.response)
            )
        if outflow == "none" or neuron.transfer.linear or neuron.rate.linear:
            assert np.allclose(local, exact, rtol=1e-9, atol=1e-12)
        matrix, graph = np.asarray(net.matrix), net.graph
        for k in (1, 5, 8):
            ends = []
            for sign in (-1, 1):
                moved = matrix.copy()
                moved[graph.source[k], graph.target[k] - 2] += sign * 1e-5
                other = direp.Network(graph, neuron, moved, leak=net.leak, bias=net.bias)
                ends.append(float(np.asarray(neuron.rate.fn(settled(other)[-1:]))[0]))
            assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(exact[k], rel=1e-5, abs=1e-8)


def test_a_user_made_neuron_learns_by_a_rule_that_is_certified_and_without_enclosures_by_name():
    net = drawn(MADE["both"], "signed", np.random.default_rng(0), 0.8)
    x, y = data(net.graph)
    said = direp.certify_learning(net, x, y, direp.Local(0.2))
    assert said.verdict == "proved"
    before = (np.asarray(net.outputs(direp.settle(net, x).state)) - y) ** 2
    step = direp.estimate(net, x, y, direp.Local(0.2)).gradient
    other = net.replace(jax.tree.map(lambda p, g: p - 0.05 * g, net.parameters, step)._replace(leak=net.leak))
    assert ((np.asarray(other.outputs(direp.settle(other, x).state)) - y) ** 2).sum() < before.sum()
    closed = direp.certify_learning(drawn(MADE["bent"], "none", np.random.default_rng(0), 0.8), x, y, direp.Local())
    assert closed.verdict == "undecided"
    assert "'bent' has no enclosure over balls" in closed.reason
    T5 = structural(drawn(MADE["bent"], "none", np.random.default_rng(0), 0.8))
    assert "do not fall" in T5.note
    for name, message in (("both", "needs transfer or rate to be the identity; Both has two"),
                          ("boxed", "covers no box with the activation 'tanh', as Both has"),
                          ("bent", "cannot enclose the activation 'bent': give it interval")):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            Box.around(drawn(MADE[name], "none", np.random.default_rng(0), 0.8), [0.5, 0.5])


def test_growth_with_two_activations_is_proved_and_in_a_box_it_is_not():
    graph = direp.Graph.from_edges([("x", "a"), ("a", "b"), ("b", "a")], inputs=["x"], outputs=["b"])
    matrix = np.array([[1.0, 0], [0, 2.0], [2.0, 0]])
    net = direp.Network(graph, Both(relu, softplus, Outflow.of("none")), matrix)
    certificate = direp.certify(net, starts=4)
    assert certificate.criterion == "growth"
    assert certificate.counterexample.check(net)
    boxed = direp.Network(graph, Both(relu, softplus, Outflow.of("none"), 0.0, 1.0), matrix)
    assert not certificate.counterexample.check(boxed)


def test_the_linearisation_is_the_derivative_of_the_field():
    net = drawn(MADE["boxed"], "none", np.random.default_rng(1), 0.1)
    net = net.replace(net.parameters._replace(leak=net.leak * 0.2, bias=net.bias + 0.5))
    rng = np.random.default_rng(0)
    field = net.field(jnp.asarray(rng.random((4, 2))))
    state = net.neuron.clip(jnp.asarray(rng.normal(0.1, 0.7, (4, 3))))
    linear = linearise(field, state, field.drive(state))
    assert 0 < np.asarray(linear.active).sum() < 12
    dense, v = np.asarray(linear.jacobian()), jnp.asarray(rng.normal(size=(4, 3)))
    assert np.allclose(linear.forth(v), np.einsum("nji,ni->nj", dense, v))
    assert np.allclose(linear.back(v), np.einsum("nji,nj->ni", dense, v))
    flow = lambda s: np.asarray(field.flow(s, field.drive(s)))  # noqa: E731
    true = np.stack([(flow(state + 1e-6 * e) - flow(state - 1e-6 * e)) / 2e-6 for e in np.eye(3)], -1)
    for kept, mine, theirs in zip(np.asarray(linear.active), dense, true, strict=True):
        assert np.allclose(mine[np.ix_(kept, kept)], theirs[np.ix_(kept, kept)], atol=1e-8)


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


class Quartic(direp.rules.AbstractCost):
    """A third cost."""

    honest: bool = eqx.field(static=True, default=True)
    curvature = 3.0

    def value(self, rate, y):
        return 0.25 * ((rate - y) ** 4).sum(-1) + 0.5 * ((rate - y) ** 2).sum(-1)

    def gradient(self, rate, y):
        return (rate - y) ** 3 * (1 if self.honest else 2) + rate - y

    def enclose(self, rate, y):
        return (rate - y) ** 3 + rate - y, np.diag(3 * (rate - y) ** 2 + 1)

    def feedback(self, beta, slope, ratio):
        return np.full_like(ratio, np.inf if beta < 0 else 0.0)


class Silent(Quartic):
    def enclose(self, rate, y):
        raise NotImplementedError("no balls")


class Ahead(direp.rules.AbstractNudge):
    """A nudge of a user's own: two phases on the same side."""

    beta: float = 0.2

    @property
    def strengths(self):
        return (self.beta, self.beta / 2)

    def difference(self, free, nudged):
        return (4 * nudged[1] - nudged[0] - 3 * free) / self.beta


def test_a_third_cost_and_a_users_nudge_are_read_or_refused_by_name():
    net = network("rate-tanh", "none")
    x, y = data(net.graph)
    said = direp.certify_learning(net, x, y, direp.Local(0.2), cost=Quartic())
    assert said.verdict == "proved"
    assert "does not cover the cost Quartic" in said.steps[0].note
    with pytest.raises(ValueError, match=r"Quartic.gradient is not the derivative of Quartic.value"):
        direp.certify_learning(net, x, y, direp.Local(0.2), cost=Quartic(honest=False))
    with pytest.raises(ValueError, match=r"Silent.enclose cannot be read"):
        direp.certify_learning(net, x, y, direp.Local(0.2), cost=Silent())
    note = (
        direp.certify(net, nudge=direp.OneSided(0.1), cost=Quartic(), criteria=(direp.LMI(),), starts=0)
        .attempts[0]
        .note
    )
    assert note == "does not cover the nudge of Quartic"
    ahead = direp.certify_learning(net, x, y, direp.Local(Ahead()))
    near = direp.certify_learning(net, x, y, direp.Local(direp.Centred(1e-3)))
    assert ahead.cosine[0] == pytest.approx(near.cosine[0], abs=0.02)


def test_verdicts_read_as_sentences_and_reprs_fit_a_cell():
    judged = Judged()
    judged.claim = "it holds"
    for judged.verdict, words in (
        ("proved", "proved: it holds"),
        ("undecided", "not decided whether it holds"),
        ("refuted", "refuted: it is not true that it holds"),
    ):
        assert judged.sentence == words
    net = network("rate-tanh", "none")
    x, y = data(net.graph)
    small = direp.Network(direp.Graph.complete(1, 1, 1), direp.Projected(), np.zeros((3, 2)))
    region = certify_region(Box.around(small, [0.5], weight=0.0))
    weak = net.replace(net.parameters._replace(leak=net.leak * 0.01))
    for each in (
        direp.certify(net),
        direp.certify(weak, starts=0),
        direp.certify_learning(net, x, y, direp.Local()),
        region,
    ):
        assert len(repr(each)) < 90
        assert each.verdict in repr(each)
        assert str(each).startswith(each.sentence)
        assert not str(each).startswith("undecided: ")
        assert json.loads(json.dumps(each.to_dict()))["verdict"] == each.verdict


def test_certificates_cannot_be_traced_and_say_so():
    net = network("projected", "none")
    x, y = data(net.graph)
    for who, call in (
        ("certify", lambda n: direp.certify(n, starts=0)),
        ("certify_learning", lambda n: direp.certify_learning(n, x, y, direp.Local())),
        ("Box", lambda n: Box(n, n, x[0], x[0])),
    ):
        with pytest.raises(ValueError, match=f"^{who} cannot be traced: call it outside jit"):
            eqx.filter_jit(call)(net)


@pytest.fixture
def _unchecked():
    """Shapes are checked in the other tests; here that would take longer than all the rest."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("_unchecked")
def test_nothing_user_made_is_certified_falsely():
    """A part of `campaigns/user_made.py`."""
    counts, wrong = user_made.campaign(120, seed=1)
    assert wrong == []
    assert counts["lies: slope: refused when made"] > 3
    assert sum(counts[f"proved by {name}"] for name in ("local leak", "rows", "Perron", "symmetric", "LMI")) > 30


@pytest.mark.usefixtures("_unchecked")
def test_the_campaign_notices_bounds_that_are_not_tried(monkeypatch):
    monkeypatch.setattr(activation_module, "refute", lambda activation: None)
    monkeypatch.setattr(user_made, "LIES", ("slope",))
    assert any("certified is" in what for what in user_made.campaign(60, seed=1)[1])


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (np.tanh, "fn returns a ndarray: make it of JAX operations"),
        (lambda s: 2 * jnp.tanh(s.astype(jnp.float16)), "to one of shape .* and type float16; it must keep both"),
        (lambda s: s > 0, "to one of shape .* and type bool; it must keep both"),
        (lambda s: jnp.tanh(s + 0j), "type complex128; it must keep both"),
        (lambda s: s * jnp.array([0.1, 0.2, 0.3]), "fn fails for an array of shape .*: "),
        (lambda s: s / (1 + jnp.abs(s).sum(1)), "fn fails for an array of shape .*: "),
        (lambda s: 5 * s if s.ndim == 2 else s, "fn does not act unit by unit"),
        (lambda s: s - s.mean(0) if s.ndim == 2 else s, "fn does not act unit by unit"),
    ],
)
def test_what_is_no_function_of_one_number_is_refused(fn, message):
    with pytest.raises(ValueError, match=message):
        Activation("strange", fn, (-np.inf, np.inf), (-1.0, 1.0))


def test_a_slope_without_bound_is_none_not_infinite():
    with pytest.raises(ValueError, match=r"slope=\(0.0, inf\)\) must be finite: without a bound it is None"):
        Activation("steep", jnp.tanh, (-1.0, 1.0), (0.0, np.inf))


def test_states_at_faces_that_no_float_is_are_enclosed():
    neuron = Both(tanh, tanh, rising, -0.1, 0.7)
    net = direp.Network(
        direp.Graph.complete(2, 3, 1), neuron, direp.Normal(std=0.5, input_mean=2.0), key=jax.random.key(1),
        dtype=np.float32,
    )  # fmt: skip
    net = direp.LeakController(0.1, floor=0.2).begin(net)
    task = direp.tasks.xor()
    settled = direp.settle(net, task.train.x)
    assert (settled.state == np.float32(0.7)).any()
    certificate = direp.certify_learning(net, *task.train, direp.Local(direp.Centred(0.05)))
    assert certificate.samples, certificate.reason
