"""What a neuron loses by sending, as data: the slope below and above a weight of zero."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np


class Outflow(eqx.Module):
    r"""A synapse of weight $w$ adds $f(w)$ to its source's total leak, $\Lambda_i=\lambda_i+\sum_kf(w_{ik})$.

    $f$ is linear on either side of zero, so this is all of it:

    - `name`: what messages and files call it: `"none"`, `"signed"` ($w$, the DEEP model), `"absolute"` ($|w|$), or that
      of your own.
    - `below`, `above`: $f'$ for negative and for positive weights: -1, 0 or 1.
    """

    name: str = eqx.field(static=True)
    below: int = eqx.field(static=True)
    above: int = eqx.field(static=True)

    def __check_init__(self):
        if not {self.below, self.above} <= {-1, 0, 1}:
            raise ValueError(f"Outflow(below={self.below}, above={self.above}) must each be -1, 0 or 1")

    @classmethod
    def of(cls, outflow: "Outflow | str", owner: str = "Outflow") -> "Outflow":
        """An outflow, or the one of that name."""
        if isinstance(outflow, Outflow):
            return outflow
        if not isinstance(outflow, str) or outflow not in OUTFLOWS:
            names = ", ".join(map(repr, OUTFLOWS))
            raise ValueError(f"{owner}(outflow={outflow!r}) must be one of {names}, or an Outflow")
        return OUTFLOWS[outflow]

    @property
    def active(self) -> bool:
        """Whether anything is lost."""
        return bool(self.below or self.above)

    @property
    def corner(self) -> bool:
        """Whether $f$ has no derivative at a weight of zero."""
        return self.below != self.above

    def value(self, weight: Any) -> Any:
        """$f(w)$, for any numbers that can be added and have an absolute value: arrays, fractions, balls."""
        even, odd = self.above - self.below, self.above + self.below
        if not even:
            return weight if self.above == 1 else self.above * weight
        size = abs(weight)
        if not odd:
            return size if self.above == 1 else self.above * size
        return (even * size + odd * weight) / 2

    def slope(self, weight: Any) -> Any:
        """$f'(w)$ of an array; the mean of both sides at a corner."""
        xp = np if isinstance(weight, np.ndarray) else jnp
        if not self.corner:
            return self.above * xp.ones_like(weight)
        sign, mean = xp.sign(weight), (self.above + self.below) / 2
        return (self.above - self.below) / 2 * sign + mean if mean else self.above * sign

    def bounds(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The least and the largest $f'$ of weights in [low, high]; zero counts as its neighbours in there."""
        ends = np.where(low < 0, self.below, self.above), np.where(high > 0, self.above, self.below)
        zero, middle = (low == 0) & (high == 0), (self.below + self.above) / 2
        least, most = (np.where(zero, middle, pick(*ends)).astype(float) for pick in (np.minimum, np.maximum))
        return least, most


OUTFLOWS = {name: Outflow(name, *slopes) for name, slopes in
            {"none": (0, 0), "signed": (1, 1), "absolute": (-1, 1)}.items()}  # fmt: skip
