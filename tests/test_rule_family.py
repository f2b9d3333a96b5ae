"""Rules beside `Local`: exact on directed weights, or equal to known ones where they should be."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import NEURONS, OUTFLOWS, SOME, TIGHT, data, estimate, flat, gradients, network, relative

import direp
from direp.rules import antisymmetry, without_penalty
from direp.rules.adjoint import limit_response
from direp.rules.alignment import cosine
from direp.rules.nudge import as_nudge
from direp.settling import linearise

PAIRS = [(neuron, outflow) for neuron in NEURONS for outflow in OUTFLOWS]
SMALL = direp.Centred(1e-4)
EXACT = (direp.AsymEP(SMALL), direp.Dyadic(), direp.BPTT(400))


@pytest.mark.parametrize(("neuron", "outflow"), PAIRS)
def test_asymep_dyadic_and_bptt_equal_the_adjoint_on_directed_weights(neuron, outflow):
    graph = {"none": "complete", "signed": "layered", "absolute": "random"}[outflow]
    net = network(neuron, outflow, graph, scale=0.2)
    x, y = data(net.graph)
    exact, *told = gradients(net, x, y, (direp.Adjoint(), *EXACT))
    for rule, said in zip(EXACT, told, strict=True):
        assert relative(said, exact) < 1e-6, type(rule).__name__


@pytest.mark.parametrize("layout", [direp.Dense, direp.Sparse])
def test_five_hundred_units_and_a_batch_of_64_without_a_jacobian(layout):
    graph = direp.Graph.random(20, 490, 10, density=0.02, seed=1)
    net = network("rate-tanh", "signed", graph, scale=0.3, layout=layout(graph))
    x, y = data(graph, batch=64)
    rules = (direp.AsymEP(SMALL), direp.Dyadic())
    exact, *told = gradients(net, x, y, (direp.Adjoint(dense_up_to=1000), *rules))
    for said in told:
        assert relative(said, exact) < 1e-6
    numbers = 20 * (graph.synapses + 64 * graph.free)  # some arrays of the size of the synapses and of the states
    for rule in rules:
        one_by_one = {"stop": direp.Tolerance(max_steps=50), "method": direp.Preconditioned()}
        compiled = estimate.lower(net, x, y, rule, **one_by_one).compile()
        used = compiled.compiled.memory_analysis().temp_size_in_bytes / 8
        # The Jacobians of the batch would be 64 * 500 * 500 numbers.
        assert used < (numbers if layout is direp.Sparse else numbers + 20 * 520 * 500) < 64 * 500 * 500


@pytest.mark.parametrize("kind", [direp.OneSided, direp.Centred])
def test_the_order_of_asymep_in_beta(kind):
    net = network("hopfield-sigmoid", "absolute", scale=0.3)
    x, y = data(net.graph)
    exact = flat(estimate(net, x, y, direp.Adjoint(), stop=TIGHT).gradient)
    betas = np.array([0.02, 0.04])
    errors = [
        np.linalg.norm(flat(estimate(net, x, y, direp.AsymEP(kind(jnp.array(b))), stop=TIGHT).gradient) - exact)
        for b in betas
    ]
    slope = np.diff(np.log(errors))[0] / np.log(2)
    assert abs(slope - (1 if kind is direp.OneSided else 2)) < 0.1


@pytest.mark.parametrize(("neuron", "outflow"), SOME)
def test_the_limit_of_the_local_rule_from_the_jacobian(neuron, outflow):
    net = network(neuron, outflow, scale=0.2)
    x, y = data(net.graph)
    free = direp.settle(net, x, stop=TIGHT)
    field = net.field(jnp.asarray(x))
    post, back = limit_response(field, free, direp.SquaredError().gradient(net.outputs(free.state), jnp.asarray(y)))
    limit = net.local_gradient(jnp.asarray(x), free.state, post / 3, back / 3)
    assert relative(estimate(net, x, y, direp.Local(SMALL), stop=TIGHT).gradient, limit) < 1e-6
    flow = lambda s: field.flow(s[None], field.drive(s[None]))[0]  # noqa: E731
    expected = jax.jacfwd(flow)(free.state[0])
    held = np.asarray(field.held(free.state, field.flow(free.state, free.drive)))[0]
    assert (
        np.abs(np.asarray(linearise(field, free.state, free.drive).jacobian())[0] - expected)[
            np.ix_(~held, ~held)
        ].max()
        < 1e-12
    )


@pytest.mark.parametrize("outflow", OUTFLOWS)
def test_vector_field_is_local_for_projected_units(outflow):
    net = network("projected", outflow)
    x, y = data(net.graph)
    one, other = gradients(net, x, y, (direp.VectorField(0.3), direp.Local(0.3)))
    assert relative(one, other) < 1e-12


@pytest.mark.parametrize(("neuron", "outflow"), SOME)
def test_symmetric_ep_is_the_gradient_projected_on_symmetric_weights(neuron, outflow):
    net = network(neuron, outflow, scale=0.15, symmetric=True)
    x, y = data(net.graph)
    said, exact = gradients(net, x, y, (direp.SymmetricEP(SMALL), direp.Adjoint()))
    weight = exact.weight.recurrent
    projected = exact._replace(weight=exact.weight._replace(recurrent=(weight + weight.T) / 2))
    assert relative(said, projected) < 1e-6
    assert relative(said.weight.recurrent, said.weight.recurrent.T) < 1e-12


@pytest.mark.parametrize("neuron", ["projected", "hopfield-sigmoid"])
def test_homeostasis_is_the_gradient_of_the_antisymmetric_part(neuron):
    net = network(neuron, "signed", scale=0.3)
    x, y = data(net.graph)
    keys = jax.random.split(jax.random.key(0), 2)
    rule = direp.Homeostasis(direp.Local(), 0.5, probes=4000)
    said = [estimate(net, x, y, rule, stop=TIGHT, key=key).gradient for key in keys]
    alone = estimate(net, x, y, direp.Local(), stop=TIGHT).gradient
    free = direp.settle(net, x, stop=TIGHT)
    field = net.field(jnp.asarray(x))
    slope = net.neuron.rate_slope(free.state)
    held = field.held(free.state, field.flow(free.state, free.drive))

    def penalty(weight):
        square = weight.T * slope[:, None, :]  # of a Projected or Hopfield network, without its diagonal
        square = jnp.where(held[:, :, None] | held[:, None, :], 0, square)
        return 0.5 * jnp.square((square - square.transpose(0, 2, 1)) / 2).sum((1, 2)).mean()

    expected = net.synapses.mask(alone.weight._replace(recurrent=jax.grad(penalty)(net.weight.recurrent))).recurrent
    pull = np.mean([np.asarray(s.weight.recurrent - alone.weight.recurrent) for s in said], 0)
    spread = np.abs(np.asarray(said[0].weight.recurrent - said[1].weight.recurrent)).max()
    assert np.abs(pull - expected).max() < 2 * spread + 1e-3
    assert spread < 0.2 * np.abs(np.asarray(expected)).max()
    assert (np.asarray(said[0].weight.input) == np.asarray(alone.weight.input)).all()


@pytest.mark.usefixtures("_optax")
def test_homeostasis_symmetrises_and_aligns():
    graph, task = direp.Graph.layered([2, 4, 4, 1]), direp.tasks.xor()
    networks = [direp.Network(graph, direp.Rate(direp.activation.tanh), key=jax.random.key(k)) for k in range(4)]
    skew, angle = [], []
    for strength in (0.0, 1.0):  # the same program
        rule = direp.Homeostasis(direp.Local(SMALL), strength)
        run = direp.fit(networks, task, rule=rule, optimiser=optax.sgd(0.1), epochs=60, keep="last")
        pairs = [gradients(n, *task.train, (direp.Local(SMALL), direp.Adjoint())) for n in run.networks]
        skew.append(np.mean([float(antisymmetry(n)) for n in run.networks]))
        angle.append(np.nanmean([cosine(n, *pair) for n, pair in zip(run.networks, pairs, strict=True)]))
    assert skew[1] < 0.4 * skew[0]
    assert angle[1] > max(angle[0], 0.9)


def test_a_random_sign_needs_a_key_and_uses_both_signs():
    net = network("rate-tanh", "none")
    x, y = data(net.graph)
    with pytest.raises(ValueError, match="key"):
        direp.estimate(net, x, y, direp.Local(direp.RandomSign(0.1)))
    told = {
        round(
            float(
                direp.estimate(net, x, y, direp.Local(direp.RandomSign(0.1)), key=jax.random.key(k)).gradient.bias[0]
            ),
            9,
        )
        for k in range(12)
    }
    both = [
        round(float(direp.estimate(net, x, y, direp.Local(direp.OneSided(beta))).gradient.bias[0]), 9)
        for beta in (0.1, -0.1)
    ]
    assert told == set(both)


@pytest.mark.parametrize("kind", [direp.OneSided, direp.Centred])
def test_a_fading_nudge_goes_from_start_to_end(kind):
    nudge = direp.Fading(4.0, 0.25, 10, kind)
    net = network("rate-tanh", "none")
    x, y = data(net.graph)
    for update, beta in ((0, 4.0), (5, 1.0), (10, 0.25), (50, 0.25)):
        faded = direp.estimate(net, x, y, direp.Local(nudge), update=update).gradient
        assert relative(faded, direp.estimate(net, x, y, direp.Local(kind(beta))).gradient) < 1e-9


def test_the_safeguard_falls_back_where_the_local_rule_ascends():
    rule = direp.Safeguard(direp.Local(SMALL), direp.AsymEP(SMALL))
    graph, seen = direp.Graph.layered([4, 3, 1]), set()
    for seed in range(12):
        rng = np.random.default_rng(seed)
        matrix = rng.normal(0, 0.5, (graph.units, graph.free)) * graph.adjacency()
        matrix[7, :3] = matrix[4:7, 3] * rng.choice([1, -1])  # feedback of the right or of the wrong sign
        net = direp.Network(graph, direp.Rate(direp.activation.tanh), matrix, leak=0.3, bias=0.1 * rng.normal(size=4))
        net = direp.LeakController(0.3).begin(net)
        x, y = 3 * rng.random((3, 4)), rng.random((3, 1))
        said = estimate(net, x, y, rule, stop=TIGHT)
        local, exact = gradients(net, x, y, (direp.Local(SMALL), direp.Adjoint()))
        ascends = float(cosine(net, local, exact)) < 0
        assert bool(said.fell_back) == ascends
        assert relative(said.gradient, exact if ascends else local) < 1e-6
        seen.add(ascends)
    assert seen == {False, True}


def step(u):
    return jnp.where(u > 0, 1.0, 0.0).astype(u.dtype)


@pytest.mark.parametrize(
    "rule",
    [
        direp.AsymEP(),
        direp.Dyadic(),
        direp.VectorField(),
        direp.Adjoint(),
        direp.BPTT(),
        direp.Safeguard(direp.Local()),
    ],
)
def test_rules_that_need_a_derivative_refuse_a_step(rule):
    graph = direp.Graph.complete(2, 3, 1)
    jumpy = direp.Rate(direp.Activation("step", step, (0.0, 1.0), None))
    net = direp.Network(graph, jumpy, key=jax.random.key(0))
    with pytest.raises(ValueError, match=r"needs the derivative.*'step' has none: use Local\(\)"):
        direp.rules.phases_of(rule, net)
    direp.estimate(net, np.ones((1, 2)), np.ones((1, 1)), direp.Local())


def test_derivatives_are_found_inside_transformations():
    graph = direp.Graph.complete(2, 3, 1)
    rectified = direp.Activation("rectified", lambda s: jax.nn.relu(s), (0.0, np.inf), (0.0, 1.0))
    net = direp.Network(graph, direp.Rate(rectified), 0.1 * graph.adjacency(), leak=1.0)
    x, y = jnp.ones((2, 3, 2)), jnp.ones((2, 3, 1))
    said = jax.jit(jax.vmap(lambda x, y: direp.estimate(net, x, y, direp.Adjoint()).gradient.bias))(x, y)
    assert said.shape == (2, 4)


def test_a_certificate_covers_the_phases_that_are_run_and_no_others():
    net, local = network("rate-tanh", "none"), direp.Local(direp.Centred(0.05))
    for rule in (local, direp.Homeostasis(local), direp.Safeguard(local, direp.Adjoint())):
        assert direp.rules.phases_of(rule, net) == ((local.nudge,), (), {}, False, None)
    others = {
        direp.AsymEP(local.nudge): [("AsymField", "bounded", (0.05, -0.05))],
        direp.Dyadic(): [("AdjointField", "transposed", ())],
        direp.Adjoint(): [],
        direp.Adjoint(dense_up_to=1): [("AdjointField", "transposed", ())],
    }
    for rule, fields in others.items():  # their fields are not the network with a current
        for asked, nudges in ((rule, ()), (direp.Safeguard(local, direp.Safeguard(rule, local)), (local.nudge,))):
            run = direp.rules.phases_of(asked, net)
            assert [(name, coupling.jacobian, betas) for name, coupling, betas in run.fields] == fields
            assert (run.nudges, run.others, run.watched) == (nudges, {}, False)
            assert run.strengths == ((0.05, -0.05) if nudges else ())
    assert direp.rules.phases_of(direp.Safeguard(local, direp.Trajectory(1.0)), net).watched


@pytest.mark.usefixtures("_optax")
def test_a_wrapped_nudge_beyond_the_margin_is_refused_too():
    task = direp.tasks.xor()
    net = direp.Network(direp.Graph.complete(2, 2, 1), direp.Projected(), key=jax.random.key(0))
    rule = direp.Homeostasis(direp.Local(direp.Centred(0.5)))
    with pytest.raises(ValueError, match="need not settle"):
        direp.fit(net, task, rule=rule, optimiser=optax.sgd(0.1), epochs=1, control=direp.LeakController(0.1))


def test_a_negative_nudge_beyond_the_margin_is_refused():
    net = network("rate-tanh", "none")
    task = direp.tasks.from_arrays(np.random.default_rng(0).random((30, 2)), np.arange(30) % 2, name="noise")
    with pytest.raises(ValueError, match=r"Centred: the phase at beta=-0.5.*below 0.1"):
        direp.fit(
            net, task, rule=direp.Local(direp.Centred(0.5)), optimiser=optax.sgd(0.1), epochs=1,
            control=direp.LeakController(0.1),
        )  # fmt: skip


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: direp.Fading(1.0, -1.0, 10), "one sign"),
        (lambda: direp.RandomSign(0.0), "beta=0.0"),
        (lambda: direp.Homeostasis(direp.Local(), -1.0), "strength=-1.0"),
        (lambda: direp.Homeostasis(direp.Local(), 1.0, probes=0), "probes=0"),
        (lambda: direp.BPTT(0), "steps=0"),
        (lambda: direp.Trajectory(direp.Fading(1.0, 0.1, 10, direp.Centred)), "one nudged phase"),
    ],
)
def test_wrong_values_are_refused_in_words(make, message):
    with pytest.raises(Exception, match=message):
        make()


@pytest.mark.parametrize(
    ("rule", "usual"),
    [
        (direp.Local, direp.OneSided(1.0)), (direp.VectorField, direp.OneSided(1.0)),
        (direp.SymmetricEP, direp.OneSided(1.0)), (direp.Trajectory, direp.OneSided(10.0)),
        (direp.AsymEP, direp.Centred(0.1)),
    ],
)  # fmt: skip
def test_every_rule_takes_its_nudge_by_the_same_arguments(rule, usual):
    random = direp.RandomSign(0.2)
    said = [rule().nudge, rule(0.2).nudge, rule(beta=0.2).nudge, rule(random).nudge, rule(nudge=random).nudge]
    assert said == [usual, direp.OneSided(0.2), direp.OneSided(0.2), random, random]
    with pytest.raises(ValueError, match=rf"{rule.__name__}\(nudge=0.2, beta=0.3\) must have one of the two"):
        rule(0.2, beta=0.3)


@pytest.mark.parametrize(("nudge", "beta"), [("0.2", None), (True, None), (None, True), (None, direp.Centred(0.1))])
def test_a_nudge_of_a_wrong_kind_is_refused(nudge, beta):
    with pytest.raises(ValueError, match=r"AsymEP\((nudge='0.2'|nudge=True|beta=True|beta=Centred\(.*)\): give a nu"):
        as_nudge("AsymEP", nudge, beta, direp.Centred(0.1))


def test_a_penalty_is_found_in_rules_within_rules():
    rule = direp.Safeguard(direp.Homeostasis(direp.Local(0.3), 0.2), direp.AsymEP())
    assert without_penalty(rule) == direp.Safeguard(direp.Local(0.3), direp.AsymEP())
    assert without_penalty(direp.Homeostasis(direp.Homeostasis(direp.Local()))) == direp.Local()
