from jaxtyping import Array

from ..checks import check_number
from .base import AbstractMethod


class Euler(AbstractMethod):
    r"""$s\leftarrow\mathrm{clip}(s+h\,F(s))$ with a fixed $h$ (time). Exactly what DEEP 2020 runs.

    `h` in doubt? Use `Preconditioned`, which takes its step from the network.
    """

    h: float | Array = 0.05

    def __check_init__(self):
        check_number("Euler(h", self.h, above=0)

    def step(self, prepared, memory, field, state, flow):
        return field.clip(state + self.h * flow), None
