"""`direp compare`: rules on the same seeds, with intervals, as a command and as numbers."""

import json

import numpy as np
import pytest
from program import call, untold
from scipy import stats

from direp.analysis.comparison import table
from direp.analysis.statistics import bootstrap_mean, wilson
from direp.program.commands.compare import variant
from direp.program.presets import preset
from direp.program.record import record
from direp.program.settings import WrongUse

pytestmark = pytest.mark.usefixtures("_optax")


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """Folder, document, and the outcome of every rule."""
    folder, outcomes = tmp_path_factory.mktemp("runs") / "compare", []

    def keeps(settings, out, how):
        outcomes.append(record(settings, out, how))
        return outcomes[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("direp.program.commands.compare.record", keeps)
        code, out, _ = call(
            "compare", "identity", "--preset", "small", "--hidden", "2", "--epochs", "5", "--seeds", "0,2..3",
            "--probe", "2", "--rules", "local", "local:beta=6.0", "adjoint", "--json", "--quiet", "--out", folder,
            drawn=True,
        )  # fmt: skip
    assert code == 0
    return folder, json.loads(out), outcomes


def test_the_same_rule_twice_differs_by_nothing_and_another_one_does(compared):
    _, document, _ = compared
    assert list(document["rules"]) == ["local", "local:beta=6.0", "adjoint"]
    assert (document["seeds"], document["seed_range"]) == (3, "0,2..3")
    same, other = document["paired"]["local:beta=6.0"], document["paired"]["adjoint"]
    assert same["loss"] == {"mean": 0.0, "interval": [0.0, 0.0]}
    assert same["solved_only_here"] == same["solved_only_there"] == 0
    assert other["loss"]["mean"] != 0
    assert other["loss"]["interval"][0] <= other["loss"]["mean"] <= other["loss"]["interval"][1]
    assert abs(document["rules"]["adjoint"]["cosine"] - 1) < 1e-3
    for entry in document["rules"].values():
        assert entry["epochs"] == entry["updates"] == 5
        assert abs(entry["steps_total"] - 5 * 2 * entry["steps"]) < 1e-3 * entry["steps_total"]
        assert len(entry["per_seed"]["test_loss"]) == 3
        assert entry["solved_interval"] == list(wilson(entry["solved"], 3))


def test_the_folder_holds_every_run_the_table_and_the_figure(compared):
    folder, document, _ = compared
    assert json.loads((folder / "compare.json").read_text()) == document
    assert untold("compare", document, *document["rules"].values(), *document["paired"].values()) == []
    assert len((folder / "table.md").read_text().splitlines()) == 5
    assert (folder / "compare.png").stat().st_size > 5000
    for k, name in enumerate(("local", "local_beta=6.0", "adjoint"), 1):
        config = json.loads((folder / f"{k}-{name}" / "config.json").read_text())["settings"]
        assert config["seeds"] == "0,2..3"
        assert config["rule"] == name.split("_")[0]


def test_a_variant_takes_settings_and_presets():
    base = preset("xor", "small")
    assert variant("local", base) == base
    made = variant("asym-ep:beta=0.5:margin=None:hidden=3,2:graph=layered:outputs-only=true", base)
    assert (made.rule, made.beta, made.margin, made.hidden, made.outputs_only) == ("asym-ep", 0.5, None, (3, 2), True)
    assert variant("preset=deep-2020", base).rule == "trajectory"
    images = preset("mnist")
    assert (images.rule, images.feedback) == ("asym-ep", "learned")
    assert variant("local", images).feedback == "shared"
    assert variant("asym-ep", images).feedback == "learned"
    assert variant("asym-ep:feedback=shared", images).feedback == "shared"
    assert variant("local:margin=none", base).margin is None
    mine = variant("mymodule:Mine.made:beta=0.5", base)
    assert (mine.rule, mine.beta) == ("mymodule:Mine.made", 0.5)
    assert variant("preset=guaranteed:hidden=5", base).hidden == (5,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lokal", "did you mean 'local'"),
        ("local:beta", "is no setting=value"),
        ("local:betta=1", "did you mean 'beta'"),
        ("local:sharpness=2", "--sharpness 2.0 is of --cost cross-entropy, and the cost is squared"),
        ("local:beta=big", "beta='big' does not fit; needed is float"),
        ("local:beta=0", "--beta 0 is no nudge"),
        ("local:seeds=0..3", "seeds is the same for all rules"),
        ("local:rule=adjoint", "rule is the same for all rules"),
        ("local:split=3", "split is the same for all rules"),
        ("local:beta=1:beta=2", "beta is given twice"),
        ("local:hidden=3,a", "hidden='3,a' does not fit; needed is numbers with commas"),
        ("local:prune=yes", "prune='yes' does not fit; needed is true or false"),
        ("preset=deep", "did you mean 'deep-2020'"),
    ],
)
def test_a_wrong_variant_is_refused_in_words(text, message):
    with pytest.raises(WrongUse) as caught:
        variant(text, preset("xor", "small"))
    assert message in str(caught.value)


def test_presets_bring_their_own_budget_and_the_table_says_so():
    budgets = {"local": preset("xor"), "preset=deep-2020": variant("preset=deep-2020", preset("xor"))}
    row = {
        "solved": 3, "seeds": 20, "solved_interval": wilson(3, 20), "failed": 2, "epochs_to_solve": float("inf"),
        "test_accuracy": 0.75, "test_accuracy_interval": (0.7, 0.8), "unsettled": None, "steps": None, "cosine": None,
        "certificate": "undecided", "seconds": 1.0,
    }  # fmt: skip
    rules = {name: {**row, "updates": settings.epochs} for name, settings in budgets.items()}
    lines = table({"rules": rules, "paired": {}}).splitlines()
    assert lines[-1] == "Budgets differ. Updates a seed: local 300, preset=deep-2020 200."
    assert "| local | 3 of 20 (5.2 to 36.0 %), 2 failed | most never do | 75.00%" in lines[2]


def test_an_interrupted_comparison_keeps_the_rules_that_are_done(compared, tmp_path, monkeypatch):
    def stops(settings, out, how):
        if settings.rule == "adjoint":
            raise KeyboardInterrupt
        return compared[2][0]

    monkeypatch.setattr("direp.program.commands.compare.record", stops)
    folder = tmp_path / "compare"
    code, out, err = call(
        "compare", "identity", "--preset", "small", "--epochs", "2", "--rules", "local", "adjoint", "dyadic",
        "--quiet", "--json", "--out", folder,
    )  # fmt: skip
    assert code == 130
    assert "interrupted; 1 of 3 rules are in" in err
    assert list(json.loads(out)["rules"]) == ["local"]
    assert len((folder / "table.md").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "compare needs a task"),
        (("xor", "--rules"), "--rules is empty"),
        (("xor", "--epochs", "many"), "many"),
        (("xorr",), "did you mean 'xor'"),
        (("xor", "--rules", "lokal"), "did you mean 'local'"),
        (("xor", "--density", "0.5"), "--density 0.5 is of --graph random, and the graph is complete"),
        (("xor", "--seeds", "4..1"), "count upwards"),
        (("xor", "--preset", "smal"), "did you mean 'small'"),
        (("xor", "--rules", "local", "local:feedback=learned"), "--rules local:feedback=learned: --feedback learned"),
        (("xor", "--graph", "random", "--density", "0.05"), "give a higher density, or more hidden units"),
    ],
)
def test_wrong_use_gets_one_line(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = call("compare", *arguments)
    assert code == 2
    assert message in err
    assert out == ""
    assert len(err.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_intervals():
    for hits, count in ((0, 10), (3, 20), (1000, 1000)):
        expected = stats.binomtest(hits, count).proportion_ci(method="wilson")
        assert wilson(hits, count) == (expected.low, expected.high)
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        low, high = bootstrap_mean(rng.normal(size=30), resamples=1000)
        covered += low < 0 < high
    assert 0.88 < covered / 200 < 0.99
    assert bootstrap_mean(np.ones(1)) == (float("-inf"), float("inf"))
