"""Who is told of a training while it goes on: a protocol of three calls, and services that plot what they are told."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..runs import say
from .described import description_of
from .epochs import STOP, Callback
from .metrics import summarise
from .plan import Plan


class AbstractCallback(ABC):
    """For `fit(callbacks=[...])`, where a plain function is told of epochs alone."""

    @abstractmethod
    def begin(self, plan: Plan, epoch: int) -> None:
        """Before the first update, or the next one of a training that goes on after an `epoch`."""

    @abstractmethod
    def epoch(self, number: int, figures: Mapping[str, np.ndarray]) -> Any:
        """After every epoch: its figures, named as in `Metrics`, an array over seeds each. What returns
        `direp.training.STOP` ends the training."""

    @abstractmethod
    def end(self, status: str) -> None:
        """After the last one: `"done"`, `"stopped"`, `"failed"`, `"interrupted"` or `"error"`."""


class Audience:
    """All who are told of a training: functions of an epoch, and callbacks, of which one that fails is told nothing
    more: no tracker ends a training. Of wide programs, the first `count` lanes are told."""

    def __init__(self, callbacks: Sequence[Callback | AbstractCallback], plan: Plan, epoch: int):
        self._callbacks, self._count = list(callbacks), len(plan.seeds)
        self._each(lambda callback: callback.begin(plan, epoch))

    def epoch(self, number: int, row: Mapping[str, np.ndarray]) -> Any:
        """Tell all; `STOP` if one of them ends the training. An interrupt comes when all are told."""
        figures = {name: values[: self._count] for name, values in row.items()}
        answers, interrupted = [], False
        for callback in list(self._callbacks):
            try:
                if isinstance(callback, AbstractCallback):
                    self._each(lambda each: answers.append(each.epoch(number, figures)), (callback,))
                else:
                    answers.append(callback(number, figures))
            except KeyboardInterrupt:
                interrupted = True
        if interrupted:
            raise KeyboardInterrupt
        return STOP if any(answer is STOP for answer in answers) else None

    def end(self, status: str) -> None:
        self._each(lambda callback: callback.end(status))

    def _each(self, tell: Callable[[AbstractCallback], Any], some: Sequence[Any] | None = None) -> None:
        for callback in self._callbacks[:] if some is None else some:
            if not isinstance(callback, AbstractCallback):
                continue
            try:
                tell(callback)
            except Exception as error:
                self._callbacks.remove(callback)
                told = f"{type(callback).__name__} fails ({type(error).__name__}: {error}) and is told nothing more"
                say(told)


class TensorBoard(AbstractCallback):
    """Writes the figures of every epoch to a folder, over the seeds as `metrics.jsonl` has them: `tensorboard --logdir
    FOLDER` shows them. A training that goes on hides what it had written of later epochs.

    Needs the package tensorboardX: `pip install 'direp[track]'`.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self._writer = _package("tensorboardX").SummaryWriter

    def begin(self, plan: Plan, epoch: int) -> None:
        self._open = self._writer(str(self.folder), purge_step=epoch + 1 if epoch else None)

    def epoch(self, number: int, figures: Mapping[str, np.ndarray]) -> None:
        for name, value in _finite(figures).items():
            self._open.add_scalar(name, value, number)
        self._open.flush()

    def end(self, status: str) -> None:
        self._open.close()


class MLflow(AbstractCallback):
    """Logs a training as a run of MLflow: what it was asked for as parameters, the figures of every epoch as metrics.
    Where to is MLflow's own choice (`MLFLOW_TRACKING_URI`), or `uri`.

    Needs the package mlflow-skinny or mlflow: `pip install 'direp[track]'`.
    """

    def __init__(self, experiment: str = "direp", *, name: str | None = None, uri: str | None = None):
        self.experiment, self.name, self.uri = experiment, name, uri
        self._mlflow = _package("mlflow")

    def begin(self, plan: Plan, epoch: int) -> None:
        if self.uri is not None:
            self._mlflow.set_tracking_uri(self.uri)
        self._mlflow.set_experiment(self.experiment)
        self._mlflow.start_run(run_name=self.name)
        told = {name: str(value)[:500] for name, value in flattened(description_of(plan)).items()}
        self._mlflow.log_params({**told, "begins_after_epoch": epoch})

    def epoch(self, number: int, figures: Mapping[str, np.ndarray]) -> None:
        self._mlflow.log_metrics(_finite(figures), step=number)

    def end(self, status: str) -> None:
        self._mlflow.end_run({"failed": "FAILED", "error": "FAILED", "interrupted": "KILLED"}.get(status, "FINISHED"))


def flattened(tree: Any, lead: str = "") -> dict[str, Any]:
    """The leaves of nested mappings, by their paths with dots."""
    if not isinstance(tree, Mapping):
        return {lead: tree}
    found: dict[str, Any] = {}
    for name, value in tree.items():
        found |= flattened(value, f"{lead}.{name}" if lead else str(name))
    return found


def _finite(figures: Mapping[str, np.ndarray]) -> dict[str, float]:
    return {name: value for name, value in summarise(dict(figures)).items() if np.isfinite(value)}


def _package(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        raise ValueError(f"{name} is not installed: pip install 'direp[track]'") from None
