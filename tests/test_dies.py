"""A network on dies: what devices do to numbers, how it does then, and the command that tells."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from program import call, finished, untold

import direp
from direp.analysis import Devices, on_dies
from direp.certificates import Mismatch
from direp.plot import dies_histogram
from direp.plot.style import canvas


@pytest.fixture(scope="module")
def xor():
    task = direp.tasks.xor()
    net = direp.Network(direp.Graph.complete(2, 4, 1), direp.Projected("signed"), key=jax.random.key(0))
    return direp.LeakController(0.2).begin(net), task


def test_devices_without_faults_change_nothing(xor):
    network, task = xor
    found = on_dies(network, task, Devices(), 3)
    assert (found.loss == found.stored["loss"]).all()
    assert (found.accuracy == found.stored["accuracy"]).all()
    assert found.summary()["deviation"] == 0


def test_noise_and_drift_have_the_size_that_is_asked_for():
    """Over many weights: the deviation of a reading, the mean exponent and its deviation; leaks stay."""
    net = direp.Network(direp.Graph.complete(50, 60, 10), direp.Projected(), key=jax.random.key(1))
    weight = np.asarray(net.matrix)
    there, rng = weight != 0, np.random.default_rng(0)

    def ratio(**faults):
        die = Devices(**faults).die(net, rng)
        assert (np.asarray(die.leak) == np.asarray(net.leak)).all()
        return (np.asarray(die.matrix)[there] / weight[there]).astype(float)

    noisy = ratio(noise=0.03)
    assert abs(noisy.std() - 0.03) < 0.001
    assert abs(noisy.mean() - 1) < 0.002
    exponent = -np.log(ratio(drift=86400.0, exponent=0.1, spread=0.2)) / np.log(86400.0)
    assert abs(exponent.mean() - 0.1) < 0.001
    assert abs(exponent.std() - 0.02) < 0.001
    assert (ratio(drift=0.5, exponent=0.1) == 1).all()


def test_the_figures_are_those_of_each_die(xor):
    """An oracle: draw the same dies, settle each, compare outputs with targets."""
    network, task = xor
    devices = Devices(Mismatch(0.3), bits=3)
    found = on_dies(network, task, devices, 5, seed=4)
    rng = np.random.default_rng(4)
    x, y = map(np.asarray, task.test)
    for k in range(5):
        settled = direp.settle(devices.die(network, rng), jnp.asarray(x, network.dtype))
        outputs = np.asarray(settled.state)[:, network.graph.hidden :]
        assert found.loss[k] == pytest.approx(0.5 * ((outputs - y) ** 2).sum(1).mean(), abs=1e-5)
        assert found.unsettled[k] == (~np.asarray(settled.converged)).sum()
    low, high = found.accuracy.min(), found.accuracy.max()
    assert found.summary()["worst"] == low <= found.summary()["mean"] <= high


def test_the_histogram_counts_every_die(xor):
    network, task = xor
    found = on_dies(network, task, Devices(0.5), 20)
    ax = dies_histogram(found, canvas())
    assert sum(bar.get_height() for bar in ax.patches) == 20


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"mismatch": 1.0}, "below 1"), ({"noise": -0.1}, "noise"), ({"drift": float("nan")}, "drift")],
)
def test_devices_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Devices(**wrong)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A small real run, of three seeds."""
    folder = tmp_path_factory.mktemp("runs") / "xor"
    shutil.copytree(finished()[0], folder)
    return folder


@pytest.mark.usefixtures("_optax")
def test_the_command_tells_of_a_run(run, tmp_path):
    code, out, err = call(
        "dies", run, "--mismatch", "20%", "--bits", "4", "--drift", "1d", "--read-noise", "1%", "--dies", "4",
        "--json", "--quiet", "--out", tmp_path / "dies",
    )  # fmt: skip
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert told == json.loads((tmp_path / "dies" / "dies.json").read_text())
    assert len(told["loss"]) == told["dies"] == 4
    assert untold("dies", told) == []
    assert told["devices"]["drift"] == 86400
    assert (tmp_path / "dies" / "dies.png").exists()
    assert call("dies", run, "--dies", "4", "--draw", "0", "--out", tmp_path / "more")[1].startswith("network ")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (("--drift", "3w"), "--drift 3w is no time"),
        (("--mismatch", "5"), "--mismatch 5 is out of range"),
        (("--read-noise", "x"), "--read-noise x is out of range"),
        (("--bits", "0"), "--bits 0"),
        (("--draw", "-1"), "--draw -1 is out of range: give 0 or more"),
        (("--drift-spread", "0.1"), "--drift-spread 0.1 is of a drift, of which there is none: give --drift"),
        (("--on-off", "10"), "--on-off 10 is of the levels of --bits: give --bits too"),
        (("--dies", "0"), "--dies 0"),
    ],
)
def test_wrong_faults_get_one_line(run, wrong, message):
    code, _, err = call("dies", run, *wrong)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1


def test_dies_that_diverge_are_counted_beside_the_histogram(xor):
    network, task = xor
    found = on_dies(network, task, Devices(), 4)
    found = type(found)(**{**vars(found), "accuracy": np.full(4, np.nan), "loss": np.array([0.1, np.inf, 0.2, np.nan])})
    ax = dies_histogram(found, canvas())
    assert sum(bar.get_height() for bar in ax.patches) == 2
    assert "2 without" in ax.get_ylabel()
