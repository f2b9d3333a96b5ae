"""`direp certify` as a user meets it: verdicts, exit codes, files, and wrong input in one line."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from cases import network
from matplotlib.colors import to_hex
from program import call, finished, folder_of

import direp
from direp.program.build import arguments, load_task
from direp.program.figures import certificate as plot
from direp.program.network_file import load_network, save_network
from direp.program.presets import preset

pytestmark = pytest.mark.usefixtures("_optax")
RING = np.array([[0, -3.0, 0], [0, 0, -3.0], [-3.0, 0, 0]])


def matrix(path, weight, leak=1.0, **more):
    np.savez(path, weight=weight, leak=leak, **more)
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A small real run, of three seeds."""
    folder = tmp_path_factory.mktemp("runs") / "xor"
    shutil.copytree(finished()[0], folder)
    return folder


def test_a_run_is_certified_for_the_phases_it_was_trained_with(run):
    code, out, _ = call("certify", run, "--json", drawn=True)
    assert code == 0
    document = json.loads(out)
    assert document["convergence"]["verdict"] == "proved"
    assert set(document["convergence"]["phases"]) == {"free", "beta=+6"}
    assert document["convergence"]["norm"]["name"] == "l1"
    learning = document["learning"]
    assert learning["verdict"] in ("proved", "refuted", "undecided")
    assert learning["criterion"] == "as run (Local, beta=+6, float32)"
    assert any("those of adam are not along this gradient" in said for said in learning["assumptions"])
    assert any("LeakController sets the leaks after every step" in said for said in learning["assumptions"])
    assert learning["count"] == 4
    assert sum(learning["counts"].values()) == 3
    assert learning["sentence"].startswith(
        {"undecided": "not decided whether a small step"}.get(learning["verdict"], "")
    )
    assert {"T3 output errors", "T6 detailed balance"} <= {step["criterion"] for step in learning["steps"]}
    assert len(document["per_seed"]) == 3
    for name in ("discs", "decay", "margin"):
        assert (run / "certificate" / f"{name}.png").stat().st_size > 5000
    assert json.loads((run / "certificate" / "certificate.json").read_text()) == document
    kept = json.loads((run / "certificate.json").read_text())  # what training itself left there
    assert kept["rate"] == document["convergence"]["rate"]
    code, out, _ = call("certify", run / "weights.safetensors", "--no-figures", "--criterion", "perron", "--bits", 16)
    assert code == 0
    assert "certificate-2" in out
    assert "weighted l1" in out
    assert "levels       not the stored numbers: each is put at one of 2^16 before" in out
    assert "Euler steps" in out


def test_a_run_is_certified_for_its_own_inputs(run):
    for which, samples in (("data", 3), ("box", None)):
        code, out, _ = call("certify", run, "--json", "--inputs", which, "--samples", 3)
        assert code == 0
        found = json.loads(out)["convergence"]
        assert found["phases"].keys() == {"free"}
        assert (found["within"]["samples"], found["within"]["share"]) == (samples, 1)


def test_a_verdict_at_so_many_levels_says_so_among_what_it_assumes(run):
    code, out, _ = call("certify", run, "--json", "--inputs", "data", "--samples", 3, "--bits", 12, "--on-off", 1e4)
    assert code == 0
    document = json.loads(out)
    levels = "not the stored numbers: each is put at one of 2^12 before, the least 1/10000 of the largest"
    assert document["convergence"]["assumptions"][0] == levels
    assert document["dies"] == {"mismatch": None, "devices": "shared", "bits": 12, "on_off": 1e4}


def test_metrics_say_for_every_epoch_whether_it_was_certified(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert all(line["certified"] == 1 and line["lowest_margin"] > 0.09 for line in lines)
    assert json.loads((run / "summary.json").read_text())["certificate"]["certified_epochs"] == 1


def test_a_refuted_matrix_leaves_a_counterexample_that_runs_again(tmp_path):
    path = matrix(tmp_path / "ring.npz", RING)
    code, out, _ = call("certify", path, "--neuron", "rate", "--activation", "tanh", "--no-figures")
    assert code == 6
    assert "refuted" in out
    example = tmp_path / "ring-certificate" / "counterexample.safetensors"
    assert example.exists()
    code, out, _ = call("certify", example)
    assert code == 6
    assert "Proved again" in out
    code, out, _ = call("certify", example, "--json")
    assert code == 6
    assert json.loads(out)["convergence"]["criterion"] == "cycle"


def test_an_undecided_network_says_what_it_would_take(tmp_path):
    path = matrix(tmp_path / "matrix.npz", RING * 0.4, leak=1.0)
    options = ("--neuron", "rate", "--activation", "tanh", "--criterion", "perron", "--starts", "4")
    code, out, _ = call("certify", path, "--json", *options)
    document = json.loads(out)["convergence"]
    assert code == 5
    assert document["verdict"] == "undecided"
    assert abs(document["remedy"]["common_leak"] - 0.2) < 1e-6
    assert abs(document["remedy"]["weight_scale"] - 1 / 1.2) < 1e-6
    assert "would certify it" in document["reason"]
    code, out, _ = call("certify", matrix(path, RING * 0.4 / 1.21), "--neuron", "rate", "--no-figures")
    assert code == 0


def test_an_option_that_changes_nothing_is_refused_and_no_verdict_seems_to_be_of_it(run, tmp_path):
    save_network(tmp_path / "net.safetensors", network("hopfield-sigmoid", "absolute"))
    npz, net = matrix(tmp_path / "matrix.npz", RING * 0.1), tmp_path / "net.safetensors"
    phases, own = "a run is certified for the phases it was trained with", "has its own: leave it out"
    for path, option, value, why in (
        (run, "neuron", "rate", own), (run, "outflow", "absolute", own), (run, "activation", "tanh", own),
        (run, "leak", 2.0, own), (run, "nudge", "centred", phases), (run, "beta", 2.0, phases),
        (net, "outflow", "signed", own), (net, "leak", 2.0, own), (npz, "leak", 2.0, own),
        (npz, "activation", "tanh", "projected units have none: give --neuron hopfield or rate"),
        (npz, "beta", 2.0, "it is the strength of a nudge: give --nudge too, such as --nudge one-sided"),
    ):  # fmt: skip
        code, out, err = call("certify", path, f"--{option}", value, "--no-figures")
        assert (code, out) == (2, "")
        assert err.startswith(f"direp: --{option} {value}: ")
        assert why in err
        assert err.count("\n") == 1


def test_network_files_are_certified(tmp_path):
    save_network(tmp_path / "net.safetensors", network("hopfield-sigmoid", "absolute"))
    code, out, _ = call("certify", tmp_path / "net.safetensors", "--nudge", "centred", "--beta", "0.1")
    assert code == 0
    assert "beta=-0.1" in out
    assert "Hopfield (sigmoid), absolute outflow" in out
    assert "learning     undecided: a rule descends on data: certify the folder of a run" in out


def test_deep_2020_is_not_proved_and_the_reason_is_its_singular_jacobian(tmp_path):
    settings = preset("xor", "deep-2020")
    networks = arguments(settings, load_task(settings))["network"]
    folder = folder_of(tmp_path / "run", networks, settings.to_dict())
    code, out, _ = call("certify", folder, "--json", "--no-figures", "--starts", "4")
    document = json.loads(out)["convergence"]
    assert code in (5, 6)
    assert "singular whatever the weights" in document["reason"]
    assert {"local leak", "Perron"} <= {attempt["criterion"] for attempt in document["attempts"]}


@pytest.mark.parametrize(
    ("arrays", "code", "message"),
    [
        ({"weight": RING, "leak": -1.0}, 2, "leaks are 0 or above"),
        ({"weight": RING, "leak": np.array([1.0, -2.0, 1.0])}, 2, "leak of unit 1 is -2"),
        ({"weight": RING, "leak": np.ones(2)}, 2, "leak has shape (2,)"),
        ({"weight": np.where(RING < 0, np.nan, 0), "leak": 1.0}, 2, "NaN"),
        ({"weight": RING, "leak": np.array([1.0, np.inf, 1.0])}, 2, "NaN or infinite"),
        ({"weight": np.zeros((0, 0)), "leak": 1.0}, 2, "square matrix"),
        ({"weight": RING[:2], "leak": 1.0}, 2, "square matrix"),
        ({"weight": np.eye(3), "leak": 1.0}, 2, "from a unit to itself"),
        ({"weight": RING, "leak": 1.0, "inputs": 3}, 2, "no free unit"),
        ({"weight": RING}, 3, "needed are leak"),
        ({"x": RING, "y": RING}, 3, "needed are leak"),
    ],
)
def test_bad_matrices_get_one_line(arrays, code, message, tmp_path):
    np.savez(tmp_path / "matrix.npz", **arrays)
    got, out, err = call("certify", tmp_path / "matrix.npz")
    assert (got, out) == (code, "")
    assert message in err
    assert err.count("\n") == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["matrix.npz"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["certify"], 2, "needs a path"),
        (["certify", "nowhere"], 3, "does not exist"),
        (["certify", "nowhere.npz"], 3, "does not exist"),
        (["certify", "nowhere.safetensors"], 3, "does not exist"),
        (["certify", "junk.npz"], 3, "not a readable .npz"),
        (["certify", "junk.safetensors"], 3, "not a readable safetensors"),
        (["certify", "junk.txt"], 3, "no run folder"),
        (["certify", "folder"], 3, "config.json is missing"),
        (["certify", "good.npz", "--criterion", "peron"], 2, "did you mean 'perron'"),
        (["certify", "good.npz", "--starts", "-1"], 2, "--starts -1"),
        (["certify", "good.npz", "--on-off", "10"], 2, "--on-off 10 is of the levels of --bits: give --bits too"),
        (["certify", "good.npz", "--devices", "separate"], 2, "give by how much, too, such as --mismatch 5%"),
        (["certify", "good.npz", "--neuron", "rat"], 2, "did you mean 'rate'"),
        (["certify", "good.npz", "--out", "folder/taken"], 2, "nothing is overwritten"),
        (["certify", "good.npz", "--nudge", "centred", "--beta", "0"], 2, "must be finite and not 0"),
    ],
)
def test_wrong_use_of_certify(arguments, code, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("junk.npz", "junk.safetensors", "junk.txt"):
        (tmp_path / name).write_bytes(b"junk")
    (tmp_path / "folder" / "taken").mkdir(parents=True)
    (tmp_path / "folder" / "taken" / "mine").write_text("precious")
    matrix(tmp_path / "good.npz", RING * 0.1)
    got, out, err = call(*arguments)
    assert (got, out) == (code, "")
    assert message in err
    assert err.count("\n") == 1
    assert (tmp_path / "folder" / "taken" / "mine").read_text() == "precious"


def test_a_run_with_damaged_weights_is_unreadable(run, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(run, broken)
    content = (broken / "weights.safetensors").read_bytes()
    (broken / "weights.safetensors").write_bytes(content[: len(content) // 2])
    assert call("certify", broken)[0] == 3


def test_both_signs_of_a_random_nudge_are_certified(tmp_path):
    path = matrix(tmp_path / "matrix.npz", RING * 0.1)
    code, out, _ = call("certify", path, "--nudge", "random-sign", "--beta", "0.1", "--json", "--no-figures")
    assert code == 0
    assert set(json.loads(out)["convergence"]["phases"]) == {"free", "beta=+0.1", "beta=-0.1"}


def test_files_of_the_first_version_are_read(tmp_path):
    """Made before network files had a layout; the same network saved again is the same."""
    old = load_network(Path(__file__).parent / "data" / "network-1.safetensors")
    assert (old.graph, old.neuron) == (direp.Graph.layered([2, 3, 1]), direp.Rate(direp.activation.tanh, "absolute"))
    made = np.arange(1.0, 13.0)[: old.graph.synapses] / 20
    matrix = np.asarray(old.matrix)
    assert (matrix[old.graph.source, old.graph.target - 2] == made).all()
    assert np.asarray(old.leak).tolist() == [1.0, 2.0, 3.0, 4.0]
    assert np.asarray(old.bias).tolist() == [0.1, 0.2, 0.3, 0.4]
    save_network(tmp_path / "new.safetensors", old)
    assert (np.asarray(load_network(tmp_path / "new.safetensors").matrix) == matrix).all()


def test_a_layout_other_than_the_default_is_kept(tmp_path):
    graph = direp.Graph.layered([2, 3, 1])
    for layout in (direp.Dense(graph), direp.Sparse(graph)):
        save_network(tmp_path / "net.safetensors", made := network("projected", "signed", graph, layout=layout))
        again = load_network(tmp_path / "net.safetensors")
        assert type(again.synapses) is type(layout)
        assert (np.asarray(again.matrix) == np.asarray(made.matrix)).all()


def test_a_run_knows_its_data(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 3)), np.arange(40) % 2
    (tmp_path / "here").mkdir(), (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    np.savez("data.npz", x=x, y=y)
    code, _, err = call("train", "data.npz", "--hidden", "4", "--epochs", "2", "--quiet", "--out", tmp_path / "run")
    assert (code, err) == (0, "")
    monkeypatch.chdir(tmp_path / "there")  # found by the path it had

    def certify(out):
        asked = ("certify", tmp_path / "run", "--no-figures", "--samples", "2", "--quiet", "--json")
        code, text, err = call(*asked, "--out", tmp_path / out)
        assert code == 0
        return json.loads(text)["learning"], err

    shutil.copytree(tmp_path / "run", tmp_path / "less")
    (tmp_path / "less" / "status.json").write_text('{"state": "interrupted", "epoch": 2}')
    code, _, err = call("resume", tmp_path / "less", "--epochs", "1", "--quiet")
    assert (code, err) == (0, "")  # its schedule does not stretch where it ends
    learning, err = certify("one")
    assert err == ""
    assert learning["count"] == 2
    data = tmp_path / "here" / "data.npz"
    np.savez(data, x=x + np.eye(40, 3), y=y)
    learning, err = certify("two")
    assert learning["verdict"] == "undecided"
    assert "is not that of the run" in learning["reason"]
    assert err.count("is not that of the run") == len(err.splitlines()) == 1
    _, _, err = call("train", "--config", tmp_path / "run" / "config.json", "--epochs", "1", "--quiet")
    assert "is not that of the run" in err
    code, _, err = call("resume", tmp_path / "run", "--epochs", "4")
    assert (code, "is not that of the run" in err, err.count("\n")) == (3, True, 1)
    np.savez(data, x=x[:, :2], y=y)  # networks have three inputs all the same
    assert certify("three")[0]["verdict"] == "undecided"
    code, _, err = call("gradient", tmp_path / "run")
    assert (code, "is not that of the run" in err) == (3, True)
    np.savez(data, x=x, y=0 * y)  # no task at all
    assert "one class only" in certify("one class")[0]["reason"]
    data.unlink()
    learning, err = certify("four")
    assert learning["reason"].startswith("the data file is not there")
    assert len(err.splitlines()) == 1
    assert call("gradient", tmp_path / "run")[0] == 3


def test_a_config_without_its_sha256_line_is_json(run):
    lines = (run / "config.json").read_text().splitlines()
    kept = [line for line in lines if '"sha256"' not in line]
    assert len(kept) == len(lines) - 1
    json.loads("\n".join(kept))


def test_figures_are_of_the_free_phase_where_only_other_phases_are_undecided(tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(plot, "save", lambda figure, path, formats: drawn.update({path.stem: figure.axes[0]}))
    net = network("rate-tanh", "none")
    certificate = direp.certify(net, rule=direp.AsymEP(direp.Centred(2.0)), starts=0)
    assert (certificate.verdict, set(certificate.phases)) == ("undecided", {"free"})
    plot.save_figures(tmp_path, net, certificate, None, [{"epoch": 1, "lowest_margin": 0.1, "certified": 1}])
    assert drawn["discs"].get_title() == "free phase proved; phases of AsymEP undecided"
    colours = {to_hex(edge) for circles in drawn["discs"].collections for edge in circles.get_edgecolor()}
    assert plot.GREEN in colours <= {plot.GREEN, plot.LIGHT}
    times, bound = drawn["decay"].lines[-1].get_data()
    np.testing.assert_allclose(bound, np.exp(-certificate.phases["free"] * times))
    for line in drawn["decay"].lines[:-1]:  # the floor of rounding is not drawn
        assert not (np.asarray(line.get_ydata()) <= 1e-10).any()
    assert "free phase" in drawn["margin"].get_legend().get_texts()[0].get_text()


def test_a_matrix_without_data_has_no_row_of_learning(tmp_path):
    code, out, _ = call("certify", matrix(tmp_path / "ring.npz", RING / 6), "--no-figures")
    assert code == 0
    assert "learning" not in out
    assert "\nassuming     the weights, biases and leaks stay as they are while it settles\n" in out
