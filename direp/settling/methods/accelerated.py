import dataclasses
from abc import abstractmethod
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ...model import AbstractField
from ..checks import check_count
from .base import AbstractMethod
from .preconditioned import Preconditioned, check_products


class Leap(eqx.Module):
    """What an accelerated method keeps of its last step."""

    plain: Float[Array, "batch free"]  # where the plain step would have led
    largest: Float[Array, " batch"]  # the move it made, as its largest entry
    sum: Float[Array, " batch"]  # and as the sum of its entries times the stiffness
    leapt: Bool[Array, " batch"]  # whether the state is that of a leap
    number: Int[Array, ""]  # of steps
    own: Any


class AbstractAccelerated(AbstractMethod):
    r"""`Preconditioned`, with tentative longer steps (leaps). A leap is accepted only if the plain move $g(s)-s$ after
    it is smaller, by 1 % at least, both in its largest entry and in the sum of its entries times $D$; else the plain
    step is taken in its place. The plain step contracts in the first norm where row sums are certified, in the second
    where column sums are, so every accepted step then shrinks the move in that norm: it settles.

    `products` sharpen the plain step, as in `Preconditioned`. The first `patience` steps are plain: what settles within
    them pays nothing for leaps.
    """

    products: int | None = eqx.field(static=True, default=8, kw_only=True)
    patience: int = eqx.field(static=True, default=0, kw_only=True)

    def __check_init__(self):
        check_products(type(self).__name__, self.products)
        check_count(f"{type(self).__name__}(patience", self.patience, 0)

    def contracting(self):
        return dataclasses.replace(self, products=None)

    @abstractmethod
    def blank(self, state: Float[Array, "batch free"]) -> Any:
        """The memory before the first leap, a row a sample."""

    @abstractmethod
    def leap(
        self,
        own: Any,
        field: AbstractField,
        state: Float[Array, "batch free"],
        flow: Float[Array, "batch free"],
        plain: Float[Array, "batch free"],
    ) -> tuple[Float[Array, "batch free"], Any]:
        """A state that should be closer than `plain`, and the memory after it."""

    def forgotten(self, own: Any, rows: Bool[Array, " batch"], state: Float[Array, "batch free"]) -> Any:
        """The memory, blank again for some samples."""

        def renew(fresh: Array, kept: Array) -> Array:
            return jnp.where(rows.reshape(-1, *[1] * (kept.ndim - 1)), fresh, kept)

        return jax.tree.map(renew, self.blank(state), own)

    def prepare(self, field):
        return Preconditioned(self.products).prepare(field)

    def begin(self, prepared, field, state):
        still = jnp.zeros(state.shape[0], state.dtype)
        standing = jnp.zeros(state.shape[0], bool)
        return Leap(state, still, still, standing, jnp.array(0, jnp.int32), self.blank(state))

    def step(self, prepared, memory, field, state, flow):
        plain = field.clip(state + prepared * flow)
        # Each its own reduction: a single one of several numbers does without the processor's vectors.
        largest, total = jnp.abs(plain - state).max(-1), (jnp.abs(plain - state) / prepared).sum(-1)
        number = memory.number + 1

        def plainly() -> tuple[Array, Leap]:
            return plain, Leap(plain, largest, total, jnp.zeros_like(memory.leapt), number, memory.own)

        def leaping() -> tuple[Array, Leap]:
            # A move that is not finite compares false, and the leap is taken back.
            astray = memory.leapt & ~((largest <= 0.99 * memory.largest) & (total <= 0.99 * memory.sum))
            leapt, own = self.leap(memory.own, field, state, flow, plain)
            leapt = jnp.where(jnp.isfinite(leapt), field.clip(leapt), plain)
            fine = ~astray & jnp.isfinite(largest)
            to = jnp.where(fine[:, None], leapt, jnp.where(astray[:, None], memory.plain, plain))
            return to, Leap(plain, largest, total, fine, number, self.forgotten(own, astray, state))

        return jax.lax.cond(number > self.patience, leaping, plainly) if self.patience else leaping()
