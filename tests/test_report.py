"""A report page: what it says of runs, whole or damaged, and that the network in it is the network."""

import json
import re
import shlex
import shutil

import jax
import numpy as np
import pytest
from program import call, finished, untold

import direp
from direp.program.doctor import Diagnosis, examined, symptoms
from direp.program.page import Sheet, page_of, sheet_of
from direp.program.page.charts import charts_of
from direp.program.page.page import _cell
from direp.program.page.player import MOST, Unplayable, player_of
from direp.rules import LearnedFeedback, initialise
from direp.runs import status_of

TASK = direp.tasks.xor()
TIGHT = direp.Tolerance(rtol=1e-12, atol=1e-12, max_steps=20_000)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page of a real run, with all figures."""
    out = tmp_path_factory.mktemp("page") / "report"
    code, said, err = call("report", finished()[0], "--out", out, "--json", "--quiet", drawn=True)
    assert (code, err) == (0, "")
    assert json.loads(said) == {"file": f"{out}/report.html", "runs": [str(finished()[0])], "incomplete": []}
    assert untold("report", json.loads(said)) == []
    return out / "report.html"


CASES = [
    (direp.Projected("signed"), direp.Local(beta=0.3)),
    (direp.Projected("absolute"), direp.SymmetricEP(direp.Centred(0.2))),
    (direp.Hopfield("sigmoid", "none"), direp.Local(direp.Centred(0.2))),
    (direp.Hopfield("tanh", "signed"), direp.AsymEP(direp.Centred(0.1))),
    (direp.Rate("sigmoid", "absolute"), direp.Local(beta=0.3)),
    (direp.Rate("tanh", "none"), direp.VectorField(beta=0.3)),
    (direp.Rate("sigmoid", "signed"), direp.AsymEP(beta=0.3, feedback=LearnedFeedback())),
    (direp.Projected("signed"), direp.AsymEP(beta=0.3, feedback=LearnedFeedback())),
]  # fmt: skip


def drawn(k, neuron, rule, outputs=1):
    graph = direp.Graph.random(2, 6, outputs, density=0.6, seed=k)
    network = direp.Network(graph, neuron, direp.Normal(0.7), bias=0.2, key=jax.random.key(k))
    network = direp.LeakController(0.3, criterion=direp.Perron()).begin(network)
    return network, initialise(rule, network, jax.random.key(k))


@pytest.fixture(scope="module")
def played(opened, tmp_path_factory):
    """Every neuron with every rule, in one page: networks, rules, and what the browser found of the last pattern."""
    cases = [(*drawn(k, neuron, rule), direp.SquaredError()) for k, (neuron, rule) in enumerate(CASES)]
    sheets = [Sheet(f"case {k}", player=player_of(*case, TASK)) for k, case in enumerate(cases)]
    path = tmp_path_factory.mktemp("played") / "page.html"
    path.write_text(page_of(sheets), encoding="utf-8")
    found = opened(
        path,
        """() => PLAYERS.map((player) => {
        player.take(2);
        player.finish();
        return {state: [...player.free.state], learned: [...player.learned], apart: player.apart(),
                settled: player.nudged.every((phase) => phase.settled)};
    })""",
    )
    return cases, found


def test_the_browser_settles_where_python_does(played):
    cases, found = played
    for (network, _, _), told in zip(cases, found, strict=True):
        rest = direp.settle(network, TASK.train.x[2:3], stop=TIGHT)
        assert told["settled"]
        assert told["apart"] < 1e-7
        np.testing.assert_allclose(told["state"], np.asarray(rest.state)[0], atol=1e-7)


def test_the_browser_learns_what_the_rule_learns(played):
    """The negative of the estimated gradient, synapse by synapse."""
    cases, found = played
    for (network, rule, cost), told in zip(cases, found, strict=True):
        y = np.asarray(TASK.train.y)[2:3]
        estimate = direp.estimate(network, TASK.train.x[2:3], y, rule, cost=cost, stop=TIGHT)
        expected = -np.asarray(network.synapses.strengths(estimate.gradient.weight))
        assert np.abs(expected).max() > 1e-3
        np.testing.assert_allclose(told["learned"], expected, atol=1e-5 * np.abs(expected).max(), err_msg=f"{rule}")


def test_cross_entropy_nudges_and_costs_as_in_python(opened, tmp_path):
    x, y = np.array([[0.3, 0.9], [1.0, 0.1], [0.2, 0.2]]), np.eye(3)
    samples = direp.tasks.Samples(x, y)
    task = direp.tasks.Task("three", samples, samples, samples, classes=("a", "b", "c"), whole=True)
    network, rule = drawn(9, direp.Projected("none"), direp.Local(beta=0.3), outputs=3)
    cost = direp.CrossEntropy(2.0)
    path = tmp_path / "page.html"
    path.write_text(page_of([Sheet("three", player=player_of(network, rule, cost, task))]), encoding="utf-8")
    told = opened(
        path,
        """() => { const p = PLAYERS[0]; p.take(1); p.finish(); return {learned: [...p.learned],
        loss: p.network.loss(p.network.outputRates(p.free.state), p.y)}; }""",
    )
    estimate = direp.estimate(network, x[1:2], y[1:2], rule, cost=cost, stop=TIGHT)
    assert told["loss"] == pytest.approx(float(np.asarray(estimate.loss)[0]), abs=1e-8)
    expected = -np.asarray(network.synapses.strengths(estimate.gradient.weight))
    np.testing.assert_allclose(told["learned"], expected, atol=1e-6)


def test_a_reader_changes_the_input_the_target_and_the_nudge(opened, page):
    told = opened(
        page,
        """() => {
        const player = PLAYERS[0], rates = () => player.network.outputRates(player.free.state);
        player.take(0); player.finish();
        const before = rates()[0], learned = player.learned.some((v) => v !== 0);
        player.parts.inputs.querySelector("input").value = 1;
        player.parts.inputs.querySelector("input").dispatchEvent(new Event("input"));
        player.parts.settle.click();
        const says = player.parts.settle.textContent;
        player.finish();
        const after = rates()[0], agrees = player.agreement();
        player.parts.beta.value = 0;
        player.parts.beta.dispatchEvent(new Event("input"));
        player.finish();
        player.chosen = 3; player.paint();
        return {before, after, says, agrees, phases: player.nudged.length, detail: player.parts.detail.textContent};
    }""",
    )
    assert abs(told["before"] - told["after"]) > 0.5
    assert told["says"] == "Pause"
    assert "changed by you" in told["agrees"]
    assert told["phases"] == 0
    assert "total leak" in told["detail"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
def test_it_fits_and_can_be_read(opened, page, width, scheme):
    """Nothing is wider than the screen, text stands out (WCAG AA), every picture has words, every field a name."""
    told = opened(
        page,
        """() => {
        const parse = (c) => c.match(/[\\d.]+/g).slice(0, 3).map(Number);
        const linear = (v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
        const bright = (c) => { const [r, g, b] = parse(c).map((v) => linear(v / 255));
            return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
        const ground = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
            if (!/, 0\\)|transparent/.test(c)) return c; } return "rgb(255, 255, 255)"; };
        const words = "p, td, th, li, h1, h2, h3, figcaption, button, label, summary, .chart text";
        const ratios = [...document.querySelectorAll(words)].map((e) => {
            const style = getComputedStyle(e), ink = e.tagName === "text" ? style.fill : style.color;
            const [a, b] = [bright(ink), bright(ground(e))].sort((a, b) => b - a);
            return (a + 0.05) / (b + 0.05); });
        const named = (e) => e.ariaLabel || e.labels?.length;
        return {wide: document.documentElement.scrollWidth, least: Math.min(...ratios), count: ratios.length,
            pictures: [...document.querySelectorAll("img")].map((i) => i.alt.length),
            unnamed: [...document.querySelectorAll("input, select")].filter((e) => !named(e)).length};
    }""",
        viewport={"width": width, "height": 800},
        color_scheme=scheme,
    )
    assert told["wide"] <= width
    assert told["count"] > 30
    assert told["least"] >= 4.5
    assert min(told["pictures"]) > 40
    assert told["unnamed"] == 0


def test_it_tells_what_the_run_told(page):
    text, document = page.read_text(), finished()[1]
    assert page.stat().st_size < 3e6
    assert f"{document['solved']} of 3" in text
    assert "contracts at rate" in text
    assert f"direp train --config {finished()[0]}/config.json" in text
    assert set(re.findall(r"https?://[^\s\"']+", text)) == {"http://www.w3.org/2000/svg"}  # a name, not a place
    embedded = json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])
    loss = embedded["charts"]["1"][0]
    rows = [json.loads(line) for line in (finished()[0] / "metrics.jsonl").read_text().splitlines()]
    each = np.array([row["per_seed"]["loss"] for row in rows])
    assert loss["epochs"] == [row["epoch"] for row in rows]
    for name, share in (("least", 0), ("low", 0.25), ("middle", 0.5), ("high", 0.75), ("most", 1)):
        np.testing.assert_allclose(loss["series"][0][name], np.quantile(each, share, axis=1), rtol=1e-3)


def test_the_same_run_makes_the_same_file(page, tmp_path):
    assert call("report", finished()[0], "--out", tmp_path / "again", "--quiet", drawn=True)[0] == 0
    assert (tmp_path / "again/report.html").read_bytes() == page.read_bytes()


def test_runs_side_by_side(opened, tmp_path):
    """One of them without an end: figures of each, in one table, with the settings in which they differ."""
    other = tmp_path / "other"
    shutil.copytree(finished()[0], other)
    for name in ("summary.json", "weights.safetensors"):
        (other / name).unlink()
    code, out, err = call("report", finished()[0], other, "--out", tmp_path / "both", "--quiet", drawn=True)
    path = tmp_path / "both/report.html"
    assert (code, out.strip()) == (3, str(path)), err
    text = path.read_text()
    assert "its networks were not looked at" in text
    assert "summary is missing" in text
    assert "medians of the seeds of a run" in text
    told = opened(path, "() => ({charts: DATA.charts.together.map((p) => p.series.length), players: PLAYERS.length})")
    assert told["players"] == 1
    assert set(told["charts"]) == {2}


def renamed(path, old, new):
    path.write_text(path.read_text().replace(old, new))


def spoil(folder, how):
    shutil.copytree(finished()[0], folder)
    how(folder)
    return folder


@pytest.mark.parametrize(("how", "says"), [
    (lambda f: (f / "config.json").unlink(), "config.json is missing"),
    (lambda f: (f / "weights.safetensors").unlink(), "weights.safetensors does not exist"),
    (lambda f: (f / "weights.safetensors").write_bytes(b"x" * 99), "weights.safetensors"),
    (lambda f: (f / "metrics.jsonl").write_text("{}\n"), "metrics.jsonl is damaged"),
    (lambda f: (f / "summary.json").write_text("[]"), "summary is missing or damaged"),
    (lambda f: [path.unlink() for path in f.iterdir()], "config.json is missing"),
    (lambda f: renamed(f / "summary.json", '"settle"', '"<b>"'), "summary.json is damaged"),
])  # fmt: skip
def test_a_folder_that_is_damaged_has_a_page(tmp_path, how, says):
    sheet = sheet_of(spoil(tmp_path / "run", how), "run", False, lambda what, share: None)
    text = page_of([sheet])
    assert says in text
    assert text.rstrip().endswith("</html>")


def test_what_is_no_run_is_refused_or_named(tmp_path):
    code, _, err = call("report", tmp_path / "none")
    assert code == 3
    assert "does not exist" in err
    assert call("report", "")[2] == "direp: '' does not exist: name a run folder\n"
    assert err.count("\n") == 1
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign/notes.txt").write_text("mine")
    code, _, err = call("report", tmp_path / "foreign", "--out", tmp_path / "page")
    assert code == 3
    assert "config.json is missing" in (tmp_path / "page/report.html").read_text()
    code, _, err = call("report", finished()[0], "--out", tmp_path / "foreign")
    assert code == 2
    assert "nothing is overwritten" in err
    assert (tmp_path / "foreign/notes.txt").read_text() == "mine"
    assert call("report")[0] == 2


def test_names_cannot_break_out_of_the_page(opened, tmp_path):
    evil = "</script><script>console.log('out')</script><img src=x onerror=alert(1)>&amp;\u2028"
    samples = direp.tasks.Samples(np.array([[0.0, 1.0], [1.0, 0.0]]), np.eye(2))
    task = direp.tasks.Task(evil, samples, samples, samples, classes=(evil, "b"), whole=True)
    network, rule = drawn(1, direp.Projected("none"), direp.Local(beta=1.0), outputs=2)
    sheet = Sheet(evil, subtitle=evil, settings=[(evil, evil, evil)], lines=[(evil, evil)],
                  player=player_of(network, rule, direp.SquaredError(), task))  # fmt: skip
    path = tmp_path / "page.html"
    path.write_text(page_of([sheet]), encoding="utf-8")
    told = opened(path, "() => [document.title, PLAYERS[0].data.given.classes[0], document.images.length]")
    assert told == [evil, evil, 0]


def test_what_a_page_cannot_run_is_said():
    graph = direp.Graph.complete(10, 400, 10)
    network = direp.Network(graph, direp.Projected(), key=jax.random.key(0))
    samples = direp.tasks.Samples(np.zeros((2, 10)), np.eye(10)[:2])
    task = direp.tasks.Task("large", samples, samples, samples)
    assert graph.synapses > MOST
    with pytest.raises(Unplayable, match="synapses"):
        player_of(network, direp.Local(), direp.SquaredError(), task)
    own = direp.Activation("mine", lambda s: 0.5 * s, (-np.inf, np.inf), (0.5, 0.5))
    small = direp.Network(direp.Graph.complete(2, 3, 1), direp.Rate(own), key=jax.random.key(0))
    with pytest.raises(Unplayable, match="'mine' is the user's own"):
        player_of(small, direp.Local(), direp.SquaredError(), TASK)
    other = direp.Network(direp.Graph.complete(2, 3, 1), direp.Projected(), key=jax.random.key(0))
    assert "Adjoint has other phases" in player_of(other, direp.Adjoint(), direp.SquaredError(), TASK)["note"]


def test_long_histories_are_thinned_and_gaps_stay_gaps():
    values = np.arange(1000.0)[:, None] * np.ones((1, 3))
    values[-1] = np.nan
    (panel,) = charts_of({"run": {"loss": values}})
    assert panel["epochs"][0] == 1
    assert panel["epochs"][-1] == 1000
    assert len(panel["epochs"]) <= 300
    assert panel["series"][0]["middle"][-1] is None
    assert panel["series"][0]["middle"][5] == panel["epochs"][5] - 1


def unfinished(examination, step):
    return Diagnosis("run", "", tuple(filter(None, [symptoms.Unfinished().look(examination)])), ())


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A copy of a run, in a folder whose name a shell would take apart; nothing is drawn of it, and little measured."""
    monkeypatch.setattr("direp.program.page.sheet._show", lambda *_: None)
    monkeypatch.setattr("direp.program.page.sheet.judged", unfinished)
    return shutil.copytree(finished()[0], tmp_path / "my $(run)")


def altered(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def sheet(run):
    return sheet_of(run, "run", False, lambda what, share: None)


@pytest.mark.parametrize("state", [[], {}, 5, True])
def test_a_status_in_no_word_is_none(state, run):
    altered(run / "status.json", state=state)
    assert status_of(run) == {}
    assert sheet(run).readable


@pytest.mark.parametrize("loss", [10**400, [1, 2], "much", None], ids=["large", "list", "word", "none"])
def test_losses_that_are_no_numbers_are_not_known(loss, run):
    told = json.loads((run / "summary.json").read_text())["per_seed"]
    altered(run / "summary.json", per_seed=[{**each, "train": {"loss": loss}} for each in told])
    assert examined(run).epochs == 60


@pytest.mark.parametrize(("name", "values"), [
    ("seconds", 10**400), ("settle", {"unconverged": 0, "steps_median": 10**400, "steps_max": 1, "method": "Euler"}),
    ("certificate", {"verdict": "undecided", "criterion": "norm", "reason": 5}),
], ids=["large", "larger", "number"])  # fmt: skip
def test_a_summary_that_another_hand_wrote_is_told(name, values, run):
    altered(run / "summary.json", **{name: values})
    page = page_of([sheet(run)])
    assert "summary.json is damaged" in page


def test_a_cell_of_a_number_that_is_none():
    assert _cell({"test": {"loss": 10**400}}, "test loss") == "–"


def test_a_run_that_ended_without_a_summary_is_not_whole(run):
    (run / "summary.json").unlink()
    assert not sheet(run).readable


def test_commands_to_type_hold_any_path(run):
    altered(run / "status.json", state="interrupted")
    (run / "summary.json").unlink()
    found = sheet(run)
    told = [line for verdict in found.verdicts for line in (verdict.text, *verdict.more) if str(run.name) in line]
    assert found.readable
    assert len(told) == 2
    assert all(shlex.quote(str(run)) in line for line in told)
