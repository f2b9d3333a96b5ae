import numpy as np
import pytest
from sklearn import datasets
from sklearn.model_selection import train_test_split

from direp import tasks


@pytest.mark.parametrize("name", tasks.GATES)
def test_gates_are_their_truth_tables(name):
    functions = {
        "and": lambda a, b: a and b, "or": lambda a, b: a or b, "xor": lambda a, b: a != b,
        "not": lambda a: not a, "identity": lambda a: a,
    }  # fmt: skip
    task = tasks.gate(name)
    assert task.whole
    for x, y in zip(*task.train, strict=True):
        assert y[0] == functions[name](*x.astype(bool))
    assert len(task.train.x) == 2**task.inputs
    assert task.solved(np.array([0.049, 0.05, 0.01]), np.array([1.0, 1.0, 0.75])).tolist() == [True, False, False]


@pytest.mark.parametrize("name", tasks.BUNDLED)
def test_bundled_sets_are_split_without_overlap_and_scaled_on_the_training_part(name):
    task = tasks.bundled(name, scale="standard")
    parts = [task.train, task.validation, task.test]
    rows = [{row.tobytes() for row in np.concatenate(part, 1)} for part in parts]
    total = sum(len(part.x) for part in parts)
    assert total == len(getattr(datasets, tasks.BUNDLED[name])().data)
    assert all(abs(len(part.x) / total - share) < 0.02 for part, share in zip(parts, (0.7, 0.15, 0.15), strict=True))
    unique = len(set().union(*rows))
    assert unique == len(set(map(bytes, np.concatenate([np.concatenate(part, 1) for part in parts]))))
    moving = task.train.x.std(0) > 0
    np.testing.assert_allclose(task.train.x.mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(task.train.x.std(0)[moving], 1, atol=1e-9)
    assert np.abs(task.test.x.mean(0)).max() > 1e-3  # not fitted on the test part
    shares = [part.y.mean(0) for part in parts]
    assert np.abs(shares[0] - shares[2]).max() * len(task.test.x) < 1  # stratified


def test_changing_samples_held_out_does_not_change_training_ones():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 3)), rng.integers(0, 2, 200)
    everyone = np.arange(200)
    _, held = train_test_split(everyone, test_size=0.15, random_state=0, stratify=y)
    task = tasks.from_arrays(x, y)
    far = x.copy()
    far[held] += 100
    again = tasks.from_arrays(far, y)
    assert (again.train.x == task.train.x).all()
    assert (again.test.x.mean(0) > task.test.x.mean(0) + 50).all()


def test_regression_and_labels_of_any_type():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2))
    task = tasks.from_arrays(x, np.array(["cat", "dog", "eel"] * 20))
    assert task.classes == ("cat", "dog", "eel")
    assert (task.train.y.sum(1) == 1).all()
    task = tasks.from_arrays(x, x @ [[1.0], [2.0]], kind="regression", scale="none")
    np.testing.assert_allclose(task.train.y, task.train.x @ [[1.0], [2.0]])


good = np.random.default_rng(0).normal(size=(40, 2))


@pytest.mark.parametrize(
    ("x", "y", "settings", "message"),
    [
        (np.where(np.arange(80).reshape(40, 2) == 5, np.nan, good), np.arange(40) % 2, {}, r"x\[2, 1\] is nan"),
        (np.where(np.arange(80).reshape(40, 2) == 4, np.inf, good), np.arange(40) % 2, {}, r"x\[2, 0\] is inf"),
        (
            good,
            np.arange(39) % 2,
            {},
            r"x has shape \(40, 2\), 40 samples, but y has 39 targets; give one for each row",
        ),
        (good.T, np.arange(40) % 2, {}, "x looks transposed: give x.T"),
        (good, np.arange(80).reshape(40, 2) % 3 > 0, {}, "several 1s need kind='multilabel'"),
        (good, np.arange(40), {}, "class 0 has 1 of the samples; every class needs 3"),
        (good, np.linspace(0, 1, 40), {}, "give kind='regression'"),
        (good, np.zeros(40, int), {}, r"one class only \(0\)"),
        (good.reshape(40, 2, 1), np.arange(40) % 2, {}, "flatten"),
        (good, np.arange(40) % 2, {"scale": "log"}, "scale='log'"),
        (good, np.arange(40) % 2, {"test": 0.9, "validation": 0.2}, "leave some to train"),
        (good, np.arange(40) % 2, {"kind": "ranking"}, "kind='ranking'"),
        (np.array([["a", "b"]] * 40), np.arange(40) % 2, {}, "not all numbers"),
        (np.zeros((0, 4)), np.zeros(0), {}, r"shape \(0, 4\) and holds no numbers"),
        (np.zeros((40, 0)), np.arange(40) % 2, {}, "holds no numbers"),
        (good, np.array(["a", "b"] * 20), {"kind": "regression"}, "which regression needs"),
    ],
)
def test_bad_data_is_refused_in_words(x, y, settings, message):
    with pytest.raises(ValueError, match=message):
        tasks.from_arrays(x, y, **settings)


def test_unknown_names_suggest_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'xor'"):
        tasks.gate("xro")
    with pytest.raises(ValueError, match="did you mean 'digits'"):
        tasks.bundled("digit")
