from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ..checks import check_count
from .accelerated import AbstractAccelerated


class History(eqx.Module):
    count: Int[Array, " batch"]  # of states since the last restart
    state: Float[Array, "batch free"]
    move: Float[Array, "batch free"]
    states: Float[Array, "batch memory free"]  # differences of successive states,
    moves: Float[Array, "batch memory free"]  # and of the moves there


class Anderson(AbstractAccelerated):
    r"""Anderson acceleration of `Preconditioned`: of the last few states the mixture whose moves cancel best.

    With moves $f_k=g(s_k)-s_k$ of the plain step $g$: $s_{k+1}=g(s_k)-(\Delta S+\Delta F)\gamma$,
    $\gamma=\arg\min\lVert f_k-\Delta F\gamma\rVert$, sample by sample. A mixture that does not bring a sample closer is
    taken back, so it settles wherever `Preconditioned` is certified to. Memory for `memory` states and moves.

    Source: Anderson (1965), in the form of Walker & Ni (2011); the test is ours.
    """

    memory: int = eqx.field(static=True, default=3)
    patience: int = eqx.field(static=True, default=4, kw_only=True)

    def __check_init__(self):
        check_count("Anderson(memory", self.memory)

    def blank(self, state):
        batch, free = state.shape
        past = jnp.zeros((batch, self.memory, free), state.dtype)
        return History(jnp.zeros(batch, jnp.int32), jnp.zeros_like(state), jnp.zeros_like(state), past, past)

    def leap(self, own, field, state, flow, plain):
        move = plain - state
        begun = (own.count > 0)[:, None]
        # The oldest difference gives way; which column is which does not matter.
        turn = (jnp.arange(self.memory, dtype=jnp.int32) == own.count[:, None] % self.memory)[:, :, None]
        states = jnp.where(turn & begun[:, None], (state - own.state)[:, None], own.states)
        moves = jnp.where(turn & begun[:, None], (move - own.move)[:, None], own.moves)
        gram = jnp.einsum("bkn,bln->bkl", moves, moves)
        gamma = _solve(gram, jnp.einsum("bkn,bn->bk", moves, move))
        leapt = plain - jnp.einsum("bkn,bk->bn", states + moves, gamma)
        return leapt, History(own.count + 1, state, move, states, moves)


def _solve(gram: Float[Array, "batch k k"], right: Float[Array, "batch k"]) -> Float[Array, "batch k"]:
    """Small positive semidefinite systems side by side, slightly regularised: Cholesky's, written out."""
    size = gram.shape[-1]
    diagonal = jnp.einsum("bkk->bk", gram)
    ridge = 10 * jnp.finfo(gram.dtype).eps * diagonal.sum(-1) + jnp.finfo(gram.dtype).tiny
    row: list[list[Any]] = [[None] * size for _ in range(size)]
    half: list[Any] = []
    for i in range(size):
        for j in range(i + 1):
            left = gram[:, i, j] - sum((row[i][k] * row[j][k] for k in range(j)), jnp.zeros_like(ridge))
            row[i][j] = jnp.sqrt(jnp.maximum(left + ridge, ridge)) if i == j else left / row[j][j]
        half.append((right[:, i] - sum((row[i][k] * half[k] for k in range(i)), jnp.zeros_like(ridge))) / row[i][i])
    found: list[Any] = [None] * size
    for i in reversed(range(size)):
        later = sum((row[k][i] * found[k] for k in range(i + 1, size)), jnp.zeros_like(ridge))
        found[i] = (half[i] - later) / row[i][i]
    return jnp.stack(found, -1)
