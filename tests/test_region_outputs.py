"""Regions of several outputs: the form over their errors, against plain NumPy at points of every part."""

import numpy as np
import pytest
from campaigns.learning_oracle import Net
from test_region import neuron

import direp
from direp.certificates.region.bounds import _sign
from direp.certificates.region.box import Box
from direp.certificates.region.point import inner_product
from direp.certificates.region.region import certify_region
from direp.model.activation import hard_sigmoid, identity, tanh

KINDS = [("projected", identity, "none"), ("projected", identity, "signed"), ("hopfield", tanh, "absolute"),
         ("rate", hard_sigmoid, "none")]  # fmt: skip


def drawn(kind, activation, outflow, seed, outputs=2):
    rng = np.random.default_rng(seed)
    graph = (direp.Graph.complete, lambda i, h, o: direp.Graph.layered([i, h, o]))[seed % 2](2, 2, outputs)
    size = rng.choice([0.15, 0.5, 0.9])
    matrix = np.where(graph.adjacency(), rng.normal(0.1, size, (graph.units, graph.free)), 0)
    made = direp.Network(
        graph, neuron(kind, activation, outflow), matrix, leak=rng.uniform(0.8, 2.0, graph.free) + size,
        bias=rng.normal(0.4, 0.3, graph.free),
    )  # fmt: skip
    weight = np.zeros(matrix.shape)
    inner = np.argwhere(graph.adjacency()[2:])
    for i, j in inner[rng.choice(len(inner), 2, replace=False)]:
        weight[2 + i, j] = rng.choice([0.1, 0.4, 1.0])
    return Box.around(made, rng.uniform(0.2, 1.2, 2), weight=weight, x_radius=[0.1, 0.0])


def form(network, x, kind, activation):
    """The gradient of each output's error against the rule's for each, in NumPy."""
    graph = network.graph
    numbers = (np.asarray(each) for each in (network.bias, network.leak))
    net = Net(
        kind, activation.name, network.neuron.outflow.name, graph.inputs, graph.outputs, np.asarray(network.matrix),
        graph.adjacency(), *numbers, graph.bias, None,
    )  # fmt: skip
    x = np.asarray(x, float)[None]
    state = net.settle(x, np.zeros((1, graph.outputs)))
    rate = net.rate(state)[:, graph.hidden :]
    targets = [rate - unit for unit in np.eye(graph.outputs)]
    exact = np.stack([net.gradient(x, y, state)[0] for y in targets])
    rule = np.stack([net.limit_rule(x, y, state)[0] for y in targets])
    product = exact @ rule.T
    return (product + product.T) / 2


@pytest.mark.parametrize(("kind", "activation", "outflow"), KINDS, ids=lambda k: getattr(k, "name", k))
def test_no_point_contradicts_what_is_proved_for_several_outputs(kind, activation, outflow):
    seen = {}
    for seed in range(4):
        box = drawn(kind, activation, outflow, seed, 2 + seed // 3)
        region = certify_region(box, effort=120)
        rng = np.random.default_rng(seed)
        low, high = box.least[box.varying], box.most[box.varying]
        values = low + (high - low) * rng.random((20, len(low)))
        for name, (least, most) in region.boxes.items():
            if len(least) and name != "undecided":
                k = rng.integers(len(least), size=10)
                values = np.concatenate([values, least[k] + (most - least)[k] * rng.random((10, len(low)))])
        for value, name in zip(values, region.find(values), strict=True):
            network, x = box.point(value)
            found = form(network, x, kind, activation)
            seen[name] = seen.get(name, 0) + 1
            loud = np.flatnonzero(np.abs(found).sum(0) > 1e-14)
            lowest = np.linalg.eigvalsh(found[np.ix_(loud, loud)])[0] if len(loud) else None
            fine = {
                "proved": lowest is not None and lowest > -1e-10, "refuted": lowest is not None and lowest < 1e-10,
                "flat": lowest is None, "edge": lowest is None or lowest > -1e-10, "undecided": True,
            }  # fmt: skip
            assert fine[name], (seed, name, found)
        if region.verdict == "refuted":
            point = region.counterexample
            found = form(point.network, point.x, kind, activation)
            assert point.error @ found @ point.error == pytest.approx(np.mean(point.inner), rel=1e-6)
            assert point.inner[1] < 0
            assert np.linalg.norm(point.error) == pytest.approx(1)
            seen["counter-examples"] = seen.get("counter-examples", 0) + 1
    assert seen.get("proved", 0) + seen.get("refuted", 0) > 20, seen
    assert seen.get("proved", 0) > 5, seen


def test_the_lowest_error_is_found_and_its_product_enclosed():
    box = drawn("rate", tanh, "none", 1)
    network, x = box.point(box.least[box.varying])
    _, inner, error = inner_product(network, x)
    found = form(network, x, "rate", tanh)
    assert np.mean(inner) == pytest.approx(np.linalg.eigvalsh(found)[0], rel=1e-6)
    assert error @ found @ error == pytest.approx(np.mean(inner), rel=1e-6)


def test_the_sign_of_a_matrix_of_forms_holds_for_every_member():
    from direp.arithmetic import Affine

    rng = np.random.default_rng(0)
    boxes, size, axes = 300, 3, 2
    middle = rng.normal(size=(boxes, size, size))
    middle = middle @ middle.swapaxes(1, 2) + rng.uniform(-1.5, 0.5, (boxes, 1, 1)) * np.eye(size)
    coef = 0.3 * rng.normal(size=(axes, boxes, size, size)) * rng.choice([0.01, 1.0], boxes)[:, None, None]
    err = 0.01 * rng.random((boxes, size, size))
    pairs = [[Affine(middle[:, o, p], coef[:, :, o, p], err[:, o, p]) for p in range(size)] for o in range(size)]
    flat = rng.random((boxes, size)) < 0.1
    sign, along = _sign(pairs, flat)
    for _ in range(200):
        at, noise = rng.choice([-1, 1], axes), rng.choice([-1, 1], err.shape) * err
        members = middle + np.einsum("k,knop->nop", at, coef) + noise
        members = (members + members.swapaxes(1, 2)) / 2
        members = np.where(flat[:, :, None] | flat[:, None, :], np.eye(size) * 1e3, members)
        lowest = np.linalg.eigvalsh(members)[:, 0]
        assert (lowest[sign > 0] > 0).all()
        assert (lowest[sign < 0] < 0).all()
    assert min((sign > 0).sum(), (sign < 0).sum(), (sign == 0).sum()) > 20
    assert np.isfinite(along.mid).all()
