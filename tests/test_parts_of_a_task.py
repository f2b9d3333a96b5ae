"""Training without samples to validate or test on, and in tables with room for more rows."""

import dataclasses

import jax
import numpy as np
import optax
import pytest

import direp
from direp import tasks

pytestmark = pytest.mark.usefixtures("_optax")


def made(rows, **given):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 3))
    y = np.stack([x[:, 0] > 0, x[:, 0] <= 0], 1).astype(float)
    none = tasks.Samples(x[:0], y[:0])
    task = tasks.Task("halves", tasks.Samples(x[:rows], y[:rows]), none, none)
    network = direp.Network(
        direp.Graph.layered((3, 4, 2)), direp.Projected(), direp.FanIn(feedback=1.0), key=jax.random.key(0)
    )
    how = {"rule": direp.Local(beta=1.0), "optimiser": optax.adam(0.05), "epochs": 4, "keep": "last", **given}
    return direp.fit(network, task, **how)


def test_without_validation_the_last_epoch_is_kept():
    run = made(18)
    assert run.best_epoch == 4
    assert np.isnan(run.history["validation_loss"]).all()
    assert np.isnan(run.test.loss).all()
    assert run.test.outputs.shape == (1, 0, 2)
    assert run.train.loss < run.history["loss"][0]
    unmeasured = made(18, evaluate=False)
    assert unmeasured.train.outputs.shape == (1, 0, 2)
    assert (np.asarray(unmeasured.network.bias) == np.asarray(run.network.bias)).all()
    with pytest.raises(ValueError, match="has none: keep='last'"):
        made(18, keep="best")
    with pytest.raises(ValueError, match="there are no samples"):
        dataclasses.replace(run.task, train=run.task.test)


@pytest.mark.parametrize("batch", [None, 5, 18, 20])
def test_rows_that_only_fill_a_table_have_no_part(batch):
    plain, roomy = made(18, batch_size=batch), made(18, batch_size=batch, room=32)
    for name in ("loss", "accuracy", "unsettled", "left_out", "steps_mean", "dead"):
        np.testing.assert_allclose(roomy.history[name], plain.history[name], rtol=1e-9, atol=1e-12)
    for one, other in zip(*(jax.tree.leaves(run.network.parameters) for run in (plain, roomy)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9)
    assert roomy.train.outputs.shape == plain.train.outputs.shape
