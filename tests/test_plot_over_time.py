"""Figures over time and epochs: decay beside the proved rate, bands over seeds, the angle to the gradient."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from cases import certificate, column, within

from direp import plot
from direp.certificates.convergence import L1, Euclidean, LInf
from direp.plot.style import canvas

RNG = np.random.default_rng(0)
TIMES = np.linspace(0, 6, 61)
START, END = RNG.normal(size=(5, 3)), RNG.normal(size=(5, 3))
START[4] = END[4]  # which does not move
RATES = np.array([0.5, 1.0, 2.0])
PATHS = END + (START - END) * np.exp(-TIMES[:, None, None] * RATES)
METRIC = np.array([[2.0, 0.3, 0], [0.3, 1, 0], [0, 0, 3]])
NORMS = {
    "l1": (L1(np.array([1.0, 2, 3])), lambda v: np.abs(v) @ np.array([1.0, 2, 3])),
    "l-infinity": (LInf(np.array([1.0, 2, 3])), lambda v: (np.abs(v) / np.array([1.0, 2, 3])).max(-1)),
    "Euclidean": (Euclidean(METRIC), lambda v: np.sqrt(np.einsum("...i,ij,...j", v, METRIC, v))),
}


@pytest.mark.parametrize("name", NORMS)
def test_decay_is_drawn_in_the_norm_of_the_proof_beside_its_rate(name):
    norm, length = NORMS[name]
    axis = plot.residual_decay(PATHS, column(), times=TIMES, end=END, certificate=certificate(norm))
    shares = length(PATHS - END)[:, :4] / length(START - END)[:4]
    *each, proved, slowest = (np.asarray(line.get_ydata()) for line in axis.lines)
    np.testing.assert_allclose(np.stack(each, 1), shares)
    np.testing.assert_allclose(slowest, shares.max(1))
    np.testing.assert_allclose(proved, np.exp(-0.5 * TIMES))
    assert axis.get_yscale() == "log"
    texts = [text.get_text() for text in axis.get_legend().get_texts()]
    assert texts == ["proved: exp(-0.5 t)", "slowest of 4 samples, 1 more at rest"]
    assert str(norm) in axis.get_title()
    within(axis.figure)


def test_decay_ends_where_solvers_tell_no_more():
    states = END + (START - END) * np.exp(-5 * TIMES[:, None, None])
    axis = plot.residual_decay(states, column(), times=TIMES, end=END)
    shown = np.asarray(axis.lines[0].get_ydata())
    away = np.linalg.norm(states - END, axis=-1)[: len(shown), 0]
    np.testing.assert_array_equal(np.isfinite(shown), away > 1e-6 * math.sqrt(3))
    assert len(shown) < len(TIMES)
    assert len(axis.lines) == 4 + 1  # no certificate, no rate


def test_decay_refuses_what_is_not_proved_or_not_there():
    some = {"times": TIMES, "end": END}
    for wrong, match in (
        ({"end": END}, "needs times"),
        ({"times": TIMES[1:], "end": END}, "needed are"),
        ({**some, "certificate": certificate(None)}, "a norm of its own for each sample"),
        ({**some, "certificate": certificate(NORMS["l1"][0], -1.0)}, "proves a rate of 'free'"),
    ):
        with pytest.raises(ValueError, match=match):
            plot.residual_decay(PATHS, column(), **wrong)
    with pytest.raises(ValueError, match="no sample is moved"):
        plot.residual_decay(np.repeat(END[None], 61, 0), column(), **some)
    phases = SimpleNamespace(phases={"free": None})
    with pytest.raises(ValueError, match=r"phase='beta=\+2'\) must be one of 'free'"):
        plot.residual_decay(phases, column(), phase="beta=+2")


def drawn_band(axis):
    """Lower and upper edge of the band."""
    (path,) = axis.collections[0].get_paths()
    x, y = path.vertices.T
    return np.array([[y[x == k].min(), y[x == k].max()] for k in sorted(set(x))])


@pytest.mark.parametrize(("band", "ends"), [("80%", (10, 90)), ("quartiles", (25, 75)), ("range", (0, 100))])
@pytest.mark.parametrize("middle", ["median", "mean"])
def test_bands_over_seeds(band, ends, middle):
    loss = RNG.random((6, 9))
    (axis,) = plot.learning_curve({"loss": loss}, canvas(), band=band, middle=middle)
    np.testing.assert_allclose(axis.lines[0].get_ydata(), getattr(np, middle)(loss, 1))
    np.testing.assert_allclose(drawn_band(axis), np.percentile(loss, ends, axis=1).T)
    assert middle in axis.figure.get_suptitle()
    axes = plot.learning_curves({"a": {"loss": loss}}, canvas(), ["loss"], band=band, middle=middle)
    np.testing.assert_allclose(drawn_band(axes[0]), np.percentile(loss, ends, axis=1).T)
    with pytest.raises(ValueError, match=r"learning_curve\(band='90%'\) must be one of '80%', 'quartiles', 'range'"):
        plot.learning_curve({"loss": loss}, canvas(), band="90%")
    with pytest.raises(ValueError, match=r"panels=\['losses'\]\) must be some of 'loss'"):
        plot.learning_curve({"loss": loss}, canvas(), panels=["losses"])


def test_the_angle_to_the_gradient_is_that_of_half_of_the_seeds():
    cosine = np.array([[0.5, -0.5, np.nan], [1.0, 0.0, np.nan], [0.9, np.nan, np.nan]])
    (axis,) = plot.learning_curve({"cosine": cosine}, canvas())
    assert axis.get_title() == "angle to the gradient"
    np.testing.assert_allclose(axis.lines[0].get_ydata(), [(60 + 120) / 2, (0 + 90) / 2])
    assert "ascends above" in [text.get_text() for text in axis.texts]
    (axis,) = plot.learning_curve({"cosine": np.array([[0.9], [0.95]])}, canvas())
    assert not axis.texts


def test_seeds_that_failed_and_losses_below_the_axis_are_told():
    loss = np.array([[0.5, 0.5, np.nan], [0.1, 1e-9, np.nan]])
    run = SimpleNamespace(history={"loss": loss}, seeds=(0, 1, 2), failed=np.array([False, False, True]))
    axes = plot.learning_curve(run, canvas())
    assert "3 seeds, of which 1 failed" in axes[0].figure.get_suptitle()
    for lowest, said in ((1e-9, True), (1e-3, False)):
        (axis,) = plot.learning_curves({"one": {"loss": np.array([[0.5], [lowest]])}}, canvas(), ("loss",))
        assert ("1e-06 or less" in axis.get_ylabel()) == said
