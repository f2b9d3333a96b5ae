"""Criteria against independent oracles: eigenvalues, sampled Jacobians, exact rationals, ball arithmetic."""

import dataclasses
from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from cases import GRAPHS, NEURONS, OUTFLOWS, network
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

import direp
import direp.certificates.convergence.euclidean
from direp.arithmetic.ball import exact, positive_definite
from direp.certificates.convergence.norm import L1, L2, Euclidean, LInf
from direp.certificates.convergence.system import System

neurons, outflows = st.sampled_from(list(NEURONS)), st.sampled_from(OUTFLOWS)
seeds = st.integers(0, 100_000)


def drawn(neuron, outflow, seed, scale=0.5, graph="complete", leak=None, symmetric=False):
    """A random network as it comes: nothing holds it inside."""
    graph = GRAPHS[graph]()
    rng = np.random.default_rng(seed)
    matrix = np.where(graph.adjacency(), rng.normal(0, scale, (graph.units, graph.free)), 0)
    if symmetric:
        square = matrix[graph.inputs :]
        matrix[graph.inputs :] = (square + square.T) / 2
    leak = 0.3 + 2 * rng.random(graph.free) if leak is None else leak
    return direp.Network(graph, NEURONS[neuron](outflow), matrix, leak=leak, bias=rng.normal(size=graph.free))


def alone(net, criterion, **settings):
    return direp.certify(net, criteria=(criterion,), starts=0, **settings)


def majorant(net):
    inner = np.asarray(net.matrix)[net.graph.inputs :]
    return net.neuron.gain * np.abs(inner) - np.diag(np.asarray(net.total_leak()))


@given(seeds, neurons, outflows, st.floats(0.05, 1.0), st.sampled_from(list(GRAPHS)))
def test_perron_finds_the_spectral_abscissa_and_proves_all_that_the_others_prove(seed, neuron, outflow, scale, graph):
    net = drawn(neuron, outflow, seed, scale, graph)
    perron, *others = (alone(net, c) for c in (direp.Perron(), direp.LocalLeak(), direp.Rows()))
    abscissa = np.linalg.eigvals(majorant(net)).real.max()
    assert perron.rate <= -abscissa + 1e-9
    if graph == "complete":
        assert abs(perron.rate + abscissa) < 1e-6 * (1 + abs(abscissa))
    for other in others:
        assert perron or not other
        assert perron.rate >= other.rate - 1e-9


def jacobians(net, rng, count=20):
    """Jacobians for slopes anywhere within the activation's bounds: what a state may bring about."""
    inner, low, high = np.asarray(net.matrix)[net.graph.inputs :].T, *net.neuron.slope
    for _ in range(count):
        slope = rng.choice([low, high, rng.uniform(low, high)], net.graph.free)
        coupling = inner * slope if net.neuron.rate != direp.activation.identity else slope[:, None] * inner
        yield coupling - np.diag(np.asarray(net.total_leak()))


def log_norm(norm, jacobian):
    """Of a matrix, in one of the three kinds of norm."""
    if isinstance(norm, Euclidean | L2):
        p = np.linalg.inv(norm.matrix) if norm.inverse else norm.matrix
        root = np.linalg.cholesky(p).T
        scaled = root @ jacobian @ np.linalg.inv(root)
        return np.linalg.eigvalsh((scaled + scaled.T) / 2).max()
    eta = norm.weights
    scaled = eta[:, None] * jacobian / eta if isinstance(norm, L1) else jacobian * eta / eta[:, None]
    size = np.abs(scaled) - np.diag(np.abs(np.diag(scaled))) + np.diag(np.diag(scaled))
    return size.sum(0 if isinstance(norm, L1) else 1).max()


CRITERIA = (
    direp.LocalLeak(),
    direp.Rows(),
    direp.Perron(),
    direp.Symmetric(),
    direp.LMI(),
    direp.Spectral(),
    direp.Circle(),
)


@settings(max_examples=25)
@given(seeds, neurons, outflows, st.sampled_from(CRITERIA), st.booleans())
def test_no_jacobian_expands_in_the_certified_norm(seed, neuron, outflow, criterion, symmetric):
    net = drawn(neuron, outflow, seed, 0.25, symmetric=symmetric)
    certificate = alone(net, criterion)
    assume(certificate)
    norm, rng = certificate.norm, np.random.default_rng(seed)
    assert isinstance(norm, L1 | LInf | L2 | Euclidean)
    if isinstance(net.neuron, direp.Projected) and isinstance(norm, Euclidean):
        assert np.count_nonzero(norm.matrix - np.diag(np.diag(norm.matrix))) == 0
    step = certificate.largest_step
    for jacobian in jacobians(net, rng):
        assert log_norm(norm, jacobian) <= -certificate.rate + 1e-9
        v = rng.normal(size=net.graph.free)
        assert norm.length(v + step * jacobian @ v) <= certificate.factor * norm.length(v) * (1 + 1e-12)
        assert np.abs(v).max() <= norm.reach * norm.length(v) * (1 + 1e-12)


def test_the_symmetric_criterion_is_the_largest_eigenvalue_for_equal_leaks():
    """Just inside proved, just outside not, where no diagonal norm proves anything."""
    rng = np.random.default_rng(0)
    graph = direp.Graph.complete(1, 11, 1)
    matrix = np.where(graph.adjacency(), rng.normal(size=(13, 12)), 0)
    square = (matrix[1:] + matrix[1:].T) / 2
    matrix[1:] = square
    top = np.linalg.eigvalsh(square).max()
    for neuron in (direp.Projected(), direp.Hopfield(direp.activation.tanh), direp.Rate(direp.activation.relu)):
        for leak, verdict in ((top * 1.001, "proved"), (top * 0.999, "undecided")):
            net = direp.Network(graph, neuron, matrix, leak=leak)
            certificate = alone(net, direp.Symmetric())
            assert certificate.verdict == verdict
            assert not alone(net, direp.Perron())
            if certificate:
                assert certificate.rate > (leak - top) * 0.99


def test_the_lmi_proves_what_no_simpler_criterion_does():
    """Antisymmetric weights turn states round and never apart: any leak will do, and only the LMI sees it."""
    graph = direp.Graph.complete(1, 3, 1)
    rng = np.random.default_rng(1)
    matrix = np.where(graph.adjacency(), rng.normal(size=(5, 4)), 0)
    matrix[1:] = matrix[1:] - matrix[1:].T
    net = direp.Network(graph, direp.Projected(), matrix, leak=0.05)
    assert not alone(net, direp.Perron())
    assert alone(net, direp.Symmetric()).rate == pytest.approx(0.05, rel=1e-5)
    scaled = direp.Network(graph, direp.Projected(), np.diag([1, 1, 10, 0.1, 1.0]) @ matrix, leak=0.05)
    assert not alone(scaled, direp.Symmetric())
    assert alone(scaled, direp.LMI())


@given(seeds, outflows)
@settings(max_examples=10)
def test_euclidean_criteria_cover_nudged_phases(seed, outflow):
    net = drawn("projected", outflow, seed, 0.2, leak=1.5)
    certificate = alone(net, direp.Symmetric(), nudge=direp.Centred(0.2))
    assume(certificate)
    free = np.asarray(net.matrix)[net.graph.inputs :].T - np.diag(np.asarray(net.total_leak()))
    for name, beta in (("free", 0.0), ("beta=+0.2", 0.2), ("beta=-0.2", -0.2)):
        nudged = free - beta * np.diag((np.arange(net.graph.free) >= net.graph.hidden).astype(float))
        assert log_norm(certificate.norm, nudged) <= -certificate.phases[name] + 1e-9


@given(seeds, st.integers(1, 6), st.floats(-1e-3, 1e-3))
def test_positive_definite_in_balls_agrees_with_exact_rationals(seed, size, shift):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(size, size))
    matrix = root @ root.T
    matrix = (matrix + matrix.T) / 2
    matrix -= (np.linalg.eigvalsh(matrix)[0] + shift) * np.eye(size)
    rows = [[Fraction(float(entry)) for entry in row] for row in matrix]
    definite = True
    for k in range(size):  # exact elimination: all pivots above zero
        definite = definite and rows[k][k] > 0
        if not definite:
            break
        for i in range(k + 1, size):
            factor = rows[i][k] / rows[k][k]
            rows[i] = [a - factor * b for a, b in zip(rows[i], rows[k], strict=True)]
    assert definite or not positive_definite(exact(matrix))
    if shift < -1e-9:
        assert positive_definite(exact(matrix))


def test_a_margin_of_one_part_in_a_million_billion_is_decided_exactly():
    """Excitation with outflow leaves exactly the leak as margin, whatever the sums round to."""
    graph = direp.Graph.complete(1, 30, 1)
    rng = np.random.default_rng(0)
    matrix = np.where(graph.adjacency(), rng.random((32, 31)), 0)
    for leak in (1e-3, 1e-12, 1e-18, 1e-40):
        certificate = alone(direp.Network(graph, direp.Projected("signed"), matrix, leak=leak), direp.LocalLeak())
        assert certificate.verdict == "proved"
        assert 0 < certificate.rate <= leak
    assert not alone(direp.Network(graph, direp.Projected("signed"), matrix, leak=0.0), direp.LocalLeak())


def chain(leak, feedback=0.5, outflow="signed"):
    """in -> a -> b -> c -> a: excitatory; `leak` of a, b, c."""
    edges = [("in", "a"), ("a", "b"), ("b", "c"), ("c", "a")]
    graph = direp.Graph.from_edges(edges, inputs=["in"], outputs=["c"])
    matrix = np.zeros((4, 3))
    for (i, j), w in zip(edges, (1.0, 0.7, 0.9, feedback), strict=True):
        matrix[graph.names.index(i), graph.names.index(j) - 1] = w
    return direp.Network(graph, direp.Projected(outflow), matrix, leak=np.asarray(leak))


def test_compartmental_networks_need_one_leak_that_all_activity_reaches():
    for leaking in range(3):
        net = chain(np.where(np.arange(3) == leaking, 0.2, 0.0))
        assert not alone(net, direp.LocalLeak())
        for criterion in (direp.Compartmental(), direp.Perron()):
            certificate = alone(net, criterion)
            assert certificate.verdict == "proved"
            assert certificate.rate <= -np.linalg.eigvals(majorant(net)).real.max() + 1e-12
    trapped = direp.certify(chain(np.zeros(3)))
    assert trapped.verdict != "proved"
    assert "trap" in trapped.reason
    assert "singular" in trapped.reason
    assert "trap" not in direp.certify(chain(np.zeros(3), outflow="none")).reason


@settings(max_examples=14)
@given(seeds, neurons, outflows, st.booleans())
def test_every_part_of_a_remedy_certifies_and_the_common_ones_are_least(seed, neuron, outflow, nudged):
    net = drawn(neuron, outflow, seed, 0.8)
    nudge = direp.Centred(0.05) if nudged else None
    certificate = direp.certify(net, nudge=nudge, starts=0)
    assume(not certificate)
    cure, perron = certificate.remedy, direp.Perron()
    assert cure is not None

    def changed(leak=0.0, scale=1.0):
        weight = net.weight._replace(recurrent=net.weight.recurrent * scale)
        return net.replace(net.parameters._replace(leak=net.leak + leak, weight=weight))

    assert alone(changed(jnp.asarray(cure.leak)), perron, nudge=nudge)
    assert alone(changed(cure.common_leak), perron, nudge=nudge)
    assert not alone(changed(cure.common_leak * (1 - 1e-6) - 1e-6), perron, nudge=nudge)
    assert cure.leak.sum() <= cure.common_leak * net.graph.free * (1 + 1e-6)
    if cure.weight_scale is not None:
        assert alone(changed(scale=cure.weight_scale), perron, nudge=nudge)
        assert not alone(changed(scale=cure.weight_scale * (1 + 1e-6)), perron, nudge=nudge)
    named = [net.graph.name(int(k)) for k in np.flatnonzero(cure.leak > 0.1 * cure.leak.max())]
    assert set(named[:1]) <= set(certificate.blame) | set(net.graph.names)
    assert "would certify it" in certificate.reason


@given(seeds, outflows)
def test_sparse_arrays_are_certified_as_dense_ones(seed, outflow):
    net = drawn("projected", outflow, seed, 0.3, "random")
    system = System.of(net, direp.Centred(0.1))
    sparse = dataclasses.replace(system, weight=csr_array(system.weight))
    for criterion in (direp.LocalLeak(), direp.Rows(), direp.Perron(), direp.Compartmental(), direp.Symmetric()):
        one, two = criterion.attempt(system), criterion.attempt(sparse)
        assert (one.proof is None) == (two.proof is None)
        assert one.rate == two.rate or abs(one.rate - two.rate) < 1e-9


@settings(max_examples=15)
@given(seeds, neurons, outflows)
def test_residuals_shrink_by_the_certified_factor_and_within_the_certified_steps(seed, neuron, outflow):
    net = network(neuron, outflow, seed=seed)
    certificate = direp.certify(net)
    rng = np.random.default_rng(seed)
    field = net.field(jnp.asarray(rng.random((8, 2))))
    state = field.clip(jnp.asarray(rng.normal(0.5, 1.0, (8, net.graph.free))))
    velocity = lambda s: np.asarray(field.velocity(s, field.drive(s)))  # noqa: E731
    bound = certificate.steps_to(velocity(state), 1e-6)
    before = certificate.norm.length(velocity(state))
    taken = 0
    while taken < bound:
        state = field.clip(state + certificate.largest_step * field.flow(state, field.drive(state)))
        after = certificate.norm.length(velocity(state))
        assert (after <= certificate.factor * before * (1 + 1e-9) + 1e-13).all()
        before, taken = after, taken + 1
        if before.max() < 1e-12:
            break
    assert np.abs(velocity(state)).max() <= 1e-6
    assert certificate.steps(1.0) == 0
    assert certificate.steps((1 - certificate.shrink) ** 7.5) == 8


@pytest.mark.parametrize("outflow", OUTFLOWS)
def test_large_sparse_networks_are_certified_without_a_dense_matrix(outflow):
    graph = direp.Graph.random(5, 20_000, 5, density=5e-4, seed=0)
    net = direp.Network(graph, direp.Projected(outflow), direp.FanIn(0.5, 0.5), key=__import__("jax").random.key(0))
    assert isinstance(net.synapses, direp.Sparse)
    certificate = direp.certify(direp.LeakController(0.1).begin(net))
    assert certificate.verdict == "proved"
    weak = net.replace(net.parameters._replace(leak=jnp.full_like(net.leak, 0.01)))
    undecided = direp.certify(weak)
    if outflow != "absolute":
        assert undecided.verdict == "undecided"
        assert "too large" in undecided.reason
        cured = weak.replace(weak.parameters._replace(leak=weak.leak + undecided.remedy.common_leak))
        assert alone(cured, direp.Perron())


@pytest.mark.parametrize("kind", ["diagonal", "any"])
def test_a_norm_for_projected_must_be_diagonal(kind):
    """The box is projected on unit by unit; another norm would prove what is false of this network."""
    coupling = np.array([[-0.19, 0.29, 0.87], [-1.77, -0.34, -3.04], [0.52, 1.25, -0.38]])
    own = np.diag(coupling)
    graph = direp.Graph.complete(1, 2, 1)
    matrix = np.concatenate([np.ones((1, 3)), (coupling - np.diag(own)).T])
    net = direp.Network(graph, direp.Projected(), matrix, leak=-own)

    class Lyapunov(direp.certificates.convergence.euclidean.AbstractEuclidean):
        name = "Lyapunov"
        up_to: int = 10

        def propose(self, system, phases):
            p = scipy.linalg.solve_continuous_lyapunov(coupling.T, -np.eye(3))
            return (np.diag(np.diag(p)) if kind == "diagonal" else p), np.zeros(3)

    if kind == "any":
        with pytest.raises(ValueError, match="not diagonal"):
            alone(net, Lyapunov())
    else:
        assert not alone(net, Lyapunov())


def test_extreme_numbers_get_a_verdict_and_no_exception():
    for size in (1e-320, 1e-170, 1e155, 1e308):
        for neuron in (direp.Projected(), direp.Hopfield(direp.activation.tanh)):
            graph = direp.Graph.complete(1, 2, 1)
            matrix = np.where(graph.adjacency(), -size, 0.0)
            matrix[0] = 1.0
            for leak in (1.5 * size, 2.5 * size if size < 1e308 else size):
                certificate = direp.certify(direp.Network(graph, neuron, matrix, leak=leak))
                assert certificate.verdict == ("proved" if 2.5 * size == leak < 1e308 else "undecided")


def test_a_nudge_that_just_outweighs_a_tiny_leak_is_not_proved():
    graph = direp.Graph.complete(1, 1, 1)
    matrix = np.zeros((3, 2))
    matrix[0] = 1
    net = direp.Network(graph, direp.Hopfield(direp.activation.tanh), matrix, leak=np.array([1.0, 1e-302]))
    assert not direp.certify(net, nudge=direp.OneSided(-9e-301), starts=0)


def test_phases_that_differ_in_the_seventh_digit_are_both_covered():
    class Two(direp.rules.AbstractNudge):
        beta: float = 0.5

        @property
        def strengths(self):
            return (-0.50000001, -0.4999999)

        def difference(self, free, nudged):
            return nudged[0] - nudged[1]

    graph = direp.Graph.from_edges([("x", "o")], inputs=["x"], outputs=["o"])
    net = direp.Network(graph, direp.Projected(), np.array([[1.0], [0.0]]), leak=0.5)
    assert not direp.certify(net, nudge=Two(), starts=0)


def test_a_rate_below_the_rounding_of_a_step_takes_as_many_steps_as_it_must():
    graph = direp.Graph.complete(1, 1, 1)
    matrix = np.array([[1.0, 1.0], [0, 1], [1, 0]])
    certificate = direp.certify(direp.Network(graph, direp.Projected("signed"), matrix, leak=1e-18))
    assert certificate.verdict == "proved"
    assert certificate.factor == 1.0
    assert certificate.steps(0.1) == pytest.approx(np.log(10) / (certificate.largest_step * certificate.rate), rel=1e-9)
    slower = direp.Network(graph, direp.Projected(), np.zeros((3, 2)) + matrix * [[1.0], [0], [0]], leak=[1e-320, 1.0])
    assert alone(slower, direp.LocalLeak()).steps(0.1) is None
    for bad in (np.array([[np.nan, 0]]), np.array([[np.inf, 0]])):
        with pytest.raises(ValueError, match="finite velocity"):
            certificate.steps_to(bad, 1e-6)
    with pytest.raises(ValueError, match="tolerance above 0"):
        certificate.steps_to(np.ones((1, 2)), 0.0)


@given(seeds, outflows)
@settings(max_examples=10)
def test_a_remedy_is_enough_in_the_precision_of_the_network(seed, outflow):
    rng = np.random.default_rng(seed)
    graph = direp.Graph.complete(1, 6, 1)
    matrix = np.where(graph.adjacency(), rng.normal(0, 0.8, (8, 7)), 0)
    net = direp.Network(graph, direp.Projected(outflow), matrix, leak=0.4, dtype=jnp.float32)
    certificate = direp.certify(net, starts=0)
    assume(not certificate)
    cure = certificate.remedy
    for leak in (cure.leak, cure.common_leak):
        raised = net.leak + jnp.asarray(leak, jnp.float32)
        assert alone(net.replace(net.parameters._replace(leak=raised)), direp.Perron())
    if cure.weight_scale is not None:
        weight = net.weight._replace(recurrent=net.weight.recurrent * jnp.float32(cure.weight_scale))
        assert alone(net.replace(net.parameters._replace(weight=weight)), direp.Perron())


def test_a_step_is_short_enough_for_every_leak_that_is_in_doubt():
    system = System.of(network("hopfield-sigmoid", "none", scale=0.1))
    wide = dataclasses.replace(system, doubt=0.5)
    assert wide.largest_step <= 1 / (system.total_leak.max() + 0.5)
    for criterion in (direp.Spectral(), direp.certificates.Symmetric()):
        sure, unsure = (criterion.attempt(each).proof for each in (system, wide))
        assert sure is not None
        assert unsure is None or unsure.step < sure.step
