"""The Euclidean criteria: what they contain, what they prove holds for every slope, and who decides."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import direp
from direp.arithmetic import certainly_positive, exact, matrix, precise
from direp.certificates import LMI, Circle, Perron, Spectral, Symmetric, Vertices
from direp.certificates.convergence import L2, Euclidean, System
from direp.certificates.convergence import spectral as room
from direp.certificates.convergence.circle import riccati
from direp.certificates.convergence.multipliers import Multiplied, _curved, _linear
from direp.certificates.convergence.spectral import norm_bound

NEURONS = [
    direp.Projected(),
    direp.Projected(outflow="signed"),
    direp.Hopfield(direp.model.sigmoid),
    direp.Hopfield(direp.model.tanh, outflow="absolute"),
    direp.Rate(direp.model.tanh),
    direp.Rate(direp.model.hard_sigmoid),
]


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def system_of(weight, neuron, leak=1.0, phases=None, cost=None) -> System:
    size = len(weight)
    return System(
        weight, np.broadcast_to(np.asarray(leak, float), (size,)).copy(), neuron, size - 1,
        cost or direp.SquaredError(), phases or {"free": 0.0},
    )  # fmt: skip


def drawn(size: int, scale: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    weight = rng.standard_normal((size, size)) * np.exp(rng.normal(0, 0.7, size))
    np.fill_diagonal(weight, 0)
    return scale * weight / max(np.abs(np.linalg.eigvals(weight)).max(), 1e-9)


def metric(norm) -> np.ndarray:
    whole = np.diag(norm.weights) if isinstance(norm, L2) else norm.matrix
    return np.linalg.inv(whole) if norm.inverse else whole


def growth(system: System, norm, slopes: np.ndarray, beta: float = 0.0) -> float:
    """The log-norm of the Jacobian at some slopes, by eigenvalues: an oracle that knows no multipliers."""
    pull, own = slopes * system.weight.T, np.diag(slopes)
    jacobian = -np.diag(system.total_leak) + (
        pull if system.neuron.transfer.linear else slopes[:, None] * pull / slopes
    )
    jacobian[-1, -1] -= beta * own[-1, -1]
    root = np.linalg.cholesky(metric(norm)).T
    pulled = root @ jacobian @ np.linalg.inv(root)
    return float(np.linalg.eigvalsh((pulled + pulled.T) / 2)[-1])


@pytest.mark.parametrize("neuron", NEURONS, ids=str)
@pytest.mark.parametrize("criterion", [Spectral(), Circle(), LMI(), Vertices()], ids=lambda each: each.name)
@settings(max_examples=4, deadline=None)
@given(st.integers(2, 4), st.floats(0.2, 0.9), st.integers(0, 10**6))
def test_what_is_proved_holds_at_every_slope(neuron, criterion, size, scale, seed):
    system = system_of(drawn(size, scale, seed), neuron, leak=np.random.default_rng(seed).uniform(0.7, 1.4, size))
    with precise():
        attempt = criterion.attempt(system)
    if attempt.proof is None:
        return
    low, high = system.rate_slope if neuron.transfer.linear else system.transfer_slope
    rng, tiny = np.random.default_rng(seed), 1e-12
    for _ in range(30):
        slopes = np.clip(np.where(rng.random(size) < 0.7, rng.choice([0, 1], size), rng.random(size)), tiny, None)
        slopes = low + (high - low) * slopes
        assert growth(system, attempt.proof.norm, slopes) <= -attempt.proof.rate + 1e-9


@pytest.mark.parametrize("neuron", NEURONS, ids=str)
@settings(max_examples=8, deadline=None)
@given(st.integers(2, 30), st.integers(0, 10**6))
def test_spectral_contains_perron(neuron, size, seed):
    system = system_of(drawn(size, 0.3, seed), neuron, leak=np.random.default_rng(seed).uniform(0.7, 1.4, size))
    with precise():
        perron, spectral = Perron().attempt(system), Spectral(sharpen_up_to=0).attempt(system)
    if perron.proof is not None and perron.rate > 1e-6:
        assert spectral.proof is not None
        assert spectral.rate > perron.rate * (1 - 1e-3) - 1e-9


@pytest.mark.parametrize("seed", range(3))
def test_the_sharper_contain_the_blunter(seed):
    system = system_of(drawn(5, 0.6, seed), direp.Rate(direp.model.tanh))
    with precise():
        rates = {each.name: each.attempt(system).rate for each in (Spectral(), Circle(), LMI(rounds=8))}
    assert rates["circle"] > rates["spectral"] - 0.01
    assert rates["LMI"] > rates["spectral"] - 0.01


def test_multipliers_suit_a_frequency_other_than_zero():
    """The solver proves 0.2963; the multipliers of frequency zero 0.2844, for the narrowest is near 0.41."""
    rng = np.random.default_rng((10, 100, 1))
    weight = rng.standard_normal((10, 10))
    weight *= rng.random((10, 10)) < 1
    np.fill_diagonal(weight, 0)
    system = system_of(0.5 * weight / np.linalg.eigvals(weight).real.max(), direp.Rate(direp.model.tanh))
    with precise():
        assert Circle().attempt(system).rate > 0.98 * 0.2963


@pytest.mark.parametrize("neuron", [direp.Rate(direp.model.tanh), direp.Hopfield(direp.model.tanh)], ids=str)
def test_symmetric_and_skew_weights_pass_as_far_as_is_derived(neuron):
    pair = np.array([[0.0, 1.0], [1.0, 0.0]])
    skew = np.array([[0.0, 1.0], [-1.0, 0.0]])

    def proved(criterion, weight):
        with precise():
            return criterion.attempt(system_of(weight, neuron)).proof is not None

    assert proved(Spectral(), 0.99 * pair)
    assert not proved(Spectral(), 1.01 * pair)
    assert proved(Spectral(), 1.98 * skew)
    assert not proved(Spectral(), 2.02 * skew)
    assert proved(Circle(), 1.98 * skew)
    assert not proved(Circle(), 2.02 * skew)
    against = np.eye(3) - np.ones((3, 3))  # all inhibit all: eigenvalues 1, 1 and -2
    assert proved(Spectral(), 0.99 * against)
    assert proved(Circle(), 0.99 * against)
    assert proved(Symmetric(), 0.99 * against)


def test_the_derivatives_of_the_barrier_are_right():
    rng = np.random.default_rng(0)
    size, rate = 4, -1.0
    weight, leak, high = 0.3 * rng.standard_normal((size, size)), 1 + rng.random(size), np.ones(size)
    for low in (None, np.full(size, -0.1)):
        problem = Multiplied(weight, leak, low, high, np.ones(size))
        count = size if low is None else 2 * size

        def barrier(z, problem=problem, low=low):
            q = np.ones(size) if low is None else z[size:]
            value = -np.linalg.slogdet(problem.schur(z[:size], q, rate))[1]
            return value - (0.0 if low is None else np.log(2 * q).sum())

        one, steps = np.ones(count), 1e-4 * np.eye(count)
        slope, bend = (_linear if low is None else _curved)(problem.scaled(np.ones(size), np.ones(size)), leak - rate)
        numeric = [(barrier(one + e) - barrier(one - e)) / 2e-4 for e in steps]
        assert np.allclose(slope, numeric, atol=1e-6)
        for e, row in zip(steps, bend, strict=True):
            mixed = [
                barrier(one + e + f) - barrier(one + e - f) - barrier(one - e + f) + barrier(one - e - f) for f in steps
            ]
            assert np.allclose(row, np.array(mixed) / 4e-8, atol=1e-5)


def test_riccati_solves_its_equation():
    rng = np.random.default_rng(1)
    a, gamma = 0.3 * rng.standard_normal((5, 5)), rng.uniform(0.8, 1.5, 5)
    low, high, q = np.zeros(5), rng.uniform(0.5, 1.0, 5), rng.uniform(0.5, 2.0, 5)
    p = riccati(a, gamma, low, high, q)
    assert p is not None
    assert np.linalg.eigvalsh(p)[0] > 0
    k = a * (low + high) / 2 - np.diag(gamma)
    left = p @ k + k.T @ p + p @ (a / q) @ a.T @ p / 2 + np.diag((high - low) ** 2 * q / 2)
    assert np.abs(left).max() < 1e-5


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.floats(-3, 3), st.integers(0, 10**6))
def test_a_factorisation_never_calls_a_matrix_positive_that_is_not(size, power, seed):
    """Matrices that are singular or negative by a hair, exactly: whole numbers, and one rounding beside them."""
    rng = np.random.default_rng(seed)
    root = rng.integers(-9, 10, (size, max(size - 1, 1))).astype(float)
    singular = root @ root.T * 2.0 ** round(power)  # rank below size, no rounding
    if size > 1:
        assert not certainly_positive(singular, np.zeros(size))
        with precise():
            assert float(matrix(exact(singular)).det().mid()) == 0
    nudged = singular + np.diag(np.abs(np.diagonal(singular))) * 1e-3 + np.eye(size) * 1e-3
    assert certainly_positive(nudged, np.zeros(size))
    assert not certainly_positive(nudged, np.full(size, np.inf))
    assert not certainly_positive(nudged, np.linalg.eigvalsh(nudged)[0] * 1.0001 + np.zeros(size) + 1e-12)


@settings(max_examples=20, deadline=None)
@given(st.integers(3, 40), st.integers(0, 10**6))
def test_the_bound_of_a_norm_is_one(size, seed):
    weight = drawn(size, 1.0, seed)
    assert np.linalg.norm(weight, 2) <= norm_bound(weight) <= 1.6 * np.linalg.norm(weight, 2)


@pytest.mark.parametrize("neuron", NEURONS, ids=str)
@pytest.mark.parametrize("beta", [0.7, -0.2])
def test_nudged_phases_contract_at_their_rate(neuron, beta):
    system = system_of(drawn(5, 0.5, 3), neuron, 1.2, {"free": 0.0, "nudged": beta})
    with precise():
        attempt = Spectral().attempt(system)
    assert attempt.proof is not None
    rng = np.random.default_rng(0)
    low, high = system.rate_slope if neuron.transfer.linear else system.transfer_slope
    for _ in range(50):
        slopes = low + (high - low) * np.clip(rng.choice([0, 1, 0.5], 5), 1e-12, None)
        assert growth(system, attempt.proof.norm, slopes, beta) <= -attempt.proof.rates["nudged"] + 1e-9


def test_a_broken_bound_is_caught(monkeypatch):
    system = system_of(drawn(5, 0.5, 3), direp.Projected(), 1.2, {"free": 0.0, "nudged": -0.9})
    monkeypatch.setattr(room, "taken", lambda system, beta, p: np.zeros(system.size))
    with precise():
        attempt = Spectral().attempt(system)
    assert attempt.proof is not None
    assert growth(system, attempt.proof.norm, np.ones(5), -0.9) > -attempt.proof.rates["nudged"] + 1e-3


def test_norms_measure_what_they_say():
    rng = np.random.default_rng(0)
    p, v = rng.uniform(0.5, 2, 6), rng.standard_normal((4, 6))
    for one, other in ((L2(p), Euclidean(np.diag(p))), (L2(p, True), Euclidean(np.diag(p), True))):
        assert np.allclose(one.length(v), other.length(v))
        assert np.allclose(one.entries, other.entries)
        assert (one.upper(v, 0.01 * np.ones(6)) >= other.length(np.abs(v) + 0.01) * (1 - 1e-12)).all()
        assert np.allclose(one.dual.length(v), other.dual.length(v))
        assert not one.entrywise


def test_the_criteria_say_why_they_say_nothing():
    sigmoid = direp.model.sigmoid
    both = direp.Hopfield(sigmoid)
    object.__setattr__(both, "transfer", sigmoid)
    weight = drawn(4, 0.5, 0)
    with precise():
        assert "identity" in Spectral().attempt(system_of(weight, both)).note
        assert "not tried above 3" in Spectral(up_to=3).attempt(system_of(weight, direp.Projected())).note
        assert "estimate" in Spectral(up_to=3).attempt(system_of(weight, direp.Rate(direp.model.tanh))).note
        assert "unstable" in Circle().attempt(system_of(8 * weight, direp.Rate(direp.model.tanh))).note
