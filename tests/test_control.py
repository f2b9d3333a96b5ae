"""Controls keep a network certified after any update, in every norm, and count their own reaction in."""

import equinox as eqx
import extending.layout as example
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import GRAPHS, NEURONS, OUTFLOWS, TIGHT, data, estimate, flat, mean_cost, network, relative, updated
from hypothesis import given, settings
from hypothesis import strategies as st

import direp
from direp.rules import Companions
from direp.training import check_nudges, constrain
from direp.training.assumptions import of_constraint

CRITERIA = {"local": direp.LocalLeak(), "rows": direp.Rows(), "perron": direp.Perron()}
CONTROLS = {
    "leaks follow": lambda margin, criterion: direp.LeakController(margin, 0.05, criterion=criterion),
    "leaks only rise": lambda margin, criterion: direp.LeakController(margin, criterion=criterion, follow=False),
    "weights": lambda margin, criterion: direp.WeightProjection(margin=margin, criterion=criterion),
}


def applied(constraint, net, *params):
    wrapped = constrain(optax.identity(), constraint, net)
    return wrapped.update(net.parameters, wrapped.init(net.parameters), *params)


@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("criterion", CRITERIA)
@settings(max_examples=5)
@given(
    seed=st.integers(0, 100_000),
    neuron=st.sampled_from(list(NEURONS)),
    outflow=st.sampled_from(OUTFLOWS),
    graph=st.sampled_from(list(GRAPHS)),
    margin=st.floats(0.01, 1.0),
)
def test_every_control_certifies_after_any_update(control, criterion, seed, neuron, outflow, graph, margin):
    made, criterion = CONTROLS[control](margin, CRITERIA[criterion]), CRITERIA[criterion]
    net = network(neuron, outflow, graph, seed=seed)
    _, after, norm = updated(made, net, seed)
    assert (np.asarray(norm) > 0).all()
    assert float(criterion.margin(after, norm).min()) > margin - 1e-9
    certificate = direp.certify(after, criteria=(criterion,), starts=0)
    assert certificate.verdict == "proved"
    assert certificate.rate > margin - 1e-6
    if control == "leaks only rise":
        assert (np.asarray(after.leak) >= np.asarray(net.leak) - 1e-12).all()
    if control == "weights":
        _, moved, _ = updated(made, net, seed, size=0.0)  # inside already: nothing moves
        inside = made.begin(net)
        _, again, _ = updated(made, inside, seed, size=0.0)
        if criterion.name != "Perron":
            assert np.abs(flat(again.parameters) - flat(inside.parameters)).max() < 1e-9
        assert np.abs(flat(moved.weight.recurrent)).sum() <= np.abs(flat(net.weight.recurrent)).sum() + 1e-9


@pytest.mark.parametrize("outflow", OUTFLOWS)
@pytest.mark.parametrize("control", ["leaks follow", "weights"])
def test_controls_certify_shared_strengths_and_leave_them_shared(control, outflow):
    ring = example.Convolution(inputs=4, hidden=2, outputs=2, width=2)
    net = direp.Network(ring.graph, direp.Projected(outflow), direp.FanIn(), layout=ring, key=jax.random.key(0))
    for criterion in CRITERIA.values():
        _, after, norm = updated(CONTROLS[control](0.3, criterion), net, seed=0)
        assert float(criterion.margin(after, norm).min()) > 0.3 - 1e-9
        assert direp.certify(after, criteria=(criterion,), starts=0).verdict == "proved"
        assert len(np.unique(np.asarray(after.matrix))) == 13  # 12 strengths, and zero


def test_a_constraint_moves_what_it_constrains_and_leaves_a_rules_own_parameters_to_the_optimiser():
    net = network("projected", "signed")
    control = direp.WeightProjection(0.5)
    wrapped = constrain(optax.sgd(0.5), control, net)
    params = net.parameters._replace(rule={"feedback": jnp.arange(3.0)})
    updates = jax.tree.map(lambda leaf: 10 * jnp.ones_like(leaf), params)._replace(leak=-net.leak)
    moved, state = wrapped.update(updates, wrapped.init(params), params)
    assert (np.asarray(moved.rule["feedback"]) == -5).all()
    wanted = net.replace(optax.apply_updates(params, jax.tree.map(lambda u: -0.5 * u, updates)))
    inside, *_ = control.project(wanted, state.constraint)
    after = optax.apply_updates(params, moved)
    assert relative((after.weight, after.leak), (inside.weight, inside.leak)) < 1e-12
    assert np.abs(flat(after.weight) - flat(wanted.weight)).max() > 0.1  # there was something to constrain


def test_one_program_serves_constraints_and_updates_that_differ_in_numbers_alone():
    net, traces = network("projected", "none"), []

    @eqx.filter_jit
    def step(wrapped, masked, state, params):
        traces.append(1)
        updates, _ = masked.update(params, optax.EmptyState(), params)
        return wrapped.update(updates, state, params)[0]

    for seed, margin in enumerate((0.1, 0.2, 0.3)):
        other = net.replace(jax.tree.map(lambda leaf, k=seed: leaf + 0.01 * k, net.parameters))
        control = direp.LeakController(jnp.asarray(margin), jnp.asarray(0.1))
        wrapped = constrain(optax.GradientTransformation(*IDENTITY), control, other)
        step(wrapped, direp.trainable(other), wrapped.init(net.parameters), net.parameters)
    assert len(traces) == 1


IDENTITY = optax.identity()  # another one holds other functions


NUDGED = network("projected", "none", leak=1.0)


@pytest.mark.parametrize(
    ("constraint", "nudge", "cost", "fits"),
    [
        (direp.LeakController(0.2), direp.Centred(0.1), direp.SquaredError(), True),
        (direp.LeakController(0.2), direp.Centred(0.3), direp.SquaredError(), False),
        (direp.WeightProjection(0.2), direp.RandomSign(0.3), direp.SquaredError(), False),
        (direp.WeightProjection(0.2), direp.OneSided(0.3), direp.SquaredError(), True),
        (direp.LeakController(0.2), direp.OneSided(-0.3), direp.SquaredError(), False),
        (direp.LeakController(0.2), direp.Fading(0.3, 0.1, 5, direp.Centred), direp.SquaredError(), False),
        (direp.LeakController(0.2), direp.Centred(0.3), direp.CrossEntropy(), True),
        (direp.LeakController(0.2), direp.Centred(0.3), direp.CrossEntropy(4.0), False),
        (direp.SignSymmetric(margin=0.2), direp.Centred(0.1), direp.SquaredError(), True),
        (direp.SignSymmetric(margin=0.2), direp.Centred(0.3), direp.SquaredError(), False),
        (direp.Balanced(margin=0.2), direp.RandomSign(0.3), direp.SquaredError(), False),
        (direp.Pairs(margin=0.2), direp.Centred(0.3), direp.SquaredError(), False),
    ],
)
def test_a_nudge_may_not_take_the_margin_that_a_constraint_keeps(constraint, nudge, cost, fits):
    if fits:
        check_nudges(constraint, (nudge,), cost, NUDGED)
        return
    message = rf"{type(nudge).__name__}: the phase at beta=-0.3 can take .* {type(constraint).__name__} keeps"
    with pytest.raises(ValueError, match=message):
        check_nudges(constraint, (direp.OneSided(1.0), nudge), cost, NUDGED)


def test_a_norm_that_moves_keeps_no_phase_whose_nudge_weighs_outputs():
    """All ones as training begins, it need not be so after: synapses between outputs then count by another factor."""
    net, cost, nudge = network("projected", "none", scale=0.01), direp.CrossEntropy(), direp.Centred(0.1)
    run = direp.rules.phases_of(direp.Local(nudge), net, cost)
    for control, kept in ((direp.LoopProjection(0.5), False), (direp.WeightProjection(0.5), True)):
        begun = control.begin(net)
        assert (np.asarray(control.init(begun)) == 1).all()
        assert (of_constraint(control, run, cost, begun) == ()) == kept
        assert of_constraint(control, run, direp.SquaredError(), begun) == ()


@pytest.mark.parametrize("criterion", ["local", "rows"])
@pytest.mark.parametrize(
    ("neuron", "outflow"), [("projected", "signed"), ("projected", "none"), ("rate-tanh", "absolute")]
)
def test_the_gradient_through_held_leaks_equals_finite_differences(neuron, outflow, criterion):
    """With leaks at the criterion, the cost as a function of the weights has the gradient that `gradient` gives."""
    control = direp.LeakController(0.5, criterion=CRITERIA[criterion])
    net = control.begin(network(neuron, outflow, scale=0.2))
    x, y = data(net.graph)
    gradient = estimate(net, x, y, direp.Adjoint(), stop=TIGHT).gradient
    gradient = control.gradient(net, control.init(net), gradient)
    rng = np.random.default_rng(0)
    step = net.synapses.mask(jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), net.weight))
    h = 1e-6

    def cost(sign):
        weight = jax.tree.map(lambda w, d: w + sign * h * d, net.weight, step)
        return mean_cost(control.begin(net.replace(net.parameters._replace(weight=weight))), x, y)

    slope = (cost(1) - cost(-1)) / (2 * h)
    assert abs(flat(gradient.weight) @ flat(step) - slope) < 1e-6 * np.linalg.norm(flat(gradient.weight))


@pytest.mark.parametrize("outflow", OUTFLOWS)
@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("learned", [True, False])
def test_leaks_that_companions_hold_add_their_derivative_too(learned, outflow, criterion):
    """Some leaks are held by weights, others by companions: synapse and companion get the derivative of the leak in
    whichever holds it, here by JAX through the projection itself. Companions that are fixed have none of their own."""
    net, rng = network("projected", outflow, seed=5), np.random.default_rng(5)
    control = direp.LeakController(0.3, floor=0.0, criterion=CRITERIA[criterion])
    norm, share = jnp.asarray(0.5 + rng.random(net.graph.free)), jnp.asarray(rng.normal(size=net.graph.free))
    ours = net.synapses.mask(net.weight)
    other = ours.recurrent * rng.uniform(-1.9, 1.9, ours.recurrent.shape)

    def leaks(weight, companions):
        near = net.replace(net.parameters._replace(weight=weight))
        return control.inside(near, norm, (companions,))[0].leak

    held = net.replace(net.parameters._replace(weight=ours, leak=leaks(ours, other)))
    by_weights = np.isclose(held.leak, control.inside(held, norm)[0].leak)
    assert 0 < by_weights.sum() < len(by_weights)
    alone = held.parameters._replace(weight=jax.tree.map(jnp.zeros_like, ours), leak=share)
    extra = control.gradient(held, norm, alone, (Companions(other, learned),)).weight
    slopes = jax.jit(jax.grad(lambda *pair: share @ leaks(*pair), argnums=(0, 1)))(ours, other)
    wanted = slopes[0]._replace(recurrent=slopes[0].recurrent + float(learned) * slopes[1])
    assert np.abs(flat(extra) - flat(net.synapses.mask(wanted))).max() < 1e-12


@pytest.mark.usefixtures("_optax")
def test_held_leaks_are_known_as_such_where_excitation_cancels_outflow():
    """In 32 bits, with excitation a thousand times the leak: a leak is then as sure as the sums that it comes from."""
    rng, graph = np.random.default_rng(0), direp.Graph.complete(1, 20, 1)
    weight = np.where(graph.adjacency(), 1000 * np.abs(rng.normal(size=(22, 21))), 0)
    for unit in range(1, 22):  # one inhibitory synapse each, which the leak has to outweigh
        weight[unit, rng.choice(np.flatnonzero(graph.adjacency()[unit]))] = -1 - 2 * rng.random()
    net = direp.Network(graph, direp.Projected("signed"), weight, leak=1.0, dtype=np.float32)
    control = direp.LeakController(floor=0.1)
    net = control.begin(net)
    optimiser = constrain(optax.sgd(1e-3), control, net)
    change = jax.tree.map(lambda p: rng.normal(size=p.shape).astype(np.float32), net.parameters)
    moved, state = jax.jit(optimiser.update)(change, optimiser.init(net.parameters), net.parameters)
    net = net.replace(optax.apply_updates(net.parameters, moved))
    zero = jax.tree.map(jnp.zeros_like, net.parameters)
    extra = control.gradient(net, state.constraint, zero._replace(leak=jnp.ones_like(net.leak))).weight
    square = np.asarray(net.synapses.matrix(extra))[1:]
    assert (np.asarray(net.leak) > 1).all()  # far above the floor: all are held
    assert (np.abs(square).max(1) > 0).all()


@given(st.integers(0, 10_000), st.sampled_from(list(NEURONS)), st.sampled_from(OUTFLOWS))
@settings(max_examples=10)
def test_what_held_leaks_add_to_the_gradient_is_their_derivative_with_the_norm_fixed(seed, neuron, outflow):
    """The sum of held leaks, each with a weight of its own, differentiated by JAX instead of by hand."""
    net = network(neuron, outflow, seed=seed)
    rng = np.random.default_rng(seed)
    norm, share = jnp.asarray(0.5 + rng.random(net.graph.free)), jnp.asarray(rng.normal(size=net.graph.free))
    for criterion in CRITERIA.values():
        control = direp.LeakController(0.3, criterion=criterion)

        def held(weight, control=control):
            return (share * control.needed(net.replace(net.parameters._replace(weight=weight)), norm)).sum()

        wanted = net.synapses.mask(jax.jit(jax.grad(held))(net.weight))
        assert np.abs(flat(criterion.weight_gradient(net, norm, share)) - flat(wanted)).max() < 1e-12


def test_perron_needs_no_more_leak_than_the_others():
    """With its own leaks at the criterion, the largest leak is least for Perron weights that have been refreshed."""
    net = network("projected", "none", scale=0.5, leak=1.0)
    most = {}
    for name, criterion in CRITERIA.items():
        control = direp.LeakController(0.1, 0.0, criterion=criterion)
        norm = (direp.Perron(iterations=400) if name == "perron" else criterion).refresh(net, criterion.initial(net))
        most[name] = float(control.needed(net, norm).max())
    abscissa = np.linalg.eigvals(np.abs(np.asarray(net.matrix)[net.graph.inputs :])).real.max()
    assert most["perron"] < min(most["local"], most["rows"])
    assert abs(most["perron"] - 0.1 - abscissa) < 0.01 * abscissa


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda net: direp.LeakController(0.0), r"LeakController\(margin=0.0\)"),
        (lambda net: direp.WeightProjection(margin=-1.0), r"WeightProjection\(margin=-1.0\)"),
        (lambda net: direp.LeakController(0.1, floor=-1.0), "floor=-1.0"),
        (
            lambda net: applied(direp.LeakController(), net),
            "needs the parameters",
        ),
    ],
)  # fmt: skip
def test_wrong_use_is_refused_in_words(make, message):
    with pytest.raises(ValueError, match=message):
        make(network("projected", "signed"))
