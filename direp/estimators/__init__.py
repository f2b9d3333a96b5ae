"""Scikit-learn's interface: a classifier and a regressor that train as the program does."""

from .classifier import DirectedEPClassifier
from .regressor import DirectedEPRegressor

__all__ = ["DirectedEPClassifier", "DirectedEPRegressor"]
