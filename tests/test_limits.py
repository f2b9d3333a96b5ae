"""Signs, bounds and fixed synapses are kept by every update, beside every control, which stays certified."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import optax
import pytest
from cases import LAYOUTS, SOME, network, noise
from extending.layout import Convolution
from hypothesis import given, settings
from hypothesis import strategies as st

import direp
from direp.program import Parts, Settings
from direp.rules import Companions, companions, parameters_of
from direp.training import constrain

CONTROLS = {
    "none": lambda: None,
    "leaks": lambda: direp.LeakController(0.2, 0.1),
    "weights": lambda: direp.WeightProjection(margin=0.2, criterion=direp.Perron()),
    "loops": lambda: direp.LoopProjection(0.2),
}


@eqx.filter_jit
def trained(net, limits, control, companion, updates):
    """Parameters before the first and after every one of some updates, which nobody made small."""
    feedback = (companion,)
    for each in limits if control is None else (*limits, control):
        net, feedback = each.begin_with(net, feedback)
    params = net.parameters._replace(rule=(Companions(feedback[0]),))
    whole = optax.identity()
    for each in limits if control is None else (*limits, control):
        whole = constrain(whole, each, net)

    def step(carry, update):
        moved, state = whole.update(update, carry[1], carry[0])
        after = optax.apply_updates(carry[0], moved)
        return (after, state), after

    _, found = jax.lax.scan(step, (params, whole.init(params)), updates)
    return jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), params, found)


def strengths(net, weight):
    return np.asarray(jax.vmap(net.synapses.strengths)(weight))


@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=3)
@given(seed=st.integers(0, 10_000), size=st.floats(1e-3, 10), single=st.booleans())
def test_limits_hold_after_every_update_in_every_layout_beside_every_control(layout, control, seed, size, single):
    neuron, outflow = SOME[(list(CONTROLS).index(control) + list(LAYOUTS).index(layout)) % len(SOME)]
    place, made = LAYOUTS[layout](), CONTROLS[control]()
    outflow = "none" if control == "loops" else outflow
    net = network(neuron, outflow, "complete" if place is None else place.graph, seed=seed, layout=place)
    graph, rng = net.graph, np.random.default_rng(seed)
    signs = rng.choice([-1, 0, 1], graph.synapses, p=[0.3, 0.2, 0.5]).astype(np.int8)
    low, high = -rng.uniform(0.1, 1, graph.synapses), rng.uniform(0.1, 1, graph.synapses)
    fixed = (rng.random(graph.synapses) < 0.2) & ((graph.source < graph.inputs) | (control in ("none", "leaks")))
    if single:
        net = net.astype(jnp.float32)
    limits = (direp.Dale(signs), direp.Bounds(low, high), direp.FixedSynapses(fixed))
    draw = lambda leaf: jnp.asarray(rng.normal(0, size, (4, *leaf.shape)), leaf.dtype)  # noqa: E731
    companion = jax.tree.map(lambda leaf: draw(leaf)[0], net.weight.recurrent)
    updates = jax.tree.map(draw, net.parameters._replace(rule=(Companions(companion),)))
    updates = updates._replace(weight=jax.vmap(net.synapses.mask)(updates.weight), leak=0 * updates.leak)
    found = trained(net, limits, made, companion, updates)
    beside = found.weight._replace(recurrent=companions(found.rule)[0].recurrent)
    between = graph.source >= graph.inputs
    for each, own in ((found.weight, np.ones_like(between)), (beside, between)):
        values = strengths(net, each)[:, own]
        assert (values * signs[own] >= 0).all()
        assert ((values >= low[own]) & (values <= high[own])).all()
        assert (values[:, fixed[own]] == values[:1, fixed[own]]).all()
    if control in ("none", "leaks"):  # both get one step, and are clipped alike
        apart = np.abs(strengths(net, found.weight)[:, between] - strengths(net, beside)[:, between])
        assert (apart <= apart[:1] + 1e-5 * single + 1e-12).all()
    free = strengths(net, found.weight)[:, ~fixed]
    assert (free[1:] != free[:-1]).any()
    for k in range(5):
        last = net.replace(jax.tree.map(lambda leaf, k=k: leaf[k], found._replace(rule=())))
        if made is not None and k in (0, 4) and not single:
            assert direp.certify(last, starts=0).verdict == "proved"


def test_dale_takes_sizes_with_its_signs_and_without_any_those_that_weights_begin_with():
    net = network("projected", "none")
    before, signs = np.asarray(net.strengths()), np.resize([1, -1, 0], net.graph.synapses)
    begun = np.asarray(direp.Dale(signs).begin(net).strengths())
    assert (begun == np.where(signs == 0, before, signs * np.abs(before))).all()
    assert (np.asarray(direp.Dale().begin(net).strengths()) == before).all()
    of_units = direp.Dale.of_units(net.graph, {"x0": -1, "h1": 1})
    sender = np.array(net.graph.names)[net.graph.source]
    assert (of_units.signs == np.where(sender == "x0", -1, np.where(sender == "h1", 1, 0))).all()
    row = np.array([of_units.signs[net.graph.source == k][0] for k in range(net.graph.units)])
    assert (direp.Dale.of_units(net.graph, row).signs == of_units.signs).all()
    state = direp.Dale().init(net)
    kept = net.replace(net.parameters._replace(weight=jax.tree.map(jnp.negative, net.weight)))
    assert not np.asarray(kept.replace(direp.Dale().project(kept, state)[0]).strengths()).any()


NET = network("projected", "none")
SYNAPSES = NET.graph.synapses
RING = Convolution(inputs=4, hidden=2, outputs=2, width=2)
SHARED = direp.Network(RING.graph, direp.Projected(), direp.FanIn(), layout=RING, key=jax.random.key(0))
APART = np.resize([1, -1], SHARED.graph.synapses)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: direp.Dale(np.full(SYNAPSES, 2)), "must be a row of 1, -1 and 0"),
        (lambda: direp.Dale(np.ones(3)).begin(NET), f"has 3 entries; this graph has {SYNAPSES} synapses"),
        (lambda: direp.Dale.of_units(NET.graph, {"y": 1}), "the graph has no unit 'y'"),
        (lambda: direp.Dale.of_units(NET.graph, [1, 1]), "give 8, one for each unit"),
        (lambda: direp.Dale(APART).begin(SHARED), "differs among synapses that share a strength"),
        (lambda: direp.Bounds(1, -1), "every low must be at most its high"),
        (lambda: direp.Bounds(np.nan, 1), "must be numbers"),
        (lambda: direp.Bounds(np.zeros(2), np.zeros(3)), "have 2 and 3 entries"),
        (lambda: direp.Bounds(np.zeros(2)).begin(NET), "has 2 entries"),
        (lambda: direp.FixedSynapses(np.ones(SYNAPSES)), "give a row of True and False"),
        (lambda: direp.FixedSynapses.between(NET.graph, [("h0", "x0")]), "no synapse h0 -> x0"),
        (lambda: fit((direp.Dale(np.ones(SYNAPSES)), direp.Bounds(-1, -0.1))), "x0 -> h0: Dale and Bounds leave it no"),
        (
            lambda: fit((direp.Bounds(0.1, 1),), control=direp.WeightProjection()),
            "h0 -> h1: WeightProjection scales weights towards 0, which Bounds exclude .0.1 to 1.: use LeakController",
        ),
        (lambda: fit((direp.LeakController(),)), "constraints=...\\) got .*: give limits such as"),
        (lambda: fit((direp.Dale(),), guarantee=direp.SignSymmetric()), "keeps signs and sizes by itself"),
    ],
)
def test_limits_that_cannot_be_are_refused_in_one_line(make, message):
    jaxtyping.config.update("jaxtyping_disable", True)  # as for a user, whose calls no type checker reads
    try:
        with pytest.raises(ValueError, match=message) as found:
            make()
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
    assert "\n" not in str(found.value)


def fit(constraints, **more):
    rule, optimiser = direp.Local(), optax.sgd(0.1)
    return direp.fit(NET, noise(NET.graph), rule=rule, optimiser=optimiser, constraints=constraints, **more)


@pytest.mark.usefixtures("_optax")
@pytest.mark.parametrize("feedback", ["shared", "learned"])
def test_the_program_knows_with_which_network_a_training_within_limits_began(feedback):
    """`direp gradient --when start` looks at it."""
    known = {
        "dale": True,
        "weight_bounds": (-0.2, 0.3),
        "rule": "asym-ep",
        "feedback": feedback,
        "precision": "float64",
    }
    parts = Parts(
        Settings(task="xor", learning_rate=1e-12, epochs=1, keep="last", seeds="3", **known), direp.tasks.xor()
    )
    run = direp.fit(task=parts.task, **parts.fit())
    began, learned = parts.begun(0)
    assert np.abs(np.asarray(parts.network.strengths())).max() > 0.3
    for a, b in zip(
        jax.tree.leaves((began.parameters.weight, learned)),
        jax.tree.leaves((run.network.parameters.weight, parameters_of(run.rule))), strict=True,
    ):  # fmt: skip
        np.testing.assert_allclose(a, b, atol=1e-9)
