"""Scikit-learn's own checks of estimators. The same with default settings: tests/campaigns/estimators.py."""

import inspect

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from direp import DirectedEPClassifier, DirectedEPRegressor

SMALL = {"hidden_layer_sizes": (8,), "max_iter": 100, "learning_rate_init": 0.03}
STRICT = {"xfail_strict": True} if "xfail_strict" in inspect.signature(parametrize_with_checks).parameters else {}


@pytest.mark.usefixtures("_optax", "_unchecked")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks([DirectedEPClassifier(**SMALL), DirectedEPRegressor(**SMALL)], **STRICT)
def test_scikit_learn(estimator, check):
    check(estimator)
