"""What the classifier and the regressor share: parameters, the training, its state."""

import dataclasses
import re
import warnings
from abc import ABC, abstractmethod
from numbers import Integral, Real
from typing import Any, ClassVar

import jax
import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, check_non_negative, validate_data

from ..certificates import certify
from ..program import Parts, Settings, WrongUse, certificates_of, check, preset
from ..rules import companions, initialise, parameters_of, with_companions, with_parameters
from ..tasks import Inputs, Preparation, Samples, Targets, Task
from ..training import Prediction, Run, fit, predict
from .watch import CallbackSupportMixin, Watch, wants_networks

_NAMED = ("graph", "neuron", "activation", "outflow", "rule", "feedback", "scale")
_OWN = {  # settings that are parameters here, by the names that these have
    "hidden": "hidden_layer_sizes", "learning_rate": "learning_rate_init", "epochs": "max_iter", "decay": "alpha",
    "seeds": "random_state", "keep": "early_stopping",
    **{name: name for name in (*_NAMED, "leak", "beta", "batch_size")},
}  # fmt: skip
_FREE = "data_dir task split device precision shift"  # settings without a meaning here


class DirectedEP(CallbackSupportMixin, BaseEstimator, ABC):
    """A network that settles and learns by a local rule, as scikit-learn knows estimators."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        **{name: [str] for name in _NAMED},
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
    _defaults: ClassVar[dict[str, Any]] = {}

    network_: Any
    preparation_: Preparation

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
        return parts[0], parts[1]

    def _settings(self, precision: str, seed: int, samples: int) -> Settings:
        """The program's settings that the parameters stand for. Raises `ValueError` for those that cannot be."""
        hidden = np.atleast_1d(np.asarray(self.hidden_layer_sizes, object)).tolist()
        if not all(isinstance(units, Integral) and units > 0 for units in hidden):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {self.hidden_layer_sizes}.")
        for name in _NAMED:
            check(name, getattr(self, name), name)
        if self.batch_size != "auto" and self.batch_size > samples:
            warnings.warn("Got `batch_size` larger than sample size. It is going to be clipped.", stacklevel=5)
        base = {name: value for name, value in dataclasses.asdict(preset("data.npz")).items() if name != "task"}
        base |= {"tolerance": 1e-5, "schedule": "constant", "margin": 0.1 if self.certified else None} | self._defaults
        own = {name: getattr(self, name) for name in (*_NAMED, "leak", "beta")}
        own |= {
            "hidden": tuple(map(int, hidden)), "learning_rate": self.learning_rate_init, "decay": self.alpha,
            "epochs": int(self.max_iter), "keep": "best" if self.early_stopping else "last",
            "batch_size": min(200 if self.batch_size == "auto" else int(self.batch_size), samples),
            "seeds": str(seed), "precision": precision,
        }  # fmt: skip
        given = dict(self.settings or {})
        for name in given:
            if name in _OWN:
                raise ValueError(f"settings: {name!r} is the parameter {_OWN[name]!r} of {type(self).__name__}")
            if name in _FREE.split():
                raise ValueError(f"settings: {name!r} is a setting of the program alone")
        if given.get("margin", 0) is None and self.certified:
            raise ValueError("settings: margin None trains without a certificate, and certified=True asks for one")
        try:
            made = Settings.from_dict({**base, **{k: _plain(v) for k, v in {**own, **given}.items()}})
            made.check()
        except WrongUse as error:
            raise ValueError(_named_here(str(error))) from None
        return made

    def _learn(
        self, settings: Settings, train: Samples, validation: Samples, weight: np.ndarray | None, partial: bool,
        going_on: bool,
    ) -> None:  # fmt: skip
        if not going_on:
            inputs = self._inputs(train.x, weight)
            none = Samples(train.x[:0], np.zeros((0, 1)))
            raw = Task("data", Samples(train.x, np.zeros((len(train.x), 1))), none, none, kind="regression")
            preparation = Preparation(inputs, self._meaning(train.y, _reach(Parts(settings, raw), settings), weight))
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
            arguments = made.fit() | {"room": _room(len(train.x)), "evaluate": False}
        except WrongUse as error:
            raise ValueError(_named_here(str(error))) from None
        if going_on:
            arguments |= {"network": [_on_device(self.network_)], "rule": self._rule}
        elif self.certified:
            _hold(made)
        state = _on_device(self._state) if partial and going_on else None
        watch = self._watch(made, task, partial, train)
        run = self._run(task, arguments, state, watch, partial)
        self._keep(run, made, preparation, watch, going_on)
        if not partial:
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
        phases = len(train.x) * (1 + sum(map(len, (n.strengths for n in made.phases.nudges))))
        score = self._score_of(task.validation) if len(task.validation.x) else None
        unit = self._unit_of_loss(task)
        call = None
        context = getattr(self, "_callback_fit_ctx", None)
        if context is not None and getattr(self, "_skl_callbacks", None):
            told = {"estimator": self, "X": train.x, "y": train.y, "metadata": {"sample_weight": task.weight}}

            def call(number: int) -> bool:
                within = context.subcontext(task_name="epoch")
                within.call_on_fit_task_begin(**told)
                return within.call_on_fit_task_end(**told, reconstruction_attributes=self._as_it_stands)

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
        return {**_fitted(run), "preparation_": preparation}

    def _keep(self, run: Run, made: Parts, preparation: Preparation, watch: Watch, going_on: bool) -> None:
        before = going_on and hasattr(self, "loss_curve_")
        for name, value in _fitted(run).items():
            setattr(self, name, value)
        self.preparation_, self.certificate_ = preparation, certificates_of(run, made)[0]
        self._state, self._rule, self._made = _on_host(run.state), _on_host(run.rule), made.settings
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
            (run.failed[0], "Training diverged and stopped with its last good weights: lower learning_rate_init, scale "
             "X, or keep certified=True."),
            (last and not run.failed[0], f"{last} phases of {len(task.train.x)} samples did not settle in the last "
             f"epoch: {remedy}, lower learning_rate_init, or raise leak."),
            (run.status == "done" and not watch.flat and watch.waits,
             f"Maximum iterations ({self.max_iter}) reached and the optimization hasn't converged yet: the "
             f"{'validation score' if self.early_stopping else 'loss'} still changes by more than tol={self.tol:g} "
             f"within {self.n_iter_no_change} epochs. Raise max_iter, learning_rate_init or tol."),
        ):  # fmt: skip
            if missed:
                warnings.warn(message, ConvergenceWarning, stacklevel=6)

    def _predicted(self, X: Any) -> Prediction:
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=(np.float64, np.float32))
        with jax.enable_x64(self.network_.dtype == np.float64):
            found = predict(_on_device(self.network_), X, self.preparation_, **_on_device(self._how))
        if not found.settled.all():
            warnings.warn(
                f"{(~found.settled).sum()} of {len(X)} rows did not settle; their predictions are where they came to "
                "stand. Train with certified=True, or raise settings={'max_steps': ...}",
                ConvergenceWarning,
                stacklevel=3,
            )
        return found


def _fitted(run: Run) -> dict[str, Any]:
    """What predictions need, on the host."""
    how = {"cost": run.trainer.cost, "method": run.trainer.method, "stop": run.trainer.stop}
    return {"network_": _on_host(run.network), "_how": _on_host(how)}


def _reach(parts: Parts, settings: Settings) -> tuple[float, float]:
    """What the rates of outputs can reach."""
    neuron = parts.part("neuron")
    if neuron.bounded:
        return neuron.low, neuron.high
    if not neuron.rate.linear:
        return neuron.rate.range
    low, high = neuron.transfer.range
    leak = settings.leak or 1.0
    return low / leak, high / leak


def _hold(parts: Parts) -> None:
    """Raise `ValueError` where the network is not proved to settle as training begins."""
    rule, network, given = initialise(parts.rule, parts.network, jax.random.key(parts.seeds[0])), parts.network, {}
    if parts.control is None:
        network = parts.started()[0]
    else:
        own = parameters_of(rule)
        network, feedback = parts.control.begin_with(network, tuple(node.recurrent for node in companions(own)))
        rule, given = with_parameters(rule, with_companions(own, feedback)), {"criteria": (parts.control.criterion,)}
    found = certify(network, rule=parts.phases.of(rule, network), cost=parts.cost, starts=0, **given)
    if found.verdict != "proved":
        raise ValueError(f"certified=True cannot be held: {found.reason}. Change that, or use certified=False")


def _room(samples: int) -> int:
    """Rows that a table of samples is filled up to, so that data sets of nearby sizes share a program: a multiple of
    16, of an eighth of the size and more."""
    step = max(16, 1 << max((samples - 1).bit_length() - 4, 0))
    return -(-samples // step) * step


def _plain(value: Any) -> Any:
    """A parameter as a file would hold it."""
    value = value.item() if isinstance(value, np.generic) else value
    return list(value) if isinstance(value, tuple | np.ndarray) else value


def _named_here(message: str) -> str:
    """A message of the program with the names that settings have here."""
    plain = re.sub(r"--([a-z][a-z-]*)", lambda found: found[1].replace("-", "_"), message)
    for name, here in _OWN.items():
        plain = re.sub(rf"\b{name}\b(?= )", here, plain, count=1) if plain.startswith(f"{name} ") else plain
    return plain


def _on_host(tree: Any) -> Any:
    """Arrays as NumPy's; random keys by their data."""

    def leaf(value: Any) -> Any:
        if isinstance(value, jax.Array):
            return np.asarray(jax.random.key_data(value) if _is_key(value) else value)
        return value

    return jax.tree.map(leaf, tree)


def _is_key(value: jax.Array) -> bool:
    return jax.numpy.issubdtype(value.dtype, jax.dtypes.prng_key)


def _on_device(tree: Any) -> Any:
    """The way back; arrays of whole numbers without sign are random keys."""

    def leaf(value: Any) -> Any:
        if not isinstance(value, np.ndarray):
            return value
        array = jax.device_put(value)
        return jax.random.wrap_key_data(array) if value.dtype == np.uint32 else array

    return jax.tree.map(leaf, tree)
