"""A certificate speaks of the phases that run: their fields, their strengths as stored, what it does not cover."""

import dataclasses
import html

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import NEURONS, OUTFLOWS, SOME, data, estimate, network
from test_criteria import log_norm

import direp
from direp.certificates.convergence import System
from direp.model import AbstractWrapper, Coupling, declared
from direp.rules import AdjointField, Learned, phases_of
from direp.rules.asymmetric import AsymField
from direp.settling import linearise
from direp.training.assumptions import keeps_signs, of_constraint, of_guarantee
from direp.training.recorded import RecordedOptimiser

BETA = 0.04
COSTS = {"squared": direp.SquaredError(), "cross-entropy": direp.CrossEntropy(2.0)}


def at_random(net, seed):
    """A field, and a free state that no phase need ever have reached."""
    x, y = data(net.graph, batch=1, seed=seed)
    field, rng = net.field(jnp.asarray(x)), np.random.default_rng(seed)
    state = net.neuron.clip(jnp.asarray(rng.normal(0.5, 1.0, (1, net.graph.free))))
    return field, jnp.asarray(y), state, linearise(field, state, field.drive(state)), rng


@eqx.filter_jit
def jacobians(field, states):
    """Dense, by automatic differentiation of the flow of one sample at every state."""

    def flow(state):
        return field.flow(state[None], field.drive(state[None]))[0]

    return jax.vmap(jax.jacfwd(flow))(states)


@pytest.mark.parametrize(
    ("neuron", "outflow", "kind"),
    [
        *((*each, "squared") for each in SOME),
        ("projected", "none", "cross-entropy"),
        ("rate-softplus", "signed", "cross-entropy"),
    ],
)
def test_no_jacobian_of_any_phase_expands_in_the_norm_of_its_certificate(neuron, outflow, kind):
    net, cost, reached = network(neuron, outflow, scale=0.15, leak=2.5), COSTS[kind], 0
    nudge = direp.Centred(BETA)
    rules = (direp.Safeguard(direp.Local(nudge), direp.AsymEP(nudge)), direp.Dyadic())
    for seed in range(2):
        field, y, free, linear, rng = at_random(net, seed)
        fields = {"free": field, "AdjointField": AdjointField(field, linear, jnp.ones_like(free))}
        for beta in (BETA, -BETA):
            strength = jnp.asarray(beta)
            fields[f"beta={beta:+g}"] = direp.Nudged(field, cost, y, strength)
            fields[f"AsymField beta={beta:+g}"] = AsymField(field, free, field.drive(free), linear, cost, y, strength)
        states = jnp.asarray(rng.normal(0.5, 1.5, (20, net.graph.free)))
        found = {name: np.asarray(jacobians(each, states)) for name, each in fields.items()}
        active = np.asarray(linear.active[0])
        found["AdjointField"] = np.where(active & active[:, None], found["AdjointField"], -1e3 * np.eye(len(active)))
        for rule in rules:
            for criterion in (direp.LocalLeak(), direp.Perron(), direp.Symmetric()):
                certificate = direp.certify(net, rule=rule, cost=cost, criteria=(criterion,), starts=0)
                for name, rate in certificate.phases.items():
                    norm = certificate.norms.get(name, certificate.norm)
                    assert max(log_norm(norm, each) for each in found[name]) <= -rate + 1e-9, (criterion, name)
                    reached += 1
    assert reached >= 2 * (3 + 2) * 2  # phases of both rules by two criteria, the fewest that any of these proves


@pytest.mark.parametrize("outflow", OUTFLOWS)
@pytest.mark.parametrize("neuron", NEURONS)
def test_asymep_is_proved_only_where_its_own_field_is(neuron, outflow):
    net = network(neuron, outflow, scale=0.1, leak=3.0)
    certificate = direp.certify(net, rule=direp.AsymEP(direp.Centred(BETA)), starts=0)
    assert direp.certify(net, starts=0)
    assert certificate.phases["free"] > 0
    if neuron.startswith("hopfield"):
        assert certificate.verdict == "undecided"
        assert "nothing covers the phases of AsymField: nothing bounds how the slope of" in certificate.reason
        assert certificate.uncovered
        return
    assert certificate.verdict == "proved"
    assert set(certificate.phases) == {"free", "AsymField beta=+0.04", "AsymField beta=-0.04"}
    assert certificate.rate == min(certificate.phases.values())
    # With less leak the free phase still contracts, and the corrected one is not known to.
    tight = net.replace(net.parameters._replace(leak=net.leak - certificate.phases["free"] + 0.05))
    again = direp.certify(tight, rule=direp.AsymEP(direp.Centred(BETA)), starts=0)
    assert (again.verdict, again.reason == "") == (("proved", True) if neuron == "projected" else ("undecided", False))
    assert direp.certify(tight, starts=0)
    if neuron != "projected":
        assert again.rate <= 0
        assert "the phases of AsymField are not proved to (falls short" in again.reason


@pytest.mark.parametrize("neuron", ["projected", "rate-tanh"])
def test_a_proved_phase_settles_to_one_state_in_its_certified_steps(neuron):
    net, cost = network(neuron, "signed", scale=0.12, leak=2.0), direp.SquaredError()
    certificate = direp.certify(net, rule=direp.AsymEP(direp.Centred(BETA)), starts=0)
    assert certificate
    field, y, free, linear, rng = at_random(net, 3)
    for beta in (BETA, -BETA):
        phase = AsymField(field, free, field.drive(free), linear, cost, y, jnp.asarray(beta)).take(jnp.zeros(16, int))
        starts = net.neuron.clip(jnp.asarray(rng.normal(0, 3, (16, net.graph.free))))
        velocity = phase.velocity(starts, phase.drive(starts))
        steps = certificate.steps_to(np.asarray(velocity), 1e-9, f"AsymField beta={beta:+g}")
        method = direp.Euler(certificate.largest_step)
        settled = direp.settle(phase, state=starts, method=method, stop=direp.Tolerance(0.0, 1e-9, max_steps=steps))
        assert settled.converged.all()
        assert np.ptp(np.asarray(settled.state), axis=0).max() <= 2e-9 / certificate.rate * net.graph.free


def test_a_strong_nudge_that_is_proved_settles_by_the_default_method():
    """The nudge of `AsymEP` does not pass the transfer function, whose small slope says nothing of its stiffness."""
    graph = direp.Graph.complete(2, 3, 1)
    net = direp.Network(graph, direp.Rate("sigmoid"), key=jax.random.key(0), leak=2.0)
    rule = direp.AsymEP(20.0)
    assert direp.certify(net, rule=rule, starts=0)
    assert estimate(net, jnp.ones((2, 2)), jnp.zeros((2, 1)), rule).used.all()
    alone = net.replace(jax.tree.map(jnp.zeros_like, net.parameters)._replace(leak=net.leak))
    both = direp.Safeguard(direp.Local(direp.Centred(0.5)), direp.AsymEP(direp.Centred(0.5)))
    phases = direp.certify(alone, rule=both, starts=0).phases
    lowest = {"free": 2.0, "beta=+0.5": 2.0, "beta=-0.5": 1.875, "AsymField beta=+0.5": 2.0, "AsymField beta=-0.5": 1.5}
    assert phases == pytest.approx(lowest, rel=1e-9)


# What a field declares.


class Damped(AbstractWrapper):
    """The network with more leak."""

    base: direp.model.AbstractField

    def drive(self, state, into=None):
        return self.base.drive(state, into)

    def flow(self, state, drive):
        return self.base.flow(state, drive) - 0.5 * state

    def take(self, rows):
        return Damped(self.base.take(rows))

    def stiffness(self):
        return self.base.stiffness() + 0.5


class Declared(Damped):
    @property
    def coupling(self):
        return Coupling("bounded", forth=self.network.neuron.gain)


class Inherited(Declared):
    def flow(self, state, drive):
        return 10 * self.base.flow(state, drive)


class Settles(direp.rules.AbstractRule):
    """A rule that settles whatever field it is told to."""

    make: object = eqx.field(static=True)
    own: Learned = Learned(lambda network, key: jnp.full((), 0.5, network.dtype))

    def estimate(self, problem, key):
        phase, _ = problem.settle(self.make(problem, self.own.value))
        gradient = problem.gradient(phase.rate, phase.rate, phase.converged & problem.valid)
        return problem.estimate(gradient._replace(rule=(jnp.zeros(()),)), phase.converged & problem.valid, (phase,))


def larger(problem, own):
    return problem.network.replace(jax.tree.map(lambda leaf: 2 * leaf, problem.network.parameters)).field(problem.x)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda problem, own: problem.field, None),
        (lambda problem, own: Declared(problem.field), None),
        (lambda problem, own: Damped(problem.field), "its class declares no coupling"),
        (lambda problem, own: Inherited(problem.field), "its class declares no coupling"),
        (larger, "a field of another network"),
        (lambda p, own: direp.Nudged(p.field, p.cost, p.y, own), "problem.nudge runs it"),
        (lambda p, own: direp.Nudged(Damped(p.field), p.cost, p.y, own), "other than the network's own"),
        (lambda p, own: direp.Nudged(p.field, direp.CrossEntropy(), p.y, own), "that of another cost"),
    ],
)
def test_a_field_is_covered_by_its_own_declaration_or_named(make, why):
    net = network("rate-tanh", "none")
    certificate = direp.certify(net, rule=Settles(make), starts=0)
    if why is None:
        assert certificate.verdict == "proved"
        return
    assert certificate.verdict == "undecided"
    assert why in certificate.reason
    assert len(certificate.uncovered) == 1


class Elsewhere(direp.rules.AbstractRule):
    """Poses the problem of another network, or of another cost, to a rule within it."""

    change: object = eqx.field(static=True)
    rule: direp.rules.AbstractRule = direp.Local(0.1)

    def estimate(self, problem, key):
        return self.rule.estimate(self.change(problem), key)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda problem: problem, None),
        (lambda problem: problem.only_if(problem.used.any()), None),
        (lambda problem: eqx.tree_at(lambda p: p.field, problem, larger(problem, None)), "of another network"),
        (lambda problem: dataclasses.replace(problem, cost=direp.CrossEntropy(9.0)), "that of another cost"),
    ],
)
def test_a_rule_that_asks_about_another_network_is_not_covered(change, why):
    certificate = direp.certify(network("projected", "none"), rule=Elsewhere(change), starts=0)
    assert certificate.verdict == ("proved" if why is None else "undecided")
    assert why is None or why in certificate.reason


def test_a_declared_field_is_certified_in_the_norm_that_suits_it():
    net = network("rate-tanh", "none")
    certificate = direp.certify(net, rule=Settles(lambda problem, own: Declared(problem.field)), starts=0)
    assert certificate.phases["Declared"] == pytest.approx(certificate.phases["free"], rel=1e-12)
    assert declared(Inherited(net.field(jnp.zeros((1, 2))))) == "its class declares no coupling"


# Numbers as the network has them.


def test_a_nudge_is_certified_as_it_is_cast():
    graph = direp.Graph.layered([1, 1, 1])
    weight = np.zeros((3, 2), np.float32)
    leak = np.array([1, np.float32(0.1)], np.float32)
    net = direp.Network(graph, direp.Projected(), weight, leak=leak, bias=[0.0, 0.0], dtype=jnp.float32)
    nudge = direp.OneSided(-0.1)  # in 64 bits less than the leak, by 1.5e-9; in 32 bits all of it
    assert not direp.certify(net, nudge=nudge, starts=0)
    assert direp.certify(net.astype(jnp.float64), nudge=nudge, starts=0).rate == pytest.approx(1.49e-9, rel=1e-2)
    states = jnp.asarray([[0, 0.1], [0, 0.5], [0, 0.9]], jnp.float32)
    none = jnp.zeros((3, 1), jnp.float32)
    field = direp.Nudged(net.field(none), direp.SquaredError(), none, jnp.asarray(-0.1, jnp.float32))
    np.testing.assert_array_equal(direp.settle(field, state=states).state, states)


def test_phases_keep_readable_names_and_no_two_share_one():
    net = network("projected", "none").astype(jnp.float32)
    near = float(np.nextafter(np.float32(-0.1), np.float32(0)))
    given = (-0.1, near, 0.25, 1 / 3, 1e-7, 2.0, 0.1 + 1e-12)
    system = System.of(net, [direp.OneSided(beta) for beta in given])
    assert list(system.phases) == [
        "free", "beta=-0.1", "beta=-0.099999994", "beta=+0.25", "beta=+0.33333334", "beta=+1e-07", "beta=+2",
        "beta=+0.1",
    ]  # fmt: skip
    assert list(system.phases.values())[1:] == [float(np.float32(beta)) for beta in given]
    with pytest.raises(ValueError, match=r"beta=1e\+40, which float32 cannot hold"):
        direp.certify(net, nudge=direp.OneSided(1e40))


def test_slopes_and_costs_count_as_the_network_rounds_them():
    steep = direp.Activation("steep", lambda s: 0.3 * s, (-np.inf, np.inf), (0.3, 0.3))
    graph = direp.Graph.complete(1, 1, 1)
    matrix = np.where(graph.adjacency(), 1.0, 0.0)
    net = direp.Network(graph, direp.Rate(steep), matrix, leak=1.0, dtype=jnp.float32)
    assert System.of(net).gain == float(np.float32(0.3)) > 0.3
    assert System.of(net.astype(jnp.float64)).gain == 0.3
    # A pair that amplifies by a hair more than it leaks: 0.3 in 32 bits is more than in 64.
    weight = np.float32(1) / np.float32(0.3)
    leak = np.float64(weight) * 0.3
    assert np.float64(weight) * np.float64(np.float32(0.3)) > np.float32(leak + 2e-8)
    net = direp.Network(graph, direp.Rate(steep), matrix * weight, leak=np.float32(leak + 2e-8), dtype=jnp.float32)
    assert not direp.certify(net, starts=0)

    wide, sharp = network("projected", "none").astype(jnp.float32), direp.CrossEntropy(0.3)
    taken = System.of(wide, direp.OneSided(1.0), sharp).feedback(1.0, np.ones(wide.graph.free)).max()
    assert taken >= float(np.float32(0.3)) ** 2 / 4


def test_a_fading_nudge_stays_within_the_ends_that_are_certified():
    rng = np.random.default_rng(0)
    beta = jax.jit(lambda start, end, update: direp.Fading(start, end, 100).now(update, None).beta)
    for start, end in rng.lognormal(0, 2, (200, 2)).astype(np.float32):
        for update in (0, 1, 99, 100, 150):
            assert min(start, end) <= beta(start, end, np.int32(update)) <= max(start, end)


# What a run is told.

LAYERS = direp.Graph.layered([2, 3, 1])
MOVING = {
    "sgd": (lambda: optax.sgd(0.05), True),
    "rmsprop": (lambda: optax.rmsprop(1e-3), True),
    "clipped": (lambda: optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.1)), True),
    "momentum": (lambda: optax.sgd(0.05, momentum=0.9), False),
    "adam": (lambda: optax.adam(0.05), False),
    "decay": (lambda: optax.chain(optax.add_decayed_weights(1e-4), optax.sgd(0.05)), False),
}


@pytest.mark.usefixtures("_optax")
@pytest.mark.parametrize("name", MOVING)
def test_an_optimiser_is_tried_for_the_signs_that_a_guarantee_needs(name):
    make, keeps = MOVING[name]
    parameters = direp.Network(LAYERS, direp.Rate("tanh"), key=jax.random.key(0)).parameters
    assert keeps_signs(RecordedOptimiser.of(make(), parameters), parameters) == keeps


@pytest.mark.usefixtures("_optax")
def test_a_run_says_what_its_guarantee_and_its_control_cover():
    net, cost = direp.Network(LAYERS, direp.Rate("tanh"), key=jax.random.key(0)), direp.SquaredError()
    small, inside = direp.Local(direp.Centred(0.01)), direp.SignSymmetric()
    plain = RecordedOptimiser.of(optax.sgd(0.05), net.parameters)
    one, other = of_guarantee(inside, small, phases_of(small, net), net, plain)
    assert "this run uses it at beta=+0.01 and beta=-0.01" in one
    assert "all updates of the optimiser were opposite" in other
    assert of_constraint(inside, phases_of(small, net), cost, net) == ()
    settings = {"rule": direp.AsymEP(0.01), "optimiser": optax.adam(0.05), "epochs": 1}
    run = direp.fit(net, direp.tasks.xor(), guarantee=inside, **settings)
    one, other, third = run.assumptions
    assert one.startswith("SignSymmetric says nothing about AsymEP")
    assert "those of the optimiser were not" in other
    assert third.startswith(
        "SignSymmetric keeps the free phase certified at the rate 0.1, but not the phases AsymField"
    )
    assert all(sentence in html.unescape(run._repr_html_()) for sentence in run.assumptions)


def test_a_control_says_which_phases_take_more_than_it_keeps():
    net, cost = network("projected", "none"), direp.CrossEntropy()
    for control, beta, open_ in (
        (direp.LeakController(0.3), 1.0, False),
        (direp.LeakController(0.2), 1.0, True),
        (direp.LeakController(0.3, criterion=direp.Perron()), 1.0, True),  # its weights may be uneven
        (direp.LeakController(0.1), -0.2, True),
    ):
        for rule in (direp.Local(beta), direp.AsymEP(beta)):
            said = of_constraint(control, phases_of(rule, net, cost), cost, net)
            assert bool(said) == open_
            assert not open_ or f"beta={beta:+g}, which can take" in said[0]


# At the door.


@pytest.mark.usefixtures("_optax")
def test_what_no_state_can_begin_with_is_refused_or_reported():
    net = network("projected", "none").astype(jnp.float32)
    x, y = data(net.graph)
    for state, start in ((np.nan, x), (0.5, np.full_like(x, np.nan))):
        states = np.full((3, net.graph.free), state)
        assert not direp.settle(net, start, state=states).converged.any()
        assert not direp.estimate(net, start, y, direp.Local(), state=states).used.any()
    settings = {"rule": direp.Local(), "optimiser": optax.sgd(0.1), "epochs": 1}
    xor = direp.tasks.from_arrays(np.repeat(x, 20, 0), np.repeat(y, 20, 0), kind="regression")
    with pytest.raises(ValueError, match=r"fit\(start=\(nan, 1\.0\)\) must be two finite numbers"):
        direp.fit(net, xor, start=(np.nan, 1.0), **settings)
    x[1, 0] = 1e39
    part = direp.tasks.Samples(x, y)
    large = direp.tasks.Task("large", part, part, part, kind="regression", whole=True)
    with pytest.raises(ValueError, match=r"x\[1, 0\] of train in task 'large' is 1e\+39, which float32 cannot hold"):
        direp.fit(net, large, **settings)
