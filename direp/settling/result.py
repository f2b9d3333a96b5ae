"""Where a batch of states came to rest, and how."""

import math
from typing import Any

import equinox as eqx
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int

from ..arithmetic import opened, placed

CONVERGED, MAX_STEPS, NON_FINITE, CYCLING, UNMOVED = range(5)


RESULTS = {
    CONVERGED: "converged",
    MAX_STEPS: "steps exhausted: allow more steps, loosen the tolerance, or raise the leaks until it is certified",
    NON_FINITE: "non-finite: the phase diverges; raise the leaks, shrink the weights or weaken a negative nudge",
    CYCLING: "cycling: the iteration returned to an earlier state; raise the leaks or take a smaller step",
    UNMOVED: "not moved: an error is left, but the nudge is too weak for the tolerance; use a stronger one, or 64 bits",
}


class Settled(eqx.Module):
    """Where a batch of states came to rest, and how.

    - `state`, `rate`, `drive`: $s$, $r$ and $u$ of the free units. A sample that became non-finite keeps its last
      finite state, and its drive may be anything.
    - `residual`: the largest |ds/dt| of the sample's own projected field at `state` (rate/time).
    - `steps`: how many steps this sample took.
    - `result`: one of `CONVERGED`, `MAX_STEPS`, `NON_FINITE`, `CYCLING`, `UNMOVED`; `RESULTS` explains each.
    - `error`: where a certificate was given, a proved bound of the distance of every unit from its equilibrium (batch x
      free, 64 bits, on the host): the residual in the certified norm over the certified rate. Else `None`.
    """

    state: Float[Array, "batch free"]
    rate: Float[Array, "batch free"]
    drive: Float[Array, "batch free"]
    residual: Float[Array, " batch"]
    steps: Int[Array, " batch"]
    result: Int[Array, " batch"]
    error: Any = None

    @property
    def converged(self) -> Bool[Array, " batch"]:
        _, result = opened(self.result)
        return placed(result == CONVERGED)

    @property
    def ends(self) -> dict[str, np.ndarray]:
        """Which samples ended how, for every result that there is, in the words of `RESULTS` before the colon."""
        result = np.asarray(self.result).ravel()
        which = {text.split(":")[0]: result == code for code, text in RESULTS.items()}
        return {name: rows for name, rows in which.items() if rows.any()}

    def plot(self, ax: Any = None) -> Any:
        """Rates and steps of every sample as a picture; see `direp.plot.settling`. Returns the axes."""
        from ..plot import settling  # which loads matplotlib

        return settling(self, ax)

    def __repr__(self) -> str:
        shown = f"Settled({math.prod(self.state.shape[:-1])} samples, {self.state.shape[-1]} units"
        if isinstance(self.result, Tracer):
            return f"{shown}, being traced)"
        steps = np.asarray(self.steps).ravel()
        some = [f"{rows.sum()} {name}" for name, rows in self.ends.items()]
        taken = f", {steps.min()} to {steps.max()} steps" if steps.size else ""
        return f"{shown}: {', '.join(some)}{taken}{self._error()})"

    def _error(self) -> str:
        if self.error is None or not np.asarray(self.converged).any():
            return ""
        from ..arithmetic import at_most  # which loads ball arithmetic

        largest = np.max(np.asarray(self.error)[np.asarray(self.converged)])
        return f", at most {at_most(float(largest), 2)} from equilibrium"

    def summary(self) -> str:
        """One line for people."""
        if isinstance(self.result, Tracer):
            raise ValueError("Settled.summary() reads numbers, which are not there while JAX traces: call it outside")
        result = np.asarray(self.result)
        parts = [
            f"{(result == CONVERGED).sum()} of {result.size} settled in at most {np.asarray(self.steps).max()} steps"
        ]
        parts[0] += self._error()
        parts += [
            f"{(result == code).sum()} {text}" for code, text in RESULTS.items() if code and (result == code).any()
        ]
        return "; ".join(parts)
