"""Figures of a certificate: eigenvalues and discs, measured decay against the certified rate, margin in training."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from ...certificates import certify
from ...certificates.convergence import L1, AbstractNorm, Certificate, LInf, System, perron_weights
from ...model import Network
from ...plot.style import BLUE, GREEN, LIGHT, RED, canvas, epochs, open_frame, save
from ...plot.style import discs as circles
from ...settling import linearise, settle
from ..words import spoken


def save_figures(
    folder: Path,
    network: Network,
    certificate: Certificate,
    x: np.ndarray | None,
    history: list[dict] | None,
    formats: Sequence[str] = ("png",),
) -> None:
    """Draw the free phase, in 64 bits whatever the network was trained in, at the first of the inputs `x`."""
    network = network.astype(np.float64)
    title = f"{certificate.verdict} ({certificate.criterion})"
    if certificate.verdict == "undecided":
        free = certify(network, starts=0)
        if free:
            certificate, title = free, f"free phase proved; {undecided(certificate)} undecided"
    x = np.full((1, network.graph.inputs), 0.5) if x is None else np.asarray(x)[:1]
    figures = {"discs": discs(network, certificate, x, title), "decay": decay(network, certificate, x)}
    if history is not None:
        figures["margin"] = margin(history)
    for name, figure in figures.items():
        if figure is not None:
            save(figure, folder / f"{name}.png", formats)


def undecided(certificate: Certificate) -> str:
    """Which phases a certificate leaves open, the free one being proved."""
    marks = [name.partition(", phases of ")[2] for name in (each.criterion for each in certificate.attempts)]
    named = [each.partition(":")[0] for each in certificate.uncovered] + list(filter(None, marks))
    left = [name for name in dict.fromkeys(named) if not any(each.startswith(name) for each in certificate.phases)]
    return spoken(f"phases of {', '.join(left)}") if left else "nudged phases"


def discs(network: Network, certificate: Certificate, x: np.ndarray, title: str) -> Figure | None:
    """Eigenvalues of the Jacobian where the network settles, in the discs that hold them at every state.

    Gershgorin's discs of the majorant: centre minus total leak, radius the gain times the sum of outgoing weights,
    plain and as the norm weights make them. All of them left of zero is the proof.
    """
    system = System.of(network)
    if system.size > 1000 or not np.isfinite(system.gain):
        return None
    norm = certificate.norm
    weighted = norm if isinstance(norm, L1 | LInf) else L1(perron_weights(system, incoming=False))
    incoming, eta = isinstance(weighted, LInf), weighted.weights
    centre, ones = -system.total_leak, np.ones(system.size)
    plain = system.spread(ones, incoming)
    sharp = system.spread(eta, incoming) / eta
    figure = canvas(6.4, 4.6)
    axis = figure.subplots()
    equal = np.allclose(plain, sharp)
    kinds = [(plain, LIGHT, "discs, all units alike")] if not equal else []
    kinds.append((sharp, GREEN if certificate else RED, f"discs in {weighted}"))
    for radius, colour, label in kinds:
        circles(axis, centre, radius, colour, label)
    values: Any = _eigenvalues(network, x)
    if values is not None:
        axis.plot(values.real, values.imag, "o", color=BLUE, ms=4, label="eigenvalues where it settles", zorder=4)
    axis.axvline(0, color=RED, lw=1)
    if certificate:
        rate = certificate.phases["free"]
        axis.axvline(-rate, color=GREEN, ls="--", lw=1, label=f"certified rate {rate:.3g}")
    right, left = max(float((centre + sharp).max()), 0.0), float((centre - sharp).min())
    span = max(right - left, 1e-9)
    axis.set(
        xlim=(left - 0.05 * span, right + 0.08 * span), xlabel="real part, 1/time", ylabel="imaginary part, 1/time",
        aspect="equal", title=title,
    )  # fmt: skip
    axis.set_ylim(-1.08 * float(sharp.max()) - 1e-9, 1.08 * float(sharp.max()) + 1e-9)
    figure.legend(frameon=False, fontsize=8, loc="outside lower center", ncols=2)
    open_frame(axis)
    return figure


def _eigenvalues(network: Network, x: np.ndarray) -> np.ndarray | None:
    settled = settle(network, x)
    if not bool(settled.converged[0]):
        return None
    linear = linearise(network.field(jnp.asarray(x, network.dtype)), settled.state, settled.drive)
    active = np.asarray(linear.active)[0]
    jacobian = np.asarray(linear.jacobian())[0]
    return np.linalg.eigvals(jacobian[np.ix_(active, active)]) if active.any() else None


def decay(network: Network, certificate: Certificate, x: np.ndarray, pairs: int = 16) -> Figure | None:
    """Distances between trajectories from random starts, in the certified norm, against the certified rate."""
    system = System.of(network)
    norm: AbstractNorm = certificate.norm or L1(np.ones(system.size))
    fastest = float(np.abs(system.total_leak).max() + np.max(system.spread(np.ones(system.size), True)))
    rate = certificate.phases["free"] if certificate else 0.0
    slowest = rate or 0.05 * fastest
    step = certificate.largest_step if certificate else 0.2 / fastest
    count = int(np.clip(np.log(1e4) / (slowest * step), 50, 20_000))
    every = -(-count // 250)
    rng, shape = np.random.default_rng(0), (2 * pairs, system.size)
    neuron: Any = network.neuron
    starts = rng.uniform(neuron.low, neuron.high, shape) if neuron.bounded else rng.normal(0, 2, shape)
    states = np.asarray(_follow(network, np.repeat(x, 2 * pairs, 0), starts, step, every, count // every))
    gaps = norm.length(states[:, :pairs] - states[:, pairs:])
    gaps = gaps / np.where(gaps[0] > 0, gaps[0], 1)
    times = step * every * np.arange(len(states))
    if certificate:  # nothing is left to see long after the last pair has met
        met = times[gaps.max(1) < 1e-6]
        shown = times <= 5 * met[0] if len(met) else np.ones(len(times), bool)
        gaps, times = gaps[shown], times[shown]
    figure = canvas(5.4, 3.8)
    axis = figure.subplots()
    floor = 1e-10
    seen = np.where(gaps > floor, gaps, np.nan)  # below it, rounding is all that is left
    axis.semilogy(times, seen, color=LIGHT, lw=0.7)
    farthest = np.where(gaps.max(1) > floor, gaps.max(1), np.nan)
    axis.semilogy(times, farthest, color=BLUE, lw=1.8, label=f"farthest of {pairs} pairs")
    if certificate:
        bound = np.exp(-rate * times)
        axis.semilogy(times, bound, color=GREEN, ls="--", lw=1.8, label=f"certified: exp(-{rate:.3g} t)")
    lowest = max(floor, min(float(gaps[gaps > floor].min(initial=1)), 1e-4) / 3)
    axis.set(
        xlabel="time", ylabel="distance over its first value", ylim=(lowest, max(3.0, 1.5 * float(gaps.max()))),
        title=f"pairs of trajectories, {norm}",
    )  # fmt: skip
    axis.legend(frameon=False, fontsize=8)
    open_frame(axis)
    return figure


def _follow(network: Network, x: np.ndarray, start: np.ndarray, step: float, every: int, count: int):
    field = network.field(jnp.asarray(x, network.dtype))

    def euler(state, _):
        return field.clip(state + step * field.flow(state, field.drive(state))), None

    def record(state, _):
        return jax.lax.scan(euler, state, None, length=every)[0], state

    return jax.lax.scan(record, jnp.asarray(start, network.dtype), None, length=count)[1]


def margin(history: list[dict]) -> Figure:
    """The contraction margin of the free phase after every update, and the epochs that were not certified."""
    at = np.array([line["epoch"] for line in history])
    values = np.array([np.nan if line["lowest_margin"] is None else line["lowest_margin"] for line in history], float)
    figure = canvas(5.4, 3.2)
    axis = figure.subplots()
    axis.plot(at, values, color=GREEN, lw=1.6, label="margin (free phase), lowest after any update")
    lost = np.array([not line.get("certified", (line["lowest_margin"] or -1) > 0) for line in history])
    if lost.any():
        axis.plot(at[lost], values[lost], ".", color=RED, ms=4, label="epochs not certified")
    low, high = float(np.nanmin(values, initial=0.0)), float(np.nanmax(values, initial=1e-3))
    axis.set(
        ylabel="contraction margin, 1/time", title="margin over training",
        ylim=(low - 0.05 * (high - low), high + 0.3 * (high - low)),
    )  # fmt: skip
    axis.axhline(0, color=RED, lw=1)
    epochs(axis)
    axis.legend(frameon=False, fontsize=8)
    open_frame(axis)
    return figure
