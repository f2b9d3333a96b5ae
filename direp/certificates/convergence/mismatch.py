r"""One verdict for every die: all networks whose weights and leaks lie within a share $x$ of those that are stored.

In a diagonal norm the margin of a unit is linear in every weight and leak, so its least value over all dies is reached
at ends. With one device for a synapse and for what its source loses by it (`shared`), and outgoing sums,

$$\lambda_i(1-x)+\sum_k\big(t_{ik}-x|t_{ik}|\big),\qquad t_{ik}=f(w_{ik})-d_2|w_{ik}|\eta_k/\eta_i;$$

with two devices (`separate`), or with incoming sums, whose synapses are others than those of the outflow,
$\lambda_i(1-x)+\mathrm{out}_i-x\sum_k|f(w_{ik})|-(1+x)\,d_2\sum|w|\eta/\eta_i$. For local leaks and signed outflow that
reads $\lambda_i(1-x)>2\sum w^-+2x\sum|w|$. In the Euclidean criterion [`Spectral`][direp.Spectral], what dies may add
to the inequality is a symmetric $E$ with $|E|\le xB$, and $E\preceq x\,\mathrm{diag}(B\eta/\eta)$ for any $\eta>0$:
Perron's vector of $B$ makes that least. Biases move equilibria, and no verdict on contraction reads them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from ...arithmetic import at_least
from ...model import Network
from .system import System

_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Mismatch:
    """Every weight, leak and bias of a die lies within `share` of itself (0.05: five percent), each by itself.

    - `outflow`: whether a synapse and what its source loses by it are one device (`"shared"`) or two (`"separate"`).

    Raises `ValueError` unless 0 <= `share` < 1.
    """

    share: float
    outflow: Literal["shared", "separate"] = "shared"

    def __post_init__(self):
        if not 0 <= self.share < 1:
            raise ValueError(f"Mismatch({self.share}) must be 0 or more and below 1: 0.05 is five percent")
        if self.outflow not in ("shared", "separate"):
            raise ValueError(f"Mismatch(outflow={self.outflow!r}) must be 'shared' or 'separate'")

    def claim(self, claim: str) -> str:
        """A claim about a network, made of every die."""
        return claim.replace("the network contracts", f"every die within {self._within} of the network contracts", 1)

    @property
    def _within(self) -> str:
        return f"{at_least(100 * self.share)} %" if self.share else "0 %"

    @property
    def assumption(self) -> str:
        """What a die is, for those who read a certificate."""
        devices = {"shared": "one device carries", "separate": "two devices carry"}[self.outflow]
        return (
            f"every weight, leak and bias of a die is within {self._within} of the stored one, each by itself; "
            f"{devices} a synapse and what its source loses by it"
        )

    def die(self, network: Network, rng: np.random.Generator, corner: bool = False) -> Network:
        """One die: factors drawn evenly from [1 - share, 1 + share], or from its ends. Rounded towards the network, so
        that it lies within."""

        def moved(leaf: Any) -> Any:
            value = np.asarray(leaf)
            factor = rng.choice([-1.0, 1.0], value.shape) if corner else rng.uniform(-1, 1, value.shape)
            wide = np.asarray(value, np.float64)
            found = (wide + self.share * factor * np.abs(wide)).astype(value.dtype)
            out = np.abs(np.asarray(found, np.float64) - wide) > self.share * np.abs(wide) * (1 - 4 * _EPS)
            return jnp.asarray(np.where(out, np.nextafter(found, value), found))

        return network.replace(jax.tree.map(moved, network.parameters))

    def covers(self, network: Network, die: Network) -> bool:
        """Whether a network is a die of another: of one kind, and every number within the share."""
        if jax.tree.structure(network) != jax.tree.structure(die) or network.dtype != die.dtype:
            return False
        pairs = zip(jax.tree.leaves(network.parameters), jax.tree.leaves(die.parameters), strict=True)

        def inside(one: Any, other: Any) -> bool:
            one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
            if one.shape != other.shape:
                return False
            far = np.abs(other - one)  # of neighbours, exact in 64 bits
            sure = far <= self.share * np.abs(one) * (1 - 4 * _EPS)
            return all(
                abs(Fraction(b) - Fraction(a)) <= Fraction(self.share) * abs(Fraction(a))
                for a, b in zip(one[~sure].tolist(), other[~sure].tolist(), strict=True)
            )

        return all(inside(one, other) for one, other in pairs)


@dataclass(frozen=True, eq=False)
class Varied(System):
    """A system and all of its dies: margins are the least of all, rounding included."""

    mismatch: Mismatch = Mismatch(0.0)

    @classmethod
    def around(cls, system: System, mismatch: Mismatch) -> "Varied":
        fields = {name: getattr(system, name) for name in System.__dataclass_fields__}
        return cls(**fields, mismatch=mismatch)

    @property
    def share(self):
        return float(self.mismatch.share)

    def _together(self, incoming: bool) -> bool:
        return self.neuron.outflow.active and not incoming and self.mismatch.outflow == "shared"

    def _terms(self, weights: np.ndarray) -> Any:
        r"""$t_{ik}=f(w_{ik})-d_2|w_{ik}|\eta_k/\eta_i$."""
        size = self.magnitude
        scaled = size * weights if isinstance(size, np.ndarray) else size.multiply(weights[None]).tocsr()
        scaled = scaled / weights[:, None] if isinstance(scaled, np.ndarray) else scaled.multiply(1 / weights[:, None])
        return self.neuron.outflow.value(self.weight) - scaled

    def margin(self, weights, incoming):
        x = self.share
        if not self._together(incoming):
            apart = self.spread(weights, incoming) / weights
            return self.leak * (1 - x) + self.outflow - x * self.lost - (1 + x) * apart
        terms = self._terms(weights)
        total, most = (np.asarray(each.sum(1), np.float64).ravel() for each in (terms, abs(terms)))
        return self.leak * (1 - x) + total - x * most

    def slowest(self, weights, incoming):
        x = self.share
        if weights is None or not self._together(incoming):
            return self.leak * (1 - x) + self.outflow - x * self.lost, self.magnitude * (1 + x)
        terms = self._terms(weights)
        sign: Any = np.sign(terms) if isinstance(terms, np.ndarray) else terms.sign()

        def moved(size: Any) -> Any:
            return size - x * (sign * size if isinstance(size, np.ndarray) else sign.multiply(size).tocsr())

        gained = np.asarray(moved(self.neuron.outflow.value(self.weight)).sum(1), np.float64).ravel()
        return self.leak * (1 - x) + gained, moved(self.magnitude)

    def rounding(self, weights, incoming):
        return 4 * super().rounding(weights, incoming)

    def _exact_margin(self, unit, weights, incoming):
        x, outflow = Fraction(self.share), self.neuron.outflow
        margin = Fraction(float(self.leak[unit])) * (1 - x)
        own, others = self.steepest if incoming else self.steepest[::-1]
        partners, row = self.row(unit, incoming)
        pulls = [
            Fraction(abs(w)) * Fraction(e) * Fraction(d) * Fraction(float(own[unit])) / Fraction(float(weights[unit]))
            for w, e, d in zip(row.tolist(), weights[partners].tolist(), others[partners].tolist(), strict=True)
        ]
        if self._together(incoming):
            terms = [outflow.value(Fraction(w)) - pull for w, pull in zip(row.tolist(), pulls, strict=True)]
            return margin + sum((term - x * abs(term) for term in terms), Fraction(0))
        if outflow.active:
            lost = [outflow.value(Fraction(w)) for w in self.row(unit, False)[1].tolist()]
            margin += sum((value - x * abs(value) for value in lost), Fraction(0))
        return margin - (1 + x) * sum(pulls, Fraction(0))

    @property
    def largest_step(self):
        whole = np.abs(self.total_leak) + self.share * (self.leak + self.lost)
        grown = float((whole / np.where(self.total_leak == 0, 1, np.abs(self.total_leak))).max())
        return super().largest_step / max(grown, 1.0) * (1 - 8 * _EPS) if np.isfinite(grown) else 0.0


def largest_mismatch(proved: Callable[[float], bool], gap: float = 1e-3) -> float:
    """The largest share, to three digits, for which a verdict is proved; 0 if not even without mismatch."""
    low, high = 0.0, 1.0
    if not proved(0.0):
        return 0.0
    while high - low > gap * max(low, 1e-3):
        middle = (low + high) / 2
        low, high = (middle, high) if proved(middle) else (low, middle)
        if high <= 1e-6:
            break
    return low


def quantised(network: Network, bits: int, ratio: float = math.inf) -> Network:
    r"""The network with the size of every number at one of $2^b$ levels, or at none.

    A number is a conductance with a sign: its size is at one of $2^b$ levels from $G_\max/r$ to $G_\max$, evenly
    spaced, or there is no device at all (0). The largest size of each group (input weights, weights between free units,
    biases, leaks) is its $G_\max$; $r$ = `ratio` is the on/off ratio of the devices, infinite by default. Numbers go to
    the nearest level. Raises `ValueError` for bits outside of 1 to 24 or a ratio of 1 or less.
    """
    if not 1 <= bits <= 24:
        raise ValueError(f"quantised(bits={bits}) must be 1 to 24")
    if not ratio > 1:
        raise ValueError(f"quantised(ratio={ratio}) must be above 1: the largest conductance over the least")
    largest = {
        name: max((float(np.abs(np.asarray(leaf)).max(initial=0)) for leaf in jax.tree.leaves(tree)), default=0.0)
        for name, tree in _groups(network).items()
    }

    def placed(name: str, leaf: Any) -> np.ndarray:
        value = np.asarray(leaf)
        most = largest[name]
        if most == 0:
            return value
        least = most / ratio
        levels = np.linspace(least, most, 2**bits)
        levels = np.concatenate([[0.0], levels]) if least > 0 else levels
        size = np.abs(np.asarray(value, np.float64))
        at = np.clip(np.searchsorted(levels, size), 1, len(levels) - 1)
        nearest = np.where(size - levels[at - 1] <= levels[at] - size, levels[at - 1], levels[at])
        return (np.sign(value) * nearest).astype(value.dtype)

    found = {
        name: jax.tree.map(lambda leaf, name=name: placed(name, leaf), tree) for name, tree in _groups(network).items()
    }
    weight = type(network.weight)(found["input"], found["recurrent"])
    return network.replace(network.parameters._replace(weight=weight, bias=found["bias"], leak=found["leak"]))


def _groups(network: Network) -> dict[str, Any]:
    weight = network.weight
    return {"input": weight.input, "recurrent": weight.recurrent, "bias": network.bias, "leak": network.leak}
