"""Connectomes come back from every format as they were; what is ill-formed is refused in one line."""

import subprocess
import sys
from fractions import Fraction

import jax
import networkx as nx
import numpy as np
import pytest
import scipy.sparse
from cases import TIGHT, settle
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

import direp
from direp import Connectome, Graph
from direp.model import Wiring

NAMES = st.text("aZ09_- ,;\"'<&>é₂ж語🧠", min_size=1, max_size=4).filter(lambda name: name == name.strip())
WEIGHTS = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def wirings(draw):
    """Units in any order, with or without signs, leaks and biases, synapses to themselves, and attributes as text."""
    names = draw(st.lists(NAMES, min_size=3, max_size=6, unique=True))
    inputs, output = names[: draw(st.integers(1, len(names) - 2))], names[-1]
    free = names[len(inputs) :]
    units, synapses = {}, {}
    more = {what: draw(st.booleans()) for what in ("sign", "leak", "bias", "note")}
    numbers = {what: draw(WEIGHTS) for what in ("leak", "bias")}
    for name in draw(st.permutations(names)):
        role = (
            draw(st.sampled_from(["input", "sensory"])) if name in inputs else "hidden" if name != output else "readout"
        )
        own = {what: value for what, value in numbers.items() if more[what]}
        own |= {"sign": draw(st.sampled_from([-1, 0, 1]))} if more["sign"] else {}
        units[name] = {"role": role, **own, **({"kind of cell": "RIA"} if more["note"] else {})}
    pairs = draw(st.sets(st.tuples(st.sampled_from(names), st.sampled_from(free)), max_size=8))
    for source, target in sorted({*pairs, (inputs[0], output)}):
        synapses[source, target] = {"weight": draw(WEIGHTS), **({"id": "7"} if more["note"] else {})}
    return units, synapses


@settings(max_examples=30)
@given(parts=wirings())
def test_every_format_brings_back_what_was_written(parts, tmp_path_factory):
    made = Connectome.from_wiring(Wiring(*parts))
    folder = tmp_path_factory.mktemp("formats")
    for name in ("csv", "graphml"):
        getattr(made, f"to_{name}")(folder / f"a.{name}")
        assert getattr(Connectome, f"from_{name}")(folder / f"a.{name}") == made
        assert made.loop.any() or getattr(Graph, f"from_{name}")(folder / f"a.{name}") == made.graph
    assert Connectome.from_networkx(made.to_networkx()) == made
    graph, matrix = made.graph, made.to_scipy()
    names = graph.names
    ends = {"inputs": names[: graph.inputs], "outputs": names[graph.units - graph.outputs :], "names": names}
    again = Connectome.from_scipy(matrix, **ends)
    assert again.graph == graph
    assert again.weight.tobytes() == made.weight.tobytes()
    table = made.to_dataframe()
    assert len(table) == matrix.nnz
    assert set(zip(table["source"], table["target"], strict=True)) == set(made.wiring().synapses)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_trained_network_is_written_and_read_with_every_number(dtype, tmp_path):
    matrix = np.random.default_rng(0).normal(size=(6, 6)) * (np.arange(6) > 1) * (1 - np.eye(6))
    made = Connectome.from_adjacency(matrix, inputs=["b", "a"], outputs=["e"], names=list("abcdef"))
    assert made.graph.names == ("b", "a", "c", "d", "f", "e")
    leak, bias = np.arange(4) + 0.1, np.random.default_rng(1).normal(size=4)
    net = made.network(direp.Projected(), leak=leak, bias=bias, dtype=dtype)
    kept = made.updated(net)
    for name, source in (("net", net), ("kept", kept)):
        for form in ("csv", "graphml"):
            getattr(source, f"to_{form}")(tmp_path / f"{name}.{form}")
            again = getattr(Connectome, f"from_{form}")(tmp_path / f"{name}.{form}")
            other = again.network(direp.Projected(), dtype=dtype)
            pairs = zip(jax.tree.leaves(net.parameters), jax.tree.leaves(other.parameters), strict=True)
            assert all(one.dtype == two.dtype and np.array_equal(one, two) for one, two in pairs)
            assert again.graph == net.graph
    assert Connectome.from_networkx(net.to_networkx()).weight.tobytes() == kept.weight.tobytes()
    assert (net.to_scipy().toarray()[:, 2:] == np.asarray(net.matrix)).all()
    assert net.to_networkx(weights=False).edges["b", "c"] == {}


def test_roles_are_named_matched_or_read_and_signs_are_those_of_synapses_or_of_their_sources(tmp_path):
    path = tmp_path / "c.csv"
    path.write_text("﻿source,target,weight,sign,role\r\nS2,,,-,sensory\r\nS1,,,,sensory\r\nO,,,,Readout\r\n"
                    'S2,h,2,,\r\nS1,h,-0.5,1,\r\n"h",O,1e-3,0,\r\n')  # fmt: skip
    read = Connectome.from_csv(path)
    assert read.graph.names == ("S2", "S1", "h", "O")
    assert (read.sign.tolist(), read.weight.tolist(), read.strength.tolist()) == (
        [-1, 1, 0],
        [2, -0.5, 1e-3],
        [-2, 0.5, 1e-3],
    )
    assert repr(read) == "Connectome(2 inputs, 1 hidden, 1 output; 3 synapses, 1 excitatory, 1 inhibitory)"
    assert Connectome.from_csv(path, inputs=["S1", "S2"]).graph.names == ("S1", "S2", "h", "O")
    assert Connectome.from_csv(path, inputs="S*", outputs=["O", "h"]).graph.names == ("S2", "S1", "O", "h")
    path.write_text("pre,a,b,c,role,sign\na,0,1.5,,input,1\nb,,,-2,,-1\nc,0,0.25,0,output,\n")
    matrix = Connectome.from_csv(path)
    assert matrix.wiring().synapses["b", "c"] == {"weight": -2.0, "sign": -1}
    assert matrix.graph.names == ("a", "b", "c")
    ring = nx.cycle_graph(4)
    both = Connectome.from_networkx(ring, inputs=[0], outputs=[2])
    assert both.graph == Graph.from_networkx(ring, inputs=[0], outputs=[2])
    assert both.graph.synapses == 6  # both ways, except into the input
    nx.set_edge_attributes(ring, 2, "size")
    assert (Connectome.from_networkx(ring, inputs=[0], outputs=[2], weight="size").weight == 2).all()
    loose = Connectome.from_adjacency(np.ones((3, 3)) - np.eye(3), inputs=[1], outputs=[0], into_inputs="drop")
    assert loose.graph.synapses == 4
    sparse = scipy.sparse.csr_array(np.triu(np.ones((3, 3)), 1))
    assert (
        Graph.from_scipy(sparse, inputs=[0], outputs=[2])
        == Connectome.from_scipy(sparse, inputs=[0], outputs=[2]).graph
    )


@pytest.mark.parametrize("outflow", ["none", "signed", "absolute"])
def test_a_synapse_from_a_unit_to_itself_is_in_the_leak_exactly(outflow):
    """Against an ODE solver that integrates the field with these synapses in it."""
    rng = np.random.default_rng(3)
    matrix = rng.normal(0, 0.4, (5, 5)) * (np.arange(5) > 0)
    made = Connectome.from_adjacency(matrix, inputs=[0], outputs=[4])
    assert np.count_nonzero(made.loop) == 4
    assert repr(made).endswith("no signs, 4 self-synapses)")
    leak, bias, x = np.full(4, 2.0), rng.normal(0.4, 0.3, 4), np.array([[0.7]])
    settled = settle(made.network(direp.Projected(outflow), leak=leak, bias=bias), x, stop=TIGHT)
    inner = matrix[1:, 1:]
    lost = {"none": 0 * inner, "signed": inner, "absolute": np.abs(inner)}[outflow].sum(1)

    def field(_, s):
        moved = -(leak + lost) * s + x[0] @ matrix[:1, 1:] + s @ inner + bias
        return np.where(((s <= 0) & (moved < 0)) | ((s >= 1) & (moved > 0)), 0, moved)

    end = solve_ivp(field, (0, 60), np.full(4, 0.5), rtol=1e-9, atol=1e-11, max_step=0.1).y[:, -1]
    assert np.abs(np.clip(end, 0, 1) - np.asarray(settled.state)[0]).max() < 1e-6


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda c: c.network(direp.Hopfield()),
            "o -> o is .* with Hopfield .hard-sigmoid. .* is no multiple of the state",
        ),
        (lambda c: c.network(direp.Rate("tanh")), "with Rate .tanh."),
        (
            lambda c: c.network(direp.Projected(), leak=0.5),
            "of weight 0.75 would leave its unit a leak of -0.25; .* 0.75",
        ),
        (
            lambda c: Graph.from_networkx(c.to_networkx()),
            "from a unit to itself: set the diagonal to 0, or use Connectome",
        ),
        (lambda c: c.updated(direp.Network(Graph.complete(1, 1, 1), direp.Rate(), np.zeros((3, 2)))), "not of Graph"),
    ],
)
def test_what_no_leak_can_stand_for_is_refused_with_the_reason(make, message):
    graph = nx.DiGraph([("i", "o", {"weight": 1}), ("o", "o", {"weight": 0.75})])
    with pytest.raises(ValueError, match=message):
        make(Connectome.from_networkx(graph, inputs=["i"], outputs=["o"]))


LIST = "source,target,weight\n"
ROLES = "source,target,weight,sign,role\na,,,,input\nb,,,,output\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty: needed are columns source and target"),
        (b"\xff\xfes\x00", "line 1: byte 0xff is no UTF-8: save the file as UTF-8"),
        (LIST.encode() + b"a,\xe9,1\n", "line 2: byte 0xe9 is no UTF-8"),
        (LIST + "a,b\0,1\n", "line 2: holds a NUL character"),
        (LIST + "a,b\n", "line 2: has 2 cells, and the header has 3"),
        (LIST + 'a,"b"c,1\n', "line 2: .*: this is no CSV row"),
        (LIST + "a,b,x\n", "line 2: weight 'x' is no number: write one such as 0.25"),
        (LIST + "a,b,1\n\nb,c,nan\n", "line 4: weight 'nan' is not a finite number of 64 bits"),
        (LIST + "a,b,1e999\n", "line 2: weight '1e999' is not a finite number"),
        (LIST + "a,b,1_0\n", "line 2: weight '1_0' is no number"),
        (LIST + "a,b,1\na,b,2\n", "line 3: synapse a -> b is there twice: give it once, with the sum"),
        (ROLES + "c,b,1,,\na,c,,,\n", "synapse a -> c has no weight, and others have"),
        (LIST + ",b,1\n", "line 2: '' is no name of a unit"),
        (LIST + "a,,1\n", "line 2: weight 1 without a target"),
        ("source,target,wieght\na,b,1\n", "line 1: column 'wieght' is too like 'weight'"),
        ("source,target,source\n", "line 1: column 'source' is there twice"),
        ("source,to\na,b\n", "line 1: columns are source, to; needed are source and target"),
        (ROLES + "a,b,1,2,\n", "line 4: sign '2' is unknown: write 1 .excitatory., -1 .inhibitory. or 0 .free."),
        (ROLES.replace("role", "fixed") + "a,b,1,,maybe\n", "fixed 'input' is unknown: write 1 or true, 0 or false"),
        (ROLES + "c,,,,motor\n", "line 4: role 'motor' is unknown: there are input, sensory, output"),
        (ROLES + "a,,,,hidden\n", "line 4: unit 'a' is there twice"),
        (ROLES + "a,b,1,,input\n", "line 4: role input stands at a synapse"),
        (ROLES + "a,b,1,1,\nc,,,-1,\nc,b,2,1,\n", "synapse c -> b has sign 1, and c has -1: give both one sign"),
        (ROLES + "b,a,1,,\na,b,1,,\n", "b -> a is a synapse into an input: inputs are clamped, remove it"),
        (ROLES + "a,a,1,,\na,b,1,,\n", "a -> a is a synapse into an input"),
        (ROLES, "no input reaches output b"),
        ("source,target\na,b\n", "names no inputs: give inputs=.* or units of the role input"),
        (",a,b\na,0,1\n", "has rows for 1 units, and columns for 2: give a square matrix"),
        (",a,b\na,0,1\nc,0,1\n", "line 3: row is 'c'; needed is 'b', as in the header"),
        (",a,b\na,0,1\nb,0,1\nc,0,1\n", "line 4: row is 'c'; needed is no more rows"),
        (",a,role,b\n", "line 1: columns role, sign, leak, bias stand behind those of all units"),
        (",a,b\na,0,?\n", "line 2: weight to b '\\?' is no number"),
    ],
)
def test_an_ill_formed_table_is_one_line(content, message, tmp_path):
    path = tmp_path / "c.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(lambda: Connectome.from_csv(path), message)


def refused(make, message):
    with pytest.raises(ValueError, match=message) as found:
        make()
    assert "\n" not in str(found.value)


BOMB = '<!DOCTYPE g [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]>'
XML = '<graphml xmlns="http://graphml.graphdrawing.org/xmlns"><graph edgedefault="directed">{}</graph></graphml>'
EDGE = '<node id="a"/><node id="b"/><edge source="a" target="b"/>'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (" ", "is empty: needed is GraphML"),
        ("source,target\n", "line 1: is no XML"),
        (XML.format("<node"), "line 1: is no XML"),
        (BOMB + XML.format(""), "line 1: has a document type .DOCTYPE., .*: remove that line"),
        ((BOMB + XML.format("")).encode("utf-16"), "has a document type"),
        ("<html/>", "is no GraphML that networkx reads"),
        (XML.format(""), "has no units"),
        (XML.format(EDGE + '<edge source="a" target="b"/>'), "synapse a -> b is there twice"),
        (XML.format(EDGE), "names no inputs"),
        (XML.format('<node id="a "/>'), "'a ' is no name of a unit"),
    ],
)
def test_an_ill_formed_graphml_is_one_line(content, message, tmp_path):
    path = tmp_path / "c.graphml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(lambda: Connectome.from_graphml(path), message)


def test_defaults_of_graphml_attributes_count(tmp_path):
    keys = (
        '<key id="w" for="edge" attr.name="weight" attr.type="double"><default>0.5</default></key>'
        '<key id="r" for="node" attr.name="role" attr.type="string"><default>output</default></key>'
    )
    text = XML.format(EDGE.replace('<node id="a"/>', '<node id="a"><data key="r">input</data></node>'))
    (tmp_path / "c.graphml").write_text(text.replace("<graph ", keys + "<graph "))
    read = Connectome.from_graphml(tmp_path / "c.graphml")
    assert (read.graph.names, read.weight.tolist()) == (("a", "b"), [0.5])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda g: Connectome.from_networkx(g, inputs=["a"], outputs=["z"]), "has no unit z, named among outputs"),
        (lambda g: Connectome.from_networkx(g, inputs=["a"], outputs=["a"]), "a is both input and output"),
        (lambda g: Connectome.from_networkx(g, inputs=["a", "a"], outputs=["b"]), "named twice among inputs"),
        (lambda g: Connectome.from_networkx(g, inputs="S*", outputs=["b"]), "no unit has a name like 'S\\*'"),
        (lambda g: Connectome.from_networkx(g, inputs=["a"], outputs=["b"], into_inputs="no"), "'refuse' or 'drop'"),
        (
            lambda g: Connectome.from_adjacency(np.ones((2, 3)), inputs=[0], outputs=[1]),
            "square matrix, not one of shape",
        ),
        (
            lambda g: Connectome.from_adjacency(np.eye(2), inputs=[0], outputs=[1], names=["a"]),
            "1 names for a matrix of 2",
        ),
        (
            lambda g: Connectome.from_networkx(nx.DiGraph([("1", 1)]), inputs=[1], outputs=[1]),
            "unit '1' is there twice",
        ),
        (lambda g: put(g, weight=None), "weight None is no number"),
        (lambda g: put(g, weight=2**53 + 1), "is no number of 64 bits: round it first"),
        (lambda g: put(g, weight=True), "weight True is no number"),
        (lambda g: put(g, weight=1.0, more=[1]).to_graphml("never.graphml"), "GraphML holds text, numbers"),
    ],
)
def test_graphs_of_other_libraries_that_cannot_be_are_refused(make, message):
    refused(lambda: make(nx.DiGraph([("a", "b")])), message)


def put(graph, **attributes):
    graph.add_edge("a", "b", **attributes)
    return Connectome.from_networkx(graph, inputs=["a"], outputs=["b"])


def test_without_pandas_a_table_is_refused_in_a_line_and_nothing_else_needs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ModuleNotFoundError, match="needs pandas, which is not installed: pip install pandas"):
        put(nx.DiGraph(), weight=1.0).to_dataframe()
    asked = "import sys, direp; direp.Connectome; assert 'pandas' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", asked], check=False).returncode == 0


def test_a_loop_is_folded_into_a_leak_that_rounding_does_not_raise():
    """Exactly for signed outflow, which a loop of its own weight undoes; else by less than the last digit."""
    graph = Graph.from_edges([("x", "a"), ("a", "b"), ("b", "a")], inputs=["x"], outputs=["b"])
    loop, leak = np.array([-3.0, -0.7]), np.array([0.1, 0.3])
    made = Connectome(graph, np.full(graph.synapses, -0.05), None, loop, leak)
    assert (made.folded(direp.Projected("signed"), leak) == leak).all()
    found = made.folded(direp.Projected("none"), leak)
    for total, one, other in zip(found.tolist(), leak.tolist(), (-loop).tolist(), strict=True):
        assert 0 <= Fraction(one) + Fraction(other) - Fraction(total) <= Fraction(np.spacing(total))
