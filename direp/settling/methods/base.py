from abc import abstractmethod
from typing import Any, ClassVar

import equinox as eqx
from jaxtyping import Array, Float

from ...model import AbstractField, Network


class AbstractMethod(eqx.Module):
    """One step towards equilibrium. A new method is mostly this step."""

    evaluations: ClassVar[float] = 1.0
    """Field evaluations a step: the products with all weights between free units are 1."""

    def check(self, network: Network) -> None:
        """Raise `ValueError`, with the way out, if this method cannot work on a network."""

    def contracting(self) -> "AbstractMethod":
        """The same, for networks that are certified in a norm with one weight a unit."""
        return self

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
    ) -> tuple[Float[Array, "batch free"], Any] | tuple[Float[Array, "batch free"], Any, Float[Array, "batch free"]]:
        """The next state and the memory; `flow` is the field's flow at `state`. A method that comes by the drive at the
        next state gives it as well, or it is computed."""
