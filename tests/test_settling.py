import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import GRAPHS, NEURONS, OUTFLOWS, SOME, TIGHT, data, network, settle
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

import direp
from direp.settling.result import CONVERGED, CYCLING, MAX_STEPS, NON_FINITE


def by_scipy(net, x):
    """SciPy's ODE solver on a plain NumPy copy of the dynamics, until nothing moves."""
    weight, bias = np.asarray(net.matrix), np.asarray(net.bias)
    recurrent, neuron = weight[net.graph.inputs :], net.neuron
    out = {"none": 0, "signed": recurrent.sum(1), "absolute": np.abs(recurrent).sum(1)}[neuron.outflow.name]
    leak, drive = np.asarray(net.leak) + out, x @ weight[: net.graph.inputs] + bias
    rho = {
        "hard-sigmoid": lambda s: np.clip(s, 0, 1),
        "sigmoid": lambda s: 1 / (1 + np.exp(-s)),
        "tanh": np.tanh,
        "softplus": lambda s: np.logaddexp(s, 0),
        "identity": lambda s: s,
    }[(neuron.transfer if neuron.rate.name == "identity" else neuron.rate).name]

    def field(t, s):
        if isinstance(neuron, direp.Projected):
            s = np.clip(s, 0, 1)
            f = drive + s @ recurrent - leak * s
            return np.where(((s <= 0) & (f < 0)) | ((s >= 1) & (f > 0)), 0, f)
        if isinstance(neuron, direp.Hopfield):
            return drive + rho(s) @ recurrent - leak * s
        return rho(drive + s @ recurrent) - leak * s

    solution = solve_ivp(field, (0, 100), np.zeros(net.graph.free), method="LSODA", rtol=1e-10, atol=1e-11)
    assert solution.success
    return np.clip(solution.y[:, -1], 0, 1) if isinstance(neuron, direp.Projected) else solution.y[:, -1]


@pytest.mark.parametrize(
    ("neuron", "outflow", "graph"),
    [
        *itertools.product(NEURONS, OUTFLOWS, ["complete"]),
        *itertools.product(["projected", "rate-tanh"], ["signed"], GRAPHS),
    ],
)
def test_settled_states_equal_those_of_scipys_ode_solver(neuron, outflow, graph):
    net = network(neuron, outflow, graph)
    x, _ = data(net.graph, batch=2)
    methods = [direp.Preconditioned(), direp.Euler(0.05)]
    if not net.neuron.bounded:
        methods.append(direp.ODE())
    oracle = np.stack([by_scipy(net, row) for row in x])
    for method in methods:
        settled = settle(net, x, method=method)
        assert settled.converged.all()
        assert np.abs(np.asarray(settled.state) - oracle).max() < 1e-6


@given(st.integers(0, 10_000), st.sampled_from(SOME))
def test_a_sample_does_not_depend_on_its_batch_mates(seed, pair):
    net = network(*pair, seed=seed, scale=0.5)
    x, _ = data(net.graph, batch=5, seed=seed)
    together = settle(net, x, stop=TIGHT)
    alone = settle(net, x[2:3], stop=TIGHT)
    assert np.abs(np.asarray(together.state[2]) - np.asarray(alone.state[0])).max() < 1e-10
    assert abs(int(together.steps[2]) - int(alone.steps[0])) <= 1


def test_a_diverging_mate_changes_nothing():
    graph = direp.Graph.layered([1, 2, 1])
    growing = direp.Network(
        graph, direp.Rate(direp.activation.relu), np.full((4, 3), 3.0) * graph.adjacency(), leak=1.0
    )
    x = np.array([[-1.0], [-2.0]])  # kept at rest, where relu is silent
    broken = np.concatenate([x, np.ones((1, 1))])
    settled, alone = settle(growing, broken), settle(growing, x)
    assert settled.result[:2].tolist() == [CONVERGED, CONVERGED]
    assert int(settled.result[2]) == NON_FINITE
    assert (np.asarray(settled.state[:2]) == np.asarray(alone.state)).all()
    assert np.isfinite(settled.state).all()
    assert "diverges" in settled.summary()


def test_results_say_what_happened():
    graph = direp.Graph.from_edges([("x", "a"), ("a", "b"), ("b", "a")], inputs=["x"], outputs=["b"])
    ring = np.array([[1.0, 0.0], [0.0, 3.0], [3.0, 0.0]])
    growing = direp.Network(graph, direp.Rate(direp.activation.relu), ring, leak=1.0)
    assert int(settle(growing, np.ones((1, 1))).result[0]) == NON_FINITE
    # A large Euler step turns the pull towards the equilibrium into an alternation around it.
    opposed = direp.Network(graph, direp.Projected(), np.array([[1.0, 0.0], [0.0, -0.1], [-0.1, 0.0]]), leak=1.0)
    flips = settle(opposed, np.full((1, 1), 0.5), method=direp.Euler(2.5), state=np.array([[0.3, 0.1]]))
    assert int(flips.result[0]) == CYCLING
    assert int(flips.steps[0]) < 100
    slow = settle(opposed, np.ones((1, 1)), method=direp.Euler(1e-4), stop=direp.Tolerance(max_steps=10))
    assert int(slow.result[0]) == MAX_STEPS
    assert int(slow.steps[0]) == 10
    assert float(slow.residual[0]) > 0.9


def test_the_residual_is_that_of_the_projected_field():
    graph = direp.Graph.from_edges([("x", "o")], inputs=["x"], outputs=["o"])
    net = direp.Network(graph, direp.Projected(), np.array([[3.0], [0.0]]), leak=1.0)
    settled = settle(net, np.ones((1, 1)))
    assert float(settled.state[0, 0]) == 1.0  # held at the face, although its raw field is 2
    assert float(settled.residual[0]) == 0.0
    assert settled.converged.all()


def test_fixed_steps_are_all_taken_and_still_judged():
    net = network("projected", "signed")
    x, _ = data(net.graph)
    settled = settle(net, x, method=direp.Euler(0.05), stop=direp.Steps(1500))
    assert settled.steps.tolist() == [1500] * 3
    assert settled.converged.all()
    early = settle(net, x, method=direp.Euler(0.05), stop=direp.Steps(3))
    assert not early.converged.any()


@pytest.mark.parametrize("beta", [0.5, 10.0])
@pytest.mark.parametrize("neuron", NEURONS)
def test_nudged_phases_settle_where_their_field_vanishes(neuron, beta):
    net = network(neuron, "signed")
    x, y = data(net.graph)
    for cost in (direp.SquaredError(), direp.CrossEntropy(2.0)):
        free = settle(net, x)
        field = direp.Nudged(net.field(jnp.asarray(x)), cost, jnp.asarray(y), jnp.asarray(beta))
        settled = settle(field, state=free.state)
        assert settled.converged.all()
        drive = np.asarray(net.field(jnp.asarray(x)).drive(settled.state)).copy()
        drive[:, net.graph.hidden :] -= beta * np.asarray(cost.gradient(net.outputs(settled.state), jnp.asarray(y)))
        flow = np.asarray(net.neuron.transfer(jnp.asarray(drive))) - np.asarray(net.total_leak()) * settled.state
        held = np.asarray(net.neuron.held(settled.state, jnp.asarray(flow)))
        assert np.abs(np.where(held, 0, flow)).max() < 1e-7


def test_trajectory_follows_the_field():
    net = network("rate-tanh", "signed")
    x, _ = data(net.graph, batch=1)
    times = np.linspace(0, 3, 7)
    states = direp.trajectory(net, x, times)
    weight = np.asarray(net.matrix)
    drive, leak = x[0] @ weight[:2] + np.asarray(net.bias), np.asarray(net.total_leak())
    oracle = solve_ivp(
        lambda t, s: np.tanh(drive + s @ weight[2:]) - leak * s,
        (0, 3),
        np.zeros(6),
        t_eval=times,
        rtol=1e-10,
        atol=1e-12,
    )
    assert np.abs(np.asarray(states[:, 0]) - oracle.y.T).max() < 1e-6


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda net, x: direp.settle(net, x[:, :1]), "needs \\(batch, 2\\)"),
        (lambda net, x: direp.settle(net), "x=... is missing|x=\\.\\.\\.\\) is missing"),
        (lambda net, x: direp.settle(net, x, state=np.zeros((3, 1))), "state"),
        (lambda net, x: direp.settle(net, x, method=direp.ODE()), "Projected"),
        (lambda net, x: direp.trajectory(net, x, np.linspace(0, 1, 3)), "Projected"),
        (lambda net, x: direp.Euler(-1.0), "h=-1.0"),
        (lambda net, x: direp.Tolerance(-1.0), "rtol"),
        (lambda net, x: direp.Steps(0), "max_steps=0"),
    ],
)
def test_wrong_use_is_refused_in_words(call, message):
    net = network("projected", "signed")
    x, _ = data(net.graph)
    with pytest.raises(ValueError, match=message):
        call(net, x)


def test_settling_works_in_32_bits_too():
    graph = GRAPHS["complete"]()
    net = direp.Network(
        graph,
        direp.Projected("signed"),
        direp.Normal(0.3),
        leak=3.0,
        key=jax.random.key(0),
        dtype=jnp.float32,
    )
    settled = direp.settle(net, np.ones((2, 2)))
    assert settled.state.dtype == jnp.float32
    assert settled.converged.all()


def test_a_state_on_its_way_to_overflow_has_not_settled():
    """However large the state at which the steps end: its terms must not overflow into a tolerance."""
    graph = direp.Graph.layered([1, 2, 1])
    growing = direp.Network(
        graph, direp.Rate(direp.activation.relu), np.full((4, 3), 3.0) * graph.adjacency(), leak=1.0, dtype=jnp.float32
    )
    for start in 10.0 ** np.arange(30, 39, 0.5):
        settled = settle(growing, np.ones((1, 1)), state=np.full((1, 3), start), stop=direp.Tolerance(max_steps=3))
        assert not settled.converged.any()


def test_a_start_outside_the_box_is_brought_back():
    graph = direp.Graph.from_edges([("x", "o")], inputs=["x"], outputs=["o"])
    net = direp.Network(graph, direp.Projected(), np.array([[10.0], [0.0]]), leak=1.0)
    assert float(settle(net, np.ones((1, 1)), state=np.full((1, 1), 5.0)).state[0, 0]) == 1.0
