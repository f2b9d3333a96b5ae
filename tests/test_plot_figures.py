"""Figures of graphs, eigenvalues, confusion, success and receptive fields: numbers on artists, computed anew."""

import math
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from cases import certificate, column, network, within
from matplotlib.collections import EllipseCollection
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

import direp
from direp import plot
from direp.certificates.convergence import L1, LInf
from direp.plot.style import save

RNG = np.random.default_rng(0)


def arrows(axis):
    return [patch for patch in axis.patches if isinstance(patch, FancyArrowPatch)]


def dots(axis):
    """Places and areas of all units, inputs first."""
    return (np.concatenate([np.asarray(c.get_offsets()) for c in axis.collections]),
            np.concatenate([c.get_sizes() for c in axis.collections]))  # fmt: skip


@pytest.mark.parametrize("most", [150, 7])
def test_arrows_are_the_strongest_synapses_and_as_wide_as_their_weights(most):
    net = network("projected", "none", direp.Graph.complete(2, 3, 1))
    axis = plot.directed_graph(net, column(), most=most)
    size = np.sort(np.abs(np.asarray(net.matrix)[net.graph.adjacency()]))
    drawn = arrows(axis)
    np.testing.assert_allclose([a.get_linewidth() for a in drawn], 0.3 + 1.7 * size[-most:] / size[-1])
    at, areas = dots(axis)
    ends = {tuple(np.round(place, 9)): k for k, place in enumerate(at)}
    for arrow in drawn:
        i, j = (ends[tuple(np.round(end, 9))] for end in arrow._posA_posB)
        weight = float(net.matrix[i, j - 2])
        red, _, blue, _ = arrow.get_edgecolor()
        assert (red > blue) == (weight > 0)
        np.testing.assert_allclose(arrow.get_linewidth(), 0.3 + 1.7 * abs(weight) / size[-1])
    leak = np.asarray(net.leak)
    np.testing.assert_allclose(areas[2:] / areas[2:].max(), leak / leak.max())
    assert axis.get_title() == ("" if most > 20 else "strongest 7 of 20 synapses")
    assert [text.get_text() for text in axis.texts] == list(net.graph.names)
    assert (at[:2, 0] == 0).all()
    assert at[-1, 0] == 2
    assert ((at[2:5, 0] > 0) & (at[2:5, 0] < 2)).all()
    within(axis.figure)


def test_layers_are_columns_and_a_matrix_is_a_ring():
    graph = direp.Graph.layered([3, 30, 10, 2])
    net = direp.Network(graph, direp.Projected(), direp.Normal(), key=jax.random.key(0))
    axis = plot.directed_graph(net, column())
    at, _ = dots(axis)
    np.testing.assert_array_equal(at[:, 0], np.repeat(range(4), graph.layers))
    assert [text.get_text() for text in axis.texts] == ["3 inputs", "30 hidden 1", "10 hidden 2", "2 outputs"]
    assert axis.get_title() == f"strongest 150 of {graph.synapses:,} synapses"
    assert len(arrows(axis)) == 150
    weight = np.array([[0, 1.0, 0], [0, 0, -2.0], [0.5, 0, 0]])
    axis = plot.directed_graph(weight, column(), leak=[1.0, 2.0, 4.0])
    at, areas = dots(axis)
    np.testing.assert_allclose(areas / areas[0], [1, 2, 4])
    assert len({tuple(np.round(place, 6)) for place in at}) == 3
    assert len(arrows(axis)) == 3
    for wrong, match in ((np.eye(3), "has a diagonal"), (np.ones((2, 3)), "needed are a square one")):
        with pytest.raises(ValueError, match=f"directed_graph: .*{match}"):
            plot.directed_graph(wrong, column())


def circles(axis):
    (_, edges) = (c for c in axis.collections if isinstance(c, EllipseCollection))
    return np.asarray(edges.get_offsets())[:, 0], edges._widths  # halves, as matplotlib keeps them


@pytest.mark.parametrize("outflow", ["none", "signed"])
def test_eigenvalues_and_discs_are_those_of_the_steepest_linear_network(outflow):
    net = network("rate-tanh", outflow)
    graph, weight = net.graph, np.asarray(net.matrix)
    between, slope = weight[graph.inputs :], net.neuron.gain
    total = np.asarray(net.leak) + (weight[graph.inputs :].sum(1) if outflow == "signed" else 0)
    jacobian = np.array([[slope * between[i, j] - (total[j] if i == j else 0) for i in range(6)] for j in range(6)])
    expected = np.sort_complex(np.linalg.eigvals(jacobian))
    for sums, axes in (("outgoing", 0), ("incoming", 1)):
        axis = plot.eigenvalues(net, column(), sums=sums)
        np.testing.assert_allclose(np.sort_complex(drawn_eigenvalues(axis)), expected, atol=1e-12)
        centre, radius = circles(axis)
        np.testing.assert_allclose(centre, np.diag(jacobian))
        np.testing.assert_allclose(radius, np.abs(jacobian - np.diag(np.diag(jacobian))).sum(axes))
        again = plot.eigenvalues(slope * between, column(), leak=total, sums=sums)
        np.testing.assert_allclose(circles(again)[1], radius)
        within(axis.figure)


def drawn_eigenvalues(axis):
    (line,) = (each for each in axis.lines if each.get_label() == "eigenvalues")
    return np.asarray(line.get_xdata()) + 1j * np.asarray(line.get_ydata())


def test_discs_in_the_norm_of_a_proof_end_at_its_rate():
    """Left of the proved rate, and no disc could be further left: the sharpest weighting balances them."""
    net = network("projected", "none")
    proof = direp.certify(net, criteria=(direp.certificates.Perron(),), starts=0)
    axis = plot.eigenvalues(net, column(), certificate=proof)
    centre, radius = circles(axis)
    rightmost = float((centre + radius).max())
    np.testing.assert_allclose(rightmost, -proof.rate, rtol=1e-6)
    assert drawn_eigenvalues(axis).real.max() <= rightmost
    lines = [
        float(line.get_xdata()[0])
        for line in axis.lines
        if len(set(line.get_xdata())) == 1 and len(line.get_xdata()) == 2
    ]
    assert lines == [0.0, -proof.phases["free"]]
    within(axis.figure)


@pytest.mark.parametrize("eta", [(1.0, 2, 4), (1.0, 1, 1e-6)])
@pytest.mark.parametrize("kind", [L1, LInf])
def test_weights_of_a_norm_scale_the_discs(kind, eta):
    weight = np.array([[0, 1.0, -2], [0.5, 0, 0], [3, -1, 0]])
    norm, leak, jacobian = kind(np.array(eta)), np.array([5.0, 6, 7]), weight.T
    scale = norm.length(np.eye(3))  # the same as a change of variables, after which all units are alike
    scaled = scale[:, None] * np.abs(jacobian) / scale
    axis = plot.eigenvalues(weight, column(), leak=leak, certificate=certificate(norm))
    np.testing.assert_allclose(circles(axis)[1], scaled.sum(0 if kind is L1 else 1))
    np.testing.assert_allclose(circles(axis)[0], -leak)


def test_eigenvalues_refuse_what_has_none():
    for wrong, match in (
        ({"network": np.ones((2, 3)), "leak": 1.0}, "needed are a square one"),
        ({"network": np.zeros((2, 2))}, "needs leak"),
        ({"network": np.zeros((2, 2)), "leak": 1.0, "sums": "all"}, "'outgoing' or 'incoming'"),
        (
            {"network": np.zeros((2, 2)), "leak": 1.0, "certificate": SimpleNamespace(phases={}, norm=None)},
            "proves no rate",
        ),
    ):
        with pytest.raises(ValueError, match=match):
            plot.eigenvalues(ax=column(), **wrong)


def counts_on(axis):
    """The numbers that are written into the cells."""
    found = {}
    for text in axis.texts:
        column, row = text.get_position()
        found[row, column] = int(text.get_text().split("\n")[0].replace(",", ""))
    return found


@pytest.mark.parametrize("classes", [2, 5, 10, 20])
def test_confusion_counts_pairs(classes):
    true = RNG.integers(0, classes, 400)
    said = np.where(RNG.random(400) < 0.7, true, RNG.integers(0, classes, 400))
    names = np.array([f"class {k:02}" for k in range(classes)])
    axis = plot.confusion_matrix(names[true], column(), said=names[said])
    counts = np.zeros((classes, classes), int)
    for pair in zip(true, said, strict=True):
        counts[pair] += 1
    shares = np.asarray(axis.images[0].get_array())
    np.testing.assert_allclose(shares, counts / counts.sum(1, keepdims=True))
    written = counts_on(axis)
    assert all(counts[place] == count for place, count in written.items())
    assert set(written) == {(i, j) for i, j in np.ndindex(counts.shape) if counts[i, j] or i == j}
    assert [label.get_text() for label in axis.get_yticklabels()] == names.tolist()
    assert all(text.get_fontsize() >= 4.5 for text in axis.texts)
    within(axis.figure)
    if classes == 2:
        percent = f"{counts[0, 1]}\n{100 * counts[0, 1] / counts[0].sum():.0f} %"
        assert percent in [text.get_text() for text in axis.texts]


def answers(**more):
    """A run of two seeds that is right on two of three validation samples with the better one."""
    task = direp.tasks.from_arrays(RNG.normal(5, 3, (60, 4)), np.array(["a", "b", "c"] * 20), name="letters")
    y = np.asarray(task.validation.y)
    outputs = np.stack([np.roll(y, 1, axis=1), y])
    wrong = np.argmax(y[:, 0] == 1)
    outputs[1, wrong] = np.roll(y[wrong], 1)
    return (
        SimpleNamespace(task=task, validation=SimpleNamespace(outputs=outputs), best=1, seeds=(7, 8), **more),
        y,
        outputs,
    )


def test_confusion_of_a_run_is_that_of_its_validation_samples_and_best_seed():
    run, y, _ = answers()
    axis = plot.confusion_matrix(run, column())
    counts = counts_on(axis)
    assert (counts[0, 0], counts[0, 1]) == (y[:, 0].sum() - 1, 1)
    assert (counts[1, 1], counts[2, 2]) == (y[:, 1].sum(), y[:, 2].sum())
    assert f"letters: {len(y)} validation samples, {1 - 1 / len(y):.1%}".replace("%", " %") in axis.get_title()
    worst = counts_on(plot.confusion_matrix(run, column(), seed=7))
    assert worst[0, 0] == 0
    assert worst[0, 1] == y[:, 0].sum()


def test_confusion_of_a_loaded_run_asks_it_in_the_units_of_the_data():
    run, _, outputs = answers()
    asked = []

    def predict(rows, seed):
        asked.append(rows)
        return SimpleNamespace(outputs=outputs[1])

    loaded = SimpleNamespace(task=None, lost="it was not read", predict=predict)
    with pytest.raises(ValueError, match=r"give confusion_matrix\(run, task=...\)"):
        plot.confusion_matrix(loaded, column())
    assert counts_on(plot.confusion_matrix(loaded, column(), task=run.task)) == counts_on(
        plot.confusion_matrix(run, column())
    )
    kept = run.task.preparation.inputs
    np.testing.assert_allclose(kept.encode(asked[0]), run.task.validation.x)


def test_confusion_of_a_truth_table_has_both_classes_and_says_that_it_is_all():
    task = direp.tasks.xor()
    run = SimpleNamespace(task=task, predict=lambda rows, seed: SimpleNamespace(outputs=np.full((4, 1), 0.9)))
    axis = plot.confusion_matrix(run, column())
    assert counts_on(axis) == {(0, 0): 0, (0, 1): 2, (1, 1): 2}
    assert axis.get_title() == "xor: all 4 samples, 50.0 % right"


def test_confusion_refuses_what_has_no_classes():
    run, *_ = answers()
    numbers = direp.tasks.from_arrays(RNG.normal(size=(40, 2)), RNG.normal(size=40), name="numbers", kind="regression")
    for wrong, match in (
        ({"run": run, "part": "training"}, "must be one of 'train', 'validation', 'test'"),
        ({"run": SimpleNamespace(task=numbers)}, "is a regression"),
        ({"run": [0, 1], "said": [0]}, "give pairs"),
        ({"run": [0, 1], "said": [0, 2], "classes": [0, 1]}, "lacks 2"),
    ):
        with pytest.raises(ValueError, match=match):
            plot.confusion_matrix(ax=column(), **wrong)


def test_success_has_the_interval_of_wilson():
    found = {
        "all": (20, 20),
        "none": (0, 20),
        "some": np.arange(100) < 21,
        "run": SimpleNamespace(solved=np.ones(3, bool)),
    }
    axis = plot.success_rates(found, column())
    assert [label.get_text().split("\n")[1] for label in axis.get_yticklabels()] == [
        "20 of 20",
        "0 of 20",
        "21 of 100",
        "3 of 3",
    ]
    z = 1.959963984540054
    for k, (hits, n) in enumerate([(20, 20), (0, 20), (21, 100), (3, 3)]):
        interval, dot = axis.lines[2 * k : 2 * k + 2]
        p = hits / n
        middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        expected = 100 * np.array([middle - half, middle + half]) / (1 + z * z / n)
        np.testing.assert_allclose(interval.get_xdata(), expected, atol=1e-9)
        assert float(np.ravel(dot.get_xdata())[0]) == pytest.approx(100 * p)
        assert interval.get_ydata()[0] == k
    within(axis.figure)
    for wrong in ((3, 2), SimpleNamespace(solved=None), np.array([0.1, 0.2])):
        with pytest.raises(ValueError, match="'it' has no seeds that succeed or fail"):
            plot.success_rates({"it": wrong}, column())


def test_receptive_fields_are_the_weights_of_the_units_with_the_largest_ones():
    graph = direp.Graph.random(12, 6, 3, density=0.6, seed=1)
    net = direp.Network(graph, direp.Projected(), direp.Normal(), key=jax.random.key(0))
    there, matrix = graph.adjacency()[:12], np.asarray(net.matrix)[:12]
    for units, first, count in (("hidden", 0, 4), ("outputs", 6, 3)):
        axis = plot.receptive_fields(net, column(), shape=(3, 4), most=4, units=units)
        sizes = [math.sqrt(sum(w * w for w in matrix[:, k])) for k in range(first, 6 if units == "hidden" else 9)]
        order = [first + k for k in sorted(range(len(sizes)), key=lambda k: -sizes[k])][:count]
        assert [text.get_text() for text in axis.texts] == [graph.names[12 + k] for k in order]
        assert len(axis.images) == count
        for image, k in zip(axis.images, order, strict=True):
            shown = np.ma.masked_invalid(image.get_array())
            np.testing.assert_array_equal(~np.ma.getmaskarray(shown), there[:, k].reshape(3, 4))
            np.testing.assert_array_equal(shown.filled(0), np.where(there, matrix, 0)[:, k].reshape(3, 4))
            assert image.norm.vmax == -image.norm.vmin == np.abs(matrix[:, order]).max()
        within(axis.figure)


def test_receptive_fields_need_the_shape_of_an_image():
    weight = RNG.normal(size=(16, 70))
    axis = plot.receptive_fields(weight, column(), most=64)
    assert len(axis.images) == 64
    assert axis.images[0].get_array().shape == (4, 4)
    assert axis.get_title() == "64 of 70 hidden units"
    deep = direp.Graph.layered([4, 3, 2])
    net = direp.Network(deep, direp.Projected(), direp.Normal(), key=jax.random.key(0))
    for wrong, match in (
        ({"network": weight[:15]}, "makes 16 pixels of 15 inputs"),
        ({"network": weight, "units": "inputs"}, "'hidden' or 'outputs'"),
        ({"network": net, "units": "outputs"}, "no weight from an input"),
        ({"network": weight[0]}, "needed is inputs x units"),
    ):
        with pytest.raises(ValueError, match=match):
            plot.receptive_fields(ax=column(), **wrong)


def test_the_same_data_give_the_same_files(tmp_path):
    net = network("projected", "none")

    times = np.linspace(0, 3, 31)
    paths = np.ones((2, 3)) * np.exp(-times[:, None, None])

    def drawn(name):
        figure = Figure(figsize=(7, 4.5))
        axes = figure.subplots(2, 3).ravel()
        plot.residual_decay(paths, axes[0], times=times, end=np.zeros((2, 3)), certificate=certificate(L1(np.ones(3))))
        plot.directed_graph(net, axes[1])
        plot.eigenvalues(net, axes[2])
        plot.confusion_matrix([0, 1, 1], axes[3], said=[0, 1, 0])
        plot.success_rates({"a": (3, 4)}, axes[4])
        plot.receptive_fields(net, axes[5], shape=(1, 2))
        save(figure, tmp_path / name, ("png", "svg", "pdf"))

    drawn("one")
    drawn("two")
    for kind in ("png", "svg", "pdf"):
        assert (tmp_path / f"one.{kind}").read_bytes() == (tmp_path / f"two.{kind}").read_bytes()
