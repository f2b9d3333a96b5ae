"""Companions of synapses: what comes back by them, how they learn, and what is proved of the phases that they carry."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import LAYOUTS, SOME, TIGHT, data, gradients, network, noise, with_feedback
from program import call
from safetensors.numpy import load_file
from test_criteria import log_norm
from test_phases import jacobians

import direp
from direp.program.build import Parts
from direp.program.commands.gradient import _networks, _rules
from direp.program.run_folder import keep_networks, new_run, open_run
from direp.program.settings import Settings
from direp.rules import agreement, antisymmetry, companions, feedback_of, initialise, parameters_of, with_companions
from direp.rules.asymmetric import AsymField
from direp.runs import Unreadable, write_arrays
from direp.settling import linearise


def as_weights(rule, net):
    """The rule with companions that are equal to their partners."""
    rule = initialise(rule, net, jax.random.key(0))
    own = with_companions(parameters_of(rule), [net.weight.recurrent])
    return direp.rules.with_parameters(rule, own)


@pytest.mark.parametrize(("neuron", "outflow"), SOME)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_companions_equal_to_their_partners_make_the_exact_rules(neuron, outflow, layout):
    place = LAYOUTS[layout]()
    net = network(neuron, outflow, "complete" if place is None else place.graph, layout=place)
    x, y = data(net.graph)
    nudge, learned = direp.Centred(0.05), direp.LearnedFeedback()
    pairs = [
        (direp.AsymEP(nudge), as_weights(direp.AsymEP(nudge, feedback=learned), net)),
        (direp.Dyadic(), as_weights(direp.Dyadic(learned), net)),
    ]
    found = gradients(net, x, y, [rule for pair in pairs for rule in pair])
    for shared, apart in zip(found[::2], found[1::2], strict=True):
        for one, other in zip(jax.tree.leaves(shared), jax.tree.leaves(apart._replace(rule=())), strict=True):
            assert np.allclose(one, other, rtol=1e-9, atol=1e-12)
        (own,) = companions(apart.rule)
        for one, other in zip(jax.tree.leaves(own), jax.tree.leaves(apart.weight.recurrent), strict=True):
            assert np.array_equal(one, other)


@pytest.mark.parametrize(("neuron", "outflow"), SOME)
def test_what_comes_back_solves_the_adjoint_equation_of_the_companions(neuron, outflow):
    """Against dense algebra: (psi' M phi' - Lambda) a = dC/ds on the units that no bound holds."""
    net = network(neuron, outflow, "random", seed=2)
    x, y = data(net.graph)
    dyadic, matrix = with_feedback(direp.Dyadic(direp.FixedFeedback(0.7)), net)
    asym, same = with_feedback(direp.AsymEP(direp.Centred(1e-3), feedback=direp.LearnedFeedback(0.7)), net)
    assert np.array_equal(matrix, same)
    exact, nudged = gradients(net, x, y, [dyadic, asym])
    settled = direp.settle(net, x, stop=TIGHT)
    field = net.field(jnp.asarray(x))
    linear = linearise(field, settled.state, settled.drive)
    bias = np.zeros(net.graph.free)
    for k in range(len(x)):
        active = np.asarray(linear.active[k])
        rate, transfer = np.asarray(linear.rate_slope[k]), np.asarray(linear.transfer_slope[k])
        square = rate[:, None] * matrix * transfer - np.diag(net.total_leak())
        error = np.zeros(net.graph.free)
        error[net.graph.hidden :] = np.asarray(net.outputs(settled.state)[k] - y[k])
        a = np.zeros(net.graph.free)
        a[active] = np.linalg.solve(square[np.ix_(active, active)], (rate * error)[active])
        bias -= transfer * a / len(x)
    assert np.allclose(exact.bias, bias, rtol=1e-8, atol=1e-10)
    assert np.allclose(nudged.bias, bias, rtol=1e-4, atol=1e-5)
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(exact.rule))


@pytest.mark.usefixtures("_optax")
@pytest.mark.parametrize("feedback", [direp.LearnedFeedback(2.0), direp.FixedFeedback(2.0)], ids=["learned", "fixed"])
@pytest.mark.parametrize("control", ["leak", "perron", "projection"])
def test_a_control_keeps_the_phases_of_feedback_certified(control, feedback):
    """Companions begin with twice the spread of the weights: alone, the weights' certificate would not cover them."""
    graph = direp.Graph.random(2, 6, 2, density=0.4, reciprocity=0.0, seed=1)
    net = direp.Network(graph, direp.Projected(), direp.FanIn(1.5, 1.5), leak=1.0, key=jax.random.key(3))
    rule = direp.AsymEP(1.0, feedback=feedback)
    made_ = {
        "leak": direp.LeakController(0.1),
        "perron": direp.LeakController(0.1, criterion=direp.Perron()),
        "projection": direp.WeightProjection(0.1, criterion=direp.Perron()),
    }[control]
    alone = made_.begin(net)
    drawn, _ = with_feedback(rule, alone)
    assert direp.certify(alone, starts=0)
    assert not direp.certify(alone, rule=drawn, starts=0, criteria=(made_.criterion,))
    task = noise(graph)
    run = direp.fit(
        net, task, rule=rule, optimiser=optax.adamw(0.05, weight_decay=0.1), control=made_, epochs=2, batch_size=8
    )
    assert run.assumptions == ()
    assert run.history["certified"].all()
    certificate = direp.certify(run.networks[0], rule=run.rules[0], starts=0, criteria=(made_.criterion,))
    assert certificate
    assert set(certificate.phases) == {"free", "AsymField beta=+1"}
    assert min(certificate.phases.values()) >= 0.1 - 1e-4


@pytest.mark.parametrize(("neuron", "outflow"), [case for case in SOME if not case[0].startswith("hopfield")])
def test_no_jacobian_of_a_phase_with_feedback_expands_in_the_norm_of_its_certificate(neuron, outflow):
    net, nudge, reached = network(neuron, outflow, scale=0.12, leak=2.5), direp.Centred(0.04), 0
    for rule in (direp.AsymEP(nudge, feedback=direp.LearnedFeedback()), direp.Dyadic(direp.FixedFeedback())):
        drawn, _ = with_feedback(rule, net, 4)
        weight = feedback_of(drawn)[0].weight(net)
        x, y = data(net.graph, batch=1)
        rng = np.random.default_rng(0)
        field = net.field(jnp.asarray(x))
        free = net.neuron.clip(jnp.asarray(rng.normal(0.5, 1.0, (1, net.graph.free))))
        linear = linearise(field, free, field.drive(free), weight)
        states = jnp.asarray(rng.normal(0.5, 1.5, (20, net.graph.free)))
        active = np.asarray(linear.active[0])
        both = active & active[:, None]
        adjoint = direp.rules.AdjointField(field, linear, jnp.ones_like(free))
        found = {"AdjointField": np.where(both, np.asarray(jacobians(adjoint, states)), -1e3 * np.eye(len(active)))}
        for beta in (0.04, -0.04):
            strength = jnp.asarray(beta)
            asym = AsymField(field, free, field.drive(free), linear, direp.SquaredError(), jnp.asarray(y), strength)
            found[f"AsymField beta={beta:+g}"] = np.asarray(jacobians(asym, states))
        for criterion in (direp.LocalLeak(), direp.Perron(), direp.Symmetric()):
            certificate = direp.certify(net, rule=drawn, criteria=(criterion,), starts=0)
            for name, rate in certificate.phases.items():
                if name != "free":
                    assert max(log_norm(certificate.norms[name], each) for each in found[name]) <= -rate + 1e-9, name
                    reached += 1
    assert reached >= 6


def test_companions_begin_with_the_spread_of_the_weights_of_their_kind_and_independent_of_them():
    graph = direp.Graph.layered([20, 60, 40, 10])
    net = direp.Network(graph, direp.Projected(), direp.FanIn(1.0, 0.2), key=jax.random.key(0))
    rule, matrix = with_feedback(direp.AsymEP(feedback=direp.LearnedFeedback(0.5)), net)
    weight = np.asarray(net.matrix)[20:]
    for source, target in ((slice(0, 60), slice(60, 100)), (slice(60, 100), slice(0, 60))):
        one, other = weight[source, target], matrix[source, target]
        assert np.isclose(other.std(), 0.5 * one.std(), rtol=0.1)
        assert abs((one * other).mean()) < 0.1 * one.std() * other.std()
    assert (matrix[weight == 0] == 0).all()
    assert abs(float(agreement(net, rule.feedback.own.value.recurrent))) < 0.1


def test_wrong_feedback_is_refused_in_words():
    with pytest.raises(ValueError, match="LearnedFeedback\\(scale=-1"):
        direp.LearnedFeedback(-1.0)
    with pytest.raises(ValueError, match="FixedFeedback\\(scale=0"):
        direp.FixedFeedback(0.0)
    net = network("projected", "none")
    with pytest.raises(ValueError, match="feedback has no strengths yet"):
        direp.LearnedFeedback().weight(net)


def test_a_phase_by_companions_that_are_not_drawn_yet_is_not_certified():
    net = network("projected", "none", scale=0.1, leak=3.0)
    for rule in (direp.AsymEP(0.1, feedback=direp.LearnedFeedback()), direp.Dyadic(direp.FixedFeedback())):
        found = direp.certify(net, rule=rule, starts=0)
        assert found.verdict == "undecided"
        assert "the strengths of the feedback by which it sends back are not known" in found.uncovered[0]
        assert found.phases["free"] > 0
        assert direp.certify(net, rule=with_feedback(rule, net)[0], starts=0)
    several = direp.Safeguard(direp.Dyadic(direp.LearnedFeedback()), direp.AsymEP(0.1, feedback=direp.FixedFeedback()))
    several = initialise(several, net, jax.random.key(0))
    assert len(direp.certify(net, rule=several, starts=0).uncovered) == 2


@pytest.mark.parametrize("control", [direp.LeakController(0.1), direp.WeightProjection(0.1)], ids=["leaks", "weights"])
def test_learning_under_a_control_that_companions_bind_is_not_called_proved(control):
    net = control.begin(network("projected", "none", "random"))
    x, y = data(net.graph, 2)
    rule = as_weights(direp.AsymEP(direp.Centred(1e-3), feedback=direp.LearnedFeedback()), net)
    assert direp.certify_learning(net, x, y, rule)
    sent = np.abs(np.asarray(net.matrix)[net.graph.inputs :]).sum(1)
    factor = 1.05 * np.min((np.asarray(net.leak) - 0.1)[sent > 0] / sent[sent > 0])  # just beyond the set
    far = with_companions(parameters_of(rule), [factor * net.weight.recurrent])
    bound = direp.rules.with_parameters(rule, far)
    for each in (rule, bound) if isinstance(control, direp.LeakController) else (bound,):
        assert direp.certify_learning(net, x, y, each)
        found = direp.certify_learning(net, x, y, each, control=control)
        assert found.verdict == "undecided"
        assert "companions of synapses" in found.reason or "cuts even the smallest step" in found.reason


@pytest.mark.parametrize(("neuron", "outflow"), [("projected", "none"), ("rate-tanh", "signed")])
def test_what_comes_back_is_as_near_as_the_companions_are(neuron, outflow):
    r"""$\lVert\hat a-a\rVert\le\lVert(B-J^\top)a\rVert/c$ in the certified norm of the phase, by dense algebra."""
    rng, ratios = np.random.default_rng(5), []
    for seed in range(12):
        net = network(neuron, outflow, seed=seed, scale=0.2, leak=2.5)
        rule, matrix = with_feedback(direp.Dyadic(direp.FixedFeedback(0.5)), net, seed)
        certificate = direp.certify(net, rule=rule, starts=0, criteria=(direp.Perron(),))
        assert certificate
        norm, rate = certificate.norms["AdjointField"], certificate.phases["AdjointField"]
        x, _ = data(net.graph, 1, seed)
        settled, field = direp.settle(net, x, stop=TIGHT), net.field(jnp.asarray(x))
        linear = linearise(field, settled.state, settled.drive)
        active = np.flatnonzero(np.asarray(linear.active[0]))
        rates, transfer = np.asarray(linear.rate_slope[0]), np.asarray(linear.transfer_slope[0])
        weight, leak = np.asarray(net.matrix)[net.graph.inputs :], np.diag(net.total_leak())
        both = [(rates[:, None] * each * transfer - leak)[np.ix_(active, active)] for each in (weight, matrix)]
        error = rng.normal(size=len(active))
        a, hat = (np.linalg.solve(each, error) for each in both)
        gap, bound = (np.zeros(net.graph.free) for _ in range(2))
        gap[active], bound[active] = hat - a, (both[0] - both[1]) @ a
        ratios.append(float(norm.length(gap) / (norm.length(bound) / rate)))
    assert max(ratios) <= 1 + 1e-9
    assert max(ratios) > 0.02


def test_companions_get_also_what_a_penalty_or_another_rule_makes_of_their_partners():
    """Else the law of decay would not hold "whatever is learned", but with a control alone."""
    net = network("projected", "none", "random")
    one = direp.AsymEP(0.5, feedback=direp.LearnedFeedback())
    apart = direp.AsymEP(0.5, feedback=direp.FixedFeedback())
    rules = [direp.Homeostasis(one, 0.5), direp.Safeguard(direp.Local(0.5), one), direp.Safeguard(one, apart)]
    x, y = data(net.graph)
    for rule in rules:
        found = direp.estimate(net, x, y, rule, key=jax.random.key(0)).gradient
        own = companions(found.rule)
        assert own
        assert jnp.abs(found.weight.recurrent).max() > 0
        for each in own:
            wanted = found.weight.recurrent if each.learned else jnp.zeros_like(each.recurrent)
            assert np.array_equal(each.recurrent, wanted)


class Half(direp.AbstractFeedback):
    """A user's own: half of every weight, which no control knows."""

    def weight(self, network):
        return jax.tree.map(lambda w: w / 2, network.weight)

    def gradient(self, gradient):
        return gradient


@pytest.mark.usefixtures("_optax")
def test_a_control_says_that_it_does_not_keep_the_phases_of_a_users_own_feedback():
    net, rule = network("projected", "none", "random"), direp.AsymEP(1.0, feedback=Half())
    beside = direp.Safeguard(rule, direp.Dyadic(direp.LearnedFeedback()))
    for each in (rule, beside):
        control = direp.LeakController()
        run = direp.fit(net, noise(net.graph), rule=each, optimiser=optax.sgd(0.1), control=control, epochs=1)
        assert "not the phases AsymField" in run.assumptions[0]
    assert direp.certify(run.networks[0], rule=rule, starts=0)


class Doubled(direp.AbstractFeedback):
    """A user's own: twice the companions of another, while a control keeps the phases of the companions themselves."""

    drawn: direp.AbstractFeedback = direp.LearnedFeedback()

    def weight(self, network):
        return jax.tree.map(lambda m: 2 * m, self.drawn.weight(network))

    def gradient(self, gradient):
        return self.drawn.gradient(gradient)


def test_a_control_keeps_the_phases_of_companions_only_where_they_are_used_as_they_are():
    net = network("projected", "none", "random")
    assert direp.rules.by_companions(direp.AsymEP(1.0, feedback=direp.LearnedFeedback()), net)
    assert direp.rules.by_companions(direp.Safeguard(direp.Local(), direp.AsymEP()), net)
    within = direp.Safeguard(direp.Dyadic(direp.FixedFeedback()), direp.AsymEP(feedback=direp.LearnedFeedback()))
    assert direp.rules.by_companions(within, net)
    assert not direp.rules.by_companions(direp.AsymEP(1.0, feedback=Doubled()), net)
    assert not direp.rules.by_companions(direp.AsymEP(1.0, feedback=Half()), net)


@pytest.mark.usefixtures("_optax")
def test_a_run_folder_keeps_the_companions_of_every_seed(tmp_path):
    options = ("--rule", "asym-ep", "--feedback", "learned", "--companion-scale", "0.5", "--precision", "float64")
    options += ("--seeds", "0,3", "--epochs", "2")
    code, _, err = call("train", "xor", "--preset", "small", *options, "--out", tmp_path / "run", "--quiet")
    assert code == 0, err
    run = open_run(tmp_path / "run")
    again = [np.asarray(companions(parameters_of(rule))[0].recurrent) for rule in run.rules]
    assert np.abs(again[0] - again[1]).max() > 0.01
    fitted = direp.fit(task=run.task, **run.parts.fit())
    for rule, kept in zip(fitted.rules, again, strict=True):
        assert np.allclose(companions(parameters_of(rule))[0].recurrent, kept, atol=1e-9)
    code, out, err = call("certify", tmp_path / "run", "--json", "--quiet")
    assert code == 0, err
    assert "AsymField beta=+6" in json.loads(out)["convergence"]["phases"]
    for at, kept in (("trained", again[1]), ("start", None)):  # what direp gradient measures
        _, (net,), (own,) = _networks(at, run, [1], *run.task.train)
        # Partners get the same steps, so that training leaves their difference as it was.
        matched = np.asarray(own[0].recurrent) - np.asarray(net.weight.recurrent)
        assert np.allclose(matched, again[1] - np.asarray(run.networks[1].weight.recurrent), atol=1e-9)
        rules = _rules(run, 1 if at == "trained" else None, ("asym-ep", "dyadic"), direp.OneSided(1.0), own)
        assert len(rules) == 3
        for rule in rules.values():
            (found,) = companions(parameters_of(rule))
            assert (np.asarray(found.recurrent) == (own[0].recurrent if kept is None else kept)).all()
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())["directed"]
    assert summary["reciprocity"] > 0.5
    pairs = zip(run.networks, again, strict=True)
    assert np.isclose(summary["agreement"], np.mean([agreement(net, jnp.asarray(m)) for net, m in pairs]))
    assert np.isclose(summary["antisymmetry"], np.mean([antisymmetry(net) for net in run.networks]))
    code, _, err = call("train", "xor", "--feedback", "learned", "--out", tmp_path / "no", "--quiet")
    assert code == 2
    assert "use --rule asym-ep" in err


@pytest.mark.usefixtures("_optax")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda own: {}, "the rule learns 1 arrays, and there are 0"),
        (lambda own: {"rule.0": own, "rule.1": own}, "the rule learns 1 arrays, and there are 2"),
        (lambda own: {"rule.0": own[..., :-1]}, "rule.0 is float32 of shape"),
        (lambda own: {"rule.0": own * np.float32(np.nan)}, "rule.0 holds NaN"),
        (lambda own: {"rule.0": own.astype(np.float64)}, "companions are float64, and weights are float32"),
        (lambda own: {"rule.0": own + np.float32(1)}, "companions are not zero where there is no synapse"),
    ],
)
def test_companions_that_do_not_fit_the_network_are_unreadable(change, message, tmp_path):
    """None are drawn in their place, and none carries what no synapse can."""
    settings = Settings(hidden=(3,), rule="asym-ep", feedback="learned")
    parts = Parts(settings, direp.tasks.xor())
    rule = initialise(parts.rule, parts.network, jax.random.key(0))
    with new_run(tmp_path / "run", settings) as folder:
        keep_networks(folder.path, folder, [parts.network], (0,), [rule])
    assert len(open_run(tmp_path / "run").rules) == 1
    held = load_file(tmp_path / "run" / "weights.safetensors")
    write_arrays(tmp_path / "run" / "weights.safetensors", held | change(held.pop("rule.0")), {"format": "direp 2"})
    with pytest.raises(Unreadable, match=message):
        open_run(tmp_path / "run")
