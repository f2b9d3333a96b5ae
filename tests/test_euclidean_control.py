"""Controls in the Euclidean norm: what they keep is proved, what leaks add to a gradient is their derivative."""

import dataclasses
import os
from unittest import mock

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import LAYOUTS, NEURONS, OUTFLOWS, flat, network
from hypothesis import given, settings
from hypothesis import strategies as st
from resume_cases import Ended, fit, gone, same

import direp
from direp.model.activation import Activation
from direp.program.build import Parts, load_task
from direp.program.catalogue import WrongUse
from direp.program.presets import preset
from direp.rules import Companions
from direp.runs import RunFolder
from direp.training import constrain
from direp.training.spectrum import BOX, ROUND, SECTOR, form_of, proved_rate

CONTROLS = {"leaks": lambda: direp.EuclideanLeaks(0.2, 0.05), "weights": lambda: direp.EuclideanProjection(0.2)}
SWINGING = Activation("swinging", jnp.sin, (-1, 1), (-1, 1))
CASES = [(neuron, layout, OUTFLOWS[k % 3]) for k, (neuron, layout) in enumerate(
    zip(NEURONS, ["dense", "sparse", "layered", "sparse", "dense"], strict=True)
)]  # fmt: skip


def exact_rate(net):
    """The best rate that equal norm weights and one multiplier give, by 64-bit eigenvalues."""
    matrix = np.asarray(net.matrix, np.float64)[net.graph.inputs :]
    coupling, leak = matrix.T if net.neuron.transfer.linear else matrix, np.asarray(net.total_leak(), np.float64)
    unit, form = np.eye(len(leak)), form_of(net)
    if form == BOX:
        return np.linalg.eigvalsh(np.diag(leak) - (coupling + coupling.T) / 2)[0]
    coupling = net.neuron.gain * coupling
    rates = []
    for level in np.geomspace(0.02, 20, 150):
        moved = coupling + level * unit
        square = (
            moved @ moved.T / (4 * level) if form == SECTOR else level / 2 * unit + coupling @ coupling.T / (2 * level)
        )
        rates.append(np.linalg.eigvalsh(np.diag(leak) - square)[0])
    return max(rates)


@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize(("neuron", "layout", "outflow"), CASES)
def test_after_large_updates_and_the_end_of_an_epoch_it_is_proved(control, neuron, layout, outflow):
    """Whatever the estimates have missed, the proof has not: what it says is so, and what falls short is mended."""
    made, layout = CONTROLS[control](), LAYOUTS[layout]()
    graph = "complete" if layout is None else layout.graph
    net = made.begin(network(neuron, outflow, graph, layout=layout))
    wrapped = constrain(optax.identity(), made, net)

    @jax.jit
    def epoch(params, state, key):
        def one(now, key):
            keys = iter(jax.random.split(key, 20))
            updates = jax.tree.map(lambda leaf: 0.5 * jax.random.normal(next(keys), leaf.shape), now[0])
            updates = updates._replace(weight=net.synapses.mask(updates.weight), leak=jnp.zeros_like(net.leak))
            updates, state = wrapped.update(updates, now[1], now[0])
            return (optax.apply_updates(now[0], updates), state), None

        (params, state), _ = jax.lax.scan(one, (params, state), jax.random.split(key, 3))
        held = net.replace(params), state.constraint, ()
        margins, rounding = (of(*held).min()[None] for of in (made.margin_of, made.rounding_of))
        return params, made.confirm(*held, margins, rounding)

    params, state = net.parameters, jax.jit(wrapped.init)(net.parameters)
    for seed in range(3):
        before, found = epoch(params, state, jax.random.key(seed))
        before, after = net.replace(before), net.replace(found.parameters)
        params = found.parameters
        assert float(found.lowest) <= exact_rate(before) + 3e-3  # the grid of multipliers is no finer
        assert exact_rate(after) > 0.2 - 3e-3
        assert float(found.margin) > 0.2 - 1e-9
        if control == "leaks":
            assert (np.asarray(after.leak) > 0.05 - 1e-12).all()
        else:
            assert (np.asarray(after.leak) == np.asarray(net.leak)).all()


@settings(max_examples=10)
@given(st.integers(0, 10_000), st.sampled_from(list(NEURONS)), st.floats(0.05, 3.0))
def test_no_rate_is_proved_that_is_not_so_and_little_is_lost_in_32_bits(seed, neuron, level):
    net = network(neuron, OUTFLOWS[seed % 3], seed=seed, scale=0.5).astype(np.float32)
    proved, exact = float(proved_rate(net, jnp.float32(level))), exact_rate(net)
    assert proved <= exact + 3e-3
    if form_of(net) == BOX:
        assert proved <= exact
        assert proved > exact - 1e-3


def test_where_the_vectors_have_missed_what_grows_the_network_is_mended_and_the_guard_grows():
    net = network("projected", "none", scale=0.6, leak=0.1)
    for make in CONTROLS.values():
        control = make()
        net = control.begin(net)
        state = jax.jit(control.init)(net)
        wrong = net.replace(net.parameters._replace(weight=jax.tree.map(lambda w: 1.3 * w, net.weight)))
        confirm = jax.jit(lambda control, *held: control.confirm(*held, jnp.array([0.2]), jnp.array([0.0])))
        found = confirm(control, wrong, state, ())
        assert float(found.lowest) < 0.2
        assert bool(found.certified) == (float(found.lowest) > 0)  # of what the updates have left
        assert float(found.state.guard) == 2 * float(state.guard)
        assert direp.certify(wrong.replace(found.parameters), criteria=(direp.Spectral(),), starts=0).rate > 0.2 - 1e-6


@pytest.mark.parametrize("neuron", ["projected", "hopfield-sigmoid", "rate-tanh", "swinging"])
@pytest.mark.parametrize("held", ["weights", "companions", "fixed companions"])
def test_what_held_leaks_add_to_the_gradient_is_their_derivative(neuron, held):
    outflow = "signed" if held == "weights" else "none"
    net = network("projected", outflow, scale=0.5)
    if neuron == "swinging":
        net = direp.Network(net.graph, direp.Hopfield(SWINGING, outflow), net.weight)
        assert form_of(net) == ROUND
    else:
        net = direp.Network(net.graph, NEURONS[neuron](outflow), net.weight)
    control, rng = direp.EuclideanLeaks(0.5, 0.0), np.random.default_rng(0)
    feedback = () if held == "weights" else (1.5 * net.weight.recurrent,)

    @jax.jit
    def leaks(weight, feedback):
        near = net.replace(net.parameters._replace(weight=weight))
        state = control.init(near, feedback)
        return control.inside(near, state.needed, feedback)[0].leak

    share = jnp.asarray(rng.normal(size=net.leak.shape))
    begun = net.replace(net.parameters._replace(leak=leaks(net.weight, feedback)))
    beside = tuple(Companions(each, held == "companions") for each in feedback)
    zero = jax.tree.map(jnp.zeros_like, net.parameters)._replace(leak=share)
    extra = control.gradient(begun, control.init(begun, feedback), zero, beside).weight
    step = net.synapses.mask(jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), net.weight))
    moved = [jax.tree.map(lambda w, d, h=h: w + h * d, net.weight, step) for h in (1e-5, -1e-5)]
    companions = [tuple(each + h * step.recurrent for each in feedback) for h in (1e-5, -1e-5)]
    if held == "fixed companions":
        companions = [feedback, feedback]
    up, down = (share @ leaks(*pair) for pair in zip(moved, companions, strict=True))
    slope = float(up - down) / 2e-5
    assert abs(flat(extra) @ flat(step) - slope) < 1e-5 * (1 + abs(slope))


def test_it_allows_several_times_what_sizes_allow():
    graph = direp.Graph.complete(2, 40, 2)
    net = direp.Network(graph, direp.Projected(), direp.Normal(0.3), key=jax.random.key(0))
    kept = {
        control: np.abs(np.asarray(control.begin(net).weight.recurrent)).sum()
        for control in (direp.EuclideanProjection(0.1), direp.WeightProjection(0.1, direp.Perron()))
    }.values()
    one, other = kept
    assert one > 3 * other


@pytest.mark.usefixtures("_optax")
def test_seeds_side_by_side_are_proved_after_every_epoch_and_go_on_to_the_same_bits(tmp_path):
    control = direp.EuclideanLeaks(0.1, 0.2)
    folder, writes = tmp_path / "run", iter(range(100))
    whole = fit(tmp_path / "whole", control=control, epochs=2)
    assert whole.history["certified"].all()
    assert (whole.history["margin"] > 0.1 - 1e-6).all()
    put = os.replace

    def ending(source, target):
        if next(writes) == 5:
            raise Ended
        put(source, target)

    with mock.patch("os.replace", ending), mock.patch.object(RunFolder, "__exit__", gone), pytest.raises(Ended):
        fit(folder, control=control, epochs=2)
    fit(folder, control=control, epochs=2)
    same(folder, tmp_path / "whole")
    for net in whole.networks:
        assert direp.certify(net, criteria=(direp.Spectral(),), starts=0).verdict == "proved"


def test_settings_name_it():
    known = preset("digits", "complete")
    for control, kind in (("leak", direp.EuclideanLeaks), ("weights", direp.EuclideanProjection)):
        settings = dataclasses.replace(known, control=control, norm="euclidean")
        made = Parts(settings, load_task(settings)).control
        assert type(made) is kind
        assert float(made.margin) == known.margin
    with pytest.raises(WrongUse, match="--control loops finds a norm of its own"):
        dataclasses.replace(known, control="loops", norm="euclidean").check()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: direp.EuclideanLeaks(0.0), r"EuclideanLeaks\(margin=0.0\)"),
        (lambda: direp.EuclideanLeaks(0.1, -1.0), "floor=-1.0"),
        (lambda: direp.EuclideanProjection(0.1, vectors=0), "vectors"),
        (lambda: direp.EuclideanProjection(0.1).begin(curved()), "curved on both sides"),
        (lambda: direp.EuclideanLeaks(0.1).begin(unknown()), "no slope bounds"),
    ],
)
def test_wrong_use_is_refused_in_words(make, message):
    with pytest.raises(ValueError, match=message):
        make()


class Both(direp.model.AbstractNeuron):
    transfer: Activation = eqx.field(static=True)
    rate: Activation = eqx.field(static=True)
    outflow: direp.model.Outflow = eqx.field(static=True)
    low: None = None
    high: None = None


def curved():
    tanh = Activation.of("tanh")
    return direp.Network(
        direp.Graph.complete(1, 2, 1), Both(tanh, tanh, direp.model.OUTFLOWS["none"]), np.zeros((4, 3))
    )


def unknown():
    without = Activation("without", jnp.sin, (-1, 1), None)
    return direp.Network(direp.Graph.complete(1, 2, 1), direp.Hopfield(without), np.zeros((4, 3)))
