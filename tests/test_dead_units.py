"""Units without a gradient: an output at a bound that its error pulls off it, and what helps."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from program import call

import direp
from direp.settling import linearise, movable

LAYERED = direp.Graph.layered((3, 4, 2))
X = np.random.default_rng(0).random((5, 3))
Y = np.tile([1.0, 0.0], (5, 1))


def network(bias: float) -> direp.Network:
    """Whose outputs are told by their biases to be at a bound, or within the box."""
    made = direp.Network(LAYERED, direp.Projected(), direp.Normal(0.1, 0.3), leak=1.0, key=jax.random.key(0))
    return made.replace(made.parameters._replace(bias=made.bias.at[-2:].set(bias)))


def gradient(net: direp.Network, rule: direp.rules.AbstractRule):
    return direp.estimate(net, X, Y, rule, stop=direp.Tolerance(1e-13, 1e-13)).gradient


@pytest.mark.parametrize("kind", [direp.Dyadic, direp.Adjoint, lambda **own: direp.Adjoint(dense_up_to=0, **own)])
def test_an_output_on_the_wrong_side_learns_only_if_lifted(kind):
    held = network(-2.0)
    bare, lifted = gradient(held, kind()), gradient(held, kind(lift=True))
    assert all(not leaf.any() for leaf in jax.tree.leaves(bare))
    wrong, right = lifted.bias[-2:]
    assert wrong < 0  # the bias rises
    assert right == 0  # held where its target is


def test_lifted_rules_agree():
    held = network(-2.0)
    pairs = (
        jax.tree.leaves(gradient(held, direp.Dyadic(lift=True))),
        jax.tree.leaves(gradient(held, direp.Adjoint(lift=True))),
    )
    assert all(np.allclose(a, b, rtol=1e-6, atol=1e-9) for a, b in zip(*pairs, strict=True))


@pytest.mark.parametrize("kind", [direp.Dyadic, direp.Adjoint])
def test_elsewhere_lifting_changes_nothing(kind):
    free = network(0.5)
    pairs = zip(jax.tree.leaves(gradient(free, kind())), jax.tree.leaves(gradient(free, kind(lift=True))), strict=True)
    assert all((a == b).all() for a, b in pairs)


@pytest.mark.parametrize("neuron", [direp.Projected("signed"), direp.Hopfield("hard-sigmoid"), direp.Rate("relu")])
def test_movable_units_are_those_with_a_row_of_the_jacobian(neuron):
    net = direp.Network(LAYERED, neuron, direp.Normal(0.2, 2.0), leak=1.0, key=jax.random.key(1))
    field, settled = net.field(jnp.asarray(X)), direp.settle(net, X)
    linear = linearise(field, settled.state, settled.drive)
    expected = linear.active & (linear.rate_slope != 0) & (linear.transfer_slope != 0)
    found = movable(net, settled)
    assert (found == expected).all()
    assert found.any()
    assert not found.all()


def train(tmp_path, *options: str) -> dict:
    options = ("xor", "--preset", "small", "--rule", "dyadic", "--seeds", "0..29", *options)
    code, out, _ = call("train", *options, "--out", tmp_path / "run", "--json")
    assert code == 0
    return json.loads(out)


def test_the_exact_rule_is_stuck_at_its_output_and_says_so(tmp_path):
    found = train(tmp_path)
    assert found["solved"] < 15
    assert found["dead"]["outputs"] > 0.4
    assert "--lift" in found["dead"]["advice"]


def test_lifted_it_solves(tmp_path):
    found = train(tmp_path, "--lift")
    assert found["solved"] == 30
    assert found["dead"]["outputs"] == 0
