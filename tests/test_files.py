"""Files are what was written, or refused: one line, before anything is built."""

import dataclasses
import hashlib
import io
import json
import os
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from campaigns.bits import judge, subjects
from cases import network
from program import call, folder_of
from safetensors.numpy import load_file, save

import direp
from direp.certificates.convergence import Counterexample
from direp.program import files, network_file
from direp.program.files import read_arrays, write_arrays
from direp.program.matrix_file import network_from_matrix
from direp.program.network_file import load_counterexample, load_network, save_network
from direp.program.parts import Unreadable
from direp.program.run_folder import open_run

LAYERED = direp.Graph.layered([2, 3, 1])
EXAMPLE = Counterexample("two equilibria", np.zeros(2), np.zeros((2, 4)))


@pytest.fixture
def saved(tmp_path):
    """A network file with a counter-example: its path, metadata and arrays."""
    path = tmp_path / "net.safetensors"
    save_network(path, network("rate-tanh", "absolute", LAYERED), EXAMPLE)
    return path, metadata_of(path), load_file(path)


def metadata_of(path):
    content = path.read_bytes()
    return json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]


def test_no_flipped_bit_makes_another_network(tmp_path):
    """One bit in each byte; every bit in `campaigns/bits.py`."""
    for subject in subjects(tmp_path):
        rng = np.random.default_rng(0)
        size = subject.path.stat().st_size
        step = 1 if "network" in subject.name else 11
        counts, wrong = judge(subject, [(8 * byte + int(rng.integers(8)),) for byte in range(0, size, step)])
        assert not wrong
        assert sum(counts.values()) == len(range(0, size, step))
        if "matrix" not in subject.name:  # a zip holds times and versions, which say nothing of the numbers
            assert {outcome for _, outcome in counts} == {"refused"}


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


def remade(saved, change=lambda described: {}, **arrays):
    """The file with another description and other arrays, and the SHA-256 of these: what the checks alone say."""
    path, metadata, old = saved
    described = json.loads(metadata["network"])
    described |= change(described)
    arrays = {name: array for name, array in (old | arrays).items() if array is not None}
    write_arrays(path, arrays, {"format": metadata["format"], "network": json.dumps(described)})
    return path


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


def test_numbers_of_64_bits_are_not_rounded(saved):
    path, *_ = saved
    np.savez(path.with_suffix(".npz"), weight=RING, leak=1.0)
    jax.config.update("jax_enable_x64", False)
    for read in (lambda: load_network(path), lambda: network_from_matrix(path.with_suffix(".npz"), direp.Rate())):
        with pytest.raises(Unreadable, match="which JAX would round to 32"):
            read()
    jax.config.update("jax_enable_x64", True)
    assert load_network(path).dtype == jnp.float64


def test_a_matrix_that_synapses_do_not_fill_is_refused_before_it_is_made(saved):
    many = 2**20
    graph = direp.Graph.complete(1, 300, 1)
    arrays = {"source": graph.source, "target": graph.target + many - 1, "weight": np.zeros(graph.synapses)}
    keep = arrays["source"] == 0
    arrays["source"] = np.where(keep, 0, arrays["source"] + many - 1)
    change = lambda d: {"units": [many, 300, 1], "layers": None, "blocks": [], "counterexample": None}  # noqa: E731
    with pytest.raises(Unreadable, match="90,601 synapses do not fill a matrix of 315,711,977"):
        load_network(remade(saved, change, leak=np.ones(301), bias=np.zeros(301), x=None, states=None, **arrays))


RING = np.array([[0, -0.5, 0], [0, 0, 0.5], [0.5, 0, 0]])
SOURCE, TARGET = np.nonzero(RING)
EDGES = {"source": SOURCE, "target": TARGET, "strength": RING[SOURCE, TARGET], "leak": 2.0}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"weight": RING + 1j, "leak": 1.0}, "weight holds complex128; give real numbers"),
        ({"weight": RING, "leak": 1.0 + 1j}, "leak holds complex128"),
        ({"weight": RING, "leak": 1.0, "bias": np.ones(3) * 1j}, "bias holds complex128"),
        ({"weight": RING != 0, "leak": 1.0}, "weight holds bool"),
        ({"weight": RING.astype(str), "leak": 1.0}, "weight holds <U32"),
        ({"weight": np.where(RING, 2**53 + 1, 0), "leak": 1.0}, "numbers that 64-bit floats do not"),
        ({"weight": np.where(RING, np.nan, 0), "leak": 1.0}, "weight holds NaN"),
        ({"weight": RING, "leak": 1.0, "bias": np.array([0, np.inf, 0])}, "bias holds NaN"),
        ({"weight": RING, "leak": 1.0, "inputs": 1.5}, "inputs holds float64"),
        ({"weight": RING, "leak": 1.0, "inputs": True}, "inputs holds bool"),
        ({"weight": RING, "leak": 1.0, "inputs": np.array([1])}, "inputs holds int64 of shape"),
        ({"weight": RING, "leak": 1.0, "biass": 1.0}, "holds weight, leak, biass; needed are"),
        ({"weight": RING} | EDGES, "needed are leak, and weight or source"),
        (EDGES | {"source": SOURCE - 1}, "source has entries from -1"),
        (EDGES | {"source": SOURCE + 0.5}, "source holds float64"),
        (EDGES | {"target": TARGET.astype(np.uint64) + np.uint64(2**63)}, "target has entries from"),
        (EDGES | {"source": np.array([0, 1, 10**8])}, "numbered up to 100,000,000, .* for 7 at most"),
        (EDGES | {"leak": np.ones(3), "inputs": 10**9}, "numbered up to 1,000,000,002"),
        (EDGES | {"strength": np.ones(2)}, "differ in length"),
    ],
)
def test_matrices_that_cannot_be_are_refused(arrays, message, tmp_path):
    np.savez(tmp_path / "m.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        network_from_matrix(tmp_path / "m.npz", direp.Projected())


def test_whole_numbers_are_weights(tmp_path):
    whole = np.where(RING, np.array([[7], [2**53], [3]]), 0)
    for kind in (np.int64, np.uint64, np.float32):
        np.savez(tmp_path / "m.npz", weight=whole.astype(kind), leak=np.int8(5))
        found = network_from_matrix(tmp_path / "m.npz", direp.Projected())
        assert (np.asarray(found.matrix)[3:] == whole).all()
        assert (np.asarray(found.leak) == 5).all()


def test_units_that_are_compressed_zeros_are_refused(tmp_path):
    np.savez_compressed(tmp_path / "m.npz", **EDGES | {"leak": np.ones(10**6, np.int8)})
    with pytest.raises(ValueError, match="it names 1,000,000 units, and has fewer bytes"):
        network_from_matrix(tmp_path / "m.npz", direp.Projected())


def archive(path, content, **arrays):
    """An .npz file with an array `weight` whose .npy file has this content."""
    np.savez(path, **arrays)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr("weight.npy", content)
    return path


def header_of(shape, dtype="<f8"):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": dtype, "fortran_order": False, "shape": shape})
    return stream.getvalue()


def test_sizes_that_a_file_does_not_fill_take_no_memory(tmp_path, monkeypatch):
    for content in (header_of((10**5, 10**5)), header_of((10**30,)), header_of((3, 3)) + bytes(71)):
        path = archive(tmp_path / "declared.npz", content, leak=1.0)
        with pytest.raises(Unreadable, match="weight declares the shape"):
            read_arrays(path, ("weight", "leak"))
    # 200 kB of zeros in a file of a few hundred bytes stand for gigabytes in one of a few kilobytes.
    monkeypatch.setattr(files, "_UNFOLDED", 2**16)
    monkeypatch.setattr(files, "_array", None)  # nothing is decompressed
    path = archive(tmp_path / "bomb.npz", header_of((160, 160)) + bytes(8 * 160 * 160), leak=1.0)
    code, out, err = call("certify", path)
    assert (code, out, err.count("\n")) == (3, "", 1)
    assert "unfolds to" in err
    monkeypatch.undo()
    assert read_arrays(path, ("weight",))[0]["weight"].shape == (160, 160)


def test_an_archive_whose_directory_hides_an_array_is_refused(tmp_path):
    """The length of a comment, in the directory of a zip, can swallow the entry after it: here the biases."""
    path = tmp_path / "m.npz"
    np.savez(path, weight=RING, leak=1.0, bias=np.ones(3))
    content = bytearray(path.read_bytes())
    entries = [k for k in range(len(content)) if content[k : k + 4] == b"PK\x01\x02"]
    content[entries[1] + 32] = entries[2] - entries[1]  # more than lies between them
    path.write_bytes(content)
    with zipfile.ZipFile(path) as file:
        assert file.namelist() == ["weight.npy", "leak.npy"]
    with pytest.raises(Unreadable, match="its directory names other than 3 arrays"):
        read_arrays(path, ("weight", "leak", "bias"))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_damaged_and_foreign_archives_are_unreadable(tmp_path):
    path = tmp_path / "m.npz"
    for content, message in (
        (header_of((1,), "|O") + bytes(8), "Python objects"),
        (header_of((3,))[:-5], "not a readable .npz"),
        (b"text", "not a readable .npz"),
    ):
        with pytest.raises(Unreadable, match=message):
            read_arrays(archive(path, content), ("weight",))
    archive(path, header_of((1,)) + bytes(8), weight=1.0)
    with pytest.raises(Unreadable, match="twice under one name"):
        read_arrays(path, ("weight",))


def test_arrays_of_every_kind_and_order_are_read_as_numpy_reads_them(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        "a": rng.random((3, 4)), "b": np.asfortranarray(rng.random((3, 4)).astype(">f4")), "c": np.array(3),
        "d": np.array(["x", "yz"]), "e": np.zeros((0, 2), np.uint8),
    }  # fmt: skip
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    found, held = read_arrays(tmp_path / "a.npz", ("a", "b", "c", "d", "e", "f"))
    assert held == tuple(arrays)
    for name, array in arrays.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert (found[name] == array).all()


@pytest.fixture
def run(tmp_path):
    graph = direp.Graph.complete(2, 2, 1)
    nets = [network("projected", "signed", graph, seed=seed) for seed in range(2)]
    return folder_of(tmp_path / "run", nets, hidden=(2,))


def test_a_config_that_was_altered_is_refused(run, capsys):
    path = run / "config.json"
    text = path.read_text()
    path.write_text(text.replace('"neuron": "projected"', '"neuron": "hopfield"'))
    for command in (("certify", run), ("gradient", run), ("train", "--config", path)):
        code, out, err = call(*command)
        assert (code, out, err.count("\n")) == (3, "", 1)
        assert "it was altered: its content is not that of its sha256" in err
        assert 'delete the line "sha256" at its top' in err
    path.write_text(text.replace('"sha256"', '"sha257"'))
    with pytest.raises(Unreadable, match=r"'sha257'.* is not known"):
        open_run(run)
    content = json.loads(text)
    del content["sha256"]
    path.write_text(json.dumps(content))
    assert open_run(run).settings.neuron == "projected"
    assert capsys.readouterr().err == ""  # the weights carry the SHA-256 of this very content
    content["settings"]["leak"] = 2.0
    path.write_text(json.dumps(content))
    assert open_run(run).settings.leak == 2.0
    said = capsys.readouterr().err
    assert "config.json carries no SHA-256 of its content: weights.safetensors was written with another one" in said
    assert said.count("\n") == 1


def test_weights_beside_the_config_of_another_run_are_refused(run, tmp_path, capsys):
    """Same shapes, other settings: what is proved for one is not for the other."""
    other = folder_of(tmp_path / "other", open_run(run).networks, hidden=(2,), outflow="absolute")
    held = run / "weights.safetensors"
    own = held.read_bytes()
    held.write_bytes((other / "weights.safetensors").read_bytes())
    code, out, err = call("certify", run)
    assert (code, out, err.count("\n")) == (3, "", 1)
    assert "was not written with the config.json beside it" in err
    held.write_bytes(own)
    metadata = metadata_of(held)
    content = json.loads((run / "config.json").read_text())
    assert metadata["config"] == content["sha256"]
    held.write_bytes(
        save(load_file(held), metadata | {"config": json.loads((other / "config.json").read_text())["sha256"]})
    )
    with pytest.raises(Unreadable, match="damaged or altered"):
        open_run(run)
    write_arrays(held, load_file(held), {"format": "direp 2"})  # as versions without that wrote it
    assert len(open_run(run).networks) == 2
    assert capsys.readouterr().err.endswith("does not tell which config.json it was written with\n")


def test_a_config_that_is_refused_says_one_line(run):
    path = run / "config.json"
    content = json.loads(path.read_text())
    del content["sha256"]
    for changed, message in (
        ({"cost": "cross-entropy"}, "cost cross-entropy needs two outputs or more, and xor has 1: use cost squared"),
        ({"momentum": 2.0}, "momentum 2.0 is out of range"),
        ({"hidden": [3]}, "weights.safetensors does not hold what the settings describe"),
        ({"precision": "float32"}, "its numbers are float64, and precision is float32"),
    ):
        path.write_text(json.dumps(content | {"settings": content["settings"] | changed}))
        code, out, err = call("certify", run)
        assert (code, out, err.count("\n")) == (3, "", 1)
        assert message in err
        assert "--" not in err
    path.write_text(json.dumps(content | {"settings": content["settings"] | {"momentum": 2.0}}))
    assert call("train", "--config", path)[2].count("\n") == 1


def test_what_is_no_file_is_not_opened(run, tmp_path):
    """A pipe would wait for ever for what is written into it."""
    pipes = [tmp_path / "m.npz", tmp_path / "net.safetensors", run / "config.json", run / "weights.safetensors"]
    for path in pipes:
        before = path.read_bytes() if path.exists() else None
        path.unlink(missing_ok=True)
        os.mkfifo(path)
        code, out, err = call("certify", run if path.parent == run else path)
        assert (code, out, err.count("\n")) == (3, "", 1)
        assert "is no file" in err
        path.unlink()
        if before is not None:
            path.write_bytes(before)


def test_floats_of_16_bits_are_refused(saved, run, tmp_path):
    _, _, arrays = saved
    half = {name: array.astype(np.float16) for name, array in arrays.items() if array.dtype == np.float64}
    with pytest.raises(Unreadable, match=r"leak is float16 of shape .* of 32 or 64 bits"):
        load_network(remade(saved, **half))
    with pytest.raises(ValueError, match="the network has numbers of float16, and a file holds float32 or float64"):
        save_network(tmp_path / "half", direp.Network(LAYERED, direp.Projected(), np.zeros((6, 4)), dtype=jnp.float16))
    held = run / "weights.safetensors"
    half = {
        name: array.astype(np.float16) if array.dtype == np.float64 else array
        for name, array in load_file(held).items()
    }
    write_arrays(held, half, metadata_of(held))
    with pytest.raises(Unreadable, match="its numbers are float16, and precision is float64"):
        open_run(run)


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


def test_weights_of_a_run_carry_a_sha256(run, tmp_path, capsys):
    path = run / "weights.safetensors"
    arrays, metadata = load_file(path), metadata_of(path)
    assert metadata["format"] == "direp 2"
    changed = arrays | {"leak": arrays["leak"] * (1 + 1e-15)}
    for form, message in (
        ("direp 2", "damaged or altered"),
        ("direp 1", "damaged or altered"),
        ("direp 3", "'direp 3'"),
    ):
        path.write_bytes(save(changed, metadata | {"format": form}))
        with pytest.raises(Unreadable, match=message):
            open_run(run)
    path.write_bytes(save(arrays, {"format": "direp 1"}))
    found = open_run(run)
    assert "weights.safetensors carries no SHA-256" in capsys.readouterr().err
    assert (np.asarray(found.networks[1].leak) == arrays["leak"][1]).all()
    for name in ("leak", "bias"):  # not all of one kind
        write_arrays(path, arrays | {name: arrays[name].astype(np.float32)}, {"format": "direp 2"})
        with pytest.raises(Unreadable, match="of several kinds" if name == "bias" else "precision is float64"):
            open_run(run)


@pytest.mark.parametrize(
    ("units", "message"),
    [
        (3, r"leak is float64 of shape \(2, 3\); needed are floats of shape \(2, 40001\)"),
        (40_001, "it has 15 weights a network, too few"),
    ],
)
def test_settings_of_more_units_than_the_weights_have_make_no_network(units, message, run, tmp_path, monkeypatch):
    """A config that names many units takes no memory: leaks and weights are counted first."""
    big = folder_of(tmp_path / "big", open_run(run).networks, hidden=(40_000,))
    arrays = load_file(big / "weights.safetensors") | {name: np.ones((2, units)) for name in ("leak", "bias")}
    write_arrays(big / "weights.safetensors", arrays, {"format": "direp 2"})
    monkeypatch.setattr("direp.program.build.Parts.networks", None)
    with pytest.raises(Unreadable, match=message):
        open_run(big)
