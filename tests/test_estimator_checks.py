"""Scikit-learn's own checks: all of the classifier's, and of the regressor's those that it does not share.
All checks of both, with default settings: tests/campaigns/estimators.py."""

import inspect

import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

from direp import DirectedEPClassifier, DirectedEPRegressor

SMALL = {"hidden_layer_sizes": (8,), "max_iter": 100, "learning_rate_init": 0.03}
STRICT = {"xfail_strict": True} if "xfail_strict" in inspect.signature(parametrize_with_checks).parameters else {}


def name(check):
    return getattr(check, "func", check).__name__


SHARED = {name(check) for _, check in estimator_checks_generator(DirectedEPClassifier(**SMALL))}
OWN = [pair for pair in estimator_checks_generator(DirectedEPRegressor(**SMALL)) if name(pair[1]) not in SHARED]


@pytest.mark.usefixtures("_optax", "_unchecked")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks([DirectedEPClassifier(**SMALL)], **STRICT)
def test_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.usefixtures("_optax", "_unchecked")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(("estimator", "check"), OWN, ids=[name(check) for _, check in OWN])
def test_scikit_learn_of_regressors(estimator, check):
    check(estimator)
