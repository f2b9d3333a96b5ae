"""Run folders: everything needed to look at a run, use its network and run it again. No pickle."""

import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from ..model import Network, Parameters
from ..rules import AbstractRule, initialise, parameters_of, with_parameters
from ..tasks import Task
from .build import Parts, load_task
from .files import fresh_folder, new_folder, plain, stamped, write_arrays, write_json
from .network_file import weight_names
from .parts import Unreadable, permit
from .settings import Settings, config_of, read_config

_SHOWN = ("jax", "jaxlib", "equinox", "optax", "numpy", "scipy", "scikit-learn")


class RunFolder:
    """Writes a run as it goes: `config.json`, `metrics.jsonl`, `weights.safetensors`, `certificate.json`,
    `summary.json`, figures."""

    def __init__(self, path: Path | None, settings: Settings):
        self.path = fresh_folder(path, stamped(label_of(settings.task)))
        self._made = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        new_folder(self.path)
        write_json(self.path / "config.json", {**config_of(settings), "versions": versions()})
        self._metrics = (self.path / "metrics.jsonl").open("w")

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, error: object, *_: object) -> None:
        """A run that was refused before its first epoch leaves nothing behind."""
        self._metrics.close()
        metrics = self.path / "metrics.jsonl"
        if error is not None and metrics.stat().st_size == 0:
            for path in (metrics, self.path / "config.json"):
                path.unlink()
            for folder in self._made:
                folder.rmdir()

    def epoch(self, number: int, row: dict[str, np.ndarray]) -> None:
        """One line of metrics: over the seeds, the mean (or the worst, where the mean would hide it)."""
        line: dict[str, Any] = {"epoch": number, **summarise(row)}
        seeds = len(row["loss"])
        if 1 < seeds <= 20:
            line["per_seed"] = {name: _rounded(name, values).tolist() for name, values in row.items()}
        self._metrics.write(json.dumps(plain(line)) + "\n")

    def weights(self, networks: Sequence[Network], seeds: Sequence[int], rules: Sequence[AbstractRule] = ()) -> None:
        """All seeds in one file; every array has the seeds as its first axis. What the rules, one a seed, have learned
        themselves is kept too."""
        parameters = [network.parameters for network in networks]
        if rules:
            learned = [parameters_of(rule) for rule in rules]
            parameters = [own._replace(rule=rule) for own, rule in zip(parameters, learned, strict=True)]
        stacked = jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *parameters)
        arrays = {"bias": stacked.bias, "leak": stacked.leak, "seeds": np.array(seeds)}
        arrays |= dict(zip(weight_names(stacked.weight), jax.tree.leaves(stacked.weight), strict=True))
        arrays |= {f"rule.{k}": leaf for k, leaf in enumerate(jax.tree.leaves(stacked.rule))}
        write_arrays(self.path / "weights.safetensors", arrays, {"format": "direp 1"})

    def finish(self, summary: dict[str, Any], certificate: dict[str, Any]) -> None:
        self._metrics.flush()
        write_json(self.path / "certificate.json", certificate)
        write_json(self.path / "summary.json", summary)


_WORST = {
    "lowest_margin": np.min,
    "margin": np.min,
    "certified": np.min,
    "steps_max": np.max,
    "failed": np.sum,
    "validation_unsettled": np.sum,
}


def summarise(row: dict[str, np.ndarray]) -> dict[str, float]:
    """One number a figure over seeds: the worst margin and steps, sums of counts, means of the rest."""
    fine = ~row["failed"] if not row["failed"].all() else np.ones_like(row["failed"])
    return {
        name: float(_WORST[name](values)) if name in _WORST else float(np.mean(_rounded(name, values)[fine]))
        for name, values in row.items()
    }


def _rounded(name: str, values: np.ndarray) -> np.ndarray:
    """Shares of samples without what rounding left of them: no share is below zero."""
    return np.maximum(np.round(values, 6), 0) if name in ("left_out", "unsettled") else values


def label_of(task: str) -> str:
    """A task's name for folders: that of its file, or of its function."""
    return Path(task).stem.rpartition(":")[2]


@dataclass(frozen=True)
class LoadedRun:
    """A run folder that was read: `networks`, and `rules` with what they learned themselves, for each seed."""

    path: Path
    settings: Settings
    task: Task
    parts: Parts
    networks: list[Network]
    rules: list[AbstractRule]


def open_run(path: str | Path, *, allow_import: bool = False) -> LoadedRun:
    """Read a run folder.

    Raises `Unreadable` if the folder or a file in it is missing, altered or foreign, or if the run has parts of the
    user's own and `allow_import` does not allow to import their modules.
    """
    path = Path(path)
    try:
        settings, own = read_config(path / "config.json")
        arrays = load_file(path / "weights.safetensors")
    except FileNotFoundError as error:
        missing = Path(error.filename or "weights.safetensors").name
        raise Unreadable(f"{path} is no run folder: {missing} is missing in it") from None
    except (KeyError, TypeError, ValueError, SafetensorError, OSError) as error:
        raise Unreadable(f"{path} is no readable run folder ({error})") from None
    permit(own, path / "config.json", allow_import)
    try:
        settings.check()
    except ValueError as error:
        raise Unreadable(f"{path} is no readable run folder ({error})") from None
    task = load_task(settings)
    parts = Parts(settings, task)
    template = parts.network
    leaves, shape = jax.tree.flatten(template.weight)
    names = weight_names(template.weight)
    expected = dict(zip([*names, "bias", "leak"], [*leaves, template.bias, template.leak], strict=True))
    count = len(arrays["bias"]) if "bias" in arrays and arrays["bias"].ndim else 0
    if not 1 <= count <= len(parts.seeds):
        raise Unreadable(
            f"{path}/weights.safetensors holds {count} networks, the settings name {len(parts.seeds)} seeds"
        )
    for name, leaf in expected.items():
        needed = (count, *leaf.shape)
        if name not in arrays or arrays[name].shape != needed or not jnp.issubdtype(arrays[name].dtype, jnp.floating):
            found = f"{arrays[name].dtype} of {arrays[name].shape}" if name in arrays else "missing"
            raise Unreadable(f"{path}/weights.safetensors: {name} is {found}, the settings ask for floats of {needed}")
    arrays = {name: jnp.asarray(array) for name, array in arrays.items()}
    learned = [f"rule.{k}" for k in range(sum(name.startswith("rule.") for name in arrays))]
    networks, rules = [], []
    for k in range(len(arrays["bias"])):
        weight = jax.tree.unflatten(shape, [arrays[name][k] for name in names])
        networks.append(template.replace(Parameters(weight, arrays["bias"][k], arrays["leak"][k])))
        try:
            rules.append(_with_learned(parts.rule, template, [arrays[name][k] for name in learned]))
        except (ValueError, LookupError, TypeError) as error:
            raise Unreadable(
                f"{path}/weights.safetensors does not hold what rule {settings.rule} learns ({error})"
            ) from None
    return LoadedRun(path, settings, task, parts, networks, rules)


def _with_learned(rule: AbstractRule, network: Network, leaves: list[Any]) -> AbstractRule:
    if not leaves:
        return rule
    shape = jax.tree.structure(parameters_of(initialise(rule, network, jax.random.key(0))))
    return with_parameters(rule, jax.tree.unflatten(shape, leaves))


def load_run(path: str | Path, *, allow_import: bool = False) -> tuple[Settings, list[Network]]:
    """The settings and the trained networks (one a seed) of a run folder; see `open_run`."""
    run = open_run(path, allow_import=allow_import)
    return run.settings, run.networks


def versions() -> dict[str, str]:
    from .. import __version__

    return {"direp": __version__, "python": platform.python_version(), **{name: version(name) for name in _SHOWN}}
