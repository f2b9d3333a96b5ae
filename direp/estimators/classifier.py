"""A classifier."""

from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import column_or_1d

from ..tasks import Samples, Targets
from .base import DirectedEP
from .watch import with_callbacks


class DirectedEPClassifier(ClassifierMixin, DirectedEP):
    """A classifier."""

    _parameter_constraints = {  # noqa: RUF012
        **DirectedEP._parameter_constraints, "class_weight": [dict, str, None],
    }  # fmt: skip

    def __init__(
        self, hidden_layer_sizes=(100,), *, graph="layered", neuron="projected", activation="hard-sigmoid",
        outflow="none", leak=1.0, rule="local", feedback="shared", beta=2.0, certified=True, alpha=1.0,
        batch_size="auto", learning_rate_init=0.01, max_iter=200, tol=1e-4, n_iter_no_change=10,
        early_stopping=False, validation_fraction=0.1, class_weight=None, scale="standard", warm_start=False,
        random_state=None, verbose=False, settings=None,
    ):  # fmt: skip
        self.hidden_layer_sizes = hidden_layer_sizes
        self.graph = graph
        self.neuron = neuron
        self.activation = activation
        self.outflow = outflow
        self.leak = leak
        self.rule = rule
        self.feedback = feedback
        self.beta = beta
        self.certified = certified
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.max_iter = max_iter
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.class_weight = class_weight
        self.scale = scale
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose
        self.settings = settings

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    @with_callbacks
    def fit(self, X, y, sample_weight=None):
        """Train."""
        self._init_callback_context(max_subtasks=self.max_iter)
        return self._fit(X, y, sample_weight)

    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """One epoch more."""
        return self._fit(X, y, sample_weight, partial=True, classes=classes)

    def predict(self, X):
        """Labels."""
        outputs = self._predicted(X).outputs
        if self._multilabel:
            return (outputs > 0.5).astype(int)
        return self.classes_[outputs.argmax(1)]

    def predict_proba(self, X):
        """Probabilities."""
        found: Any = self._predicted(X).probability
        if self._multilabel:  # no label is certain: a logarithm of the chances stays finite
            least = np.finfo(found.dtype).eps
            found = np.clip(found, least, 1 - least)
        return found

    def decision_function(self, X):
        """Scores."""
        found = self._predicted(X)
        if self._multilabel:
            return found.outputs - 0.5
        if len(self.classes_) == 2:
            chance: Any = found.probability
            return chance[:, 1] - chance[:, 0]
        return found.outputs

    def _targets(self, y, first, classes):
        y = y.toarray() if sparse.issparse(y) else np.asarray(y)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        kind = type_of_target(y)
        if kind == "multiclass-multioutput":
            raise ValueError("Multioutput-multiclass targets are not supported: fit one classifier a target")
        multilabel = kind == "multilabel-indicator"
        if classes is not None or not first:
            pass
        if first:
            self._multilabel = multilabel
            self.classes_ = np.arange(y.shape[1]) if multilabel else np.unique(y if classes is None else classes)
            if len(self.classes_) < 2:
                raise ValueError(
                    f"{type(self).__name__} needs samples of at least 2 classes in the data, but the data contains "
                    f"only one class: {self.classes_[0]!r}"
                )
        elif classes is not None and not np.array_equal(self.classes_, np.unique(classes)):
            raise ValueError(
                f"`classes={classes!r}` is not the same as on last call to partial_fit, was: {self.classes_!r}"
            )
        if multilabel != self._multilabel or (multilabel and y.shape[1] != len(self.classes_)):
            raise ValueError("y is of another kind than before")
        unknown = [] if multilabel else np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise ValueError(f"y has labels {unknown} that are not in classes_ = {self.classes_}")
        return y, None if multilabel else y

    def _weights(self, y, weight, first):
        if self.class_weight is None:
            return weight
        if self.class_weight == "balanced" and not first:
            raise ValueError("class_weight='balanced' is not supported for partial_fit: give a dict of weights")
        own = compute_sample_weight(self.class_weight, y)
        return own if weight is None else own * weight

    def _meaning(self, y, reach, weight):
        if self._multilabel:
            return Targets("multilabel")
        return Targets("classification", (), tuple(self.classes_.tolist()))

    def _score_of(self, validation: Samples):
        return lambda row: float(row["validation_accuracy"][0])

    def _understand(self, targets):
        if targets.kind == "regression":
            raise ValueError("the run is a regression: use DirectedEPRegressor.from_folder")
        self._multilabel = targets.kind == "multilabel"
        self.classes_ = np.arange(self.n_outputs_) if self._multilabel else np.array(targets.classes)
