r"""How a trained network does on dies: copies whose devices are not what is stored.

A die holds every number as a conductance with a sign. It is written to one of $2^b$ levels
([`quantised`][direp.quantised]), off by up to a share $x$ ([`Mismatch`][direp.certificates.Mismatch]), and then

$$w(t)=w\,\Bigl(\frac t{1\,\mathrm s}\Bigr)^{-\nu}\,(1+\sigma\xi),\qquad\xi\sim\mathcal N(0,1),$$

for weights and biases: they drift with an exponent $\nu$ of their own each, and are read with noise. Leaks are
resistors, which neither drift nor are read.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..certificates.convergence import Mismatch, quantised
from ..model import Network
from ..rules import AbstractCost
from ..settling import check_count, check_number, compiled
from ..tasks import Samples, Task
from ..training import Trainer, evaluator_of


@dataclass(frozen=True)
class Devices:
    r"""What devices make of stored numbers.

    - `mismatch`: by how much each device may be off, `Mismatch(0.05)` or a share.
    - `bits`, `ratio`: levels, $2^b$ of them, and on/off ratio as in `quantised`; `None` writes numbers as they are.
    - `noise`: $\sigma$, the standard deviation of a reading over what is read.
    - `drift`: the time $t$ since devices were written, in seconds; up to 1 nothing has drifted.
    - `exponent`, `spread`: mean of $\nu$ over devices, and its standard deviation over that mean (none is below zero).

    Drift and noise lie outside of what a certificate for `mismatch` covers.
    """

    mismatch: Mismatch | float = 0.0
    bits: int | None = None
    ratio: float = np.inf
    noise: float = 0.0
    drift: float = 0.0
    exponent: float = 0.05
    spread: float = 0.0

    @property
    def share(self) -> float:
        return self.mismatch.share if isinstance(self.mismatch, Mismatch) else self.mismatch

    def __post_init__(self):
        if not isinstance(self.mismatch, Mismatch):
            object.__setattr__(self, "mismatch", Mismatch(float(self.mismatch)))
        for name in ("noise", "drift", "exponent", "spread"):
            check_number(f"Devices({name}", getattr(self, name), least=0)

    def written(self, network: Network) -> Network:
        """What every die is meant to hold: each number at its level."""
        return network if self.bits is None else quantised(network, self.bits, self.ratio)

    def die(self, network: Network, rng: np.random.Generator, corner: bool = False) -> Network:
        """One die, read once. `corner`: every device off by the whole share, up or down."""
        made = self.mismatch.die(self.written(network), rng, corner)  # pyright: ignore[reportAttributeAccessIssue]
        if not self.noise and self.drift <= 1:
            return made

        def read(leaf: Any) -> jax.Array:
            value = np.asarray(leaf, np.float64)
            if self.drift > 1:
                exponent = np.maximum(self.exponent * (1 + self.spread * rng.standard_normal(value.shape)), 0)
                value = value * self.drift**-exponent
            if self.noise:
                value = value * (1 + self.noise * rng.standard_normal(value.shape))
            return jnp.asarray(value.astype(leaf.dtype))

        now = made.parameters
        return made.replace(now._replace(weight=jax.tree.map(read, now.weight), bias=read(now.bias)))


@dataclass(frozen=True, repr=False)
class OnDies:
    """How a network does as it is stored, and on every die: `loss`, `accuracy` (NaN for a regression), `unsettled`
    samples and the most `steps` of a sample, an array each with one number a die; `stored` holds the same four."""

    devices: Devices
    samples: int
    stored: dict[str, float]
    loss: np.ndarray
    accuracy: np.ndarray
    unsettled: np.ndarray
    steps: np.ndarray

    @property
    def by(self) -> str:
        """By what dies are compared."""
        return "loss" if np.isnan(self.accuracy).all() else "accuracy"

    @property
    def worst(self) -> int:
        """The place of the worst die."""
        return int(np.argmax(self.loss) if self.by == "loss" else np.argmin(self.accuracy))

    @np.errstate(invalid="ignore")  # a die that diverged has no finite loss
    def summary(self) -> dict[str, float]:
        """Mean, deviation and quantiles over dies, and the worst one."""
        values = getattr(self, self.by)
        low, median, high = np.quantile(values, [0.05, 0.5, 0.95])
        return {
            "stored": self.stored[self.by], "mean": float(values.mean()), "deviation": float(values.std(ddof=1))
            if len(values) > 1 else 0.0, "least": float(values.min()), "5 %": float(low), "median": float(median),
            "95 %": float(high), "largest": float(values.max()), "worst": float(values[self.worst]),
            "dies with unsettled samples": int((self.unsettled > 0).sum()),
        }  # fmt: skip

    def __repr__(self) -> str:
        told = self.summary()
        return f"OnDies({len(self.loss)} dies: {self.by} {told['mean']:.4g}, worst {told['worst']:.4g})"


def on_dies(
    network: Network,
    task: Task,
    devices: Devices,
    dies: int = 100,
    *,
    part: str = "test",
    seed: int = 0,
    cost: AbstractCost | None = None,
    method: Any = None,
    stop: Any = None,
    corner: bool = False,
    step: Callable[[], Any] | None = None,
) -> OnDies:
    """A network of a task on a part of its samples (`"test"`, `"validation"` or `"train"`), on so many dies.

    Dies are drawn one after the other from `seed`. `cost`, `method` and `stop` are how it was trained: those of
    `run.trainer`, or the defaults of `fit`. `step` is called after every die.
    """
    check_count("on_dies(dies", dies)
    if part not in ("train", "validation", "test"):
        raise ValueError(f"on_dies(part={part!r}) must be 'train', 'validation' or 'test'")
    samples = Samples(*(jnp.asarray(np.asarray(table), network.dtype) for table in getattr(task, part)))
    trainer = evaluator_of(network, task, cost, method, stop, "on_dies")
    rng = np.random.default_rng(seed)
    rows = [_judged(trainer, network, samples)]
    written, off = devices.written(network), dataclasses.replace(devices, bits=None)
    for _ in range(dies):
        rows.append(_judged(trainer, off.die(written, rng, corner), samples))
        if step is not None:
            step()
    names = ("loss", "accuracy", "unsettled", "steps")
    table = np.array(rows, float)
    columns: Any = dict(zip(names, table[1:].T, strict=True))
    return OnDies(devices, len(samples.x), dict(zip(names, table[0].tolist(), strict=True)), **columns)


@compiled
def _all_judged(trainer: Trainer, parameters: Any, samples: Samples) -> tuple[jax.Array, ...]:
    found = trainer.evaluate(parameters, samples, jax.random.key(0))
    return found.loss, found.accuracy, found.unconverged, found.steps.max()


def _judged(trainer: Trainer, network: Network, samples: Samples) -> list[float]:
    return [float(figure) for figure in _all_judged(trainer, network.parameters, samples)]
