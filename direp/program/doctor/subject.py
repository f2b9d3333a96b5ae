"""A run as it is examined: from its folder, or as `direp.fit` returned it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import optax

from ...model import Network
from ...rules import AbstractCost, AbstractRule, with_parameters
from ...settling import AbstractMethod, AbstractStop
from ...tasks import Task
from ...training import Run
from ..build import Parts
from ..run_folder import LoadedRun
from ..settings import Settings


@dataclass(frozen=True)
class Subject:
    """What of a run is examined: its task, and for every seed the kept network and its rule.

    `begun` gives the network of a seed as training began, and its rule; `None` where that is not known. `parts` and
    `optimiser` are those of its settings, `None` likewise.
    """

    name: str
    task: Task
    seeds: tuple[int, ...]
    networks: list[Network]
    rules: list[AbstractRule]
    cost: AbstractCost
    method: AbstractMethod | None
    stop: AbstractStop
    path: Path | None = None
    parts: Parts | None = None
    begun: Callable[[int], tuple[Network, AbstractRule]] | None = None
    optimiser: optax.GradientTransformation | None = None

    @property
    def settings(self) -> Settings | None:
        return None if self.parts is None else self.parts.settings

    @classmethod
    def of_folder(cls, run: LoadedRun) -> "Subject":
        parts, arguments = run.parts, run.parts.fit()
        steady = Parts(replace(run.settings, schedule="constant"), run.task)  # a schedule may begin at a rate of zero

        def begun(k: int) -> tuple[Network, AbstractRule]:
            network, learned = parts.begun(k)
            return network, with_parameters(parts.rule, learned) if learned else parts.rule

        return cls(
            str(run.path), run.task, parts.seeds, run.networks, run.rules, parts.cost, arguments["method"],
            arguments["stop"], run.path, parts, begun, steady.optimiser(),
        )  # fmt: skip

    @classmethod
    def of_fit(cls, run: Run) -> "Subject":
        trainer = run.trainer
        return cls(
            run.task.name, run.task, run.seeds, run.networks, run.rules, trainer.cost, trainer.method, trainer.stop
        )
