"""Every die of a network: margins are the least of all, rates hold on each, numbers go to levels."""

import dataclasses
import itertools

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

import direp
from direp.arithmetic import precise
from direp.certificates.convergence import Mismatch, System, Varied, largest_mismatch, perron_weights, quantised

NEURONS = {
    "projected": direp.Projected(),
    "signed": direp.Projected(outflow="signed"),
    "hopfield": direp.Hopfield(direp.model.sigmoid, outflow="absolute"),
    "rate": direp.Rate(direp.model.tanh, outflow="signed"),
}
CRITERIA = (direp.LocalLeak(), direp.Rows(), direp.Perron(), direp.Spectral())


def drawn(neuron: str, seed: int, units: int = 3, scale: float = 0.25) -> direp.Network:
    graph = direp.Graph.complete(1, units - 1, 1)
    weight = scale * np.random.default_rng(seed).standard_normal((graph.units, graph.free)) * graph.adjacency()
    return direp.Network(graph, NEURONS[neuron], weight, leak=1.0, dtype=np.float32)


@pytest.mark.parametrize("outflow", ["shared", "separate"])
@pytest.mark.parametrize("neuron", NEURONS)
@pytest.mark.parametrize("incoming", [False, True])
def test_the_margin_is_the_least_of_all_corner_dies(neuron, outflow, incoming):
    network, share = drawn(neuron, 1), 0.1
    system = System.of(network)
    eta = np.random.default_rng(2).uniform(0.5, 2, 3)
    varied = Varied.around(system, Mismatch(share, outflow))
    places = np.argwhere(system.weight != 0)
    least = np.full(3, np.inf)
    for signs in itertools.product((-1, 1), repeat=len(places)):
        weight = system.weight.copy()
        for (i, j), sign in zip(places, signs, strict=True):
            weight[i, j] *= 1 + share * sign
        die = dataclasses.replace(system, weight=weight, leak=system.leak * (1 - share))
        least = np.minimum(least, die.margin(eta, incoming))
    margin = varied.margin(eta, incoming)
    assert (varied.proved_margin(eta, incoming) <= margin).all()
    assert np.allclose([float(varied._exact_margin(k, eta, incoming)) for k in range(3)], margin, atol=1e-12)
    if outflow == "shared" and not incoming:
        assert np.allclose(margin, least, atol=1e-12)
    else:  # two devices, and sums that share none, are allowed to be worse
        assert (margin <= least + 1e-12).all()


def test_local_leaks_read_as_is_derived():
    network, x = drawn("signed", 4), 0.07
    system = System.of(network)
    weight, one = system.weight, np.ones(3)
    margin = Varied.around(system, Mismatch(x, "separate")).margin(one, False)
    expected = system.leak * (1 - x) - 2 * np.maximum(-weight, 0).sum(1) - 2 * x * np.abs(weight).sum(1)
    assert np.allclose(margin, expected)


@pytest.mark.parametrize("outflow", ["shared", "separate"])
@pytest.mark.parametrize("neuron", NEURONS)
def test_perron_is_the_sharpest_weighting_of_all_dies(neuron, outflow):
    """Devices apart: the slowest die is one matrix, of which it finds the abscissa. Else: no weights near do better."""
    share = 0.1
    system = Varied.around(System.of(drawn(neuron, 3, units=6)), Mismatch(share, outflow))
    for incoming in (False, True):
        found = perron_weights(system, incoming=incoming)
        rate = system.margin(found, incoming).min()
        slowest = (1 + share) * system.magnitude
        np.fill_diagonal(slowest, -(system.leak * (1 - share) + system.outflow - share * system.lost))
        apart = -np.linalg.eigvals(slowest).real.max()
        if outflow == "separate" or incoming or not system.neuron.outflow.active:
            assert rate == pytest.approx(apart, rel=1e-6)
        else:
            assert rate >= apart - 1e-9
            rng = np.random.default_rng(0)
            for size in np.repeat([1e-3, 1e-2, 1e-1, 1], 50):
                other = found * np.exp(size * rng.standard_normal(6))
                assert system.margin(other, incoming).min() <= rate + 1e-9
        sparse = dataclasses.replace(system, weight=csr_array(system.weight))
        other = perron_weights(sparse, incoming=incoming)
        assert system.margin(other, incoming).min() == pytest.approx(rate, rel=1e-6)


@pytest.mark.parametrize("outflow", ["shared", "separate"])
@pytest.mark.parametrize("neuron", NEURONS)
def test_a_remedy_is_enough_for_every_die(neuron, outflow):
    network, mismatch = drawn(neuron, 5, units=6, scale=0.8), Mismatch(0.1, outflow)

    def judged(changed):
        return direp.certify(changed, criteria=(direp.Perron(),), mismatch=mismatch, starts=0)

    cure = judged(network).remedy
    assert cure is not None
    for leak in (cure.leak, cure.common_leak):
        raised = np.nextafter((np.asarray(network.leak) + leak).astype(np.float32), np.float32(np.inf))
        assert judged(network.replace(network.parameters._replace(leak=raised)))
    scaled = network.weight._replace(recurrent=(np.asarray(network.weight.recurrent) * cure.weight_scale * (1 - 1e-6)))
    scaled = jax.tree.map(lambda leaf: leaf.astype(np.float32), scaled)
    assert judged(network.replace(network.parameters._replace(weight=scaled)))


@pytest.mark.parametrize("criterion", CRITERIA, ids=lambda each: each.name)
@pytest.mark.parametrize("neuron", NEURONS)
@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.02, 0.1, 0.3]), st.sampled_from(["shared", "separate"]))
def test_every_die_of_a_proved_network_is_proved(neuron, criterion, seed, share, outflow):
    network, mismatch = drawn(neuron, seed), Mismatch(share, outflow)
    certificate = direp.certify(network, criteria=(criterion,), mismatch=mismatch, starts=0)
    plain = direp.certify(network, criteria=(criterion,), starts=0)
    if certificate:
        assert plain.rate >= certificate.rate * (1 - 1e-6)
    if share == 0 and plain and plain.rate > 1e-6:
        assert certificate
        assert certificate.rate >= 0.99 * plain.rate
    if not certificate:
        return
    rng = np.random.default_rng(seed)
    for corner in (True, False, True):
        die = mismatch.die(network, rng, corner)
        assert mismatch.covers(network, die)
        certificate.check_network(die)
        system, norm = System.of(die), certificate.norm
        low, high = system.rate_slope if die.neuron.transfer.linear else system.transfer_slope
        for _ in range(10):
            slopes = np.where(rng.random(3) < 0.5, low, high)
            pull = slopes * system.weight.T if die.neuron.transfer.linear else slopes[:, None] * system.weight.T
            step = 1e-6
            jacobian = np.eye(3) + step * (pull - np.diag(system.total_leak))
            v = rng.standard_normal((50, 3))
            growth = (norm.length(v @ jacobian.T) / norm.length(v) - 1) / step
            assert growth.max() <= -certificate.rate + 1e-4


def test_what_is_no_die_is_refused():
    network, mismatch = drawn("projected", 0), Mismatch(0.05)
    certificate = direp.certify(network, mismatch=mismatch, starts=0)
    assert certificate
    assert "every die within 5 %" in str(certificate)
    assert any("one device" in each for each in certificate.assumptions)
    far = network.replace(network.parameters._replace(leak=network.leak * np.float32(1.06)))
    assert not mismatch.covers(network, far)
    with pytest.raises(ValueError, match="of another network"):
        certificate.check_network(far)


def test_criteria_that_know_nothing_of_dies_are_not_asked():
    network = drawn("rate", 3, scale=1.5)
    certificate = direp.certify(network, mismatch=0.3, starts=0)
    unaware = [attempt for attempt in certificate.attempts if attempt.criterion in ("symmetric", "circle", "LMI")]
    assert unaware
    assert all(attempt.proof is None and "mismatch" in attempt.note for attempt in unaware)


def test_a_broken_margin_is_caught(monkeypatch):
    monkeypatch.setattr(Varied, "lost", property(lambda self: np.zeros(self.size)))
    system = System.of(drawn("signed", 1))
    broken = Varied.around(system, Mismatch(0.1, "separate"))
    with precise():
        exact = [float(broken._exact_margin(k, np.ones(3), False)) for k in range(3)]
    assert not np.allclose(broken.margin(np.ones(3), False), exact)


def test_the_largest_mismatch_is_where_the_proof_ends():
    network = drawn("projected", 5)

    def proved(share: float) -> bool:
        return bool(direp.certify(network, criteria=(direp.LocalLeak(),), mismatch=share, starts=0))

    most = largest_mismatch(proved)
    assert proved(most)
    assert not proved(most * 1.01 + 1e-5)
    sums = np.abs(System.of(network).weight).sum(1)
    assert most == pytest.approx(float(((1 - sums) / (1 + sums)).min()), rel=2e-3)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 8), st.sampled_from([np.inf, 10.0, 2.0]), st.integers(0, 10**6))
def test_numbers_go_to_levels(bits, ratio, seed):
    network = drawn("projected", seed)
    found = quantised(network, bits, ratio)
    again = quantised(found, bits, ratio)
    for one, other, before in zip(*map(jax.tree.leaves, (found, again, network)), strict=True):
        assert np.array_equal(one, other)
        size, most = np.abs(np.asarray(one, np.float64)), np.abs(np.asarray(before, np.float64)).max(initial=0)
        assert len(np.unique(size[size > 0])) <= 2**bits
        if ratio < np.inf and most > 0:
            assert (size[size > 0] >= most / ratio * (1 - 1e-6)).all()
    if ratio == np.inf:
        recurrent = np.asarray(network.weight.recurrent, np.float64)
        step = np.abs(recurrent).max() / (2**bits - 1)
        assert np.abs(np.asarray(found.weight.recurrent) - recurrent).max() <= step / 2 * (1 + 1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Mismatch(1.5), "0.05 is five percent"),
        (lambda: quantised(drawn("projected", 0), 0), "1 to 24"),
        (lambda: quantised(drawn("projected", 0), 4, 0.5), "above 1"),
        (lambda: direp.certify(drawn("projected", 0), mismatch=0.1, inputs=np.zeros((1, 1))), "leave inputs out"),
    ],
)
def test_wrong_use_is_told(call, message):
    with pytest.raises(ValueError, match=message):
        call()
