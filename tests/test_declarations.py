"""What an activation, an outflow and a neuron declare is tried; what is false is refused, with its place."""

import copy

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from neuron_cases import Both, bent, rising

import direp
from direp.arithmetic import Smooth
from direp.model import ACTIVATIONS, AbstractNeuron, Activation, Outflow
from direp.model.activation import identity, sigmoid, tanh
from direp.model.trial import refute


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_activations_of_the_library_are_what_they_declare(name):
    refute(ACTIVATIONS[name])


FALSE = {
    r"slope=\(0, 0.1\) is false: the slope of fn is 1 at s = 0": {"slope": (0.0, 0.1)},
    r"slope=\(0.1, 1\) is false: the slope of fn is .* at s = ": {"slope": (0.1, 1.0)},
    r"range=\(-1, 0.9\) is false: fn is 1 at s = ": {"range": (-1.0, 0.9)},
    r"above_identity=True is false: fn is .* at s = ": {"above_identity": True},
    r"enclose is false: over the ball .* value .* at s = ": {"enclose": sigmoid.enclose},
    r"enclose is false: over the ball .* slope .* at s = ": {"enclose": lambda b: (b.tanh(), 0.9 - b.tanh() ** 2)},
    r"interval is false: over .* value .* at s = ": {"interval": sigmoid.interval},
    r"interval is false: slope_of": {
        "interval": Smooth(-1.0, 1.0, np.tanh, tanh.interval.slope_at, lambda r: 1.0 - r)
    },
    r"fn rises by 1 from s = 0.1": {"fn": lambda s: jnp.where(s > 0.123, 1.0, 0.0)},
    "does not act unit by unit": {"fn": lambda s: s / (1 + jnp.abs(s).max())},
    "range=.* must be": {"range": (1.0, 0.0)},
    "is that of direp.activation": {"name": "tanh"},
}  # fmt: skip


@pytest.mark.parametrize("message", FALSE)
def test_a_false_declaration_is_refused_with_its_place(message):
    given = {"name": "mine", "fn": jnp.tanh, "range": (-1.0, 1.0), "slope": (0.0, 1.0)} | FALSE[message]
    with pytest.raises(ValueError, match=message):
        Activation(**given)


def test_an_activation_is_made_inside_a_transformation_and_without_a_derivative():
    def traced(x):
        return x * Activation("double", lambda s: 2 * s, (-np.inf, np.inf), (2.0, 2.0)).gain

    assert jax.jit(traced)(1.0) == 2.0
    rounded = lambda s: jax.pure_callback(np.clip, jax.ShapeDtypeStruct(s.shape, s.dtype), s, 0.0, 1.0)  # noqa: E731
    assert not Activation("outside", rounded, (0.0, 1.0), (0.0, 1.0)).differentiable
    with pytest.raises(ValueError, match="rises by"):
        Activation("outside", rounded, (0.0, 1.0), (0.0, 0.5))


def test_a_transfer_that_is_not_the_declared_activation_is_refused():
    """Once certified as `proved`, while two starts settled at 0 and 1.865."""

    class Sharp(AbstractNeuron):
        activation: Activation = eqx.field(static=True, default=tanh)
        rate: Activation = eqx.field(static=True, default=identity)
        outflow: Outflow = eqx.field(static=True, default=Outflow.of("none"))
        low: None = None
        high: None = None

        def transfer(self, drive):
            return jnp.tanh(20 * drive)

    with pytest.raises(ValueError, match=r"Sharp\(transfer=...\) is .* it must be an Activation, whose data"):
        Sharp()

    class Elsewhere(Both):
        def held(self, state, field):
            return state < 0

    with pytest.raises(ValueError, match=r"Elsewhere.held replaces that of AbstractNeuron"):
        Elsewhere(tanh, tanh, rising)


def test_a_slope_of_fifty_that_is_declared_as_a_tenth_is_refused():
    with pytest.raises(ValueError, match=r"slope=\(0, 0.1\) is false: the slope of fn is 50 at s = 0"):
        Activation("steep", lambda s: jnp.tanh(50 * s), (-1.0, 1.0), (0.0, 0.1))


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (np.tanh, "fn returns a ndarray: make it of JAX operations"),
        (lambda s: 2 * jnp.tanh(s.astype(jnp.float16)), "to one of shape .* and type float16; it must keep both"),
        (lambda s: s > 0, "to one of shape .* and type bool; it must keep both"),
        (lambda s: jnp.tanh(s + 0j), "type complex128; it must keep both"),
        (lambda s: s * jnp.array([0.1, 0.2, 0.3]), "fn fails for an array of shape .*: "),
        (lambda s: s / (1 + jnp.abs(s).sum(1)), "fn fails for an array of shape .*: "),
        (lambda s: 5 * s if s.ndim == 2 else s, "fn does not act unit by unit"),
        (lambda s: s - s.mean(0) if s.ndim == 2 else s, "fn does not act unit by unit"),
    ],
)
def test_what_is_no_function_of_one_number_is_refused(fn, message):
    with pytest.raises(ValueError, match=message):
        Activation("strange", fn, (-np.inf, np.inf), (-1.0, 1.0))


def test_a_slope_without_bound_is_none_not_infinite():
    with pytest.raises(ValueError, match=r"slope=\(0.0, inf\)\) must be finite: without a bound it is None"):
        Activation("steep", jnp.tanh, (-1.0, 1.0), (0.0, np.inf))


def test_wrong_data_is_refused_in_words():
    assert direp.Rate("tanh", "signed") == direp.Rate(tanh, Outflow.of("signed"))
    for make, message in (
        (lambda: direp.Rate("tan"), r"Rate\('tan'\) must be one of 'hard-sigmoid', .*, or an Activation"),
        (lambda: direp.Hopfield(outflow="both"), r"Hopfield\(outflow='both'\) must be one of 'none', 'signed'"),
        (lambda: direp.Projected(low=1.0, high=0.0), r"Projected\(low=1.0, high=0.0\) needs finite bounds, low < high"),
        (lambda: Both(tanh, tanh, rising, 0.0, None), r"Both\(low=0.0, high=None\) needs finite bounds"),
        (lambda: Outflow("steep", 0, 3), r"Outflow\(below=0, above=3\) must each be -1, 0 or 1"),
        (lambda: direp.arithmetic.Ramp(0.0, np.inf), r"both finite or both infinite"),
    ):
        with pytest.raises(ValueError, match=message):
            make()


def test_copies_equal_their_originals():
    for neuron in (direp.Rate("tanh"), direp.Hopfield("softplus", "absolute"), direp.Projected("signed")):
        net = direp.Network(direp.Graph.complete(1, 2, 1), neuron, key=jax.random.key(0))
        again = copy.deepcopy(net)
        assert again.neuron == neuron
        assert hash(again.neuron) == hash(neuron)
        assert jax.tree.structure(again) == jax.tree.structure(net)
    assert copy.deepcopy(bent) == bent
    assert bent != Activation("bent", bent.fn, (-1.5, 1.5), (-0.5, 1.6))
    assert tanh != sigmoid


def test_outflows_are_the_same_for_all_numbers():
    from fractions import Fraction

    import flint

    values = np.array([-1.5, -0.25, 0.0, 0.5, 2.0])
    shape = {"none": 0 * values, "signed": values, "absolute": abs(values), "rising": np.maximum(values, 0)}
    for name, expected in shape.items():
        outflow = rising if name == "rising" else Outflow.of(name)
        assert (outflow.value(values) == expected).all()
        assert (np.asarray(outflow.value(jnp.asarray(values))) == expected).all()
        assert [outflow.value(Fraction(v)) for v in values] == expected.tolist()
        assert all(isinstance(outflow.value(Fraction(v)), Fraction) for v in values)
        assert [float(outflow.value(flint.arb(v))) for v in values] == expected.tolist()
        moved = (outflow.value(values + 1e-6) - outflow.value(values - 1e-6)) / 2e-6
        assert np.allclose(outflow.slope(values), moved)
        assert np.allclose(outflow.slope(jnp.asarray(values)), moved)
        low, high = outflow.bounds(values - 0.3, values + 0.3)
        for at in np.linspace(-0.29, 0.29, 8):
            slope = outflow.slope(values + at)
            assert ((low <= slope) & (slope <= high)).all()
