"""What a training returns."""

import html
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..certificates.convergence import html_table
from ..model import Network
from ..rules import AbstractRule, RuleRun, nudges_of
from ..settling import ContractionProof
from ..tasks import Task
from .metrics import Evaluation
from .prediction import Prediction, predict
from .step import Trainer, TrainState


@dataclass(repr=False)
class Run:
    """The outcome of `fit`, for one seed or many.

    - `networks`: the trained network of every seed (best epoch by validation); `network` is the first.
    - `history`: figures of every epoch, each an array (epochs x seeds), named as in `Metrics`.
    - `train`, `validation`, `test`: how the chosen networks do, an array a figure.
    - `best_epoch`, `failed`: for every seed; `failed` seeds diverged, or no sample of an epoch settled and was moved by
      the nudge, and hold their last good state.
    - `status`: `"done"`, `"stopped"` (by a callback), `"failed"` (every seed did) or `"interrupted"`.
    - `trainer`: how it was trained; `rules`: the rule of every seed with what it has learned itself, `rule` the first.
    - `assumptions`: what its guarantee or its control covers of this run, and what it does not.
    - `state`: where it stands, from which `fit(state=...)` goes on. `phases`: what its rule runs, for certificates.
    """

    task: Task
    seeds: tuple[int, ...]
    networks: list[Network]
    history: dict[str, np.ndarray]
    train: Evaluation
    validation: Evaluation
    test: Evaluation
    best_epoch: np.ndarray
    failed: np.ndarray
    status: str
    trainer: Trainer
    rules: list[AbstractRule]
    assumptions: tuple[str, ...] = ()
    state: TrainState | None = None
    phases: RuleRun | None = None

    @property
    def network(self) -> Network:
        return self.networks[0]

    @property
    def rule(self) -> AbstractRule:
        return self.rules[0]

    def __repr__(self) -> str:
        many = f"{len(self.seeds)} seed{'s' if len(self.seeds) > 1 else ''}"
        solved = "" if self.solved is None else f", {self.solved.sum()} solved"
        failed = f", {self.failed.sum()} failed" if self.failed.any() else ""
        right = self.test.accuracy.mean()
        shown = f"test loss {self.test.loss.mean():.3g}" + ("" if np.isnan(right) else f", accuracy {right:.1%}")
        epochs = len(self.history.get("loss", ()))
        return f"Run({self.task.name}, {many}{solved}{failed}: {self.status} after {epochs} epochs, {shown})"

    def _repr_html_(self) -> str:
        """For notebooks: means over the seeds, a line a part of the task."""
        parts = {"all samples": self.test} if self.task.whole else {
            "training": self.train, "validation": self.validation, "test": self.test
        }  # fmt: skip
        lines = {}
        for name, part in parts.items():
            right = part.accuracy.mean()
            lines[name] = f"loss {part.loss.mean():.4g}" + ("" if np.isnan(right) else f", accuracy {right:.2%}")
            lines[name] += f", {part.unconverged.sum()} unsettled"
        lines |= {"assumptions": self.assumptions} if self.assumptions else {}
        lines |= {"left out": f"{self.unmoved}: raise beta, or use 64 bits"} if self.unmoved else {}
        return f"<p><b>{html.escape(repr(self))}</b></p>{html_table(lines)}"

    def plot(self, ax: Any = None) -> Any:
        """Its learning curves; see `direp.plot.learning_curve`. Returns the axes."""
        from ..plot import learning_curve  # which loads matplotlib

        return learning_curve(self, ax)

    def predict(self, table: Any, seed: int | None = None, certificate: ContractionProof | None = None) -> Prediction:
        """What the network of a seed (by default the best one on validation samples) says of new rows, which are as the
        data of the task was before it was scaled; see [`predict`][direp.predict]."""
        place = self.best if seed is None else self.seeds.index(seed)
        how = {"cost": self.trainer.cost, "method": self.trainer.method, "stop": self.trainer.stop}
        return predict(self.networks[place], table, self.task.preparation, certificate=certificate, **how)

    @property
    def best(self) -> int:
        """The place of the seed that does best on validation samples: by accuracy, then loss; failed ones last."""
        right = np.nan_to_num(np.asarray(self.validation.accuracy, float))
        return min(range(len(self.seeds)), key=lambda k: (self.failed[k], -right[k], self.validation.loss[k], k))

    @property
    def unmoved(self) -> str | None:
        """Which share of the samples of the last epoch had no part in it, as the nudge did not move them; `None`: all
        were moved."""
        share = float(self.history["unmoved"][-1].mean()) if self.history else 0.0
        if not share:
            return None
        strengths = [abs(float(np.asarray(b))) for n in nudges_of(self.trainer.rule) for b in n.strengths]
        nudge = f"a nudge of {min(strengths):.3g}" if strengths else "its nudge"
        shown = f"{share:.0%}".replace("%", " %") if share >= 0.01 else "less than 1 %"
        return f"left out {shown} of samples in the last epoch: {nudge} does not move them in {self.network.dtype}"

    @property
    def solved(self) -> np.ndarray | None:
        """For every seed, whether the task counts as solved; `None` if it has no such notion."""
        if self.task.solved is None:
            return None
        return self.task.solved(np.asarray(self.test.loss), np.asarray(self.test.accuracy)) & ~self.failed
