"""The estimators beside scikit-learn's: the table and the times of docs/measurements/scikit-learn.md.

python benchmarks/estimators.py table     # default settings, 10-fold cross-validation on six data sets
python benchmarks/estimators.py grid      # 160 fits of a grid search on iris, beside as many of MLPClassifier
python benchmarks/estimators.py choose    # candidates for the defaults, on ten synthetic data sets
"""

import itertools
import json
import sys
import time
import warnings

import numpy as np
from sklearn import datasets
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold, cross_validate
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from direp import DirectedEPClassifier, DirectedEPRegressor


def two_targets(seed=0):
    """Two targets that are smooth in eight inputs, one a million times the other."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(400, 8))
    first = np.sin(x[:, 0]) + 0.5 * x[:, 1] * x[:, 2] + 0.2 * rng.normal(size=400)
    second = x[:, 3] - np.square(x[:, 4]) + x[:, 5] + 0.5 * rng.normal(size=400)
    return x, np.stack([1e-3 * first, 1e3 * second], 1)


LABELS = {
    "iris": datasets.load_iris, "wine": datasets.load_wine, "breast cancer": datasets.load_breast_cancer,
    "digits": datasets.load_digits,
}  # fmt: skip
NUMBERS = {"diabetes": datasets.load_diabetes, "two targets": None}


def scaled(regressor):
    return TransformedTargetRegressor(make_pipeline(StandardScaler(), regressor), transformer=StandardScaler())


def table():
    """One line a data set and estimator: mean and standard deviation of the scores of ten folds."""
    for name, load in {**LABELS, **NUMBERS}.items():
        labels = name in LABELS
        x, y = load(return_X_y=True) if load else two_targets()
        folds = (StratifiedKFold if labels else KFold)(10, shuffle=True, random_state=0)
        estimators = {
            "direp": DirectedEPClassifier(random_state=0),
            "MLP": make_pipeline(StandardScaler(), MLPClassifier(random_state=0)),
            "linear": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        } if labels else {
            "direp": DirectedEPRegressor(random_state=0),
            "MLP": scaled(MLPRegressor(random_state=0)),
            "linear": scaled(Ridge()),
        }  # fmt: skip
        for who, estimator in estimators.items():
            begin = time.perf_counter()
            found = cross_validate(estimator, x, y, cv=folds, return_estimator=True, error_score="raise")
            scores = found["test_score"]
            line = {"data": name, "estimator": who, "mean": scores.mean(), "std": scores.std()}
            line |= {"median_fit_s": float(np.median(found["fit_time"])), "all_s": time.perf_counter() - begin}
            if who == "direp":
                parts = list(folds.split(x, y))
                settled = [
                    e._predicted(x[test]).settled for e, (_, test) in zip(found["estimator"], parts, strict=True)
                ]
                line["unsettled"] = int((~np.concatenate(settled)).sum())
                line["proved"] = sum(e.certificate_.verdict == "proved" for e in found["estimator"])
                line["epochs"] = [e.n_iter_ for e in found["estimator"]]
            print(json.dumps(line), flush=True)


def grid():
    """Seconds of a grid search with 160 fits, and of a second one, whose programs are compiled."""
    x, y = datasets.load_iris(return_X_y=True)
    folds, hidden = StratifiedKFold(10, shuffle=True, random_state=0), [(8,), (16,), (32,), (64,)]
    searches = {
        "MLP": (MLPClassifier(random_state=0), {"alpha": [1e-5, 1e-4, 1e-3, 1e-2]}),
        "direp": (DirectedEPClassifier(random_state=0), {"beta": [0.5, 1.0, 2.0, 4.0]}),
        "direp again": (DirectedEPClassifier(random_state=0), {"beta": [0.4, 0.8, 1.6, 3.2]}),
        "MLP again": (MLPClassifier(random_state=1), {"alpha": [1e-5, 1e-4, 1e-3, 1e-2]}),
    }
    for who, (estimator, values) in searches.items():
        begin, used = time.perf_counter(), time.process_time()
        data = StandardScaler().fit_transform(x)
        found = GridSearchCV(estimator, {"hidden_layer_sizes": hidden, **values}, cv=folds).fit(data, y)
        seconds, used = time.perf_counter() - begin, time.process_time() - used
        print(json.dumps({"search": who, "seconds": seconds, "cpu_s": used, "score": found.best_score_}), flush=True)


def synthetic():
    make = datasets
    labels = {
        "three classes": make.make_classification(200, 10, n_informative=6, n_classes=3, random_state=0),
        "two, some wrong": make.make_classification(400, 20, n_informative=5, flip_y=0.05, random_state=1),
        "moons": make.make_moons(200, noise=0.25, random_state=0),
        "circles": make.make_circles(200, noise=0.15, factor=0.5, random_state=0),
        "shells": make.make_gaussian_quantiles(n_samples=300, n_features=5, n_classes=3, random_state=0),
        "ten classes": make.make_classification(
            900, 40, n_informative=20, n_classes=10, class_sep=2, random_state=3
        ),
    }  # fmt: skip
    x, y = make.make_regression(300, 8, n_informative=5, n_targets=2, noise=10, random_state=2)
    unlike = np.stack([np.tanh(y[:, 0] / 100), 1000 * y[:, 1] + np.sin(x[:, 0]) * 1e4], 1)
    numbers = {
        "friedman 1": make.make_friedman1(300, noise=1, random_state=0),
        "friedman 2": make.make_friedman2(300, noise=50, random_state=0),
        "unlike": (x, unlike),
        "noisy": make.make_regression(300, 10, n_informative=5, noise=150, random_state=5),
    }
    return labels, numbers


def choose():
    """Mean scores of candidates in five folds."""
    labels, numbers = synthetic()
    for maker, sets, rival in (
        (DirectedEPClassifier, labels, make_pipeline(StandardScaler(), MLPClassifier(random_state=0))),
        (DirectedEPRegressor, numbers, scaled(MLPRegressor(random_state=0))),
    ):
        candidates = {"MLP": rival}
        for alpha, (rate, most) in itertools.product((0.1, 0.3, 1.0), ((0.01, 200), (0.02, 100))):
            given = {"alpha": alpha, "learning_rate_init": rate, "max_iter": most}
            candidates[json.dumps(given)] = maker(random_state=0, **given)
        for who, estimator in candidates.items():
            scores = {}
            for name, (x, y) in sets.items():
                folds = (StratifiedKFold if sets is labels else KFold)(5, shuffle=True, random_state=7)
                scores[name] = float(cross_validate(estimator, x, y, cv=folds)["test_score"].mean())
            print(json.dumps({"candidate": who, "mean": float(np.mean(list(scores.values()))), **scores}), flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    {"table": table, "grid": grid, "choose": choose}[sys.argv[1]]()
