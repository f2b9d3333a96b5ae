r"""Slope bounds of every unit by itself, of a system whose activations direp does not know.

The criteria read of an activation what its slopes can be, $d_{1j}\le\rho_j'\le d_{2j}$, and nothing else: given these
bounds for every unit $j$, what they prove holds for all activations within. For unequal $d_2$ the entries of the
Jacobian are at most $d_{2k}|w_{ik}|$ (`Rate`, whose $\rho_k$ passes the drive of unit $k$) or $d_{2i}|w_{ik}|$
(`Hopfield`, whose $\rho_i$ is what unit $i$ sends).
"""

import functools
from dataclasses import dataclass, replace
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from ...model import Activation, Network
from .system import Bare, System, outwards

_LARGEST = 1e100


@dataclass(frozen=True, eq=False)
class Slopes:
    r"""Bounds of the slope of every free unit, in place of those that the network's activation declares.

    - `bounds`: $d_1$ and $d_2$ of every free unit (free x 2), in the order of the graph; or $d_2$ alone (free), with
      $d_1=0$.
    - `source`: where they come from, for those who read the certificate.
    - `side`: which function they bound, `"transfer"` ($\varphi$) or `"rate"` ($\psi$); by default the one that is not
      the identity, or $\varphi$ where both are (`Projected`).

    Raises `ValueError` for other shapes, bounds that are not finite numbers up to 1e100 in size, and $d_1>d_2$.
    """

    bounds: Any
    source: str = "as given"
    side: Literal["transfer", "rate"] | None = None

    def __post_init__(self):
        found = _numbers(self.bounds)
        if found is None:
            raise ValueError(
                f"slopes ({self.source}) are {type(self.bounds).__name__} of shape {_shape(self.bounds)}; give real "
                "numbers: d1 and d2 of every free unit (free x 2), or d2 alone (free)"
            )
        for unit, (low, high) in enumerate(found.tolist()):
            if not (abs(low) <= _LARGEST and abs(high) <= _LARGEST):
                raise ValueError(
                    f"slopes ({self.source}) of free unit {unit} are {low:g} and {high:g}; give finite numbers up to "
                    f"{_LARGEST:g} in size: nothing is proved without bounds"
                )
            if low > high:
                raise ValueError(
                    f"slopes ({self.source}) of free unit {unit} have d1 = {low:g} above d2 = {high:g}: give the lower "
                    "first (d2 alone has d1 = 0)"
                )
        if self.side not in (None, "transfer", "rate"):
            raise ValueError(f"Slopes(side={self.side!r}) must be 'transfer' or 'rate', or None")
        object.__setattr__(self, "bounds", found)

    def of(self, network: Network) -> "Slopes":
        """With its side, for one network. Raises `ValueError` if it has other units, or is curved on the other side."""
        free, neuron = network.graph.free, network.neuron
        if len(self.bounds) != free:
            raise ValueError(
                f"slopes ({self.source}) are of {len(self.bounds)} units; the network has {free} free ones: give each "
                "its bounds, in the order of the graph"
            )
        curved = [side for side in ("transfer", "rate") if not getattr(neuron, side).linear]
        side = self.side or (curved[0] if curved else "transfer")
        if set(curved) - {side}:
            raise ValueError(
                f"slopes ({self.source}) bound the {side} function, and the other one of {type(neuron).__name__} is "
                "curved too: that is not covered, take a neuron with one of them the identity"
            )
        return replace(self, side=side)

    def outwards(self, dtype: Any) -> np.ndarray:
        """The least and the largest (2 x free), as a precision holds them."""
        pairs, place = np.unique(self.bounds, axis=0, return_inverse=True)
        return np.array([outwards((low, high), dtype) for low, high in pairs.tolist()])[np.ravel(place)].T

    def applied(self, system: System) -> System:
        """A system with these slopes in place of its own."""
        assert self.side is not None
        bounds, neuron = self.outwards(system.dtype), system.neuron
        both = {"transfer": neuron.transfer, "rate": neuron.rate, self.side: _any(float(bounds[0].min()),
                float(bounds[1].max()))}  # fmt: skip
        one = np.ones_like(bounds)
        slopes = (bounds, one) if self.side == "transfer" else (one, bounds)
        return replace(system, neuron=Bare(**both, low=neuron.low, high=neuron.high, outflow=neuron.outflow),
                       slopes=slopes)  # fmt: skip

    def claim(self, claim: str) -> str:
        """A claim about a network, made of all activations within."""
        return f"{claim}, with any activations whose slopes are within those given for every unit"

    @property
    def range(self) -> str:
        """The hull of all bounds, in words."""
        return f"between {self.bounds[:, 0].min():g} and {self.bounds[:, 1].max():g}"

    @property
    def assumption(self) -> str:
        """For those who read a certificate."""
        return (
            f"the slope of the {self.side} function of every unit stays within bounds of its own ({self.source}), "
            f"{self.range}; the activation of the network is not read"
        )

    def check(self, network: Network) -> None:
        """Raise `ValueError` unless the slopes that a network's own activation declares are within these."""
        own: Activation = getattr(network.neuron, self.side or "transfer")
        low, high = self.outwards(network.dtype)
        least, most = (-np.inf, np.inf) if own.slope is None else outwards(own.slope, network.dtype)
        beyond = np.flatnonzero((low > least) | (high < most))
        if len(beyond):
            unit = int(beyond[0])
            raise ValueError(
                f"this certificate is of slopes that were given ({self.source}), [{low[unit]:g}, {high[unit]:g}] of "
                f"{network.graph.name(unit)}, and {own.name} declares [{least:g}, {most:g}]: it says nothing of this "
                "network; certify it without slopes"
            )


def refuse_others(network: Network, slopes: Slopes, **others: Any) -> Slopes:
    """The slopes of one network. Raises `ValueError` where something else is asked that only an activation answers."""
    for name, why in {
        "x": "says where to run the network in search of counter-examples, and no activation is read",
        "inputs": "finds slopes from the activation and the inputs",
        "start": "finds slopes from the activation and the starts",
    }.items():
        if others[name] is not None:
            raise ValueError(f"certify({name}=...) {why}: leave {name} or slopes out")
    return slopes.of(network)


def _shape(bounds: Any) -> str:
    try:
        return str(np.shape(bounds))
    except ValueError:
        return "rows of several lengths"


def _numbers(bounds: Any) -> np.ndarray | None:
    """The least and the largest slope in rows of two, if that is what they are."""
    try:
        found = np.asarray(bounds)
    except ValueError:  # rows of several lengths
        return None
    if found.dtype.kind not in "iuf" or found.ndim not in (1, 2) or found.shape[1:] not in ((), (2,)):
        return None
    wide = found.astype(np.float64)
    return np.stack([np.zeros_like(wide), wide], 1) if wide.ndim == 1 else wide


@functools.lru_cache(maxsize=64)
def _any(low: float, high: float) -> Activation:
    """What stands for all activations with slopes between two bounds: nothing encloses it, and nothing runs it."""
    if (low, high) == (1.0, 1.0):
        return _IDENTITY
    slope = min(max(0.0, low), high)
    return Activation("slopes as given", functools.partial(_line, slope), (-np.inf, np.inf), (low, high))


_IDENTITY = Activation.of("identity")


def _line(slope: float, s: Any) -> Any:
    return jnp.asarray(slope, s.dtype) * s
