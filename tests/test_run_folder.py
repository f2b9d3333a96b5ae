"""A run folder is what was written, or refused in one line: its settings, its weights, its metrics."""

import json
import os

import jax.numpy as jnp
import numpy as np
import pytest
from cases import network
from file_cases import LAYERED, metadata_of, remade
from program import call, finished, folder_of
from safetensors.numpy import load_file, save

import direp
from direp.program.network_file import load_network, save_network
from direp.program.run_folder import open_run
from direp.runs import Unreadable, seal, write_arrays


@pytest.fixture
def run(tmp_path):
    graph = direp.Graph.complete(2, 2, 1)
    nets = [network("projected", "signed", graph, seed=seed) for seed in range(2)]
    return folder_of(tmp_path / "run", nets, hidden=(2,))


def test_a_config_that_was_altered_is_refused(run, capsys):
    path = run / "config.json"
    text = path.read_text()
    path.write_text(text.replace('"neuron": "projected"', '"neuron": "hopfield"'))
    for command in (("certify", run), ("gradient", run), ("train", "--config", path)):
        code, out, err = call(*command)
        assert (code, out, err.count("\n")) == (3, "", 1)
        assert "it was altered: its content is not that of its sha256" in err
        assert 'delete the line "sha256" at its top' in err
    path.write_text(text.replace('"sha256"', '"sha257"'))
    with pytest.raises(Unreadable, match=r"'sha257'.* is not known"):
        open_run(run)
    content = json.loads(text)
    del content["sha256"]
    path.write_text(json.dumps(content))
    assert open_run(run).settings.neuron == "projected"
    assert capsys.readouterr().err == ""  # the weights carry the SHA-256 of this very content
    content["settings"]["leak"] = 2.0
    path.write_text(json.dumps(content))
    assert open_run(run).settings.leak == 2.0
    said = capsys.readouterr().err
    assert "config.json carries no SHA-256 of its content: weights.safetensors was written with another one" in said
    assert said.count("\n") == 1


def test_weights_beside_the_config_of_another_run_are_refused(run, tmp_path, capsys):
    """Same shapes, other settings: what is proved for one is not for the other."""
    other = folder_of(tmp_path / "other", open_run(run).networks, hidden=(2,), outflow="absolute")
    held = run / "weights.safetensors"
    own = held.read_bytes()
    held.write_bytes((other / "weights.safetensors").read_bytes())
    code, out, err = call("certify", run)
    assert (code, out, err.count("\n")) == (3, "", 1)
    assert "was not written with the config.json beside it" in err
    held.write_bytes(own)
    metadata = metadata_of(held)
    content = json.loads((run / "config.json").read_text())
    assert metadata["config"] == content["sha256"]
    held.write_bytes(
        save(load_file(held), metadata | {"config": json.loads((other / "config.json").read_text())["sha256"]})
    )
    with pytest.raises(Unreadable, match="damaged or altered"):
        open_run(run)
    write_arrays(held, load_file(held), {"format": "direp 2"})  # as versions without that wrote it
    assert len(open_run(run).networks) == 2
    assert capsys.readouterr().err.endswith("does not tell which config.json it was written with\n")


def test_a_config_that_is_refused_says_one_line(run):
    path = run / "config.json"
    content = json.loads(path.read_text())
    del content["sha256"]
    for changed, message in (
        ({"cost": "cross-entropy"}, "cost cross-entropy needs two outputs or more, and xor has 1: use cost squared"),
        ({"momentum": 2.0}, "momentum 2.0 is out of range"),
        ({"hidden": [3]}, "weights.safetensors does not hold what the settings describe"),
        ({"precision": "float32"}, "its numbers are float64, and precision is float32"),
    ):
        path.write_text(json.dumps(content | {"settings": content["settings"] | changed}))
        code, out, err = call("certify", run)
        assert (code, out, err.count("\n")) == (3, "", 1)
        assert message in err
        assert "--" not in err
    path.write_text(json.dumps(content | {"settings": content["settings"] | {"momentum": 2.0}}))
    assert call("train", "--config", path)[2].count("\n") == 1


@pytest.mark.parametrize(
    "change",
    [
        {"beta_end": [0]}, {"cost": "1,2"}, {"nudge": 3}, {"fixed_steps": "x"}, {"leak": 10**400}, {"hidden": [1.5]},
        {"start": [0]}, {"epochs": True}, {"task": "zzz"}, {"beta": float("nan")},
    ],
)  # fmt: skip
def test_a_config_of_wrong_kinds_is_one_line(change, tmp_path):
    content = json.loads((finished()[0] / "config.json").read_text())
    content["settings"] |= change
    content["sha256"] = seal(content)
    (tmp_path / "config.json").write_text(json.dumps(content))
    (tmp_path / "weights.safetensors").write_bytes((finished()[0] / "weights.safetensors").read_bytes())
    for arguments in (("certify", str(tmp_path)), ("train", "--config", str(tmp_path / "config.json"))):
        code, _, said = call(*arguments)
        assert code in (2, 3)
        assert said.count("\n") == 1


def test_what_is_no_file_is_not_opened(run, tmp_path):
    """A pipe would wait for ever for what is written into it."""
    pipes = [tmp_path / "m.npz", tmp_path / "net.safetensors", run / "config.json", run / "weights.safetensors"]
    for path in pipes:
        before = path.read_bytes() if path.exists() else None
        path.unlink(missing_ok=True)
        os.mkfifo(path)
        code, out, err = call("certify", run if path.parent == run else path)
        assert (code, out, err.count("\n")) == (3, "", 1)
        assert "is no file" in err
        path.unlink()
        if before is not None:
            path.write_bytes(before)


def test_floats_of_16_bits_are_refused(saved, run, tmp_path):
    _, _, arrays = saved
    half = {name: array.astype(np.float16) for name, array in arrays.items() if array.dtype == np.float64}
    with pytest.raises(Unreadable, match=r"leak is float16 of shape .* of 32 or 64 bits"):
        load_network(remade(saved, **half))
    with pytest.raises(ValueError, match="the network has numbers of float16, and a file holds float32 or float64"):
        save_network(tmp_path / "half", direp.Network(LAYERED, direp.Projected(), np.zeros((6, 4)), dtype=jnp.float16))
    held = run / "weights.safetensors"
    half = {
        name: array.astype(np.float16) if array.dtype == np.float64 else array
        for name, array in load_file(held).items()
    }
    write_arrays(held, half, metadata_of(held))
    with pytest.raises(Unreadable, match="its numbers are float16, and precision is float64"):
        open_run(run)


def test_weights_of_a_run_carry_a_sha256(run, tmp_path, capsys):
    path = run / "weights.safetensors"
    arrays, metadata = load_file(path), metadata_of(path)
    assert metadata["format"] == "direp 2"
    changed = arrays | {"leak": arrays["leak"] * (1 + 1e-15)}
    for form, message in (
        ("direp 2", "damaged or altered"),
        ("direp 1", "damaged or altered"),
        ("direp 3", "'direp 3'"),
    ):
        path.write_bytes(save(changed, metadata | {"format": form}))
        with pytest.raises(Unreadable, match=message):
            open_run(run)
    path.write_bytes(save(arrays, {"format": "direp 1"}))
    found = open_run(run)
    assert "weights.safetensors carries no SHA-256" in capsys.readouterr().err
    assert (np.asarray(found.networks[1].leak) == arrays["leak"][1]).all()
    for name in ("leak", "bias"):  # not all of one kind
        write_arrays(path, arrays | {name: arrays[name].astype(np.float32)}, {"format": "direp 2"})
        with pytest.raises(Unreadable, match="of several kinds" if name == "bias" else "precision is float64"):
            open_run(run)


@pytest.mark.parametrize(
    ("units", "message"),
    [
        (3, r"leak is float64 of shape \(2, 3\); needed are floats of shape \(2, 40001\)"),
        (40_001, "it has 15 weights a network, too few"),
    ],
)
def test_settings_of_more_units_than_the_weights_have_make_no_network(units, message, run, tmp_path, monkeypatch):
    """A config that names many units takes no memory: leaks and weights are counted first."""
    big = folder_of(tmp_path / "big", open_run(run).networks, hidden=(40_000,))
    arrays = load_file(big / "weights.safetensors") | {name: np.ones((2, units)) for name in ("leak", "bias")}
    write_arrays(big / "weights.safetensors", arrays, {"format": "direp 2"})
    monkeypatch.setattr("direp.program.build.Parts.networks", None)
    with pytest.raises(Unreadable, match=message):
        open_run(big)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda arrays: {name: array[:0] for name, array in arrays.items()}, "networks of 0 seeds"),
        (lambda arrays: {name: np.repeat(array, 5, 0) for name, array in arrays.items()}, "networks of 15 seeds"),
        (lambda arrays: {name: array[:2] for name, array in arrays.items()}, "networks of 2 seeds, not"),
        (lambda arrays: arrays | {"seeds": arrays["seeds"] + 1}, "networks of 3 seeds, not of the 3"),
        (lambda arrays: arrays | {"leak": arrays["leak"][:1]}, "leak has shape"),
        (lambda arrays: arrays | {"leak": arrays["leak"][:, :-1]}, "leak is float32 of shape"),
        (lambda arrays: arrays | {"leak": -arrays["leak"]}, "leaks are 0 or above"),
        (lambda arrays: arrays | {"leak": np.full_like(arrays["leak"], np.nan)}, "leak holds NaN"),
        (lambda arrays: arrays | {"bias": arrays["bias"].astype(np.int32)}, "bias is int32"),
        (lambda arrays: arrays | {"bias": arrays["bias"] + np.inf}, "bias holds NaN or infinite"),
        (lambda arrays: arrays | {"weight.input.0": arrays["weight.input.0"] * np.nan}, "weight.input.0 holds NaN"),
        (lambda arrays: arrays | {"weight.recurrent.0": arrays["weight.recurrent.0"] + 1}, "where there is no synapse"),
        (lambda arrays: {name: array for name, array in arrays.items() if name != "bias"}, "bias is missing"),
        (lambda arrays: arrays | {"rule.x": np.zeros((3, 2))}, "rule.x"),
        (lambda arrays: arrays | {"rule.0": np.zeros((3, 2))}, "the rule learns 0 arrays, and there are 1"),
    ],
)
def test_weights_that_do_not_fit_the_settings_are_unreadable(change, message, tmp_path):
    (tmp_path / "config.json").write_bytes((finished()[0] / "config.json").read_bytes())
    changed = change(load_file(finished()[0] / "weights.safetensors"))
    write_arrays(tmp_path / "weights.safetensors", changed, {"format": "direp 2"})
    code, _, said = call("certify", tmp_path, "--starts", "0")
    assert code == 3
    assert message in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("line", ["{", "3", "[" * 100_000, '{"epoch": 1}'])
def test_damaged_metrics_are_unreadable(line, tmp_path):
    for name in ("config.json", "weights.safetensors"):
        (tmp_path / name).write_bytes((finished()[0] / name).read_bytes())
    (tmp_path / "metrics.jsonl").write_text(line)
    code, _, said = call("certify", tmp_path, "--starts", "0", "--no-figures")
    assert code == 3
    assert "metrics.jsonl" in said


def test_a_damaged_folder_is_unreadable(tmp_path):
    folder, *_ = finished()
    for name in ("config.json", "weights.safetensors"):
        broken = tmp_path / name
        broken.mkdir()
        for each in ("config.json", "weights.safetensors"):
            content = (folder / each).read_bytes()
            (broken / each).write_bytes(content[: len(content) // 2] if each == name else content)
        with pytest.raises(Unreadable, match=r"no readable run folder|not a readable safetensors"):
            open_run(broken)
    with pytest.raises(Unreadable, match=r"nowhere does not exist: name a run folder"):
        open_run(tmp_path / "nowhere")
    (tmp_path / "weights.safetensors" / "weights.safetensors").unlink()
    with pytest.raises(Unreadable, match=r"weights\.safetensors is missing"):
        open_run(tmp_path / "weights.safetensors")
