"""When a sample is done."""

from abc import abstractmethod
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .checks import check_count, check_number


class AbstractStop(eqx.Module):
    """When a sample is done."""

    max_steps: eqx.AbstractVar[int]
    early: eqx.AbstractClassVar[bool]
    """Whether a sample stops as soon as it has settled or is known to cycle; else it is judged in the end."""

    @abstractmethod
    def met(self, residual: Float[Array, " batch"], scale: Float[Array, " batch"]) -> Bool[Array, " batch"]:
        """Whether a residual counts as settled; `scale` is the largest of the terms that cancel in it."""


class Tolerance(AbstractStop):
    r"""Stop a sample when its residual is at most `atol + rtol * scale` (`atol` in rate/time).

    By default $10^{-5}$ both for 32-bit and $10^{-9}$ for 64-bit states.
    """

    early: ClassVar[bool] = True
    rtol: float | Array | None = None
    atol: float | Array | None = None
    max_steps: int = eqx.field(static=True, default=5000)

    def __check_init__(self):
        for name in ("rtol", "atol"):
            if getattr(self, name) is not None:
                check_number(f"Tolerance({name}", getattr(self, name), least=0)
        check_count("Tolerance(max_steps", self.max_steps)

    def met(self, residual, scale):
        default = 1e-9 if residual.dtype == jnp.float64 else 1e-5
        rtol = default if self.rtol is None else self.rtol
        atol = default if self.atol is None else self.atol
        return residual <= atol + rtol * scale


class Steps(AbstractStop):
    """Take exactly `max_steps` steps, as fixed-time papers do; samples still report whether they have settled."""

    early: ClassVar[bool] = False
    max_steps: int = eqx.field(static=True, default=1000)

    def __check_init__(self):
        check_count("Steps(max_steps", self.max_steps)

    def met(self, residual, scale):
        return Tolerance().met(residual, scale)
