"""`direp reproduce`: what its table says is what the run folders hold, and its text says what is whose."""

import json
import re
from pathlib import Path

import jax
import numpy as np
import pytest
from program import call, folder_of, untold
from scipy import stats

import direp
from direp.program.catalogue import names
from direp.program.commands.train import parse_train
from direp.program.parts import build
from direp.program.presets import preset
from direp.program.record import record_on
from direp.program.reproduce.gates import AbstractGates
from direp.program.reproduce.mnist import RECORDED
from direp.program.reproduce.reproduction import Variant
from direp.program.reproduce.trained import Trained
from direp.program.settings import Settings

pytestmark = pytest.mark.usefixtures("_optax")
ROOT = Path(__file__).parent.parent


class Small(AbstractGates):
    """Two ways to learn that share a program."""

    title = "Small"
    seeds = "0..1"
    baseline = "weak"
    drawn = ("strong",)
    published = "Nothing of this was published."
    derived = "All of it is derived here."

    def variants(self):
        options = {"weak": "--beta 0.5", "strong": "--beta 6"}
        shared = "--preset small --hidden 2 --start 0 0.1 --keep last --epochs 6"
        return {name: Variant(f"{name} nudge", f"{shared} {own}", ("and", "or")) for name, own in options.items()}


SMALL = "test_reproduce:Small"


@pytest.fixture(scope="module", autouse=True)
def _short():
    """States over time, which compile for long and have tests of their own (tests/test_settling.py), stand still."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "direp.program.reproduce.retrace.trajectory",
            lambda _, x=None, times=None, *, state: np.broadcast_to(state, (len(times), *state.shape)),
        )
        yield


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory, _short):
    folder = tmp_path_factory.mktemp("reproduce") / "out"
    code, out, err = call(
        "reproduce", SMALL, "--seeds", "0,2..3", "--json", "--quiet", "--debug", "--out", folder, drawn=True
    )
    assert (code, err) == (0, ""), err
    return folder, json.loads(out)


def runs_of(document):
    return [(name, task, entry) for name, own in document["runs"].items() for task, entry in own.items()]


def test_the_table_holds_what_the_run_folders_hold(reproduced):
    folder, document = reproduced
    assert json.loads((folder / "table.json").read_text()) == document
    assert untold("reproduce", document, *(entry for _, _, entry in runs_of(document))) == []
    assert [(name, task) for name, task, _ in runs_of(document)] == [
        (name, task) for name in ("weak", "strong") for task in ("and", "or")
    ]
    for name, task, entry in runs_of(document):
        assert Path(entry["run"]) == folder / name / task
        seeds = json.loads((folder / name / task / "summary.json").read_text())["per_seed"]
        lines = [json.loads(line) for line in (folder / name / task / "metrics.jsonl").read_text().splitlines()]
        assert (entry["seeds"], entry["epochs"]) == (len(seeds), len(lines)) == (3, 6)
        solved, losses = sum(seed["solved"] for seed in seeds), [seed["test"]["loss"] for seed in seeds]
        interval = stats.binomtest(solved, 3).proportion_ci(method="wilson")
        assert entry["solved"] == {"count": solved, "interval": [interval.low, interval.high]}
        assert entry["loss"] == {"median": np.median(losses), "band": np.quantile(losses, [0.1, 0.9]).tolist()}
        assert entry["diverged"]["count"] == sum(seed["failed"] for seed in seeds)
        assert entry["unsettled_at_the_end"]["count"] == sum(seed["unconverged"] > 0 for seed in seeds)
        certified = np.array([line["per_seed"]["certified"] for line in lines], bool)
        assert entry["certified_at_every_epoch"]["count"] == certified.all(0).sum()
        assert abs(entry["lowest_margin"] - min(line["lowest_margin"] for line in lines)) < 1e-12
        below = [
            [loss < 0.05 and right == 1 for loss, right in zip(*values, strict=True)]
            for values in ((e["per_seed"]["validation_loss"], e["per_seed"]["validation_accuracy"]) for e in lines)
        ]
        first = np.where(np.any(below, 0), np.argmax(below, 0) + 1.0, np.inf)
        assert entry["epochs_to_solve"] == (np.median(first) if np.isfinite(np.median(first)) else None)
    # The network in the folder is the one that the loss is of, and certified: it answers alike from everywhere.
    run = direp.load_run(folder / "strong" / "and")
    x, y = direp.tasks.gate("and").test
    away = np.asarray(run.networks[1].outputs(direp.settle(run.networks[1], x, state=np.full((4, 3), 0.9)).state)) - y
    seed = json.loads((folder / "strong" / "and" / "summary.json").read_text())["per_seed"][1]
    assert abs(0.5 * (away**2).mean() - seed["test"]["loss"]) < 1e-4
    for entry in (entry for *_, entry in runs_of(document)):
        assert entry["solved_from_everywhere"] == entry["solved_from_starts"] == entry["solved"]
        assert entry["certificate"] == "proved"


def test_answers_that_depend_on_the_start_are_counted(tmp_path):
    """The first network computes OR from rest; high states of its two units hold each other up. The second one has no
    such loop."""
    graph, matrix = direp.Graph.complete(2, 1, 1), np.zeros((4, 2))
    matrix[:2, 1] = 1.0
    loop = matrix.copy()
    loop[2, 1] = loop[3, 0] = 2.0
    networks = [direp.Network(graph, direp.Projected(outflow="none"), weight, leak=1.0) for weight in (loop, matrix)]
    own = {"task": "or", "graph": "complete", "hidden": (1,), "outflow": "none", "precision": "float64"}
    each = {"solved": 2, "per_seed": [{"seed": 3, "solved": True}, {"seed": 4, "solved": True}]}
    run = Trained(folder_of(tmp_path / "run", networks, own), Settings(**own, start=(0.5, 1.0), seeds="3..4"), each, {})
    x = np.array([[0.0, 0.0], [0.0, 1.0]])
    with jax.enable_x64(False):  # as a run of 32 bits leaves the program
        assert run.outputs(3, x, (0.0, 0.0)).tolist() == [[0.0], [1.0]]
        assert run.outputs(3, x).tolist() == [[1.0], [1.0]]
        assert run.solved_from_starts.tolist() == run.solved_from_everywhere.tolist() == [False, True]


def test_differences_are_taken_seed_by_seed(reproduced):
    folder, document = reproduced
    assert (document["against"], list(document["paired"])) == ("weak", ["strong"])
    for task, entry in document["paired"]["strong"].items():
        there, here = (
            json.loads((folder / name / task / "summary.json").read_text())["per_seed"] for name in ("weak", "strong")
        )
        loss = [a["test"]["loss"] - b["test"]["loss"] for a, b in zip(here, there, strict=True)]
        assert abs(entry["loss"]["mean"] - np.mean(loss)) < 1e-12
        low, high = entry["loss"]["interval"]
        assert min(loss) - 1e-12 < low <= high < max(loss) + 1e-12
        more = [a["solved"] - b["solved"] for a, b in zip(here, there, strict=True)]
        assert entry["solved"]["mean"] == np.mean(more)
        assert (entry["solved_only_here"], entry["solved_only_there"]) == (more.count(1), more.count(-1))


def test_the_report_says_what_is_whose_and_shows_every_number_and_figure(reproduced):
    folder, document = reproduced
    text = (folder / "report.md").read_text()
    heads = re.findall(r"^## (.*)", text, re.MULTILINE)
    assert heads[:3] == ["What was published", "What was measured here", "What is derived here, and not taken from "
                         "the paper"]  # fmt: skip
    assert text.index("Nothing of this was published.") < text.index("| gate |") < text.index("All of it is derived")
    for name, task, entry in runs_of(document):
        assert f"| {task} | {entry['solved']['count']} of 3 (" in text
        assert f"direp train {task} --preset small --hidden 2 --start 0 0.1 --keep last --epochs 6 --beta " in text
        assert document["labels"][name] in text
    for name in ("losses", "maps", "weights", "graph", "convergence"):
        assert (folder / f"{name}.png").stat().st_size > 5000
        assert f"]({name}.png)" in text
    away = re.search(r"they end (?:within (\S+) of|with the same bits as) those in the run folder", text)[1]
    assert float(away or 0) < 1e-3


def test_every_reproduction_tells_its_sources_and_trains_the_presets():
    made = {name: build("reproduction", name, lambda _: None) for name in names("reproduction")}
    settings = {
        (what, name, task): parse_train([*variant.arguments(task, "4..5"), "--quiet"])[0]
        for what, reproduction in made.items()
        for name, variant in reproduction.variants().items()
        for task in variant.tasks
    }

    def alike(key, own, **changes):
        return settings[key] == Settings.from_dict({**own.to_dict(), "seeds": "4..5", **changes})

    for task in ("and", "or", "xor", "not", "identity"):
        assert alike(("deep-2020", "deep-2020", task), preset(task, "deep-2020"))
        assert settings["revisited", "deep-2020", task] == settings["deep-2020", "deep-2020", task]
        assert alike(("revisited", "local", task), preset(task, "small"), keep="last")
        assert alike(("revisited", "local-16", task), preset(task), keep="last")
    assert alike(("mnist", "layered", "mnist"), preset("mnist"))
    assert len(settings) == 5 + 15 + 3
    assert "2006.08798" in made["deep-2020"].published
    assert "Only its abstract is at" in made["revisited"].published
    assert "none is\nattributed to the paper" in made["revisited"].derived
    # What is called recorded is what the documentation says of the same command.
    recorded = (ROOT / "docs" / "measurements" / "directed.md").read_text()
    for name, variant in made["mnist"].variants().items():
        command = " ".join(["direp train", *variant.arguments("mnist", "0..2")])
        (row,) = (line for line in recorded.splitlines() if f"`{command}`" in line)
        assert f"| {RECORDED[name]} |" in row


def test_an_interrupted_reproduction_goes_on_where_it_was(reproduced, tmp_path, monkeypatch):
    trained, stop = [], True

    def records(settings, out, how):
        if stop and len(trained) == 2:
            raise KeyboardInterrupt
        trained.append(out.relative_to(tmp_path / "out"))
        return record_on(settings, out, how)

    monkeypatch.setattr("direp.program.reproduce.run.record_on", records)
    words = ("--seeds", "0,2..3", "--quiet")
    code, out, err = call("reproduce", SMALL, *words, "--out", tmp_path / "out")
    assert (code, out) == (130, "")
    command = err.strip().rpartition("go on with: ")[2]
    assert command == f"direp reproduce {SMALL} --seeds 0,2..3 --quiet --out {tmp_path / 'out'}"
    assert not (tmp_path / "out" / "report.md").exists()
    stop = False
    code, out, _ = call(*command.split()[1:], "--json")
    assert code == 0
    assert trained == [Path(name, task) for name in ("weak", "strong") for task in ("and", "or")]
    found, whole = json.loads(out), reproduced[1]
    for (*_, ours), (*_, theirs) in zip(runs_of(found), runs_of(whole), strict=True):
        ignored = ("seconds", "run")
        assert {k: v for k, v in ours.items() if k not in ignored} == {
            k: v for k, v in theirs.items() if k not in ignored
        }
    assert found["paired"] == whole["paired"]


def test_a_baseline_that_is_there_is_not_trained_again(reproduced, tmp_path, monkeypatch):
    folder, document = reproduced
    monkeypatch.setattr("direp.program.reproduce.gates.AbstractGates.figures", lambda *_: iter(()))
    words = ("--only", "or", "--json", "--quiet", "--baseline", folder, "--out")
    code, out, _ = call("reproduce", SMALL, "--seeds", "0,2,3", *words, tmp_path / "out")
    found = json.loads(out)
    assert code == 0
    assert found["runs"]["weak"] == {"or": document["runs"]["weak"]["or"]}
    assert found["paired"]["strong"]["or"] == document["paired"]["strong"]["or"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_dir()) == ["strong"]

    code, _, err = call("reproduce", SMALL, "--seeds", "0..1", *words, tmp_path / "other")
    assert (code, err.count("\n")) == (2, 1)
    assert "was trained by other settings (seeds 0,2..3, here 0..1)" in err
    (tmp_path / "empty").mkdir()
    code, _, err = call("reproduce", SMALL, "--baseline", tmp_path / "empty", "--out", tmp_path / "other")
    assert (code, err.count("\n")) == (3, 1)
    assert "has no finished run in" in err
    assert not (tmp_path / "other").exists()


def test_nothing_is_overwritten(reproduced, tmp_path):
    folder, _ = reproduced
    before = (folder / "report.md").read_bytes()
    own = tmp_path / "own"
    own.mkdir()
    (own / "notes.txt").write_text("mine")
    begun = tmp_path / "begun"
    begun.mkdir()
    asked = json.loads((folder / "reproduce.json").read_text())
    (begun / "reproduce.json").write_text(json.dumps({**asked, "epochs": 7}))
    for place, message in (
        (folder, "holds a report already"),
        (own, "already holds something"),
        (own / "notes.txt", "is a file"),
        (begun, "was begun with other options (epochs 7, here None)"),
    ):
        code, out, err = call("reproduce", SMALL, "--seeds", "0,2..3", "--out", place)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert message in err
    assert (folder / "report.md").read_bytes() == before
    assert [path.name for path in own.iterdir()] == ["notes.txt"]
    assert [path.name for path in begun.iterdir()] == ["reproduce.json"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "reproduce needs what to reproduce, before all options: deep-2020, revisited, mnist"),
        (("deep2020",), "did you mean 'deep-2020'"),
        (("deep-2020", "--only", "xorr"), "did you mean 'xor'"),
        (("deep-2020", "--seeds", "4..1"), "count upwards"),
        (("deep-2020", "--epochs", "0"), "--epochs 0 is out of range"),
        (("deep-2020", "--baseline", "."), "deep-2020 has no baseline beside it"),
        (("deep-2020", "--data-dir", "."), "deep-2020 reads no files of data"),
        (("revisited", "--baseline", "nowhere"), "--baseline nowhere is no folder"),
        (("direp.tasks:xor",), "makes an object of type Task; needed is AbstractReproduction"),
    ],
)
def test_wrong_use_gets_one_line(words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = call("reproduce", *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("diverged", "code"), [((0, 2), 0), ((1, 2), 0), ((2, 2), 4)])
def test_divergence_of_some_is_a_finding_and_of_all_an_error(diverged, code, tmp_path, monkeypatch):
    own = {name: {"seeds": 2, "diverged": {"count": n}} for name, n in zip(("weak", "strong"), diverged, strict=True)}
    monkeypatch.setattr("direp.program.reproduce.run.reproduce", lambda *_, **__: {"runs": {"a": own}})
    monkeypatch.setattr(Small, "tables", lambda *_: "")
    assert call("reproduce", SMALL, "--out", tmp_path / "out")[0] == code
