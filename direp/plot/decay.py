"""How fast samples come to rest, beside the rate that is proved."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from ..arithmetic import at_least
from .style import BLUE, GREEN, LIGHT, Place, inches, open_frame, place


def residual_decay(
    paths: Any,
    ax: Place = None,
    *,
    phase: str = "free",
    certificate: Any = None,
    times: Any = None,
    end: Any = None,
    title: str = "",
) -> Axes:
    r"""The distance of every sample to its equilibrium over time, over its first value; and $e^{-ct}$, above which none
    may lie if the rate $c$ is proved.

    Distances are lengths in the norm in which the certificate proves the rate of the phase, else Euclidean ones. Where
    every unit is as near as solvers tell (1e-6 in 64 bits, 1e-5 in 32), a line ends; a sample that moves by less than
    a hundred times that is left out.

    **Arguments:**

    - `paths`: what `direp.trajectory(rule=...)` returns, of which `phase` is drawn; or an array (time x batch x free)
      with its `times`, and with `end`, where the samples come to rest (batch x free), `direp.settle(...).state`.
    - `certificate`: by default no rate is drawn.
    """
    time, states, end = _path(paths, phase, times, end)
    norm, rate = (None, None) if certificate is None else _proved(certificate, phase)
    length = (lambda v: np.linalg.norm(v, axis=-1)) if norm is None else norm.length
    distance = np.asarray(length(states - end), float)
    floor = float(length(np.full(states.shape[-1], 1e-6 if end.dtype == np.float64 else 1e-5)))
    moves = distance[0] > 100 * floor
    if not moves.any():
        raise ValueError(
            f"residual_decay: no sample is moved by phase {phase!r}, farthest {distance[0].max(initial=0):.2g} from "
            "its equilibrium; draw another phase, or start elsewhere"
        )
    shares = np.where(distance > floor, distance, np.nan)[:, moves] / distance[0, moves]
    (axis,) = place(ax, 4.6, 3.2)
    last = int(np.flatnonzero(np.isfinite(shares).any(1))[-1])
    time, shares = time[: last + 1], shares[: last + 1]
    axis.semilogy(time, shares, color=LIGHT, lw=0.7)
    if rate is not None:
        axis.semilogy(
            time, np.exp(-rate * time), color=GREEN, ls="--", lw=1.8, label=f"proved: exp(-{at_least(rate)} t)"
        )
    rest = "" if moves.all() else f", {(~moves).sum()} more at rest"
    axis.semilogy(time, _largest(shares), color=BLUE, lw=1.8, label=f"slowest of {moves.sum()} samples{rest}")
    axis.set(xlabel="time", ylabel="distance / first distance")
    axis.set_title(title or f"{phase}, in {'the Euclidean norm' if norm is None else norm}", fontsize=10)
    axis.set_ylim(0.5 * float(np.nanmin(shares)), 2 * max(float(np.nanmax(shares)), 1.0))
    axis.set_xlim(0, float(time[-1]) or 1.0)
    axis.legend(
        loc="upper center", bbox_to_anchor=(0, -0.45), bbox_transform=inches(axis, 0.5, 0), frameon=False,
        ncols=1 if rest else 2, fontsize=8, handlelength=1.4, columnspacing=1.0,
    )  # fmt: skip
    open_frame(axis)
    return axis


def _largest(shares: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(shares).all(1), np.nan, np.nanmax(np.nan_to_num(shares), 1))


def _path(paths: Any, phase: str, times: Any, end: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times, states (time x batch x free), and where these come to rest (batch x free)."""
    if hasattr(paths, "phases"):
        if phase not in paths.phases:
            raise ValueError(f"residual_decay(phase={phase!r}) must be one of {', '.join(map(repr, paths.phases))}")
        path = paths.phases[phase]
        return np.asarray(path.times, float), np.asarray(path.states), np.asarray(path.settled.state)
    states = np.asarray(paths)
    if times is None or end is None:
        raise ValueError(
            "residual_decay of an array needs times=..., and end=..., where the samples come to rest: settle(...).state"
        )
    times, end = np.asarray(times, float), np.asarray(end)
    if states.ndim != 3 or times.shape != states.shape[:1] or end.shape != states.shape[1:]:
        raise ValueError(
            f"residual_decay: paths have shape {states.shape}, times {times.shape} and end {end.shape}; needed are "
            "time x batch x free, time, and batch x free"
        )
    return times, states, end


def _proved(certificate: Any, phase: str) -> tuple[Any, float]:
    """The norm and the rate of a phase, as proved."""
    rate = certificate.phases.get(phase)
    if rate is None or not rate > 0:
        covered = ", ".join(map(repr, certificate.phases)) or "no phase"
        raise ValueError(
            f"residual_decay(phase={phase!r}): the certificate proves a rate of {covered}; "
            "certify(network, rule=...) covers the phases of a rule"
        )
    norm = certificate.norms.get(phase, certificate.norm)
    if norm is None:
        raise ValueError(
            "residual_decay: this certificate has a norm of its own for each sample; give one of certify(network)"
        )
    return norm, float(rate)
