"""Random changes of training inputs, drawn for every update, so that a network learns what does not matter."""

from abc import abstractmethod

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray


class AbstractAugmentation(eqx.Module):
    """A random change of inputs that keeps their targets; only training sees it."""

    def check(self, inputs: int) -> None:
        """Raise `ValueError` if it does not suit samples with so many inputs."""

    @abstractmethod
    def __call__(self, x: Float[Array, "batch input"], key: PRNGKeyArray) -> Float[Array, "batch input"]:
        """The batch, every sample changed by chance."""


class Shift(AbstractAugmentation):
    """Move every image by up to `pixels` in each direction, all moves equally likely. What comes in is `fill`.

    **Arguments:**

    - `shape`: rows and columns of the image that a row of inputs holds, row by row.
    """

    pixels: int = eqx.field(static=True, default=1)
    shape: tuple[int, int] = eqx.field(static=True, default=(28, 28))
    fill: float = eqx.field(static=True, default=0.0)

    def __check_init__(self):
        if not 0 < self.pixels < min(self.shape):
            raise ValueError(f"Shift(pixels={self.pixels}) must be above 0 and below the size of an image {self.shape}")

    def check(self, inputs):
        rows, columns = self.shape
        if rows * columns != inputs:
            raise ValueError(f"Shift(shape={self.shape}) has {rows * columns} pixels, but samples have {inputs} inputs")

    def __call__(self, x, key):
        rows, columns = self.shape
        room = self.pixels
        padded = jnp.pad(x.reshape(-1, rows, columns), ((0, 0), (room, room), (room, room)), constant_values=self.fill)
        corner = jax.random.randint(key, (x.shape[0], 2), 0, 2 * room + 1)
        moved = jax.vmap(lambda image, at: jax.lax.dynamic_slice(image, (at[0], at[1]), self.shape))(padded, corner)
        return moved.reshape(x.shape)
