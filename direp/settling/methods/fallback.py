import dataclasses

import equinox as eqx

from ..checks import check_count
from .base import AbstractMethod
from .implicit import Implicit
from .preconditioned import Preconditioned


class Fallback(AbstractMethod):
    r"""A method, and another one for the samples that it has not settled within `patience` steps.

    What the second one finds counts only where it is an equilibrium that attracts (see `attracts`); else a sample keeps
    the result of the first. It takes up to 100 steps, beyond what the stop allows. With a fixed number of steps, and
    where steps are observed, the second has no part.

    `settle` and `estimate` turn to it by themselves where their default method leaves samples unsettled.

    **Arguments:**

    - `first`: any method. `second`: by default `Implicit()`.
    """

    first: AbstractMethod = Preconditioned()
    second: AbstractMethod = Implicit()
    patience: int = eqx.field(static=True, default=500)

    def __check_init__(self):
        check_count("Fallback(patience", self.patience)
        for name in ("first", "second"):
            if isinstance(getattr(self, name), Fallback):
                raise ValueError(f"Fallback({name}=Fallback(...)) has no third method to offer: give one that steps")

    @property
    def evaluations(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.first.evaluations

    def contracting(self):
        return dataclasses.replace(self, first=self.first.contracting())

    def check(self, network):
        self.first.check(network)
        self.second.check(network)

    def prepare(self, field):
        return self.first.prepare(field)

    def begin(self, prepared, field, state):
        return self.first.begin(prepared, field, state)

    def step(self, prepared, memory, field, state, flow):
        return self.first.step(prepared, memory, field, state, flow)
