"""`direp doctor`: a spoilt run is named by its cause, a healthy one by none, and a broken folder by what is missing."""

import json
import shutil

import numpy as np
import pytest
from program import call, finished, untold

import direp
from direp.analysis import Comparison
from direp.program.catalogue import names
from direp.program.doctor import AbstractSymptom, Examination, Finding, symptoms
from direp.program.doctor.outcome import Rows, outcome_of
from direp.program.doctor.subject import Subject

pytestmark = pytest.mark.usefixtures("_optax")
SMALL = ("xor", "--preset", "small", "--seeds", "0,2..3", "--epochs", "60")  # the program of `finished`


@pytest.fixture(scope="module")
def stifled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("doctor") / "run"
    assert call("train", *SMALL, "--leak", "100", "--quiet", "--out", folder)[0] == 0
    return folder


@pytest.fixture
def broken(tmp_path):
    """A copy of a healthy run, to break."""
    return shutil.copytree(finished()[0], tmp_path / "a run")


def test_a_healthy_run_is_one_line_that_says_what_was_looked_at():
    code, out, err = call("doctor", finished()[0], "--quiet")
    assert (code, err) == (0, "")
    assert "nothing found wrong; looked at " in out.splitlines()[-1]
    assert "60 epochs" in out
    assert "3 kept networks" in out
    assert direp.diagnose(finished()[0]).healthy


@pytest.mark.parametrize(
    ("options", "cause", "remedy"),
    [(("--bias", "-20"), "dead", "--bias 0.3"), (("--input-scale", "200"), "saturated", "--weight-scale")],
)
def test_a_spoilt_run_is_named_by_its_cause(tmp_path, options, cause, remedy):
    folder = tmp_path / "run"
    assert call("train", *SMALL, *options, "--quiet", "--out", folder)[0] == 0
    code, out, _ = call("doctor", folder, "--json", "--quiet")
    found = json.loads(out)
    assert (code, found["cause"], found["healthy"]) == (0, cause, False)
    first = found["findings"][0]
    assert untold("doctor", found, first) == []
    assert "4 samples and 3 seeds" in first["evidence"]
    assert f"direp train --config {folder}/config.json" in first["remedies"][0]
    assert remedy in first["remedies"][0]


def test_the_remedy_it_names_heals(stifled, tmp_path):
    found = direp.diagnose(stifled)
    assert found.cause == "stifled"
    assert found.findings[0].measured["leak"]["start"] >= 100
    command = found.findings[0].remedies[0].split()[1:]
    healed = tmp_path / "healed"
    assert call(*command, "--quiet", "--out", healed)[0] == 0
    assert json.loads((healed / "summary.json").read_text())["solved"] == 3


def test_a_root_hides_what_means_nothing_beside_it(stifled):
    found = direp.diagnose(stifled)
    assert found.skipped["misaligned"] == "it says nothing beside: stifled"
    assert [finding.name for finding in found.findings] == sorted(
        (finding.name for finding in found.findings), key=names("symptom").index
    )


def test_a_run_that_was_killed_is_told_to_go_on(broken):
    status = json.loads((broken / "status.json").read_text())
    (broken / "status.json").write_text(json.dumps({**status, "state": "running", "epoch": 60}))
    (broken / "summary.json").unlink()
    found = direp.diagnose(broken, symptoms=("unfinished",))
    assert found.cause == "unfinished"
    assert "killed" in found.findings[0].cause
    assert found.findings[0].remedies == (f"direp resume '{broken}'",)


@pytest.mark.parametrize(
    ("gone", "missing"),
    [("weights.safetensors", "weights.safetensors does not exist"), ("metrics.jsonl", "metrics.jsonl does not exist"),
     ("config.json", "config.json is missing")],
)  # fmt: skip
def test_a_folder_that_is_half_there_says_what_is_missing(broken, gone, missing):
    (broken / gone).unlink()
    code, out, err = call("doctor", broken, "--quiet")
    assert code == 3
    assert err.count("\n") == 1
    assert missing in err
    assert "looked at" in out


def test_epochs_that_are_lost_at_the_end_are_told(broken):
    file = broken / "metrics.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:-3]))
    code, _, err = call("doctor", broken, "--quiet", "--symptoms", "unfinished")
    assert code == 3
    assert f"ends after {len(lines) - 3} epochs, the run after {len(lines)}: the figures of the others are lost" in err


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b'{"settings": 3}', b"[[]]"])
@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl", "status.json", "summary.json", "weights.safetensors"])
def test_damaged_files_end_in_a_line(broken, name, content):
    (broken / name).write_bytes(content)
    code, _, err = call("doctor", broken, "--quiet", "--symptoms", "unfinished", "diverged")
    assert code == (0 if name in ("status.json", "summary.json") else 3)
    assert "Traceback" not in err
    assert "internal error" not in err


def test_what_is_no_run_folder_is_refused_in_a_line(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    for name, said in (("file", "is no folder"), ("empty", "config.json is missing in it"), ("none", "does not exist")):
        code, out, err = call("doctor", tmp_path / name)
        assert (code, out) == (3, "")
        assert said in err
        assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "doctor needs the folder of a run"),
        (("run", "--symptoms", "ded"), "did you mean 'dead'?"),
        (("run", "--out", "there"), "doctor writes nothing"),
    ],
)
def test_wrong_use_is_a_line(arguments, said):
    code, out, err = call("doctor", *arguments)
    assert (code, out) == (2, "")
    assert said in err


def test_figures_alone_tell_of_a_run_that_diverged():
    history = {"loss": np.array([[0.2], [np.nan]]), "failed": np.array([[0.0], [1.0]]), "left_out": np.zeros((2, 1)),
               "margin": np.array([[-1.0], [-2.0]])}  # fmt: skip
    found = symptoms.Diverged().look(Examination(None, history))
    assert found is not None
    assert "nothing keeps the network contracting" in found.cause
    assert found.measured["margin"] == -2


class Stub(Examination):
    """An examination whose measurements are given."""

    unlearned, first_update, updates, extent = True, 0.1, 300, "of 4 samples and 3 seeds"

    def __init__(self, history, first_update=0.1, cosines=(0.9, 0.9), ratio=1.0):
        run = direp.load_run(finished()[0])
        super().__init__(Subject.of_folder(run), history, run.settings, run.path)
        self.__dict__["first_update"] = first_update
        part = lambda cosine, ratio: Comparison(cosine, 0.0, ratio, cosine * ratio, {})  # noqa: E731
        groups = {name: part(1.0, 1.0) for name in direp.analysis.groups(run.networks[0])}
        own, limit = ({name: part(each, ratio) for name in groups} for each in cosines)
        made = {"own": own, "limit": limit, "exact": groups}
        compared = {name: Comparison(1.0, 0.0, 1.0, 1.0, parts) for name, parts in made.items()}
        self._kept = {("compared", at): [compared] * 3 for at in ("start", "kept")}


FLAT = {"loss": np.full((60, 3), 0.2), "unsettled": np.zeros((60, 3))}
RISING = FLAT | {"loss": np.linspace(0.1, 0.5, 60)[:, None]}
FALLING = FLAT | {"loss": np.linspace(0.5, 0.1, 60)[:, None]}
RESTLESS = FLAT | {"unsettled": np.full((60, 3), 0.5)}


@pytest.mark.parametrize(
    ("symptom", "history", "measured", "found"),
    [
        ("LargeSteps", RISING, {"first_update": 2.0}, "large-steps"),
        ("LargeSteps", FALLING, {"first_update": 2.0}, None),
        ("LargeSteps", RISING, {"first_update": 0.2}, None),
        ("SmallSteps", FLAT, {"first_update": 1e-5}, "small-steps"),
        ("SmallSteps", FLAT, {"first_update": 0.1}, None),
        ("Short", FALLING, {}, "short"),
        ("Short", FLAT, {}, None),
        ("StrongNudge", RESTLESS, {}, "strong-nudge"),
        ("StrongNudge", FLAT, {"cosines": (0.1, 0.9)}, "strong-nudge"),
        ("StrongNudge", FLAT, {"cosines": (0.1, 0.2)}, None),
        ("Blocked", FLAT, {"ratio": 1e-4}, "blocked"),
        ("Blocked", FLAT, {}, None),
        ("Misaligned", FLAT, {"cosines": (-0.2, 0.1)}, "misaligned"),
        ("Misaligned", FLAT, {}, None),
    ],
)
def test_symptoms_by_what_is_measured(symptom, history, measured, found):
    said = getattr(symptoms, symptom)().look(Stub(history, **measured))
    assert (said and said.name) == found
    assert said is None or all(said.remedies)


def test_an_outcome_is_judged_beside_a_linear_model():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 3))
    task = direp.tasks.from_arrays(x, (x[:, 0] > 0).astype(int))
    rows = Rows(task, direp.SquaredError())
    for outputs, unlearned, overfitted in (
        (rows.y, False, False),
        (np.full_like(rows.y, rows.y.mean()), True, False),
        (np.where(np.arange(len(rows.y))[:, None] < rows.train, rows.y, rng.permutation(rows.y)), False, True),
    ):
        found = outcome_of(rows, outputs, 0.0)
        assert (found.unlearned, found.overfitted) == (unlearned, overfitted)
    mean = np.full_like(rows.y, rows.y.mean())
    assert not outcome_of(rows, mean, 0.0, (0.0, 1.0)).unlearned  # what was learned and not kept was learned


class Late(AbstractSymptom):
    """A symptom of one's own."""

    needs = "history"

    def look(self, run):
        return Finding("late", "it was late", f"{run.epochs} epochs", ())


def test_a_symptom_of_ones_own_is_named_by_its_import_path():
    found = direp.diagnose(finished()[0], symptoms=("unfinished", f"{__name__}:Late"))
    assert (found.findings[0].name, found.findings[0].evidence) == ("late", "60 epochs")


def test_what_fit_returned_is_examined_without_a_folder():
    run = direp.load_run(finished()[0])
    assert direp.diagnose(run).healthy
    with pytest.raises(ValueError, match=r"diagnose\(run=...\) is int"):
        direp.diagnose(3)
