r"""The linearisation of a network at a settled state: $J=\partial F/\partial s$, with and without a matrix."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ..model import Network, NetworkField
from ..model.synapses import Weight
from .result import Settled


class Linearisation(eqx.Module):
    r"""$J=\mathrm{diag}(\varphi')\,W^\top\mathrm{diag}(\psi')-\mathrm{diag}(\Lambda)$ at a state of every sample.

    - `rate_slope`, `transfer_slope`: $\psi'(s)$ and $\varphi'(u)$. - `active`: the units that no bound holds.
    - `feedback`: the strengths $m_{ij}$ of the way back; by default the weights themselves.

    A unit that is held moves with nothing: its row and its column are those of $-I$.
    """

    network: Network
    total_leak: Float[Array, " free"]
    rate_slope: Float[Array, "batch free"]
    transfer_slope: Float[Array, "batch free"]
    active: Bool[Array, "batch free"]
    feedback: Weight | None = None

    def send(self, v: Float[Array, "batch free"]) -> Float[Array, "batch free"]:
        r"""$\varphi'\odot W^\top(\psi'\odot v)$: what the synapses add to $J v$, whether or not units are held."""
        synapses = self.network.synapses
        return self.transfer_slope * synapses.drive(self.network.weight, self.rate_slope * v)

    def send_back(
        self, v: Float[Array, "batch free"], into: tuple[int, ...] | None = None
    ) -> Float[Array, "batch free"]:
        r"""$\psi'\odot M(\varphi'\odot v)$, the transpose of `send` where the way back has the weights; with `into`,
        only what comes back to those layers need be right."""
        weight = self.network.weight if self.feedback is None else self.feedback
        layers = () if into is None else (into,)
        return self.rate_slope * self.network.synapses.back(weight, self.transfer_slope * v, *layers)

    @property
    def absolute(self) -> "Linearisation":
        """With the sizes of all numbers, for those of the terms of a product."""
        where = lambda linear: (linear.network.weight, linear.rate_slope, linear.transfer_slope, linear.feedback)  # noqa: E731
        sizes = jax.tree.map(jnp.abs, where(self))
        return eqx.tree_at(where, self, sizes, is_leaf=lambda leaf: leaf is None)

    def forth(self, v: Float[Array, "batch free"]) -> Float[Array, "batch free"]:
        r"""$Jv$."""
        return jnp.where(self.active, self.send(jnp.where(self.active, v, 0)) - self.total_leak * v, -v)

    def back(self, v: Float[Array, "batch free"]) -> Float[Array, "batch free"]:
        r"""$J^\top v$, its synapses replaced by those of the way back."""
        return jnp.where(self.active, self.send_back(jnp.where(self.active, v, 0)) - self.total_leak * v, -v)

    def take(self, rows: Int[Array, " some"]) -> "Linearisation":
        """That of some samples. Rows beyond the last may be anything."""
        where = lambda linear: (linear.rate_slope, linear.transfer_slope, linear.active)  # noqa: E731
        return eqx.tree_at(where, self, tuple(leaf[rows] for leaf in where(self)))

    def jacobian(self) -> Float[Array, "batch free free"]:
        r"""$J$, `[n, j, i]` $=\partial F_j/\partial s_i$: for small networks."""
        recurrent = self.network.matrix[self.network.graph.inputs :]
        square = self.transfer_slope[:, :, None] * recurrent.T * self.rate_slope[:, None, :] - jnp.diag(self.total_leak)
        both = self.active[:, :, None] & self.active[:, None, :]
        return jnp.where(both, square, -jnp.eye(len(self.total_leak), dtype=square.dtype))


def square(along: Callable[[Array], Array], like: Float[Array, "batch free"]) -> Float[Array, "batch free free"]:
    """A linear map of every sample by itself as matrices, column by column."""
    basis = jnp.eye(like.shape[-1], dtype=like.dtype)
    return jax.vmap(lambda e: along(jnp.broadcast_to(e, like.shape)), out_axes=-1)(basis)


def linearise(
    field: NetworkField,
    state: Float[Array, "batch free"],
    drive: Float[Array, "batch free"],
    feedback: Weight | None = None,
) -> Linearisation:
    """The field of a network (without a nudge) to first order around `state`, with the `drive` it has there."""
    neuron = field.network.neuron
    active = ~field.held(state, field.flow(state, drive))
    slopes = neuron.rate_slope(state), neuron.transfer_slope(drive)
    return Linearisation(field.network, field.total_leak, *slopes, active, feedback)


def movable(network: Network, settled: Settled) -> Bool[Array, "batch free"]:
    """The units that a small change of their drive moves at the states where a network has settled: no bound holds
    them, and no slope is zero. All others have no gradient for that sample. A slope that is not known counts."""
    state, drive, neuron = settled.state, settled.drive, network.neuron
    yes = ~neuron.held(state, neuron.transfer(drive) - network.total_leak() * state)
    for activation, at in ((neuron.rate, state), (neuron.transfer, drive)):
        if activation.differentiable and not activation.linear:
            yes = yes & (activation.derivative(at) != 0)
    return yes
