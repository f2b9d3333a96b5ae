"""Run folders: everything needed to look at a run, use its network and run it again. No pickle."""

import json
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from ..model import Network, Parameters
from ..model.synapses import Weight
from .settings import Settings, Unreadable, WrongUse

__all__ = ["RunFolder", "load_run", "plain"]

_SHOWN = ("jax", "jaxlib", "equinox", "optax", "numpy", "scipy", "scikit-learn")


class RunFolder:
    """Writes a run as it goes: `config.json`, `metrics.jsonl`, `weights.safetensors`, `certificate.json`,
    `summary.json`, figures."""

    def __init__(self, path: Path | None, settings: Settings):
        self.path = _fresh(settings) if path is None else path
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise WrongUse(f"--out {self.path} already holds something: name a new folder, nothing is overwritten")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WrongUse(
                f"--out {self.path} cannot be made ({error.strerror}): name a folder you may write to"
            ) from None
        self.settings = settings
        self._write("config.json", {"settings": settings.to_dict(), "versions": versions()})
        self._metrics = (self.path / "metrics.jsonl").open("w")

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, *error: object) -> None:
        self._metrics.close()

    def epoch(self, number: int, row: dict[str, np.ndarray]) -> None:
        """One line of metrics: over the seeds, the mean (or the worst, where the mean would hide it)."""
        line: dict[str, Any] = {"epoch": number, **summarise(row)}
        seeds = len(row["loss"])
        if 1 < seeds <= 20:
            line["per_seed"] = {name: values.tolist() for name, values in row.items()}
        self._metrics.write(json.dumps(plain(line)) + "\n")

    def weights(self, networks: list[Network], seeds: tuple[int, ...]) -> None:
        """All seeds in one file; every array has the seeds as its first axis."""
        stacked = jax.tree.map(
            lambda *leaves: np.stack([np.asarray(x) for x in leaves]), *(n.parameters for n in networks)
        )
        arrays = {"bias": stacked.bias, "leak": stacked.leak, "seeds": np.array(seeds)}
        for part in Weight._fields:
            for k, leaf in enumerate(jax.tree.leaves(getattr(stacked.weight, part))):
                arrays[f"weight.{part}.{k}"] = np.ascontiguousarray(leaf)
        beside = self.path / "weights.safetensors.part"
        save_file(arrays, beside, metadata={"format": "direp 1"})
        os.replace(beside, self.path / "weights.safetensors")

    def finish(self, summary: dict[str, Any], certificate: dict[str, Any]) -> None:
        self._metrics.flush()
        self._write("certificate.json", certificate)
        self._write("summary.json", summary)

    def _write(self, name: str, content: dict[str, Any]) -> None:
        (self.path / name).write_text(json.dumps(plain(content), indent=2) + "\n")


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
        name: float(_WORST[name](values)) if name in _WORST else float(np.mean(values[fine]))
        for name, values in row.items()
    }


def load_run(path: str | Path) -> tuple[Settings, list[Network]]:
    """The settings and the trained networks (one a seed) of a run folder.

    Raises `Unreadable` if the folder or a file in it is missing, altered or foreign.
    """
    path = Path(path)
    try:
        settings = Settings.from_dict(json.loads((path / "config.json").read_text())["settings"])
        arrays = load_file(path / "weights.safetensors")
    except FileNotFoundError as error:
        raise Unreadable(f"{path} is no run folder: {Path(error.filename).name} is missing in it") from None
    except (json.JSONDecodeError, KeyError, TypeError, WrongUse, SafetensorError, OSError) as error:
        raise Unreadable(f"{path} is no readable run folder ({error})") from None
    template = settings.build(settings.load_task())["network"][0]
    leaves, shape = jax.tree.flatten(template.weight)
    names = [
        f"weight.{part}.{k}"
        for part in Weight._fields
        for k in range(len(jax.tree.leaves(getattr(template.weight, part))))
    ]
    expected = dict(zip([*names, "bias", "leak"], [*leaves, template.bias, template.leak], strict=True))
    for name, leaf in expected.items():
        if name not in arrays or arrays[name].shape[1:] != leaf.shape:
            found = arrays[name].shape[1:] if name in arrays else "missing"
            raise Unreadable(f"{path}/weights.safetensors: {name} is {found}, the settings ask for {leaf.shape}")
    networks = []
    for k in range(len(arrays["bias"])):
        weight = jax.tree.unflatten(shape, [jnp.asarray(arrays[name][k]) for name in names])
        networks.append(
            template.replace(Parameters(weight, jnp.asarray(arrays["bias"][k]), jnp.asarray(arrays["leak"][k])))
        )
    return settings, networks


def versions() -> dict[str, str]:
    from .. import __version__

    return {
        "direp": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in _SHOWN},
    }


def _fresh(settings: Settings) -> Path:
    stem = f"{Path(settings.task).stem}-{time.strftime('%Y%m%d-%H%M%S')}"
    for suffix in ("", *(f"-{k}" for k in range(2, 1000))):
        path = Path("runs") / (stem + suffix)
        if not path.exists():
            return path
    raise WrongUse(f"runs/{stem} and 998 more exist already: name a folder with --out")


def plain(value: Any) -> Any:
    """Numbers that JSON knows; what is not finite becomes null."""
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
