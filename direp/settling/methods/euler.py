from jaxtyping import Array

from .base import AbstractMethod

__all__ = ["Euler"]


class Euler(AbstractMethod):
    r"""$s\leftarrow\mathrm{clip}(s+h\,F(s))$ with a fixed $h$ (time). Exactly what DEEP 2020 runs.

    `h` in doubt? Use `Preconditioned`, which takes its step from the network.
    """

    h: float | Array = 0.05

    def __check_init__(self):
        if isinstance(self.h, float) and not self.h > 0:
            raise ValueError(f"Euler(h={self.h}) must be above 0")

    def step(self, prepared, memory, field, state, flow):
        return field.clip(state + self.h * flow), None
