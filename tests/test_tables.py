"""Tables with named columns: what is fitted on the training part, kept as plain data, and done to new rows."""

import io
import json

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from direp import tasks
from direp.tasks import Inputs, Preparation, Targets


def people(count=120, seed=0):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({
        "age": rng.normal(40, 10, count), "city": rng.choice(["Rome", "Oslo", "Lima"], count),
        "children": rng.integers(0, 4, count), "member": rng.random(count) < 0.5,
    })  # fmt: skip
    frame.loc[::17, "age"] = np.nan
    frame.loc[::13, "city"] = None
    frame["buys"] = np.where(rng.random(count) < 0.5, "yes", "no")
    return frame


def oracle(frame, rows):
    """Scikit-learn's own transformers, fitted on the same rows."""
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    words = OneHotEncoder(handle_unknown="ignore", categories=[["Lima", "Oslo", "Rome"]])
    parts = [("age", numbers, ["age"]), ("city", words, ["city"]), ("rest", StandardScaler(), ["children", "member"])]
    frame = frame.astype({"member": float})
    made = ColumnTransformer(parts, sparse_threshold=0).fit(frame.iloc[rows])
    return made.transform(frame)


@pytest.mark.parametrize("kind", [pa.table, pl.from_pandas, lambda frame: frame])
def test_columns_become_what_scikit_learn_makes_of_them(kind):
    frame = people()
    rows = np.arange(70)
    inputs = Inputs.fit(tasks.arrow(kind(frame.drop(columns="buys"))), "standard", rows)
    assert inputs.names == ("age", "city=Lima", "city=Oslo", "city=Rome", "children", "member")
    found = inputs.encode(tasks.arrow(kind(frame[["member", "children", "city", "age"]])))  # by name, in any order
    np.testing.assert_allclose(found, oracle(frame, rows), atol=1e-12)


def test_rows_held_out_have_no_part_in_what_is_fitted():
    frame = people()
    task = tasks.from_table(frame, "buys")
    whole = tasks.arrow(frame)
    held = np.array([not (row == task.train.x).all(1).any() for row in task.preparation.inputs.encode(whole)])
    assert 30 < held.sum() < 40
    far = frame.copy()
    far.loc[held, "age"] += 1e6
    again = tasks.from_table(far, "buys")
    assert (again.train.x == task.train.x).all()
    assert json.dumps(again.preparation.to_dict()) == json.dumps(task.preparation.to_dict())


@given(st.integers(0, 2**32 - 1), st.sampled_from(tasks.preparation.SCALES))
def test_what_is_kept_as_json_does_the_same_bit_by_bit(seed, scale):
    frame = people(60, seed)
    frame["age"] *= 10.0 ** np.random.default_rng(seed).integers(-300, 300)
    task = tasks.from_table(frame, "buys", scale=scale)
    kept = Preparation.from_dict(json.loads(json.dumps(task.preparation.to_dict())))
    rows = tasks.arrow(people(30, seed + 1))
    assert kept.inputs.encode(rows).tobytes() == task.preparation.inputs.encode(rows).tobytes()
    assert np.isfinite(task.train.x).all()
    if scale == "range":
        assert task.train.x.min() >= -1e-12
        assert task.train.x.max() <= 1 + 1e-12


@given(st.integers(0, 2**32 - 1), st.integers(1, 3))
def test_targets_of_a_regression_fill_what_outputs_reach_and_come_back(seed, count):
    rng = np.random.default_rng(seed)
    y = rng.normal(size=(40, count)) * 10.0 ** rng.integers(-8, 8, count) + 10.0 ** rng.integers(-3, 6, count)
    y[:, 0] = y[0, 0] if seed % 5 == 0 else y[:, 0]  # a constant target
    for low, high in ((0.0, 1.0), (-1.0, 1.0), (0.0, np.inf), (-np.inf, np.inf)):
        what = Targets.regression(y, (low, high))
        outputs = what.encode(y)
        assert (outputs >= low + 0.099).all()
        assert (outputs <= high - 0.099).all()
        back = what.decode(outputs).reshape(y.shape)
        assert (np.abs(back - y) <= 1e-12 * (np.abs(y) + np.ptp(y, axis=0))).all()


def test_kinds_of_targets():
    few, many = np.arange(40) % 3, np.arange(40)
    for y, kind in (
        (few, "classification"), (few.astype(str), "classification"), (few > 1, "classification"),
        (many, "regression"), (many / 7, "regression"), (few[:, None], "classification"),
        (np.eye(3)[few], "classification"), (np.eye(3, dtype=int)[few], "classification"),
        ((np.arange(80).reshape(40, 2) % 3 > 0) * 1, "multilabel"), (np.stack([many, many], 1), "regression"),
        (np.arange(80).reshape(40, 2) % 3 > 0, "multilabel"), (np.eye(3, dtype=bool)[few], "classification"),
    ):  # fmt: skip
        assert tasks.kind_of(y) == kind
    x = np.random.default_rng(0).normal(size=(40, 2))
    assert (tasks.from_arrays(x, np.eye(3)[few]).train.y == tasks.from_arrays(x, few).train.y).all()
    several = tasks.from_arrays(x, np.stack([few > 0, few > 1], 1) * 1, kind="multilabel")
    assert several.by_unit
    assert several.preparation.targets.decode(np.array([[0.4, 0.6]])).tolist() == [[0, 1]]
    labels = tasks.from_table(pd.DataFrame({"a": x[:, 0], "when": few + 2000}), "when").preparation.targets
    assert labels.classes == (2000, 2001, 2002)
    assert labels.decode(np.eye(3)[[2, 0]]).tolist() == [2002, 2000]


def test_new_rows_that_do_not_fit_are_refused_by_name_and_new_words_are_told():
    inputs = tasks.from_table(people(), "buys").preparation.inputs
    rows = people(10, 1).drop(columns="buys")
    with pytest.raises(ValueError, match=r"column 'city' is missing: the network was trained on 'age', 'city'"):
        inputs.encode(tasks.arrow(rows.drop(columns="city")))
    with pytest.raises(ValueError, match=r"'age' holds the word 'old'.*numbers"):
        inputs.encode(tasks.arrow(rows.assign(age="old")))
    with pytest.raises(ValueError, match="3 columns; the network was trained on 4"):
        inputs.encode(np.zeros((2, 3)))
    strange = tasks.arrow(rows.assign(city="Paris"))
    assert inputs.unknown(strange) == {"city": ("Paris",)}
    assert (inputs.encode(strange)[:, 1:4] == 0).all()
    gaps = rows.assign(age=[np.nan] * 3 + [1.0] * 7)
    assert inputs.gaps(tasks.arrow(gaps))["age"] == 3


def text(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


ILL_FORMED = {
    "": "is empty",
    "a,b\n": "no rows",
    "a,b\n1,2\n3\n": "Expected 2 columns, got 1",
    "a,b\n1,2,3\n": "Expected 2 columns, got 3",
    "a;b\n1;2\n": "parted by ';'; needed is ',': save it so, with a point in fractions",
    "a\tb\n1\t2\n": "name the file .tsv",
    "a,a\n1,2\n": "two columns 'a'",
    "a,\n1,2\n": "column 2 has no name",
    "1,2\n3,4\n": "the first line holds numbers",
    b"a,b\nm\xfcll,2\n": "line 2: this is not UTF-8",
    b"a,b\x00\n1,2\n": "zero bytes",
}


@pytest.mark.parametrize("content", ILL_FORMED)
def test_an_ill_formed_csv_gets_one_line(tmp_path, content):
    with pytest.raises(tasks.DataUnreadable) as found:
        tasks.read_table(text(tmp_path / "data.csv", content))
    assert ILL_FORMED[content] in str(found.value)
    assert "\n" not in str(found.value)
    assert "data.csv" in str(found.value)


def test_a_csv_and_a_parquet_file_hold_the_same(tmp_path, monkeypatch):
    frame = people()
    frame.to_csv(tmp_path / "p.csv", index=False)
    frame.to_csv(tmp_path / "p.tsv", index=False, sep="\t")
    frame.to_parquet(tmp_path / "p.parquet")
    read = [tasks.from_table(tasks.read_table(tmp_path / f"p.{end}"), "buys") for end in ("csv", "tsv", "parquet")]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO((tmp_path / "p.csv").read_bytes())))
    read.append(tasks.from_table(tasks.read_table("-"), "buys"))
    for task in read[1:]:
        assert (task.train.x == read[0].train.x).all()
        assert (task.test.y == read[0].test.y).all()
    with pytest.raises(tasks.DataUnreadable, match="does not exist"):
        tasks.read_table(tmp_path / "q.csv")
    with pytest.raises(tasks.DataUnreadable, match=r"q\.parquet"):
        tasks.read_table(text(tmp_path / "q.parquet", "no parquet"))


def test_words_stay_words_where_training_had_words(tmp_path):
    path = text(tmp_path / "zip.csv", "zip,y\n00123,1\n00777,2\n")
    assert tasks.read_table(path, words=["zip"]).column("zip").to_pylist() == ["00123", "00777"]


@pytest.mark.parametrize(
    ("change", "target", "message"),
    [
        ({}, "bys", "did you mean 'buys'"),
        ({"id": [f"p{k}" for k in range(120)]}, "buys", r"84 different words in 84 rows.*--drop id"),
        ({"when": pd.Timestamp("2026-01-01")}, "buys", r"'when' holds timestamp"),
        ({"empty": np.nan}, "buys", r"'empty' holds no number"),
        ({"age": np.inf}, "buys", r"'age' holds no number|infinite"),
        ({"buys": None}, "buys", "missing in 120 of 120 rows"),
        ({"buys": "yes"}, "buys", "one class only"),
        ({}, ["buys", "children"], "several targets must be numbers"),
        ({}, ["age"], "'age' is missing in 8 of 120 rows, first in row 1 below"),
    ],
)
def test_columns_that_cannot_be_used_are_refused_in_words(change, target, message):
    with pytest.raises(ValueError, match=message):
        tasks.from_table(people().assign(**change), target)


@pytest.mark.parametrize(("column", "message"), [
    (pa.array([["a", "b"], ["b", "a"]] * 30), "holds list"),
    (pa.array([{"a": "q"}, {"a": "r"}] * 30), "holds struct"),
    (pa.DictionaryArray.from_arrays(pa.array([0, 1] * 30), pa.array(["a", None])), "missing in 30 of 60 rows, first"),
])  # fmt: skip
def test_targets_that_are_no_labels_are_refused_in_words(column, message):
    with pytest.raises(ValueError, match=message):
        tasks.from_table(pa.table({"x": np.arange(60.0), "y": column}), "y")


@pytest.mark.parametrize(("labels", "message"), [
    ([b"a", b"b"], "are bytes"),
    ([1, "1"], "are int and str"),
    (["a", None], "are NoneType and str"),
    (np.array(["2020-01-01", "2021-01-01"], "M8[D]"), "are date"),
])  # fmt: skip
def test_labels_that_no_file_could_keep_are_refused_before_training(labels, message):
    y = np.array(labels, None if isinstance(labels, np.ndarray) or isinstance(labels[0], bytes) else object)
    with pytest.raises(ValueError, match=message):
        tasks.from_arrays(np.zeros((60, 2)), np.tile(y, 30))


def test_two_columns_of_one_name_are_refused():
    with pytest.raises(ValueError, match="two columns 'x'"):
        tasks.from_table(pa.table([np.arange(60.0), np.ones(60), np.arange(60) % 2], ["x", "x", "y"]), "y")


def test_whole_numbers_of_64_bits_are_labels_as_they_are():
    large = [1, 2**63 + 1, 2**63 + 2]
    task = tasks.from_table(pa.table({"x": np.arange(60.0), "y": pa.array(large * 20, pa.uint64())}), "y")
    assert task.preparation.targets.classes == tuple(large)
