"""A file to be damaged, how it is read, and real ones to begin with."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from direp.program.build import Parts, load_task
from direp.program.run_folder import keep_networks, new_run
from direp.program.settings import Settings
from direp.rules import initialise
from direp.training.checkpoint import line_of


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


def content_of(network: Any) -> Any:
    leaves = jax.tree.leaves(network.parameters)
    return network.graph, network.neuron, type(network.synapses), plain(leaves)


TABLE = "a,b,word,kind\n" + "".join(f"{k},{k * k / 7},{'uvw'[k % 3]},{'yn'[k % 2]}\n" for k in range(40))
GRAPH = (
    "source,target,weight,role,sign\na,,,input,\nb,,,input,\no,,,output,\nh,,,,1\n"
    "a,h,0.5,,\nb,h,-0.25,,-1\nh,o,1.5,,\no,h,0.1,,\na,o,2,,\n"
).replace("b,h,-0.25,,-1", "b,h,0.25,,-1")
_ROW = {"loss": [0.5, 0.25], "accuracy": [0.5, 1.0], "lowest_margin": [0.1, 0.2], "margin": [0.1, 0.2],
        "certified": [1.0, 1.0], "unsettled": [0.0, 0.0]}  # fmt: skip


def folders(folder: Path) -> list[tuple[Path, Path]]:
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
        with new_run(folder / name, settings, task) as kept:
            count = len(parts.seeds)
            for number in range(3):
                row = {key: np.array(values[:count]) / (1 + number) for key, values in _ROW.items()}
                kept.line(line_of(1 + number, row | {"failed": np.zeros(count, bool)}))
            keep_networks(kept.path, kept, parts.networks, parts.seeds, rules, preparation=task.preparation)
        made.append((folder / name, folder / rows))
    return made


def commands_of(run: Path, rows: Path) -> tuple[tuple[str, ...], ...]:
    certify = ("certify", str(run), "--starts", "0", "--no-figures", "--samples", "2", "--out", str(run / "out"))
    return certify, ("predict", str(run), str(rows)), ("plot", str(run), "--out", str(run / "out"))


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def certify(path: Path) -> tuple[str, ...]:
    return "certify", str(path), "--starts", "0", "--no-figures", "--out", str(path.parent / "out")
