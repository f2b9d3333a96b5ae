"""What looks on while an estimator trains: when to stop, what to print, whom to call."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from ..training import STOP

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks  # pyright: ignore
except ImportError:  # before scikit-learn 1.9

    class CallbackSupportMixin:  # pyright: ignore
        """Stands where this version of scikit-learn has no callbacks."""

        def _init_callback_context(self, **_: Any) -> None:
            return

    def with_callbacks(method: Callable) -> Callable:
        return method


class Watch:
    """Called after every epoch with its figures; keeps curves, and ends the training once these are flat.

    - `loss`, `scores`: of every epoch; scores are of the validation part, if there is one.
    - `flat`: whether they stopped rising (the loss: falling) by more than `tol` for `patience` epochs.
    - `waits`: whether it stops for that.
    - `unsettled`: phases of samples that did not settle, in each epoch.
    """

    def __init__(
        self,
        score: Callable[[dict[str, np.ndarray]], float] | None,
        unit: float,
        tol: float,
        patience: float,
        phases: int,
        verbose: bool = False,
        call: Callable[[int], bool] | None = None,
    ):
        self._score, self._unit, self._tol, self._patience, self._phases = score, unit, tol, patience, phases
        self._verbose, self._call = verbose, call
        self.loss: list[float] = []
        self.scores: list[float] = []
        self.unsettled: list[int] = []
        self.flat = self.asked = False
        self._best, self._waited = -np.inf, 0
        self.waits = np.isfinite(patience)

    def __call__(self, number: int, row: dict[str, np.ndarray]) -> Any:
        self.loss.append(float(row["loss"][0]) / self._unit)
        self.unsettled.append(round(float(row["unsettled"][0]) * self._phases))
        now = -self.loss[-1]
        if self._verbose:
            print(f"Iteration {number}, loss = {self.loss[-1]:.8f}")
        if self._score is not None:
            now = self._score(row)
            self.scores.append(now)
            if self._verbose:
                print(f"Validation score: {now:f}")
        self._waited = 0 if now >= self._best + self._tol else self._waited + 1
        self._best = max(self._best, now)
        self.flat = self.flat or self._waited > self._patience
        self.asked = (self._call is not None and self._call(number)) or self.asked
        return STOP if self.flat or self.asked else None


def wants_networks(callbacks: list[Any]) -> bool:
    """Whether some callback of scikit-learn asks for the estimator as it stands after each epoch."""
    hooks = [getattr(callback, name) for callback in callbacks for name in ("on_fit_task_begin", "on_fit_task_end")]
    return any("fitted_estimator" in inspect.signature(hook).parameters for hook in hooks)
