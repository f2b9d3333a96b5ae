"""Methods of settling: all reach the equilibrium, accelerated ones wherever the plain one is certified to."""

import json
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import SOME, TIGHT, data, network
from hypothesis import given, settings
from hypothesis import strategies as st

import direp
from direp.model import AbstractWrapper
from direp.settling import loop as settling
from direp.settling.methods.accelerated import AbstractAccelerated
from direp.settling.methods.implicit import rounding

METHODS = {
    "preconditioned": direp.Preconditioned(),
    "sharper": direp.Preconditioned(products=8),
    "anderson": direp.Anderson(),
    "long anderson": direp.Anderson(5),
    "newton": direp.Newton(),
    "coloured": direp.Coloured(),
}


def certified(neuron, outflow, graph, seed=0, scale=1.0):
    net = network(neuron, outflow, graph, seed=seed, scale=scale)
    return direp.LeakController(0.05, floor=0.05, criterion=direp.Perron()).begin(net)


@pytest.mark.parametrize(
    ("name", "neuron", "outflow", "beta"),
    [
        (name, *SOME[(k + shift) % len(SOME)], beta)
        for k, name in enumerate(METHODS)
        for shift, beta in ((0, 0.7), (2, 0))
    ],
)
def test_certified_networks_settle_where_the_field_vanishes_by_every_method(name, neuron, outflow, beta):
    net = certified(neuron, outflow, direp.Graph.layered([2, 4, 3, 2]))
    assert direp.certify(net, starts=0).verdict == "proved"  # so there is one equilibrium alone
    x, y = (jnp.asarray(table) for table in data(net.graph))
    field = net.field(x)
    found = direp.settle(net, x, stop=TIGHT, method=METHODS[name])
    assert found.converged.all()
    if beta:
        field = direp.Nudged(field, direp.SquaredError(), y, jnp.asarray(beta))
        found = direp.settle(field, state=found.state, stop=TIGHT, method=METHODS[name])
        assert found.converged.all()
    assert np.abs(np.asarray(field.velocity(found.state, field.drive(found.state)))).max() < 1e-12
    assert (np.asarray(field.clip(found.state)) == np.asarray(found.state)).all()


@settings(max_examples=10)
@given(st.integers(0, 10_000), st.sampled_from([SOME[0], SOME[3]]))
def test_certified_networks_settle_under_acceleration(seed, pair):
    net = certified(*pair, "complete", seed=seed, scale=3.0)
    x, _ = data(net.graph, batch=8, seed=seed)
    for name in ("sharper", "anderson", "newton"):
        assert direp.settle(net, x, method=METHODS[name], stop=TIGHT).converged.all(), name


def test_newton_is_exact_once_the_units_at_faces_are_known():
    net = certified("projected", "signed", "complete")
    x, _ = data(net.graph, batch=8)
    assert direp.settle(net, x, method=direp.Newton(), stop=TIGHT).steps.max() <= 6
    slow = direp.settle(net, x, method=direp.Preconditioned(), stop=TIGHT)
    assert slow.steps.max() > 15


def test_acceleration_saves_most_field_evaluations_where_steps_contract_slowly():
    net = direp.LeakController(0.02, floor=0.02, criterion=direp.Perron()).begin(
        network("rate-tanh", "none", "complete", scale=0.5)
    )
    x, _ = data(net.graph, batch=8)
    plain = direp.settle(net, x, method=direp.Preconditioned(), stop=TIGHT).steps.mean()
    assert direp.settle(net, x, method=direp.Anderson(patience=0), stop=TIGHT).steps.mean() < plain / 2


class Astray(AbstractAccelerated):
    """Leaps far away, or nowhere."""

    def blank(self, state):
        return jnp.zeros(state.shape[0])

    def leap(self, own, field, state, flow, plain):
        return jnp.full_like(plain, jnp.where(own.sum() % 2 == 0, 1e6, jnp.nan)), own + 1


@pytest.mark.parametrize("neuron", ["projected", "rate-tanh"])
def test_leaps_that_lead_astray_are_taken_back(neuron):
    net = certified(neuron, "none", "complete")
    x, _ = data(net.graph, batch=4)
    found = direp.settle(net, x, method=Astray(), stop=TIGHT)
    assert found.converged.all()
    assert np.abs(np.asarray(found.state - direp.settle(net, x, stop=TIGHT).state)).max() < 1e-9


def test_the_sharper_bound_of_the_coupling_holds():
    for seed in range(20):
        net = network("rate-tanh", "none", "complete", seed=seed, scale=2.0)
        field = net.field(jnp.zeros((1, net.graph.inputs)))
        weight = np.abs(np.asarray(net.matrix))[net.graph.inputs :] / np.asarray(net.leak)
        radius = np.abs(np.linalg.eigvals(weight)).max()
        steps = [np.asarray(direp.Preconditioned(k).prepare(field) * net.leak)[0] for k in (0, 8)]
        bounds = [2 / step - 1 for step in steps]
        assert bounds[0] >= bounds[1] >= max(1, radius) - 1e-9


def test_samples_that_take_longer_go_on_by_themselves(monkeypatch):
    net = certified("rate-tanh", "none", "complete", scale=3.0)
    x, y = data(net.graph, batch=64)
    x = x * np.geomspace(1e-3, 10, 64)[:, None]
    rules = [direp.Local(0.5), direp.AsymEP(0.1), direp.Adjoint(dense_up_to=0)]

    def everything():
        def run(net, x, y):
            plainly = {"stop": TIGHT, "method": direp.Preconditioned()}
            said = [direp.estimate(net, x, y, rule, **plainly) for rule in rules]
            return said, direp.settle(net, x, stop=TIGHT, method=direp.Anderson()).state

        return eqx.filter_jit(run)(net, x, y)

    whole = everything()
    plain = direp.settle(net, x, stop=TIGHT, method=direp.Preconditioned())
    assert plain.steps.max() > plain.steps.min() + 4
    monkeypatch.setattr(settling, "_WORTH", 16)
    parts = everything()
    assert np.allclose(parts[1], plain.state, atol=1e-11)
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(parts), strict=True):
        assert np.allclose(a, b, rtol=1e-9, atol=1e-11)
    few = direp.settle(net, x, stop=direp.Tolerance(max_steps=3))
    assert (np.asarray(few.steps) <= 3).all()
    assert (~few.converged).any()


def test_the_choice_depends_on_graph_and_size():
    layered = direp.Network(direp.Graph.layered([3, 4, 2]), direp.Projected(), key=jax.random.key(0))
    assert isinstance(direp.choose_method(layered), direp.Coloured)
    lateral = direp.Network(direp.Graph.layered([3, 4, 2], lateral=True), direp.Projected(), key=jax.random.key(0))
    assert isinstance(direp.choose_method(lateral), direp.Preconditioned)
    large = direp.Network(direp.Graph.complete(3, 200, 2), direp.Projected(), key=jax.random.key(0))
    assert isinstance(direp.choose_method(large), direp.Anderson)
    with pytest.raises(ValueError, match="equal colour"):
        direp.settle(lateral, np.zeros((1, 3)), method=direp.Coloured())
    with pytest.raises(ValueError, match="memory=0"):
        direp.Anderson(0)


def test_a_network_whose_free_units_send_to_none_settles_by_every_method():
    graph = direp.Graph.layered([3, 4])
    weight = np.where(graph.adjacency(), 0.3, 0.0)
    net = direp.Network(graph, direp.Rate("tanh"), weight, leak=2.0)
    expected = np.tanh(np.ones((2, 3)) @ weight[:3]) / 2
    for method in (direp.Preconditioned(products=8), direp.Anderson(), direp.Newton()):
        found = direp.settle(net, np.ones((2, 3)), method=method, stop=TIGHT)
        assert found.converged.all()
        assert np.allclose(found.state, expected, rtol=1e-12)


def test_an_implicit_step_leaves_a_state_that_the_first_method_swung_to():
    """Two fast units swing for ever; where their terms are large, a short step is lost in the state's last digit."""
    graph = direp.Graph.complete(2, 3, 1)
    weight = np.array(
        [[0.12, 1.3, 0.42, 0.09], [1.3, 0.56, 0.44, 0.79], [0.0, 6.8e-6, 5.5, 6e-4], [1.1e5, 0.0, 1.6e5, 94.0],
         [0.27, 3.8e-7, 0.0, 1.4e-4], [640.0, 1.7e-3, 630.0, 0.0]]
    )  # fmt: skip
    leak, bias = [14.0, 3.1e5, 5.4, 1500.0], [0.17, -0.19, -0.23, -0.54]
    neuron = direp.Hopfield("identity", "signed")
    net = direp.Network(graph, neuron, weight, leak=leak, bias=bias, dtype=np.float32)
    assert direp.certify(net, starts=0)
    assert direp.settle(net, np.array([[0.25, 0.41]]), state=np.array([[14.0, -4.0, -0.84, 4.4]])).converged.all()


def test_whether_an_equilibrium_attracts_does_not_depend_on_the_units_of_its_units():
    graph, seen, attracts = direp.Graph.complete(1, 3, 1), set(), eqx.filter_jit(direp.settling.attracts)
    for seed in range(25):
        rng = np.random.default_rng(seed)
        size, speed = 10.0 ** rng.uniform(-5, 5, 4), 10.0 ** rng.uniform(0, 2, 4)
        weight = np.concatenate([np.ones((1, 4)), rng.normal(0, 0.8, (4, 4)) * size / size[:, None] * speed])
        net = direp.Network(
            graph, direp.Hopfield("identity"), np.where(graph.adjacency(), weight, 0), leak=speed, dtype=np.float64
        )
        field = net.field(jnp.ones((1, 1)))
        # The same matrix with all states in one unit.
        even = np.asarray(net.matrix)[1:].T * size / size[:, None] - np.diag(speed)
        largest = np.linalg.eigvals(even).real.max()
        if abs(largest) > 1e-3 * np.abs(even).max():
            seen.add(bool(largest < 0))
            assert bool(attracts(field, jnp.zeros((1, 4)))[0]) == (largest < 0), seed
    assert seen == {True, False}


def test_an_implicit_step_is_solved_to_the_spacing_of_states():
    """A unit of leak 1e-4 beside one of 1e4: over a short step its state cannot move by less than its last digit."""
    graph = direp.Graph.complete(1, 1, 1)
    weight = np.array([[0.0, 0.0], [0.0, 1e-5], [1.4e3, 0.0]])
    net = direp.Network(graph, direp.Hopfield("identity"), weight, leak=[1.47e4, 1.3e-4], dtype=np.float32)
    assert direp.certify(net, starts=0)
    found = direp.settle(net, np.zeros((1, 1)), state=np.array([[-6.8, -10.1]]), method=direp.Implicit())
    assert found.converged.all()
    assert np.abs(found.state).max() < 1e-3


def test_an_implicit_step_of_any_length_is_solved_between_faces():
    """One step of length 1e6 from rest in strong skew networks, where Newton goes round between faces."""
    rng = np.random.default_rng(0)
    graph = direp.Graph.complete(2, 5, 1)
    length = 1e6
    for _ in range(6):
        skew = rng.normal(size=(6, 6)) * 10 ** rng.uniform(0, 2)
        weight = np.concatenate([20 * rng.normal(size=(2, 6)), skew - skew.T])
        net = direp.Network(graph, direp.Projected(), weight, leak=1.0, dtype=np.float64)
        field, rest = net.field(jnp.asarray(rng.normal(size=(16, 2)))), net.rest(16)
        flow = field.flow(rest, field.drive(rest))
        found, after = direp.Implicit().step(None, jnp.full(16, length), field, rest, flow)
        assert (after > length).all()
        moves = field.flow(found, field.drive(found))
        assert np.allclose(found, np.clip(rest + length * moves, 0, 1), atol=1e-4)


def test_what_an_implicit_step_calls_solved_solves_its_equation():
    """Units of uneven sizes between faces: a fast one outside its face by a hair would move a slow one by much."""
    rng = np.random.default_rng(0)
    graph = direp.Graph.complete(2, 5, 1)
    step = jax.jit(direp.Implicit().step)
    solved = 0
    for _ in range(60):
        size = 10.0 ** rng.uniform(-4, 4, 6)
        weight = np.concatenate([rng.normal(size=(2, 6)), rng.normal(size=(6, 6)) * size / size[:, None]])
        net = direp.Network(
            graph, direp.Projected("absolute"), weight * graph.adjacency(), leak=rng.uniform(0, 3, 6), dtype=np.float32
        )
        field = net.field(jnp.asarray(rng.normal(size=(16, 2)), jnp.float32))
        state = jnp.asarray(rng.integers(0, 2, (16, 6)), jnp.float32)
        flow = field.flow(state, field.drive(state))
        length = jnp.asarray(10.0 ** rng.uniform(-3, 3, 16), jnp.float32)
        found, after = step(None, length, field, state, flow)
        moves = np.asarray(field.flow(found, field.drive(found)))
        left = np.abs(found - np.clip(state + length[:, None] * moves, 0, 1)) / length[:, None]
        allowed = 0.11 * np.abs(found - state) / length[:, None] + 2 * rounding(field, found) + 1e-6 / length[:, None]
        fine = np.asarray(after > length)
        assert (left <= allowed)[fine].all()
        solved += fine.sum()
    assert solved > 900


def test_implicit_steps_solve_systems_whose_units_lie_twenty_powers_of_ten_apart():
    """Linear networks that a diagonal norm proves: each step is one linear system, and its length never falls back."""
    rng, graph = np.random.default_rng(3), direp.Graph.complete(2, 7, 1)
    step = jax.jit(direp.Implicit().step)
    for _ in range(20):
        size, speed = 10.0 ** rng.uniform(-10, 10, 8), 10.0 ** rng.uniform(-4, 8, 8)
        share = rng.normal(size=(8, 8)) * (rng.random((8, 8)) < 0.5) * ~np.eye(8, dtype=bool)
        share *= rng.uniform(0.9, 0.9999) / max(np.abs(np.linalg.eigvals(np.abs(share))).max(), 1e-9)
        weight = np.vstack([rng.normal(size=(2, 8)) * size * speed, share * (size * speed) / size[:, None]])
        net = direp.Network(graph, direp.Hopfield("identity"), weight, leak=speed, dtype=np.float64)
        field, state = net.field(jnp.asarray(rng.normal(size=(4, 2)))), net.rest(4)
        length = direp.Implicit().begin(None, field, state)
        for _ in range(30):
            state, after = step(None, length, field, state, field.flow(state, field.drive(state)))
            assert (after > length).all()
            length = after
        dense = np.diag(speed) - np.asarray(net.matrix)[2:].T
        even = dense * size / (size * speed)[:, None]  # the same system in the units of its units
        truth = size * np.linalg.solve(even, np.asarray(field.input_drive).T / (size * speed)[:, None]).T
        assert np.allclose(state / size, truth / size, rtol=1e-6, atol=1e-6 * np.abs(truth / size).max())


@pytest.mark.parametrize("seam", json.loads((Path(__file__).parent / "data" / "seams.json").read_text()))
def test_certified_networks_of_uneven_scales_settle_by_default(seam):
    """Networks that an attack found: unknowns and leaks so far apart that an unbalanced linear system loses some."""
    kind, activation, outflow = seam["neuron"]
    weight = np.array(seam["weight"])
    graph = direp.Graph.complete(2, weight.shape[1] - 1, 1)
    neuron = {"rate": direp.Rate, "hopfield": direp.Hopfield}[kind](activation, outflow)
    net = direp.Network(graph, neuron, weight, leak=seam["leak"], bias=seam["bias"], dtype=f"float{seam['precision']}")
    assert direp.certify(net, starts=0)
    assert direp.settle(net, np.array([seam["x"]]), state=np.array([seam["start"]])).converged.all()


class Driven(AbstractWrapper):
    """A field of a user's own, in which every unit drives itself. It declares nothing."""

    base: direp.model.AbstractField

    def drive(self, state, into=None):
        return self.base.drive(state, into) + 0.05 + 0.9 * state

    def flow(self, state, drive):
        return self.base.flow(state, drive)

    def take(self, rows):
        return Driven(self.base.take(rows))

    def stiffness(self):
        return self.base.stiffness()


def test_a_sweep_trusts_no_drive_from_before_a_unit_moved_where_it_may_drive_itself():
    """Such a unit seems to rest after each of its moves if the drive before the move is taken for that after it."""
    graph, still = direp.Graph.layered([2, 3, 3, 2]), direp.Normal(0.0, 0.0, 0.0)
    net = direp.Network(graph, direp.Projected(), still, leak=1.0, key=jax.random.key(0))
    # The layers that move first rest at once, at a face; those between have their way to go.
    net = net.replace(net.parameters._replace(bias=jnp.zeros(8).at[:3].set(-10.0).at[6:].set(-10.0)))
    field = Driven(net.field(jnp.ones((4, 2))))
    settled = direp.settle(field, state=net.rest(4), method=direp.Coloured(), stop=direp.Tolerance(1e-6, 1e-6))
    assert settled.converged.all()
    np.testing.assert_allclose(settled.state, np.tile([0, 0, 0, 0.5, 0.5, 0.5, 0, 0], (4, 1)), atol=1e-4)
