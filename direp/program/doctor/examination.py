"""What is measured of a run, each figure once and when a symptom first asks for it."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from ...analysis import Comparison, compare_gradients
from ...model import Network
from ...rules import AbstractRule, Adjoint, Centred, nudges_of, parameters_of, phases_of, with_nudge, with_parameters
from ...rules import estimate as estimate_gradient
from ...runs import quoted
from ...settling import Preconditioned, Settled, Tolerance, movable, settle
from ..run_folder import wide
from ..settings import Settings
from ..words import plural
from .outcome import Outcome, Rows, outcome_of
from .subject import Subject

SAMPLES, SEEDS = 64, 3
_FLAT = 0.01  # of the largest slope: a unit with less hardly moves
_STILL = 0.5  # of the size of the weights: updates that cover less together leave them where they began
_LIMIT = 1e-3  # the nudge of a rule's limit
_PATIENT, _FEW = 5000, 8  # steps, and samples


class Units(NamedTuple):
    """Hidden units of one network on the samples: their rates, where nothing or next to nothing moves them (samples x
    units), and the root mean square of what others drive them with, beside what their leak holds against it."""

    rate: np.ndarray
    still: np.ndarray
    driven: np.ndarray


class Examination:
    """A run under examination: what is recorded of it, and measurements on a few of its networks.

    `subject` is `None` where its networks cannot be read. Seeds that did worst are looked at, up to three, on up to 64
    training samples. `missing`: what of its folder could not be read. `step` is told what is being measured.
    """

    def __init__(
        self,
        subject: Subject | None,
        history: dict[str, np.ndarray],
        settings: Settings | None = None,
        path: Path | None = None,
        status: dict[str, Any] | None = None,
        losses: dict[int, float] | None = None,
        missing: tuple[str, ...] = (),
    ):
        self.subject, self.history, self.settings, self.path = subject, history, settings, path
        self.status, self.missing = status or {}, missing
        self.step: Callable[[str], Any] = lambda what: None
        self._worst = losses or {}
        self.seen: dict[str, None] = {}

    # What is recorded

    @property
    def epochs(self) -> int:
        return len(self.history.get("loss", ()))

    def figure(self, name: str) -> np.ndarray:
        """A recorded figure, epochs x seeds; empty where it is not there."""
        self.seen.setdefault(f"the figures of {plural(self.epochs, 'epoch')}")
        return self.history.get(name, np.zeros((0, 1)))

    def last(self, name: str) -> float:
        """The mean over seeds of a figure in the last epoch; NaN where it is not there."""
        values = self.figure(name)
        known = values[-1][np.isfinite(values[-1])] if len(values) else np.zeros(0)
        return float(known.mean()) if known.size else np.nan

    def again(self, options: str) -> str:
        """The command that runs it again with other options."""
        return options if self.path is None else f"direp train --config {quoted(self.path / 'config.json')} {options}"

    # What is measured

    @property
    def of(self) -> Subject:
        assert self.subject is not None
        return self.subject

    @cached_property
    def chosen(self) -> list[int]:
        """The places of the seeds that are looked at: those of the largest losses."""
        seeds = self.of.seeds
        worst = sorted(range(len(seeds)), key=lambda k: -self._worst.get(seeds[k], 0.0))
        return sorted(worst[:SEEDS])

    @cached_property
    def rows(self) -> Rows:
        return Rows(self.of.task, self.of.cost)

    @cached_property
    def sampled(self) -> np.ndarray:
        """Which of the rows are the samples that gradients are measured on."""
        return np.unique(np.linspace(0, self.rows.train - 1, min(self.rows.train, SAMPLES)).astype(int))

    @property
    def x(self) -> np.ndarray:
        return self.rows.x[self.sampled]

    @property
    def y(self) -> np.ndarray:
        return self.rows.y[self.sampled]

    @property
    def extent(self) -> str:
        """Of how many samples and seeds."""
        return f"of {plural(len(self.sampled), 'sample')} and {plural(len(self.chosen), 'seed')}"

    def networks(self, at: str) -> list[tuple[Network, AbstractRule]]:
        """The chosen ones, `kept` or as they were at the `start`, each with its rule."""
        if at == "kept":
            return [(self.of.networks[k], self.of.rules[k]) for k in self.chosen]
        assert self.of.begun is not None
        return [self.of.begun(k) for k in self.chosen]

    def settled(self, at: str) -> list[Settled]:
        """Every row settled as the run settles."""
        return self._once(("settled", at), f"settling, {at}", lambda: [self._settle(n) for n, _ in self.networks(at)])

    def patient(self, at: str) -> list[Settled]:
        """A few samples settled in 64 bits, with as many steps as it takes, by the plain method."""
        stop, x = Tolerance(max_steps=_PATIENT), self.x[:_FEW]
        return self._once(
            ("patient", at), f"settling with more steps, {at}",
            lambda: [settle(n.astype(np.float64), x, method=Preconditioned(), stop=stop) for n, _ in self.networks(at)],
        )  # fmt: skip

    def _settle(self, network: Network) -> Settled:
        kind = "float64" if network.dtype == np.float64 else "float32"
        with wide(kind):
            return settle(network, self.rows.x.astype(network.dtype), method=self.of.method, stop=self.of.stop)

    @cached_property
    def outcomes(self) -> list[Outcome]:
        """How well each chosen network does."""
        self.seen.setdefault(
            f"the answers of {plural(len(self.chosen), 'kept network')} on {plural(len(self.rows.x), 'row')}"
        )
        found = []
        for k, (network, _), rest in zip(self.chosen, self.networks("kept"), self.settled("kept"), strict=True):
            outputs = np.asarray(network.outputs(rest.state), float)
            with wide("float64"):
                told, wanted = (jnp.asarray(each[: self.rows.train], jnp.float64) for each in (outputs, self.rows.y))
                loss = float(np.asarray(self.of.cost.value(told, wanted)).mean())
            found.append(outcome_of(self.rows, outputs, loss, (self._last(k, "loss"), self._last(k, "accuracy"))))
        return found

    def _last(self, k: int, name: str) -> float:
        """A figure of one seed in the last epoch; NaN where it is not known of each."""
        values = self.history.get(name, np.zeros((0, 0)))
        each = len(values) and values.shape[1] == len(self.of.seeds)
        return float(values[-1, k]) if each else np.nan

    @property
    def unlearned(self) -> bool:
        """Whether some chosen network does worse than it should."""
        return any(each.unlearned for each in self.outcomes)

    @property
    def overfitted(self) -> bool:
        """Whether some chosen network is right on its training rows alone."""
        return any(each.overfitted for each in self.outcomes)

    def units(self, at: str) -> list[Units]:
        """Hidden units of each chosen network on the samples that settled."""
        found = []
        self.seen.setdefault(f"hidden units, {self.extent}")
        for (network, _), rest in zip(self.networks(at), self.settled(at), strict=True):
            rest = jax.tree.map(lambda leaf: leaf[self.sampled], rest)
            hidden, settled = network.graph.hidden, np.asarray(rest.converged)
            still = ~np.asarray(movable(network, rest))
            for activation, where in ((network.neuron.rate, rest.state), (network.neuron.transfer, rest.drive)):
                if activation.differentiable and not activation.linear:
                    still |= np.abs(np.asarray(activation.derivative(where))) < _FLAT * activation.gain
            if settled.any():
                others = np.asarray(rest.drive)[settled, :hidden] - np.asarray(network.bias)[:hidden]
                against = np.maximum(np.abs(np.asarray(network.total_leak()))[:hidden], 1.0)
                driven = np.sqrt((others**2).mean(0)) / against
                found.append(Units(np.asarray(rest.rate)[settled, :hidden], still[settled, :hidden], driven))
        return found

    def compared(self, at: str) -> list[dict[str, Comparison]]:
        """The run's rule (`own`) against the exact gradient (`exact`), and with a very small nudge (`limit`), where
        it has one."""
        return self._once(("compared", at), f"gradients, {at}", lambda: self._compared(at))

    def _compared(self, at: str) -> list[dict[str, Comparison]]:
        self.seen.setdefault(f"the rule against the exact gradient, {self.extent}")
        found = []
        for network, rule in self.networks(at):
            rule = _wide(rule)
            rules = {"own": rule, "exact": Adjoint(lift=True)}
            if nudges_of(rule) and not phases_of(rule, network, self.of.cost).watched:
                rules["limit"] = with_nudge(rule, Centred(_LIMIT))
            found.append(
                compare_gradients(
                    network.astype(np.float64), self.x, self.y, rules, cost=self.of.cost, alone=False, lift=True
                )[0]
            )
        return found

    @cached_property
    def first_update(self) -> float:
        """The size of the first update beside that of all weights, the mean over the chosen networks; NaN where it is
        not known."""
        if self.of.optimiser is None or self.of.begun is None:
            return np.nan
        self.step("the first update")
        self.seen.setdefault(f"the first update, {self.extent}")
        return float(np.mean([self._update(*each) for each in self.networks("start")]))

    def _update(self, network: Network, rule: AbstractRule) -> float:
        kind = "float64" if network.dtype == np.float64 else "float32"
        with wide(kind):
            x, y = (table.astype(network.dtype) for table in (self.x, self.y))
            more: Any = {"cost": self.of.cost, "method": self.of.method, "stop": self.of.stop, "key": jax.random.key(0)}
            gradient = estimate_gradient(network, x, y, rule, **more).gradient
            parameters = network.parameters._replace(rule=parameters_of(rule))
            optimiser: optax.GradientTransformation = self.of.optimiser  # pyright: ignore[reportAssignmentType]
            updates: Any = optimiser.update(gradient, optimiser.init(parameters), parameters)[0]
        sizes = [
            np.sqrt(sum(float((np.asarray(leaf, float) ** 2).sum()) for leaf in jax.tree.leaves(tree)))
            for tree in (network.synapses.mask(updates.weight), parameters.weight)
        ]
        return sizes[0] / sizes[1] if sizes[1] else np.inf

    @property
    def updates(self) -> int:
        """How many updates it has had."""
        settings = self.settings
        count = len(self.of.task.train.x)
        size = min(settings.batch_size or count, count) if settings is not None else count
        return self.epochs * -(-count // size)

    @property
    def still(self) -> bool:
        """Whether so many updates of the size of the first one leave the weights where they began."""
        return bool(0 < self.first_update * self.updates < _STILL)

    def _once(self, key: Any, what: str, make: Callable[[], Any]) -> Any:
        kept = self.__dict__.setdefault("_kept", {})
        if key not in kept:
            self.step(what)
            kept[key] = make()
        return kept[key]


def _wide(rule: AbstractRule) -> AbstractRule:
    """A rule that has learned in 64 bits."""

    def convert(leaf: Any) -> Any:
        return jnp.asarray(np.asarray(leaf), jnp.float64) if eqx.is_inexact_array(leaf) else leaf

    return with_parameters(rule, jax.tree.map(convert, parameters_of(rule)))
