"""A layout of a user's own is tried when a network is made: what is no linear map over its graph is refused."""

import equinox as eqx
import extending.layout as example
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from layout_cases import LARGE, Plain

import direp
from direp.model import Weight


class _Wrong(Plain):
    """A chain x0 -> h0 -> o0, and one mistake."""

    mistake: str = eqx.field(static=True, default="")

    def __init__(self, mistake):
        self.graph = direp.Graph(1, 1, 1, np.array([0, 1]), np.array([1, 2]))
        self.mistake = mistake

    def build(self, make):
        source, target = np.array([0]), np.array([1 if self.mistake != "other ends" else 2])
        return Weight(jnp.asarray(make(source, target)), jnp.asarray(make(np.array([1]), np.array([2]))))

    def input_drive(self, weight, x):
        return jnp.concatenate([x * weight.input, 0 * x], 1)

    def drive(self, weight, rate):
        sent = rate[:, :1] * weight.recurrent * (2 if self.mistake == "a factor" else 1)
        sent = sent + weight.input if self.mistake == "no linear map" else sent
        first = rate[:, 1:] * weight.recurrent if self.mistake == "back" else 0 * sent
        first, sent = (sent, first) if self.mistake == "turned" else (first, sent)
        return jnp.concatenate([first, sent][: 1 if self.mistake == "narrow" else 2], 1)


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        ("narrow", r"_Wrong.drive gives shape \(2, 1\) for 2 samples; this graph needs \(2, 2\)"),
        ("back", "_Wrong.drive has a synapse o0 -> h0 that the graph has not"),
        ("turned", "_Wrong.drive has a synapse h0 -> h0 that the graph has not"),
        ("a factor", "some synapse's strength is not one of the numbers"),
        ("no linear map", "has a synapse o0 -> o0 that the graph has not"),
        ("other ends", "_Wrong.build makes a number for unit 0 -> unit 2"),
    ],
)
def test_a_layout_that_does_not_fit_its_graph_is_refused_in_words(mistake, message):
    with pytest.raises(ValueError, match=message):
        direp.Network(
            _Wrong(mistake).graph, direp.Rate(), direp.Normal(), layout=_Wrong(mistake), key=jax.random.key(0)
        )
    assert _Wrong("").place.tolist() == [0, 1]


def test_a_linear_map_that_holds_arrays_is_refused():
    class Holds(Plain):
        numbers: jax.Array

    with pytest.raises(ValueError, match=r"Holds: a LinearMap keeps all .* static fields"):
        Holds(LARGE, jnp.zeros(2))


class Curved(example.Convolution):
    """Products that agree with a matrix for unit vectors and positive strengths, and nowhere else."""

    kind: str = eqx.field(static=True, default="")

    def __init__(self, kind):
        super().__init__(inputs=4, hidden=2, outputs=2, width=2)
        self.kind = kind

    def drive(self, weight, rate):
        if self.kind == "strength":
            weight = jax.tree.map(lambda w: jnp.where(w < 0, 10 * w, w), weight)
        if self.kind == "rate":
            rate = rate**2
        offset = 0.1 * (rate.sum(1, keepdims=True) - 1) if self.kind == "offset" else 0
        mixed = jnp.roll(rate, 1, 0) * (rate.sum() - len(rate)) if self.kind == "batch" else 0
        return super().drive(weight, rate + mixed) + offset


@pytest.mark.parametrize("kind", ["strength", "rate", "offset", "batch"])
def test_products_that_are_not_linear_are_refused(kind):
    layout = Curved(kind)
    with pytest.raises(ValueError, match=r"Curved.drive is not linear: .* sum over its synapses is"):
        direp.Network(layout.graph, direp.Rate("tanh"), layout=layout, key=jax.random.key(0))
