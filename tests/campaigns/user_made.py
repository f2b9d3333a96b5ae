"""Is a user's own neuron ever certified falsely? Random neurons and activations, half of which lie about their bounds.

Whatever is not refused when it is made and is then certified must contract as certified, step by step and from many
starts, in a second implementation in plain NumPy that knows the functions and not what is declared of them.

    python tests/campaigns/user_made.py --count 10000 --seed 0
"""

import argparse
import collections
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import flint
import jax
import jax.numpy as jnp
import numpy as np

import direp
from direp.arithmetic import Ramp, Smooth
from direp.certificates.convergence.certificate import Certificate
from direp.model import AbstractNeuron, Activation, Outflow

LIES = ("slope", "slope of a bump", "range", "above_identity", "enclose", "interval", "method")
NARROWEST = 0.01  # width of a bump; a trial looks every 0.004 between -20 and 20
IDENTITY = direp.activation.identity


@dataclass(frozen=True)
class Function:
    """A function twice, in JAX and in NumPy, with true bounds. `steep`: where its slope is largest."""

    jax: Callable
    numpy: Callable
    range: tuple[float, float]
    slope: tuple[float, float]
    steep: float


PLAIN = Function(lambda s: s, lambda s: s, (-np.inf, np.inf), (1.0, 1.0), 0.0)


def broken_line(rng: np.random.Generator) -> Function:
    """Piecewise linear, constant at both ends."""
    x = np.cumsum(rng.uniform(0.1, 2, rng.integers(2, 7)))
    x = x - x.mean() + rng.normal()
    rise = rng.normal(0, 1, len(x) - 1) * np.exp(rng.normal(0, 0.7, len(x) - 1))
    rise = np.abs(rise) if rng.random() < 0.6 else rise
    y = np.concatenate([[0.0], np.cumsum(rise * np.diff(x))]) + rng.normal(0, 0.3)
    slopes = np.append(rise, 0.0)
    k = int(np.argmax(np.abs(rise)))
    return Function(
        lambda s: jnp.interp(s, x, y), lambda s: np.interp(s, x, y), (y.min(), y.max()),
        (slopes.min() * (1 + 1e-12), slopes.max() * (1 + 1e-12)), (x[k] + x[k + 1]) / 2,
    )  # fmt: skip


def waves(rng: np.random.Generator) -> Function:
    """Steps of tanh, a sine now and then, and a bump."""
    many = int(rng.integers(1, 4))
    height, sharp, at = rng.normal(0, 1, many), np.exp(rng.normal(0, 0.8, many)), rng.normal(0, 2, many)
    height = np.abs(height) if rng.random() < 0.6 else height
    swing, pitch = (rng.normal(0, 0.5), rng.uniform(0.3, 3)) if rng.random() < 0.3 else (0.0, 1.0)

    def fn(xp: Any) -> Callable:
        steps = list(zip(height.tolist(), sharp.tolist(), at.tolist(), strict=True))
        return lambda s: sum(h * xp.tanh(b * (s - c)) for h, b, c in steps) + swing * xp.sin(pitch * s)

    size, turn = np.abs(height).sum() + abs(swing), abs(swing) * pitch
    low, high = np.minimum(height * sharp, 0).sum() - turn, np.maximum(height * sharp, 0).sum() + turn
    function = Function(fn(jnp), fn(np), (-size, size), (low, high), float(at[np.argmax(np.abs(height * sharp))]))
    return bumpy(function, rng, float(np.exp(rng.uniform(np.log(0.1), 0)))) if rng.random() < 0.3 else function


def bumpy(base: Function, rng: np.random.Generator, width: float) -> Function:
    height, at = float(rng.normal(0, 0.5)), base.steep + float(rng.normal(0, 1))
    most = abs(height) / width * np.sqrt(2 / np.e) * (1 + 1e-12)
    bump = lambda xp: lambda s: height * xp.exp(-(((s - at) / width) ** 2))  # noqa: E731
    return Function(
        lambda s: base.jax(s) + bump(jnp)(s), lambda s: base.numpy(s) + bump(np)(s),
        (base.range[0] - abs(height), base.range[1] + abs(height)),
        (base.slope[0] - most, base.slope[1] + most), at + width / np.sqrt(2) * (1 if height < 0 else -1),
    )  # fmt: skip


class Made(AbstractNeuron):
    """A neuron of a user's own."""

    transfer: Activation = eqx.field(static=True)
    rate: Activation = eqx.field(static=True)
    low: float | None = eqx.field(static=True)
    high: float | None = eqx.field(static=True)
    outflow: Outflow = eqx.field(static=True)


class Overriding(Made):
    def clip(self, state):
        return 2 * state


class Methods(AbstractNeuron):
    """One whose transfer is not what it declares."""

    activation: Activation = eqx.field(static=True)
    rate: Activation = eqx.field(static=True)
    low: float | None = eqx.field(static=True)
    high: float | None = eqx.field(static=True)
    outflow: Outflow = eqx.field(static=True)

    def transfer(self, drive):  # pyright: ignore[reportIncompatibleVariableOverride]
        return 3 * self.activation(drive)


def enclosure(function: Function) -> Callable:
    """By the bounds of its slope: coarse, and true."""

    def enclose(ball: Any) -> tuple[Any, Any]:
        slope = flint.arb(function.slope[0]).union(flint.arb(function.slope[1]))
        middle = float(ball.mid())
        value = flint.arb(float(function.numpy(middle)), 1e-13 * (1 + abs(middle)) * (1 + float(abs(slope).upper())))
        return value + slope * (ball - middle), slope

    return enclose


def declared(function: Function, lie: str | None, rng: np.random.Generator) -> Activation:
    (low, high), (least, most) = function.range, function.slope
    given: dict[str, Any] = {"enclose": enclosure(function) if rng.random() < 0.5 else None}
    if lie == "slope":
        share = rng.uniform(0.02, 0.9)
        least, most = least * share, most * share
    elif lie == "slope of a bump":
        width = float(np.exp(rng.uniform(np.log(NARROWEST), np.log(0.5))))
        function = bumpy(function, rng, width)
        low, high = function.range
        given = {}
    elif lie == "range":
        low, high = low + 0.3 * (high - low), high
    elif lie == "above_identity":
        given["above_identity"] = True
    elif lie == "enclose":
        other = Function(function.jax, lambda s: function.numpy(1.1 * s + 0.1), function.range, function.slope, 0)
        given["enclose"] = enclosure(other)
    elif lie == "interval":
        wrong = Smooth(-1.0, 1.0, np.tanh, lambda u: 1 / np.cosh(u) ** 2, lambda r: 1.0 - r * r)
        given["interval"] = wrong if rng.random() < 0.5 else Ramp(0.0, 1.0)
    return Activation("made", function.jax, (low, high), (least, most), **given), function  # pyright: ignore[reportReturnType]


def draw(rng: np.random.Generator, lie: str | None) -> tuple[direp.Network, Function, Function]:
    """A network near the edge of what is certified. Raises `ValueError` where a lie is refused."""
    kind = rng.choice(["transfer", "rate", "both"])
    parts = []
    wanted = str(rng.choice(["transfer", "rate"])) if kind == "both" else str(kind)
    for place in ("transfer", "rate"):
        if kind not in (place, "both"):
            parts.append((IDENTITY, PLAIN))
            continue
        function = broken_line(rng) if rng.random() < 0.5 else waves(rng)
        parts.append(declared(function, lie if place == wanted else None, rng))  # pyright: ignore[reportArgumentType]
    (transfer, after), (rate, before) = parts
    low, high = sorted(rng.normal(0, 2, 2).tolist()) if rng.random() < 0.3 else (None, None)
    outflow = Outflow("rising", 0, 1) if rng.random() < 0.1 else Outflow.of(str(rng.choice(list(direp.model.OUTFLOWS))))
    if lie == "method":
        if rng.random() < 0.5:
            Methods(transfer, rate, low, high, outflow)
        neuron: Any = Overriding(transfer, rate, low, high, outflow)
    else:
        neuron = Made(transfer, rate, low, high, outflow)
    hidden = int(rng.integers(1, 4))
    graph = direp.Graph.complete(1, hidden, 1)
    weight = np.where(graph.adjacency(), rng.normal(0, 1, (hidden + 2, hidden + 1)), 0)
    inner = weight[1:]
    if rng.random() < 0.3:
        weight[1:] = (inner + inner.T) / 2
    # Leaks that rows, columns or other norm weights need; or fewer, for which a Euclidean norm may do.
    eta = np.exp(rng.normal(0, 1, hidden + 1)) if rng.random() < 0.4 else np.ones(hidden + 1)
    size = neuron.gain * ((np.abs(inner) if rng.random() < 0.5 else np.abs(inner).T) @ eta) / eta
    size = size * (rng.uniform(0.5, 1) if rng.random() < 0.3 else 1)
    lost = neuron.outflow.value(inner).sum(1)
    excess = float(10 ** rng.uniform(-3, 0.5)) * (1 if rng.random() < 0.8 else -1)
    leak = np.maximum(size - lost + excess * (0.1 + size * rng.random(hidden + 1)), 0)
    # Drives and states where the functions are steepest.
    total, state = leak + lost, np.full(hidden + 1, before.steep)
    drive = np.full(hidden + 1, after.steep) if after is not PLAIN else total * state
    if before is PLAIN:
        state = after.numpy(drive) / np.where(total > 1e-6, total, 1)
    bias = drive - before.numpy(state) @ inner + rng.normal(0, 0.01, hidden + 1)
    network = direp.Network(graph, neuron, weight, leak=leak, bias=bias, dtype=np.float64)
    return network, after, before


def contracts(network: direp.Network, after: Function, before: Function, certificate: Certificate, rng: Any) -> str:
    """What is wrong with a proof; empty if it holds: every pair approaches as certified, and all end in one place."""
    neuron: Any = network.neuron
    weight, leak, bias = (np.asarray(each, np.float64) for each in (network.matrix, network.leak, network.bias))
    inner = weight[1:]
    gained = {"none": 0 * inner, "signed": inner, "absolute": np.abs(inner), "rising": np.maximum(inner, 0)}
    total = leak + gained[neuron.outflow.name].sum(1)
    state = np.full(len(total), before.steep)
    drive = bias + before.numpy(state) @ inner
    near = after.numpy(drive) / np.where(np.abs(total) > 1e-6, total, 1)
    size = 10.0 ** rng.uniform(-3, 1, (24, 1))
    s = np.where(np.arange(24)[:, None] % 2, near, state) + size * rng.normal(size=(24, len(total)))
    clip = (lambda s: np.clip(s, neuron.low, neuron.high)) if neuron.bounded else (lambda s: s)
    s, h, norm = clip(s), certificate.largest_step, certificate.norm
    assert norm is not None
    length = first = norm.length(s[1:] - s[:-1])
    for step in range(3000):
        s = clip(s + h * (after.numpy(before.numpy(s) @ inner + bias) - total * s))
        now = norm.length(s[1:] - s[:-1])
        noise = 1e-12 * (1 + np.abs(s).max()) * (1 + 1 / norm.reach) * (1 + norm.length(np.eye(len(total))).max())
        if (now > length * certificate.factor + noise).any():
            k = int(np.argmax(now - length * certificate.factor))
            return f"step {step}: a distance of {length[k]} became {now[k]}, certified is {certificate.factor}"
        length = now
        if now.max() < 1e-9 * (1 + first.max()):
            break
    return ""


def judge(seed: int, number: int) -> tuple[collections.Counter, list[str]]:
    rng = np.random.default_rng((seed, number))
    lie = LIES[rng.integers(len(LIES))] if number % 2 else None
    about = "honest" if lie is None else f"lies: {lie}"
    counts, wrong = collections.Counter({about: 1}), []
    try:
        network, after, before = draw(rng, lie)
    except ValueError as error:
        counts[f"{about}: refused when made"] += 1
        if lie is None:
            wrong.append(f"an honest one is refused: {error}")
        return counts, wrong
    if lie == "method":
        wrong.append("a neuron with a method of its own is not refused")
        return counts, wrong
    certificate = direp.certify(network, starts=8 if number % 20 < 2 else 0, seed=number)
    counts[f"{about}: {certificate.verdict}"] += 1
    if certificate:
        counts[f"proved by {certificate.criterion}"] += 1
        complaint = contracts(network, after, before, certificate, rng)
        wrong += [complaint] if complaint else []
    if certificate.verdict == "refuted" and not certificate.counterexample.check(network):
        wrong.append("a counter-example does not check")
    return counts, wrong


def campaign(count: int, seed: int, progress: bool = False) -> tuple[collections.Counter, list[str]]:
    counts: collections.Counter = collections.Counter()
    wrong, begun = [], time.time()
    for number in range(count):
        part, bad = judge(seed, number)
        counts.update(part)
        wrong += [f"seed {seed}, number {number}: {what}" for what in bad]
        if progress and number % 50 == 49:
            left = (time.time() - begun) / (number + 1) * (count - number - 1)
            print(f"\r{number + 1:,} of {count:,}, {len(wrong)} wrong, {left:.0f} s left ", end="", file=sys.stderr)
    return counts, wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    begun = time.time()
    counts, wrong = campaign(asked.count, asked.seed, progress=True)
    print()
    for what in sorted(counts):
        print(f"{what:45} {counts[what]:7,}")
    print(f"wrong: {len(wrong)}; {time.time() - begun:.0f} s")
    if wrong:
        print("\n".join(wrong[:20]))
        raise SystemExit(1)


if __name__ == "__main__":
    main()
