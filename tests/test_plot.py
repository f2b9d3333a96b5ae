"""What figures show: the data on their axes, what stands beside them, and that nothing is cut off."""

import contextlib
import dataclasses
import io
import subprocess
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
import pytest
from cases import column, network, within
from matplotlib.colors import SymLogNorm

import direp
from direp import plot
from direp.plot.style import canvas, legend_below, shortened

pytestmark = pytest.mark.usefixtures("_optax")
X, Y = (np.asarray(part) for part in direp.tasks.xor().train)
GRAPH = direp.Graph.complete(inputs=2, hidden=3, outputs=1)


def trained(**settings):
    networks = [direp.Network(GRAPH, direp.Projected(), direp.Normal(0.5), key=jax.random.key(k)) for k in range(2)]
    how = {"rule": direp.Local(beta=2.0), "optimiser": optax.adam(0.02), "control": direp.LeakController()}
    said = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
    with jax.numpy_dtype_promotion("standard"), said[0] as out, said[1] as err:
        found = direp.fit(networks, direp.tasks.xor(), epochs=4, progress=True, **how, **settings)
    return found, out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def run():
    found, out, err = trained()
    assert not out
    assert err.startswith("xor ")
    assert "4/4" in err
    assert "eta" in err
    assert "right" in err
    assert "margin +" in err
    return found


def test_training_with_a_bar_is_interrupted_as_without(run):
    def stop(number, row):
        if number == 2:
            raise KeyboardInterrupt

    found, out, err = trained(callbacks=[stop])
    assert found.status == "interrupted"
    np.testing.assert_array_equal(found.history["loss"], run.history["loss"])  # a call trains all four
    assert not out
    assert "4/4" in err


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def test_importing_direp_does_not_load_matplotlib():
    code = "import sys, direp; direp.fit, direp.settle, direp.trajectory; sys.exit('matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_learning_curve_has_the_history_on_its_axes(run):
    axes = run.plot()
    assert [axis.get_title() for axis in axes] == ["loss", "accuracy", "contraction margin", "how directed"]
    np.testing.assert_array_equal(axes[0].lines[0].get_ydata(), np.median(run.history["loss"], 1))
    within(axes[0].figure)
    given = canvas().subplots()
    assert run.plot(given) is given
    np.testing.assert_array_equal(given.lines[0].get_ydata(), np.median(run.history["loss"], 1))
    one, two = plot.learning_curve(run, canvas(), panels=("margin", "accuracy"))
    assert (one.get_title(), two.get_title()) == ("accuracy", "contraction margin")[::-1]


def test_a_figure_without_numbers_is_left_out_and_breaks_nothing(run):
    """A margin that could not be computed is NaN, and no limit of an axis."""
    lost = {**run.history, "lowest_margin": np.full((4, 2), np.nan), "margin": np.full((4, 2), np.nan)}
    axes = plot.learning_curve(dataclasses.replace(run, history=lost), canvas())
    assert "contraction margin" not in [axis.get_title() for axis in axes]
    plot.learning_curve(lost, canvas(), panels=("margin",))
    some = {**lost, "lowest_margin": np.array([[np.nan, 0.1]] * 4)}
    (axis,) = plot.learning_curve(some, canvas(), panels=("margin",))
    assert axis.get_ylim()[0] == 0
    from direp.program.figures.certificate import margin

    margin([{"epoch": 1, "lowest_margin": None, "certified": 0}])


def test_runs_side_by_side_and_their_legend_fit(run):
    names = [f"digits-random-reciprocity-0-hidden-128-rule-asym-ep-feedback-{'learned' * 30}-{k}" for k in range(8)]
    histories = {name: {"validation_loss": np.full((3, 1), k + 1.0)} for k, name in enumerate(names)}
    figure = canvas()
    axes = plot.learning_curves(histories | {"run": run}, figure)
    assert [line.get_ydata()[0] for line in axes[0].lines[:8]] == [k + 1.0 for k in range(8)]
    assert len({(line.get_color(), line.get_linestyle()) for line in axes[0].lines}) == 9
    assert len(axes[1].lines) == 9  # those without an accuracy have an empty line
    within(figure)
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(set(texts)) == 9
    assert "…" in texts[0]


def test_short_names_share_a_line():
    figure = canvas()
    axis = figure.subplots()
    lines = [axis.plot([k])[0] for k in range(3)]
    legend = legend_below(figure, lines, ["a", "b", "c"])
    assert legend._ncols == 3
    assert shortened("abcdefghij", 6) == "abc…ij"
    assert shortened("abcdef", 6) == "abcdef"


def layered(sizes, feedback=0.1, seed=0):
    graph, rng = direp.Graph.layered(sizes), np.random.default_rng(seed)
    matrix = rng.normal(0, 1, (graph.units, graph.free)) * graph.adjacency()
    ends = np.cumsum(sizes)
    layer = np.searchsorted(ends, np.arange(graph.units), "right")
    back = layer[:, None] > layer[None, graph.inputs :]
    return direp.Network(graph, direp.Projected(), np.where(back, feedback, 1) * matrix, leak=np.full(graph.free, 2.0))


def test_weak_feedback_is_seen():
    """Half of the synapses from the outputs have at least a seventh of the range of colours, in either sign."""
    net = layered((20, 30, 10))
    axis = plot.weight_matrix(net, canvas())
    (image,) = axis.images
    assert isinstance(image.norm, SymLogNorm)
    feedback = np.asarray(net.matrix)[-10:, :30]
    shade = np.abs(np.asarray(image.norm(feedback)) - 0.5)
    assert np.median(shade) > 1 / 7
    linear = np.abs(feedback) / np.abs(np.asarray(net.matrix)).max() / 2
    assert np.median(linear) < 0.02
    within(axis.figure)
    ticks = axis.child_axes[1].get_yticks()
    assert 0 in ticks
    np.testing.assert_allclose(ticks, -ticks[::-1])


def test_weights_of_one_size_have_a_linear_scale():
    net = network("projected", "none", direp.Graph.complete(2, 40, 2))
    (image,) = plot.weight_matrix(net, canvas()).images
    assert not isinstance(image.norm, SymLogNorm)
    assert image.norm.vmax == -image.norm.vmin == np.abs(np.asarray(net.matrix)).max()


@pytest.mark.parametrize("sizes", [(2, 4, 3, 1), (30, 12, 9, 5)])
def test_layers_are_marked_by_lines_and_names(sizes):
    net = layered(sizes)
    axis = plot.weight_matrix(net)
    rows = sorted({float(line.get_ydata()[0]) for line in axis.lines if line.get_ydata()[0] == line.get_ydata()[1]})
    assert rows == [end - 0.5 for end in np.cumsum(sizes)[:-1]]
    named = [text.get_text() for child in axis.child_axes for text in child.get_xticklabels()]
    assert [name for name in named if "hidden " in name or name == "outputs"] == ["hidden 1", "hidden 2", "outputs"]
    np.testing.assert_array_equal(np.asarray(axis.child_axes[0].images[0].get_array())[0], 2.0)
    missing = np.ma.getmaskarray(np.ma.masked_invalid(axis.images[0].get_array()))
    np.testing.assert_array_equal(missing, ~net.graph.adjacency())


def test_a_decision_map_covers_the_data_in_its_own_units():
    rng = np.random.default_rng(0)
    table = np.stack([rng.normal(170, 10, 40), rng.normal(0.01, 0.002, 40)], 1)
    task = direp.tasks.from_arrays(table, np.array(["red", "green", "blue", "red"] * 10), name="shapes")
    net = network("projected", "none", direp.Graph.complete(2, 3, 3), scale=2)
    answers = SimpleNamespace(task=task, predict=lambda grid, seed: direp.predict(net, grid, task.preparation))
    axis = plot.decision_map(answers)
    kept = task.preparation.inputs
    ends = task.train.x * kept.scale + kept.centre
    for limits, values in ((axis.get_xlim(), ends[:, 0]), (axis.get_ylim(), ends[:, 1])):
        assert limits[0] < values.min() < values.max() < limits[1]
        assert limits[1] - limits[0] < 1.3 * np.ptp(values)
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["blue", "green", "red"]
    dots = np.concatenate([c.get_offsets() for c in axis.collections if len(c.get_offsets()) > 1])
    assert len(dots) == len(ends)
    within(axis.figure)


def test_the_decision_map_of_a_gate_is_what_the_network_says(run):
    axis = plot.decision_map(run, canvas(), seed=1)
    mesh = axis.collections[0]
    sides = [np.linspace(-0.1, 1.1, round(mesh.get_array().size ** 0.5))] * 2
    grid = np.stack(np.meshgrid(*sides), -1).reshape(-1, 2)[::501]
    said = np.asarray(run.networks[1].outputs(direp.settle(run.networks[1], grid).state))[:, 0]
    np.testing.assert_allclose(np.ravel(mesh.get_array())[::501], said, atol=1e-5)
    right = run.predict(X, seed=1).value == Y[:, 0]
    assert f", {right.mean():.1%}".replace("%", " %") in plot.confusion_matrix(run, column(), seed=1).get_title()
    rates = plot.success_rates({"run": run}, column()).get_yticklabels()
    assert rates[0].get_text() == f"run\n{run.solved.sum()} of 2"
    with pytest.raises(ValueError, match="has 1 inputs; a plane has two"):
        plot.decision_map(dataclasses.replace(run, task=direp.tasks.gate("not")))


def test_where_a_batch_settled_is_shown_with_steps_and_ends(run):
    settled = direp.settle(run.network, X)
    axis = settled.plot(canvas())
    np.testing.assert_array_equal(axis.images[0].get_array(), np.asarray(settled.rate))
    assert [bar.get_width() for bar in axis.child_axes[0].patches] == np.asarray(settled.steps).tolist()
    assert "4 of 4 settled" in axis.get_title()
    assert axis.get_legend() is None
    within(settled.plot(column()).figure)
    mixed = dataclasses.replace(settled, result=jnp.array([0, 1, 1, 3], jnp.int32))
    assert list(mixed.ends) == ["converged", "steps exhausted", "cycling"]
    texts = [text.get_text() for text in mixed.plot(canvas()).get_legend().get_texts()]
    assert texts == ["1 converged", "2 steps exhausted", "1 cycling"]


RULES = {
    "one-sided": (direp.Local(beta=2.0), ["free", "beta=+2"]),
    "centred": (direp.Local(direp.Centred(0.5)), ["free", "beta=+0.5", "beta=-0.5"]),
    "asym-ep": (direp.AsymEP(beta=0.5), ["free", "AsymField beta=+0.5"]),
    "dyadic": (direp.Dyadic(), ["free", "AdjointField"]),
}


@pytest.mark.parametrize("name", RULES)
def test_every_phase_ends_where_it_settles_and_is_named_as_in_the_certificate(name):
    rule, names = RULES[name]
    net = network("projected", "signed", GRAPH)
    paths = direp.trajectory(net, X, y=Y, rule=rule)
    assert list(paths) == names
    free = direp.settle(net, X).state
    np.testing.assert_array_equal(paths["free"].settled.state, free)
    for path in paths.phases.values():
        assert path.gap < 1e-6
        assert path.states.shape == (len(path.times), 4, 4)
    if name != "dyadic":
        assert set(direp.certify(net, rule=rule).phases) == set(names)
        np.testing.assert_allclose(paths[names[1]].states[0], free, atol=1e-12)
    assert "4 samples, 4 units: free up to" in repr(paths)
    assert "from equilibrium" in repr(paths["free"])
    axis = paths.plot(canvas(), sample=3)
    assert [text.get_text() for text in axis.texts] == names
    assert [text.get_text() for text in axis.get_legend().get_texts()] == list(net.graph.names[2:])
    drawn = axis.lines[0].get_ydata()
    np.testing.assert_array_equal(drawn, paths["free"].states[: len(drawn), 3, 0])
    within(axis.figure)
    certificate = direp.certify(net, rule=rule, starts=0)
    for name in certificate.phases:
        axis = plot.residual_decay(paths, column(), phase=name, certificate=certificate)
        proved, slowest = (np.asarray(line.get_ydata()) for line in axis.lines[-2:])
        assert (slowest[np.isfinite(slowest)] <= proved[np.isfinite(slowest)] * (1 + 1e-6)).all()
        within(axis.figure)


def test_paths_at_given_times_and_of_arrays():
    net, times = network("projected", "signed", GRAPH), np.linspace(0, 1, 301)
    paths = direp.trajectory(net, X, times, y=Y, rule=direp.Local(beta=2.0))
    states = direp.trajectory(net, X, times)
    np.testing.assert_array_equal(paths["free"].states, states)
    axis = plot.trajectory(states, canvas(), times=times, units=[0, 3])
    assert len(axis.lines) == 2
    with pytest.raises(ValueError, match=r"trajectory\(sample=4\): there are 4, from 0 on"):
        plot.trajectory(states, canvas(), sample=4)
    with pytest.raises(ValueError, match="needs x and y"):
        direp.trajectory(net, X, rule=direp.Local())
    with pytest.raises(ValueError, match="is for the phases of a rule"):
        direp.trajectory(net, X, times, y=Y)
