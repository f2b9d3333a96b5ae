"""`direp gradient`: gradient estimates against the exact gradient, as a library and as a command."""

import json
import math
import signal
from types import SimpleNamespace

import numpy as np
import pytest
from cases import data, estimate, network
from program import call, folder_of, signalled, untold

import direp
from direp.analysis.gradients import compare_gradients, groups, is_flat, order_in_beta, state_of
from direp.program.build import arguments
from direp.program.catalogue import names
from direp.program.commands.gradient import RULES, _nudge
from direp.program.settings import Settings
from direp.rules import cosine

pytestmark = pytest.mark.usefixtures("_optax")
# Networks of one shape share their compiled programs.
LAYERED, SMALL = direp.Graph.layered([2, 3, 2, 2]), direp.Graph.layered([1, 2, 1])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    made = {"graph": "layered", "hidden": (4,), "neuron": "rate", "activation": "sigmoid", "outflow": "none"}
    made |= {"guarantee": "sign-symmetric", "weight_scale": 0.5, "beta": 2.0}
    built = arguments(Settings(seeds="3..4", **made), direp.tasks.xor())
    networks = [built["guarantee"].begin(network) for network in built["network"]]
    return folder_of(tmp_path_factory.mktemp("runs") / "xor", networks, task="xor", **made)


def test_exact_rules_have_cosine_one_and_groups_recombine_to_the_whole():
    net = network("rate-tanh", "none", LAYERED)
    x, y = data(net.graph)
    rules = {"local": direp.Local(0.5), "dyadic": direp.Dyadic(), "asym-ep": direp.AsymEP(direp.Centred(1e-4))}
    found, left_out = compare_gradients(net, x, y, rules)
    assert left_out == ()
    for name in ("dyadic", "asym-ep"):
        assert found[name].cosine > 1 - 1e-8
        assert found[name].relative_error < 1e-6
        assert abs(found[name].norm_ratio - 1) < 1e-6
        assert found[name].worst_sample[1] > 1 - 1e-8
    assert found["local"].cosine < 0.9999
    masks = groups(net)
    assert sum(masks.values()).tolist() == [1] * net.graph.synapses
    assert set(masks) >= {"inputs to hidden 1", "hidden 1 to hidden 2", "hidden 2 to hidden 1", "hidden 2 to outputs"}
    index, worst = found["local"].worst_sample
    tight, only = direp.Tolerance(1e-13, 1e-13), np.eye(len(x), dtype=bool)
    both = rules["local"], direp.Adjoint()
    one = [[estimate(net, x, y, rule, stop=tight, valid=k).gradient for k in only] for rule in both]
    alone = [float(cosine(net, *pair)) for pair in zip(*one, strict=True)]
    assert index == int(np.argmin(alone))
    assert abs(worst - min(alone)) < 1e-9
    parts, whole = found["local"].groups, found["local"]
    assert set(parts) == {*masks, "biases"}
    assert abs(sum(part.inner for part in parts.values()) - whole.inner) < 1e-12 * abs(whole.inner)
    exact = estimate(net, x, y, direp.Adjoint(), stop=tight, valid=np.ones(len(x), bool)).gradient
    flat = np.asarray(net.synapses.matrix(exact.weight))[net.graph.source, net.graph.target - net.graph.inputs]
    sizes = {name: np.linalg.norm(flat[mask]) for name, mask in masks.items()}
    sizes["biases"] = np.linalg.norm(np.asarray(exact.bias))
    true = math.hypot(*sizes.values())
    assert (
        abs(math.hypot(*(parts[n].relative_error * s for n, s in sizes.items())) / true - whole.relative_error) < 1e-9
    )
    assert (
        abs(sum(parts[n].cosine * parts[n].norm_ratio * s**2 for n, s in sizes.items()) - whole.inner) < 1e-9 * true**2
    )


def test_symmetric_weights_align_the_local_rule_and_the_order_in_beta_is_that_of_the_nudge():
    net = network("rate-tanh", "none", LAYERED, symmetric=True)
    x, y = data(net.graph)
    found, _ = compare_gradients(net, x, y, {"local": direp.Local(direp.Centred(1e-4))})
    assert found["local"].angle < 1e-3
    for rule in (direp.Local(), direp.AsymEP()):
        order = order_in_beta(net, x, y, rule)
        assert set(order) == {"betas", "limit", "exact"}  # of symmetric weights both reach the exact gradient
        for against in set(order) - {"betas"}:
            assert abs(order[against]["one-sided"]["order"] - 1) < 0.1
            assert abs(order[against]["centred"]["order"] - 2) < 0.1
    directed = network("rate-tanh", "none", LAYERED)
    assert ["exact" in order_in_beta(directed, x, y, rule) for rule in (direp.Local(), direp.AsymEP())] == [False, True]
    within = order_in_beta(net, x, y, direp.Homeostasis(direp.Local(), strength=0.0))
    assert within["limit"]["centred"]["order"] == pytest.approx(2, abs=0.1)
    assert order_in_beta(net, x, y, direp.Dyadic()) is None
    assert order_in_beta(net, x, y, direp.Trajectory(1.0)) is None


def test_a_bound_that_is_met_on_the_way_does_not_bend_the_order():
    matrix = np.zeros((4, 3))
    matrix[0, 0], matrix[1, 2], matrix[3, 0] = 1.0, 0.5, 0.9  # the second hidden unit has no part in it
    net = direp.Network(SMALL, direp.Projected(), matrix, leak=1.0)
    # The first hidden unit is 0.04 below its upper face and meets it at a nudge between 0.01 and 0.02.
    x, y = np.full((2, 1), (1 - 0.04) * (1 - 0.45)), np.full((2, 1), 2.0)
    order = order_in_beta(net, x, y, direp.Local())["limit"]["one-sided"]
    slopes = np.diff(np.log(order["errors"])) / np.diff(np.log([0.02, 0.01, 0.005, 0.0025]))
    assert abs(slopes[0] - 1) > 0.25
    assert abs(order["order"] - 1) < 0.1


def rectified(strength, bias=0.1, dtype=None):
    """Strength 3 grows without bound for x=1 and rests at x=-1."""
    graph = direp.Graph.complete(2, 2, 1)
    matrix = strength * graph.adjacency()
    matrix[:2, 2] = 0  # the output never falls silent
    return direp.Network(graph, direp.Rate(direp.activation.relu), matrix, leak=1.0, bias=bias, dtype=dtype)


def test_samples_that_do_not_settle_in_one_rule_are_left_out_of_all():
    net, x, y = rectified(3.0), np.array([[-1.0], [1.0], [-1.0], [-1.0]]) * np.ones(2), np.ones((4, 1))
    rules = {"local": direp.Local(0.1), "dyadic": direp.Dyadic()}
    found, left_out = compare_gradients(net, x, y, rules)
    alone, _ = compare_gradients(net, x[[0] * 4], y, rules)  # as many samples: the same compiled programs
    assert left_out == (1,)
    assert found["local"].unsettled == found["dyadic"].unsettled == (1,)
    assert abs(found["local"].cosine - alone["local"].cosine) < 1e-9
    # A nudge that lets no sample settle spoils its own rule only.
    spoilt = {"local": direp.Local(direp.OneSided(-60.0)), "dyadic": direp.Dyadic()}
    found, left_out = compare_gradients(rectified(0.2), x, -y, spoilt)
    assert (left_out, found["local"].unsettled) == ((), (0, 1, 2, 3))
    assert math.isnan(found["local"].cosine)
    assert found["dyadic"].cosine > 1 - 1e-8


def test_units_without_gradient_are_counted():
    matrix = np.zeros((4, 3))
    matrix[0, :2] = 5.0, -5.0  # both hidden units at a face
    matrix[1:3, 2] = 0.4
    net = direp.Network(SMALL, direp.Projected(), matrix, leak=1.0)
    x, y = np.ones((2, 1)), np.ones((2, 1))
    state = state_of(net, x, y, direp.Local(0.1), tolerance=1e-3)
    assert state["without_gradient_hidden"] == state["below_tolerance_hidden"] == 1
    assert state["without_gradient_outputs"] == state["below_tolerance_outputs"] == 0
    assert abs(state["rms_weight"]["hidden 1 to outputs"] - 0.4) < 1e-12
    assert not is_flat(net, x, y)
    assert is_flat(net, x, np.full((2, 1), 0.4))
    found, _ = compare_gradients(net, x, np.full((2, 1), 0.4), {"local": direp.Local(0.1)})
    assert math.isnan(found["local"].cosine)
    assert found["local"].worst_sample is None
    assert order_in_beta(net, x, np.full((2, 1), 0.4), direp.Local()) is None


def test_the_command_promises_its_keys(run):
    assert tuple(name for name in names("rule") if name not in ("adjoint", "safeguard")) == RULES
    code, out, err = call("gradient", run, "--rules", "local", "dyadic", "--json", "--quiet", drawn=True)
    assert (code, err) == (0, "")
    document = json.loads(out)
    for name in ("local", "local (limit)", "dyadic"):
        assert {"cosine", "relative_error", "norm_ratio", "angle", "groups"} <= set(document["rules"][name])
    assert document["rules"]["dyadic"]["cosine"] > 1 - 1e-9
    assert document["nudge"] == {"run": "one-sided 2", "measured": "one-sided 2"}
    limit = document["rules"]["local (limit)"]
    assert limit["certificate"]["verdict"] == "proved"
    assert limit["angle"] <= limit["certificate"]["angle"]
    assert (limit["descends"], limit["networks"]) == (2, 2)
    low, high = limit["cosine_interval"]
    assert low <= limit["cosine"] <= high
    assert (document["at"], document["left_out"], document["settled"]) == ("trained", 0, 8)
    assert [entry["network"] for entry in document["per_seed"]] == ["seed 3", "seed 4"]
    assert json.loads((run / "gradient" / "gradient.json").read_text()) == document
    assert untold("gradient", document, *document["rules"].values()) == []
    assert (run / "gradient" / "gradient.png").stat().st_size > 5000
    code, out, _ = call(
        "gradient", run, "--rules", "local", "--quiet", "--samples", "2", "--no-figures", "--seed-index", "1",
        "--at", "start",
    )  # fmt: skip
    assert code == 0
    assert "local (limit)" in out
    assert "2 training samples, one untrained network (seed 4)" in out
    assert "gradient-2" in out


def test_where_training_has_left_no_gradient_the_beginning_is_measured_and_said_so(tmp_path):
    graph = direp.Graph.complete(2, 1, 1)
    weight = np.zeros((4, 2), np.float32)
    weight[:2, 1] = 5.0  # either input saturates the output: or, without an error
    solved = direp.Network(graph, direp.Projected(), weight, leak=1.0)
    made = {"task": "or", "hidden": (1,), "outflow": "none", "margin": None}
    folder = folder_of(tmp_path / "run", [solved], **made)
    arguments = ("gradient", folder, "--rules", "dyadic", "--no-figures")
    code, out, err = call(*arguments, "--json", "--out", tmp_path / "auto")
    assert code == 0
    assert "measured where training began" in err
    document = json.loads(out)
    assert document["at"] == "start"
    assert document["rules"]["dyadic"]["cosine"] > 1 - 1e-9
    code, out, err = call(*arguments, "--at", "trained", "--quiet")
    assert (code, err) == (0, "")
    assert "the exact gradient is zero" in out


def test_a_run_that_never_settles_leaves_with_4(tmp_path):
    made = {"task": "and", "hidden": (2,), "neuron": "rate", "activation": "relu", "outflow": "none", "margin": None}
    wild = rectified(50.0, bias=5.0, dtype=np.float32)  # its programs are those of the samples that do not settle
    folder = folder_of(tmp_path / "run", [wild], **made)
    code, out, err = call("gradient", folder, "--rules", "dyadic", "--no-figures", "--quiet")
    assert code == 4
    assert "4 of 4 left out" in out
    assert "nothing settled" in out
    assert "no sample settled" in err


@pytest.mark.parametrize(
    ("settings", "beta", "at", "own", "measured", "nudge"),
    [
        ({"nudge": "random-sign", "beta": 0.1}, None, "trained", "random-sign 0.1",
         "centred 0.1 (the mean over its signs)", direp.Centred(0.1)),
        ({"beta": 2.0, "beta_end": 0.5}, None, "trained", "one-sided 2, fading to 0.5",
         "one-sided 0.5 (where training ended)", direp.OneSided(0.5)),
        ({"beta": 2.0, "beta_end": 0.5}, None, "start", "one-sided 2, fading to 0.5",
         "one-sided 2 (where training began)", direp.OneSided(2.0)),
        ({"nudge": "centred"}, 0.3, "trained", "centred 1", "centred 0.3", direp.Centred(0.3)),
    ],
)  # fmt: skip
def test_the_nudge_of_the_run_is_measured_and_named(settings, beta, at, own, measured, nudge, tmp_path):
    settings = Settings(**settings)
    run = SimpleNamespace(settings=settings, parts=SimpleNamespace(updates=100))
    found, words = _nudge(run, beta, at)
    assert found == nudge
    assert words == {"run": own, "measured": measured}


@pytest.mark.parametrize("done", [0, 1])
def test_an_interrupt_leaves_the_networks_that_are_measured_or_nothing(run, done, tmp_path, monkeypatch):
    """The request comes while a network is measured, and ends the command at the next safe point."""
    entry = {
        "rules": {"bptt": {"cosine": 1.0, "relative_error": 0.0, "norm_ratio": 1.0, "angle": 0.0, "unsettled": 0,
                           "worst_sample": None, "groups": {}}},
        "order": {}, "left_out": 0, "used": 4,
        "state": {"rms_weight": {}, **{f"{figure}_{part}": None for part in ("hidden", "outputs") for figure in (
            "mean_response", "below_tolerance", "without_gradient")}},
    }  # fmt: skip
    measured = []

    def measure(*arguments):
        if len(measured) == done:
            signalled(signal.SIGINT)
        arguments[-1]("bptt")
        measured.append(entry)
        return entry

    monkeypatch.setattr("direp.program.commands.gradient._measure", measure)
    folder = tmp_path / "out"
    code, out, err = call("gradient", run, "--rules", "bptt", "--at", "trained", "--json", "--out", folder)
    assert (code, len(measured)) == (130, done)
    assert "interrupted" in err
    assert folder.exists() == bool(done)
    if done:
        document = json.loads(out)
        assert document["status"] == "interrupted"
        assert [one["network"] for one in document["per_seed"]] == ["seed 3"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "gradient needs the folder of a run"),
        (("nowhere",), 3, "nowhere does not exist: name a run folder"),
        (("RUN", "--rules", "locl"), 2, "did you mean 'local'"),
        (("RUN", "--samples", "0"), 2, "--samples 0"),
        (("RUN", "--beta", "0"), 2, "is no nudge"),
        (("RUN", "--beta", "big"), 2, "beta"),
        (("RUN", "--at", "trainde"), 2, "did you mean 'trained'"),
        (("RUN", "--seed-index", "2"), 2, "run of 2 networks: give 0 to 1"),
        (("RUN", "--out", "RUN"), 2, "already holds something"),
    ],
)
def test_wrong_use_gets_one_line(run, arguments, code, message):
    given = [str(run) if argument == "RUN" else argument for argument in arguments]
    left, out, err = call("gradient", *given)
    assert left == code
    assert message in err
    assert out == ""
    assert len(err.strip().splitlines()) == 1
