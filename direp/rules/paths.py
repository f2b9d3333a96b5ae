"""The ways to equilibrium: states over time in every phase that a rule runs."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Num, PRNGKeyArray

from ..model import AbstractField, Network, declared
from ..settling import Settled
from ..settling import trajectory as follow
from .base import AbstractRule, ask
from .cost import AbstractCost
from .phases import named
from .problem import Kept

_POINTS = 301  # times of a phase, where none are given
_SHARE, _LONGER, _MOST = 8.0, 3.0, 6  # slowest leak times to begin with, how much longer each try is, how many tries


@dataclass(frozen=True, repr=False)
class PhasePath:
    """A phase over time.

    - `times`: from 0 on. `states`: time x batch x free.
    - `settled`: where `settle` comes to rest in this phase, from the same start.
    """

    times: np.ndarray
    states: np.ndarray
    settled: Settled

    @property
    def gap(self) -> float:
        """The largest distance of a unit from where its phase settles, at the last time, over the settled samples."""
        still = np.asarray(self.settled.converged)
        away = np.abs(self.states[-1] - np.asarray(self.settled.state))
        return float(away[still].max(initial=0))

    def __repr__(self) -> str:
        return (
            f"PhasePath({self.states.shape[1]} samples, {self.states.shape[2]} units, {len(self.times)} times up to "
            f"{self.times[-1]:.3g}; at the end {self.gap:.1g} from equilibrium)"
        )


@dataclass(frozen=True, repr=False)
class Trajectories:
    """What `trajectory` finds for a rule: a `PhasePath` for every phase, by name, such as `paths["beta=+2"]`.

    - `phases`: in the order in which they run, the free one first, named as in `Certificate.phases`.
    - `units`: names of the free units; the last `outputs` of them are outputs.
    - `unseen`: how many phases the rule settles by itself, which cannot be followed.
    """

    phases: dict[str, PhasePath]
    units: tuple[str, ...]
    outputs: int
    unseen: int = 0

    def __getitem__(self, name: str) -> PhasePath:
        return self.phases[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.phases)

    def __len__(self) -> int:
        return len(self.phases)

    def plot(self, ax: Any = None, *, sample: int = 0, units: Any = None) -> Any:
        """States of a sample over time, phase by phase; see `direp.plot.trajectory`. Returns the axes."""
        from ..plot import trajectory  # which loads matplotlib

        return trajectory(self, ax, sample=sample, units=units)

    def __repr__(self) -> str:
        samples = self.phases["free"].states.shape[1]
        ends = ", ".join(f"{name} up to {path.times[-1]:.3g}" for name, path in self.phases.items())
        unseen = f", {self.unseen} more cannot be followed" if self.unseen else ""
        return f"Trajectories({samples} samples, {len(self.units)} units: {ends}{unseen})"


@overload
def trajectory(
    network: Network | AbstractField,
    x: Num[ArrayLike, "batch input"] | None = None,
    times: Num[ArrayLike, " time"] | None = None,
    *,
    state: Num[ArrayLike, "batch free"] | None = None,
    rtol: float = 1e-7,
    atol: float = 1e-9,
) -> Float[Array, "time batch free"]: ...


@overload
def trajectory(
    network: Network,
    x: Num[ArrayLike, "batch input"],
    times: Num[ArrayLike, " time"] | None = None,
    *,
    y: Num[ArrayLike, "batch output"],
    rule: AbstractRule,
    cost: AbstractCost | None = None,
    key: PRNGKeyArray | None = None,
    state: Num[ArrayLike, "batch free"] | None = None,
    rtol: float = 1e-7,
    atol: float = 1e-9,
) -> Trajectories: ...


def trajectory(
    network: Network | AbstractField,
    x: Num[ArrayLike, "batch input"] | None = None,
    times: Num[ArrayLike, " time"] | None = None,
    *,
    y: Num[ArrayLike, "batch output"] | None = None,
    rule: AbstractRule | None = None,
    cost: AbstractCost | None = None,
    key: PRNGKeyArray | None = None,
    state: Num[ArrayLike, "batch free"] | None = None,
    rtol: float = 1e-7,
    atol: float = 1e-9,
) -> Any:
    """States over time: of a network with clamped inputs or of a field; or with a rule, in every phase that it runs.

    Without a rule, the states (time x batch x free) at the given times (increasing, from 0 on); a single nudged phase
    is `trajectory(direp.Nudged(...), times=times, state=free.state)`. With a rule,
    [`Trajectories`][direp.Trajectories]: the free phase from rest (or `state`), and each further one from where the
    rule starts it, the settled free phase.
    Without `times` each is followed until it stands still, or for two thousand of the slowest leak times.

    Computed in 64 bits, by Tsit5 with steps as small as the tolerances ask for, in a box too: there a unit stands still
    while a face holds it back, and steps shrink where one reaches a face. All states are kept: give the samples to look
    at, not a data set. Raises `ValueError` where the solver cannot reach the last time.

    **Arguments:**

    - `y`, `rule`, `cost`, `key`: as in `estimate`.
    - `state`: where the (free) phase starts; by default at rest.
    """
    if rule is None:
        for name, value in (("y", y), ("cost", cost), ("key", key)):
            if value is not None:
                raise ValueError(
                    f"trajectory({name}=...) is for the phases of a rule: give rule=direp.Local(beta=2.0) too"
                )
        return follow(network, x, times, state=state, rtol=rtol, atol=atol)
    if y is None or x is None:
        raise ValueError("trajectory(rule=...) needs x and y, the inputs and targets of a batch, as estimate does")
    found, parts = ask("trajectory", network, x, y, rule, cost=cost, key=key, state=state, keep=True)
    if parts is None:
        raise ValueError("trajectory(rule=...) cannot be traced by jit, vmap or grad: call it outside")
    graph, phases, unseen = parts[0].graph, {}, 0
    for place, settled in enumerate((found.free, *found.nudged)):
        kept: Any = settled.error
        if kept is None:
            unseen += 1
            continue
        name = "free" if not place else _name(kept)
        again = sum(other == name or other.startswith(f"{name} (") for other in phases)
        settled = _bare(settled)
        phases[f"{name} ({again + 1})" if again else name] = PhasePath(*_followed(kept, times, rtol, atol), settled)
    return Trajectories(phases, graph.names[graph.inputs :], graph.outputs, unseen)


def _bare(settled: Settled) -> Settled:
    return Settled(settled.state, settled.rate, settled.drive, settled.residual, settled.steps, settled.result)


def _name(kept: Kept) -> str:
    """As a certificate names the phase: by its nudge, and by its field unless this is the network's own."""
    coupling, signal = declared(kept.field), kept.field.signal(kept.start)
    own = not isinstance(coupling, str) and coupling.jacobian == "network"
    label = "" if own and signal is not None else type(kept.field).__name__
    (name,) = named(label, [] if signal is None else [signal.strength], kept.start.dtype)
    return name


def _followed(kept: Kept, times: Any, rtol: float, atol: float) -> tuple[np.ndarray, np.ndarray]:
    """Times and states of a phase; without `times`, until nothing moves."""
    if times is not None:
        states = follow(kept.field, times=times, state=kept.start, rtol=rtol, atol=atol)
        return np.asarray(times, np.float64), np.asarray(states)
    leak = np.abs(np.asarray(kept.field.total_leak, np.float64))
    end = _SHARE / max(float(leak.min()), 1e-3 * float(leak.max()), 1e-12)
    for _ in range(_MOST):
        grid = end * np.linspace(0, 1, _POINTS) ** 2  # most happens early
        states = np.asarray(follow(kept.field, times=grid, state=kept.start, rtol=rtol, atol=atol))
        # What still moved in the last part is far more than what is left to move.
        fine = max(rtol, 8 * float(np.finfo(states.dtype).eps)) * max(1.0, float(np.abs(states).max()))
        if np.abs(states[-1] - states[3 * _POINTS // 4]).max() <= fine:
            break
        end *= _LONGER
    return grid, states
