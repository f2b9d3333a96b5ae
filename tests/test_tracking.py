"""Who is told of a training: callbacks, and services that plot."""

import struct

import jax
import numpy as np
import optax
import pytest
from program import call

import direp
from direp.training import AbstractCallback, MLflow, TensorBoard

pytestmark = pytest.mark.usefixtures("_optax")


def _fit(**more):
    graph = direp.Graph.complete(inputs=2, hidden=3, outputs=1)
    network = [direp.Network(graph, direp.Projected(), leak=1.0, key=jax.random.key(k)) for k in range(2)]
    return direp.fit(network, direp.tasks.xor(), rule=direp.Local(), optimiser=optax.adam(0.05), epochs=10, **more)


class Notes(AbstractCallback):
    def __init__(self):
        self.told = []

    def begin(self, plan, epoch):
        self.told.append((plan.task.name, epoch))

    def epoch(self, number, figures):
        self.told.append((number, figures["loss"].shape))

    def end(self, status):
        self.told.append(status)


def test_a_callback_is_told_of_beginning_epochs_and_end():
    notes = Notes()
    _fit(callbacks=[notes])
    assert notes.told == [("xor", 0), *((k, (2,)) for k in range(1, 11)), "done"]
    notes = Notes()
    _fit(callbacks=[notes], lanes=5)
    assert notes.told == [("xor", 0), *((k, (2,)) for k in range(1, 11)), "done"]


def test_a_callback_that_fails_ends_no_training(capsys):
    class Fails(Notes):
        def epoch(self, number, figures):
            super().epoch(number, figures)
            raise OSError("the service is down")

    fails = Fails()
    run = _fit(callbacks=[fails])
    assert run.status == "done"
    assert [told[0] for told in fails.told] == ["xor", 1]
    assert capsys.readouterr().err == ("direp: Fails fails (OSError: the service is down) and is told nothing more\n")


def test_a_callback_is_told_of_an_error_that_ends_the_training():
    def breaks(number, row):
        raise RuntimeError("out of something")

    notes = Notes()
    with pytest.raises(RuntimeError):
        _fit(callbacks=[notes, breaks])
    assert notes.told[-1] == "error"


def scalars(folder):
    """What event files hold: step and name -> value. A record is a length, its checksum, a message, its checksum."""
    from tensorboardX.proto import event_pb2

    found = {}
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        while content:
            size = struct.unpack("<Q", content[:8])[0]
            event = event_pb2.Event.FromString(content[12 : 12 + size])
            found |= {(event.step, value.tag): value.simple_value for value in event.summary.value}
            content = content[16 + size :]
    return found


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_has_the_figures_of_every_epoch(tmp_path):
    pytest.importorskip("tensorboardX")
    run = _fit(callbacks=[TensorBoard(tmp_path / "board")])
    found = scalars(tmp_path / "board")
    for k, loss in enumerate(run.history["loss"], 1):
        assert found[k, "loss"] == pytest.approx(loss.mean(), rel=1e-6)
    folder = tmp_path / "run"
    arguments = ("xor", "--preset", "small", "--epochs", "4", "--quiet", "--track", "tensorboard", "--out", folder)
    assert call("train", *arguments)[0] == 0
    assert {step for step, _ in scalars(folder / "tensorboard")} == {1, 2, 3, 4}


@pytest.mark.filterwarnings("ignore")
def test_mlflow_has_the_figures_of_every_epoch(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    uri = (tmp_path / "kept").as_uri()
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    run = _fit(callbacks=[MLflow("tests", uri=uri)])
    client = mlflow.MlflowClient(uri)
    (kept,) = client.search_runs([client.get_experiment_by_name("tests").experiment_id])
    assert kept.info.status == "FINISHED"
    assert kept.data.params["rule.nudge.beta"] == "1.0"
    told = {entry.step: entry.value for entry in client.get_metric_history(kept.info.run_id, "loss")}
    np.testing.assert_allclose([told[k] for k in range(1, 11)], run.history["loss"].mean(1))


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorboardX", None)
    with pytest.raises(ValueError, match=r"tensorboardX is not installed: pip install 'direp\[track\]'"):
        TensorBoard("anywhere")
