"""Signs of large quadratic forms in 64 bits: T3 for whole training sets, against balls and against exact fractions."""

from fractions import Fraction

import extending.layout as example
import numpy as np
import pytest
from cases import SOME, data, network, oracle

import direp
from direp.arithmetic import Form, Near, precise
from direp.certificates.learning import directions
from direp.certificates.learning.linear import Sample


def near(values, radius=0.0):
    values = np.asarray(values, float)
    return Near(values, np.broadcast_to(np.asarray(radius, float), values.shape))


def form(one, other, radius=0.0, blocks=3):
    made = Form(len(one))
    for columns in np.array_split(np.arange(one.shape[1]), blocks):
        made.add(near(one[:, columns], radius), near(other[:, columns], radius))
    return made


def definite_in_fractions(one, other):
    """Sylvester's criterion by elimination in rational numbers."""
    a, b = ([[Fraction(float(v)) for v in row] for row in part] for part in (one, other))
    size = len(a)
    m = [[sum(x * y for x, y in zip(a[i], b[j], strict=True)) for j in range(size)] for i in range(size)]
    m = [[m[i][j] + m[j][i] for j in range(size)] for i in range(size)]
    for k in range(size):
        if m[k][k] <= 0:
            return False
        for i in range(k + 1, size):
            factor = m[i][k] / m[k][k]
            m[i] = [u - factor * v for u, v in zip(m[i], m[k], strict=True)]
    return True


def test_a_sign_is_never_wrong_and_open_only_near_zero():
    rng = np.random.default_rng(0)
    signs = {-1: 0, 0: 0, 1: 0}
    for k in range(60):
        one = rng.normal(size=(5, 8)) * 10.0 ** rng.uniform(-40, 40, (5, 1))  # rows of all sizes
        other = one + one * rng.normal(0, 0.4, one.shape)
        if k % 3 == 0:  # nearly singular: one row is another and a hair
            one[4] = one[3] * (1 + 10.0 ** rng.uniform(-17, -3) * rng.normal(size=8))
            other[4] = other[3] * (1 + 10.0 ** rng.uniform(-17, -3) * rng.normal(size=8))
        sign = form(one, other).sign()
        signs[sign] += 1
        assert sign == 0 or (sign > 0) == definite_in_fractions(one, other)
        assert sign != 0 or k % 3 == 0
    assert all(signs.values()), signs


def test_a_radius_counts_as_its_worst_case():
    rng = np.random.default_rng(1)
    one = rng.normal(size=(6, 40))
    least = np.linalg.eigvalsh(one @ one.T)[0]
    direction = np.linalg.eigh(one @ one.T)[1][:, 0]
    worst = -np.outer(np.sign(direction), np.sign(direction @ one))  # what lowers this direction most
    signs = []
    for radius in np.geomspace(1e-6, 1, 25) * np.sqrt(least):
        signs.append(form(one, one, radius).sign())
        low = np.linalg.eigvalsh((one + radius * worst) @ (one + radius * worst).T)[0]
        mixed = (one + radius * worst) @ (one - radius * worst).T
        if signs[-1] == 1:
            assert min(low, np.linalg.eigvalsh((mixed + mixed.T) / 2)[0]) > 0
    assert signs[0] == 1
    assert signs[-1] == 0
    assert not form(np.zeros((2, 3)), np.zeros((2, 3))).sign()


def test_near_holds_exact_results():
    rng = np.random.default_rng(2)
    numbers = rng.normal(size=(2, 3, 7)) * 10.0 ** rng.uniform(-160, 100, (2, 3, 7))
    numbers[0, 0, :2] = 0.0
    one, other = (near(part, np.where(part == 0, 0.0, 1e-170)) for part in numbers)
    starts = np.array([0, 2, 3])
    exactly = np.vectorize(Fraction, otypes=[object])
    a, b = exactly(one.mid), exactly(other.mid)
    for found, true in (
        (one * other, a * b), (one - other, a - b), ((one * other).sums(starts), np.add.reduceat(a * b, starts, 1)),
    ):  # fmt: skip
        assert (abs(true - exactly(found.mid)) <= exactly(found.rad)).all()
    assert (one * other).none[0, :2].all()


def both_ways(net, x, y, monkeypatch):
    """T3 in balls, and by blocks in 64 bits."""
    with precise():
        samples = [Sample.at(net, *each) for each in zip(x, y, oracle(net).settle(x, y), strict=True)]
        outputs = np.arange(net.graph.hidden, net.graph.free)
        in_balls = directions._outputs(samples, outputs)
        monkeypatch.setattr(directions, "_SMALL", (0, 0))
        in_floats = directions._outputs(samples, outputs)
        monkeypatch.undo()
    return in_balls, in_floats


@pytest.mark.parametrize(("neuron", "outflow"), SOME)
def test_blocks_in_64_bits_and_balls_find_the_same_form(neuron, outflow, monkeypatch):
    decided = 0
    for seed, symmetric in ((0, True), (1, False), (2, False)):
        net = network(neuron, outflow, seed=seed, scale=(0.3, 0.1)[seed % 2], symmetric=symmetric)
        one, other = both_ways(net, *data(net.graph, 4, seed), monkeypatch)
        assert one == other
        decided += one.verdict != "undecided"
    assert decided


@pytest.mark.parametrize("outflow", ["none", "signed", "absolute"])
def test_strengths_that_are_shared_add_up(outflow, monkeypatch):
    layout = example.Convolution(inputs=4, hidden=2, outputs=2, width=2)
    seen = set()
    for seed in range(4):
        rng = np.random.default_rng(seed)
        weight = layout.build(lambda i, j: rng.normal(0, 0.6, np.broadcast_shapes(np.shape(i), np.shape(j))))  # noqa: B023
        net = direp.Network(layout.graph, direp.Rate("tanh", outflow), weight, leak=6.0, bias=0.2, layout=layout)
        one, other = both_ways(net, *data(net.graph, 2, seed), monkeypatch)
        assert one == other
        seen.add(one.verdict)
        alone = direp.Network(net.graph, net.neuron, net.matrix, leak=net.leak, bias=net.bias)
        seen.add((one.verdict, both_ways(alone, *data(net.graph, 2, seed), monkeypatch)[1].verdict))
    assert len(seen) > 2  # verdicts differ, and sharing changes some


def test_hundreds_of_pairs_are_decided_and_too_many_are_told():
    graph = direp.Graph.layered([24, 4, 2])
    net = network("hopfield-sigmoid", "none", graph, symmetric=True)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 24)), rng.random((60, 2))
    with precise():
        states = oracle(net).settle(x, y)
        samples = [Sample.at(net, *each) for each in zip(x, y, states, strict=True)]
        outputs = np.arange(graph.hidden, graph.free)
        few, many = directions._outputs(samples[:33], outputs), directions._outputs(samples, outputs)
    assert few.proved
    assert not many.proved
    assert "120 pairs of sample and output, but only 118 numbers that learn" in many.note
