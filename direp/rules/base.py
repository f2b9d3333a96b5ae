"""The one interface of all rules, and `estimate`, which runs the phases of a rule on a batch."""

from abc import abstractmethod
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int, Num, PRNGKeyArray

from ..model import AbstractField, Network, NetworkField, Parameters
from ..settling import AbstractStop, Settled, Tolerance, run
from ..settling.methods import AbstractMethod, choose_method
from .cost import AbstractCost, SquaredError
from .nudge import AbstractNudge

__all__ = ["AbstractNudgedRule", "AbstractRule", "Estimate", "Phases", "estimate"]


class Phases(eqx.Module):
    """What a rule gets to see of a batch.

    - `field`: the network with clamped inputs `x`. `y`: the targets.
    - `free`: the free phase. `nudged`: the nudged phases, in the order of `AbstractRule.fields`.
    - `fields`: those of the nudged phases.
    - `observed`: for each nudged phase, what `AbstractRule.observe` accumulated along it.
    - `used`: the samples that count. All others must get no say.
    """

    field: NetworkField
    y: Float[Array, "batch output"]
    cost: AbstractCost
    free: Settled
    nudged: tuple[Settled, ...]
    fields: tuple[AbstractField, ...]
    observed: tuple[Any, ...]
    used: Bool[Array, " batch"]

    @property
    def network(self) -> Network:
        return self.field.network

    @property
    def x(self) -> Float[Array, "batch input"]:
        return self.field.x

    def mean(self, post: Float[Array, "batch free"], back: Float[Array, "batch free"]) -> Parameters:
        """`Network.local_gradient` averaged over the samples that count (zero if there are none)."""
        count = jnp.maximum(self.used.sum(), 1).astype(post.dtype)
        # An unused sample may hold anything, even NaN: it is replaced, not multiplied by zero.
        post, back = (jnp.where(self.used[:, None], value, 0) / count for value in (post, back))
        return self.network.local_gradient(self.x, self.free.state, post, back)


class AbstractRule(eqx.Module):
    """How synapses estimate the gradient of the mean cost of a batch.

    A rule runs nudged phases (`fields`), may watch every step of them (`begin`, `observe`; it never gets a stored
    trajectory) and then estimates.
    """

    @abstractmethod
    def fields(self, field: NetworkField, cost: AbstractCost, y: Array, free: Settled) -> tuple[AbstractField, ...]:
        """The fields of the nudged phases; each begins at `start`."""

    @abstractmethod
    def estimate(self, phases: Phases) -> tuple[Parameters, Bool[Array, " batch"]]:
        """A gradient to descend, and the samples that entered it: `phases.used`, or fewer."""

    def check(self, network: Network) -> None:
        """Raise `ValueError`, with the way out, if this rule cannot work on a network."""

    @property
    def plain_nudge(self) -> AbstractNudge | None:
        """The nudge, where the nudged phases are the network with a current into its outputs and nothing else: those
        that a convergence certificate covers."""
        return None

    def now(self, update: Array | int, key: PRNGKeyArray | None) -> "AbstractRule":
        """The rule at one update: its schedules read, its random choices made. Itself, if it has neither."""
        return self

    def start(self, free: Settled) -> Float[Array, "batch free"]:
        """Where the nudged phases begin: by default at the free equilibrium."""
        return free.state

    def begin(self, network: Network, x: Array) -> Any:
        """What `observe` starts from; `None` (the default) if the rule watches nothing."""
        return None

    def observe(self, observed: Any, network: Network, x: Array, before: Array, after: Array, moved: Array) -> Any:
        """Called with the states before and after each step of a nudged phase, and which samples moved.

        Samples that are only padding never count as moved.
        """
        raise NotImplementedError

    def counts(self, free: Settled, nudged: tuple[Settled, ...]) -> Bool[Array, " batch"]:
        """Which samples may enter the update: those all of whose phases settled."""
        used = free.converged
        for phase in nudged:
            used = used & phase.converged
        return used

    def fell_back(self, phases: Phases) -> Bool[Array, ""]:
        """Whether this batch was left to another rule."""
        return jnp.array(False)


class AbstractNudgedRule(AbstractRule):
    """A rule with a nudge: an argument of every such rule, `OneSided(beta)`, `Centred(beta)`, ...; a number means
    one-sided."""

    nudge: eqx.AbstractVar[AbstractNudge]

    @property
    def plain_nudge(self):
        return self.nudge

    def now(self, update, key):
        return eqx.tree_at(lambda rule: rule.nudge, self, self.nudge.now(update, key))

    def difference(self, name: str, phases: Phases) -> Float[Array, "batch free"]:
        r"""$\Delta q$ of the `state`, `rate` or `drive`, from the free phase and the nudged ones."""
        return self.nudge.difference(getattr(phases.free, name), [getattr(phase, name) for phase in phases.nudged])


def needs_derivative(rule: AbstractRule, network: Network) -> None:
    """Refuse an activation without derivative, for the rules that use it."""
    for activation in (network.neuron.transfer, network.neuron.rate):
        if not activation.differentiable:
            raise ValueError(
                f"{type(rule).__name__} needs the derivative of the activation, and {activation.name!r} has none: use "
                "Local(), which needs responses alone, or a smooth activation such as sigmoid"
            )


class Estimate(eqx.Module):
    """What `estimate` returns.

    - `gradient`: of the mean cost over the samples that count, as the rule sees it; descend it.
    - `loss`: the cost of every sample at its free state.
    - `free`, `nudged`: how every phase settled.
    - `used`: the samples that entered the gradient.
    - `fell_back`: whether a `Safeguard` left the batch to its fallback.
    """

    gradient: Parameters
    loss: Float[Array, " batch"]
    free: Settled
    nudged: tuple[Settled, ...]
    used: Bool[Array, " batch"]
    fell_back: Bool[Array, ""]


def _observe(rule, network: Network, x: Array, valid: Array | None, observed, before, after, moved) -> Any:
    moved = moved if valid is None else moved & valid
    return rule.observe(observed, network, x, before, after, moved)


def estimate(
    network: Network,
    x: Num[ArrayLike, "batch input"],
    y: Num[ArrayLike, "batch output"],
    rule: AbstractRule,
    *,
    cost: AbstractCost | None = None,
    method: AbstractMethod | None = None,
    stop: AbstractStop | None = None,
    state: Num[ArrayLike, "batch free"] | None = None,
    valid: Bool[Array, " batch"] | None = None,
    update: Int[Array, ""] | int = 0,
    key: PRNGKeyArray | None = None,
) -> Estimate:
    """Run a rule's phases on a batch and return what the synapses say, as a gradient to descend.

    **Arguments:**

    - `cost`: by default `SquaredError()`.
    - `method`, `stop`: how to settle, as in `settle`; the same for all phases.
    - `state`: where the free phase starts; by default at rest.
    - `valid`: samples to leave out are `False` (padding of a last batch).
    - `update`, `key`: the number of the update and a JAX random key, for rules with a schedule or random choices.
    """
    cost = SquaredError() if cost is None else cost
    method, stop = method or choose_method(network), stop or Tolerance()
    method.check(network)
    x, y = jnp.asarray(x, network.dtype), jnp.asarray(y, network.dtype)
    if y.shape != (x.shape[0], network.graph.outputs):
        raise ValueError(
            f"y has shape {y.shape}; needed is ({x.shape[0]}, {network.graph.outputs}): a row for each row of x"
        )
    rule.check(network)
    rule = rule.now(update, key)
    field = network.field(x)
    start = network.rest(x.shape[0]) if state is None else jnp.asarray(state, network.dtype)
    free, _ = run(field, start, method, stop, observer=None, observed=None)

    nudged, observed = [], []
    fields = rule.fields(field, cost, y, free)
    for phase in fields:
        seen = rule.begin(network, x)
        observer = None if seen is None else eqx.Partial(_observe, rule, network, x, valid)
        settled, seen = run(phase, rule.start(free), method, stop, observer=observer, observed=seen)
        nudged.append(settled)
        observed.append(seen)

    used = rule.counts(free, tuple(nudged))
    if valid is not None:
        used = used & valid
    phases = Phases(field, y, cost, free, tuple(nudged), fields, tuple(observed), used)
    gradient, used = rule.estimate(phases)
    loss = cost.value(network.outputs(free.state), y)
    return Estimate(jax.lax.stop_gradient(gradient), loss, free, tuple(nudged), used, rule.fell_back(phases))
