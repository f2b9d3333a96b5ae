"""When a sample is done."""

from abc import abstractmethod
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .checks import check_count, check_number


class AbstractStop(eqx.Module):
    """When a sample is done: as soon as the residual of every unit that no bound holds is small enough."""

    max_steps: eqx.AbstractVar[int]
    early: eqx.AbstractClassVar[bool]
    """Whether a sample stops as soon as it has settled or is known to cycle; else it is judged in the end."""

    @abstractmethod
    def allowed(self, terms: Float[Array, "batch free"], leak: Float[Array, " free"]) -> Float[Array, "batch free"]:
        """The residual (rate/time) up to which each unit counts as settled; `terms` is the larger of the two terms that
        cancel in it, `leak` its total leak."""

    def wanted(
        self,
        allowed: Float[Array, "batch free"],
        terms: Float[Array, "batch free"],
        leak: Float[Array, " free"],
        signal: Float[Array, " batch"],
    ) -> Float[Array, "batch free"]:
        """The same where a nudge moves the fastest unit of each sample by `signal` (rate/time). A sample that meets
        `allowed` goes on for this until `PATIENCE` steps have brought it no closer."""
        return allowed


PATIENCE = 32


class Tolerance(AbstractStop):
    r"""Stop a sample when the residual of every unit is at most
    $\mathrm{atol}\,\Lambda_j+\mathrm{rtol}\,\max(\Lambda_j|s_j|,|\varphi(u_j)|)$.

    A unit by itself would then be within `atol + rtol * |s_j|` of its rest; how far a network can be from its
    equilibrium is what a certificate says (`Settled.error`). A unit that a bound holds has no residual, and one without
    a positive total leak counts as of leak 1.

    **Arguments:**

    - `rtol`, `atol` (in units of the state): by default $10^{-5}$ both for 32-bit and $10^{-9}$ for 64-bit states.
    - `share`: where a rule nudges, its phases settle to this share of what the nudge itself changes, if that is finer;
      down to a few units in the last place, or as far as rounding lets the residual fall. 0: not so.
    """

    early: ClassVar[bool] = True
    rtol: float | Array | None = None
    atol: float | Array | None = None
    share: float | Array = 0.01
    max_steps: int = eqx.field(static=True, default=5000)

    def __check_init__(self):
        for name in ("rtol", "atol", "share"):
            if getattr(self, name) is not None:
                check_number(f"Tolerance({name}", getattr(self, name), least=0)
        check_count("Tolerance(max_steps", self.max_steps)

    def allowed(self, terms, leak):
        default = 1e-9 if terms.dtype == jnp.float64 else 1e-5
        rtol = default if self.rtol is None else self.rtol
        atol = default if self.atol is None else self.atol
        return atol * _scale(leak) + rtol * terms

    def wanted(self, allowed, terms, leak, signal):
        finest = jnp.finfo(terms.dtype).eps * (_scale(leak) + 4 * terms)
        finer = jnp.maximum(self.share * signal[:, None], finest)
        return jnp.where(jnp.asarray(self.share) > 0, jnp.minimum(allowed, finer), allowed)


def _scale(leak: Float[Array, " free"]) -> Float[Array, " free"]:
    return jnp.where(leak > 0, leak, 1)


class Steps(AbstractStop):
    """Take exactly `max_steps` steps, as fixed-time papers do; samples still report whether they have settled."""

    early: ClassVar[bool] = False
    max_steps: int = eqx.field(static=True, default=1000)

    def __check_init__(self):
        check_count("Steps(max_steps", self.max_steps)

    def allowed(self, terms, leak):
        return Tolerance().allowed(terms, leak)
