"""The regressor: numbers, scaled into what outputs can reach."""

import numpy as np
from sklearn.base import MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import column_or_1d

from ..tasks import Samples, Targets
from .base import DirectedEP
from .watch import with_callbacks


class DirectedEPRegressor(RegressorMixin, MultiOutputMixin, DirectedEP):
    """A regressor: one output unit a target, which is scaled into what outputs can reach.

    A network with bounded outputs predicts nothing far beyond the targets that it was trained on.

    Parameters
    ----------
    hidden_layer_sizes, graph, neuron, activation, outflow, leak, rule, feedback, beta, certified, batch_size,\
    learning_rate_init, max_iter, tol, n_iter_no_change, early_stopping, validation_fraction, scale, warm_start,\
    random_state, verbose, settings
        As in `DirectedEPClassifier`.
    alpha : float, default=0.3
        Weight decay, as there.

    Attributes
    ----------
    network_, certificate_, n_iter_, settle_failures_, preparation_, n_features_in_, feature_names_in_, n_outputs_
        As there.
    loss_curve_ : list of float
        Mean cost of every epoch, in units in which that of the mean target is 1/2.
    validation_scores_ : list of float or None
        The share of the variance of all targets, as scaled, that is explained.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from direp import DirectedEPRegressor
    >>> x, y = load_diabetes(return_X_y=True)
    >>> bool(DirectedEPRegressor(random_state=0).fit(x, y).score(x, y) > 0.5)
    True
    """

    def __init__(
        self, hidden_layer_sizes=(100,), *, graph="layered", neuron="projected", activation="hard-sigmoid",
        outflow="none", leak=1.0, rule="local", feedback="shared", beta=2.0, certified=True, alpha=0.3,
        batch_size="auto", learning_rate_init=0.01, max_iter=200, tol=1e-4, n_iter_no_change=10,
        early_stopping=False, validation_fraction=0.1, scale="standard", warm_start=False, random_state=None,
        verbose=False, settings=None,
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
        self.scale = scale
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose
        self.settings = settings

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

    def partial_fit(self, X, y, sample_weight=None):
        """Train for one epoch more, from where the last call stood; the first one sets the scales.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.

        Returns
        -------
        self
        """
        return self._fit(X, y, sample_weight, partial=True)

    def predict(self, X):
        """The value of every row, or of every target of it."""
        found = self._predicted(X).value
        return found.reshape(len(found), -1) if self._table else found

    def _checks_of_targets(self):
        return {"y_numeric": True}

    def _targets(self, y, first, classes):
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if first:
            self._table = y.ndim == 2
        elif (y.ndim == 2) != self._table or (self._table and y.shape[1] != self.n_outputs_):
            raise ValueError("y has another number of targets than before")
        return y.astype(float), None

    def _weights(self, y, weight, first):
        return weight

    def _meaning(self, y, reach, weight):
        return Targets.regression(y.reshape(len(y), -1), reach, weight=weight)

    def _score_of(self, validation: Samples):
        alone = _alone(validation.y, None)
        return lambda row: 1 - float(row["validation_loss"][0]) / alone

    def _unit_of_loss(self, task):
        return 2 * _alone(task.train.y, task.weight)

    def _understand(self, targets):
        if targets.kind != "regression":
            raise ValueError("the run is of classes: use DirectedEPClassifier.from_folder")
        self._table = self.n_outputs_ > 1


def _alone(y: np.ndarray, weight: np.ndarray | None) -> float:
    """The loss of the mean."""
    centre = np.average(y, 0, weight)
    return float(0.5 * np.average(np.square(y - centre).sum(1), 0, weight)) or 0.5
