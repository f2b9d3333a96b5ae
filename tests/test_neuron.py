"""A neuron is data: proofs hold for what they read of it and refuse the rest by name."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import NEURONS, OUTFLOWS, data
from neuron_cases import Both, bent, rising

import direp
from direp.arithmetic import precise
from direp.certificates.learning.linear import Sample
from direp.certificates.learning.structure import structural
from direp.certificates.region import Box
from direp.model import Outflow
from direp.model.activation import identity, relu, sigmoid, softplus, tanh
from direp.settling import linearise

MADE = {
    "both": lambda outflow: Both(tanh, sigmoid, outflow),
    "bent": lambda outflow: Both(identity, bent, outflow),
    "boxed": lambda outflow: Both(tanh, identity, outflow, -0.5, 0.8),
    "boxed rate": lambda outflow: Both(identity, tanh, outflow, 0.0, 1.0),
    **{name: (lambda outflow, make=make: make(outflow)) for name, make in NEURONS.items()},
}
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
            # In a box curved units need a norm that sees entries alone, as that of Spectral.
            said = ("transfer", "identity") if name == "both" else ("in a box", "spectral")
            assert all(word in note for note in notes.values() for word in said)
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
