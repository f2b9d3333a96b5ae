"""The classifier: labels as outputs, one a class."""

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
    """A classifier: a network of leaky neurons that settles, and learns by a local two-phase rule.

    One output unit for each class (or label); the predicted class is that of the largest output. By default the network
    is proved to settle after every update.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int, default=(100,)
        Units of each hidden layer; for other graphs than layers, one number.
    graph : str, default="layered"
        Which synapses there are, as are the next ones a name of the program's catalogue (`direp train --help` lists
        them) or an import path `module:Name` of your own.
    neuron : str, default="projected"
    activation : str, default="hard-sigmoid"
        For neurons "hopfield" and "rate".
    outflow : str, default="none"
        What a neuron loses by sending.
    leak : float, default=1.0
        Leak of every unit (1/time); certified, the least that is kept.
    rule : str, default="local"
    feedback : str, default="shared"
        For rules that send deviations back ("asym-ep", "dyadic").
    beta : float, default=2.0
        Strength of the nudge.
    certified : bool, default=True
        Keep the network proved to settle, from before the first update to the last. Raises before training where that
        cannot be held.
    alpha : float, default=1.0
        Weight decay: an update takes the share `alpha` times the learning rate from every weight. Unlike that of
        `MLPClassifier` it is no part of the loss, and does not depend on the number of samples.
    batch_size : int or "auto", default="auto"
        Samples an update; "auto" is `min(200, n_samples)`. All samples at once give the same result in any order, and
        weights the same as repetition.
    learning_rate_init : float, default=0.01
        Step size of Adam.
    max_iter : int, default=200
        Epochs at most.
    tol : float, default=1e-4
        Training ends once the loss has not fallen (with early stopping: the validation score not risen) by so much
        for `n_iter_no_change` epochs; small data sets finish up to ten epochs first. Not asked with another schedule
        than a constant one, which is made for `max_iter` epochs.
    n_iter_no_change : int or None, default=10
        `None` trains for `max_iter` epochs.
    early_stopping : bool, default=False
        Set a part aside, stop by its score and keep the best epoch. Its samples count alike, whatever their weights.
    validation_fraction : float, default=0.1
    class_weight : dict, "balanced" or None, default=None
        How much each class counts in training, times `sample_weight`.
    scale : str, default="standard"
        Of inputs, as learned in `fit`: "standard", "global", "range" or "none".
    warm_start : bool, default=False
        Begin `fit` with the network of the last one, and a new optimiser.
    random_state : int, RandomState instance or None, default=None
        Of initial weights, order of samples and validation part.
    verbose : bool, default=False
    settings : dict or None, default=None
        Any other setting of the program, by its name: `{"schedule": "cosine", "max_steps": 1000}`.

    Attributes
    ----------
    network_ : direp.Network
        Its arrays are NumPy's.
    certificate_ : direp.Certificate
        Whether it settles, for all phases of the rule, and by which proof.
    classes_ : ndarray
        The labels; for several labels a sample, their places.
    n_iter_ : int
        Epochs of the last call.
    loss_curve_ : list of float
        Mean cost of every epoch.
    validation_scores_ : list of float or None
    settle_failures_ : int
        Phases of training samples that did not settle, in all epochs of the last call.
    preparation_ : direp.tasks.Preparation
        How rows become inputs, and what outputs mean.
    n_features_in_, feature_names_in_, n_outputs_
        As in scikit-learn.

    See Also
    --------
    DirectedEPRegressor : The same for numbers.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from direp import DirectedEPClassifier
    >>> x, y = load_iris(return_X_y=True)
    >>> model = DirectedEPClassifier(random_state=0).fit(x, y)
    >>> bool(model.score(x, y) > 0.95), model.certificate_.verdict
    (True, 'proved')
    """

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
        """Train on samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), default=None
            How much each sample counts in the mean cost.

        Returns
        -------
        self
        """
        self._init_callback_context(max_subtasks=self.max_iter)
        return self._fit(X, y, sample_weight)

    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Train for one epoch more, from where the last call stood; the first one sets the scales of inputs.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        classes : array-like, default=None
            All labels there are, in the first call.

        Returns
        -------
        self
        """
        return self._fit(X, y, sample_weight, partial=True, classes=classes)

    def predict(self, X):
        """The label of every row; for several labels, rows of 0 and 1."""
        found = self._predicted(X).value
        return found if self._multilabel else self.classes_[np.searchsorted(self.classes_, found)]

    def predict_proba(self, X):
        """The share of each class in the outputs, or the softmax of a cross-entropy; for several labels, each output.

        They are as good as the training was long. For calibrated ones wrap the estimator in `CalibratedClassifierCV`.
        """
        found: Any = self._predicted(X).probability
        if self._multilabel:  # no label is certain: a logarithm of the chances stays finite
            least = np.finfo(found.dtype).eps
            found = np.clip(found, least, 1 - least)
        return found[:, self._order]

    def decision_function(self, X):
        """Outputs as they settle, one a class; for two classes the difference of their shares, for several labels the
        outputs above 1/2."""
        found = self._predicted(X)
        if self._multilabel:
            return found.outputs - 0.5
        if len(self.classes_) == 2:
            chance: Any = found.probability
            first, second = self._order
            return chance[:, second] - chance[:, first]
        return found.outputs[:, self._order]

    def _targets(self, y, first, classes):
        y = y.toarray() if sparse.issparse(y) else np.asarray(y)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        kind = type_of_target(y)
        if kind == "multiclass-multioutput":
            raise ValueError("Multioutput-multiclass targets are not supported: fit one classifier a target")
        multilabel = kind == "multilabel-indicator"
        if first:
            self._multilabel = multilabel
            self.classes_ = np.arange(y.shape[1]) if multilabel else np.unique(y if classes is None else classes)
            self._order = np.arange(len(self.classes_))
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
        labels = np.arange(self.n_outputs_) if self._multilabel else np.array(targets.classes)
        # Scikit-learn's classes are sorted; the outputs of a run need not be.
        self.classes_, self._order = np.sort(labels), np.argsort(labels)
