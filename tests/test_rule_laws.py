"""Every rule, alone and within and beside every other, keeps the laws of `direp.testing`."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import direp
from direp.rules import Learned, parameters_of, phases_of
from direp.testing import check_cost, check_nudge, check_rule

SMALL = direp.Centred(1e-3)
RULES = {
    "local": direp.Local(SMALL),
    "random sign": direp.Local(direp.RandomSign(0.01)),
    "trajectory": direp.Trajectory(0.5),
    "vector field": direp.VectorField(SMALL),
    "symmetric": direp.SymmetricEP(SMALL),
    "asymmetric": direp.AsymEP(SMALL),
    "dyadic": direp.Dyadic(),
    "adjoint": direp.Adjoint(),
    "bptt": direp.BPTT(50),
    "homeostasis": direp.Homeostasis(direp.Local(SMALL), 0.1),
    "safeguard": direp.Safeguard(direp.Trajectory(0.5), direp.Dyadic()),
}


@pytest.mark.parametrize("name", RULES)
def test_rules(name):
    check_rule(RULES[name], direp.Projected("signed") if name != "safeguard" else direp.Rate(direp.activation.tanh))


@pytest.mark.parametrize("cost", [direp.SquaredError(), direp.CrossEntropy(), direp.CrossEntropy(2.0)], ids=repr)
def test_costs(cost):
    check_cost(cost)


@pytest.mark.parametrize(
    "nudge", [direp.OneSided(0.3), direp.Centred(-0.2), direp.RandomSign(0.1), direp.Fading(1.0, 0.1, 10)], ids=repr
)
def test_nudges(nudge):
    check_nudge(nudge)


class Mirrored(direp.rules.AbstractRule):
    """Learns a copy of its own responses: only to see that what a rule learns is treated like weights."""

    own: Learned = Learned(lambda network, key: jax.random.normal(key, (network.graph.free,), network.dtype))
    nudge: direp.OneSided = direp.OneSided(0.5)

    def estimate(self, problem, key):
        response = problem.nudge(self.nudge, key)
        used = response.settled & problem.valid
        change = response.difference("rate")
        gradient = problem.gradient(change, change, used)
        mean = jnp.where(used[:, None], change, 0).sum(0) / problem.count(used)
        return problem.estimate(gradient._replace(rule=(self.own.value - mean,)), used, response.phases)


def test_a_rule_learns_parameters_of_its_own_within_other_rules_too():
    check_rule(Mirrored())
    net = direp.testing.rules.example()
    both = direp.Safeguard(direp.Homeostasis(Mirrored(), 0.1), Mirrored())
    ready = direp.rules.initialise(both, net, jax.random.key(1))
    one, two = parameters_of(ready)
    assert one.shape == two.shape == (net.graph.free,)
    assert not np.array_equal(one, two)
    x, y = direp.testing.rules.batch(net)
    found = direp.estimate(net, x, y, ready, key=jax.random.key(2))  # Homeostasis asks for a key
    asked, idle = found.gradient.rule[:: -1 if found.fell_back else 1]
    assert np.abs(asked).max() > 0
    assert np.abs(idle).max() == 0  # only the rule that was asked learns
    again = direp.rules.with_parameters(ready, jax.tree.map(jnp.zeros_like, parameters_of(ready)))
    assert not any(np.any(leaf) for leaf in parameters_of(again))


def test_a_rule_that_forgets_the_gradient_of_what_it_learns_is_refused():
    class Forgets(Mirrored):
        def estimate(self, problem, key):
            return eqx.tree_at(lambda e: e.gradient.rule, super().estimate(problem, key), ())

    net = direp.testing.rules.example()
    x, y = direp.testing.rules.batch(net)
    with pytest.raises(ValueError, match="Forgets holds parameters that it learns itself"):
        direp.estimate(net, x, y, Forgets())


def test_a_cost_without_enclosures_trains_and_proofs_refuse_it_by_name():
    class Quartic(direp.AbstractCost):
        curvature = 3.0

        def value(self, rate, y):
            return ((rate - y) ** 4).sum(-1) / 4

        def gradient(self, rate, y):
            return (rate - y) ** 3

    check_cost(Quartic())
    net = direp.testing.rules.example()
    x, y = direp.testing.rules.batch(net)
    assert direp.estimate(net, x, y, direp.Local(), cost=Quartic()).used.all()
    assert direp.certify(net, cost=Quartic())  # the free phase knows no cost
    nudged = direp.certify(net, nudge=SMALL, cost=Quartic(), starts=0)
    assert nudged.verdict == "undecided"
    assert "Quartic.feedback" in nudged.reason
    with pytest.raises(ValueError, match=r"Quartic.enclose cannot be read"):
        direp.certify_learning(net, x, y, direp.Local(0.1), cost=Quartic())
    task = direp.tasks.from_arrays(np.arange(40.0).reshape(20, 2), np.arange(20) % 2)
    with pytest.raises(ValueError, match=r"Quartic does not bound what the phase at beta=-0.001"):
        direp.fit(net, task, rule=direp.Local(SMALL), optimiser=optax.sgd(0.1), cost=Quartic(),
                  control=direp.LeakController(0.1))  # fmt: skip


def test_broken_parts_are_caught():
    class Half(direp.SquaredError):
        def gradient(self, rate, y):
            return (rate - y) / 2

    class Counts(direp.rules.AbstractRule):
        def estimate(self, problem, key):
            everything = jnp.ones_like(problem.valid)  # padding too
            found = direp.Local(SMALL).estimate(problem, key)
            lost = problem.gradient(problem.free.state, problem.free.state, everything)
            return problem.estimate(jax.tree.map(jnp.add, found.gradient, lost), found.used, found.nudged)

    class Doubled(direp.OneSided):
        def difference(self, free, nudged):
            return 2 * super().difference(free, nudged)

    for check, part, words in (
        (check_cost, Half(), "derivative of the value"),
        (check_rule, Counts(), "padding"),
        (check_nudge, Doubled(0.1), "slope in beta"),
    ):
        with pytest.raises(AssertionError, match=words):
            check(part)


@pytest.mark.usefixtures("_optax")
def test_training_changes_what_a_rule_learns_as_plain_optax_would():
    nets = [direp.testing.rules.example(), direp.testing.rules.example()]
    x, y = direp.testing.rules.batch(nets[0])
    task = direp.tasks.Task("batch", *[direp.tasks.Samples(np.asarray(x), np.asarray(y))] * 3, kind="regression")
    optimiser = optax.adamw(0.05, weight_decay=0.1)
    for control in (None, direp.LeakController(0.1)):
        run = direp.fit(nets, task, rule=Mirrored(), optimiser=optimiser, epochs=3, keep="last", control=control)
        one, other = (rule.own.value for rule in run.rules)
        assert np.abs(one - other).max() > 0.1  # every seed draws its own
    run = direp.fit(nets, task, rule=Mirrored(), optimiser=optimiser, epochs=3, keep="last", warm=False)
    start = jax.random.fold_in(jax.random.key(1), np.iinfo(np.int32).max - 1)
    rule = direp.rules.initialise(Mirrored(), nets[1], start)
    parameters = nets[1].parameters._replace(rule=parameters_of(rule))
    mask = direp.training.trainable(nets[1])
    whole = optax.chain(mask, optimiser, mask)
    state = whole.init(parameters)
    for _ in range(3):
        now = direp.rules.with_parameters(rule, parameters.rule)
        found = direp.estimate(nets[1].replace(parameters), x, y, now)
        updates, state = whole.update(found.gradient, state, parameters)
        parameters = optax.apply_updates(parameters, updates)
    np.testing.assert_allclose(run.rules[1].own.value, parameters.rule[0], rtol=1e-9)
    np.testing.assert_allclose(run.networks[1].bias, parameters.bias, rtol=1e-9, atol=1e-12)


def test_a_nudge_whose_strength_is_learned_or_computed_is_no_fixed_phase():
    class Own(direp.rules.AbstractRule):
        beta: Learned = Learned(lambda network, key: jnp.full((), 0.5, network.dtype))

        def strength(self, problem):
            return self.beta.value

        def estimate(self, problem, key):
            response = problem.nudge(direp.OneSided(self.strength(problem)), key)
            used = response.settled & problem.valid
            change = response.difference("rate")
            gradient = problem.gradient(change, change, used)._replace(rule=(jnp.zeros_like(self.beta.value),))
            return problem.estimate(gradient, used, response.phases)

    class OfBatch(Own):
        def strength(self, problem):
            return 0.1 + problem.y.mean()

    net = direp.testing.rules.example()
    ready = direp.rules.initialise(Own(), net, jax.random.key(0))  # has a value, which training will change
    for rule in (Own(), OfBatch(), ready):
        assert phases_of(rule, net)[:3] == ((), (), {"OneSided": "its strength is learned, or computed from the batch"})
        certificate = direp.certify(net, rule=rule)
        assert certificate.verdict == "undecided"
        assert "nothing covers the phases of OneSided" in certificate.reason
    assert phases_of(direp.Local(direp.Centred(jnp.asarray(0.1))), net).others == {}


@pytest.mark.parametrize("updates", [0, -5])
def test_a_nudge_that_fades_over_no_update_is_refused(updates):
    with pytest.raises(ValueError, match=rf"Fading\(updates={updates}\) must be above 0"):
        direp.Fading(1.0, 0.1, updates)
