r"""How much leak the Euclidean norm asks for: followed from update to update, and proved of one network.

With $B=d_2W^\top$ ($d_2W$ where the transfer is curved, see [`Spectral`][direp.certificates]) a network contracts at
rate $c$ in the Euclidean norm if $\Lambda-c\succeq K$, with

| slopes | $K$ | the least leak that is the same for all, $\mu$ |
|---|---|---|
| 1, in a box | $\tfrac12(B+B^\top)$ | its largest eigenvalue |
| in $[0,d_2]$ | $(B+\gamma)(B+\gamma)^\top/4\gamma$, any $\gamma>0$ | $\max_v\tfrac13(a+\sqrt{a^2+3b^2})$ |
| in $[-d_2,d_2]$ | $\tfrac12\gamma+BB^\top/2\gamma$, any $\gamma>0$ | $\lVert B\rVert$ |

with $a=v^\top Bv$ and $b=\lVert Bv\rVert$ over unit vectors $v$; the last two are least at $\gamma=\mu$. All three are
Rayleigh quotients, whose largest value a few vectors follow while the weights move: a lower bound, to which the
residual is added. That is an estimate. A proof takes the whole matrix.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..model import Network
from ..model.synapses import Weight
from .dies import lost, norm_of_sizes

BOX, SECTOR, ROUND = "box", "sector", "round"


def form_of(network: Network) -> str | None:
    """Which of the three inequalities is about a network; `None` if none is."""
    neuron = network.neuron
    linear = neuron.transfer.linear, neuron.rate.linear
    if neuron.bounded:
        return BOX if all(linear) else None
    if not any(linear) or neuron.slope is None:
        return None
    return SECTOR if neuron.slope[0] >= 0 else ROUND


class Coupling:
    r"""$B$ of a network, as products."""

    def __init__(self, network: Network):
        self.network, self.form = network, form_of(network)
        synapses, weight = network.synapses, network.weight
        ways: list[Any] = [lambda v: synapses.drive(weight, v), lambda v: synapses.back(weight, v)]
        self._forth, self._back = ways if network.neuron.transfer.linear else ways[::-1]
        self.gain = 1.0 if self.form == BOX else network.neuron.gain

    def forth(self, rows: Float[Array, "row free"]) -> Float[Array, "row free"]:
        """$Bv$ of every row."""
        with jax.default_matmul_precision("highest"):
            return self.gain * self._forth(rows)

    def back(self, rows: Float[Array, "row free"]) -> Float[Array, "row free"]:
        r"""$B^\top v$ of every row."""
        with jax.default_matmul_precision("highest"):
            return self.gain * self._back(rows)

    def quadratic(self, rows: Float[Array, "row free"], level: Array) -> Float[Array, "row free"]:
        """A symmetric matrix times every row, whose largest eigenvalue tells the leak that is needed."""
        sent = self.forth(rows)
        if self.form == BOX:
            return (sent + self.back(rows)) / 2
        if self.form == SECTOR:
            return self.back(sent + level * rows) + level * sent
        return self.back(sent)

    def level(self, row: Float[Array, " free"], residual: Array) -> Array:
        r"""$\mu$ as far as one unit vector tells, from below, and what its residual adds."""
        sent = self.forth(row[None])[0]
        along, square = row @ sent, sent @ sent
        if self.form == BOX:
            return along + residual
        tiny = jnp.finfo(row.dtype).tiny
        if self.form == SECTOR:
            root = jnp.sqrt(jnp.maximum(along**2 + 3 * square, tiny))
            return (along + root) / 3 + residual / (2 * root)
        return jnp.sqrt(jnp.maximum(square + residual, tiny))

    def slope(self, row: Float[Array, " free"]) -> Weight:
        r"""$\partial\mu/\partial w$ on every synapse, where $\mu$ is that of one unit vector."""
        sent = self.forth(row[None])[0]
        if self.form == BOX:
            pulled = row
        elif self.form == SECTOR:
            along, square = row @ sent, sent @ sent
            root = jnp.sqrt(jnp.maximum(along**2 + 3 * square, jnp.finfo(row.dtype).tiny))
            pulled = ((1 + along / root) * row + 3 * sent / root) / 3
        else:
            pulled = sent / jnp.sqrt(jnp.maximum(sent @ sent, jnp.finfo(row.dtype).tiny))
        network = self.network
        sender, receiver = (row, pulled) if network.neuron.transfer.linear else (pulled, row)
        none = jnp.zeros((1, network.graph.inputs), row.dtype)
        return jax.tree.map(lambda w: self.gain * w, network.synapses.outer(none, sender[None], receiver[None]))


# Side by side, such a routine would deal its batch out to the threads that run it, and two at once may wait for each
# other for ever (jaxlib 0.10): each takes its matrices one by one.


@jax.custom_batching.sequential_vmap
def _orthonormal(rows: Array) -> Array:
    return jnp.linalg.qr(rows.T)[0].T


@jax.custom_batching.sequential_vmap
def _eigenpairs(matrix: Array) -> tuple[Array, Array]:
    return tuple(jnp.linalg.eigh(matrix))


@jax.custom_batching.sequential_vmap
def _least_eigenvalue(matrix: Array) -> Array:
    return jnp.linalg.eigvalsh(matrix)[0]


@jax.custom_batching.sequential_vmap
def _root(matrix: Array) -> Array:
    return jnp.linalg.cholesky(matrix)


def followed(
    network: Network, rows: Float[Array, "row free"], level: Array
) -> tuple[Float[Array, "row free"], Float[Array, ""]]:
    r"""The vectors, moved towards those that need the most leak (last row: the most), and $\mu$ with the residual.

    Rayleigh and Ritz in the span of the vectors and of their images (two steps of a block Krylov space).
    """
    coupling, count = Coupling(network), len(rows)
    images = coupling.quadratic(rows, level)
    basis = _orthonormal(jnp.concatenate([rows, images]))
    images = coupling.quadratic(basis, level)
    small = basis @ images.T
    values, turn = _eigenpairs((small + small.T) / 2)
    turn = turn[:, -count:].T
    rows = turn @ basis
    residual = jnp.linalg.norm(turn[-1] @ images - values[-1] * rows[-1])
    return rows, coupling.level(rows[-1], residual)


def of_dies(network: Network, level: Array, share: float, norm: Array | None = None) -> Float[Array, ""]:
    r"""What $K$ gains at most where every weight may be off by a share; $\lVert B+\gamma\rVert$ or $\lVert B\rVert$ is
    `norm`, or what it is where `level` is $\mu$."""
    coupling, sizes = Coupling(network), Coupling(network.replace(_sizes(network)))
    like, eps = jnp.ones_like(network.leak), float(jnp.finfo(network.dtype).eps)
    forth, back = (lambda v, send=send: send(v[None])[0] for send in (sizes.forth, sizes.back))
    if coupling.form == BOX:
        both = lambda v: (forth(v) + back(v)) / 2  # noqa: E731
        return share * norm_of_sizes(both, both, like, eps)
    moved = share * norm_of_sizes(forth, back, like, eps)
    level = jnp.maximum(level, jnp.finfo(network.dtype).tiny ** 0.25)
    across = (2 if coupling.form == SECTOR else 1) * level if norm is None else norm
    return moved * (2 * across + moved) / ((4 if coupling.form == SECTOR else 2) * level) * (1 + 16 * eps)


def _sizes(network: Network) -> Any:
    return network.parameters._replace(weight=jax.tree.map(jnp.abs, network.weight))


def proved_rate(
    network: Network, level: Array, share: float = 0.0, feedback: Network | None = None
) -> Float[Array, ""]:
    r"""A rate at which a network certainly contracts in the Euclidean norm, and so do all whose weights and leaks
    differ by a share at most; minus infinity if none was found. Or a phase that sends by the weights of `feedback`, and
    in which units lose what they lose in the network.

    Whatever $R$ a factorisation gives, $M\succeq s-\lVert M-s-RR^\top\rVert$: the remainder is computed, its rounding
    bounded by the sizes of its terms (Higham 2002, section 3.5). Dense: for some thousand units.
    """
    sends, size = network if feedback is None else feedback, network.graph.free
    coupling, eps = Coupling(sends), float(jnp.finfo(network.dtype).eps)
    matrix = sends.matrix[network.graph.inputs :]
    matrix = coupling.gain * (matrix.T if network.neuron.transfer.linear else matrix)
    with jax.default_matmul_precision("highest"):
        level = jnp.maximum(level, jnp.finfo(network.dtype).tiny ** 0.25)
        if coupling.form == BOX:
            needed, terms = (matrix + matrix.T) / 2, (jnp.abs(matrix) + jnp.abs(matrix.T)).sum(1) / 2
            doubt = 8 * eps * terms
        else:
            whole = matrix + level * jnp.eye(size, dtype=matrix.dtype) if coupling.form == SECTOR else matrix
            square, rest = (4 * level, 0.0) if coupling.form == SECTOR else (2 * level, level / 2)
            needed = whole @ whole.T / square + rest * jnp.eye(size, dtype=matrix.dtype)
            large = jnp.abs(whole)
            doubt = 2 * (size + 16) * eps * (large @ large.sum(0) / square + rest)
        leak, sent = network.total_leak(), network.synapses.outgoing(network.weight, jnp.abs)
        if network.neuron.outflow.active:
            doubt = doubt + 4 * (size + 8) * eps * sent
        doubt = doubt + 4 * eps * network.leak
        if share:
            off = share * (network.leak + lost(network))
            leak, doubt = leak - off, doubt + 4 * (size + 8) * eps * off
        inequality = jnp.diag(leak) - (needed + needed.T) / 2
        least = _least_eigenvalue(inequality)
        shift = least - (32 + 4 * size**0.5) * eps * (jnp.abs(leak).max() + jnp.abs(least))
        shifted = inequality - shift * jnp.eye(size, dtype=matrix.dtype)
        root = _root(shifted)
        large = jnp.abs(root)
        off = jnp.abs(shifted - root @ root.T).sum(1) + 2 * (size + 16) * eps * (large @ large.sum(0) + jnp.abs(leak))
        more = 1 + 4 * (size + 8) * eps
        rate = (shift - (off + doubt).max() * more) - 4 * eps * jnp.abs(shift)
        rows = jnp.abs(needed).sum(1)  # Gershgorin, should the factorisation have failed
        crude = (leak - (rows + doubt) * more).min() - 4 * eps * jnp.abs(leak).max()
        found = jnp.where(jnp.isfinite(rate), jnp.maximum(rate, crude), jnp.where(jnp.isfinite(crude), crude, -jnp.inf))
        if not share:
            return found
        # K itself is at most the largest leak less that rate.
        largest = jnp.maximum(leak.max() - found, 0) * (1 + 8 * eps)
        norm = jnp.sqrt((4 if coupling.form == SECTOR else 2) * level * largest) * (1 + 8 * eps)
        found = found - of_dies(network, level, share, norm) * (1 + 8 * eps)
        return jnp.where(jnp.isfinite(found), found - 8 * eps * (jnp.abs(leak).max() + jnp.abs(found)), -jnp.inf)


def drawn(networks: int, free: int, count: int, dtype: Any) -> Float[Array, "network row free"]:
    """Vectors to begin with: the same for all."""
    rows = np.random.default_rng(0).normal(size=(min(count, free), free))
    rows = np.linalg.qr(rows.T)[0].T
    return jnp.broadcast_to(jnp.asarray(rows, dtype), (networks, *rows.shape))
