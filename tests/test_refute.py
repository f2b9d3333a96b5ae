"""Refuted implies a counter-example that is proved again, from its file too; and known cases are found."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
from cases import NEURONS, network, settle

import direp
from direp.certificates.convergence.equilibria import enclose
from direp.certificates.convergence.refute import Counterexample, search
from direp.model.activation import relu, softplus, tanh
from direp.program.matrix_file import network_from_matrix
from direp.program.network_file import load_counterexample, load_network, save_network
from direp.runs import Unreadable


def pair(neuron, there, back, leak=1.0, bias=0.0):
    """Two units that send to each other, the first driven by the input."""
    graph = direp.Graph.from_edges([("x", "a"), ("a", "b"), ("b", "a")], inputs=["x"], outputs=["b"])
    return direp.Network(graph, neuron, np.array([[1.0, 0], [0, there], [back, 0]]), leak=leak, bias=bias)


def ring(size, weight):
    """Each unit inhibits the next: with an odd number of them and enough weight, activity runs round for ever."""
    edges = [("x", "u0"), *((f"u{k}", f"u{(k + 1) % size}") for k in range(size))]
    graph = direp.Graph.from_edges(edges, inputs=["x"], outputs=[f"u{size - 1}"])
    matrix = np.zeros((size + 1, size))
    for i, j in edges:
        matrix[graph.names.index(i), graph.names.index(j) - 1] = 0.0 if i == "x" else weight
    return direp.Network(graph, direp.Rate(tanh), matrix)


CASES = {
    "two equilibria": [
        pair(direp.Projected(), -2.0, -2.0, bias=1.5),
        pair(direp.Hopfield(tanh), 2.0, 2.0),
        pair(direp.Rate(direp.activation.sigmoid), 8.0, 8.0, bias=-4.0),
        pair(direp.Rate(direp.activation.hard_sigmoid), 3.0, 3.0, bias=-1.0),
    ],
    "cycle": [ring(3, -3.0), ring(5, -2.0)],
    "growth": [
        pair(direp.Rate(relu), 2.0, 2.0),
        pair(direp.Rate(softplus), 2.0, 1.0),
        pair(direp.Hopfield(relu), 1.5, 1.5, bias=-3.0),
        pair(direp.Rate(tanh, "signed"), -3.0, 0.5, leak=0.5),
        pair(direp.Hopfield(tanh, "signed"), -3.0, 0.5, leak=0.5),
    ],
}


@functools.cache
def certified(kind, number):
    """By the kind and the place in `CASES`, since networks cannot be keys."""
    return direp.certify(CASES[kind][number])


KNOWN = [pytest.param(kind, k, id=f"{kind}-{k}") for kind, nets in CASES.items() for k in range(len(nets))]


@pytest.mark.parametrize(("kind", "number"), KNOWN)
def test_known_cases_are_refuted_and_their_files_prove_it_again(kind, number, tmp_path):
    net = CASES[kind][number]
    certificate = certified(kind, number)
    assert certificate.verdict == "refuted"
    assert certificate.criterion == kind
    example = certificate.counterexample
    assert example.check(net)
    path = tmp_path / "example.safetensors"
    save_network(path, net, example)
    again = load_network(path)
    assert again.graph == net.graph
    assert again.neuron == net.neuron
    assert load_counterexample(path).check(again)
    assert (np.asarray(again.matrix) == np.asarray(net.matrix)).all()
    # A mended network is no longer refuted by it.
    mended = net.replace(net.parameters._replace(leak=net.leak + certificate.remedy.common_leak))
    assert direp.certify(mended).verdict == "proved"
    assert not example.check(mended)


@pytest.mark.parametrize(("kind", "number"), KNOWN)
def test_a_counterexample_shows_in_a_plain_simulation(kind, number):
    """Not proofs but a look: the states rest, turn or grow as the counter-example says."""
    net, example = CASES[kind][number], certified(kind, number).counterexample
    inner, x = np.asarray(net.matrix), example.x
    leak, bias = np.asarray(net.total_leak()), np.asarray(net.bias)

    def field(s):
        sent = np.asarray(net.neuron.rate(jnp.asarray(s)))
        drive = np.concatenate([np.broadcast_to(x, (*s.shape[:-1], 1)), sent], -1) @ inner + bias
        return np.asarray(net.neuron.transfer(jnp.asarray(drive))) - leak * s

    def follow(s, steps, h=0.02):
        for _ in range(steps):
            s = np.asarray(net.neuron.clip(jnp.asarray(s + h * field(s))))
        return s

    if kind == "two equilibria":
        for state in example.states:
            assert np.abs(follow(state, 1) - state).max() < 1e-9
        assert np.abs(example.states[0] - example.states[1]).max() > 1e-3
    elif kind == "cycle":
        late = follow(example.states[1], 500)
        assert np.abs(field(late)).max() > 1e-2
        assert np.abs(late).max() < 10
    else:
        start = np.abs(example.states[0]).max()
        assert np.abs(follow(example.states[0], 600)).max() > 2 * start


@pytest.mark.parametrize("neuron", NEURONS)
def test_equilibria_that_settling_finds_can_be_enclosed(neuron):
    net = network(neuron, "signed", seed=4)
    x = np.random.default_rng(0).random((3, 2))
    settled = settle(net, x, stop=direp.Tolerance(1e-13, 1e-14))
    found = 0
    for each, state in zip(x, np.asarray(settled.state), strict=True):
        equilibrium = enclose(net, each, state)
        if equilibrium is not None:  # a unit exactly at a corner of its activation cannot be
            found += 1
            assert np.abs(equilibrium.middle - state).max() < 1e-9
            assert not equilibrium.unstable()
            assert not equilibrium.differs(equilibrium)
    assert found >= 2
    assert enclose(net, x[0], np.asarray(settled.state)[0] + 0.3) is None or neuron != "projected"


@pytest.mark.parametrize("neuron", NEURONS)
def test_what_is_proved_is_never_refuted(neuron):
    for seed in range(2):
        net = network(neuron, "signed", seed=seed)
        assert direp.certify(net)
        found = search(net, starts=8)
        assert found.counterexample is None
        assert found.settled == found.starts
        assert found.places == 1
        assert found.slowest < 0


def test_wrong_arguments_are_refused_in_words():
    net = network("projected", "signed")
    with pytest.raises(ValueError, match=r"certify\(x=...\) has shape"):
        direp.certify(net, x=np.zeros((2, 5)))
    with pytest.raises(ValueError, match="name at least one criterion"):
        direp.certify(net, criteria=())
    assert direp.certify(net, x=np.zeros((0, 2)))


def test_a_forged_counterexample_does_not_pass():
    net = network("projected", "signed")
    x, state = np.zeros(2), np.full((2, net.graph.free), 0.5)
    for kind in ("two equilibria", "unstable equilibrium", "cycle"):
        assert not Counterexample(kind, x, state).check(net)
    grower = network("rate-softplus", "none")
    assert not Counterexample("growth", x, state * 1e6, np.ones(net.graph.free)).check(grower)


def test_without_enclosures_nothing_is_refuted_and_the_search_says_what_it_saw():
    steep = direp.Activation("steep", lambda s: jnp.tanh(3 * s), (-1.0, 1.0), (0.0, 3.0))
    certificate = direp.certify(pair(direp.Rate(steep), 2.0, 2.0))
    assert certificate.verdict == "undecided"
    assert "could not be proved" in certificate.reason
    with pytest.raises(ValueError, match="'steep' is not one of"):
        save_network("nowhere", pair(direp.Rate(steep), 2.0, 2.0))


@pytest.mark.parametrize("layout", ["complete", "layered", "sparse"])
def test_network_files_hold_everything(layout, tmp_path):
    graph = {
        "complete": direp.Graph.complete(2, 4, 1),
        "layered": direp.Graph.layered([2, 3, 3, 1], lateral=True),
        "sparse": direp.Graph.random(2, 2500, 1, density=2e-3),
    }[layout]
    key = __import__("jax").random.key(0)
    net = direp.Network(graph, direp.Hopfield(tanh, "absolute"), key=key, leak=2.0, dtype=jnp.float32)
    path = tmp_path / "net.safetensors"
    save_network(path, net)
    again = load_network(path)
    assert type(again.synapses) is type(net.synapses)
    assert (again.graph, again.neuron, again.dtype) == (net.graph, net.neuron, net.dtype)
    assert load_counterexample(path) is None
    x = np.random.default_rng(0).random((2, 2))
    one, two = settle(net, x), settle(again, x)
    assert (np.asarray(one.state) == np.asarray(two.state)).all()


def test_matrices_with_leaks_are_read(tmp_path):
    path = tmp_path / "matrix.npz"
    weight = np.array([[0, 0.5, 0], [0, 0, -0.4], [0.3, 0, 0]])
    np.savez(path, weight=weight, leak=np.array([1.0, 2.0, 3.0]))
    net = network_from_matrix(path, direp.Projected())
    assert (np.asarray(net.matrix)[3:] == weight).all()
    assert (np.asarray(net.matrix)[:3] == np.eye(3)).all()
    assert (np.asarray(net.leak) == [1, 2, 3]).all()
    source, target = np.nonzero(weight)
    np.savez(path, source=source, target=target, strength=weight[source, target], leak=np.array([1.0, 2.0, 3.0]))
    assert (np.asarray(network_from_matrix(path, direp.Projected()).matrix) == np.asarray(net.matrix)).all()
    np.savez(path, weight=np.triu(np.ones((3, 3)), 1), leak=1.5, inputs=1, bias=np.array([0.1, 0.2]))
    net = network_from_matrix(path, direp.Projected())
    assert (net.graph.inputs, net.graph.free) == (1, 2)
    assert (np.asarray(net.bias) == [0.1, 0.2]).all()


def test_damaged_and_foreign_files_are_unreadable(tmp_path):
    path = tmp_path / "net.safetensors"
    save_network(path, network("projected", "signed"))
    content = path.read_bytes()
    (tmp_path / "half.safetensors").write_bytes(content[: len(content) // 2])
    (tmp_path / "foreign.safetensors").write_bytes(b"nothing of the kind")
    for name in ("half", "foreign", "missing"):
        with pytest.raises(Unreadable):
            load_network(tmp_path / f"{name}.safetensors")
    save_network(path, network("projected", "signed"), Counterexample("cycle", np.zeros(2), np.zeros((2, 6))))
    altered = path.read_bytes().replace(b"cycle", b"cicle")
    path.write_bytes(altered)
    with pytest.raises(Unreadable, match="damaged"):
        load_counterexample(path)
