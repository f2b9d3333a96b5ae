"""Slopes of every unit by itself: laws, a brute-force oracle in NumPy, and what cannot be asked with them."""

import json
from pathlib import Path

import numpy as np
import pytest
from cases import NEURONS, network
from program import call
from test_criteria import log_norm

import direp
from direp import Slopes
from direp.arithmetic import precise
from direp.certificates.convergence import System
from direp.program.network_file import save_network

QUICK = (direp.LocalLeak(), direp.Rows(), direp.Perron(), direp.Spectral(), direp.Symmetric(), direp.Circle())
CRITERIA = (*QUICK, direp.LMI(), direp.Vertices())
GRAPH = direp.Graph.complete(1, 3, 2)
RING = np.array([[0, -0.9, 0], [0, 0, 0.9], [0.9, 0, 0]])


def drawn(neuron, seed, scale=0.3, outflow="none"):
    rng = np.random.default_rng(seed)
    matrix = np.where(GRAPH.adjacency(), rng.normal(0, scale, (GRAPH.units, GRAPH.free)), 0)
    return direp.Network(GRAPH, NEURONS[neuron](outflow), matrix, leak=1 + rng.random(GRAPH.free))


def tried(net, criterion, slopes=None):
    """One criterion alone, as `direp.certify` asks it."""
    system = System.of(net)
    with precise():
        return criterion.attempt(system if slopes is None else Slopes(slopes).of(net).applied(system))


def rate(net, criterion, slopes):
    found = tried(net, criterion, slopes).proof
    return -np.inf if found is None else found.rate


def uneven(seed, free=5):
    """From 0 or above where the seed is even."""
    rng = np.random.default_rng(seed)
    low = rng.uniform(-0.3, 0.3, free) if seed % 2 else np.maximum(rng.uniform(-0.3, 0.3, free), 0)
    return np.stack([low, np.maximum(low, 0) + rng.uniform(0, 1.0, free)], 1)


@pytest.mark.parametrize("neuron", NEURONS)
def test_slopes_equal_to_those_of_the_activation_change_nothing(neuron):
    net = drawn(neuron, 0, outflow="absolute")
    own, slopes = direp.certify(net, starts=0, nudge=direp.Centred(0.1)), np.tile(net.neuron.slope, (5, 1))
    same = direp.certify(net, nudge=direp.Centred(0.1), slopes=slopes)
    assert (same.verdict, same.criterion, same.phases) == (own.verdict, own.criterion, own.phases)
    for criterion in QUICK:
        assert rate(net, criterion, slopes) == rate(net, criterion, None)


@pytest.mark.parametrize("neuron", ["hopfield-sigmoid", "rate-tanh", "projected"])
def test_no_jacobian_with_these_slopes_expands_and_a_smaller_slope_never_lowers_the_rate(neuron):
    proved = set()
    for seed in range(2):
        rng, net = np.random.default_rng(seed), drawn(neuron, seed, 0.25, ("none", "absolute")[seed % 2])
        bounds = uneven(seed)
        criteria = QUICK if seed else CRITERIA
        inner, total = np.asarray(net.matrix)[GRAPH.inputs :].T, np.asarray(net.total_leak())
        for criterion in criteria:
            found = tried(net, criterion, bounds).proof
            if found is None:
                continue
            proved.add(criterion.name)
            for _ in range(40):
                ends = bounds[np.arange(5), rng.integers(0, 2, 5)]
                d = np.where(rng.random(5) < 0.7, ends, rng.uniform(*bounds.T))
                jacobian = (inner * d if neuron.startswith("hopfield") else d[:, None] * inner) - np.diag(total)
                assert log_norm(found.norm, jacobian) <= -found.rate + 1e-9
            if criterion in QUICK:
                halved = bounds * np.where(np.arange(5) == 2, 0.5, 1)[:, None]
                assert rate(net, criterion, halved) >= found.rate * (1 - 1e-9 if criterion in QUICK[:3] else 0.97)
    assert {"local leak", "rows", "Perron", "spectral"} <= proved
    assert neuron == "projected" or len(proved) == len(CRITERIA)


@pytest.mark.parametrize("neuron", ["hopfield-hard", "rate-tanh"])
def test_slopes_from_zero_are_a_scale_of_the_rows_or_the_columns(neuron):
    net, d = drawn(neuron, 0), np.random.default_rng(0).uniform(0.2, 1.5, 5)
    wide = d if neuron == "rate-tanh" else np.append(np.ones(GRAPH.inputs), d)[:, None]
    other = direp.Network(GRAPH, net.neuron, np.asarray(net.matrix) * wide, leak=net.leak)
    for criterion in CRITERIA if neuron == "rate-tanh" else QUICK:
        if criterion.name != "symmetric":  # it takes the symmetric part of other coordinates
            assert rate(net, criterion, d) == pytest.approx(rate(other, criterion, np.ones(5)), rel=0.02)


def test_dies_keep_their_slopes():
    net, bounds = drawn("rate-tanh", 3, 0.15), uneven(3)
    found = direp.certify(net, slopes=bounds, mismatch=0.05)
    assert found
    assert "every die within 5 %" in found.claim
    assert "with any activations whose slopes are within" in found.claim
    die = direp.Mismatch(0.05).die(net, np.random.default_rng(0))
    assert rate(die, direp.Perron(), bounds) >= found.rate - 1e-9


def test_a_certificate_of_given_slopes_is_of_networks_within_them():
    net = drawn("rate-tanh", 0, 0.1)
    wide = direp.certify(net, slopes=np.full(5, 1.2))
    wide.check_network(net)
    narrow = direp.certify(net, slopes=Slopes(np.full(5, 0.5), "a data sheet"))
    assert narrow
    with pytest.raises(ValueError, match=r"\(a data sheet\), \[0, 0.5\] of h0, and tanh declares \[0, 1\]"):
        narrow.check_network(net)
    loose = direp.certify(net, slopes=np.full(5, 50.0))
    assert (loose.verdict, loose.counterexample) == ("undecided", None)
    assert "no activation that could be run" in loose.reason


def test_phases_that_need_the_activation_are_not_covered():
    net = drawn("rate-tanh", 0, 0.1)
    found = direp.certify(net, rule=direp.AsymEP(0.1), slopes=np.ones(5))
    assert found.verdict == "undecided"
    assert "its bounds are those of the network's own activation" in found.uncovered[0]


@pytest.mark.parametrize(
    ("slopes", "more", "message"),
    [
        (np.ones(4), {}, "are of 4 units; the network has 5 free ones"),
        (np.ones((2, 5)), {}, r"shape \(2, 5\); give real numbers"),
        (-np.ones(5), {}, "of free unit 0 have d1 = 0 above d2 = -1"),
        (np.tile([1.0, 0.5], (5, 1)), {}, "d1 = 1 above d2 = 0.5: give the lower first"),
        (np.array([1, 1, np.nan, 1, 1]), {}, "of free unit 2 are 0 and nan"),
        (np.full(5, np.inf), {}, "nothing is proved without bounds"),
        (np.ones(5), {"x": np.zeros((1, 1))}, "no activation is read: leave x or slopes out"),
        (np.ones(5), {"inputs": np.zeros((1, 1))}, "leave inputs or slopes out"),
        (Slopes(np.ones(5), side="rate"), {}, "bound the rate function, and the other one of Rate is curved"),
    ],
)
def test_wrong_use_is_told(slopes, more, message):
    with pytest.raises(ValueError, match=message):
        direp.certify(drawn("rate-tanh", 0), slopes=slopes, **more)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A ring as .npz and as CSV, and the slopes of its units in every kind of file."""
    monkeypatch.chdir(tmp_path)
    np.savez("ring.npz", weight=RING, leak=1.0)
    np.savez("inside.npz", weight=RING, leak=1.0, slopes=np.array([0.1, 2.0, 1.0]), outputs=2)
    names = "abc"
    lines = [f"{name},{','.join(map(str, row))}" for name, row in zip(names, RING, strict=True)]
    Path("W.csv").write_text("\n".join([",a,b,c", *lines]) + "\n")
    Path("d2.csv").write_text("0.1\n2.0\n1.0\n")
    Path("named.csv").write_text("unit,d2\nb,2.0\nc,1.0\na,0.1\n")
    Path("few.csv").write_text("0,1\n0,1\n")
    Path("nan.csv").write_text("0,1\n0,nan\n0,1\n")
    Path("text.csv").write_text("0,1\n0,big\n0,1\n")
    Path("other.csv").write_text("unit,d2\nb,2.0\nc,1.0\nd,0.1\n")
    np.save("both.npy", np.array([[0, 0.1], [0, 2], [0, 1]]))
    np.savez("both.npz", slopes=np.array([[0, 0.1], [0, 2], [0, 1]]))
    np.savez("none.npz", slope=np.ones(3))
    (tmp_path / "bad.npy").write_bytes(b"junk")
    Path("loop.csv").write_text(",a,b\na,0.5,0.1\nb,0.1,0\n")
    return tmp_path


def test_every_kind_of_file_says_the_same(files):
    said = []
    for path, slopes in (
        ("W.csv", "d2.csv"), ("W.csv", "named.csv"), ("ring.npz", "both.npy"), ("ring.npz", "both.npz"),
        ("inside.npz", None),
    ):  # fmt: skip
        given = () if slopes is None else ("--slopes", slopes)
        code, out, err = call("certify", path, *given, "--neuron", "rate", "--json", "--criterion", "perron")
        assert (code, err) == (0, "")
        found = json.loads(out)["convergence"]
        said.append((found["rate"], found["slopes"]["bounds"], found["slopes"]["side"]))
        source = slopes or "slopes of inside.npz"
        assert f"of every unit stays within bounds of its own ({source})" in " ".join(found["assumptions"])
    assert all(each == said[0] for each in said)
    assert said[0][0] == pytest.approx(1 - 0.9 * 0.2 ** (1 / 3), rel=1e-6)  # the ring's gain: the mean of its slopes
    assert said[0][1:] == ([[0, 0.1], [0, 2], [0, 1]], "transfer")
    code, out, err = call("certify", "W.csv", "--slopes", "d2.csv", "--neuron", "hopfield", "--mismatch", "largest")
    assert code == 0, err
    assert "Hopfield (slopes from d2.csv)" in out
    assert "the slope of the rate function of every unit" in out
    code, out, _ = call("certify", "ring.npz", "--neuron", "rate", "--slopes", "both.npy", "--criterion", "rows")
    assert code == 5
    assert "no activation that could be run" in out


def test_a_matrix_names_its_outputs(files):
    asked = ("--nudge", "centred", "--beta", "0.5", "--json", "--no-figures", "--neuron", "rate", "--criterion", "rows")
    np.savez("two.npz", weight=np.zeros((3, 3)), leak=np.array([1.0, 0.6, 1.0]), outputs=2)
    np.savez("one.npz", weight=np.zeros((3, 3)), leak=np.array([1.0, 0.6, 1.0]))
    for path, least in (("two.npz", 0.1), ("one.npz", 0.5)):  # beta of 0.5 acts on the unit whose leak is 0.6, or not
        code, out, _ = call("certify", path, *asked)
        assert code == 0
        assert json.loads(out)["convergence"]["phases"]["beta=-0.5"] == pytest.approx(least)
    np.savez("four.npz", weight=RING, leak=1.0, outputs=4)
    code, _, err = call("certify", "four.npz")
    assert (code, "outputs is 4; give 1 to 3" in err, err.count("\n")) == (2, True, 1)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["W.csv", "--slopes", "few.csv"], 2, "(few.csv) are of 2 units; the network has 3 free ones"),
        (["W.csv", "--slopes", "nan.csv"], 2, "of free unit 1 are 0 and nan"),
        (["W.csv", "--slopes", "text.csv"], 2, "'big' is no number"),
        (["W.csv", "--slopes", "other.csv"], 2, "'d' is no free unit of the network; they are a, b, c"),
        (["W.csv", "--slopes", "nowhere.csv"], 3, "nowhere.csv does not exist"),
        (["W.csv", "--slopes", "bad.npy"], 3, "not a readable .npy"),
        (["W.csv", "--slopes", "none.npz"], 3, "holds slope; needed is slopes"),
        (["W.csv", "--slopes", "d2.txt"], 3, "is no file of slopes"),
        (["W.csv", "--slopes", "d2.csv", "--activation", "tanh"], 2, "has slopes of its own, and --slopes are others"),
        (["W.csv", "--slopes", "d2.csv", "--input-range", "0", "1"], 2, "find slopes from an activation"),
        (["inside.npz", "--slopes", "d2.csv"], 2, "inside.npz holds slopes itself"),
        (["inside.npz", "--activation", "tanh"], 2, "the slopes of inside.npz are others"),
        (["loop.csv", "--slopes", "few.csv"], 0, ""),
        (["loop.csv", "--slopes", "half.csv"], 2, "where slopes are not 1 that is another network"),
    ],
)
def test_wrong_files_get_one_line(arguments, code, message, files):
    Path("few.csv").write_text("1,1\n1,1\n" if code == 0 else "0,1\n0,1\n")
    Path("half.csv").write_text("0.5\n0.5\n")
    got, out, err = call("certify", *arguments, "--no-figures")
    assert got == code
    assert message in err
    assert code == 0 or (out == "" and err.splitlines()[-1:] == [err.splitlines()[-1]])


def test_what_has_an_activation_keeps_its_own_slopes(files):
    save_network("net.safetensors", network("rate-tanh", "none"))
    got, out, err = call("certify", "net.safetensors", "--slopes", "d2.csv")
    assert (got, out, err.count("\n")) == (2, "", 1)
    assert "the units of net.safetensors have an activation, with slopes of its own" in err
    (files / "run").mkdir()
    assert "the units of run have an activation" in call("certify", "run", "--slopes", "d2.csv")[2]
