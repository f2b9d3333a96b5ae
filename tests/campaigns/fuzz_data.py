"""Specimens of what users give: matrices, graphs, tables, arrays, images."""

import contextlib
import gzip
import hashlib
import struct
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from fuzz_specimen import GRAPH, TABLE, Specimen, certify, content_of, folders, plain, written

import direp
from direp import tasks
from direp.program.build import load_task
from direp.program.commands.predict import _rows
from direp.program.graph_file import network_from_graph_file, read_connectome
from direp.program.matrix_file import network_from_matrix
from direp.program.run_folder import open_run
from direp.program.settings import Settings
from direp.runs import Unreadable


def matrices(folder: Path, stack: contextlib.ExitStack) -> list[Specimen]:
    weight = np.where(np.eye(4), 0, np.random.default_rng(0).normal(0, 1, (4, 4)))
    source, target = np.nonzero(weight)
    edges = {"source": source, "target": target, "strength": weight[source, target]}
    found = []
    for name, arrays in {
        "dense": {"weight": weight, "leak": np.full(4, 2.0), "bias": np.ones(4)},
        "edges": {**edges, "leak": np.float32(3.0), "inputs": np.int64(0)},
        "whole": {"weight": np.triu(np.ones((3, 3), np.int8), 1), "leak": np.full(2, 2), "inputs": np.int64(1)},
    }.items():
        path = written(folder / name / "matrix.npz", "")
        np.savez(path, **arrays)
        read = lambda path=path: content_of(network_from_matrix(path, direp.Rate(direp.activation.tanh)))  # noqa: E731
        found.append(Specimen(path, "npz", read, checked=True, commands=(certify(path),)))
    return found


def graphs(folder: Path, stack: contextlib.ExitStack) -> list[Specimen]:
    listed = written(folder / "list" / "graph.csv", GRAPH)
    matrix = written(
        folder / "matrix" / "graph.csv", ",a,b,h,o,role,leak\na,0,0,0.5,1,input,\nb,,,1,0,input,\n"
        "h,,,0,-2.5,hidden,1\no,,,0.5,0,output,2\n"
    )  # fmt: skip
    free = written(folder / "free" / "graph.csv", "source,target,weight,fixed\na,b,0.5,1\nb,c,-0.5,0\nc,a,0.25,0\n")
    marked = written(folder / "marked" / "graph.graphml", "")
    read_connectome(listed).to_graphml(marked)
    found = []
    for path, form in ((listed, "table"), (matrix, "table"), (free, "table"), (marked, "xml"), (marked, "xml")):

        def read(path: Path = path) -> Any:
            network, note = network_from_graph_file(path, direp.Projected(), 1.0)
            return content_of(network), note, read_connectome(path) if path.parent.name != "free" else None

        found.append(Specimen(path, form, read, commands=(certify(path),)))
    return found


def _task(path: Path, **more: Any) -> Any:
    task = load_task(Settings(task=str(path), **more))
    kept = None if task.preparation is None else task.preparation.to_dict()
    return [plain(tuple(part)) for part in (task.train, task.validation, task.test)], task.kind, kept


def data(folder: Path, stack: contextlib.ExitStack) -> list[Specimen]:
    import pyarrow.parquet as parquet

    comma = written(folder / "comma" / "data.csv", TABLE)
    tabs = written(folder / "tabs" / "data.tsv", TABLE.replace(",", "\t"))
    columns = written(folder / "columns" / "data.parquet", "")
    parquet.write_table(tasks.read_table(comma), columns)
    arrays = written(folder / "arrays" / "data.npz", "")
    np.savez(arrays, x=np.random.default_rng(0).normal(0, 1, (40, 3)), y=np.arange(40) % 2)
    words = written(folder / "words" / "data.npz", "")
    np.savez_compressed(words, x=np.arange(80).reshape(40, 2), y=np.array(["no", "yes"] * 20))
    found = []
    for path, form, more in (
        (comma, "table", {"target": ("kind",)}),
        (comma, "table", {"target": ("b", "a"), "kind": "regression"}),
        (tabs, "table", {"target": ("word",), "drop": ("kind",)}),
        (columns, "parquet", {"target": ("kind",)}),
        (columns, "parquet", {"target": ("a",), "scale": "range"}),
        (arrays, "npz", {}),
        (words, "npz", {"scale": "global"}),
    ):
        options = [word for key, value in more.items()
                   for word in (f"--{key}", *(value if isinstance(value, tuple) else (value,)))]  # fmt: skip
        train = (
            "train",
            str(path),
            *options,
            "--epochs",
            "1",
            "--hidden",
            "2",
            "--quiet",
            "--out",
            str(path.parent / "out"),
        )
        read = lambda path=path, more=more: _task(path, **more)  # noqa: E731
        found.append(Specimen(path, form, read, checked=form == "npz", commands=(train,)))
    return found


def new_rows(folder: Path, stack: contextlib.ExitStack) -> list[Specimen]:
    """Rows for a trained network, with targets or without."""
    import pyarrow.parquet as parquet

    run = open_run({path.name: path for path, _ in folders(folder)}["table"], needs_data=None)
    assert run.preparation is not None
    kept = run.preparation
    listed = written(folder / "list" / "rows.csv", TABLE)
    columns = written(folder / "columns" / "rows.parquet", "")
    parquet.write_table(tasks.read_table(listed), columns)
    bare = written(folder / "bare" / "rows.csv", "word,b,a\nu,1,2\nv,,3\nz,-1,4\n")
    found = []
    for path, form in ((listed, "table"), (bare, "table"), (columns, "parquet")):

        def read(path: Path = path) -> Any:
            table, given = _rows(str(path), run)
            told = kept.inputs.unknown(table), kept.inputs.gaps(table), kept.targets.raw(given) if given else None
            return plain((kept.inputs.encode(table), *told))

        found.append(Specimen(path, form, read, commands=(("predict", str(run.path), str(path)),)))
    return found


def _idx(array: np.ndarray) -> bytes:
    return gzip.compress(struct.pack(f">{array.ndim + 1}I", 0x800 + array.ndim, *array.shape) + array.tobytes())


def images(folder: Path, stack: contextlib.ExitStack) -> list[Specimen]:
    """Small stand-ins for MNIST, whose checksums are those of the originals here."""
    rng, files = np.random.default_rng(0), {}
    for part, count in (("train", 60), ("t10k", 20)):
        files[f"{part}-images-idx3-ubyte.gz"] = _idx(rng.integers(0, 256, (count, 5, 5), np.uint8))
        files[f"{part}-labels-idx1-ubyte.gz"] = _idx(np.arange(count, dtype=np.uint8) % 10)
    (folder / "mnist").mkdir()
    for name, content in files.items():
        (folder / "mnist" / name).write_bytes(content)
    classes, mirrors, _ = tasks.IMAGES["mnist"]
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    stack.enter_context(mock.patch.dict(tasks.IMAGES, {"mnist": (classes, mirrors, sums)}))

    def read() -> Any:
        try:
            task = tasks.images("mnist", data_dir=folder, validation=10)
        except (tasks.DataMissing, tasks.DataUnreadable) as error:  # as `direp.program.build.load_task` does
            raise Unreadable(str(error)) from None
        finally:
            sums.update({name: hashlib.sha256(content).hexdigest() for name, content in files.items()})
        return [plain(tuple(part)) for part in (task.train, task.validation, task.test)]

    def place(path: Path, content: bytes) -> None:
        path.write_bytes(content)
        sums[path.name] = hashlib.sha256(content).hexdigest()

    return [
        Specimen(path, "idx", read, sealed=True, place=lambda content, path=path: place(path, content))
        for path in (folder / "mnist" / name for name in files)
    ]
