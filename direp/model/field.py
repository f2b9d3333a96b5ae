r"""The field $F$ that moves states: a network with clamped inputs, and what wraps one."""

from abc import abstractmethod
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ..arithmetic import opened, placed


class Signal(NamedTuple):
    r"""The nudge of a field: its strength $\beta$, and $\partial C/\partial r_o$ of every output."""

    strength: Float[Array, ""]
    error: Float[Array, "batch output"]

    @property
    def size(self) -> Float[Array, " batch"]:
        """The largest current into an output; where it is no number, infinite."""
        size = jnp.abs(self.strength) * jnp.abs(self.error).max(-1)
        return jnp.where(jnp.isfinite(size), size, jnp.inf)


class Coupling(NamedTuple):
    r"""What a certificate of convergence needs to know of a field whose Jacobian has $-\Lambda$ on its diagonal.

    - `jacobian`: `"network"` if it is a Jacobian of the network at some state, `"transposed"` if it is the transpose of
      one (in both, on the units that no bound holds, and with a nudge or without), `"bounded"` if all that is known is
      $|J_{ki}|\le\mathrm{forth}\,|w_{ik}|+\mathrm{back}\,|w_{ki}|$ beside the nudge.
    - `feedback`: whether what is transposed, or sent back, are the strengths $m$ of the rule's feedback, not weights.
    - `cost`, `slope`: of the nudge, if there is one: it adds $-\beta D\,\partial^2_rC\,D'$ between the outputs, where
      products of an entry of $D$ and one of $D'$ stay within `slope`.
    """

    jacobian: Literal["network", "transposed", "bounded"]
    forth: float = 0.0
    back: float = 0.0
    cost: Any = None
    slope: tuple[float, float] | None = None
    feedback: bool = False


class AbstractField(eqx.Module):
    """Anything that moves states: a network with clamped inputs, or a wrapper that nudges one."""

    network: eqx.AbstractVar[Any]  # a Network, whose module imports this one
    total_leak: eqx.AbstractVar[Array]

    @abstractmethod
    def drive(
        self, state: Float[Array, "batch free"], into: tuple[int, ...] | None = None
    ) -> Float[Array, "batch free"]:
        """The input current $u$ of every free unit; with `into`, only that of those layers need be right."""

    @abstractmethod
    def flow(self, state: Float[Array, "batch free"], drive: Float[Array, "batch free"]) -> Float[Array, "batch free"]:
        r"""$F=-\Lambda\odot s+\varphi(u)$, before projection, for a drive already computed."""

    @abstractmethod
    def stiffness(self) -> Float[Array, " free"]:
        r"""$-\partial F_j/\partial s_j$ at its largest: $\Lambda$, and what a nudge adds to it."""

    @abstractmethod
    def clip(self, state: Float[Array, "batch free"]) -> Float[Array, "batch free"]:
        """The nearest state that is allowed."""

    @abstractmethod
    def held(self, state: Float[Array, "batch free"], flow: Float[Array, "batch free"]) -> Bool[Array, "batch free"]:
        """Which units a bound holds back."""

    @abstractmethod
    def rate(self, state: Float[Array, "batch free"]) -> Float[Array, "batch free"]:
        r"""$r=\psi(s)$."""

    @abstractmethod
    def take(self, rows: Int[Array, " some"]) -> "AbstractField":
        """The same field for some of its samples. Rows beyond the last may be anything."""

    def signal(self, state: Float[Array, "batch free"]) -> Signal | None:
        """What a nudge adds to the field; `None` without a nudge."""
        return None

    @property
    def coupling(self) -> Coupling | str:
        """For certificates: what is known of the Jacobian, or why nothing is. `declared` asks for it."""
        return "its class declares no coupling"

    @abstractmethod
    def sizes(self, state: Float[Array, "batch free"]) -> Float[Array, "batch free"]:
        """What rounding of the drive is relative to: the sizes of its terms, summed."""

    def velocity(self, state: Float[Array, "batch free"], drive: Float[Array, "batch free"]) -> Array:
        r"""$\dot s$: the flow, except that a bound holds what would leave the box. Zero at equilibrium."""
        flow = self.flow(state, drive)
        return jnp.where(self.held(state, flow), 0, flow)


class AbstractWrapper(AbstractField):
    """A field that changes how another one moves its states, and leaves the rest to it."""

    base: eqx.AbstractVar[AbstractField]

    @property
    def network(self) -> Any:
        return self.base.network

    @property
    def total_leak(self) -> Array:
        return self.base.total_leak

    def clip(self, state):
        return self.base.clip(state)

    def held(self, state, flow):
        return self.base.held(state, flow)

    def rate(self, state):
        return self.base.rate(state)

    def signal(self, state):
        return self.base.signal(state)

    def sizes(self, state):
        return self.base.sizes(state)


class NetworkField(AbstractField):
    """A network with clamped inputs `x`. Their contribution to the drive is computed once."""

    network: Any
    x: Float[Array, "batch input"]
    input_drive: Float[Array, "batch free"]
    total_leak: Float[Array, " free"]

    def drive(self, state, into=None):
        network = self.network
        layers = () if into is None else (into,)
        return self.input_drive + network.synapses.drive(network.weight, network.neuron.rate(state), *layers)

    def flow(self, state, drive):
        return self.network.neuron.transfer(drive) - self.total_leak * state

    def sizes(self, state):
        network = self.network
        size = jax.tree.map(jnp.abs, network.weight)
        return jnp.abs(self.input_drive) + network.synapses.drive(size, jnp.abs(network.neuron.rate(state)))

    def stiffness(self):
        return self.total_leak

    def clip(self, state):
        return self.network.neuron.clip(state)

    def held(self, state, flow):
        return self.network.neuron.held(state, flow)

    def rate(self, state):
        return self.network.neuron.rate(state)

    def take(self, rows):
        _, rows, *both = opened(rows, self.x, self.input_drive)
        return eqx.tree_at(lambda f: (f.x, f.input_drive), self, tuple(placed(each[rows]) for each in both))

    @property
    def coupling(self):
        return Coupling("network")


def declared(field: AbstractField) -> Coupling | str:
    """The coupling that the class of a field declares itself: what it inherits was said of another field."""
    return field.coupling if "coupling" in vars(type(field)) else AbstractField.coupling.fget(field)  # pyright: ignore
