"""The catalogue: every name builds and is in the help; a user's own parts on the command line and in saved runs."""

import dataclasses
import inspect
import json

import numpy as np
import pytest
from program import call, folder_of

import direp
from direp.model import ACTIVATIONS, OUTFLOWS
from direp.program.build import Parts, arguments, load_task
from direp.program.catalogue import CATALOGUE, names
from direp.program.network_file import load_network, save_network
from direp.program.parts import WrongUse, build, fingerprint, name_of, resolve
from direp.program.presets import PRESETS, preset
from direp.program.run_folder import keep_networks, new_run, open_run
from direp.program.settings import TAKEN_BY, Settings
from direp.runs import Unreadable

pytestmark = pytest.mark.usefixtures("_optax")
SETTINGS = [field.name for field in dataclasses.fields(Settings) if field.name in CATALOGUE and field.name != "task"]
MODULE = """
import jax.numpy as jnp
import direp
from direp.certificates import Rows
from direp.model.activation import Activation
from direp.rules import Local, OneSided, SquaredError

act = Activation("my-tanh", jnp.tanh, (-1.0, 1.0), (0.0, 1.0))

class Neuron(direp.Rate): pass
class Rule(Local): pass
class Cost(SquaredError): pass
class Nudge(OneSided): pass
class Control(direp.LeakController): pass
class Criterion(Rows): pass

def task():
    return direp.tasks.gate("or")

def layout(inputs, hidden, outputs):
    return direp.Dense(direp.Graph.layered([inputs, hidden, outputs]))

def needs(nudge, wings):
    return Local(nudge)

def fails(nudge):
    return nudge.nothing

number = 3
"""


@pytest.mark.parametrize("kind", [kind for kind in CATALOGUE if kind not in ("task", "part")])
def test_every_name_builds_what_its_kind_says(kind, tmp_path):
    task = direp.tasks.from_arrays(np.random.default_rng(0).random((30, 3)), np.arange(30) % 3)
    for name in names(kind):
        graph = "layered" if kind in ("layout", "method") else "complete"
        if (kind, name) == ("init", "file"):
            graph = str(tmp_path / "graph.csv")
            direp.Network(direp.Graph.complete(3, 2, 3), direp.Projected(), np.zeros((8, 5))).to_csv(graph)
        own = "own.npz" if kind == "kind" else "xor"
        settings = Settings(task=own, graph=graph, hidden=(2,), outflow="none", rule="asym-ep", neighbours=2)
        settings = dataclasses.replace(settings, **{kind: name}) if kind in SETTINGS else settings
        settings.check()
        made = build(kind, name, Parts(settings, task).known)
        if CATALOGUE[kind].base and name != "none":
            assert isinstance(made, tuple(resolve(base, kind) for base in CATALOGUE[kind].base.split()))


@pytest.mark.parametrize("kind", SETTINGS)
def test_other_names_are_refused(kind):
    with pytest.raises(WrongUse, match=f"--{kind} 'nothing' is unknown: there are {names(kind)[0]}"):
        dataclasses.replace(Settings(), **{kind: "nothing"}).check()


# Of tasks; refused by themselves; used whether a part asks or not, or by what measures all rules alike.
ELSEWHERE = {"scale", "split", "data_dir", "reciprocity", "feedback", "leak", "nudge"}


def test_settings_that_only_some_parts_take_are_taken_by_these():
    found = {}
    for setting in {field.name for field in dataclasses.fields(Settings)} - ELSEWHERE:
        asked = {}
        for kind, about in CATALOGUE.items():
            own = {item.partition("=")[0] for item in about.takes.split() if item.split("=")[-1] == setting}
            parts = [name for name, entry in about.entries.items() if own and entry.path]
            signatures = {name: inspect.signature(resolve(about.entries[name].path, name)).parameters for name in parts}
            if own:
                asked[kind] = [name for name, parameters in signatures.items() if own & parameters.keys()]
        if len(asked) == 1:
            ((kind, those),) = asked.items()
            if those and len(those) < len(CATALOGUE[kind].entries):
                found[setting] = (kind, *those)
    assert found == TAKEN_BY


def test_the_library_and_the_program_have_the_same_outflows_and_activations():
    assert set(OUTFLOWS) == set(names("outflow"))
    assert set(ACTIVATIONS) == set(names("activation"))
    assert all(resolve(CATALOGUE["activation"].entries[name].path, name) == a for name, a in ACTIVATIONS.items())


def test_every_task_has_presets_and_every_part_of_the_benchmark_is_there():
    assert set(PRESETS) == set(names("task"))
    for task, own in PRESETS.items():
        for name in own:
            preset(task, name).check()
    assert all(callable(resolve(entry.path, "part")) for entry in CATALOGUE["part"].entries.values())


def test_help_lists_every_name():
    code, out, _ = call("train", "--help")
    words = out.replace("│", " ").split()
    shown = {word.strip("(),.;:") for word in words}
    assert code == 0
    wanted = {name for kind in (*SETTINGS, "task") for name in names(kind)}
    assert wanted | {name for own in PRESETS.values() for name in own} <= shown
    assert set(names("criterion")) <= {word.strip("(),.;:") for word in call("certify", "--help")[1].split()}
    for task in names("task"):
        assert task in call("--help")[1]


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A directory with a user's module, which is the current one; its name is new, so that nothing is kept of it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    name = f"mine_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    return name


def test_own_parts_train_and_their_run_is_read_with_care(module, tmp_path):
    own = {"graph": "layout", "neuron": "Neuron", "activation": "act", "rule": "Rule", "cost": "Cost", "nudge": "Nudge"}
    own |= {"control": "Control"}
    options = [part for kind, name in own.items() for part in (f"--{kind}", f"{module}:{name}")]
    train = ("train", f"{module}:task", "--hidden", "2", "--epochs", "1", *options, "--quiet", "--out", "run")
    code, out, err = call(*train)
    assert (code, err) == (0, "")
    assert "1 epoch in" in out
    assert "proved" in out
    file, digest = fingerprint(f"{module}:Rule")
    assert file == tmp_path / f"{module}.py"
    kept = json.loads((tmp_path / "run" / "config.json").read_text())["own"]
    assert kept == {kind: {"path": f"{module}:{n}", "sha256": digest} for kind, n in ({"task": "task"} | own).items()}

    for command in (["certify", "run"], ["gradient", "run"], ["train", "--config", "run/config.json"]):
        code, out, err = call(*command)
        assert (code, out, err.count("\n")) == (3, "", 1)
        assert f"rule {module}:Rule" in err
        assert "(unchanged): code is imported only with --allow-import" in err
    code, out, err = call(
        "certify",
        "run",
        "--allow-import",
        "--criterion",
        f"{module}:Criterion",
        "--starts",
        "0",
        "--no-figures",
        "--json",
    )
    assert (code in (0, 5), err) == (True, "")
    assert json.loads(out)["convergence"]["attempts"][0]["criterion"] == "rows"
    code, out, _ = call(
        "gradient", "run", "--allow-import", "--rules", f"{module}:Rule", "--no-figures", "--quiet", "--at", "trained",
        "--json",
    )  # fmt: skip
    assert code == 0
    assert json.loads(out)["nudge"]["measured"] == f"{module}:Nudge 2"
    assert json.loads(out)["rules"][f"{module}:Rule"]["cosine"] is not None

    (tmp_path / f"{module}.py").write_text(MODULE + "\n# changed\n")
    code, out, err = call("certify", "run")
    assert (code, out) == (3, "")
    assert "(changed since): code is imported only" in err
    code, out, err = call("certify", "run", "--allow-import", "--starts", "0", "--no-figures")
    assert code == 0
    assert "(changed since): numbers may differ" in err
    (tmp_path / f"{module}.py").unlink()
    code, out, err = call("certify", "run", "--allow-import")
    assert (code, out) == (3, "")
    assert "is neither on sys.path nor in the current directory" in err


def test_nothing_is_imported_by_a_file(module, tmp_path):
    """Neither the module nor the package that holds it."""
    (tmp_path / "package").mkdir()
    for name in ("__init__", "inner"):
        (tmp_path / "package" / f"{name}.py").write_text("raise SystemExit('imported')")
    networks = arguments(Settings(hidden=(2,)), direp.tasks.xor())["network"]
    folder_of(tmp_path / "run", networks, task="xor", hidden=(2,), rule="package.inner:Rule")
    code, _, err = call("certify", "run")
    assert code == 3
    assert "package.inner:Rule" in err


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("needs", "needs 'wings', which nothing fills: give it a default, or ask for any of nudge, beta"),
        ("fails", "fails when called with nudge: AttributeError"),
        ("number", "is of type int; needed is AbstractRule, or what makes one"),
        ("task", "makes an object of type Task; needed is AbstractRule"),
        ("Ruel", "did you mean 'Rule'"),
    ],
)
def test_own_parts_that_do_not_fit_are_refused_in_words(name, message, module, tmp_path):
    code, out, err = call("train", "xor", "--rule", f"{module}:{name}", "--out", "run")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert not (tmp_path / "run").exists()


def test_network_files_keep_own_neurons_by_path(module, tmp_path):
    mine = resolve(f"{module}:Neuron", "neuron")
    act = resolve(f"{module}:act", "activation")
    assert name_of("activation", act) == f"{module}:act"
    graph = direp.Graph.layered([2, 2, 1])
    net = direp.Network(graph, mine(act, "signed"), 0.1 * graph.adjacency(), leak=2.0)
    save_network("net.safetensors", net)
    with pytest.raises(Unreadable, match="only with --allow-import"):
        load_network("net.safetensors")
    again = load_network("net.safetensors", allow_import=True)
    assert again.neuron == net.neuron
    assert (np.asarray(again.matrix) == np.asarray(net.matrix)).all()
    code, _, err = call("certify", "net.safetensors")
    assert (code, err.count("\n")) == (3, 1)


class Learner(direp.rules.AbstractRule):
    """Has something to learn itself."""

    feedback: direp.rules.Learned = direp.rules.Learned(lambda network, key: {"b": np.zeros(3), "w": np.zeros((2, 3))})

    def estimate(self, problem, key):
        raise NotImplementedError


def test_what_a_rule_learns_is_kept(tmp_path, monkeypatch):
    settings = Settings(hidden=(2,), seeds="0..1")
    networks = arguments(settings, load_task(settings))["network"]
    learned = [{"b": np.arange(3.0) + k, "w": np.full((2, 3), float(k))} for k in range(2)]
    rules = [direp.rules.with_parameters(Learner(), (values,)) for values in learned]
    with new_run(tmp_path / "run", settings) as folder:
        keep_networks(folder.path, folder, networks, (0, 1), rules)
    monkeypatch.setattr(Parts, "rule", Learner())
    found = [direp.rules.parameters_of(rule)[0] for rule in open_run(tmp_path / "run").rules]
    for values, again in zip(learned, found, strict=True):
        assert {name: np.asarray(value).tolist() for name, value in again.items()} == {
            name: value.tolist() for name, value in values.items()
        }


def test_rooms_that_documents_name_are_there_after_import():
    assert direp.rules.Local is direp.Local
    assert callable(direp.analysis.compare_gradients)
