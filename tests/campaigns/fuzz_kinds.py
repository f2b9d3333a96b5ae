"""The kinds of files that the program reads: real ones of each, how each is read, and what its checksum covers.

One more kind is one more entry in `KINDS`: a function that makes specimens in a folder.
"""

import contextlib
import dataclasses
import gzip
import hashlib
import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import numpy as np
from fuzz_tensors import parted, resealed

import direp
from direp import tasks
from direp.certificates.convergence import Counterexample
from direp.program.build import Parts, load_task
from direp.program.commands.certify import _history
from direp.program.commands.predict import _rows
from direp.program.commands.train import parse_train
from direp.program.graph_file import network_from_graph_file, read_connectome
from direp.program.history import read_history
from direp.program.matrix_file import network_from_matrix
from direp.program.network_file import load_counterexample, open_network, save_network
from direp.program.parts import Unreadable
from direp.program.run_folder import RunFolder, open_run
from direp.program.seal import seal
from direp.program.settings import Settings
from direp.rules import initialise, parameters_of

_FEW = 64  # units of networks that are built to see whether what was read can be used


@dataclasses.dataclass
class Specimen:
    """A file as the program writes it or takes it.

    - `form`: the mutations that know it (`fuzz_mutate.FORMS`).
    - `read`: reads it as the program does, and gives all that was read, to be compared.
    - `sealed`: a checksum covers all of it: what was changed is refused, or is the same. `checked`: changed bytes are;
      a file that was written anew has checksums of its own.
    - `place`: writes other content with all checksums made to fit.
    - `commands`: arguments of the program that take what was read, tried for some of the files that are accepted.
    """

    path: Path
    form: str
    read: Callable[[], Any]
    sealed: bool = False
    checked: bool = False
    place: Callable[[bytes], object] | None = None
    commands: tuple[tuple[str, ...], ...] = ()
    files: dict[Path, bytes] = dataclasses.field(default_factory=dict)
    before: Any = None

    def __post_init__(self) -> None:
        self.files = {path: path.read_bytes() for path in self.path.parent.iterdir() if path.is_file()}

    @property
    def content(self) -> bytes:
        return self.files[self.path]

    def restore(self) -> None:
        for path, content in self.files.items():
            path.write_bytes(content)


def plain(value: Any) -> Any:
    """Anything that was read, as what can be compared: arrays by their bytes."""
    if isinstance(value, np.ndarray | jax.Array | np.generic):
        array = np.asarray(value)
        return str(array.dtype), array.shape, array.tobytes() if array.dtype != object else repr(array.tolist())
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value


def _network(network: Any) -> Any:
    leaves = jax.tree.leaves(network.parameters)
    return network.graph, network.neuron, type(network.synapses), plain(leaves)


def _run(folder: Path, needs_data: bool | None) -> Any:
    run = open_run(folder, needs_data=needs_data)
    run.settings.check()
    prepared = None if run.preparation is None else run.preparation.to_dict()
    learned = [plain(jax.tree.leaves(parameters_of(rule))) for rule in run.rules]
    return run.settings, [_network(network) for network in run.networks], learned, prepared, run.best, run.chosen


def _settings(path: Path) -> Any:
    """Settings as `direp train --config` takes them, and what they make if that is small."""
    settings, _, data, _ = parse_train(["--config", str(path)])
    settings.check()
    assert Settings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings
    if sum(settings.hidden) <= _FEW and len(settings.seeds) < 5 and settings.probe < 1000:
        Parts(settings, load_task(settings)).fit()
    return settings, data


TABLE = "a,b,word,kind\n" + "".join(f"{k},{k * k / 7},{'uvw'[k % 3]},{'yn'[k % 2]}\n" for k in range(40))
GRAPH = (
    "source,target,weight,role,sign\na,,,input,\nb,,,input,\no,,,output,\nh,,,,1\n"
    "a,h,0.5,,\nb,h,-0.25,,-1\nh,o,1.5,,\no,h,0.1,,\na,o,2,,\n"
).replace("b,h,-0.25,,-1", "b,h,0.25,,-1")
_ROW = {"loss": [0.5, 0.25], "accuracy": [0.5, 1.0], "lowest_margin": [0.1, 0.2], "margin": [0.1, 0.2],
        "certified": [1.0, 1.0], "unsettled": [0.0, 0.0]}  # fmt: skip


def _folders(folder: Path) -> list[tuple[Path, Path]]:
    """Run folders, and a file of rows for each."""
    (folder / "table.csv").write_text(TABLE)
    (folder / "graph.csv").write_text(GRAPH)
    (folder / "rows.csv").write_text("a,b\n0,1\n1,1\n")
    np.savez(folder / "rows.npz", x=np.eye(2))
    table = str(folder / "table.csv")
    made = []
    for name, settings, rows in (
        ("xor", Settings(hidden=(2,), seeds="0..1"), "rows.npz"),
        (
            "table",
            Settings(task=table, target=("kind",), graph="layered", hidden=(3,), rule="asym-ep", feedback="learned",
                     init="fan-in", neuron="rate", activation="tanh", precision="float64", schedule="cosine"),
            "table.csv",
        ),
        ("graph", Settings(graph=str(folder / "graph.csv"), init="file", neuron="hopfield", dale=True), "rows.npz"),
    ):  # fmt: skip
        task = load_task(settings)
        parts = Parts(settings, task)
        rules = [initialise(parts.rule, network, jax.random.key(1)) for network in parts.networks]
        with RunFolder(folder / name, settings, task) as kept:
            count = len(parts.seeds)
            for number in range(3):
                row = {key: np.array(values[:count]) / (1 + number) for key, values in _ROW.items()}
                kept.epoch(number, row | {"failed": np.zeros(count, bool)})
            kept.weights(parts.networks, parts.seeds, rules)
        made.append((folder / name, folder / rows))
    return made


def _commands(run: Path, rows: Path) -> tuple[tuple[str, ...], ...]:
    certify = ("certify", str(run), "--starts", "0", "--no-figures", "--samples", "2", "--out", str(run / "out"))
    return certify, ("predict", str(run), str(rows)), ("plot", str(run), "--out", str(run / "out"))


def _config(folder: Path, stack: contextlib.ExitStack) -> list[Specimen]:
    found = []
    for run, rows in _folders(folder):
        path, held = run / "config.json", run / "weights.safetensors"

        def place(content: bytes, path: Path = path, held: Path = held) -> None:
            """Both files carry the SHA-256 of this very config."""
            try:
                told = json.loads(content)
                told["sha256"] = seal(told)
                header, numbers = parted(held.read_bytes())
                header["__metadata__"]["config"] = told["sha256"]
                path.write_text(json.dumps(told))
                kept = json.dumps(header).encode()
                held.write_bytes(resealed(struct.pack("<Q", len(kept)) + kept + numbers))
            except (ValueError, TypeError, RecursionError):
                path.write_bytes(content)

        for read in (
            lambda run=run: _run(run, False),
            lambda run=run: _run(run, None),
            lambda path=path: _settings(path),
        ):
            found.append(Specimen(path, "json", read, sealed=True, place=place, commands=_commands(run, rows)))
    return found


def _weights(folder: Path, stack: contextlib.ExitStack) -> list[Specimen]:
    found = []
    for run, rows in _folders(folder):
        path = run / "weights.safetensors"
        found.append(
            Specimen(
                path,
                "safetensors",
                lambda run=run: _run(run, None),
                sealed=True,
                commands=_commands(run, rows),
                place=lambda content, path=path: path.write_bytes(resealed(content)),
            )
        )
    return found


def _networks(folder: Path, stack: contextlib.ExitStack) -> list[Specimen]:
    rng, found = np.random.default_rng(0), []
    layered, named = direp.Graph.layered([2, 3, 1]), read_connectome(_written(folder / "graph.csv", GRAPH)).graph
    for k, (graph, neuron, layout) in enumerate((
        (layered, direp.Rate(direp.activation.tanh, "absolute"), None),
        (named, direp.Projected("signed"), None),
        (layered, direp.Hopfield(direp.activation.sigmoid), direp.Sparse(layered)),
    )):  # fmt: skip
        weight = np.where(graph.adjacency(), rng.normal(0, 1, (graph.units, graph.free)), 0)
        network = direp.Network(graph, neuron, weight, leak=1 + rng.random(graph.free), layout=layout)
        example = Counterexample("two equilibria", rng.random(2), rng.random((2, graph.free)))
        (folder / str(k)).mkdir()
        path = folder / str(k) / "network.safetensors"
        save_network(path, network, example if k == 0 else None)

        def read(path: Path = path) -> Any:
            network, counter = open_network(path)
            assert (load_counterexample(path) is None) == (counter is None)
            return _network(network), None if counter is None else plain(dataclasses.astuple(counter))

        found.append(
            Specimen(
                path,
                "safetensors",
                read,
                sealed=True,
                commands=(_certify(path),),
                place=lambda content, path=path: path.write_bytes(resealed(content)),
            )
        )
    return found


def _written(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def _certify(path: Path) -> tuple[str, ...]:
    return "certify", str(path), "--starts", "0", "--no-figures", "--out", str(path.parent / "out")


def _matrices(folder: Path, stack: contextlib.ExitStack) -> list[Specimen]:
    weight = np.where(np.eye(4), 0, np.random.default_rng(0).normal(0, 1, (4, 4)))
    source, target = np.nonzero(weight)
    edges = {"source": source, "target": target, "strength": weight[source, target]}
    found = []
    for name, arrays in {
        "dense": {"weight": weight, "leak": np.full(4, 2.0), "bias": np.ones(4)},
        "edges": {**edges, "leak": np.float32(3.0), "inputs": np.int64(0)},
        "whole": {"weight": np.triu(np.ones((3, 3), np.int8), 1), "leak": np.full(2, 2), "inputs": np.int64(1)},
    }.items():
        path = _written(folder / name / "matrix.npz", "")
        np.savez(path, **arrays)
        read = lambda path=path: _network(network_from_matrix(path, direp.Rate(direp.activation.tanh)))  # noqa: E731
        found.append(Specimen(path, "npz", read, checked=True, commands=(_certify(path),)))
    return found


def _graphs(folder: Path, stack: contextlib.ExitStack) -> list[Specimen]:
    listed = _written(folder / "list" / "graph.csv", GRAPH)
    matrix = _written(
        folder / "matrix" / "graph.csv", ",a,b,h,o,role,leak\na,0,0,0.5,1,input,\nb,,,1,0,input,\n"
        "h,,,0,-2.5,hidden,1\no,,,0.5,0,output,2\n"
    )  # fmt: skip
    free = _written(folder / "free" / "graph.csv", "source,target,weight,fixed\na,b,0.5,1\nb,c,-0.5,0\nc,a,0.25,0\n")
    marked = _written(folder / "marked" / "graph.graphml", "")
    read_connectome(listed).to_graphml(marked)
    found = []
    for path, form in ((listed, "table"), (matrix, "table"), (free, "table"), (marked, "xml"), (marked, "xml")):

        def read(path: Path = path) -> Any:
            network, note = network_from_graph_file(path, direp.Projected(), 1.0)
            return _network(network), note, read_connectome(path) if path.parent.name != "free" else None

        found.append(Specimen(path, form, read, commands=(_certify(path),)))
    return found


def _task(path: Path, **more: Any) -> Any:
    task = load_task(Settings(task=str(path), **more))
    kept = None if task.preparation is None else task.preparation.to_dict()
    return [plain(tuple(part)) for part in (task.train, task.validation, task.test)], task.kind, kept


def _data(folder: Path, stack: contextlib.ExitStack) -> list[Specimen]:
    import pyarrow.parquet as parquet

    comma = _written(folder / "comma" / "data.csv", TABLE)
    tabs = _written(folder / "tabs" / "data.tsv", TABLE.replace(",", "\t"))
    columns = _written(folder / "columns" / "data.parquet", "")
    parquet.write_table(tasks.read_table(comma), columns)
    arrays = _written(folder / "arrays" / "data.npz", "")
    np.savez(arrays, x=np.random.default_rng(0).normal(0, 1, (40, 3)), y=np.arange(40) % 2)
    words = _written(folder / "words" / "data.npz", "")
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


def _new_rows(folder: Path, stack: contextlib.ExitStack) -> list[Specimen]:
    """Rows for a trained network, with targets or without."""
    import pyarrow.parquet as parquet

    run = open_run(dict(_by_name(_folders(folder)))["table"], needs_data=None)
    assert run.preparation is not None
    kept = run.preparation
    listed = _written(folder / "list" / "rows.csv", TABLE)
    columns = _written(folder / "columns" / "rows.parquet", "")
    parquet.write_table(tasks.read_table(listed), columns)
    bare = _written(folder / "bare" / "rows.csv", "word,b,a\nu,1,2\nv,,3\nz,-1,4\n")
    found = []
    for path, form in ((listed, "table"), (bare, "table"), (columns, "parquet")):

        def read(path: Path = path) -> Any:
            table, given = _rows(str(path), run)
            told = kept.inputs.unknown(table), kept.inputs.gaps(table), kept.targets.raw(given) if given else None
            return plain((kept.inputs.encode(table), *told))

        found.append(Specimen(path, form, read, commands=(("predict", str(run.path), str(path)),)))
    return found


def _by_name(made: list[tuple[Path, Path]]) -> list[tuple[str, Path]]:
    return [(run.name, run) for run, _ in made]


def _metrics(folder: Path, stack: contextlib.ExitStack) -> list[Specimen]:
    found = []
    for run, rows in _folders(folder)[:2]:
        path = run / "metrics.jsonl"
        for read in (lambda path=path: plain(read_history(path)), lambda path=path: _history(path)):
            found.append(Specimen(path, "jsonl", read, commands=_commands(run, rows)))
    return found


def _idx(array: np.ndarray) -> bytes:
    return gzip.compress(struct.pack(f">{array.ndim + 1}I", 0x800 + array.ndim, *array.shape) + array.tobytes())


def _images(folder: Path, stack: contextlib.ExitStack) -> list[Specimen]:
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


KINDS: dict[str, Callable[[Path, contextlib.ExitStack], list[Specimen]]] = {
    "config": _config, "weights": _weights, "network": _networks, "matrix": _matrices, "graph": _graphs, "data": _data,
    "rows": _new_rows, "metrics": _metrics, "images": _images,
}  # fmt: skip
