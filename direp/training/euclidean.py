r"""Controls in the Euclidean norm, which knows the signs of the weights: what excites and what inhibits may cancel.

The diagonal norms count $|w_{ij}|$; a network of $n$ units with weights of mixed signs may be stronger by about
$\sqrt n$ before it is not proved in the Euclidean norm any more. What it asks for ([`spectrum`][direp.training]) is one
number for all units, followed by a few vectors, and proved after every epoch.
"""

from abc import abstractmethod
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..certificates.convergence import AbstractCriterion, LocalLeak, Mismatch, Spectral
from ..certificates.learning import Following
from ..model import Network, Parameters
from ..model.synapses import Weight
from ..rules import Companions
from ..settling import check_count, check_number, compiled
from .control import AbstractControl, Confirmed, beside_each
from .dies import lost
from .spectrum import Coupling, drawn, followed, form_of, of_dies, proved_rate

_BEGIN = 30  # steps of the vectors before the first update
_LEAST, _MOST = 0.01, 0.5  # between which the guard moves
_UNITS = 5000  # dense matrices of more are too large for a proof every epoch


class Track(NamedTuple):
    """What travels with the weights: for the network and every feedback of a rule the vectors that need the most leak
    (the last one most), and how much that is by the last estimate; and the guard, a share of it."""

    rows: Float[Array, "network row free"]
    level: Float[Array, " network"]
    guard: Float[Array, ""]

    @property
    def needed(self) -> Float[Array, ""]:
        """The total leak that all units need, less the margin and what dies take."""
        return (1 + self.guard) * jnp.maximum(self.level.max(), 0)


class AbstractEuclideanControl(AbstractControl):
    r"""Keeps the total leak of every unit at $\mu(1+g)+c_0$ or above, where $\mu$ is what the weights ask for.

    After an update $\mu$ is an estimate: of `vectors` vectors, moved two steps towards those that need most, with the
    residual of the last, and a guard $g$ of 1 % for what they have missed. After every epoch the inequality is proved,
    in the network's precision less the worst rounding, and `certified` in the metrics is that proof: of the network at
    the end of the epoch, before anything was mended. Where it proves less than the margin, leaks are raised (or weights
    scaled back) to what it does prove, and the guard doubles; where it proves enough, the guard shrinks by 5 %.
    """

    vectors: eqx.AbstractVar[int]
    full_steps: ClassVar[bool] = False

    def __check_init__(self):
        check_count(f"{type(self).__name__}(vectors", self.vectors)

    @abstractmethod
    def inside(
        self, network: Network, needed: Array, feedback: tuple[Any, ...] = ()
    ) -> tuple[Parameters, tuple[Any, ...], Array]:
        """Parameters near those of a network that asks for so much leak beyond the margin, the strengths of feedbacks,
        and the factor by which all have been scaled."""

    @property
    def moves(self):
        return True

    def check(self, network):
        super().check(network)
        if form_of(network) is None:
            raise ValueError(
                f"{type(self).__name__}: {type(network.neuron).__name__} is curved on both sides of its weights, or in "
                "a box, and the Euclidean norm says nothing of that: use LeakController or WeightProjection, or a "
                "neuron of which transfer or rate is the identity"
            )
        if network.graph.free > _UNITS:
            raise ValueError(
                f"{type(self).__name__}: a proof every epoch takes a dense matrix of {network.graph.free:,} units; use "
                f"LeakController or WeightProjection above {_UNITS:,}"
            )

    def begin_with(self, network, feedback):
        self.check(network)
        return _begun(self, network, feedback)

    def init(self, network, feedback=()):
        networks = beside_each(network, feedback)
        rows = drawn(len(networks), network.graph.free, self.vectors, network.dtype)
        level = jnp.ones(len(networks), network.dtype)
        state = Track(rows, level, jnp.asarray(_LEAST, network.dtype))
        return jax.lax.scan(lambda state, _: (_moved(networks, state), None), state, None, length=_BEGIN)[0]

    def needed(self, network: Network, state: Track, feedback: tuple[Any, ...]) -> Array:
        """The total leak of the slowest die to which every unit is kept, less the margin."""
        return state.needed + self._gained(network, state, feedback)

    def _gained(self, network: Network, state: Track, feedback: tuple[Any, ...]) -> Array:
        """What dies add to what the weights ask for."""
        share = self.mismatch.share
        if not share:
            return jnp.zeros((), network.dtype)
        pairs = zip(beside_each(network, feedback), state.level, strict=True)
        return jnp.stack([of_dies(each, level, share) for each, level in pairs]).max()

    def least_leak(self, network: Network) -> Float[Array, " free"]:
        """The total leak of every unit, the least of all dies."""
        share = self.mismatch.share
        total = network.total_leak()
        return total - share * (network.leak + lost(network)) if share else total

    def outflow(self, network: Network) -> Float[Array, " free"]:
        """What every unit gains by its outflow, the least of all dies."""
        share = self.mismatch.share
        return network.outflow() - share * lost(network) if share else network.outflow()

    def project(self, network, state, feedback=()):
        state = _moved(beside_each(network, feedback), state)
        parameters, feedback, factor = self.inside(network, self.needed(network, state, feedback), feedback)
        return parameters, state._replace(level=factor * state.level), feedback

    def margin_of(self, network, state, feedback=()):
        return self.least_leak(network) - state.level.max() - self._gained(network, state, feedback)

    def rounding_of(self, network, state, feedback=()):
        size = jnp.abs(network.total_leak()) + state.level.max()
        if self.mismatch.share:
            size = size + self._gained(network, state, feedback) + self.mismatch.share * (network.leak + lost(network))
        return 4 * (network.graph.free + 8) * float(jnp.finfo(size.dtype).eps) * size

    def confirm(self, network, state, feedback, margins, rounding):
        found = self._mended(network, state, feedback)
        return found._replace(
            lowest=jnp.minimum(margins.min(), found.lowest), certified=found.certified & (margins > rounding).all()
        )

    def _mended(self, network: Network, state: Track, feedback: tuple[Any, ...]) -> Confirmed:
        """The network, moved to where its margin is proved, and what was proved before it was."""
        pairs = zip(beside_each(network, feedback), state.level, strict=True)
        others = [(None if each is network else each, level) for each, level in pairs]
        rate = jnp.stack([proved_rate(network, level, self.mismatch.share, each) for each, level in others]).min()
        eps = float(jnp.finfo(network.dtype).eps)
        # More by what the mending itself rounds.
        short = self.margin - rate + 64 * eps * (jnp.abs(network.total_leak()).max() + self.margin)
        enough = rate >= self.margin
        guard = jnp.where(enough, jnp.maximum(_LEAST, 0.95 * state.guard), jnp.minimum(_MOST, 2 * state.guard))
        parameters, strengths, factor = self.mended(network, jnp.where(enough, 0, short), feedback)
        state = Track(state.rows, factor * state.level, guard)
        return Confirmed(parameters, state, strengths, rate, jnp.where(enough, rate, self.margin), rate > 0)

    @abstractmethod
    def mended(
        self, network: Network, short: Array, feedback: tuple[Any, ...]
    ) -> tuple[Parameters, tuple[Any, ...], Array]:
        """As `inside`, for a network whose proved rate falls short of the margin by so much."""


@compiled
def _begun(
    control: AbstractEuclideanControl, network: Network, feedback: tuple[Any, ...]
) -> tuple[Network, tuple[Any, ...]]:
    """As training begins: what is proved to lie inside."""
    state = control.init(network, feedback)
    parameters, feedback, _ = control.inside(network, control.needed(network, state, feedback), feedback)
    found = control._mended(network.replace(parameters), state, feedback)
    return network.replace(found.parameters), found.feedback


def _moved(networks: list[Network], state: Track) -> Track:
    found = [followed(each, *old) for each, *old in zip(networks, state.rows, state.level, strict=True)]
    rows, level = (jnp.stack(part) for part in zip(*found, strict=True))
    return Track(rows, level, state.guard)


class EuclideanLeaks(AbstractEuclideanControl):
    r"""Every neuron holds its own leak where the Euclidean norm certifies,
    $\lambda_i=\max(\mathrm{floor},\ \mu(1+g)+c_0-\kappa\,\mathrm{out}_i(W))$.

    As `LeakController`, with one $\mu$ for all units that knows the signs of the weights. A leak that is held moves
    with the weights, and that part of the gradient, $\partial_{\lambda}C\,\partial\mu/\partial w_{ij}$, belongs to the
    synapse too: for `Projected` it is $v_iv_j$ of the vector that needs most, times the sum over all held leaks. Not
    local: $\mu$ takes products with all weights, of a few vectors. What dies add to $\mu$ counts as constant.

    **Arguments:**

    - `margin`: $c_0$ (1/time), the rate that stays certified.
    - `floor`: the least leak that a unit keeps.
    - `follow`, `through_leak`: as in `LeakController`.
    - `vectors`: how many follow the weights.
    - `criterion`: what proves the network after training.
    - `mismatch`: keep $c_0$ in every die too, as in `LeakController`.
    """

    scales: ClassVar[bool] = False
    margin: float | Array = 0.1
    floor: float | Array = 1.0
    criterion: AbstractCriterion = Spectral()
    follow: bool = eqx.field(static=True, default=True)
    through_leak: bool = eqx.field(static=True, default=True)
    vectors: int = eqx.field(static=True, default=4)
    mismatch: Mismatch = eqx.field(static=True, default=Mismatch(0.0))

    def __check_init__(self):
        check_number("EuclideanLeaks(floor", self.floor, least=0)

    def _least(self, network: Network) -> Array:
        least = jnp.zeros_like(network.leak) if self.follow else network.leak
        return jnp.maximum(jnp.maximum(least, self.floor), 0)

    def inside(self, network, needed, feedback=()):
        held = (needed + self.margin - self.outflow(network)) / (1 - self.mismatch.share)
        leak = jnp.maximum(self._least(network), held)
        return network.parameters._replace(leak=leak), feedback, jnp.ones((), network.dtype)

    def mended(self, network, short, feedback):
        leak = network.leak + short / (1 - self.mismatch.share)
        return network.parameters._replace(leak=leak), feedback, jnp.ones((), network.dtype)

    def following(self, network, state):
        reason = (
            "Leaks in the Euclidean norm follow an eigenvector of the weights, and nothing is proved of such steps. "
            "LocalLeak() and Rows() are covered."
        )
        ones = np.ones(len(network.leak))
        return Following(LocalLeak(), ones, float(self.margin), ones, self.follow, reason)

    def gradient(self, network, state, gradient, feedback: tuple[Companions, ...] = ()):
        if not self.through_leak:
            return gradient
        share, strengths = self.mismatch.share, tuple(each.recurrent for each in feedback)
        spare = self.least_leak(network) - self.needed(network, state, strengths) - self.margin
        above = network.leak > self._least(network)  # those that rise alone are held where nothing is left to spare
        held = jnp.where(
            above if self.follow else spare <= self.rounding_of(network, state, strengths), gradient.leak, 0
        )
        held = held / (1 - share)
        total = jnp.where(state.level.max() > 0, held.sum() * (1 + state.guard), 0)
        weight = gradient.weight
        learns = [True, *(each.learned for each in feedback)]
        networks = beside_each(network, strengths)
        most = state.level.argmax()
        for k, (each, learned) in enumerate(zip(networks, learns, strict=True)):
            if learned:
                part = jnp.where(most == k, total, 0)
                slope = Coupling(each).slope(state.rows[k, -1])
                weight = jax.tree.map(lambda w, d, part=part: w + part * d, weight, slope)
        outflow = network.neuron.outflow
        if outflow.active:
            # The least outflow of all dies: f(w) - x |f(w)|.
            slope = lambda w: outflow.slope(w) * (1 - share * jnp.sign(outflow.value(w)))  # noqa: E731
            gained = network.synapses.outgoing_gradient(network.weight, held, slope)
            weight = jax.tree.map(jnp.subtract, weight, gained)
        return gradient._replace(weight=weight)


class EuclideanProjection(AbstractEuclideanControl):
    r"""Leaks stay as they are (or as they learn); all weights between free units are scaled back by one factor,
    $f=\min_i\min(1,(\lambda_i-c_0)/(\mu(1+g)-\kappa\,\mathrm{out}_i))$, and companions of a rule's feedback too.

    **Arguments:**

    - `margin`: $c_0$ (1/time), the rate that stays certified. Leaks below 1.001 of it are raised to that.
    - `vectors`: how many follow the weights.
    - `criterion`: what proves the network after training.
    - `mismatch`: keep $c_0$ in every die too, as in `LeakController`.
    """

    margin: float | Array = 0.1
    criterion: AbstractCriterion = Spectral()
    vectors: int = eqx.field(static=True, default=4)
    mismatch: Mismatch = eqx.field(static=True, default=Mismatch(0.0))

    def inside(self, network, needed, feedback=()):
        kept = 1 - self.mismatch.share
        leak = jnp.maximum(network.leak, self.margin * 1.001 / kept)
        excess = needed - self.outflow(network)
        room = kept * leak - self.margin
        factor = jnp.where(excess > room, room / jnp.where(excess > 0, excess, 1), 1.0).min()
        return self._scaled(network, leak, factor, feedback)

    def mended(self, network, short, feedback):
        # The smallest eigenvalue is concave in the factor: between that of the leaks alone and that which was proved.
        room = (1 - self.mismatch.share) * network.leak.min() - self.margin
        factor = jnp.where(short > 0, room / (room + short), 1.0)
        return self._scaled(network, network.leak, factor, feedback)

    def _scaled(
        self, network: Network, leak: Array, factor: Array, feedback: tuple[Any, ...]
    ) -> tuple[Parameters, tuple[Any, ...], Array]:
        by = lambda tree: jax.tree.map(lambda w: factor * w, tree)  # noqa: E731
        weight = Weight(network.weight.input, by(network.weight.recurrent))
        return network.parameters._replace(weight=weight, leak=leak), tuple(map(by, feedback)), factor
