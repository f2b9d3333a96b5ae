"""What companions of synapses miss of the gradient: the bound holds, is attained, and proves descent in time."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import SOME, TIGHT, data, gradients, mean_cost, network, with_feedback
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent / "campaigns"))
from companions import Tally, kinds

import direp
from direp.certificates.learning import feedback as bounds
from direp.rules import companions, initialise, inner, parameters_of, with_companions, with_parameters


def with_matrix(rule, net, matrix):
    """The rule with companions of given strengths (free x free)."""
    rule = initialise(rule, net, jax.random.key(0))
    whole = np.concatenate([np.zeros((net.graph.inputs, net.graph.free)), matrix])
    own = with_companions(parameters_of(rule), [net.synapses.from_matrix(whole).recurrent])
    return with_parameters(rule, own)


def near(net, apart, seed=0):
    """A rule whose companions differ from the weights by about a share of their spread."""
    recurrent = np.asarray(net.matrix)[net.graph.inputs :]
    other = np.random.default_rng(seed).normal(size=recurrent.shape) * (recurrent != 0)
    return with_matrix(direp.Dyadic(direp.LearnedFeedback()), net, recurrent + apart * recurrent.std() * other)


@given(case=st.sampled_from(SOME), seed=st.integers(0, 10**6), apart=st.floats(1e-3, 2.0))
def test_no_unit_is_further_from_the_adjoint_than_its_bound(case, seed, apart):
    net = network(*case, seed=seed)
    rule, (x, y) = near(net, apart, seed), data(net.graph, seed=seed)
    said = direp.bound_feedback(net, x, y, rule)
    settled = direp.settle(net, x, stop=TIGHT)
    shared = direp.bound_feedback(net, x, y, near(net, 0.0))  # companions equal to weights: the adjoint itself
    assert settled.converged.all()
    assert (np.abs(said.response - shared.response) <= said.error + 1e-12).all()
    assert (said.error.max(1) <= said.crude * (1 + 1e-9)).all()
    made, exact = gradients(net, x, y, [rule, direp.Adjoint()])
    size, product, true = (float(inner(net, *pair)) for pair in ((made, made), (made, exact), (exact, exact)))
    assert size - product <= (said.lost + 1e-9) * size
    assert product / np.sqrt(size * true) >= said.cosine - 1e-9
    assert size - 2 * product + true <= (said.relative_error + 1e-9) ** 2 * true


@pytest.mark.parametrize("outputs", [1, 2])
def test_the_bound_is_attained_where_all_signs_align(outputs):
    """Excitation, companions above their partners, outputs above their targets: nothing cancels, and nothing is lost
    by taking sizes."""
    graph = direp.Graph.random(2, 5, outputs, density=0.7, seed=1)
    rng = np.random.default_rng(0)
    weight = np.where(graph.adjacency(), rng.uniform(0.05, 0.3, (graph.units, graph.free)), 0)
    net = direp.Network(graph, direp.Projected(), weight, leak=3.0, bias=np.full(graph.free, 0.3))
    more = np.where(weight[2:] > 0, rng.uniform(0.0, 0.3, (graph.free, graph.free)), 0)
    rule, (x, y) = with_matrix(direp.AsymEP(feedback=direp.LearnedFeedback()), net, weight[2:] + more), data(graph, 4)
    y = 0 * y
    said = direp.bound_feedback(net, x, y, rule)
    adjoint = direp.bound_feedback(net, x, y, near(net, 0.0)).response
    true = np.abs(said.response - adjoint)
    assert true.max() > 0.01 * np.abs(adjoint).max()
    assert np.allclose(said.error, true, rtol=1e-8, atol=1e-12)
    assert (said.crude > 1.5 * true.max(1)).all()
    made, exact = gradients(net, x, y, [direp.Dyadic(rule.feedback), direp.Adjoint()])
    size = float(inner(net, made, made))
    assert np.isclose(said.lost, 1 - float(inner(net, made, exact)) / size, rtol=1e-6)


@pytest.mark.parametrize("controlled", [False, True], ids=["leaks that stay", "leaks that follow"])
@pytest.mark.parametrize(("neuron", "outflow"), SOME)
def test_where_descent_is_proved_a_small_step_lowers_the_cost(neuron, outflow, controlled):
    control = direp.LeakController(0.2, floor=0.1) if controlled else None
    proved, eta = 0, 1e-5
    for seed, apart in ((0, 0.3), (1, 1.0), (2, 3.0)):
        net = network(neuron, outflow, "random", seed=seed)
        rule, (x, y) = near(net, apart, seed), data(net.graph, seed=seed)
        (own,) = companions(parameters_of(rule))
        beside = (own.recurrent,)
        if controlled:
            net, beside = control.begin_with(net, beside)
        said = direp.bound_feedback(net, x, y, rule, control=control)
        if not said.descends:
            continue
        proved += 1
        (made,) = gradients(net, x, y, [rule])
        norm = control.init(net) if controlled else None
        made = control.gradient(net, norm, made, (own,)) if controlled else made
        made = made._replace(leak=jnp.zeros_like(made.leak), rule=())
        moved = net.replace(jax.tree.map(lambda p, g: p - eta * g, net.parameters, made))
        if controlled:
            after = [jax.tree.map(lambda m, g: m - eta * g, beside[0], made.weight.recurrent)]
            moved = moved.replace(control.project(moved, norm, tuple(after))[0])
        fell = mean_cost(net, x, y) - mean_cost(moved, x, y)
        size = float(inner(net, made, made))
        assert fell > 0.98 * eta * (1 - said.lost) * size
        assert fell < 1.02 * eta * (1 + said.lost) * size
    assert proved >= 1


def test_hidden_units_are_judged_by_themselves():
    net = network("projected", "none", "layered")
    rule, (x, y) = near(net, 0.5), data(net.graph)
    said = direp.bound_feedback(net, x, y, rule, hidden_only=True)
    made, exact = gradients(net, x, y, [rule, direp.Adjoint()])
    hidden = (jnp.arange(net.graph.free) < net.graph.hidden).astype(float)
    made, exact = (
        each._replace(weight=net.synapses.scaled(each.weight, hidden, incoming=True), bias=each.bias * hidden)
        for each in (made, exact)
    )
    size, product = float(inner(net, made, made)), float(inner(net, made, exact))
    assert 1 - product / size <= said.lost + 1e-9
    assert said.lost < 5 * (1 - product / size) + 1


@pytest.mark.usefixtures("_optax")
@pytest.mark.parametrize("batch", [None, 14])
def test_updates_told_before_training_are_enough(batch):
    """Along a training in 32 bits: from the number that is told on, every batch is proved to descend."""
    graph = direp.Graph.random(2, 6, 2, density=0.4, reciprocity=0.0, seed=1)
    net = direp.Network(graph, direp.Projected(), direp.FanIn(), leak=1.0, key=jax.random.key(3), dtype=jnp.float32)
    x, y = data(graph, 60)
    task = direp.tasks.from_arrays(x, y.argmax(1), name="noise")
    control, eta, decay, last = direp.LeakController(0.3, floor=0.5), 0.05, 2.0, 300
    rule, schedule = direp.AsymEP(1.0, feedback=direp.LearnedFeedback()), optax.cosine_decay_schedule(eta, last)
    size = len(task.train.x) if batch is None else batch
    parts = [tuple(part[k : k + size] for part in task.train) for k in range(0, len(task.train.x), size)]

    def after(updates):
        moves = optax.scale_by_schedule(lambda count: jnp.where(count < updates, 1.0, 0.0))
        mask = lambda p: p._replace(weight=True, bias=False, leak=False, rule=jax.tree.map(lambda _: True, p.rule))  # noqa: E731
        chain = (optax.add_decayed_weights(decay, mask=mask), optax.scale_by_learning_rate(schedule), moves)
        run = direp.fit(
            net, task, rule=rule, optimiser=optax.chain(optax.scale_by_adam(), *chain), control=control,
            batch_size=batch, epochs=last // len(parts), keep="last",
        )  # fmt: skip
        return run.networks[0], run.rules[0]

    grid = (0, 10, 30, 60, 120, 200, 300)
    trained = [after(updates) for updates in grid]
    said = [[direp.bound_feedback(*at[:1], *part, at[1], control=control) for part in parts] for at in trained]
    proved = [all(each.descends for each in row) for row in said]
    steps = np.asarray([schedule(k) for k in range(last)]) * decay
    apart = [np.asarray(companions(parameters_of(rule))[0].recurrent - net.weight.recurrent) for net, rule in trained]
    for updates, found in zip(grid, apart, strict=True):  # the law, in a training of 32 bits
        assert np.abs(found - apart[0] * np.prod(1 - steps[:updates])).max() < 1e-6
    worst = max(each.condition for row in said for each in row)
    told = direp.updates_to_descent(*trained[0], steps, rate=0.3 - 1e-5, condition=worst)
    assert told is not None
    assert told >= next(updates for updates, holds in zip(grid, proved, strict=True) if holds)
    assert all(holds for updates, holds in zip(grid, proved, strict=True) if updates >= told)
    assert grid[0] < told < grid[-1]
    fewer = direp.updates_to_descent(*trained[0], steps, rate=0.6, condition=worst)
    assert fewer < told
    assert direp.updates_to_descent(*trained[0], steps[: told - 1], rate=0.3, condition=worst) is None


@pytest.mark.parametrize("graph", ["complete", "random"])
def test_one_sample_by_itself_is_in_a_condition_known_before(graph):
    """$(1+\\sqrt{1+S/K})/2$ for what is presynaptic to the units that move."""
    net, reached = network("projected", "none", graph, seed=4), 0.0
    exists = np.asarray(net.graph.adjacency())
    for k in range(6):
        x, y = data(net.graph, 1, k)
        state = np.asarray(direp.settle(net, x, stop=TIGHT).state)[0]
        size = 1 + np.concatenate([x[0], state]) ** 2 @ exists
        size = np.sort(size[(state > 0) & (state < 1)])
        said = direp.bound_feedback(net, x, y, near(net, 1.0, k))
        known = (1 + np.sqrt(1 + size[1:].sum() / size[0])) / 2
        assert 1 <= said.condition <= known
        reached = max(reached, said.condition / known)
    assert reached > 0.5


def test_what_is_not_covered_is_refused_or_infinite():
    net = network("projected", "none")
    (x, y), rule = data(net.graph), near(net, 0.1)
    with pytest.raises(ValueError, match="needs one feedback by companions"):
        direp.bound_feedback(net, x, y, direp.AsymEP())
    with pytest.raises(ValueError, match="feedback has no strengths yet"):
        direp.bound_feedback(net, x, y, direp.Dyadic(direp.LearnedFeedback()))
    within = direp.Homeostasis(rule, 5.0)
    with pytest.raises(ValueError, match="of the rule itself"):
        direp.bound_feedback(net, x, y, within)
    with pytest.raises(ValueError, match="of the rule itself"):
        direp.updates_to_descent(net, within, np.array([0.5]), rate=0.1, condition=1.0)
    still = with_feedback(direp.AsymEP(feedback=direp.FixedFeedback()), net)[0]
    with pytest.raises(ValueError, match="companions that stay"):
        direp.updates_to_descent(net, still, np.array([0.5]), rate=0.1, condition=1.0)
    with pytest.raises(ValueError, match="cannot be traced"):
        jax.jit(lambda x: direp.bound_feedback(net, x, y, rule))(x)
    with pytest.raises(ValueError, match="steps"):
        direp.updates_to_descent(net, rule, np.array([1.5]), rate=0.1, condition=1.0)
    with pytest.raises(ValueError, match="above 0"):
        direp.updates_to_descent(net, rule, np.array([0.5]), rate=0.0, condition=1.0)
    # A pair that turns: its Jacobian is stable, and no M-matrix bounds what comes back.
    weight = np.array([[0, 0, 0], [0, 0, 0], [0, 1.5, 0.3], [-1.5, 0, 0.3], [0.1, 0.1, 0]])
    turning = direp.Network(direp.Graph.complete(2, 2, 1), direp.Projected(), weight, leak=1.0, bias=[0.8, 0.1, 0.0])
    said = direp.bound_feedback(turning, x[:, :2], y[:, :1], near(turning, 0.1))
    assert said.used.all()
    assert said.lost == np.inf
    assert (said.cosine, said.descends) == (-1.0, False)
    assert "not proved" in repr(said)


@pytest.mark.usefixtures("_unchecked")
def test_a_short_campaign_finds_no_violation_and_notices_a_bound_that_is_too_small(monkeypatch):
    tally, some = Tally(), kinds()[::7]
    for k, kind in enumerate(some):
        tally.take(kind, 30, np.random.default_rng(k))
    found = tally.summary()
    assert found["violations"] == {}
    assert found["left_out"] < 0.02 * found["networks"]
    assert found["bound_over_error"]["sharp"][1] < 1.5
    assert found["bound_over_error"]["crude"][1] > 4
    assert found["proved"] > 0.8
    whole = bounds._compared
    monkeypatch.setattr(bounds, "_compared", lambda *arguments: 0.7 * whole(*arguments))
    lies = Tally()
    lies.take(some[0], 30, np.random.default_rng(0))
    assert lies.summary()["violations"]


def fell_short(net, x, y, rule, control=None, eta=1e-5):
    """What is said, and by how much less a small step lowers the cost than that, in units of the step."""
    (own,) = companions(parameters_of(rule))
    net, (recurrent,) = (net, (own.recurrent,)) if control is None else control.begin_with(net, (own.recurrent,))
    said = direp.bound_feedback(net, x, y, rule, control=control)
    (made,) = gradients(net, x, y, [rule])
    norm = None if control is None else control.init(net)
    made = made if control is None else control.gradient(net, norm, made, (own,))
    made = made._replace(leak=jnp.zeros_like(made.leak), rule=())
    moved = net.replace(jax.tree.map(lambda p, g: p - eta * g, net.parameters, made))
    if control is not None:
        after = jax.tree.map(lambda m, g: m - eta * g, recurrent, made.weight.recurrent)
        moved = moved.replace(control.project(moved, norm, (after,))[0])
    fell = (mean_cost(net, x, y) - mean_cost(moved, x, y)) / (eta * float(inner(net, made, made)))
    return said, 1 - said.lost - fell


LEAKS = {
    "weights of zero hold leaks": ("none", 17, 0.0, direp.LeakController(0.2, floor=0.01)),
    "weights of zero flow out": ("absolute", 3, 0.0, None),
    "leaks follow and nobody is told": ("none", 4, 0.5, direp.LeakController(0.2, floor=0.1, through_leak=False)),
    "leaks do not come down": ("none", 2, 0.5, direp.LeakController(0.2, floor=0.1, follow=False)),
    "the norm moves": ("none", 1, 0.5, direp.LeakController(0.2, floor=0.1, criterion=direp.Perron())),
}


@pytest.mark.parametrize("kind", LEAKS)
def test_descent_counts_leaks_that_move_otherwise_than_the_update_knows(kind):
    outflow, seed, spread, control = LEAKS[kind]
    rng = np.random.default_rng(seed)
    if spread:
        graph = direp.Graph.random(2, 5, 2, density=0.7, seed=seed)
        weight = np.where(graph.adjacency(), rng.normal(0, spread, (graph.units, graph.free)), 0)
        bias = rng.normal(0.8, 0.3, graph.free)
    else:
        graph = direp.Graph.layered((2, 4, 4, 2) if control else (2, 4, 2))
        weight, bias = direp.FanIn(1.0, 0.0), np.full(graph.free, 0.3 if control else 0.4)
    leak = 1.0 if control else 0.5
    net = direp.Network(graph, direp.Projected(outflow), weight, leak=leak, bias=bias, key=jax.random.key(seed))
    recurrent = np.asarray(net.matrix)[2:]
    more = 0.02 * rng.normal(size=recurrent.shape) if spread else 0.0
    rule = with_matrix(direp.Dyadic(direp.LearnedFeedback()), net, recurrent + more * (recurrent != 0))
    x, y = rng.random((3, 2)), rng.random((3, 2))
    said, short = fell_short(net, x, y, rule, control)
    assert short < 0.01
    assert said.apart == np.inf
    assert (said.lost == np.inf) == (kind == "the norm moves")
    assert (said.lost < 1) == (kind != "the norm moves")


def test_outputs_that_are_lifted_count_as_error():
    """Their gradient is zero, and so is their part in what the others should learn."""
    graph = direp.Graph.layered((3, 4, 2))
    net = direp.Network(graph, direp.Projected(), direp.Normal(0.3, 0.3), leak=2.0, key=jax.random.key(10))
    net = net.replace(net.parameters._replace(bias=net.bias.at[-2:].set(jnp.array([-0.7, 0.5]))))
    rng = np.random.default_rng(10)
    x, y = rng.random((5, 3)), rng.random((5, 2))
    rule = near(net, 0.3, 10)
    lifting = direp.Dyadic(rule.feedback, lift=True)
    made, exact = gradients(net, x, y, [lifting, direp.Adjoint()])
    size, product = float(inner(net, made, made)), float(inner(net, made, exact))
    bare, said = (direp.bound_feedback(net, x, y, each) for each in (rule, lifting))
    assert bare.lost < 0.5 * (1 - product / size)
    assert 1 - product / size <= said.lost + 1e-9
    apart = size - 2 * product + float(inner(net, exact, exact))
    assert apart <= (said.apart + 1e-9) ** 2 * size
    adjoint = direp.bound_feedback(net, x, y, near(net, 0.0)).response
    assert (np.abs(said.response - adjoint) <= said.error + 1e-12).all()
    assert (said.condition, said.crude.min()) == (np.inf, np.inf)


def test_a_rule_that_adds_to_another_is_refused():
    net = network("projected", "none")
    within = direp.Homeostasis(near(net, 0.1), strength=10.0)
    with pytest.raises(ValueError, match="of the rule itself"):
        direp.bound_feedback(net, *data(net.graph), within)
