"""Run folders: everything needed to look at a run, use its network and run it again. No pickle."""

import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..certificates import certify
from ..model import Network, Parameters
from ..model.synapses import Weight
from ..rules import AbstractRule, companions, initialise, parameters_of, with_parameters
from ..runs import (
    WEIGHTS,
    Held,
    RunFolder,
    Unreadable,
    check_file,
    holder_of,
    plain,
    quoted,
    read_back,
    read_history,
    reading,
    tell_unsealed,
)
from ..tasks import Preparation, Task
from ..training import Prediction, predict, weight_names, weights_of
from .build import Parts, check_cost
from .catalogue import WrongUse, is_own
from .config import Config, config_of, read_config
from .data import data_of, load_again
from .folders import fresh_folder, stamped
from .graph_file import is_graph_file, kept_graph
from .network_file import check_alike, check_floats, check_precision, weight_of
from .parts import permit
from .settings import Settings, short

_FORMAT, _OLDER = "direp 2", ("direp 1",)  # the older one has no SHA-256
_MANY = 2**20  # synapses


def new_run(out: Path | None, settings: Settings, task: Task | None = None) -> RunFolder:
    """A new run folder for some settings, with a copy of the graph's file. Raises `WrongUse` for a place that already
    holds something, and `Held`, naming the holder, for one that another process writes in."""
    config, files = contents_of(settings, task)
    if out is not None and (holder := holder_of(out)):
        raise Held(f"{out} is being written by {holder}")
    for _ in range(100):
        path = fresh_folder(out, stamped(label_of(settings.task)))
        try:
            return RunFolder(path, config, files)
        except Held:  # somebody else was faster to take this name
            if out is not None:
                raise
        except (FileExistsError, NotADirectoryError, PermissionError) as error:
            raise WrongUse(
                f"{path} cannot be made ({error.strerror}): name a folder you may write to, with --out"
            ) from None
    raise WrongUse("runs/ is being written by many others: name a folder with --out")


def contents_of(settings: Settings, task: Task | None = None) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What a run folder is begun with: what config.json says of settings and data, and files beside it."""
    kept = {} if task is None else data_of(settings, task)
    graph, copy, said = kept_graph(settings.graph) or (None, b"", {})
    return plain({**config_of(settings), **kept, **said}), {} if graph is None else {graph: copy}


def keep_networks(
    place: Path,
    folder: RunFolder,
    networks: Sequence[Network],
    seeds: Sequence[int],
    rules: Sequence[AbstractRule] = (),
    best: int = 0,
    preparation: Preparation | None = None,
) -> None:
    """Write the networks of all seeds, with what their rules, one a seed, have learned themselves; `place` is that of
    the folder, or another one where that cannot be written."""
    parameters = [network.parameters for network in networks]
    if rules:
        learned = [parameters_of(rule) for rule in rules]
        parameters = [own._replace(rule=rule) for own, rule in zip(parameters, learned, strict=True)]
    stacked = jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *parameters)
    folder.put(place, WEIGHTS, *weights_of(stacked, seeds, best, preparation))


def label_of(task: str) -> str:
    """A task's name for folders: that of its file, or of its function."""
    return Path(task).stem.rpartition(":")[2]


@dataclass(frozen=True)
class LoadedRun:
    """A run folder that was read: `networks`, and `rules` with what they learned themselves, for each seed.

    `lost`: why the data of the run could not be used, if so. `preparation`: how rows become inputs, and outputs
    answers, `None` for a run of an older version. `best`: the seed that does best on validation samples.
    """

    path: Path
    settings: Settings
    task: Task
    parts: Parts
    networks: list[Network]
    rules: list[AbstractRule]
    lost: str | None = None
    preparation: Preparation | None = None
    best: int | None = None

    @property
    def chosen(self) -> int:
        """The seed whose network answers unless another one is asked for: the best one, if that is known."""
        return self.parts.seeds[0] if self.best is None else self.best

    @property
    def history(self) -> dict[str, np.ndarray]:
        """Figures of every epoch, epochs x seeds each; of more than 20 seeds the folder keeps one column."""
        return read_history(self.path)

    def plot(self, ax: Any = None) -> Any:
        """Its learning curves; see `direp.plot.learning_curve`. Returns the axes."""
        from ..plot import learning_curve  # which loads matplotlib

        return learning_curve(self, ax)

    def predict(self, table: Any, seed: int | None = None, step: Callable[[int], Any] | None = None) -> Prediction:
        """What the network of a seed, by default the best one, says of new rows, with a bound on every answer's
        distance from equilibrium where the network is proved to settle; see [`predict`][direp.predict]."""
        if self.preparation is None and self.task.preparation is None:
            raise Unreadable(
                f"{self.path} is of an older version, which did not keep how rows become inputs: train again"
            )
        chosen = self.chosen if seed is None else seed
        if chosen not in self.parts.seeds:
            raise ValueError(
                f"seed {chosen} is not of this run: there are {', '.join(map(str, self.parts.seeds[:12]))}"
            )
        network = self.networks[self.parts.seeds.index(chosen)]
        arguments = self.parts.fit()
        with wide(self.settings.precision):
            certificate = certify(network, starts=0)
            return predict(
                network, table, self.preparation or self.task.preparation, cost=self.parts.cost, step=step,
                method=arguments["method"], stop=arguments["stop"],
                certificate=certificate if certificate.verdict == "proved" else None,
            )  # fmt: skip


def read_run_config(path: Path) -> Config:
    """The config of a run folder. Raises `Unreadable` if there is none, or none that can be read."""
    if not path.exists():
        raise Unreadable(f"{path} does not exist: name a run folder")
    with reading(f"{path} is no readable run folder", _without_flags):
        if not (path / "config.json").exists():
            raise Unreadable(f"{path} is no run folder: config.json is missing in it")
        check_file(path / "config.json")
        return read_config(path / "config.json")


def open_run(path: str | Path, *, allow_import: bool = False, needs_data: bool | None = True) -> LoadedRun:
    """Read a run folder. Data that is not that of the run is said on standard error; unless `needs_data`, it is not
    used, and may be missing; with `None` it is not even looked for, where the run has kept its sizes.

    Raises `Unreadable` if the folder or a file in it is missing, altered or foreign, or if the run has parts of the
    user's own and `allow_import` does not allow to import their modules. A file of an older version, without SHA-256,
    is read, and so are weights that do not tell which config they belong to, and a config that was edited and lost its
    SHA-256: standard error says so.
    """
    path = Path(path)
    held = path / WEIGHTS
    config = read_run_config(path)
    settings, own, data = config.settings, config.own, config.data
    if not held.exists() and (path / "status.json").exists():
        raise Unreadable(f"{path} holds no networks yet: direp resume {quoted(path)} goes on with the run")
    if not held.exists():
        raise Unreadable(f"{path} is no run folder: {held.name} is missing in it")
    metadata, arrays = read_back(held, "file of a run's weights", _FORMAT, _OLDER)
    if config.sealed and metadata.get("config", config.sha256) not in (config.sha256, *config.before):
        raise Unreadable(f"{held} was not written with the config.json beside it: it carries the SHA-256 of another")
    check_precision(held, arrays)
    permit(own, path / "config.json", allow_import)
    with reading(f"{path} is no readable run folder", _without_flags):
        settings.check()
        if data:
            check_cost(settings, data["outputs"])
        task, lost = load_again(settings, data, needs_data)
        parts = Parts(settings, task)
    with reading(f"{held} does not hold what the settings describe", _without_flags):
        _check(arrays, parts)
        learned = [f"rule.{k}" for k in range(sum(name.startswith("rule.") for name in arrays))]
        needed = {"seeds", "bias", "leak", *weight_names(parts.network.weight), *learned}
        if set(arrays) != needed:
            raise ValueError(f"it holds {', '.join(sorted(arrays))}; needed are {', '.join(sorted(needed))}")
        stacked = _parameters(parts.network, arrays)
        networks = [
            parts.network.replace(jax.tree.map(lambda leaf, k=k: jnp.asarray(leaf[k]), stacked))
            for k in range(len(parts.seeds))
        ]
        rules = [
            _with_learned(parts.rule, parts.network, [arrays[name][k] for name in learned])
            for k in range(len(parts.seeds))
        ]
        best = None if "best" not in metadata else _best(metadata["best"], parts.seeds)
    preparation = _preparation(held, metadata, parts)
    _tell(path, config, metadata)
    return LoadedRun(path, settings, task, parts, networks, rules, lost, preparation, best)


def wide(precision: str) -> Any:
    """A context in which JAX computes in 64 bits if the precision asks for it."""
    now = jax.config.jax_enable_x64  # pyright: ignore[reportAttributeAccessIssue]
    return jax.enable_x64(now or precision == "float64")


def _preparation(held: Path, metadata: dict[str, str], parts: Parts) -> Preparation | None:
    if "preparation" not in metadata:
        return None
    with reading(f"{held} does not tell in a known way how rows become inputs"):
        kept = Preparation.from_dict(json.loads(metadata["preparation"]))
        kept.check(parts.network.graph.inputs, parts.network.graph.outputs)
        return kept


def _best(said: str, seeds: Sequence[int]) -> int:
    """The seed that a file says is the best one."""
    found = next((seed for seed in seeds if str(seed) == said), None)
    if found is None:
        raise ValueError(f"the best seed is {short(said)}, which is none of the settings' seeds")
    return found


def _without_flags(error: Exception) -> str:
    """A message that names settings as a config.json does."""
    return re.sub(r"--([a-z][a-z-]*)", lambda found: found[1].replace("-", "_"), str(error))


def _tell(path: Path, config: Config, metadata: dict[str, str]) -> None:
    """Say on standard error what nothing vouches for: a file without SHA-256, and that the two belong together."""
    settings, held = path / "config.json", path / "weights.safetensors"
    written = metadata.get("config")
    if not config.sealed:
        if written is None:
            tell_unsealed(settings)
        elif written != config.sha256:
            tell_unsealed(settings, f"{held.name} was written with another one, and what follows holds for this one")
    if "sha256" not in metadata:
        tell_unsealed(held)
    elif written is None and config.sealed:
        print(f"direp: {held} does not tell which config.json it was written with", file=sys.stderr)


def _check(arrays: dict[str, np.ndarray], parts: Parts) -> None:
    """Raise `ValueError` unless there is a network for each seed, leaks for as many units as the settings name, and
    weights for their synapses: before any network is made."""
    missing = {"seeds", "bias", "leak"} - set(arrays)
    if missing:
        raise ValueError(f"{', '.join(sorted(missing))} is missing")
    seeds = arrays["seeds"]
    if seeds.dtype.kind not in "iu" or seeds.shape != (len(parts.seeds),) or (seeds != np.array(parts.seeds)).any():
        raise ValueError(f"it has networks of {seeds.size} seeds, not of the {len(parts.seeds)} that the settings name")
    for name, array in arrays.items():
        if array.shape[:1] != seeds.shape:
            raise ValueError(f"{name} has shape {array.shape}; needed is an entry for each of {len(seeds)} seeds")
    settings = parts.settings
    if arrays["leak"].dtype != settings.precision:  # weights and biases are of the same kind
        raise ValueError(f"its numbers are {arrays['leak'].dtype}, and precision is {settings.precision}")
    if is_own("graph", settings.graph) or is_graph_file(settings.graph):
        return
    check_floats("leak", arrays["leak"], (len(seeds), parts.units + parts.outputs))
    numbers = sum(array.size for name, array in arrays.items() if name.startswith("weight.")) // len(seeds)
    shares = {"random": settings.density / 2, "small-world": settings.neighbours / max(parts.units, 1)}
    share = 1 if settings.layout == "dense" else shares.get(settings.graph, 1)
    least = share * settings.synapses_between_hidden()
    entering = parts.inputs * (settings.hidden[0] if settings.graph == "layered" and settings.hidden else parts.units)
    if entering > _MANY:  # so that chance does not count where synapses are drawn
        least += entering * (1 if settings.graph == "small-world" else share)
    if numbers < least - parts.units and not is_own("layout", settings.layout):  # a unit has no synapse to itself
        raise ValueError(f"it has {numbers:,} weights a network, too few for the units that the settings name")


def _parameters(template: Network, arrays: dict[str, Any]) -> Parameters:
    """Those of all networks, the seeds as first axis."""
    count = len(arrays["seeds"])
    for name in ("bias", "leak"):
        check_floats(name, arrays[name], (count, template.graph.free))
    weight = weight_of(template.synapses, arrays, (count,))
    check_alike(arrays)
    if not template.graph.bias and arrays["bias"].any():
        raise ValueError("it has biases, and the graph has no bias unit")
    return Parameters(weight, arrays["bias"], arrays["leak"])


def _with_learned(rule: AbstractRule, network: Network, leaves: list[Any]) -> AbstractRule:
    made, shape = jax.tree.flatten(parameters_of(initialise(rule, network, jax.random.key(0))))
    if len(made) != len(leaves):
        raise ValueError(f"the rule learns {len(made)} arrays, and there are {len(leaves)}")
    for k, (leaf, given) in enumerate(zip(made, leaves, strict=True)):
        check_floats(f"rule.{k}", given, np.shape(leaf))
    learned = jax.tree.unflatten(shape, [jnp.asarray(leaf) for leaf in leaves])
    for own in companions(learned):
        _check_companions(own.recurrent, network)
    return with_parameters(rule, learned)


def _check_companions(recurrent: Any, network: Network) -> None:
    """Raise `ValueError` unless companions are numbers as the weights are, of synapses alone."""
    beside = Weight(network.weight.input, recurrent)
    kept = network.synapses.mask(beside)
    for given, masked in zip(jax.tree.leaves(recurrent), jax.tree.leaves(kept.recurrent), strict=True):
        if given.dtype != network.dtype:
            raise ValueError(f"companions are {given.dtype}, and weights are {network.dtype}")
        if (given != masked).any():
            raise ValueError("companions are not zero where there is no synapse")


def load_run(path: str | Path, *, allow_import: bool = False) -> LoadedRun:
    """A trained run, from its folder alone: `load_run("runs/NAME").predict(table)`. Its data is not needed.

    Raises `ValueError` for what is no run folder; see `open_run`.
    """
    with jax.enable_x64(True):  # for networks of 64 bits; those of 32 stay as they are
        return open_run(path, allow_import=allow_import, needs_data=None)


load = load_run  # the short name
