"""`direp gradient`: what synapses say against the exact gradient, as a library and as a command."""

import json
import subprocess
import sys

import numpy as np
import pytest
from cases import data, network
from test_cli import call

import direp
from direp.measure import compare_gradients, groups, order_in_beta, state_of

pytestmark = pytest.mark.usefixtures("_optax")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "xor"
    command = [sys.executable, "-m", "direp", "train", "xor", "--preset", "guaranteed", "--hidden", "4"]
    command += ["--seeds", "0..1", "--epochs", "30", "--quiet", "--out", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def test_exact_rules_have_cosine_one_and_groups_recombine_to_the_whole():
    net = network("rate-tanh", "signed", "layered")
    x, y = data(net.graph)
    rules = {"local": direp.Local(0.5), "dyadic": direp.Dyadic(), "asym-ep": direp.AsymEP(direp.Centred(1e-4))}
    found, left_out = compare_gradients(net, x, y, rules)
    assert set(left_out.values()) == {()}
    for name in ("dyadic", "asym-ep"):
        assert found[name].cosine > 1 - 1e-8
        assert found[name].relative_error < 1e-6
        assert abs(found[name].norm_ratio - 1) < 1e-6
    assert found["local"].cosine < 0.9999
    masks = groups(net.graph)
    assert sum(masks.values()).tolist() == [1] * net.graph.synapses
    assert set(masks) >= {"inputs to hidden 1", "hidden 1 to hidden 2", "hidden 2 to hidden 1", "hidden 2 to outputs"}
    assert set(found["local"].groups) == {*masks, "biases"}
    exact = direp.estimate(net, x, y, direp.Adjoint(), stop=direp.Tolerance(1e-13, 1e-13)).gradient
    flat = np.asarray(net.synapses.matrix(exact.weight))[net.graph.source, net.graph.target - net.graph.inputs]
    sizes = {name: np.linalg.norm(flat[mask]) for name, mask in masks.items()}
    sizes["biases"] = np.linalg.norm(np.asarray(exact.bias))
    parts = found["local"].groups
    whole = np.sqrt(sum((parts[name].relative_error * size) ** 2 for name, size in sizes.items()))
    assert abs(whole / np.sqrt(sum(s**2 for s in sizes.values())) - found["local"].relative_error) < 1e-9


def test_symmetric_weights_align_the_local_rule_and_the_order_in_beta_is_that_of_the_nudge():
    net = network("rate-tanh", "none", symmetric=True)
    x, y = data(net.graph)
    found, _ = compare_gradients(net, x, y, {"local": direp.Local(direp.Centred(1e-4))})
    assert found["local"].angle < 1e-3
    for rule, against in ((direp.Local(), "own limit"), (direp.AsymEP(), "exact")):
        order = order_in_beta(net, x, y, rule)
        assert order["against"] == against
        assert abs(order["one-sided"]["order"] - 1) < 0.1
        assert abs(order["centred"]["order"] - 2) < 0.1
    assert order_in_beta(net, x, y, direp.Dyadic()) is None


def test_samples_that_do_not_settle_are_left_out_of_rule_and_gradient():
    graph = direp.Graph.layered([1, 2, 1])
    growing = direp.Network(
        graph, direp.Rate(direp.activation.relu), np.full((4, 3), 3.0) * graph.adjacency(), leak=1.0, bias=0.1
    )
    x, y = np.array([[-1.0], [1.0]]), np.ones((2, 1))
    found, left_out = compare_gradients(growing, x, y, {"local": direp.Local(0.1), "dyadic": direp.Dyadic()})
    alone, _ = compare_gradients(growing, x[:1], y[:1], {"local": direp.Local(0.1), "dyadic": direp.Dyadic()})
    assert left_out == {"local": (1,), "dyadic": (1,)}
    assert abs(found["local"].cosine - alone["local"].cosine) < 1e-9


def test_units_without_gradient_are_counted():
    graph = direp.Graph.layered([1, 2, 1])
    matrix = np.zeros((4, 3))
    matrix[0, :2] = 5.0, -5.0  # both hidden units at a face
    matrix[1:3, 2] = 0.4
    net = direp.Network(graph, direp.Projected(), matrix, leak=1.0)
    state = state_of(net, np.ones((2, 1)), np.ones((2, 1)), direp.Local(0.1))
    assert state["without_gradient_hidden"] == 1
    assert state["without_gradient_outputs"] == 0
    assert abs(state["rms_weight"]["hidden 1 to outputs"] - 0.4) < 1e-12


def test_the_command_measures_every_rule_and_promises_its_keys(run, capsys):
    code, out, err = call(capsys, "gradient", run, "--json", "--quiet")
    assert (code, err) == (0, "")
    document = json.loads(out)
    for name in ("local", "local (limit)", "trajectory", "vector-field", "symmetric-ep", "asym-ep", "dyadic", "bptt"):
        assert {"cosine", "relative_error", "norm_ratio", "groups"} <= set(document["rules"][name])
    assert document["rules"]["dyadic"]["cosine"] > 1 - 1e-9
    assert document["rules"]["asym-ep (limit)"]["cosine"] > 1 - 1e-8
    assert document["rules"]["local (limit)"]["certificate"]["verdict"] == "proved"
    assert document["rules"]["local"]["descends"] == "2 of 2"
    assert len(document["per_seed"]) == 2
    assert json.loads((run / "gradient" / "gradient.json").read_text()) == document
    assert (run / "gradient" / "gradient.png").stat().st_size > 5000
    code, out, _ = call(capsys, "gradient", run, "--rules", "local", "--quiet", "--samples", "2", "--no-figures")
    assert code == 0
    assert "local (limit)" in out
    assert "2 training samples" in out
    assert "gradient-2" in out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "gradient needs the folder of a run"),
        (("nowhere",), 3, "is no run folder: config.json is missing"),
        (("RUN", "--rules", "locl"), 2, "did you mean 'local'"),
        (("RUN", "--samples", "0"), 2, "--samples 0"),
        (("RUN", "--beta", "0"), 2, "is no nudge"),
        (("RUN", "--beta", "big"), 2, "beta"),
        (("RUN", "--out", "RUN"), 2, "already holds something"),
    ],
)
def test_wrong_use_gets_one_line(run, arguments, code, message, capsys):
    given = [str(run) if argument == "RUN" else argument for argument in arguments]
    left, out, err = call(capsys, "gradient", *given)
    assert left == code
    assert message in err
    assert out == ""
    assert len(err.strip().splitlines()) == 1
