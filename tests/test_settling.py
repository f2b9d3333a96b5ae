import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import GRAPHS, NEURONS, OUTFLOWS, SOME, TIGHT, compilations, data, network
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

import direp
from direp.settling import implicit, programs
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
        *itertools.product(["projected", "rate-tanh"], ["signed"], ["layered", "random"]),
    ],
)
def test_settled_states_equal_those_of_scipys_ode_solver(neuron, outflow, graph):
    net = network(neuron, outflow, graph)
    x, _ = data(net.graph)
    methods = [direp.Preconditioned()]  # its program is that of many other tests
    if (neuron, outflow) in SOME and graph == "complete":
        methods += [direp.Euler(0.05)] if net.neuron.bounded else [direp.Euler(0.05), direp.ODE()]
    oracle = np.stack([by_scipy(net, row) for row in x])
    for method in methods:
        settled = direp.settle(net, x, method=method, stop=TIGHT if method is methods[0] else None)
        assert settled.converged.all()
        assert np.abs(np.asarray(settled.state) - oracle).max() < 1e-6


def derivatives(net, x, nudge=None):
    """Of a loss of all that can be differentiated, along one direction: in reverse, and by differences."""
    rng = np.random.default_rng(5)
    where = (net.parameters, jnp.asarray(x), jnp.asarray(0.3))
    along = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), where)
    along = (along[0]._replace(weight=net.synapses.mask(along[0].weight)), *along[1:])

    def loss(parameters, x, beta):
        own = net.replace(parameters)
        settled = direp.settle(own, x, stop=TIGHT)
        if nudge is not None:
            settled = direp.settle(nudge(own.field(x), beta), state=settled.state, stop=TIGHT)
        return jnp.sin(settled.state).sum() + (settled.rate**2).sum() + (settled.drive @ jnp.arange(6.0)).sum()

    def at(t):
        return loss(*jax.tree.map(lambda leaf, way: leaf + t * way, where, along))

    reverse = jax.jit(jax.grad(loss, (0, 1, 2)))(*where)
    inner = sum(float((a * b).sum()) for a, b in zip(jax.tree.leaves(reverse), jax.tree.leaves(along), strict=True))
    forward = None if nudge is None else float(jax.jvp(at, (0.0,), (1.0,))[1])
    return inner, float(at(1e-5) - at(-1e-5)) / 2e-5, forward


@pytest.mark.parametrize(("neuron", "outflow"), [*itertools.product(NEURONS, OUTFLOWS)])
def test_derivatives_of_equilibria_are_those_of_finite_differences(neuron, outflow):
    net = network(neuron, outflow)
    reverse, differences, _ = derivatives(net, data(net.graph)[0])
    assert abs(reverse - differences) < 1e-7 * abs(differences)


@pytest.mark.parametrize("neuron", ["projected", "rate-tanh"])
def test_derivatives_of_nudged_phases_forward_and_in_reverse(neuron):
    net = network(neuron, "signed")
    x, y = data(net.graph)
    nudge = lambda field, beta: direp.Nudged(field, direp.SquaredError(), jnp.asarray(y), beta)  # noqa: E731
    reverse, differences, forward = derivatives(net, x, nudge)
    assert abs(reverse - differences) < 1e-7 * abs(differences)
    assert abs(forward - reverse) < 1e-10 * abs(reverse)


@pytest.mark.parametrize("layout", [direp.Dense, direp.Sparse])
def test_derivatives_without_a_jacobian_are_the_same(layout, monkeypatch):
    net = network("projected", "signed", layout=layout(GRAPHS["complete"]()))
    monkeypatch.setattr(implicit, "_DENSE", 0)
    wide = np.concatenate([data(net.graph)[0]] * 2)  # no program of another test has this shape
    reverse, differences, _ = derivatives(net, wide)
    assert abs(reverse - differences) < 1e-7 * abs(differences)


def test_what_has_not_settled_has_no_derivative_and_can_be_left_out():
    graph = direp.Graph.layered([1, 2, 1])
    growing = direp.Network(
        graph, direp.Rate(direp.activation.relu), np.full((4, 3), 3.0) * graph.adjacency(), leak=1.0
    )
    x = jnp.array([[-1.0], [1.0]])  # silent, and growing without bound

    def loss(x, counts):
        return (direp.settle(growing, x).state.sum(1) * counts).sum()

    slope = jax.jit(jax.grad(loss))
    assert np.isnan(slope(x, jnp.ones(2))[1]).all()
    assert np.isfinite(slope(x, jnp.array([1.0, 0.0]))).all()
    # A fixed number of steps that does not bring a sample to rest counts as that.
    net = network("projected", "signed")
    x = jnp.asarray(data(net.graph)[0])
    short, long = (
        jax.grad(lambda x, stop=stop: direp.settle(net, x, method=direp.Euler(0.05), stop=stop).state.sum())(x)
        for stop in (direp.Steps(3), direp.Steps(1500))
    )
    assert np.isnan(short).all()
    assert np.allclose(long, jax.grad(lambda x: direp.settle(net, x, stop=TIGHT).state.sum())(x), rtol=1e-8)


def test_settling_is_compiled_once_and_works_within_transformations():
    net, other = network("rate-tanh", "signed"), network("rate-tanh", "signed", seed=1)
    x, _ = data(net.graph)
    settled = direp.settle(net, x, method=direp.Euler(0.1), stop=direp.Tolerance(1e-8))
    with compilations() as count:
        direp.settle(other, x + 1, method=direp.Euler(0.07), stop=direp.Tolerance(1e-9))
        assert count == []
    within = jax.jit(jax.vmap(lambda x: direp.settle(net, x[None], method=direp.Euler(0.1)).state[0]))(x)
    assert np.abs(np.asarray(within - settled.state)).max() < 1e-6
    assert "3 samples, 6 units: 3 converged" in repr(settled)
    assert len(repr(settled)) < 80
    with pytest.raises(ValueError, match="while JAX traces"):
        jax.jit(lambda x: direp.settle(net, x, method=direp.Euler(0.1)).summary())(x)


@given(st.integers(0, 10_000), st.sampled_from(SOME))
def test_a_sample_does_not_depend_on_its_batch_mates(seed, pair):
    net = network(*pair, seed=seed, scale=0.5)
    x, _ = data(net.graph, batch=5, seed=seed)
    together = direp.settle(net, x, stop=TIGHT)
    alone = direp.settle(net, x[2:3], stop=TIGHT)
    assert np.abs(np.asarray(together.state[2]) - np.asarray(alone.state[0])).max() < 1e-10
    assert abs(int(together.steps[2]) - int(alone.steps[0])) <= 1


def test_a_diverging_mate_changes_nothing():
    graph = direp.Graph.layered([1, 2, 1])
    growing = direp.Network(
        graph, direp.Rate(direp.activation.relu), np.full((4, 3), 3.0) * graph.adjacency(), leak=1.0
    )
    x = np.array([[-1.0], [-2.0]])  # kept at rest, where relu is silent
    broken = np.concatenate([x, np.ones((1, 1))])
    settled, alone = direp.settle(growing, broken), direp.settle(growing, x)
    assert settled.result[:2].tolist() == [CONVERGED, CONVERGED]
    assert int(settled.result[2]) == NON_FINITE
    assert (np.asarray(settled.state[:2]) == np.asarray(alone.state)).all()
    assert np.isfinite(settled.state).all()
    assert "diverges" in settled.summary()


def test_results_say_what_happened():
    graph = direp.Graph.from_edges([("x", "a"), ("a", "b"), ("b", "a")], inputs=["x"], outputs=["b"])
    ring = np.array([[1.0, 0.0], [0.0, 3.0], [3.0, 0.0]])
    growing = direp.Network(graph, direp.Rate(direp.activation.relu), ring, leak=1.0)
    assert int(direp.settle(growing, np.ones((1, 1))).result[0]) == NON_FINITE
    # A large Euler step turns the pull towards the equilibrium into an alternation around it.
    opposed = direp.Network(graph, direp.Projected(), np.array([[1.0, 0.0], [0.0, -0.1], [-0.1, 0.0]]), leak=1.0)
    flips = direp.settle(opposed, np.full((1, 1), 0.5), method=direp.Euler(2.5), state=np.array([[0.3, 0.1]]))
    assert int(flips.result[0]) == CYCLING
    assert int(flips.steps[0]) < 100
    slow = direp.settle(opposed, np.ones((1, 1)), method=direp.Euler(1e-4), stop=direp.Tolerance(max_steps=10))
    assert int(slow.result[0]) == MAX_STEPS
    assert int(slow.steps[0]) == 10
    assert float(slow.residual[0]) > 0.9


def test_the_residual_is_that_of_the_projected_field():
    graph = direp.Graph.from_edges([("x", "o")], inputs=["x"], outputs=["o"])
    net = direp.Network(graph, direp.Projected(), np.array([[3.0], [0.0]]), leak=1.0)
    settled = direp.settle(net, np.ones((1, 1)))
    assert float(settled.state[0, 0]) == 1.0  # held at the face, although its raw field is 2
    assert float(settled.residual[0]) == 0.0
    assert settled.converged.all()


def test_fixed_steps_are_all_taken_and_still_judged():
    net = network("projected", "signed")
    x, _ = data(net.graph)
    settled = direp.settle(net, x, method=direp.Euler(0.05), stop=direp.Steps(1500))
    assert settled.steps.tolist() == [1500] * 3
    assert settled.converged.all()
    early = direp.settle(net, x, method=direp.Euler(0.05), stop=direp.Steps(3))
    assert not early.converged.any()


@pytest.mark.parametrize("beta", [0.5, 10.0])
@pytest.mark.parametrize("neuron", NEURONS)
def test_nudged_phases_settle_where_their_field_vanishes(neuron, beta):
    net = network(neuron, "signed")
    x, y = data(net.graph)
    for cost in (direp.SquaredError(), direp.CrossEntropy(2.0)):
        free = direp.settle(net, x)
        field = direp.Nudged(net.field(jnp.asarray(x)), cost, jnp.asarray(y), jnp.asarray(beta))
        settled = direp.settle(field, state=free.state)
        assert settled.converged.all()
        drive = np.asarray(net.field(jnp.asarray(x)).drive(settled.state)).copy()
        drive[:, net.graph.hidden :] -= beta * np.asarray(cost.gradient(net.outputs(settled.state), jnp.asarray(y)))
        flow = np.asarray(net.neuron.transfer(jnp.asarray(drive))) - np.asarray(net.total_leak()) * settled.state
        held = np.asarray(net.neuron.held(settled.state, jnp.asarray(flow)))
        assert np.abs(np.where(held, 0, flow)).max() < 1e-7


@pytest.mark.parametrize("neuron", ["rate-tanh", "projected"])
def test_trajectories_follow_the_field_also_at_the_faces_and_under_a_nudge(neuron):
    graph, rng = GRAPHS["complete"](), np.random.default_rng(0)
    matrix = rng.normal(0, 1.5, (8, 6)) * graph.adjacency()
    net = direp.Network(graph, NEURONS[neuron]("absolute"), matrix, leak=1.0, bias=3 * rng.normal(size=6))
    x, y = (jnp.asarray(table) for table in data(graph, batch=1))
    times = np.linspace(0, 3, 7)
    weight, leak = np.asarray(net.matrix), np.asarray(net.total_leak())
    drive = np.asarray(x[0]) @ weight[:2] + np.asarray(net.bias)

    def oracle(start, beta):
        """In a box, SciPy's solver goes from the moment a unit reaches or leaves a face to the next."""

        def flow(t, s):
            u = drive + s @ weight[2:]
            u[4:] += beta * (np.asarray(y[0]) - s[4:])
            return (u if net.neuron.bounded else np.tanh(u)) - leak * s

        if not net.neuron.bounded:
            return solve_ivp(flow, (0, 3), start, t_eval=times, rtol=1e-10, atol=1e-12).y.T
        now, state, states, steps = 0.0, start, [start], 0
        while len(states) < len(times):
            held = ((state <= 0) & (flow(now, state) < 0)) | ((state >= 1) & (flow(now, state) > 0))
            events = [
                lambda t, s, k=k, held=held: flow(t, s)[k] if held[k] else (s[k] - 0.5) ** 2 - 0.25 for k in range(6)
            ]
            for k, event in enumerate(events):
                event.terminal, event.direction = True, 0 if held[k] else 1
            found = solve_ivp(
                lambda t, s, held=held: np.where(held, 0, flow(t, s)), (now, times[len(states)]), state,
                events=events, rtol=1e-10, atol=1e-12,
            )  # fmt: skip
            now, state = found.t[-1], found.y[:, -1]
            at = [k for k in range(6) if len(found.t_events[k])]
            for k in at:
                state[k] = round(state[k])
            if not at:
                states.append(state)
            steps += 1
            assert steps < 100
        return np.array(states)

    states = direp.trajectory(net, x, times)
    assert np.abs(np.asarray(states[:, 0]) - oracle(np.zeros(6), 0.0)).max() < 1e-6
    field = direp.Nudged(net.field(x), direp.SquaredError(), y, jnp.asarray(2.0))
    nudged = direp.trajectory(field, times=times, state=states[-1])
    assert np.abs(np.asarray(nudged[:, 0]) - oracle(np.asarray(states[-1, 0]), 2.0)).max() < 1e-6
    if net.neuron.bounded:
        assert (states == 1).any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda net, x: direp.settle(net, x[:, :1]), "needs \\(batch, 2\\)"),
        (lambda net, x: direp.settle(net), "x=... is missing|x=\\.\\.\\.\\) is missing"),
        (lambda net, x: direp.settle(net, x, state=np.zeros((3, 1))), "state"),
        (lambda net, x: direp.settle(net, x, method=direp.ODE()), "Projected"),
        (lambda net, x: direp.trajectory(net, x, np.array([1.0, 0.5])), "increasing"),
        (lambda net, x: direp.trajectory(net, x), "increasing"),
        *((lambda net, x, h=h: direp.Euler(h), "Euler\\(h=") for h in (-1.0, np.nan, jnp.zeros(2))),
        (lambda net, x: direp.Tolerance(-1.0), "Tolerance\\(rtol=-1.0\\) must be 0 or above"),
        (lambda net, x: direp.Tolerance(atol=jnp.array(jnp.inf)), "atol"),
        (lambda net, x: direp.Tolerance(max_steps=True), "max_steps=True"),
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
        graph, direp.Projected("signed"), direp.Normal(0.3), leak=3.0, key=jax.random.key(0), dtype=jnp.float32
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
        settled = direp.settle(
            growing, np.ones((1, 1)), state=np.full((1, 3), start), stop=direp.Tolerance(max_steps=3)
        )
        assert not settled.converged.any()


def test_a_start_outside_the_box_is_brought_back():
    graph = direp.Graph.from_edges([("x", "o")], inputs=["x"], outputs=["o"])
    net = direp.Network(graph, direp.Projected(), np.array([[10.0], [0.0]]), leak=1.0)
    assert float(direp.settle(net, np.ones((1, 1)), state=np.full((1, 1), 5.0)).state[0, 0]) == 1.0


def test_programs_multiply_with_all_the_bits_that_they_store():
    """Some devices take fewer by default, and then no sum is as near as tolerances and error bars count on."""
    seen = []

    @programs.compiled
    def product(a):
        seen.append(str(jax.make_jaxpr(jnp.matmul)(a, a)))
        return a @ a

    product(jnp.eye(2))
    assert "HIGHEST" in seen[0]
