from abc import abstractmethod
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ..network import AbstractField, Network

__all__ = ["AbstractAccelerated", "AbstractMethod"]


class AbstractMethod(eqx.Module):
    """One step towards equilibrium. A new method is mostly this step."""

    @property
    def evaluations(self) -> float:
        """Field evaluations a step: the products with all weights between free units are 1."""
        return 1.0

    def check(self, network: Network) -> None:
        """Raise `ValueError`, with the way out, if this method cannot work on a network."""

    def prepare(self, field: AbstractField) -> Any:
        """What can be computed once for a settling; passed to every step."""
        return None

    def begin(self, prepared: Any, field: AbstractField, state: Float[Array, "batch free"]) -> Any:
        """What the method remembers from step to step, a row a sample; `None` (the default) if nothing."""
        return None

    @abstractmethod
    def step(
        self,
        prepared: Any,
        memory: Any,
        field: AbstractField,
        state: Float[Array, "batch free"],
        flow: Float[Array, "batch free"],
    ) -> tuple[Float[Array, "batch free"], Any]:
        """The next state and the memory; `flow` is the field's flow at `state`."""


class Leap(eqx.Module):
    """What an accelerated method keeps of its last step."""

    plain: Float[Array, "batch free"]  # where the plain step would have led
    largest: Float[Array, " batch"]  # the move it made, as its largest entry
    sum: Float[Array, " batch"]  # and as the sum of its entries
    leapt: Bool[Array, " batch"]  # whether the state is that of a leap
    own: Any


class AbstractAccelerated(AbstractMethod):
    """A plain method with leaps that need not lead closer: one counts only if the next plain move is smaller, both in
    its largest entry and in the sum of its entries. Else the plain step is taken in its place. So it converges
    wherever the plain method is proved to contract in one of these norms.
    """

    @property
    @abstractmethod
    def plain(self) -> AbstractMethod:
        """The method to fall back on; it must remember nothing."""

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

    def prepare(self, field):
        return self.plain.prepare(field)

    def begin(self, prepared, field, state):
        still = jnp.zeros(state.shape[0], state.dtype)
        return Leap(state, still, still, jnp.zeros(state.shape[0], bool), self.blank(state))

    def step(self, prepared, memory, field, state, flow):
        plain, _ = self.plain.step(prepared, None, field, state, flow)
        moved = jnp.abs(plain - state)
        largest, total = moved.max(-1), moved.sum(-1)
        # A move that is not finite compares false, and the leap is taken back.
        astray = memory.leapt & ~((largest <= memory.largest) & (total <= memory.sum))
        leapt, own = self.leap(memory.own, field, state, flow, plain)
        leapt = field.clip(leapt)
        finite = jnp.isfinite(leapt).all(-1) & jnp.isfinite(largest)
        to = jnp.where((finite & ~astray)[:, None], leapt, jnp.where(astray[:, None], memory.plain, plain))
        blank = self.blank(state)

        def renew(fresh: Array, kept: Array) -> Array:
            return jnp.where(astray.reshape(-1, *[1] * (kept.ndim - 1)), fresh, kept)

        return to, Leap(plain, largest, total, finite & ~astray, jax.tree.map(renew, blank, own))
