from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ..checks import check_count
from .accelerated import AbstractAccelerated


class History(eqx.Module):
    """Of the last states, each in the place of the oldest one: where the plain step led, and the move it made."""

    step: Int[Array, ""]
    count: Int[Array, " batch"]  # of those since a sample's last restart, which alone have a part in a mixture
    plain: Float[Array, "batch memory free"]
    move: Float[Array, "batch memory free"]


class Anderson(AbstractAccelerated):
    r"""Anderson acceleration of `Preconditioned`: of the last few states the mixture whose moves cancel best.

    With moves $f_k=g(s_k)-s_k$ of the plain step $g$: $s_{k+1}=g(s_k)-\sum_i\gamma_i(g(s_k)-g(s_{k-i}))$,
    $\gamma=\arg\min\lVert f_k-\sum_i\gamma_i(f_k-f_{k-i})\rVert$, sample by sample. A mixture that does not bring a
    sample closer is taken back, so it settles wherever `Preconditioned` is certified to. Memory for `memory` states and
    moves.

    Source: Anderson (1965), in the form of Walker & Ni (2011); the test is ours.
    """

    memory: int = eqx.field(static=True, default=3)
    patience: int = eqx.field(static=True, default=0, kw_only=True)

    def __check_init__(self):
        check_count("Anderson(memory", self.memory)

    def blank(self, state):
        batch, free = state.shape
        past = jnp.zeros((batch, self.memory, free), state.dtype)
        return History(jnp.array(0, jnp.int32), jnp.zeros(batch, jnp.int32), past, past)

    def forgotten(self, own, rows, state):
        return eqx.tree_at(lambda h: h.count, own, jnp.where(rows, 0, own.count))

    def leap(self, own, field, state, flow, plain):
        move, size = plain - state, self.memory
        apart = [move - own.move[:, i] for i in range(size)]
        pairs = [(i, j) for i in range(size) for j in range(i + 1)]
        sums = [(apart[i] * apart[j]).sum(-1) for i, j in pairs] + [(each * move).sum(-1) for each in apart]
        at = own.step % size
        here = [(at - i - 1) % size < own.count for i in range(size)]
        gram = {(i, j): jnp.where(here[i] & here[j], found, 0) for (i, j), found in zip(pairs, sums, strict=False)}
        right = [jnp.where(known, found, 0) for known, found in zip(here, sums[len(pairs) :], strict=True)]
        gamma = _solve(gram, right)
        leapt = plain - sum(((plain - own.plain[:, i]) * gamma[i][:, None] for i in range(1, size)),
                            (plain - own.plain[:, 0]) * gamma[0][:, None])  # fmt: skip
        return leapt, History(own.step + 1, own.count + 1, own.plain.at[:, at].set(plain), own.move.at[:, at].set(move))


def _solve(gram: dict[tuple[int, int], Float[Array, " batch"]], right: list[Array]) -> list[Array]:
    """Small positive semidefinite systems side by side, slightly regularised: Cholesky's, written out."""
    size = len(right)
    trace = sum((gram[i, i] for i in range(1, size)), gram[0, 0])
    ridge = 10 * jnp.finfo(trace.dtype).eps * trace + jnp.finfo(trace.dtype).tiny
    row: list[list[Any]] = [[None] * size for _ in range(size)]
    half: list[Any] = []
    for i in range(size):
        for j in range(i + 1):
            left = gram[i, j] - sum((row[i][k] * row[j][k] for k in range(j)), jnp.zeros_like(ridge))
            row[i][j] = jnp.sqrt(jnp.maximum(left + ridge, ridge)) if i == j else left / row[j][j]
        half.append((right[i] - sum((row[i][k] * half[k] for k in range(i)), jnp.zeros_like(ridge))) / row[i][i])
    found: list[Any] = [None] * size
    for i in reversed(range(size)):
        later = sum((row[k][i] * found[k] for k in range(i + 1, size)), jnp.zeros_like(ridge))
        found[i] = (half[i] - later) / row[i][i]
    return found
