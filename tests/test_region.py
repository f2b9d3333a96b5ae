"""Region certificates: never wrong on random networks, sharp on small ones, and closed forms that say the same."""

import importlib

import jax.numpy as jnp
import numpy as np
import pytest
from cases import OUTFLOWS, estimate, settle
from region_oracle import settled_sign

import direp
from direp.arithmetic.affine import Affine
from direp.arithmetic.interval import Interval
from direp.certificates.region import states as region_states
from direp.certificates.region.box import Box
from direp.certificates.region.point import inner_product
from direp.certificates.region.region import certify_region
from direp.model.activation import hard_sigmoid, identity, sigmoid, softplus, tanh

region_bounds = importlib.import_module("direp.certificates.region.bounds")
KINDS = [("projected", identity), ("hopfield", hard_sigmoid), ("hopfield", sigmoid), ("hopfield", tanh),
         ("rate", hard_sigmoid), ("rate", sigmoid), ("rate", tanh), ("rate", identity)]  # fmt: skip
FINE = direp.Tolerance(1e-14, 1e-14)
GRAPHS = (
    lambda h, bias: direp.Graph.complete(1, h, 1, bias=bias),
    lambda h, bias: direp.Graph.layered([2, h, 1], bias=bias),
    lambda h, bias: direp.Graph.layered([1, h, 1], skip=True, lateral=True, bias=bias),
)


def neuron(kind, activation, outflow):
    if kind == "projected":
        return direp.Projected(outflow=outflow)
    return (direp.Hopfield if kind == "hopfield" else direp.Rate)(activation, outflow=outflow)


def draw(kind, activation, outflow, seed):
    """A random network, and a box around it in which a few numbers of each kind vary."""
    rng = np.random.default_rng(seed)
    graph = GRAPHS[seed % 3](int(rng.integers(1, 4)), bool(rng.integers(2)))
    synapse = graph.adjacency()
    matrix = rng.normal(0.15, 0.4 if activation is identity and kind != "projected" else 0.9, synapse.shape) * synapse
    leak = rng.uniform(0.6, 2.5, graph.free) + 1.5 * (outflow == "signed")
    bias = rng.normal(0.3, 0.5, graph.free) if graph.bias else None
    made = direp.Network(graph, neuron(kind, activation, outflow), matrix, leak=leak, bias=bias)
    # Few coordinates, so that a few hundred boxes decide most of it: two synapses, a leak, perhaps a bias, an input.
    two = np.zeros(graph.synapses)
    two[-2:] = rng.choice([0.1, 0.3, 0.6])
    weight = np.zeros(synapse.shape)
    weight[synapse] = rng.permutation(two)
    one = np.eye(graph.free)[rng.integers(graph.free)]
    return Box.around(
        made, rng.uniform(0.3, 1.5, graph.inputs), weight=weight, leak=0.3 * leak * one, bias=0.2 * one * (seed % 2),
        x_radius=0.2 * np.eye(graph.inputs)[0],
    )  # fmt: skip


def oracle(box, values, kind, activation, start=0.3):
    flat = np.repeat(box.least[None], len(values), 0)
    flat[:, box.varying] = values
    graph, outflow = box.low.graph, box.low.neuron.outflow.name
    weight, bias, leak, x = np.split(flat, np.cumsum([graph.units * graph.free, graph.free, graph.free]), 1)
    weight = weight.reshape(-1, graph.units, graph.free)
    return settled_sign(
        kind, activation.name, outflow, graph.adjacency(), graph.bias, weight, bias, leak, x, start, steps=2500
    )


def points(region, rng, count=60):
    """Points all over the box, and in it near the corners of the parts that are decided."""
    low, high = region.box.least[region.box.varying], region.box.most[region.box.varying]
    out = [low + (high - low) * rng.random((count, len(low)))]
    for name in ("proved", "refuted", "edge", "flat"):
        least, most = region.boxes[name]
        if len(least):
            k = rng.integers(len(least), size=count)
            out.append(least[k] + (most - least)[k] * rng.normal(0.5, 0.7, (count, len(low))).clip(0, 1))
    return np.concatenate(out)


def violations(box, kind, activation, seed, effort=300, count=40):
    """How many settled points each part holds, and how many of them contradict it."""
    region = certify_region(box, effort=effort)
    values = points(region, np.random.default_rng(seed), count)
    found = region.find(values)
    cosine, good, _ = oracle(box, values, kind, activation, start=(0.1, 0.9)[seed % 2])
    fine = {"proved": cosine > -1e-9, "refuted": cosine < 1e-9, "flat": np.isnan(cosine)}
    fine["edge"] = fine["proved"] | fine["flat"]
    inside = {name: good & (found == name) for name in fine}
    counts = np.array([inside[name].sum() for name in fine])
    return counts, sum(int((inside[name] & ~fine[name]).sum()) for name in fine)


def one_hidden(
    outflow="none", forth=(-1.5, 1.5), back=(-1.5, 1.5), leak=(0.5, 0.7), x=(0.7, 1.0), leak_o=3.0, bias=0.2
):
    graph = direp.Graph.complete(1, 1, 1)
    ends = [
        direp.Network(
            graph, direp.Projected(outflow=outflow), np.array([[0.3, 1.0], [0, forth[k]], [back[k], 0]]),
            leak=[leak[k], 3.0], bias=bias,
        )
        for k in (0, 1)
    ]  # fmt: skip
    return Box(*ends, [x[0]], [x[1]])


@pytest.mark.parametrize("outflow", OUTFLOWS)
@pytest.mark.parametrize(("kind", "activation"), KINDS, ids=lambda v: getattr(v, "name", v))
def test_no_point_contradicts_what_is_proved_of_its_part(kind, activation, outflow):
    total = np.zeros(4, int)
    for seed in range(4):
        counts, wrong = violations(draw(kind, activation, outflow, seed), kind, activation, seed)
        assert wrong == 0, seed
        total += counts
    assert total[0] > 60


def broken(monkeypatch, what):
    if what == "second order left out":
        monkeypatch.setattr(Affine, "radius", property(lambda self: self.spread))
    elif what == "inward products":
        times = Interval.__mul__

        def inward(self, other):
            product = times(self, other)
            middle, half = (product.low + product.high) / 2, (product.high - product.low) / 4
            return Interval(middle - half, middle + half)

        for name in ("__mul__", "__rmul__"):
            monkeypatch.setattr(Interval, name, inward)
    elif what == "held units forgotten":
        states = region_states.Family.states

        def all_active(self, *arguments):
            enclosed, cases = states(self, *arguments)
            return enclosed, np.broadcast_to([False, True, False], cases.shape)

        monkeypatch.setattr(region_states.Family, "states", all_active)
    elif what == "rule taken for gradient":
        product = region_bounds._product
        monkeypatch.setattr(region_bounds, "_product", lambda *a: product(*a[:5], (a[5][0],) * 2, (a[6][0],) * 2))


@pytest.mark.parametrize(
    "what", ["second order left out", "inward products", "held units forgotten", "rule taken for gradient"]
)
def test_a_broken_bound_is_caught(monkeypatch, what):
    broken(monkeypatch, what)
    seen = [violations(one_hidden(), "projected", identity, 0, effort, count=2000)[1] for effort in (30, 3000)]
    assert max(seen) > 0


def test_most_of_the_region_is_proved_and_a_refutation_is_a_promise():
    region = certify_region(one_hidden(), effort=8000)
    assert region.verdict == "refuted"
    assert sum(region.shares.values()) == pytest.approx(1, abs=1e-12)
    rng = np.random.default_rng(2)
    low, high = region.box.least[region.box.varying], region.box.most[region.box.varying]
    values = low + (high - low) * rng.random((4000, 4))
    cosine, good, _ = oracle(region.box, values, "projected", identity)
    assert good.mean() > 0.99
    found = region.find(values)
    assert (found[good & (cosine > 0)] == "proved").mean() > 0.85
    assert (found[good & (cosine < 0)] == "refuted").mean() > 0.55
    for name, share in region.shares.items():
        assert (found == name).mean() == pytest.approx(share, abs=0.03)
    # The rule as it runs, with a small nudge, goes against the gradient there, and costs rise.
    point = region.counterexample
    assert region.proves(*region.box.point(values[found == "proved"][0]))
    assert not region.proves(point.network, point.x)
    x, y = point.x[None], np.array([[1.0]])
    said = direp.certify_learning(point.network, x, y, direp.Local(direp.Centred(1e-3)), stop=direp.Tolerance(1e-12))
    assert said.verdict == "refuted"
    assert point.inner[0] < point.inner[1] < 0
    assert "counter-example" in str(region)
    assert region.to_dict()["counterexample"]["x"] == point.x.tolist()
    assert region.to_dict()["coordinates"]["h0 -> o0"] == [-1.5, 1.5]


def test_a_whole_box_is_proved_and_its_finite_differences_agree():
    box = one_hidden("signed", forth=(0.4, 1.0), back=(0.1, 0.6))
    region = certify_region(box)
    assert region
    assert region.captured == 1
    assert region.effort < 100
    network, x = box.point(0.5 * (box.least + box.most)[box.varying])
    inner = inner_product(network, x)[1]
    assert inner[0] > 0
    local = np.zeros(len(box.least))
    exact = np.zeros(len(box.least))
    flat = np.concatenate([np.ravel(network.matrix), network.bias])
    settled = settle(network, jnp.asarray(x[None]), stop=FINE)
    rule = direp.Local(direp.Centred(1e-4))
    target = np.asarray(network.outputs(settled.state)) + 1.0  # an error of minus one
    answer = estimate(network, jnp.asarray(x[None]), jnp.asarray(target), rule, stop=FINE)
    matrix = np.asarray(network.synapses.matrix(answer.gradient.weight))
    local = -np.concatenate([np.ravel(matrix), answer.gradient.bias])
    for k in np.flatnonzero(np.concatenate([np.ravel(box.low.graph.adjacency()), [True, True]])):
        ends = []
        for sign in (-1, 1):
            moved = flat.copy()
            moved[k] += sign * 1e-5
            other = direp.Network(box.low.graph, network.neuron, moved[:6].reshape(3, 2), leak=network.leak,
                                  bias=moved[6:])  # fmt: skip
            ends.append(float(settle(other, jnp.asarray(x[None]), stop=FINE).state[0, -1]))
        exact[k] = (ends[1] - ends[0]) / 2e-5
    assert local @ exact[:8] == pytest.approx(np.mean(inner), rel=1e-5)


def test_where_a_total_leak_may_vanish_nothing_is_said():
    region = certify_region(one_hidden("signed", forth=(-1.0, 1.0)), effort=4000)
    assert region.shares["undecided"] > 0.1
    assert region.verdict in ("refuted", "undecided")
    low = region.boxes["proved"][0]
    assert (low[:, 0] + low[:, 2] > 0).all()  # f + leak
    only = certify_region(one_hidden("signed", forth=(-2.0, -1.0)), effort=200)
    assert only.verdict == "undecided"
    assert "total leak" in only.reason


def test_a_box_without_gradient_proves_nothing():
    region = certify_region(one_hidden(bias=-3.0, back=(0.0, 1.0), forth=(0.0, 1.0)))
    assert region.shares["flat"] == 1
    assert region.verdict == "undecided"
    assert "no gradient" in region.reason


def test_progress_is_reported_and_a_point_is_a_box():
    seen = []
    certify_region(one_hidden(), effort=5000, progress=lambda used, shares: seen.append((used, sum(shares.values()))))
    assert seen[-1][0] == 5000
    assert all(total == pytest.approx(1) for _, total in seen)
    graph = direp.Graph.complete(1, 1, 1)
    network = direp.Network(graph, direp.Projected(), np.where(graph.adjacency(), 0.2, 0), leak=1.0, bias=0.2)
    region = certify_region(Box.around(network, [0.5], weight=0.0))
    assert region.verdict == "proved"
    assert region.effort == 1
    assert region.proves(network, np.array([0.5]))


def test_messages_name_the_argument():
    graph = direp.Graph.complete(1, 1, 1)
    network = direp.Network(graph, direp.Projected(), np.where(graph.adjacency(), 0.2, 0), leak=1.0)
    with pytest.raises(ValueError, match=r"Box.around\(leak=2\) takes the leak of h0 below 0; at most 1"):
        Box.around(network, [0.5], leak=2.0)
    with pytest.raises(ValueError, match=r"Box.around\(weight=...\) must be a number of 0 or above, or an array"):
        Box.around(network, [0.5], weight=-1.0)
    with pytest.raises(ValueError, match=r"Box.around\(x=...\) has shape \(2,\); needed are 1"):
        Box.around(network, [0.5, 0.5])
    with pytest.raises(ValueError, match=r"Box\(x_high=...\) has shape"):
        Box(network, network, [0.5], [np.inf])
    with pytest.raises(ValueError, match="Box: x0 has low above high"):
        Box(network, network, [0.5], [0.4])
    with pytest.raises(ValueError, match=r"certify_region\(effort=0\) must be 1 or more"):
        certify_region(Box.around(network, [0.5]), effort=0)
    soft = direp.Network(graph, direp.Rate(softplus), np.zeros((3, 2)))
    with pytest.raises(ValueError, match="cannot enclose the activation 'softplus': give it interval"):
        Box.around(soft, [0.5])
    with pytest.raises(ValueError, match="differ in activation, outflow or bounds"):
        Box(network, direp.Network(graph, direp.Projected("signed"), np.zeros((3, 2))), [0.5], [0.5])
    with pytest.raises(ValueError, match="different graphs or neurons"):
        Box(network, soft, [0.5], [0.5])
