"""What the classifier and the regressor share: parameters, the training, its state."""

import dataclasses
import warnings
from abc import ABC, abstractmethod
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ClassVar, cast

import jax
import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, check_non_negative, validate_data

from ..certificates import CASCADE, certify
from ..program import Parts, Settings, WrongUse, certificates_of, check, reach_of
from ..rules import nudges_of
from ..tasks import Inputs, Preparation, Samples, Targets, Task
from ..training import Prediction, Run, fit, predict
from . import folder
from .state import (
    FREE,
    NAMED,
    OWN,
    as_parameters,
    fitted,
    hold,
    keep_signs,
    named_here,
    on_device,
    on_host,
    plain,
    room,
    signs_of,
    usual,
)
from .watch import CallbackSupportMixin, Watch, wants_networks


class DirectedEP(CallbackSupportMixin, BaseEstimator, ABC):
    """A network that settles and learns by a local rule, as scikit-learn knows estimators."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        **{name: [str] for name in NAMED},
        "leak": [Interval(Real, 0, None, closed="left")],
        "beta": [Interval(Real, None, None, closed="neither")],
        "certified": ["boolean"],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), None],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "settings": [dict, None],
    }

    # Parameters, which scikit-learn finds in the constructor of each estimator,
    hidden_layer_sizes: Any
    scale: str
    certified: bool
    alpha: float
    batch_size: Any
    learning_rate_init: float
    max_iter: int
    tol: float
    n_iter_no_change: Any
    early_stopping: bool
    validation_fraction: float
    warm_start: bool
    random_state: Any
    verbose: Any
    settings: Any
    # and what is fitted, on the host.
    network_: Any
    certificate_: Any
    preparation_: Preparation
    loss_curve_: list[float]
    validation_scores_: list[float] | None
    n_iter_: int
    n_outputs_: int
    n_features_in_: int
    feature_names_in_: np.ndarray
    settle_failures_: int
    _seed: int
    _state: Any
    _rule: Any
    _how: dict[str, Any]
    _made: Settings
    _stands: Any
    _signs: np.ndarray

    @abstractmethod
    def _targets(self, y: Any, first: bool, classes: Any) -> tuple[np.ndarray, np.ndarray | None]:
        """Targets, checked, and what a split of them keeps even, if anything."""

    @abstractmethod
    def _meaning(self, y: np.ndarray, reach: tuple[float, float], weight: np.ndarray | None) -> Targets:
        """What outputs are to mean."""

    @abstractmethod
    def _weights(self, y: np.ndarray, weight: np.ndarray | None, first: bool) -> np.ndarray | None:
        """How much each sample counts, classes included."""

    @abstractmethod
    def _score_of(self, validation: Samples) -> Any:
        """From the figures of an epoch to the score of the validation part."""

    def _fit(self, X: Any, y: Any, sample_weight: Any, *, partial: bool = False, classes: Any = None) -> Any:
        self._validate_params()
        if partial and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        going_on = (partial or self.warm_start) and hasattr(self, "network_")
        X, y = validate_data(
            self, X, y, reset=not going_on, multi_output=True, dtype=(np.float64, np.float32),
            **self._checks_of_targets(),
        )  # fmt: skip
        precision = str(self.network_.dtype) if going_on else str(X.dtype)
        X = X.astype(float)
        y, even = self._targets(y, not going_on, classes)
        weight = None if sample_weight is None else _check_sample_weight(sample_weight, X, dtype=np.float64)
        if weight is not None:
            check_non_negative(weight, "sample_weight")
            if not weight.any():
                raise ValueError("Sample weights must contain at least one non-zero number.")
        weight = self._weights(y, weight, not partial)
        random = check_random_state(self.random_state)
        seed = self._seed if partial and going_on else int(random.randint(np.iinfo(np.int32).max))
        everything = slice(None)
        training, validating = everything, slice(0, 0)
        if self.early_stopping:
            training, validating = self._split(len(X), even, random)
        counted = None if weight is None else weight[training]
        settings = self._settings(precision, seed, len(X[training]))
        with jax.enable_x64(precision == "float64"):
            self._learn(
                settings, Samples(X[training], y[training]), Samples(X[validating], y[validating]), counted,
                partial, going_on,
            )  # fmt: skip
        self._seed = seed
        return self

    def _unit_of_loss(self, task: Task) -> float:
        return 1.0

    def _checks_of_targets(self) -> dict[str, Any]:
        return {}

    def _split(self, samples: int, even: np.ndarray | None, random: Any) -> tuple[np.ndarray, np.ndarray]:
        parts = train_test_split(
            np.arange(samples), test_size=self.validation_fraction, random_state=random, stratify=even
        )
        if len(parts[1]) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        return np.asarray(parts[0]), np.asarray(parts[1])

    def _settings(self, precision: str, seed: int, samples: int) -> Settings:
        """The program's settings that the parameters stand for. Raises `ValueError` for those that cannot be."""
        hidden = np.atleast_1d(np.asarray(self.hidden_layer_sizes, object)).tolist()
        if not all(isinstance(units, int | np.integer) and units > 0 for units in hidden):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {self.hidden_layer_sizes}.")
        for name in NAMED:
            check(name, getattr(self, name), name)
        if self.batch_size != "auto" and self.batch_size > samples:
            warnings.warn("Got `batch_size` larger than sample size. It is going to be clipped.", stacklevel=5)
        base = usual(self.certified) | {"task": "data.npz"}
        own = {name: getattr(self, name) for name in (*NAMED, "leak", "beta")}
        own |= {
            "hidden": tuple(map(int, hidden)), "learning_rate": self.learning_rate_init, "decay": self.alpha,
            "epochs": int(self.max_iter), "keep": "best" if self.early_stopping else "last",
            "batch_size": min(200 if self.batch_size == "auto" else int(self.batch_size), samples),
            "seeds": str(seed), "precision": precision,
        }  # fmt: skip
        given = dict(self.settings or {})
        for name in given:
            if name in OWN:
                raise ValueError(f"settings: {name!r} is the parameter {OWN[name]!r} of {type(self).__name__}")
            if name in FREE.split():
                raise ValueError(f"settings: {name!r} is a setting of the program alone")
        if given.get("margin", 0) is None and self.certified:
            raise ValueError("settings: margin None trains without a certificate, and certified=True asks for one")
        try:
            made = Settings.from_dict({**base, **{k: plain(v) for k, v in {**own, **given}.items()}})
            made.check()
        except WrongUse as error:
            raise ValueError(named_here(str(error))) from None
        return made

    def _learn(
        self, settings: Settings, train: Samples, validation: Samples, weight: np.ndarray | None, partial: bool,
        going_on: bool,
    ) -> None:  # fmt: skip
        if not going_on:
            inputs = self._inputs(train.x, weight)
            preparation = Preparation(inputs, self._meaning(train.y, reach_of(settings), weight))
        else:
            preparation = self.preparation_
        x, y = preparation.inputs.encode(train.x), preparation.targets.encode(train.y)
        none = Samples(x[:0], y[:0])
        parts = [Samples(x, y), none, none]
        if len(validation.x):
            parts[1] = Samples(preparation.inputs.encode(validation.x), preparation.targets.encode(validation.y))
        weight = np.ones(len(train.x)) if weight is None else weight
        kind, shown = preparation.targets.kind, tuple(map(str, preparation.targets.classes))
        task = Task("data", *parts, kind=kind, classes=shown, preparation=preparation, weight=weight)
        try:
            made = Parts(settings, task)
            arguments = made.fit() | {"room": room(len(train.x)), "evaluate": False}
        except WrongUse as error:
            raise ValueError(named_here(str(error))) from None
        if going_on:
            arguments |= {"network": [on_device(self.network_)], "rule": self._rule}
        # A synapse that has fallen to zero since the first fit keeps its sign.
        self._signs = signs_of(arguments["network"][0], self._signs if going_on else None)
        arguments["constraints"] = keep_signs(arguments["constraints"], self._signs)
        if self.certified and not going_on:
            plainly = dataclasses.replace(settings, seeds="0", epochs=1, batch_size=None, learning_rate=1.0, decay=0.0)
            hold(plainly, task.inputs, task.outputs)
        state = on_device(self._state) if partial and going_on and self._state is not None else None
        watch = self._watch(made, task, partial, train)
        run = self._run(task, arguments, state, watch, partial)
        self._keep(run, made, preparation, watch, going_on)
        self._tell(run, watch, task)

    def _inputs(self, x: np.ndarray, weight: np.ndarray | None) -> Inputs:
        inputs = Inputs.fit(x, self.scale, weight=weight)
        if self.scale == "none" and (largest := np.abs(x).max()) >= 1e3:
            warnings.warn(
                f"X has a feature of size {largest:.3g}, and scale='none' leaves it as it is: units saturate. Use "
                "scale='standard', or scale X",
                stacklevel=6,
            )
        names = getattr(self, "feature_names_in_", None)
        if names is None:
            return inputs
        columns = tuple(
            dataclasses.replace(column, name=str(name)) for column, name in zip(inputs.columns, names, strict=True)
        )
        return dataclasses.replace(inputs, columns=columns, named=True)

    def _watch(self, made: Parts, task: Task, partial: bool, train: Samples) -> Watch:
        patience = np.inf if partial or self.n_iter_no_change is None else self.n_iter_no_change
        if made.settings.schedule != "constant":  # it is made for max_iter epochs
            patience = np.inf
        count = int(np.count_nonzero(np.asarray(task.weight)))
        phases = count * (1 + sum(len(nudge.strengths) for nudge in nudges_of(made.rule)))
        score = self._score_of(task.validation) if len(task.validation.x) else None
        unit = self._unit_of_loss(task)
        call: Any = None
        context = getattr(self, "_callback_fit_ctx", None)
        if context is not None and getattr(self, "_skl_callbacks", None):
            told = {"estimator": self, "X": train.x, "y": train.y, "metadata": {"sample_weight": task.weight}}

            def tell(number: int) -> bool:
                within = context.subcontext(task_name="epoch")
                within.call_on_fit_task_begin(**told)
                return within.call_on_fit_task_end(**told, reconstruction_attributes=self._as_it_stands)

            call = tell

        return Watch(score, unit, self.tol, patience, phases, bool(self.verbose), call)

    def _run(self, task: Task, arguments: dict[str, Any], state: Any, watch: Watch, partial: bool) -> Run:
        if partial:
            return fit(task=task, **{**arguments, "epochs": 1}, state=state, callbacks=[watch])
        if not wants_networks(getattr(self, "_skl_callbacks", [])):
            return fit(task=task, **arguments, state=state, callbacks=[watch])
        for number in range(1, arguments["epochs"] + 1):
            run = fit(task=task, **{**arguments, "epochs": 1}, state=state)
            state, self._stands = run.state, (run, task.preparation)
            if watch(number, {name: values[0] for name, values in run.history.items()}) or run.status != "done":
                break
        del self._stands
        return run

    def _as_it_stands(self) -> dict[str, Any]:
        run, preparation = self._stands
        return {**fitted(run), "preparation_": preparation}

    def _keep(self, run: Run, made: Parts, preparation: Preparation, watch: Watch, going_on: bool) -> None:
        before = going_on and hasattr(self, "loss_curve_")
        for name, value in fitted(run).items():
            setattr(self, name, value)
        self.preparation_, self.certificate_ = preparation, certificates_of(run, made)[0]
        self._state, self._rule, self._made = on_host(run.state), on_host(run.rule), made.settings
        self.n_iter_ = len(watch.loss)
        self.loss_curve_ = [*(self.loss_curve_ if before else []), *watch.loss]
        scores = [*((self.validation_scores_ or []) if before else []), *watch.scores]
        self.validation_scores_ = scores if self.early_stopping else None
        self.settle_failures_ = sum(watch.unsettled)
        self.n_outputs_ = self.network_.graph.outputs

    def _tell(self, run: Run, watch: Watch, task: Task) -> None:
        """Warn of what a training has missed, with what to change."""
        last = watch.unsettled[-1] if watch.unsettled else 0
        remedy = "keep certified=True" if not self.certified else "raise settings={'max_steps': ...}"
        for missed, message in (
            (run.status == "interrupted", "Training interrupted by user."),
            (run.failed[0] and last,
             f"No sample settled, and training stopped: {remedy}, or lower learning_rate_init."),
            (run.failed[0] and not last,
             "Training diverged and stopped with its last good weights: lower learning_rate_init, scale X, or keep "
             "certified=True."),
            (last and not run.failed[0], f"{last} phases of {len(task.train.x)} samples did not settle in the last "
             f"epoch: {remedy}, lower learning_rate_init, or raise leak."),
            (run.status == "done" and not watch.flat and watch.waits,
             f"Maximum iterations ({self.max_iter}) reached and the optimization hasn't converged yet: the "
             f"{'validation score' if self.early_stopping else 'loss'} still changes by more than tol={self.tol:g} "
             f"within {self.n_iter_no_change} epochs. Raise max_iter, learning_rate_init or tol."),
        ):  # fmt: skip
            if missed:
                warnings.warn(message, ConvergenceWarning, stacklevel=6)

    def to_folder(self, path: str | Path, X: Any = None, y: Any = None) -> None:
        """Write a run folder, for `direp certify`, `direp gradient` and `direp predict`.

        Parameters
        ----------
        path : path-like
            A new folder.
        X, y : array-like, default=None
            Samples that the folder keeps, on which `direp gradient` compares rules; it scales the targets of a
            regression anew. Without them the folder holds the network alone.
        """
        check_is_fitted(self)
        data = None
        if X is not None:
            X = validate_data(self, X, reset=False, dtype=np.float64)
            data = X, self._targets(np.asarray(y), False, None)[0]
        with jax.enable_x64(self.network_.dtype == np.float64):
            network, rule = on_device(self.network_), on_device(self._rule)
            folder.write(
                Path(path), self._made, network, rule, self.preparation_, self.certificate_, data, self.n_iter_
            )

    @classmethod
    def from_folder(cls, path: str | Path, *, allow_import: bool = False) -> Any:
        """The estimator of a run folder, fitted: that of `to_folder`, or of `direp train` on numbers.

        Parameters
        ----------
        path : path-like
            The folder.
        allow_import : bool, default=False
            Import the modules of a user's own parts that the run names.

        Returns
        -------
        estimator
            It predicts, and goes on with `partial_fit`, whose moments begin anew; first set `early_stopping=False`
            where the run kept its best epoch.
        """
        run, place = folder.read(path, allow_import)
        settings, kept = run.settings, cast(Preparation, run.preparation)
        with jax.enable_x64(settings.precision == "float64"):
            made = cls(**as_parameters(settings))
            arguments = run.parts.fit()
            how = {name: arguments[name] for name in ("cost", "method", "stop")}
            network, rule = run.networks[place], run.rules[place]
            phases = run.parts.phases.of(rule, network)
            criteria: Any = {} if run.parts.control is None else {"criteria": (run.parts.control.criterion, *CASCADE)}
            made.certificate_ = certify(network, rule=phases, cost=run.parts.cost, starts=0, **criteria)
        made.network_, made._how, made._rule, made._state = *map(on_host, (network, how, rule)), None
        made._signs = signs_of(network, signs_of(run.parts.networks[place]))
        made.preparation_, made._made, made._seed = kept, settings, run.parts.seeds[place]
        made.n_features_in_, made.n_outputs_ = network.graph.inputs, network.graph.outputs
        if kept.inputs.named:
            made.feature_names_in_ = np.array(kept.inputs.names, object)
        made.n_iter_, made.loss_curve_, made.validation_scores_, made.settle_failures_ = 0, [], None, 0
        made._understand(kept.targets)
        return made

    @abstractmethod
    def _understand(self, targets: Targets) -> None:
        """Set what is fitted from what outputs mean. Raises `ValueError` for those of another kind of estimator."""

    def _predicted(self, X: Any) -> Prediction:
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=(np.float64, np.float32))
        with jax.enable_x64(self.network_.dtype == np.float64):
            found = predict(on_device(self.network_), X, self.preparation_, **on_device(self._how))
        if not found.settled.all():
            warnings.warn(
                f"{(~found.settled).sum()} of {len(X)} rows did not settle; their predictions are where they came to "
                "stand. Train with certified=True, or raise settings={'max_steps': ...}",
                ConvergenceWarning,
                stacklevel=3,
            )
        return found
