"""Damaged files of every kind: a part of `campaigns/fuzz.py`, and what it has found."""

import contextlib
import gzip
import hashlib
import json
import struct
import sys
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from file_cases import metadata_of
from program import call, finished, folder_of
from safetensors.numpy import load_file

import direp
from direp import tasks
from direp.model import draw
from direp.model.synapses import auto
from direp.program.build import Parts, load_task
from direp.program.cli import main
from direp.program.run_folder import keep_networks, new_run, open_run
from direp.program.settings import Settings
from direp.runs import Unreadable, one_line, read_arrays, read_history, reading, write_arrays
from direp.tasks import DataUnreadable

sys.path.insert(0, str(Path(__file__).parent / "campaigns"))
from fuzz import Watch, cases
from fuzz_kinds import KINDS
from fuzz_specimen import GRAPH


@pytest.mark.usefixtures("_optax", "_unchecked")
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_read_or_refused_in_one_line(kind, monkeypatch):
    """`python tests/campaigns/fuzz.py --kind KIND --first NUMBER --cases 1` shows one again."""
    monkeypatch.setattr("fuzz_arrays.BOMB", 2**22)  # which takes no time to make
    wrong = {k: case for k, case in cases(kind, 0, 0, 40, Watch(), every=0) if case.wrong}
    assert not wrong


def test_messages_are_one_line_that_can_be_printed():
    assert one_line("a\n b\x1b[2J\u202e \0é") == r"a b\x1b[2J\u202e \x00é"
    assert len(one_line("x" * 10**6)) < 1010
    assert str(Unreadable("a\nb")) == "a b"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OverflowError("too large"), "net is damaged (too large)"), (EOFError(), "net is damaged (EOFError)"),
        (RecursionError("at level 1000"), "net is damaged (it is nested too deeply)"),
        (struct.error("4 bytes"), "net is damaged (4 bytes)"), (Unreadable("by itself"), "by itself"),
    ],
)  # fmt: skip
def test_whatever_a_parser_raises_is_unreadable(error, said):
    with pytest.raises(Unreadable) as found, reading("net is damaged"):
        raise error
    assert str(found.value) == said
    with pytest.raises(MemoryError), reading("net is damaged"):
        raise MemoryError


def test_numbers_too_large_in_metrics_are_unreadable(tmp_path):
    (tmp_path / "metrics.jsonl").write_text(f'{{"epoch": 1, "loss": 1{"0" * 400}}}')
    with pytest.raises(Unreadable, match="line 1 is no epoch of a run"):
        read_history(tmp_path)


@pytest.fixture
def run(tmp_path):
    """A copy of a run, whose weights `again` writes with other metadata, checksum included."""
    for name in ("config.json", "weights.safetensors"):
        (tmp_path / name).write_bytes((finished()[0] / name).read_bytes())
    held = tmp_path / "weights.safetensors"
    arrays, metadata = load_file(held), metadata_of(held)
    return tmp_path, lambda **other: write_arrays(held, arrays, {k: v for k, v in (metadata | other).items() if v})


@pytest.mark.parametrize("best", ["1", "²", "-1", "9" * 5000, "02"])
def test_the_best_seed_is_one_of_the_seeds(best, run):
    folder, again = run  # of seeds 0, 2 and 3
    again(best=best)
    with pytest.raises(Unreadable, match=r"the best seed is .* which is none of the settings' seeds"):
        open_run(folder)


def test_a_run_that_is_refused_says_one_line_alone(run):
    """What nothing vouches for is told of what is read."""
    folder, again = run
    kept = json.loads(metadata_of(folder / "weights.safetensors")["preparation"])
    kept["inputs"]["centre"] = [10**400]
    again(preparation=json.dumps(kept), config="")
    code, out, err = call("certify", folder)
    assert (code, out, err.count("\n")) == (3, "", 1)
    assert "does not tell in a known way how rows become inputs (int too large" in err


def test_a_run_of_a_large_small_world_is_read_again(tmp_path, monkeypatch):
    """It has far fewer synapses than pairs of units."""
    monkeypatch.setattr(auto, "_LARGE", 100)
    settings = Settings(graph="small-world", hidden=(400,))
    task = load_task(settings)
    parts = Parts(settings, task)
    with new_run(tmp_path / "run", settings, task) as folder:
        keep_networks(folder.path, folder, parts.networks, parts.seeds)
    assert isinstance(open_run(tmp_path / "run").networks[0].synapses, direp.Sparse)


def test_a_layout_that_is_not_filled_makes_no_network(tmp_path, monkeypatch):
    """Few synapses in a config of many units, laid out as one matrix: its weights are counted first."""
    made = direp.Network(direp.Graph.complete(2, 2, 1), direp.Projected("signed"), key=jax.random.key(0))
    big = folder_of(tmp_path / "big", [made], graph="random", density=1e-9, layout="dense", hidden=(40_000,))
    arrays = load_file(big / "weights.safetensors") | {name: np.ones((1, 40_001)) for name in ("leak", "bias")}
    write_arrays(big / "weights.safetensors", arrays, {"format": "direp 2"})
    monkeypatch.setattr("direp.program.build.Parts.networks", None)
    with pytest.raises(Unreadable, match="it has 15 weights a network, too few"):
        open_run(big)


@pytest.mark.parametrize(
    ("inputs", "message"), [(2**31 - 1, "data is .* up to 1,048,576 of each end"), (2**20, "too few")]
)
def test_inputs_that_the_weights_do_not_fill_take_no_memory(inputs, message, run, monkeypatch):
    folder, again = run
    again(config="")
    told = json.loads((folder / "config.json").read_text())
    del told["sha256"]
    told["data"]["inputs"] = inputs
    (folder / "config.json").write_text(json.dumps(told))
    monkeypatch.setattr("direp.program.build.Parts.networks", None)
    with pytest.raises(Unreadable, match=message):
        open_run(folder, needs_data=None)


def test_wide_graphs_are_laid_out_as_edges(monkeypatch):
    source = np.arange(400)
    wide = direp.Graph(400, 0, 40, source, source % 40 + 400)
    assert isinstance(auto.lay_out(wide), direp.Dense)
    monkeypatch.setattr(auto, "_MATRIX", 2**14)
    assert isinstance(auto.lay_out(wide), direp.Sparse)


def test_a_full_random_graph_is_drawn_at_once():
    class Few(np.random.Generator):
        """Gives up where it is asked again and again."""

        left = 5

        def integers(self, *arguments, **more):
            self.left -= 1
            assert self.left >= 0
            return super().integers(*arguments, **more)

    rng = np.random.default_rng(0)
    source, target = draw.random(3, 60, 1.0, None, Few(rng.bit_generator))
    assert len(source) == 63 * 60 - 60
    assert len({*zip(source.tolist(), target.tolist(), strict=True)}) == len(source)
    assert len(draw.random(3, 60, 0.97, None, Few(rng.bit_generator))[0]) < 63 * 60 - 60


def test_arrays_are_packed_as_numpy_packs_them(tmp_path):
    path = tmp_path / "m.npz"
    np.savez(path, x=np.zeros(10))
    with zipfile.ZipFile(path) as file:
        content = file.read("x.npy")
    for how in (zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2):
        with zipfile.ZipFile(path, "w", how) as file:
            file.writestr("x.npy", content)
        with pytest.raises(Unreadable, match="x is packed in a way that numpy does not"):
            read_arrays(path, ["x"])


def test_bytes_that_become_floats_are_counted_as_floats(tmp_path):
    path = tmp_path / "m.npz"
    np.savez_compressed(path, x=np.zeros(3 * 2**20, np.int8))
    with pytest.raises(Unreadable, match="unfolds to 25,165,824 bytes, more than 16,777,216"):
        read_arrays(path, ["x"])
    np.savez(path, x=np.zeros(3 * 2**20, np.int8))
    assert read_arrays(path, ["x"])[0]["x"].size == 3 * 2**20


def test_columns_of_equal_entries_take_no_memory(tmp_path, monkeypatch):
    path = tmp_path / "t.parquet"
    for column in (np.zeros(10_000_000, np.int8), ["long " * 20_000] * 1000):
        parquet.write_table(pa.table({"a": column}), path, compression="zstd")
        assert path.stat().st_size < 10**6
        before = pa.total_allocated_bytes()
        with pytest.raises(DataUnreadable, match=r"unfolds to [0-9,]* bytes, more than 67,108,864"):
            tasks.read_table(path)
        assert pa.total_allocated_bytes() - before < 2**20


def test_words_of_a_parquet_file_are_what_was_written(tmp_path):
    words = pa.array(["a", None, "b", "a"])
    table = pa.table({"w": words, "d": words.dictionary_encode(), "n": [1, 2, 3, None], "b": [b"x", None, b"y", b""],
                      "v": words.cast(pa.string_view()), "l": words.cast(pa.large_string())})  # fmt: skip
    parquet.write_table(table, tmp_path / "t.parquet")
    assert tasks.read_table(tmp_path / "t.parquet").equals(table)


@pytest.mark.parametrize("scale", tasks.preparation.SCALES)
def test_numbers_that_overflow_once_scaled_are_refused(scale):
    """Warnings are errors here."""
    x = np.where(np.arange(40) < 4, -1.7e308, 1.7e308)
    refused = (
        contextlib.nullcontext() if scale == "none" else pytest.raises(ValueError, match="or too far apart, for 64")
    )
    with refused:
        tasks.from_arrays(x, np.arange(40) % 2, scale=scale)


def test_a_single_entry_is_no_target():
    with pytest.raises(ValueError, match="the single entry 3; give one for each row"):
        tasks.from_arrays(np.eye(4), np.array(3))


def test_a_long_word_among_labels_takes_memory_once():
    words = ["y" * 10**6, *["a", "b"] * 200]
    tracemalloc.start()
    with pytest.raises(ValueError, match="has 1 of the samples"):
        tasks.from_table(pa.table({"x": np.arange(401.0), "kind": words}), "kind")
    largest = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert largest < 10**8


def test_rows_too_large_for_the_network_are_refused():
    made = direp.Network(direp.Graph.complete(2, 2, 1), direp.Projected(), key=jax.random.key(0), dtype=np.float32)
    with pytest.raises(ValueError, match="row 1 holds numbers that are not finite in float32 once scaled"):
        direp.predict(made, np.array([[0, 1], [1e300, 0]]))


@pytest.mark.parametrize("encoding", ["nowhere", "big5", "utf-7", "zlib"])
def test_graphml_of_an_unknown_encoding_is_refused(encoding, tmp_path):
    (tmp_path / "g.graphml").write_text(f'<?xml version="1.0" encoding="{encoding}"?><graphml></graphml>')
    code, out, err = call("certify", tmp_path / "g.graphml")
    assert (code, out, err.count("\n")) == (3, "", 1)


def test_an_attribute_of_graphml_without_a_type_is_text(tmp_path):
    (tmp_path / "g.csv").write_text(GRAPH)
    known = direp.Connectome.from_csv(tmp_path / "g.csv")
    known.to_graphml(tmp_path / "g.graphml")
    text = (tmp_path / "g.graphml").read_text()
    (tmp_path / "g.graphml").write_text(text.replace('attr.type="double"', "").replace('attr.type="float"', ""))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (direp.Connectome.from_graphml(tmp_path / "g.graphml").weight == known.weight).all()


def idx(array, **header):
    told = {"magic": 0x800 + array.ndim, "shape": array.shape} | header
    return struct.pack(f">{array.ndim + 1}I", told["magic"], *told["shape"]) + array.tobytes()


@pytest.mark.parametrize(
    ("pixels", "labels", "message"),
    [
        ({"magic": 0x801}, {}, "its header is 0x801"),
        ({"shape": (2**31, 2**31, 2**31)}, {}, "its header is 0x803, with the shape"),
        ({"shape": (30, 5, 6)}, {}, "it declares 900 bytes and holds 750"),
        ({"shape": (29, 5, 5)}, {}, "it declares 725 bytes and holds more"),
        ({}, {"shape": (0,)}, "is no idx file of 1 dimensions"),
        ({"cut": 40}, {}, "is no idx file of 3 dimensions"),
        ({}, {"array": np.arange(29)}, "holds 29 labels up to 28 for 30 images; needed is one for each, from 0 to 9"),
        ({}, {"array": np.arange(30)}, "holds 30 labels up to 29"),
    ],
)
def test_images_are_read_as_they_declare_themselves(pixels, labels, message, tmp_path, monkeypatch, capsys):
    """Behind the checksum, which is that of the original here."""
    (tmp_path / "mnist").mkdir()
    sums = {}
    for part in ("train", "t10k"):
        for name, how, array in (
            ("images-idx3", dict(pixels), np.random.default_rng(0).integers(0, 256, (30, 5, 5))),
            ("labels-idx1", dict(labels), np.arange(30) % 10),
        ):
            cut = how.pop("cut", None)
            content = gzip.compress(idx(how.pop("array", array).astype(np.uint8), **how))[:cut]
            file = f"{part}-{name}-ubyte.gz"
            (tmp_path / "mnist" / file).write_bytes(content)
            sums[file] = hashlib.sha256(content).hexdigest()
    monkeypatch.setitem(tasks.IMAGES, "mnist", (*tasks.IMAGES["mnist"][:2], sums))
    with pytest.raises(SystemExit) as left:
        main(["train", "mnist", "--data-dir", str(tmp_path)])
    said = capsys.readouterr().err
    assert left.value.code == 3
    assert said.count("\n") == 1
    assert message in said


def test_a_task_whose_name_is_too_long_for_a_file_is_unknown():
    code, out, err = call("train", "long " * 2000, "--epochs", "1")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("direp: task 'long long")
