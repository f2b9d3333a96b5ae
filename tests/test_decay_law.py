"""Learned companions come to agree with their partners, by the law of decay; fixed ones stay."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import network, noise

import direp
from direp.program.build import Parts, load_task
from direp.program.catalogue import names
from direp.program.presets import preset
from direp.rules import companions, initialise, parameters_of, with_companions
from direp.training import constrain


def steps_of(net, rule, optimiser, control, count=40, seed=0):
    """Random gradients through a control: parameters after each update."""
    transform = constrain(optimiser, control, net) if control is not None else optimiser
    own = parameters_of(initialise(rule, net, jax.random.key(seed)))
    begun, feedback = (net, [node.recurrent for node in companions(own)])
    if control is not None:
        begun, feedback = control.begin_with(net, tuple(feedback))
    first = begun.parameters._replace(rule=with_companions(own, feedback))
    rng = np.random.default_rng(seed)

    def one(carry, drawn):
        parameters, state = carry
        weight = net.synapses.mask(drawn.weight)
        gradient = drawn._replace(weight=weight, rule=with_companions(own, [weight.recurrent]))
        updates, state = transform.update(gradient, state, parameters)
        return (optax.apply_updates(parameters, updates), state), parameters

    draw = lambda leaf: jnp.asarray(rng.normal(0, 1, (count, *leaf.shape)), leaf.dtype)  # noqa: E731
    drawn = jax.tree.map(draw, begun.parameters)
    last = jax.jit(lambda carry: jax.lax.scan(one, carry, drawn))((first, transform.init(first)))[0][0]
    return first, last


def decayed(inner, eta, decay):
    """An optimiser with decoupled decay of weights and companions."""

    def mask(params):
        rule = with_companions(
            params.rule, [jax.tree.map(lambda _: True, c.recurrent) for c in companions(params.rule)]
        )
        return params._replace(weight=True, bias=False, leak=False, rule=rule)

    return optax.chain(inner, optax.add_decayed_weights(decay, mask=mask), optax.scale_by_learning_rate(eta))


OPTIMISERS = {"sgd": optax.identity, "momentum": lambda: optax.trace(0.9), "adam": optax.scale_by_adam}


@pytest.mark.usefixtures("_optax")
@pytest.mark.parametrize("name", OPTIMISERS)
def test_learned_companions_come_to_agree_with_their_partners_at_the_rate_of_the_decay(name):
    net = network("projected", "signed", "random").astype(np.float32)
    rule, eta, decay, count = direp.AsymEP(feedback=direp.LearnedFeedback()), 0.02, 0.5, 40
    for control in (None, direp.LeakController(0.1), direp.LeakController(0.1, criterion=direp.Perron())):
        first, last = steps_of(net, rule, decayed(OPTIMISERS[name](), eta, decay), control, count)
        apart = [np.asarray(p.rule[0].recurrent - p.weight.recurrent) for p in (first, last)]
        assert np.abs(apart[0]).max() > 0.1
        assert np.abs(np.asarray(last.weight.recurrent - first.weight.recurrent)).max() > 0.1
        assert np.allclose(apart[1], apart[0] * (1 - eta * decay) ** count, atol=1e-6)
    first, last = steps_of(net, rule, decayed(OPTIMISERS[name](), eta, decay), direp.WeightProjection(1.0), count)
    apart = [np.asarray(p.rule[0].recurrent - p.weight.recurrent) for p in (first, last)]
    there = np.abs(apart[0]) > 1e-3
    shrunk = np.where(there, apart[1] / np.where(there, apart[0], 1), np.nan)
    # Every unit scales its synapses and their companions by one factor.
    assert np.nanmax(np.nanmax(shrunk, 1) - np.nanmin(shrunk, 1)) < 1e-3
    assert np.nanmax(shrunk) <= (1 - eta * decay) ** count + 1e-5
    assert np.nanmin(shrunk) < 0.9 * (1 - eta * decay) ** count


@pytest.mark.usefixtures("_optax")
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("name", names("optimiser"))
def test_the_law_of_decay_holds_over_a_whole_training_of_the_program(name, momentum):
    """320 updates of every optimiser of the program, cosine schedule, 32 bits, both controls, whatever is learned."""
    slower = 1 - momentum if name == "sgd" else 1.0  # momentum adds up steps, and rounding is that of large weights
    settings = dataclasses.replace(
        preset("xor"), rule="asym-ep", feedback="learned", optimiser=name, momentum=momentum, schedule="cosine",
        learning_rate=0.02 * slower, decay=0.5 / slower, epochs=320,
    )  # fmt: skip
    parts = Parts(settings, load_task(settings))
    schedule = [float(parts.part("schedule")(k)) for k in range(parts.updates)]
    left = np.prod(1 - settings.decay * np.asarray(schedule, np.float64))
    assert (len(schedule), round(left, 2)) == (320, 0.2)
    wide = network("projected", "none", "random", leak=40.0).astype(np.float32)
    tight = network("projected", "signed", "random").astype(np.float32)
    slack = network("projected", "none", "random").astype(np.float32)
    perron = direp.LeakController(0.1, criterion=direp.Perron())
    controls = {
        "leak": (direp.LeakController(0.1), tight), "leak, perron": (perron, tight),
        "weights": (direp.WeightProjection(0.1), wide), "weights, cut": (direp.WeightProjection(1.0), tight),
        "loops": (direp.LoopProjection(0.1), wide), "loops, cut": (direp.LoopProjection(0.5), slack),
    }  # fmt: skip
    for kind, (control, net) in controls.items():
        first, last = steps_of(net, parts.rule, parts.optimiser(), control, parts.updates)
        apart = [np.asarray(p.rule[0].recurrent - p.weight.recurrent, np.float64) for p in (first, last)]
        assert np.abs(apart[0]).max() > 0.1
        assert np.abs(np.asarray(last.weight.recurrent - first.weight.recurrent)).max() > 0.1
        if not kind.endswith("cut"):
            assert np.abs(apart[1] - apart[0] * left).max() < 1e-6, kind
            continue
        assert (np.abs(apart[1]) <= np.abs(apart[0]) * left + 1e-6).all(), kind
        if kind == "weights, cut":  # what a unit's synapses are scaled by, their companions are
            share = (apart[0] * apart[1]).sum(1) / np.maximum((apart[0] ** 2).sum(1), 1e-30)
            assert np.abs(apart[1] - share[:, None] * apart[0]).max() < 1e-6
            assert share.min() < 0.9 * left


@pytest.mark.usefixtures("_optax")
@pytest.mark.parametrize("wrapped", ["homeostasis", "safeguard"])
def test_the_law_of_decay_holds_whatever_rule_is_around_that_of_the_companions(wrapped):
    """No control: what a penalty adds, or another rule learns, is learned by companions too."""
    net, eta, decay, epochs = network("projected", "none", "random").astype(np.float32), 0.05, 0.5, 6
    rule = direp.AsymEP(1.0, feedback=direp.LearnedFeedback())
    if wrapped == "homeostasis":
        rule = direp.Homeostasis(rule, strength=1.0)
    else:
        rule = direp.Safeguard(direp.Local(beta=1.0), rule)

    def after(rate):
        optimiser = decayed(optax.identity(), rate, decay)
        run = direp.fit(net, noise(net.graph), rule=rule, optimiser=optimiser, epochs=epochs, keep="last")
        (own,) = companions(parameters_of(run.rules[0]))
        weight = run.networks[0].weight.recurrent
        return np.asarray(weight), np.asarray(own.recurrent - weight)

    (first, apart), (last, left) = after(0.0), after(eta)
    assert np.abs(last - first).max() > 0.01
    assert np.abs(left - apart * (1 - eta * decay) ** epochs).max() < 1e-6


@pytest.mark.usefixtures("_optax")
def test_fixed_companions_stay_whatever_the_optimiser_does():
    net = network("projected", "none", "random")
    task = noise(net.graph)
    rule = direp.AsymEP(feedback=direp.FixedFeedback())
    runs = [
        direp.fit(net, task, rule=rule, optimiser=optimiser, control=control, epochs=2, batch_size=8)
        for optimiser, control in ((optax.adamw(0.1, weight_decay=0.5), None), (optax.sgd(0.1), direp.LeakController()))
    ]
    drawn = [np.asarray(run.rules[0].feedback.own.value.recurrent) for run in runs]
    assert np.array_equal(*drawn)
    assert np.abs(drawn[0]).max() > 0
