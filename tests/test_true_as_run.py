"""What runs is what was proved: tolerances, methods and error bars where the mathematics meets execution."""

import flint
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import direp
from direp.settling import CONVERGED, UNMOVED, attracts, how_to_settle, run

RNG = np.random.default_rng(12)


def pair(neuron, forth, back, *, leak=1.0, entry=(0.3, 0.2)):
    graph = direp.Graph.complete(1, 1, 1)
    return direp.Network(graph, neuron, np.array([entry, (0.0, forth), (back, 0.0)]), leak=leak, dtype=np.float32)


# A tolerance for every unit


def held_by_a_face():
    """x0 -> h (weight 1) holds h at 1; x1 -> o, and o and h send to each other: o settles at 0.4."""
    graph = direp.Graph.complete(2, 1, 1)
    weight = np.array([[1.0, 0.0], [0.0, 0.5], [0.0, -0.1], [0.1, 0.0]])
    return direp.Network(graph, direp.Projected(), weight, leak=1.0, dtype=np.float32)


@pytest.mark.parametrize("drive", [1.0, 1e3, 1e4, 1e8])
def test_a_held_unit_hides_no_other(drive):
    settled = direp.settle(held_by_a_face(), np.array([[drive, 1.0]]))
    assert settled.result[0] == CONVERGED
    assert np.allclose(settled.state[0, 1], 0.4, atol=2e-5)
    found = direp.estimate(held_by_a_face(), np.array([[drive, 1.0]]), np.array([[0.9]]), direp.Local(0.05))
    assert found.used.all()
    assert np.isclose(found.gradient.bias[-1], -0.5 / 1.05, rtol=0.02)


def test_a_fast_unit_hides_no_slow_one():
    net = pair(direp.Projected(), 0.0, 0.0, leak=[1e4, 1e-2], entry=(1e4, 1e-2))
    settled = direp.settle(net, np.array([[1.0]]), state=np.array([[0.1, 0.1]]))
    assert settled.result[0] == CONVERGED
    assert np.allclose(settled.state, 1.0, atol=1e-4)


@pytest.mark.parametrize(("bits", "weakest"), [(32, 1e-3), (64, 1e-7)])
def test_however_weak_a_nudge_it_gives_the_gradient_or_is_reported(bits, weakest):
    with jax.enable_x64(bits == 64):
        dtype = np.float32 if bits == 32 else np.float64
        graph = direp.Graph.complete(2, 3, 2)
        net = direp.Network(
            graph, direp.Rate(direp.activation.tanh), direp.Normal(0.3), leak=2.0, key=jax.random.key(1), dtype=dtype
        )
        x, y = np.array([[1.0, 0.5]]), np.array([[0.5, 0.3]])
        strong = direp.estimate(net, x, y, direp.Local(direp.Centred(1e-2)))
        weak = direp.estimate(net, x, y, direp.Local(weakest))
        assert weak.used.all()
        assert direp.rules.cosine(net, weak.gradient, strong.gradient) > 0.999
        lost = direp.estimate(net, x, y, direp.Local(weakest * 1e-9))
        assert lost.nudged[0].result[0] == UNMOVED
        assert not lost.used.any()
        assert "not moved" in repr(lost.nudged[0])
        learned = direp.estimate(net, x, net.outputs(lost.free.state), direp.Local(weakest * 1e-9))
        assert learned.used.all()  # no error is left that a response could show


# Proved implies settled


@pytest.mark.parametrize("neuron", [direp.Projected(), direp.Hopfield(direp.activation.identity)])
@pytest.mark.parametrize("strength", [40.0])
def test_a_network_that_turns_settles(neuron, strength):
    net = pair(neuron, strength, -strength)
    certificate = direp.certify(net)
    assert certificate
    x = np.array([[1.0], [-3.0], [0.5]])
    for found in (direp.settle(net, x), direp.settle(net, x, certificate=certificate)):
        assert found.converged.all()
        if not neuron.bounded:
            square = np.array([[-1.0, -strength], [strength, -1.0]])
            true = -np.linalg.solve(square, np.asarray(net.matrix, float)[:1].T @ x.T).T
            assert np.allclose(found.state, true, atol=1e-4)
    nudged = direp.estimate(net, x, np.full((3, 1), 0.4), direp.Local(direp.Centred(0.1)))
    assert all(phase.converged.all() for phase in (nudged.free, *nudged.nudged))


def test_uneven_norms_settle_within_the_certified_steps():
    net = pair(direp.Projected(high=1e7), 1e3, 5e-4, entry=(1.0, 1.0))
    certificate = direp.certify(net)
    assert certificate.criterion == "Perron"
    x = np.array([[1.0], [3.0]])
    velocity = np.asarray(net.field(jnp.asarray(x, net.dtype)).drive(net.rest(2)))
    most = certificate.steps_to(velocity, 1e-5)
    found = direp.settle(net, x, certificate=certificate)
    assert found.converged.all()
    assert int(found.steps.max()) <= most
    assert direp.settle(net, x).converged.all()


def test_random_certified_networks_settle_and_lie_within_their_bars():
    """Perron-certified up to a narrow margin, with uneven weights."""
    graph = direp.Graph.complete(1, 3, 1)
    worst = 0.0
    for k in range(20):
        rng = np.random.default_rng(k)
        scale = 10.0 ** rng.uniform(-3, 3, 4)
        weight = rng.normal(size=(4, 4)) * (scale[:, None] / scale)
        weight *= graph.adjacency()[1:]
        top = max(abs(np.linalg.eigvals(np.abs(weight))))
        leak = top * (1 + 10.0 ** rng.uniform(-3, 1))
        net = direp.Network(graph, direp.Rate(direp.activation.tanh), np.vstack([rng.normal(size=4) * leak, weight]),
                            leak=leak)  # fmt: skip
        certificate = direp.certify(net, starts=0)
        if not certificate:
            continue
        for found in (
            direp.settle(net, np.array([[1.0]])),
            direp.settle(net, np.array([[1.0]]), certificate=certificate),
        ):
            assert found.converged.all(), k
        state = np.asarray(found.state, np.longdouble)
        true, recurrent = state.copy(), np.asarray(net.matrix, np.longdouble)
        for _ in range(200_000):
            drive = np.concatenate([[np.longdouble(1)], true[0]]) @ recurrent
            moved = (np.tanh(drive) / np.asarray(net.leak, np.longdouble))[None]
            if (moved == true).all():
                break
            true = moved
        away = np.abs(state - true)
        assert (away <= found.error).all(), k
        worst = max(worst, float(np.max(found.error)))
    assert worst > 0


# Error bars


def test_bars_hold_for_every_phase_that_is_covered():
    net = pair(direp.Hopfield(direp.activation.sigmoid), 0.8, -0.7)
    nudge = direp.Centred(0.25)
    certificate = direp.certify(net, nudge=nudge)
    x, y = RNG.normal(size=(5, 1)), np.full((5, 1), 0.6)
    loose = direp.Tolerance(1e-2, 1e-2)
    found = direp.estimate(net, x, y, direp.Local(nudge), certificate=certificate, stop=loose)
    fine = direp.estimate(net, x, y, direp.Local(nudge), stop=direp.Tolerance(0.0, 1e-7))
    for phase, true in zip((found.free, *found.nudged), (fine.free, *fine.nudged), strict=True):
        assert phase.error.shape == phase.state.shape
        away = np.abs(np.asarray(phase.state) - np.asarray(true.state))
        assert (away <= phase.error + 1e-6).all()
        assert phase.error.max() < 0.2
    other = direp.estimate(net, x, y, direp.Local(direp.Centred(0.1)), certificate=certificate)
    assert other.free.error is not None
    assert other.nudged[0].error is None  # a strength that the certificate does not name


def test_a_certificate_is_of_one_network():
    net = pair(direp.Projected(), 0.5, 0.5)
    certificate = direp.certify(net)
    other = net.replace(net.parameters._replace(leak=net.leak + 1e-3))
    with pytest.raises(ValueError, match="another network"):
        direp.settle(other, np.array([[1.0]]), certificate=certificate)
    double = net.astype(jnp.float64)
    other_graph = direp.Network(direp.Graph.complete(1, 2, 1), direp.Projected(), leak=1.0, key=jax.random.key(0))
    other_neuron = pair(direp.Projected(outflow="signed"), 0.5, 0.5)
    for call in (
        lambda net: direp.settle(net, np.array([[1.0]]), certificate=certificate),
        lambda net: direp.estimate(net, np.ones((1, 1)), np.ones((1, 1)), direp.Local(), certificate=certificate),
    ):
        for wrong in (double, other_graph, other_neuron):
            with pytest.raises(ValueError, match="another network"):
                jax.eval_shape(call, wrong)
        traced = jax.eval_shape(call, net)  # of the same kind, with numbers that nobody knows yet
        assert getattr(traced, "free", traced).error is None
    open_ = pair(direp.Projected(), 5.0, 5.0)
    with pytest.raises(ValueError, match="bounds no distance"):
        direp.settle(open_, np.array([[1.0]]), certificate=direp.certify(open_, starts=0))


# The second method


def test_what_does_not_attract_is_not_settled():
    """A pair that excites itself past saturation and turns: its only equilibrium repels."""
    graph = direp.Graph.complete(1, 2, 1)
    weight = np.array([[0.0] * 3, [0.0, 4.0, 0.0], [-4.0, 0.0, 0.0], [0.0] * 3])
    net = direp.Network(graph, direp.Hopfield(direp.activation.tanh), weight, leak=[0.5, 0.5, 1.0])
    turning = direp.settle(net, np.array([[1.0]]), state=np.array([[0.5, 0.0, 0.0]]))
    assert turning.converged.all()  # spirals in: real parts -1/2
    ring = np.array([[0.0, 4.0, 0.0], [0.0, 0.0, 4.0], [-4.0, 0.0, 0.0]])
    repels = direp.Network(graph, direp.Hopfield(direp.activation.tanh), np.vstack([np.zeros(3), ring]), leak=1.0)
    assert not direp.settle(repels, np.array([[1.0]]), state=np.array([[0.5, 0.1, 0.0]])).converged.any()
    assert np.linalg.eigvals(ring.T - np.eye(3)).real.max() > 0


@pytest.mark.parametrize("seed", range(4))
def test_attraction_is_that_of_the_eigenvalues(seed):
    rng = np.random.default_rng(seed)
    graph = direp.Graph.complete(1, 5, 1)
    for scale in (0.2, 0.4, 0.6, 1.0):
        weight = np.vstack([np.zeros(6), rng.normal(size=(6, 6)) * scale]) * graph.adjacency()
        net = direp.Network(graph, direp.Hopfield(direp.activation.identity), weight, leak=1.0)
        top = np.linalg.eigvals(np.asarray(net.matrix, float)[1:].T - np.eye(6)).real.max()
        field = net.field(jnp.zeros((1, 1), net.dtype))
        if abs(top) > 1e-2:
            assert bool(attracts(field, net.rest(1))[0]) == (top < 0)


def test_implicit_steps_settle_whatever_their_length():
    net = pair(direp.Projected(), 30.0, -30.0)
    found = direp.settle(net, np.array([[1.0], [20.0]]), method=direp.Implicit(), stop=direp.Tolerance(max_steps=100))
    assert found.converged.all()
    method = direp.Fallback(direp.Euler(0.9), patience=20)
    again = direp.settle(net, np.array([[1.0], [20.0]]), method=method)
    assert again.converged.all()
    assert np.allclose(again.state, found.state, atol=1e-5)


def ring(weight, fast, neuron):
    """Three units that inhibit each other in a ring, and a fast one beside them."""
    graph = direp.Graph.complete(1, 4, 1)
    matrix = np.zeros((6, 5))
    matrix[0, 0], matrix[1, 1], matrix[2, 2], matrix[3, 0], matrix[0, 3] = 0.1, weight, weight, weight, fast * 1e-3
    return direp.Network(graph, neuron, matrix, leak=[1.0, 1.0, 1.0, fast, 1.0], dtype=np.float32)


@pytest.mark.parametrize("fast", [1.0, 1e4, 1e6])
def test_an_equilibrium_that_repels_is_found_out_however_fast_other_units_are(fast):
    net = ring(-3.0, fast, direp.Hopfield(direp.activation.tanh))
    assert np.linalg.eigvals(np.asarray(net.matrix, float)[1:].T - np.diag(np.asarray(net.leak, float))).real.max() > 0
    assert not direp.settle(net, np.ones((1, 1))).converged.any()
    found = direp.estimate(net, np.ones((1, 1)), np.zeros((1, 1)), direp.Local(beta=0.1))
    assert not found.free.converged.any()
    assert not found.used.any()
    assert not found.nudged[0].converged.any()
    assert found.loss == direp.SquaredError().value(net.outputs(found.free.state), jnp.zeros((1, 1), net.dtype))


def test_saturated_units_do_not_count_as_settled_where_they_start():
    graph, big = direp.Graph.complete(1, 2, 1), 1e7
    weight = np.zeros((4, 3))
    weight[0], weight[1, 1], weight[2, 2], weight[3, 0] = big, -8 * big, -8 * big, -8 * big
    net = direp.Network(graph, direp.Rate(direp.activation.tanh), weight, leak=1.0, dtype=np.float32)
    found = direp.settle(net, np.ones((1, 1)))
    assert not found.converged[0] or found.residual[0] < 1e-2


def test_a_certificate_of_one_phase_lends_nothing_to_another():
    net = pair(direp.Hopfield(direp.activation.identity), 0.1, 0.1)
    certificate = direp.certify(net)
    x, y = np.ones((1, 1)), np.full((1, 1), 0.5)
    found = direp.estimate(net, x, y, direp.Local(direp.OneSided(-1.5)), certificate=certificate)
    assert not found.used.any()  # at -1.5 the output excites itself


def test_bars_count_in_the_rounding_of_a_strong_nudge():
    with jax.enable_x64(True):
        graph = direp.Graph.layered([1, 1])
        net = direp.Network(graph, direp.Hopfield(direp.activation.tanh), np.ones((2, 1)) * graph.adjacency(), leak=1.0)
        beta, x = 3.9e7, 11.8
        certificate = direp.certify(net, nudge=direp.OneSided(beta))
        state = direp.settle(net, np.full((1, 1), x)).state
        field = direp.Nudged(net.field(jnp.full((1, 1), x)), direp.SquaredError(), jnp.ones((1, 1)), jnp.asarray(beta))
        found = direp.settle(field, state=state, stop=direp.Tolerance(1e-15, 1e-15), certificate=certificate)
        low, high = (flint.arb(float(found.state[0, 0])) + side for side in (-1e-3, 1e-3))
        before, flint.ctx.prec = flint.ctx.prec, 256
        try:
            for _ in range(200):  # the flow falls with the state
                middle = flint.arb(((low + high) / 2).mid())
                low, high = (middle, high) if x - middle + beta * (1 - middle.tanh()) > 0 else (low, middle)
            assert abs(float((low - float(found.state[0, 0])).mid())) <= found.error[0, 0]
        finally:
            flint.ctx.prec = before


def test_what_cannot_be_used_as_a_certificate_is_refused_in_words():
    net = pair(direp.Projected(), 0.5, 0.5)
    with pytest.raises(ValueError, match="what certify returns"):
        how_to_settle("settle", net, None, None, "no")
    certificate = direp.certify(net)
    traced = jax.jit(lambda x: direp.settle(net, x, certificate=certificate).state)(jnp.ones((1, 1), net.dtype))
    assert np.allclose(traced, direp.settle(net, np.ones((1, 1))).state, atol=1e-5)
    small = pair(direp.Projected(), 0.5, 0.5, leak=8e-41)
    assert "taken for zero" in direp.certify(small).assumptions[-1]


class OwnPhase(direp.AbstractRule):
    """A user's own, that settles a phase by the public loop."""

    def estimate(self, problem, key):
        again, _ = run(problem.field, problem.free.state, direp.Euler(0.1), direp.Tolerance())
        change = jnp.ones_like(again.state)
        return problem.estimate(problem.gradient(change, change, again.converged), again.converged, (again,))


def test_a_phase_that_a_rule_settles_by_itself_has_no_bar():
    net = pair(direp.Hopfield(direp.activation.identity), 0.1, 0.1)
    found = direp.estimate(net, np.ones((1, 1)), np.ones((1, 1)), OwnPhase(), certificate=direp.certify(net))
    assert found.used.all()
    assert (found.free.error > 0).all()
    assert found.nudged[0].error is None


def test_wrong_starts_and_nested_fallbacks_are_refused_in_words():
    net, one, wrong = pair(direp.Projected(), 0.1, 0.1), np.ones((1, 1)), np.ones((1, 7))
    field = net.field(jnp.ones((1, 1), net.dtype))

    def begun(start):
        direp.fit(net, direp.tasks.gate("not"), rule=direp.Local(), optimiser=optax.sgd(0.1), start=start)

    for call, said in (
        (
            lambda: direp.estimate(net, one, one, direp.Local(), state=wrong),
            r"estimate\(state=...\) has shape \(1, 7\)",
        ),
        (lambda: direp.settle(field, state=wrong), r"settle\(state=...\) has shape \(1, 7\)"),
        (lambda: direp.Fallback(direp.Fallback()), r"Fallback\(first=Fallback\(...\)\) has no third method"),
        (lambda: begun((1.0, 0.0)), r"fit\(start=\(1.0, 0.0\)\) must be two"),
    ):
        with pytest.raises(ValueError, match=said):
            call()


@pytest.mark.parametrize("unit", [1.0, 1e5])
def test_the_phase_of_dyadic_does_not_depend_on_the_unit_of_time_nor_on_the_size_of_adjoints(unit):
    graph = direp.Graph.layered([2, 3, 3, 1])
    weight = np.where(graph.adjacency(), 0.3, 0.0)
    weight[2:5, 3:6] = 0.3 * 1e-4  # adjoints of the first layer are small
    net = direp.Network(graph, direp.Projected(), unit * weight, leak=unit, dtype=np.float32)
    x, y = np.array([[0.9, 0.7]]), np.ones((1, 1))
    found, exact = (direp.estimate(net, x, y, rule).gradient.bias for rule in (direp.Dyadic(), direp.Adjoint()))
    assert np.allclose(found, exact, rtol=1e-2, atol=0)


def test_steps_are_proved_only_at_equilibria_that_attract_and_their_size_only_where_there_is_one_alone():
    """A pair that excites itself: at rest a saddle, from which a step of any size leads away; else one of two."""
    graph, weight, y = direp.Graph.layered([1, 1, 1]), np.zeros((3, 2)), np.array([[0.1]])
    for entry, strength, expected in ((5e-6, 2.0, "undecided"), (0.02, 1.5, "proved")):
        weight[0, 0], weight[1, 1], weight[2, 0] = entry, strength, strength
        net = direp.Network(graph, direp.Rate(direp.activation.tanh), weight, leak=1.0, dtype=np.float32)
        found = direp.certify_learning(net, np.ones((1, 1)), y, direp.Adjoint())
        assert found.verdict == expected
        assert found.step_size == 0
        assert ("not proved to attract" if expected == "undecided" else "No step size is proved") in found.reason


def test_no_step_is_proved_beyond_a_corner_of_outflow_in_the_set_of_a_control():
    """Absolute outflow makes that set one with holes: the control must leave every step alone, not only the last."""
    rng, graph = np.random.default_rng(12853), direp.Graph.complete(1, 2, 1)
    weight = np.where(graph.adjacency(), rng.normal(size=(4, 3)) * np.array([2, 0.3, 0.3, 0.3])[:, None], 0)
    control = direp.WeightProjection(margin=0.05, criterion=direp.Rows())
    neuron = direp.Rate(direp.activation.tanh, outflow="absolute")
    leak = rng.choice([0.06, 0.1, 0.3])
    net = control.begin(direp.Network(graph, neuron, weight, leak=leak, bias=0.1, dtype=np.float32))
    x, y = rng.normal(size=(2, 1)) * 2, rng.uniform(-3, 3, size=(2, 1))
    found = direp.certify_learning(net, x, y, direp.Local(beta=0.1), control=control)
    gradient = direp.estimate(net, x, y, direp.Local(beta=0.1)).gradient
    for share in np.linspace(0, 1, 11):
        size = np.float32(share * found.step_size)
        moved = jax.tree.map(lambda p, g, size=size: p - size * g, net.weight, gradient.weight)
        square = np.asarray(net.synapses.matrix(moved), float)[1:]
        margin = np.asarray(net.leak, float) + np.abs(square).sum(1) - np.abs(square).sum(0)
        assert margin.min() >= 0.05 - 1e-6
