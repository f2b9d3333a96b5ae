r"""Criteria in diagonally weighted norms: local leak ($\ell_1$), rows ($\ell_\infty$), Perron (the sharpest weights).

Whatever the state, $J_{ii}=-\Lambda_i$ (no unit sends to itself) and $|J_{ki}|\le d_2|w_{ik}|$, where $d_2$ is the
`gain` of the neuron, a bound of $|\varphi'||\psi'|$: all neurons are covered. With weights $\eta>0$, every column of
the Jacobian has log-norm $\mu_{1,[\eta]}$ at most $-\Lambda_i+d_2\sum_k|w_{ik}|\eta_k/\eta_i$, and every row has
$\mu_{\infty,[\eta]}$ at most $-\Lambda_j+d_2\sum_i|w_{ij}|\eta_i/\eta_j$. If all columns (or all rows) are at most
$-c<0$, every two trajectories approach each other at least like $e^{-ct}$ in that norm.

A box keeps this. Its faces add $-n(s)$ to the velocity, with $n_i\ge0$ at the upper and $n_i\le0$ at the lower face, so
for two states $(n_i(s)-n_i(t))(s_i-t_i)\ge0$: no entry of the difference grows faster than without them. Likewise a
clipped step: clipping lengthens no entry of a difference. Norms with one weight a unit see entries alone.

Each criterion works twice: on the host, where its verdict survives rounding, and traced inside training, where it
says what leak keeps every unit at its inequality.

Sources: Davydov, Proskurnikov & Bullo (arXiv:2110.08298); the forms with outflow are derived here.
"""

from abc import abstractmethod
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...arithmetic import opened, placed, space
from ...model import Network
from ...model.synapses import Weight
from .certificate import Attempt, Proof
from .criterion import AbstractCriterion
from .norm import L1, LInf
from .perron import perron_weights
from .system import System


class AbstractDiagonal(AbstractCriterion):
    """A criterion in a norm with one weight a unit; `incoming` sums over a unit's sources instead of its targets."""

    incoming: eqx.AbstractClassVar[bool]
    mismatch: ClassVar[bool] = True

    # Inside training, traced: weights travel as state.

    def initial(self, network: Network) -> Float[Array, " free"]:
        """Norm weights for a network that comes from elsewhere."""
        return placed(space(network.leak).ones(network.leak.shape, network.leak.dtype))

    def refresh(self, network: Network, weights: Float[Array, " free"]) -> Float[Array, " free"]:
        """Norm weights that suit the network as it is now."""
        return weights

    @property
    def moves(self) -> bool:
        """Whether `refresh` changes norm weights."""
        return type(self).refresh is not AbstractDiagonal.refresh

    @np.errstate(all="ignore")
    def spread(self, network: Network, weights: Float[Array, " free"]) -> Float[Array, " free"]:
        r"""$d_2\sum_k|w_{ik}|\eta_k/\eta_i$ over the targets of each unit (or its sources)."""
        _, weight, norm = opened(network.weight, weights)
        size = jax.tree.map(lambda w: placed(abs(w)), weight)
        send = network.synapses.drive if self.incoming else network.synapses.back
        with jax.default_matmul_precision("highest"):  # some devices multiply with fewer bits than they store
            _, sent = opened(send(size, placed(norm[None])))
        return placed(network.neuron.gain * sent[0] / norm)

    @np.errstate(all="ignore")
    def margin(self, network: Network, weights: Float[Array, " free"]) -> Float[Array, " free"]:
        """What each unit has to spare; the smallest is the certified rate, if positive. Plain floating point."""
        _, leak, spread = opened(network.total_leak(), self.spread(network, weights))
        return placed(leak - spread)

    def rounding(self, network: Network, weights: Float[Array, " free"]) -> Float[Array, " free"]:
        """A bound on the error of every `margin` in the network's own precision."""
        sent = network.synapses.outgoing(network.weight, jnp.abs)
        size = network.leak + sent + self.spread(network, weights)
        return 4 * (network.graph.free + 8) * float(jnp.finfo(size.dtype).eps) * size

    def weight_gradient(
        self, network: Network, weights: Float[Array, " free"], leak: Float[Array, " free"], held: Weight | None = None
    ) -> Weight:
        r"""$\sum_kg_k\,\partial\lambda_k/\partial w_{ij}$ with $g$ = `leak`, for leaks held at the criterion: by the
        weights, or by other strengths between the same units, `held`."""
        extra = self.spread_gradient(network, weights, leak, held)
        outflow = network.neuron.outflow
        if not outflow.active:
            return extra
        lost = network.synapses.outgoing_gradient(network.weight, leak, outflow.slope)
        return jax.tree.map(jnp.subtract, extra, lost)

    def spread_gradient(
        self, network: Network, weights: Float[Array, " free"], leak: Float[Array, " free"], held: Weight | None = None
    ) -> Weight:
        """Its part that comes from `spread`."""
        sender, receiver = (weights, leak / weights) if self.incoming else (leak / weights, weights)
        none = jnp.zeros((1, network.graph.inputs), weights.dtype)
        pairs = network.synapses.outer(none, sender[None], receiver[None])
        gain = network.neuron.gain
        return jax.tree.map(lambda w, p: gain * jnp.sign(w) * p, network.weight if held is None else held, pairs)

    # On the host.

    @abstractmethod
    def proposals(self, system: System) -> list[tuple[np.ndarray, bool]]:
        """Norm weights to try, each with whether they are for rows."""

    def attempt(self, system):
        return prove(self.name, system, self.proposals(system))


def prove(criterion: str, system: System, proposals: list[tuple[np.ndarray, bool]]) -> Attempt:
    """The sharpest contraction that some of the proposed norm weights prove; rounding included."""
    if not all(np.isfinite(system.feedback(beta, np.ones(system.size))).all() for beta in system.phases.values()):
        return Attempt(criterion, note=f"needs {type(system.cost).__name__}.feedback, which bounds what a nudge does")
    best, closest, margin = None, {}, np.zeros(0)
    for weights, incoming in proposals:
        if not (weights > 0).all():
            continue
        free = system.proved_margin(weights, incoming)
        margins = {
            name: np.nextafter(free - system.feedback(beta, weights), -np.inf) if beta else free
            for name, beta in system.phases.items()
        }
        rates = {name: float(each.min()) for name, each in margins.items()}
        lowest = min(rates.values())
        if not closest or lowest > min(closest.values()):
            closest, margin = rates, np.min(list(margins.values()), axis=0)
        if lowest > 0 and (best is None or lowest > best.rate):
            step = system.largest_step
            shrink = step * lowest * (1 - 1e-15)
            if shrink > 0:
                best = Proof(LInf(weights) if incoming else L1(weights), rates, step, shrink)
    if best is not None:
        return Attempt(criterion, best, best.rate, free=True)
    if not closest or min(closest.values()) > 0:
        return Attempt(criterion, note="the numbers are too large or too small for 64 bits")
    worst = min(closest, key=lambda name: closest[name])
    short = f"falls short by {-closest[worst]:.3g}"
    free = closest.get("free", -np.inf) > 0
    note = f"the free phase contracts, but phase {worst} {short}" if free else short
    blame = tuple(int(k) for k in np.argsort(margin, kind="stable") if margin[k] <= 0)
    return Attempt(criterion, None, closest[worst], note, blame, free)


class LocalLeak(AbstractDiagonal):
    r"""$\Lambda_i>d_2\sum_k|w_{ik}|$ for every unit: a neuron checks its own outgoing synapses. Norm $\ell_1$.

    For `Projected` with signed outflow: a leak above twice the neuron's own outgoing inhibition.
    """

    name: ClassVar[str] = "local leak"
    incoming: ClassVar[bool] = False

    def proposals(self, system):
        return [(np.ones(system.size), False)]


class Rows(AbstractDiagonal):
    r"""$\Lambda_j>d_2\sum_i|w_{ij}|$ for every unit, over its incoming synapses. Norm $\ell_\infty$."""

    name: ClassVar[str] = "rows"
    incoming: ClassVar[bool] = True

    def proposals(self, system):
        return [(np.ones(system.size), True)]


class Perron(AbstractDiagonal):
    r"""The sharpest of all diagonal weightings: contracts iff $\Lambda-d_2|W|$ is a nonsingular M-matrix.

    The rate is minus the spectral abscissa of $-\Lambda+d_2|W|$, up to a relative gap of $10^{-9}$; the norm weights
    are its Perron vector. Proves whatever rows or columns prove.

    Inside training `refresh` takes `iterations` power steps on $d_2|W|-\kappa\,\mathrm{out}$, whose Perron vector needs
    the least leak that is the same for all units; whatever the weights are by then, leaks held there certify.
    """

    name: ClassVar[str] = "Perron"
    incoming: ClassVar[bool] = False
    iterations: int = eqx.field(static=True, default=2)

    def initial(self, network):
        return self._stretched(network, jnp.ones_like(network.leak), network.outflow(), 20)

    def refresh(self, network, weights):
        return self._stretched(network, weights, network.outflow(), self.iterations)

    def _stretched(self, network: Network, weights: Array, loss: Array, iterations: int) -> Array:
        """Power steps on $d_2|W|$ less a diagonal, shifted so that nothing is negative."""

        def step(weights: Array, _: None) -> tuple[Array, None]:
            stretched = weights * (self.spread(network, weights) + loss.max() - loss)
            # The mean keeps every weight positive where a unit sends to nobody.
            stretched = stretched + 1e-3 * (stretched.mean() + weights.mean())
            return stretched / stretched.mean(), None

        return jax.lax.scan(step, weights, None, length=iterations)[0]

    def proposals(self, system):
        # Equal weights too: whatever local leaks or rows prove is proved here, however narrow.
        equal = np.ones(system.size)
        found = [(perron_weights(system, incoming=incoming), incoming) for incoming in (False, True)]
        return [*found, (equal, False), (equal, True)]


def sharpest_margin(network: Network, iterations: int = 30) -> Float[Array, ""]:
    """The largest margin that local leaks, rows or Perron weights from a few power steps give, less its rounding.

    Positive: certified. For figures of an uncontrolled training; `certify` looks harder."""
    perron, ones = Perron(), jnp.ones_like(network.leak)
    weights = perron._stretched(network, ones, network.total_leak(), iterations)
    tried = ((LocalLeak(), ones), (Rows(), ones), (perron, weights))
    return jnp.stack([(c.margin(network, w) - c.rounding(network, w)).min() for c, w in tried]).max()


def contraction_margin(network: Network) -> Float[Array, " free"]:
    r"""$\lambda_i+\kappa\,\mathrm{out}_i-d_2\sum_k|w_{ik}|$ for every free unit: the local leak criterion ($\ell_1$).

    A neuron can compute its own from its own leak and outgoing synapses. The smallest is the certified rate, if it
    is positive. For `Projected` with signed outflow it reads $\lambda_i-2\sum_kw_{ik}^-$, twice the neuron's own
    outgoing inhibition. Plain floating point: `certify` is rounding-safe.
    """
    return LocalLeak().margin(network, jnp.ones_like(network.leak))
