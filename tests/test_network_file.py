"""A network file is what was written, or refused: one line, before anything is built."""

import dataclasses
import hashlib
import json

import jax
import numpy as np
import pytest
from cases import network
from file_cases import LAYERED, remade
from program import call
from safetensors.numpy import save

import direp
from direp.certificates.convergence import Counterexample
from direp.program import network_file
from direp.program.network_file import load_counterexample, load_network, save_network
from direp.runs import Unreadable


def test_the_sha256_is_over_description_and_arrays_as_documented(saved):
    """By hand, from the bytes of the file."""
    path, metadata, _ = saved
    content = path.read_bytes()
    begin = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:begin])
    del header["__metadata__"]
    kinds = {name: [{"F64": "float64", "I32": "int32"}[a["dtype"]], a["shape"]] for name, a in header.items()}
    text = json.dumps([metadata | {"sha256": None}, kinds], sort_keys=True).encode()
    parts = [content[begin:][slice(*header[name]["data_offsets"])] for name in sorted(header)]
    whole = len(text).to_bytes(8, "little") + text + b"".join(parts)
    assert metadata["sha256"] == hashlib.sha256(whole).hexdigest()


def test_another_order_in_the_file_is_the_same_content(saved):
    path, metadata, arrays = saved
    path.write_bytes(save(dict(reversed(arrays.items())), dict(reversed(metadata.items()))))
    assert load_network(path).graph == LAYERED


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda meta: meta | {"format": "direp network 4"}, "its format is 'direp network 4'"),
        (lambda meta: meta | {"format": "direp 2"}, "weights of a run are read with its folder"),
        (lambda meta: {}, "its format is 'no format'"),
        (lambda meta: meta | {"format": "direp network 1"}, "damaged or altered: its content"),
        (lambda meta: {name: text for name, text in meta.items() if name != "sha256"}, "it carries no SHA-256"),
        (lambda meta: meta | {"more": "text"}, "damaged or altered: its content"),
        (lambda meta: meta | {"network": meta["network"].replace(", [2, 1]", "")}, "damaged or altered: its content"),
    ],
)
def test_formats_and_their_sha256(change, message, saved):
    path, metadata, arrays = saved
    path.write_bytes(save(arrays, change(metadata)))
    for load in (load_network, load_counterexample):
        with pytest.raises(Unreadable, match=message):
            load(path)


def test_an_older_file_is_read_and_says_that_nothing_vouches_for_it(saved, capsys, tmp_path):
    path, metadata, arrays = saved
    for form in ("direp network 1", "direp network 2"):
        path.write_bytes(save(arrays, {"format": form, "network": metadata["network"]}))
        assert load_network(path).graph == LAYERED
        said = capsys.readouterr().err
        assert "net.safetensors carries no SHA-256" in said
        assert said.count("\n") == 1
    code, _, err = call("certify", path)
    assert code in (5, 6)
    assert "carries no SHA-256" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: {"blocks": d["blocks"][:2]}, "o0 -> h0 is there, and in none of its blocks"),
        (lambda d: {"layers": [2, 2, 2]}, "not the sizes of layers"),
        (lambda d: {"layers": None}, "needs layers"),
        (lambda d: {"units": [2.0, 3, 1]}, "three whole numbers"),
        (lambda d: {"units": [True, 3, 1]}, "three whole numbers"),
        (lambda d: {"units": [10**8, 3, 1]}, "there are 4 leaks"),
        (lambda d: {"units": [2, 10**8, 1]}, "there are 4 leaks"),
        (lambda d: {"bias": 1}, "needed is true or false"),
        (lambda d: {"bias": False}, "no bias unit"),
        (lambda d: {"names": ["a", "b"]}, "2 names for 6 units"),
        (lambda d: {"names": ["a", "a", "b", "c", "d", "e"]}, "names hold 'a' 2 times"),
        (lambda d: {"names": ["a\n", "b", "c", "d", "e", "f"]}, r"names hold 'a\\n'"),
        (lambda d: {"names": [1, 2, 3, 4, 5, 6]}, "list of words"),
        (lambda d: {"unit": 3}, "unit is not known"),
        (lambda d: {"neuron": d["neuron"] | {"outflo": "none"}}, "knows no outflo"),
        (lambda d: {"counterexample": "cicle"}, "'cicle' is none of"),
        (lambda d: {"counterexample": "growth"}, "needs x, states, direction"),
        (lambda d: {"counterexample": "unstable equilibrium"}, r"states is float64 of shape \(2, 4\)"),
        (lambda d: {"counterexample": None}, "needs no arrays"),
    ],
)
def test_descriptions_that_cannot_be_are_refused(change, message, saved):
    with pytest.raises(Unreadable, match=message):
        load_network(remade(saved, change))


FREE = np.ones(4)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"leak": -FREE}, "leaks are 0 or above"),
        ({"leak": FREE * np.nan}, "leak holds NaN"),
        ({"leak": np.ones(4, int)}, "leak is int64"),
        ({"leak": np.ones(4, bool)}, "leak is bool"),
        ({"leak": np.ones(4, np.float32)}, "of several kinds: float32, float64"),
        ({"leak": np.ones((2, 2))}, r"shape \(2, 2\)"),
        ({"bias": FREE * np.inf}, "bias holds NaN or infinite"),
        ({"bias": None}, "bias"),
        ({"weight.between.0": np.ones(12)}, r"weight.between.0 is not known"),
        ({"weight": np.full(12, np.nan)}, "weight holds NaN"),
        ({"weight": np.ones(12, np.int32)}, "weight is int32"),
        ({"weight": np.ones(11)}, r"weight is float64 of shape \(11,\); needed are floats of shape \(12,\)"),
        ({"source": np.zeros(12)}, "give a row of whole numbers"),
        ({"source": np.full(12, 2**32)}, "outside 0..5"),
        ({"source": LAYERED.source[::-1], "target": LAYERED.target[::-1]}, "not sorted by source and target"),
        ({"leek": FREE}, "leek is not known"),
        ({"x": np.zeros(3)}, r"x is float64 of shape \(3,\)"),
        ({"x": np.full(2, np.inf)}, "x holds NaN or infinite"),
        ({"states": np.zeros((2, 5))}, r"states is float64 of shape \(2, 5\)"),
        ({"states": np.zeros((2, 4), int)}, "states is int64"),
        ({"states": None}, "needs x, states"),
        ({"direction": FREE}, "needs x, states"),
    ],
)
def test_arrays_that_cannot_be_are_refused(arrays, message, saved):
    with pytest.raises(Unreadable, match=message):
        load_network(remade(saved, **arrays))


def test_every_counterexample_has_its_number_of_states():
    assert set(network_file._STATES) == set(Counterexample.KINDS)


def test_a_matrix_that_synapses_do_not_fill_is_refused_before_it_is_made(saved):
    many = 2**20
    graph = direp.Graph.complete(1, 300, 1)
    arrays = {"source": graph.source, "target": graph.target + many - 1, "weight": np.zeros(graph.synapses)}
    keep = arrays["source"] == 0
    arrays["source"] = np.where(keep, 0, arrays["source"] + many - 1)
    said = {"units": [many, 300, 1], "layers": None, "blocks": [], "counterexample": None}
    more = arrays | {"leak": np.ones(301), "bias": np.zeros(301), "x": None, "states": None}
    with pytest.raises(Unreadable, match="90,601 synapses do not fill a matrix of 315,711,977"):
        load_network(remade(saved, lambda d: said | {"layout": {"kind": "dense"}}, **more))
    assert isinstance(load_network(remade(saved, lambda d: said, **more)).synapses, direp.Sparse)


def test_weights_that_a_layout_does_not_know_are_refused():
    made = network("projected", "signed", LAYERED)
    arrays = dict(
        zip(network_file.weight_names(made.weight), map(np.asarray, jax.tree.leaves(made.weight)), strict=True)
    )
    network_file.weight_of(made.synapses, arrays)
    with pytest.raises(ValueError, match=r"weight.more.0 is no weight of this layout"):
        network_file.weight_of(made.synapses, arrays | {"weight.more.0": np.zeros(1)})


def test_names_that_do_not_tell_units_apart_are_not_written(tmp_path):
    for names in (("a", "a", "b", "c", "d", "e"), ("a", "b", "c", "d", "e", "\x1b[2J")):
        graph = dataclasses.replace(LAYERED, names=names)
        with pytest.raises(ValueError, match=r"names hold '(a|.x1b.2J)'"):
            save_network(tmp_path / "net", network("projected", "signed", graph))
