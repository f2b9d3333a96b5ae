"""Speed beside other ways to do the same; `direp bench` has what needs nothing but direp.

python benchmarks/speed.py dense               # a step of settling beside PyTorch's and NumPy's
python benchmarks/speed.py images --seeds 3    # MNIST and Fashion-MNIST: accuracy, seconds a seed, certificate
python benchmarks/speed.py doors               # second calls of settle, estimate and fit, and what they compile
python benchmarks/speed.py steps               # field evaluations of every method on a trained MNIST network

Data: DIREP_DATA, or what the program downloads. `dense` needs PyTorch (pip install torch), nothing else does.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import direp
from direp.program.bench import compare, dense_network, machine
from direp.program.build import load_task
from direp.program.commands.bench import table
from direp.program.run_folder import open_run

STEPS = 50


def plain_numpy(network: direp.Network, x: np.ndarray):
    weight, leak = np.array(network.weight.recurrent), np.array(network.total_leak())
    drive = x @ np.array(network.weight.input) + np.array(network.bias)

    def loop() -> np.ndarray:
        state = np.zeros_like(drive)
        for _ in range(STEPS):
            flow = drive + state @ weight - leak * state
            held = ((state <= 0) & (flow < 0)) | ((state >= 1) & (flow > 0))
            if (np.abs(np.where(held, 0, flow)).max(1) < 0).all():  # never: every step is taken
                break
            state = np.clip(state + np.float32(0.05) * flow, 0, 1)
        return state

    return loop


def plain_torch(network: direp.Network, x: np.ndarray):
    import torch

    weight, leak = (torch.tensor(np.array(a)) for a in (network.weight.recurrent, network.total_leak()))
    drive = torch.tensor(x @ np.array(network.weight.input) + np.array(network.bias))

    def loop() -> object:
        with torch.no_grad():
            state = torch.zeros_like(drive)
            for _ in range(STEPS):
                flow = drive + state @ weight - leak * state
                held = ((state <= 0) & (flow < 0)) | ((state >= 1) & (flow > 0))
                if bool((torch.where(held, 0.0, flow).abs().amax(1) < 0).all()):
                    break
                state = torch.clamp(state + 0.05 * flow, 0, 1)
        return np.asarray(state)

    return loop


def dense(repeats: int) -> None:
    timings = []
    for units, batch in ((1000, 128), (1000, 512), (2000, 128)):
        network = dense_network(units)
        x = np.random.default_rng(0).normal(size=(batch, 10)).astype(np.float32)
        never = direp.Tolerance(0.0, 0.0, max_steps=STEPS)
        run = eqx.filter_jit(lambda n, x, stop=never: direp.settle(n, x, method=direp.Euler(0.05), stop=stop).state)
        numpy_, torch_ = plain_numpy(network, x), plain_torch(network, x)
        clamped = jnp.asarray(x)
        ours = np.asarray(run(network, clamped))
        assert max(np.abs(ours - numpy_()).max(), np.abs(ours - torch_()).max()) < 1e-4
        plain = f"plain PyTorch loop, {units} units, batch {batch}"
        timings += compare(
            "dense",
            {
                plain: (torch_, STEPS),
                f"plain NumPy loop, {units} units, batch {batch}": (numpy_, STEPS),
                f"direp, {units} units, batch {batch}": (lambda n=network, x=clamped, f=run: f(n, x), STEPS),
            },
            plain,
            repeats,
        )
    print(table({"machine": machine(), "timings": [timing.to_dict() for timing in timings]}))


def images(seeds: int, extra: list[str]) -> None:
    print("| task | seed | test accuracy | validation | best epoch | seconds | unsettled | certificate | command |")
    print("|---|---:|---:|---:|---:|---:|---:|---|---|")
    for task in ("mnist", "fashion-mnist"):
        accuracies, taken = [], []
        for seed in range(seeds):
            command = ["train", task, "--seeds", str(seed), *extra]
            with tempfile.TemporaryDirectory() as folder:
                begun = time.perf_counter()
                call = [sys.executable, "-m", "direp", *command, "--quiet", "--json", "--out", f"{folder}/run"]
                said = json.loads(subprocess.run(call, check=True, capture_output=True, text=True).stdout)
                taken.append(time.perf_counter() - begun)
            accuracies.append(said["test"]["accuracy"])
            print(
                f"| {task} | {seed} | {said['test']['accuracy']:.2%} | {said['validation']['accuracy']:.2%} | "
                f"{said['per_seed'][0]['best_epoch']} | {taken[-1]:.0f} | {said['settle']['unconverged']} | "
                f"{said['certificate']['verdict']} | `direp {' '.join(command)}` |",
                flush=True,
            )
        spread = f" ± {np.std(accuracies, ddof=1) * 100:.2f}" if seeds > 1 else ""
        print(
            f"| **{task}** | mean | **{np.mean(accuracies):.2%}**{spread} | | | {np.mean(taken):.0f} | | | |",
            flush=True,
        )


def steps(run: pathlib.Path | None) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = run or pathlib.Path(scratch) / "run"
        if run is None:
            call = [sys.executable, "-m", "direp", "train", "mnist", "--out", str(folder)]
            subprocess.run(call, check=True, stdout=subprocess.DEVNULL)
        run = open_run(folder)
        settings, network = run.settings, run.networks[0]
    task = load_task(settings)
    x, y = jnp.asarray(task.test.x[:1000]), jnp.asarray(task.test.y[:1000])
    # The free phase bears a larger step than the nudged one, whose outputs are stiffer by beta.
    free = float(direp.certify(network).largest_step)
    both = 1 / (1 / free + settings.beta)
    methods = {
        "projected Euler, h = 0.05": direp.Euler(0.05),
        f"projected Euler, h = {both:.3g} (the largest for both phases)": direp.Euler(both),
        f"projected Euler, h = {free:.3g} (the largest for the free phase)": direp.Euler(free),
        "Preconditioned": direp.Preconditioned(),
        "Preconditioned(products=8)": direp.Preconditioned(products=8),
        "Anderson(memory=2)": direp.Anderson(2),
        "Coloured": direp.Coloured(),
    }
    chosen = type(direp.choose_method(network)).__name__
    stop = direp.Tolerance(0.0, 1e-5, max_steps=100_000)

    @eqx.filter_jit
    def phases(network, x, y, method):
        free = direp.settle(network, x, method=method, stop=stop)
        nudged = direp.Nudged(network.field(x), direp.SquaredError(), y, jnp.asarray(settings.beta, x.dtype))
        return free, direp.settle(nudged, state=free.state, method=method, stop=stop)

    print(f"`auto` takes {chosen} here.\n")
    print("| method | evaluations, free phase | nudged phase | all settled |")
    print("|---|---:|---:|---|")
    for name, method in methods.items():
        both = phases(network, x, y, method)
        cost = [1 + method.evaluations * np.asarray(phase.steps) for phase in both]
        shown = [f"{c.mean():.1f} (at most {c.max():.0f})" for c in cost]
        settled = all(bool(phase.converged.all()) for phase in both)
        print(f"| {name} | {shown[0]} | {shown[1]} | {'yes' if settled else 'no'} |", flush=True)


def doors(repeats: int) -> None:
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, duration, **_: compiled.append(duration) if event.endswith("backend_compile_duration") else None
    )
    small = direp.Graph.complete(inputs=2, hidden=5, outputs=1)
    large = direp.Graph.complete(inputs=4, hidden=62, outputs=3)
    rng = np.random.default_rng(0)

    def made(graph, seed, leak):
        return direp.Network(graph, direp.Projected("signed"), leak=leak, key=jax.random.key(seed))

    def trained(seed):
        return direp.fit(
            made(small, seed, 1.0), direp.tasks.xor(), rule=direp.Local(beta=6.0 - seed / 10), epochs=150,
            optimiser=optax.adam(0.05 / (1 + seed), b1=0.5), control=direp.LeakController(0.1 + seed / 100, floor=0.1),
        ).test.loss  # fmt: skip

    calls = {"fit, README's example, another key, rate, nudge and margin": trained}
    for graph, leak in ((small, 2.0), (large, 40.0)):
        net, x, y = made(graph, 0, leak), rng.random((32, graph.inputs)), rng.random((32, graph.outputs))
        calls[f"settle, {graph.free} units, batch 32"] = lambda k, n=net, x=x: direp.settle(n, x + k / 100).state
        calls[f"estimate, {graph.free} units, batch 32"] = lambda k, n=net, x=x, y=y: (
            direp.estimate(n, x, y, direp.Local(beta=0.1 + k / 100)).gradient.bias
        )
    print("| call | first | later, median | programs compiled later |\n|---|---:|---:|---:|")
    for name, call in calls.items():
        taken = []
        for k in range(repeats + 1):
            begun = time.perf_counter()
            jax.block_until_ready(call(k))
            taken.append((time.perf_counter() - begun) * 1e3)
            if k == 0:
                compiled.clear()
        print(f"| {name} | {taken[0]:.0f} ms | {np.median(taken[1:]):.2f} ms | {len(compiled)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("dense", "images", "doors", "steps"))
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--run", type=pathlib.Path, help="a run folder on MNIST; by default one is trained")
    asked, extra = parser.parse_known_args()
    jax.config.update("jax_enable_x64", False)
    if asked.what == "dense":
        dense(asked.repeats)
    elif asked.what == "images":
        images(asked.seeds, extra)
    elif asked.what == "doors":
        doors(asked.repeats)
    else:
        steps(asked.run)


if __name__ == "__main__":
    main()
