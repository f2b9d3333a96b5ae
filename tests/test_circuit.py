"""Netlists are the network: read as a circuit by an oracle of plain NumPy, and by ngspice where it is installed."""

import re
import shlex
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from campaigns.circuit_oracle import Circuit
from cases import NEURONS, OUTFLOWS, TIGHT, data, network, settle
from neuron_cases import Both, bent, rising
from program import call, finished, folder_of

import direp
from direp.circuit import FORMULAS, simulate
from direp.model import ACTIVATIONS, Activation
from direp.program.network_file import save_network

needs_ngspice = pytest.mark.skipif(shutil.which("ngspice") is None, reason="ngspice is not installed")
EVERY = [(neuron, outflow) for neuron in NEURONS for outflow in OUTFLOWS]
OWN = {"bent": "tanh(v)+0.5*sin(v)"}


def phase(net, x, y, beta):
    """The field of a phase and its equilibrium."""
    field, free = net.field(jnp.asarray(x)), settle(net, x, stop=TIGHT)
    if not beta:
        return field, free
    nudged = direp.Nudged(field, direp.SquaredError(), jnp.asarray(y), jnp.asarray(beta))
    return nudged, settle(nudged, state=free.state, stop=TIGHT)


def both(outflow="none", **box):
    """A network that is nonlinear on both sides, by an activation of the user's own."""
    net, rng = network("rate-tanh", outflow, scale=0.2), np.random.default_rng(3)
    bias = rng.normal(0.2, 0.2, net.graph.free)
    return direp.Network(net.graph, Both(bent, bent, rising, **box), np.asarray(net.matrix), leak=3.0, bias=bias)


@pytest.mark.parametrize("beta", [0.0, 1.5, -0.1])
@pytest.mark.parametrize(("neuron", "outflow"), EVERY)
def test_currents_into_every_node_are_the_field(neuron, outflow, beta):
    net = network(neuron, outflow, scale=0.6)
    x, y = data(net.graph)
    field, _ = phase(net, x, y, beta)
    state = np.random.default_rng(5).uniform(0.05, 0.95, (len(x), net.graph.free))  # within the box
    true = np.asarray(field.flow(jnp.asarray(state), field.drive(jnp.asarray(state))))
    for k in range(len(x)):
        for units in ({}, {"time": 1e-6, "capacitance": 1e-12}):
            circuit = Circuit(direp.netlist(net, x[k], y[k], beta=beta, **units))
            np.testing.assert_allclose(circuit.velocity(state[k]) * units.get("time", 1), true[k], atol=1e-12)


@pytest.mark.parametrize("layout", ["sparse", "layered"])
def test_every_layout_has_its_netlist(layout):
    graph = direp.Graph.layered([2, 3, 3, 2], skip=True, lateral=True)
    kinds = {"sparse": direp.Sparse, "layered": direp.Layered}
    net = network("projected", "signed", graph, layout=kinds[layout](graph))
    numbers = {"leak": net.leak, "bias": net.bias}
    plain = direp.Network(graph, net.neuron, np.asarray(net.matrix), **numbers, layout=direp.Dense(graph))
    assert direp.netlist(net, [0.1, 0.2]) == direp.netlist(plain, [0.1, 0.2])


def test_a_signed_outflow_larger_than_the_leak_is_no_resistor():
    graph = direp.Graph.complete(1, 1, 1)
    net = direp.Network(graph, direp.Hopfield("tanh", "signed"), np.full((3, 2), -0.5) * graph.adjacency(), leak=0.1)
    text = direp.netlist(net, [1.0])
    assert "Rleak" not in text
    assert "Gleak0 s0 0 s0 0 -0.4" in text
    state = jnp.asarray([[0.3, -0.2]])
    field = net.field(jnp.ones((1, 1)))
    np.testing.assert_allclose(Circuit(text).velocity(state[0]), field.flow(state, field.drive(state))[0], atol=1e-14)


def test_formulas_are_the_activations():
    assert {*FORMULAS, "identity"} == {*ACTIVATIONS}
    at = np.array([-750.0, -30.0, -2.0, 0.0, 0.3, 1.0, 5.0, 700.0])
    for name, formula in FORMULAS.items():
        copy = Activation(f"my {name}", ACTIVATIONS[name].fn, ACTIVATIONS[name].range, ACTIVATIONS[name].slope)
        net = direp.Network(direp.Graph.complete(1, 0, 1), direp.Rate(copy), np.ones((2, 1)) * [[1], [0]], leak=1.0)
        assert formula.replace("v", "V(u0)") in direp.netlist(net, [1.0], formulas={copy.name: formula})
        circuit = Circuit(direp.netlist(direp.Network(net.graph, direp.Rate(name), net.matrix, leak=1.0), [0.0]))
        for v in at:
            circuit.sources["x0"] = v
            np.testing.assert_allclose(circuit.velocity(np.zeros(1))[0], ACTIVATIONS[name](jnp.asarray(v)), atol=1e-15)


def test_names_of_units_stay_in_their_comments():
    graph = direp.Graph(1, 0, 1, np.array([0]), np.array([1]), names=("a\n.op", "β"))
    text = direp.netlist(direp.Network(graph, direp.Projected(), np.ones((2, 1)) * [[1], [0]]), [0.5])
    assert [line for line in text.splitlines() if line[0] == "."] == [text.splitlines()[-3], ".op", ".end"]
    assert "* x0: a .op\n* s0: \\u03b2\n" in text
    assert text.isascii()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": [1.0]}, "give 2 numbers"),
        ({"x": [1.0, np.nan]}, "NaN"),
        ({"beta": 1.0}, "give y, 2 numbers"),
        ({"beta": 1.0, "y": [1.0]}, "give 2 numbers"),
        ({"beta": 1.0, "y": [1.0, 0.0], "cost": direp.CrossEntropy()}, "CrossEntropy"),
        ({"beta": np.inf, "y": [1.0, 0.0]}, "finite number"),
        ({"state": np.zeros(6)}, "give transient"),
        ({"state": np.zeros(5), "transient": 1.0}, "give 6 numbers"),
        ({"transient": -1.0}, "above 0"),
        ({"time": 0.0}, "above 0"),
        ({"clamp": 0.0}, "above 0"),
    ],
)
def test_wrong_use_is_told(change, message):
    net = network("projected", "none")
    with pytest.raises(ValueError, match=message):
        direp.netlist(net, **{"x": [0.1, 0.2], **change})
    direp.netlist(net, [0.1, 0.2], cost=direp.CrossEntropy())  # a free phase has no cost


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        (None, "formulas={'bent'"),
        ("tanh(v)", "and the activation"),
        ("tanh(v", "cannot be read"),
        ("__import__('os')", "in it"),
        ("v**2", "in it"),
        ("tanh(v, v)", "gives tanh 2 numbers"),
        ("tanh(v)+0.5*sin(v)+0/v", "no value at v = 0"),
    ],
)
def test_an_activation_of_ones_own_needs_its_formula(formula, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        direp.netlist(both(), [0.1, 0.2], formulas={} if formula is None else {"bent": formula})
    assert "tanh(V(u0))+0.5*sin(V(u0))" in direp.netlist(both(), [0.1, 0.2], formulas=OWN)


@needs_ngspice
@pytest.mark.parametrize("beta", [0.0, 1.5, -0.1])
@pytest.mark.parametrize(("neuron", "outflow"), EVERY)
def test_the_operating_point_is_the_equilibrium(neuron, outflow, beta):
    net = network(neuron, outflow, scale=0.6)
    x, y = data(net.graph)
    _, settled = phase(net, x, y, beta)
    assert settled.converged.all()
    for k in range(len(x)):
        found = simulate(direp.netlist(net, x[k], y[k], beta=beta, time=1e-6, capacitance=1e-12)).states
        true = np.asarray(settled.state[k])
        assert np.abs(found[0] - true).max() <= 1e-6 * np.abs(true).max()


@needs_ngspice
@pytest.mark.parametrize("neuron", NEURONS)
def test_transients_contract_as_fast_as_is_proved(neuron):
    net = network(neuron, "absolute", scale=0.6)
    x, _ = data(net.graph)
    certificate = direp.certify(net, starts=0)
    assert certificate
    rng, grid = np.random.default_rng(2), np.linspace(0, 8, 33)[1:]
    starts, paths = rng.random((2, net.graph.free)), []
    for start in starts:
        found = simulate(direp.netlist(net, x[0], state=start, transient=8.0))
        paths.append(np.stack([np.interp(grid, found.time, each) for each in found.states.T], 1))
    distance = certificate.norm.length(np.concatenate([starts[:1] - starts[1:], paths[0] - paths[1]]))
    kept = distance[: np.argmin(distance > 1e-4 * distance[0]) or None]
    rates = -np.diff(np.log(kept)) / np.diff(np.concatenate([[0], grid])[: len(kept)])
    assert len(rates) > 3
    assert rates.min() >= certificate.rate


@needs_ngspice
@pytest.mark.parametrize("box", [{}, {"low": -0.1, "high": 0.2}])
def test_a_neuron_of_ones_own_is_confirmed(box):
    net = both(**box)
    x, y = data(net.graph)
    _, settled = phase(net, x, y, 1.0)
    found = simulate(direp.netlist(net, x[0], y[0], beta=1.0, formulas=OWN)).states[0]
    assert settled.converged[0]
    assert np.abs(found - np.asarray(settled.state[0])).max() <= 1e-6 * np.abs(settled.state[0]).max()


@needs_ngspice
def test_a_simulation_that_fails_says_why():
    with pytest.raises(RuntimeError, match="ngspice found nothing"):
        simulate("* nothing\nV1 a 0 1\nV2 a 0 2\n.op\n.end\n")


@needs_ngspice
def test_voltages_that_are_no_operating_point_are_not_taken_for_one():
    graph = direp.Graph.complete(2, 4, 1)
    net = direp.Network(graph, direp.Projected("signed"), key=jax.random.key(1), leak=0.0, bias=0.1)
    with pytest.raises(RuntimeError, match=r"no operating point.*transient"):
        simulate(direp.netlist(net, [0.0, 1.0]))
    followed = simulate(direp.netlist(net, [0.0, 1.0], transient=30.0)).states[-1]
    np.testing.assert_allclose(followed, settle(net, np.array([[0.0, 1.0]]), stop=TIGHT).state[0], atol=1e-6)


def test_a_simulator_that_is_not_there_is_named():
    with pytest.raises(FileNotFoundError, match="no program 'nowhere-spice'"):
        simulate("", program="nowhere-spice")


def test_nir_holds_every_number():
    nir = pytest.importorskip("nir")
    net = network("rate-tanh", "signed")
    net = direp.Network(net.graph, direp.Hopfield("identity", "signed"), net.matrix, leak=net.leak, bias=net.bias)
    graph = direp.to_nir(net)
    nodes, inputs = graph.nodes, net.graph.inputs
    assert isinstance(nodes["neurons"], nir.LI)
    np.testing.assert_array_equal(np.vstack([nodes["weight"].weight.T, nodes["recurrent"].weight.T]), net.matrix)
    np.testing.assert_array_equal(nodes["weight"].bias, net.bias)
    x, _ = data(net.graph)
    field, state = net.field(jnp.asarray(x)), np.random.default_rng(0).normal(size=(len(x), net.graph.free))
    current = x @ nodes["weight"].weight.T + nodes["weight"].bias + state @ nodes["recurrent"].weight.T
    velocity = (nodes["neurons"].v_leak - state + nodes["neurons"].r * current) / nodes["neurons"].tau
    true = field.flow(jnp.asarray(state), field.drive(jnp.asarray(state)))
    np.testing.assert_allclose(velocity, true, atol=1e-12)
    np.testing.assert_array_equal(state @ nodes["readout"].weight.T, net.outputs(jnp.asarray(state)))
    assert nodes["weight"].weight.shape[1] == inputs


@pytest.mark.parametrize(
    ("neuron", "leak", "message"),
    [
        (direp.Projected(), 1.0, "in a box"),
        (direp.Rate("tanh"), 1.0, "the activation 'tanh'"),
        (direp.Hopfield("identity"), 0.0, "total leak of 0"),
    ],
)
def test_nir_refuses_what_it_has_no_node_for(neuron, leak, message):
    net = direp.Network(direp.Graph.complete(2, 2, 1), neuron, key=jax.random.key(0), leak=leak)
    with pytest.raises(ValueError, match=message):
        direp.to_nir(net)


@pytest.mark.usefixtures("_optax")
@pytest.mark.parametrize("name", ["n.cir", "n.net", "n.graphml", "n.csv"])
def test_the_command_writes_what_the_library_makes(name, tmp_path):
    (tmp_path / "my nets").mkdir()
    run, out = finished()[0], tmp_path / "my nets" / name
    code, said, err = call("export", run, out, "--seed", "2", "--phase", "free")
    assert (code, said) == (0, ""), err
    loaded = direp.load_run(run)
    net = loaded.networks[loaded.parts.seeds.index(2)]
    if name in ("n.cir", "n.net"):
        assert out.read_text() == direp.netlist(net, np.asarray(direp.tasks.xor().train.x[0]))
        assert str(out) in shlex.split(err.partition("; ")[2])
    else:
        read = direp.Connectome.from_graphml if name == "n.graphml" else direp.Connectome.from_csv
        again = read(out).network(net.neuron, dtype=net.dtype)
        np.testing.assert_array_equal(again.strengths(), net.strengths())
    code, _, err = call("export", run, out)
    assert code == 2
    assert "nothing is overwritten" in err


@pytest.mark.usefixtures("_optax")
def test_the_command_nudges_as_the_run_did(tmp_path):
    run, task = finished()[0], direp.tasks.xor()
    loaded = direp.load_run(run)
    net = loaded.networks[loaded.parts.seeds.index(loaded.chosen)]
    code, _, err = call("export", run, tmp_path / "n.sp", "--sample", "1", "--phase", "nudged", "--transient", "5")
    assert code == 0, err
    x, y = (np.asarray(part[1]) for part in task.train)
    made = direp.netlist(net, x, y, beta=loaded.settings.beta, transient=5.0)
    assert (tmp_path / "n.sp").read_text() == made
    options = (
        "--input",
        "0.5",
        "-1",
        "--target",
        "0.25",
        "--phase",
        "-0.05",
        "--time",
        "1e-6",
        "--capacitance",
        "1e-9",
    )
    code, _, err = call("export", run, tmp_path / "m.sp", *options)
    assert code == 0, err
    made = direp.netlist(net, [0.5, -1], [0.25], beta=-0.05, time=1e-6, capacitance=1e-9)
    assert (tmp_path / "m.sp").read_text() == made


@pytest.mark.usefixtures("_optax")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["n.txt"], "has the suffix '.txt'"),
        ([], "needs a file to write"),
        (["nowhere/n.cir"], "no folder"),
        (["n.nir"], "in a box"),
        (["n.cir", "--phase", "fre"], "did you mean 'free'"),
        (["n.cir", "--phase", "0"], "is no nudge"),
        (["n.cir", "--sample", "9"], "training samples 0 to 3"),
        (["n.cir", "--seed", "77"], "there are 0, 2, 3"),
        (["n.cir", "--input", "1"], "the network 2 inputs"),
        (["n.cir", "--input", "1", "nan"], "not finite"),
        (["n.cir", "--input", "1", "0", "--phase", "1"], "needs --target: 1 number"),
        (["n.cir", "--input", "1", "0", "--sample", "1"], "two inputs"),
        (["n.cir", "--target", "1"], "for a nudged phase"),
        (["n.cir", "--time", "0"], "--time 0.0 is out of range"),
        (["n.csv", "--phase", "nudged"], "holds the network alone"),
    ],
)
def test_wrong_use_of_the_command_is_one_line(arguments, message, tmp_path, monkeypatch):
    run = finished()[0]
    monkeypatch.chdir(tmp_path)
    code, out, err = call("export", run, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("_optax")
def test_files_of_one_network_and_other_costs(tmp_path):
    net = network("projected", "none")
    save_network(tmp_path / "net.safetensors", net)
    code, _, err = call("export", tmp_path / "net.safetensors", tmp_path / "n.cir", "--input", "0.5", "1")
    assert code == 0, err
    assert (tmp_path / "n.cir").read_text() == direp.netlist(net, [0.5, 1.0])
    for options, message in (
        ((), "give --input with 2 numbers"),
        (("--input", "0.5", "1", "--phase", "nudged"), "give a number"),
        (("--seed", "1", "--input", "0.5", "1"), "without seeds"),
    ):
        code, _, err = call("export", tmp_path / "net.safetensors", tmp_path / "m.cir", *options)
        assert code == 2
        assert message in err
    graph = direp.Graph.complete(4, 3, 3)
    nets = [direp.Network(graph, direp.Hopfield("identity"), key=jax.random.key(0), leak=3.0)]
    settings = {"graph": "complete", "hidden": (3,), "neuron": "hopfield", "activation": "identity",
                "outflow": "none", "cost": "cross-entropy"}  # fmt: skip
    run = folder_of(tmp_path / "run", nets, task="iris", **settings)
    code, _, err = call("export", run, tmp_path / "c.cir", "--phase", "0.5")
    assert code == 2
    assert "the run's cost is CrossEntropy" in err
    nir = pytest.importorskip("nir")
    code, _, err = call("export", run, tmp_path / "c.nir")
    assert code == 0, err
    read = nir.read(str(tmp_path / "c.nir")).nodes
    np.testing.assert_array_equal(read["recurrent"].weight.T, nets[0].matrix[4:])
    np.testing.assert_array_equal(read["weight"].weight.T, nets[0].matrix[:4])
