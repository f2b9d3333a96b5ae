"""How fast this machine settles and trains networks: medians over repeats, and ratios between things measured in turn.

Every part times direp beside what it is to be compared with, one after the other in every round, so that whatever else
the machine does meets both.
"""

import dataclasses
import datetime
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.integrate
import scipy.sparse

from ..model import Graph, Network, Normal, Projected, Rate, sigmoid
from ..model.synapses import Sparse
from ..settling import Tolerance, settle
from ..settling.methods import Preconditioned
from ..training import fit
from .build import arguments, load_task
from .commands import Stop
from .presets import preset


@dataclass(frozen=True)
class Timing:
    """One thing measured. `ratio` is the median over rounds of the time of `against` over that of `name`."""

    part: str
    name: str
    seconds: float
    low: float
    high: float
    repeats: int
    against: str | None = None
    ratio: float | None = None
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def machine() -> dict[str, Any]:
    """What was measured on."""
    name = platform.processor() or platform.machine()
    described = Path("/proc/cpuinfo")
    if described.exists():
        models = [line.partition(":")[2].strip() for line in described.read_text().splitlines() if "model name" in line]
        name = models[0] if models else name
    return {
        "processor": name,
        "cores": os.cpu_count(),
        "devices": [str(device) for device in jax.devices()],
        "jax": jax.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "date": datetime.date.today().isoformat(),
    }


def compare(part: str, calls: Mapping[str, tuple], against: str | None, repeats: int) -> list[Timing]:
    """Every call in turn, `repeats` times after a first one that does not count; each is given with what to divide its
    seconds by (steps, networks) and, if there is one, a note."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for round_ in range(repeats + 1):
        Stop.check()
        for name, (call, share, *_) in calls.items():
            begun = time.perf_counter()
            jax.block_until_ready(call())
            if round_:
                taken[name].append((time.perf_counter() - begun) / share)
    timings = []
    for name, seconds in taken.items():
        other = against if against is not None and name != against else None
        ratio = float(np.median(np.divide(taken[other], seconds))) if other else None
        middle, note = float(np.median(seconds)), "".join(calls[name][2:])
        timings.append(Timing(part, name, middle, min(seconds), max(seconds), repeats, other, ratio, note))
    return timings


def numpy_gate(
    epochs: int, *, steps: int = 1000, h: float = 0.05, beta: float = 10.0, start: tuple[float, float] = (0.0, 0.1)
) -> np.ndarray:
    """DEEP 2020 on XOR as a plain loop for one network: a free phase, a nudged one whose every step is summed up, and
    the free phase by which an epoch is judged. Returns the weights between free units."""
    rng = np.random.default_rng(0)
    x, y = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), np.array([[0.0], [1], [1], [0]])
    weight, inputs, bias = rng.normal(0, 0.05, (6, 6)), rng.normal(0, 0.05, (2, 6)), rng.normal(0, 0.05, 6)
    np.fill_diagonal(weight, 0)

    def free(state: np.ndarray) -> np.ndarray:
        clamped, outflow = x @ inputs + bias, weight.sum(1)
        for _ in range(steps):
            state = np.clip(state + h * (clamped + state @ weight - outflow * state), 0, 1)
        return state

    for _ in range(epochs):
        state = free(rng.uniform(*start, (4, 6)))
        clamped, outflow = x @ inputs + bias, weight.sum(1)
        of_weight, of_inputs, of_bias = np.zeros_like(weight), np.zeros_like(inputs), np.zeros_like(bias)
        for _ in range(steps):
            flow = clamped + state @ weight - outflow * state
            flow[:, -1:] += beta * (y - state[:, -1:])
            after = np.clip(state + h * flow, 0, 1)
            change = after - state
            of_weight += after.T @ change
            of_inputs += x.T @ change
            of_bias += change.sum(0)
            state = after
        rate = 100.0 / (4 * steps)
        np.fill_diagonal(of_weight, 0)
        weight, inputs, bias = weight + rate * of_weight, inputs + rate * of_inputs, bias + rate * of_bias
        free(rng.uniform(*start, (4, 6)))
    return weight


def gate(repeats: int) -> list[Timing]:
    """Many small networks: DEEP 2020 like for like, and XOR solved with the default preset."""

    def trained(settings: Any) -> Callable[[], Any]:
        task = load_task(settings)
        built = arguments(settings, task)
        return lambda: fit(task=task, **built).networks[-1].weight

    networks, epochs = 1000, 20
    deep = dataclasses.replace(preset("xor", "deep-2020"), seeds=f"0..{networks - 1}", epochs=epochs)
    own = dataclasses.replace(preset("xor"), seeds=f"0..{networks - 1}")
    jax.config.update("jax_enable_x64", True)
    plain = "plain NumPy loop, a network and epoch"
    note = f"arXiv:2006.08798; {networks} networks at once, 64 bits, 3000 steps an epoch as in the loop"
    calls = {plain: (lambda: numpy_gate(2), 2),
             "DEEP 2020, a network and epoch": (trained(deep), networks * epochs, note)}  # fmt: skip
    timings = compare("gate", calls, plain, repeats)
    jax.config.update("jax_enable_x64", False)
    task = load_task(own)
    solved = int(fit(task=task, **arguments(own, task)).solved.sum())  # pyright: ignore[reportOptionalMemberAccess]
    whole = (trained(own), max(solved, 1), f"{solved} of {networks} seeds solved")
    return timings + compare("gate", {"XOR solved, default preset, a network": whole}, None, repeats)


def dense_network(units: int) -> Network:
    graph = Graph.complete(10, units - 10, 10)
    return Network(graph, Projected(), Normal(0.5 / units**0.5, 0.3), leak=10.0, key=jax.random.key(0))


def dense(repeats: int, steps: int = 50) -> list[Timing]:
    """A step of settling beside the product with the weights alone."""
    timings = []
    for units, batch in ((1000, 128), (1000, 512), (2000, 128)):
        network = dense_network(units)
        rng = np.random.default_rng(0)
        x = jnp.asarray(rng.normal(size=(batch, 10)), jnp.float32)
        rates = jnp.asarray(rng.random((batch, network.graph.free)), jnp.float32)
        loop = jax.jit(lambda r, w: jax.lax.fori_loop(0, steps, lambda _, r: r @ w, r))
        never = Tolerance(0.0, 0.0, max_steps=steps)
        run = eqx.filter_jit(lambda n, x, stop=never: settle(n, x, method=Preconditioned(), stop=stop))
        # A tolerance that nothing meets: every step is taken, with all that is checked on the way.
        taken = int(np.asarray(run(network, x).steps).max())
        product = f"product with the weights, {units} units, batch {batch}"
        flops = 2 * batch * network.graph.free**2
        step = f"step of settling, {units} units, batch {batch}"
        calls = {product: (lambda r=rates, w=network.weight.recurrent, f=loop: f(r, w), steps),
                 step: (lambda n=network, x=x, f=run: f(n, x).state, taken + 1)}  # fmt: skip
        part = compare("dense", calls, product, repeats)
        rate = f"{flops / part[0].seconds / 1e9:.0f} GFLOP/s"
        timings += [Timing(**{**part[0].to_dict(), "note": rate}), part[1]]
    return timings


def sparse_network(units: int, each: int) -> Network:
    """`each` synapses into every free unit, from random units."""
    rng = np.random.default_rng(0)
    target = np.repeat(np.arange(10, units), each)
    source = rng.integers(0, units - 1, len(target))
    source += source >= target  # no unit to itself
    edges = np.unique(np.stack([source, target], 1), axis=0)
    graph = Graph(10, units - 20, 10, edges[:, 0], edges[:, 1])
    return Network(graph, Rate(), Normal(0.05, 0.05), leak=5.0, key=jax.random.key(0), layout=Sparse(graph))


def sparse(repeats: int, batch: int = 32) -> list[Timing]:
    """A field evaluation of sparse random graphs beside SciPy's product, over three decades of synapses."""
    timings = []
    for units in (100, 1000, 10_000, 100_000):
        network = sparse_network(units, 20)
        free = network.graph.free
        rng = np.random.default_rng(0)
        x = jnp.asarray(rng.random((batch, 10)), jnp.float32)
        state = jnp.asarray(rng.random((batch, free)), jnp.float32)
        matrix = scipy.sparse.csr_array(network.synapses.host(network.weight).T.astype(np.float32))
        columns = np.ascontiguousarray(np.asarray(state).T)

        @eqx.filter_jit
        def evaluate(network: Network, x: Any, state: Any) -> Any:
            field = network.field(x)
            return field.flow(state, field.drive(state))

        label = f"{network.graph.synapses:,} synapses, {units:,} units, batch {batch}"
        count = 1 if units == 100_000 else 20
        product, field = f"SciPy's CSR product, {label}", f"field evaluation, {label}"
        own = lambda n=network, x=x, s=state, f=evaluate, k=count: [f(n, x, s) for _ in range(k)]  # noqa: E731
        calls = {product: (lambda m=matrix, c=columns, k=count: [m @ c for _ in range(k)], count),
                 field: (own, count, _memory(network, x, state))}  # fmt: skip
        timings += compare("sparse", calls, product, repeats)
    return timings


def _memory(network: Network, x: Any, state: Any) -> str:
    """What a settling needs beside its arguments and results, and what the layout holds, against the list of edges."""

    def run(network: Network, x: Any, state: Any) -> Any:
        return settle(network, x, state=state, method=Preconditioned()).state

    working = eqx.filter_jit(run).lower(network, x, state).compile().compiled.memory_analysis()
    held = sum(leaf.nbytes for leaf in jax.tree.leaves(eqx.filter(network, eqx.is_array)))
    edges = network.graph.synapses * (4 + 4 + 4)  # source, target, weight
    beside = "" if working is None else f", settling {working.temp_size_in_bytes / state.nbytes:.1f} batches of states"
    return f"network {held / edges:.1f} edge lists{beside}"


def ode(repeats: int) -> list[Timing]:
    """Settling beside SciPy's ODE solver, for one sample of a smooth network of 100 units to the same accuracy."""
    graph = Graph.complete(10, 90, 10)
    network = Network(graph, Rate(sigmoid), Normal(0.1, 0.3), leak=1.0, key=jax.random.key(0))
    x = np.random.default_rng(0).random((1, 10)).astype(np.float32)
    weight, drive = np.asarray(network.matrix)[10:], np.asarray(network.field(jnp.asarray(x)).input_drive)[0]
    run = eqx.filter_jit(lambda n, x: settle(n, x).state)

    def field(_: float, s: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-(drive + s @ weight))) - s

    def solve() -> np.ndarray:
        return scipy.integrate.solve_ivp(field, (0, 20), np.zeros(100), rtol=1e-5, atol=1e-6).y[:, -1]

    found, reference = np.asarray(run(network, jnp.asarray(x)))[0], solve()
    note = f"largest difference {np.abs(found - reference).max():.0e}"
    calls = {"SciPy's solve_ivp until t = 20": (solve, 1), "settle": (lambda: run(network, jnp.asarray(x)), 1, note)}
    return compare("ode", calls, "SciPy's solve_ivp until t = 20", repeats)


def startup(repeats: int) -> list[Timing]:
    """What a user waits for: the help, and the first result of a training whose programs have been compiled before."""

    def program(*arguments: str) -> Callable[[], Any]:
        def call() -> int:
            with tempfile.TemporaryDirectory() as folder:
                where = ["--out", f"{folder}/run"] if arguments[0] == "train" else []
                command = [sys.executable, "-m", "direp", *arguments, *where]
                left = subprocess.run(command, check=False, capture_output=True)
                Stop.check()  # a signal to all processes of a terminal ends this one too
                left.check_returncode()
                return left.returncode

        return call

    calls = {"direp --help": (program("--help"), 1), "direp train xor": (program("train", "xor", "--quiet"), 1)}
    return compare("startup", calls, None, repeats)
