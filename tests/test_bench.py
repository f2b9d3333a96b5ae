"""What benchmarks time is what they say it is; seeds come out the same on any number of devices."""

import dataclasses
import inspect
import json
import os
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest
from program import call, signalled, untold

import direp
from direp.program import bench, bench_train
from direp.program.build import arguments, load_task
from direp.program.cli import main
from direp.program.presets import preset
from direp.training.loop import fit


def test_the_plain_loop_does_what_deep_2020_does():
    """The same weights after two epochs, if both begin alike."""
    settings = dataclasses.replace(preset("xor", "deep-2020"), epochs=2, start=(0.05, 0.05), fixed_steps=60)
    task = load_task(settings)
    built = arguments(settings, task)
    rng = np.random.default_rng(0)
    weight, inputs, bias = rng.normal(0, 0.05, (6, 6)), rng.normal(0, 0.05, (2, 6)), rng.normal(0, 0.05, 6)
    np.fill_diagonal(weight, 0)
    network = built["network"][0]
    begun = direp.Network(network.graph, network.neuron, np.concatenate([inputs, weight]), leak=0.0, bias=bias)
    trained = fit(task=task, **{**built, "network": [begun]}).network
    loop = bench.numpy_gate(2, steps=60, start=(0.05, 0.05))
    assert np.abs(loop - weight).max() > 1e-3
    assert np.abs(np.asarray(trained.weight.recurrent) - loop).max() < 1e-12


def test_calls_are_timed_in_turn_and_compared_within_a_round():
    order = []
    calls = {"plain": (lambda: order.append("plain"), 1), "fast": (lambda: order.append("fast"), 2, "noted")}
    plain, fast = bench.compare("part", calls, "plain", repeats=3)
    assert order == ["plain", "fast"] * 4
    assert (plain.ratio, plain.against, fast.against, fast.note) == (None, None, "plain", "noted")
    assert fast.low <= fast.seconds <= fast.high
    assert fast.ratio > 0


def test_the_program_writes_a_table_a_document_and_a_figure(tmp_path, capsys):
    def call(*arguments):
        with pytest.raises(SystemExit) as left:
            main(["bench", *arguments])
        return left.value.code, capsys.readouterr()

    code, said = call("--parts", "ode", "--repeats", "1", "--json", "--quiet", "--out", str(tmp_path / "b"))
    assert (code, said.err) == (0, "")
    document = json.loads(said.out)
    assert document == json.loads((tmp_path / "b" / "bench.json").read_text())
    assert untold("bench", document, *document["timings"]) == []
    assert {"processor", "cores", "jax", "date"} <= set(document["machine"])
    assert document["timings"][1]["ratio"] > 0
    assert (tmp_path / "b" / "bench.png").stat().st_size > 1000
    code, said = call("--parts", "odd")
    assert code == 2
    assert "did you mean 'ode'" in said.err
    assert call("--repeats", "0")[0] == 2
    assert call("--parts")[0] == 2


DEVICES = """
import sys
import jax, numpy as np
jax.config.update("jax_enable_x64", True)
{trained}
found = trained()
np.savez(sys.argv[1], devices=jax.device_count(), **found)
"""


def trained():
    import dataclasses

    from direp.program.build import arguments, load_task
    from direp.program.presets import preset
    from direp.training import fit

    settings = dataclasses.replace(preset("identity", "small"), seeds="0..3", epochs=4, precision="float64")
    task = load_task(settings)
    run = fit(task=task, **arguments(settings, task))
    weights = [[*network.weight] for network in run.networks]
    return {"loss": run.history["loss"], "input": [w[0] for w in weights], "recurrent": [w[1] for w in weights]}


@pytest.mark.usefixtures("_optax")
def test_seeds_come_out_the_same_on_two_devices(tmp_path):
    """Two in a process of their own, where they are asked for before JAX begins; one here."""
    out, program = tmp_path / "two.npz", DEVICES.format(trained=inspect.getsource(trained))
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": "2", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    subprocess.run([sys.executable, "-c", program, str(out)], check=True, env=environment)
    two, one = np.load(out), trained()
    assert (int(two["devices"]), jax.device_count()) == (2, 1)
    for name, found in one.items():  # the order of sums may differ
        assert np.allclose(found, two[name], rtol=1e-9, atol=1e-12)


def test_settling_needs_memory_for_states_and_keeps_no_trajectory():
    network = bench.dense_network(300)
    x = np.zeros((64, 10), np.float32)
    state = np.zeros((64, network.graph.free), network.dtype)

    def working(steps):
        stop = direp.Tolerance(max_steps=steps)
        call = jax.jit(lambda s: direp.settle(network, x, state=s, stop=stop, method=direp.Preconditioned()).state)
        return call.lower(state).compile().memory_analysis().temp_size_in_bytes

    assert working(10) == working(10_000)
    assert working(10) < 10 * state.nbytes


@pytest.mark.usefixtures("_optax")
def test_what_an_update_must_multiply_is_counted_from_the_steps_of_every_sample(monkeypatch):
    """A small network: the rate of an update is what the formula says over its time, whatever the machine does."""
    monkeypatch.setattr(bench_train, "_CASES", {"small": {"hidden": (8,), "batch_size": 4, "precision": "float64"}})
    made = bench_train.Training.begun({"hidden": (8,), "batch_size": 4, "precision": "float64"}, 10)
    steps = np.asarray(bench_train._steps(made))
    assert steps.shape == (10, 2, 4)
    flops = 2 * 4 * (2 * 784 * 8 + (steps.mean((0, 2)).sum() + 1) * 2 * 8 * 10)
    product, update = bench_train.train(1)
    assert update.against == product.name
    assert np.isclose(update.ratio, product.seconds / update.seconds)
    assert f"{1e-9 * flops / update.seconds:.0f} GFLOP/s" in update.note
    assert f"{steps.mean((0, 2)).sum():.1f} products a sample" in update.note


def test_a_signal_that_ends_what_is_timed_interrupts_the_benchmark(monkeypatch):
    def ended(command, **_):
        signalled(signal.SIGTERM)
        return subprocess.CompletedProcess(command, 143)

    monkeypatch.setattr(bench.subprocess, "run", ended)
    code, _, err = call("bench", "--parts", "startup", "--quiet")
    assert code == 143
    assert "fails" not in err
