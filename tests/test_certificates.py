"""Certified implies settles: to one equilibrium, from anywhere, at the certified rate; and how verdicts read."""

import json
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import NEURONS, OUTFLOWS, TIGHT, data, network, settle
from hypothesis import given, settings
from hypothesis import strategies as st

import direp
from direp.arithmetic import at_least, at_most
from direp.certificates.convergence import Judged
from direp.certificates.convergence.norm import L2, Euclidean
from direp.certificates.region import Box, certify_region

neurons, outflows = st.sampled_from(list(NEURONS)), st.sampled_from(OUTFLOWS)


@given(st.integers(0, 100_000), neurons, outflows, st.floats(0.1, 2.0))
def test_certified_implies_one_equilibrium_at_the_certified_rate(seed, neuron, outflow, scale):
    net = network(neuron, outflow, seed=seed, scale=scale)
    certificate = direp.certify(net)
    assert certificate.verdict == "proved"
    rng = np.random.default_rng(seed)
    x, _ = data(net.graph, batch=1, seed=seed)
    x = np.repeat(x, 6, 0)
    starts = rng.random((6, net.graph.free))
    ends = settle(net, x, state=starts, stop=TIGHT)
    assert ends.converged.all()
    assert np.ptp(np.asarray(ends.state), 0).max() < 1e-9
    # In l1, a projected Euler step of at most the certified length contracts by 1 - step * rate, every pair of states.
    step = certificate.largest_step
    one = settle(net, x, state=starts, method=direp.Euler(jnp.array(step)), stop=direp.Steps(1))
    before = np.abs(starts[:3] - starts[3:]).sum(1)
    after = np.abs(np.asarray(one.state[:3] - one.state[3:])).sum(1)
    assert (after <= before * (1 - step * certificate.rate) + 1e-12).all()


@given(st.integers(0, 100_000), neurons, outflows)
def test_the_rate_is_the_margin_of_the_worst_unit(seed, neuron, outflow):
    rng = np.random.default_rng(seed)
    graph = direp.Graph.complete(2, 3, 1)
    matrix = np.where(graph.adjacency(), rng.normal(size=(6, 4)), 0)
    leak = rng.random(4) * 3
    net = direp.Network(graph, NEURONS[neuron](outflow), matrix, leak=leak)
    out = {"none": 0 * matrix[2:], "signed": matrix[2:], "absolute": np.abs(matrix[2:])}[outflow].sum(1)
    margin = leak + out - net.neuron.gain * np.abs(matrix[2:]).sum(1)
    certificate = direp.certify(net, criteria=(direp.LocalLeak(),), starts=0)
    assert certificate.verdict == ("proved" if margin.min() > 0 else "undecided")
    assert abs(certificate.rate - margin.min()) < 1e-12
    assert certificate.rate <= margin.min()
    if margin.min() <= 0:
        assert certificate.blame[0] == graph.name(int(margin.argmin()))
        assert len(certificate.blame) == (margin <= 0).sum()


@settings(max_examples=10)
@given(
    st.integers(0, 100_000),
    st.sampled_from([0.01, 0.05, 0.2, 1.0, 5.0]),
    st.sampled_from(["squared", "cross-entropy"]),
    neurons,
)
def test_the_rate_of_a_nudged_phase_bounds_its_jacobian(seed, beta, kind, neuron):
    net = network(neuron, "signed", seed=seed)
    cost = direp.SquaredError() if kind == "squared" else direp.CrossEntropy(2.0)
    certificate = direp.certify(net, nudge=direp.Centred(beta), cost=cost, criteria=(direp.LocalLeak(),), starts=0)
    if not certificate:
        assert certificate.rate <= 0
        return
    assert set(certificate.phases) == {"free", f"beta={beta:+g}", f"beta={-beta:+g}"}
    x, y = data(net.graph, batch=1, seed=seed)
    field = net.field(jnp.asarray(x))
    rng = np.random.default_rng(seed)
    for strength, name in ((0.0, "free"), (beta, f"beta={beta:+g}"), (-beta, f"beta={-beta:+g}")):
        nudged = direp.Nudged(field, cost, jnp.asarray(y), jnp.asarray(strength))
        for _ in range(4):
            # Column by column the flow differs, between two states, by at most the log-norm times their distance.
            state, step = rng.normal(0.5, 0.5, net.graph.free), 1e-6
            ends = jnp.asarray(np.concatenate([state + step * np.eye(len(state)), state - step * np.eye(len(state))]))
            many = nudged.take(jnp.zeros(len(ends), int))
            flow = np.asarray(many.flow(ends, many.drive(ends)))
            jacobian = (flow[: len(state)] - flow[len(state) :]).T / (2 * step)
            own = np.diag(jacobian)
            measure = (own + np.abs(jacobian).sum(0) - np.abs(own)).max()
            assert measure <= -certificate.phases[name] + 1e-8 * (1 + beta)


def test_excitation_needs_any_leak_and_inhibition_twice_its_outflow():
    graph = direp.Graph.complete(2, 4, 1)
    rng = np.random.default_rng(0)
    excitatory = np.where(graph.adjacency(), rng.random((7, 5)) * 10, 0)
    assert direp.certify(direp.Network(graph, direp.Projected("signed"), excitatory, leak=1e-6))
    assert direp.certify(direp.Network(graph, direp.Projected("absolute"), -excitatory, leak=1e-6))
    need = 2 * excitatory[2:].sum(1)
    net = direp.Network(graph, direp.Projected("signed"), -excitatory, leak=need + 1e-9)
    assert direp.certify(net).verdict == "proved"
    net = direp.Network(graph, direp.Projected("signed"), -excitatory, leak=need - 1e-9)
    assert direp.certify(net, criteria=(direp.LocalLeak(),), starts=0).verdict == "undecided"


def test_proved_survives_rounding():
    """A margin that is exactly zero must not be proved, however its sum happens to round."""
    graph = direp.Graph.complete(1, 40, 1)
    for seed in range(50):
        rng = np.random.default_rng(seed)
        matrix = np.where(graph.adjacency(), rng.normal(size=(42, 41)), 0)
        exact = np.array([math.fsum(np.abs(row)) for row in matrix[1:]])
        net = direp.Network(graph, direp.Projected("none"), matrix, leak=np.nextafter(exact, 0))
        assert not direp.certify(net, criteria=(direp.LocalLeak(),), starts=0)
        at = direp.Network(graph, direp.Projected("none"), matrix, leak=np.nextafter(exact, np.inf))
        assert direp.certify(at, criteria=(direp.LocalLeak(),), starts=0)


def test_an_activation_without_slope_bounds_is_undecided_with_the_reason():
    steep = direp.Activation("cube", lambda s: s**3, (-np.inf, np.inf), None)
    graph = direp.Graph.layered([1, 2, 1])
    net = direp.Network(graph, direp.Rate(steep), direp.FanIn(), key=jax.random.key(0))
    certificate = direp.certify(net)
    assert certificate.verdict == "undecided"
    assert "slope" in certificate.reason
    with pytest.raises(ValueError, match="slope"):
        direp.LeakController().begin(net)


def test_numbers_that_are_none_are_refused():
    net = network("projected", "signed")
    broken = net.replace(net.parameters._replace(leak=net.leak.at[0].set(jnp.nan)))
    with pytest.raises(ValueError, match="leak holds NaN"):
        direp.certify(broken)
    with pytest.raises(ValueError, match="leaks are 0 or above"):
        direp.Network(net.graph, net.neuron, np.asarray(net.matrix), leak=-1.0)


def test_a_falling_activation_is_not_proved_where_its_nudge_excites():
    falling = direp.Activation("sine", jnp.sin, (-1.0, 1.0), (-1.0, 1.0))
    graph = direp.Graph.from_edges([("x", "o")], inputs=["x"], outputs=["o"])
    net = direp.Network(graph, direp.Hopfield(falling), np.array([[0.0], [0.0]]), leak=1.0)
    assert direp.certify(net).verdict == "proved"
    nudged = direp.certify(net, nudge=direp.OneSided(20.0))
    assert nudged.verdict == "undecided"
    assert nudged.rate <= -19.0
    assert "phase beta=+20 falls short" in nudged.reason


def test_the_largest_step_holds_in_nudged_phases():
    graph = direp.Graph.from_edges([("x", "o")], inputs=["x"], outputs=["o"])
    net = direp.Network(graph, direp.Projected(), np.array([[0.3], [0.0]]), leak=1.0)
    certificate = direp.certify(net, nudge=direp.OneSided(10.0))
    assert certificate.largest_step <= 1 / 11
    field = direp.Nudged(net.field(jnp.ones((1, 1))), direp.SquaredError(), jnp.full((1, 1), 0.5), jnp.array(10.0))
    settled = settle(field, state=np.zeros((1, 1)), method=direp.Euler(certificate.largest_step))
    assert settled.converged.all()


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


def test_a_notebook_shows_what_a_verdict_rests_on():
    net = network("projected", "signed")
    for certificate in (direp.certify(net), direp.certify_learning(net, *data(net.graph), direp.Local(0.1))):
        shown = certificate._repr_html_()
        assert certificate.sentence.split(":")[0] in shown
        for assumption in certificate.assumptions:
            assert assumption in shown
        assert shown.count("<tr>") == shown.count("</tr>") >= 3


def test_printed_bounds_hold():
    rng = np.random.default_rng(0)
    for value in [*(10.0 ** rng.uniform(-12, 9, 2000)), 0.1, 1.0, 0.0, 99.96, 1e-300]:
        up, down = (float(each(value, digits)) for each, digits in ((at_most, 2), (at_least, 3)))
        assert down <= value * (1 + 1e-15)
        assert up >= value * (1 - 1e-15)
        assert up <= value * 1.1
        assert down >= value * 0.99
    assert at_most(0.000892, 2) == "0.0009"
    assert at_least(0.14886) == "0.148"
    assert at_most(np.inf) == "inf"


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_lengths_in_euclidean_norms_neither_vanish_nor_overflow(scale):
    v = np.array([[3.0, 4.0], [0.0, 0.0]]) * scale
    matrix = np.array([[2.0, 1.0], [1.0, 2.0]])
    for norm, expected in ((L2(np.ones(2)), 5.0), (Euclidean(matrix), math.sqrt(74.0))):
        for found in (norm.length(v), norm.upper(v, np.zeros_like(v))):
            np.testing.assert_allclose(found / scale, [expected, 0.0], rtol=1e-13)
        assert norm.upper(v, np.zeros_like(v))[0] >= expected * scale
        assert norm.upper(v, np.full_like(v, 1e-3 * scale))[1] > 0
