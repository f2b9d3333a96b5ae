"""The estimators within scikit-learn's machinery, and what they promise beyond its checks."""

import copy
import logging
import subprocess
import sys
import warnings

import jax
import numpy as np
import pandas as pd
import pytest
from joblib import Parallel, delayed
from program import call
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_iris, load_linnerud, make_multilabel_classification
from sklearn.ensemble import StackingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import direp
from direp import DirectedEPClassifier, DirectedEPRegressor

pytestmark = [
    pytest.mark.usefixtures("_optax"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:.*L-BFGS-B solver are deprecated:DeprecationWarning"),  # of 1.6
]
X, Y = load_iris(return_X_y=True)
WORDS = np.array(["setosa", "versicolor", "virginica"])[Y]
SMALL = {"hidden_layer_sizes": (8,), "max_iter": 60, "learning_rate_init": 0.05, "alpha": 0.3, "random_state": 0}


def small(**given):
    return DirectedEPClassifier(**{**SMALL, **given})


@pytest.fixture(scope="module")
def fitted():
    with jax.numpy_dtype_promotion("standard"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return small().fit(X, WORDS)


def test_what_is_fitted_is_numpy_and_is_the_same_elsewhere(fitted):
    assert fitted.score(X, WORDS) > 0.9
    assert fitted.certificate_.verdict == "proved"
    assert fitted.settle_failures_ == 0
    assert len(fitted.loss_curve_) == fitted.n_iter_ > 1
    assert not any(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves((fitted.network_, fitted._state)))
    (again,) = Parallel(n_jobs=2)([delayed(copy.deepcopy)(fitted)])  # there and back: a process that counts in 32 bits
    with jax.enable_x64(False):
        assert (again.predict_proba(X) == fitted.predict_proba(X)).all()
    assert again.network_.dtype == np.float64
    small_ones = small().fit(X.astype(np.float32), Y)
    assert small_ones.network_.dtype == np.float32


@pytest.mark.parametrize("change", [
    lambda x: np.asfortranarray(x),
    lambda x: pd.DataFrame(x, columns=list("abcd")),
    lambda x: x.tolist(),
    lambda x: pytest.importorskip("polars").DataFrame(dict(zip("abcd", x.T, strict=True))),
], ids=["fortran", "pandas", "lists", "polars"])  # fmt: skip
def test_forms_of_the_same_data_give_the_same_answers(change, fitted):
    made = small().fit(change(X), WORDS)
    assert (made.predict(change(X)) == fitted.predict(X)).all()
    np.testing.assert_allclose(made.predict_proba(change(X)), fitted.predict_proba(X), rtol=1e-9)
    # The frames of which this version of scikit-learn reads names: 1.6 does not those of a recent polars.
    if hasattr(StandardScaler().fit(change(X)), "feature_names_in_"):
        assert list(made.feature_names_in_) == list("abcd")
        assert made.preparation_.inputs.names == tuple("abcd")


def test_read_only_arrays(fitted):
    x, y = X.copy(), WORDS.copy()
    x.flags.writeable = y.flags.writeable = False
    assert (small().fit(x, y).predict(x) == fitted.predict(X)).all()


def test_in_pipelines_searches_and_ensembles(fitted):
    table = pd.DataFrame(X, columns=list("abcd")).assign(colour=np.where(X[:, 0] > 5.5, "red", "blue"))
    columns = ColumnTransformer([("n", StandardScaler(), list("abcd")), ("w", OneHotEncoder(), ["colour"])])
    assert make_pipeline(columns, small()).fit(table, WORDS).score(table, WORDS) > 0.8
    found = GridSearchCV(small(), {"beta": [0.5, 2.0]}, cv=2, n_jobs=2).fit(X, WORDS)
    assert found.best_score_ > 0.8
    assert cross_validate(small(), X, WORDS, cv=2)["test_score"].min() > 0.8
    calibrated = CalibratedClassifierCV(small(), cv=2).fit(X, WORDS)
    np.testing.assert_allclose(calibrated.predict_proba(X).sum(1), 1)
    stacked = StackingClassifier([("direp", small())], LogisticRegression(), cv=2).fit(X, WORDS)
    assert stacked.score(X, WORDS) > 0.9


def test_a_second_fit_of_a_shape_compiles_nothing(fitted):
    heard = []
    handler = logging.Handler()
    handler.emit = lambda record: heard.append(record.getMessage())
    log = logging.getLogger("jax")
    log.addHandler(handler)
    try:
        with jax.log_compiles(True):
            made = small(beta=1.5, learning_rate_init=0.04, alpha=0.2, random_state=5).fit(X[:148], WORDS[:148])
            made.predict(X[:148])
    finally:
        log.removeHandler(handler)
    assert not [message for message in heard if "XLA compilation" in message]


def test_labels_by_themselves_and_several_numbers():
    x, y = make_multilabel_classification(60, 5, n_classes=3, random_state=0)
    made = small().fit(x, y)
    assert made.predict(x).shape == made.predict_proba(x).shape == made.decision_function(x).shape == y.shape
    assert ((made.predict_proba(x) > 0.5) == made.predict(x)).all()
    x, y = load_linnerud(return_X_y=True)
    several = DirectedEPRegressor(**SMALL).fit(x, y)
    assert several.predict(x).shape == y.shape
    assert several.score(x, y) > 0


def test_weights_stand_for_repetition_and_classes_for_weights():
    times = np.arange(len(X)) % 3
    weighted = small(batch_size=500).set_params(batch_size="auto").fit(X, Y, sample_weight=times)
    repeated = small(batch_size=len(X)).fit(X.repeat(times, 0), Y.repeat(times))
    np.testing.assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), rtol=1e-7)
    assert weighted.loss_curve_ == pytest.approx(repeated.loss_curve_)
    none, half = np.arange(len(X)) % 2, {"max_iter": 3, "settings": {"max_steps": 5}}
    assert small(**half).fit(X, Y, sample_weight=none).settle_failures_ == (
        small(**half).fit(X[none > 0], Y[none > 0]).settle_failures_
    )
    by_class = small(class_weight={0: 1, 1: 5, 2: 1}).fit(X, Y)
    by_sample = small().fit(X, Y, sample_weight=np.where(Y == 1, 5, 1))
    assert (by_class.predict_proba(X) == by_sample.predict_proba(X)).all()
    assert (small(class_weight="balanced").fit(X[30:], Y[30:]).predict(X) == Y).mean() > 0.8
    with pytest.raises(ValueError, match="at least one non-zero"):
        small().fit(X, Y, sample_weight=np.zeros(len(X)))
    with pytest.raises(ValueError, match="Negative"):
        small().fit(X, Y, sample_weight=-np.ones(len(X)))


def test_trainings_that_go_on(fitted):
    whole = small(max_iter=6).fit(X, Y)
    parts = small(max_iter=6)
    for _ in range(6):
        parts.partial_fit(X, Y, classes=[0, 1, 2])
    np.testing.assert_allclose(parts.loss_curve_, whole.loss_curve_, rtol=1e-12)
    np.testing.assert_allclose(parts.predict_proba(X), whole.predict_proba(X), rtol=1e-9)
    warm = small(max_iter=6, warm_start=True).fit(X, Y)
    before = warm.loss_curve_[-1]
    assert warm.fit(X, Y).loss_curve_[6] < before
    assert len(warm.loss_curve_) == 12
    assert warm.n_iter_ == 6
    with pytest.raises(ValueError, match="early_stopping"):
        small(early_stopping=True).partial_fit(X, Y)
    with pytest.raises(ValueError, match="not the same as on last call"):
        parts.partial_fit(X, Y, classes=[0, 1])


def test_early_stopping_keeps_the_best_epoch():
    made = small(early_stopping=True, n_iter_no_change=20).fit(X, WORDS)
    assert len(made.validation_scores_) == made.n_iter_
    assert max(made.validation_scores_) > 0.8
    numbers = DirectedEPRegressor(**{**SMALL, "early_stopping": True}).fit(X[:, :3], X[:, 3])
    assert max(numbers.validation_scores_) > 0.5


@pytest.mark.parametrize(("given", "message"), [
    ({"graph": "layred"}, "graph 'layred' is unknown: did you mean 'layered'"),
    ({"rule": "locla"}, "did you mean 'local'"),
    ({"settings": {"max_step": 3}}, "setting 'max_step' is unknown: did you mean 'max_steps'"),
    ({"settings": {"epochs": 3}}, "'epochs' is the parameter 'max_iter'"),
    ({"settings": {"precision": "float32"}}, "of the program alone"),
    ({"leak": 0.0}, "leak 0.0 cannot be certified"),
    ({"settings": {"margin": None}}, "certified=True asks for one"),
    ({"beta": -2.0}, "certified=True cannot be held: .* phase beta=-2 falls short"),
    ({"hidden_layer_sizes": (3, 0)}, "hidden_layer_sizes must be > 0"),
    ({"max_iter": 0}, "The 'max_iter' parameter of DirectedEPClassifier must be an int"),
])  # fmt: skip
def test_what_cannot_be_is_refused_before_training(given, message):
    with pytest.raises(ValueError, match=message):
        small(**given).fit(X, Y)


def test_a_network_without_hidden_units_trains():
    made = small(hidden_layer_sizes=()).fit(X, Y)
    assert made.score(X, Y) > 0.8
    assert made.certificate_


def test_what_a_fit_misses_is_told():
    with pytest.warns(ConvergenceWarning, match=r"still changes by more than tol.*Raise max_iter"):
        small(max_iter=3).fit(X, Y)
    with pytest.warns(UserWarning, match="scale='none' leaves it as it is"):
        small(max_iter=3, scale="none").fit(1e4 * X, Y)
    with pytest.warns(ConvergenceWarning, match="did not settle in the last epoch"):
        made = small(max_iter=3, settings={"max_steps": 5}).fit(X, Y)
    with pytest.warns(ConvergenceWarning, match="No sample settled"):
        small(max_iter=3, settings={"max_steps": 1}).fit(X, Y)
    with pytest.warns(ConvergenceWarning, match="No sample settled"):
        small(settings={"max_steps": 1}).partial_fit(X, Y)
    assert made.settle_failures_ > 0
    with pytest.warns(ConvergenceWarning, match="of 150 rows did not settle"):
        made.predict(X)
    uncertified = small(certified=False, max_iter=3).fit(X, Y)
    assert uncertified.certificate_.verdict in ("proved", "undecided", "refuted")


def test_to_a_run_folder_and_back(tmp_path, fitted):
    fitted.to_folder(tmp_path / "run", X, WORDS)
    again = DirectedEPClassifier.from_folder(tmp_path / "run")
    assert (again.predict_proba(X) == fitted.predict_proba(X)).all()
    assert again.certificate_.verdict == "proved"
    assert clone(again).get_params()["alpha"] == fitted.alpha
    again.partial_fit(X, WORDS)
    for command in ("certify", "gradient"):
        code, out, err = call(command, tmp_path / "run", *(("--rules", "local") if command == "gradient" else ()))
        assert code == 0, err
        assert "proved" in out
    with pytest.raises(ValueError, match=r"use DirectedEPClassifier\.from_folder"):
        DirectedEPRegressor.from_folder(tmp_path / "run")
    pd.DataFrame(X, columns=list("abcd")).to_csv(tmp_path / "rows.csv", index=False)
    code, out, err = call("predict", tmp_path / "run", tmp_path / "rows.csv")
    assert code == 0, err
    assert out.splitlines()[1].startswith("setosa")


@pytest.mark.parametrize("task", ["breast-cancer", "xor"])
def test_a_run_of_the_program_answers_the_same_with_sorted_classes(task, tmp_path):
    """Breast cancer has its malignant class first; XOR has a single output."""
    given = ("--epochs", 3) if task == "breast-cancer" else ("--epochs", 300, "--seeds", "0..3")
    code, _, err = call("train", task, *given, "--out", tmp_path / "run", "--quiet")
    assert code == 0, err
    data = load_breast_cancer()
    x = data.data if task == "breast-cancer" else np.array([[0, 0], [0, 1], [1, 0], [1, 1.0]])
    y = data.target_names[data.target] if task == "breast-cancer" else np.array([0, 1, 1, 0])
    made = DirectedEPClassifier.from_folder(tmp_path / "run")
    assert (made.classes_ == np.unique(y)).all()
    assert (made.predict(x) == direp.load(tmp_path / "run").predict(x).value).all()
    assert made.score(x, y) > 0.9
    assert get_scorer("roc_auc")(made, x, y) > 0.9
    assert get_scorer("neg_log_loss")(made, x, y) > -1
    with pytest.raises(ValueError, match="leave out X and y"):
        made.to_folder(tmp_path / "again", np.tile(x, (3, 1)), np.tile(y, 3))


def test_a_folder_of_an_estimator_holds_no_pickle(tmp_path):
    made = small(max_iter=2).fit(X, WORDS.astype(object))
    assert made.predict(X).dtype == object
    made.to_folder(tmp_path / "run", X, WORDS.astype(object))
    assert np.load(tmp_path / "run" / "data.npz", allow_pickle=False)["y"].tolist() == WORDS.tolist()
    assert call("gradient", tmp_path / "run", "--rules", "local")[0] == 0


@pytest.mark.parametrize("kept", [True, False], ids=["warm start", "folder"])
def test_signs_outlast_a_fit(kept, tmp_path):
    """A synapse that has fallen to zero does not come back with the other sign."""
    settings = {"dale": True, "schedule": "constant"}
    made = small(max_iter=15, alpha=5.0, settings=settings, warm_start=True).fit(X, Y)
    before = np.asarray(made.network_.strengths())
    began = made._signs
    assert (before == 0).sum() > 5
    if not kept:
        made.to_folder(tmp_path / "run")
        made = DirectedEPClassifier.from_folder(tmp_path / "run").set_params(warm_start=True)
        assert (made._signs == began).all()
    made.fit(X, 2 - Y)
    after = np.asarray(made.network_.strengths())
    assert (after[before == 0] != 0).any()
    assert (after * began >= 0).all()


def test_callbacks_of_scikit_learn(fitted):
    callback = pytest.importorskip("sklearn.callback")

    class Stops(callback.FitCallback):
        seen = 0
        scores = ()

        def setup(self, estimator, context): ...

        def teardown(self, estimator, context): ...

        def on_fit_task_begin(self, estimator, context): ...

        def on_fit_task_end(self, estimator, context):
            self.seen += context.task_name == "epoch"
            return self.seen == 12

    class Looks(Stops):
        def on_fit_task_end(self, estimator, context, *, X=None, y=None, fitted_estimator=None):
            if context.task_name == "epoch":
                self.scores = (*self.scores, fitted_estimator.score(X, y))

    stops, looks = Stops(), Looks()
    assert small().set_callbacks(stops).fit(X, Y).n_iter_ == 20  # ten epochs are trained at once
    assert stops.seen >= 12
    made = small(max_iter=4).set_callbacks(looks).fit(X, Y)
    assert len(looks.scores) == made.n_iter_ == 4
    assert looks.scores[-1] == made.score(X, Y)


def test_nothing_of_scikit_learn_loads_with_the_library():
    code = "import sys, direp; assert 'sklearn' not in sys.modules and 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert {"DirectedEPClassifier", "DirectedEPRegressor"} <= set(dir(direp))
