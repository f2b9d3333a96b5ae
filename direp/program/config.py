"""The config.json of a run: its settings as they are written, and as they are read back."""

import dataclasses
import json
import typing
from pathlib import Path
from typing import Any

from ..runs import SCHEMA, seal
from .graph_file import find_graph
from .parts import fingerprint
from .settings import Settings, fits, short


def config_of(settings: Settings) -> dict[str, Any]:
    """What config.json keeps of settings, fingerprints of the user's own parts among them."""
    own = {name: {"path": path, "sha256": fingerprint(path)[1]} for name, path in settings.own().items()}
    return {"settings": settings.to_dict(), **({"own": own} if own else {})}


class Config(typing.NamedTuple):
    """A config.json: its settings, its own parts (setting -> import path and fingerprint), what it keeps of data, the
    SHA-256 of its content, whether it carries that, and those that it had before the run was made longer."""

    settings: Settings
    own: dict[str, tuple[str, str | None]]
    data: dict[str, Any] | None
    sha256: str
    sealed: bool
    before: tuple[str, ...] = ()


_KEPT = {"settings", "own", "versions", "environment", "data", "graph", "sha256", "schema", "before"}
MOST_ENDS = 2**20  # inputs or outputs of what a file describes
_SIZES = {"inputs": int, "outputs": int}
_DATA_KEPT = {**_SIZES, "kind": str, "path": str, "sha256": str}


def read_config(path: Path) -> Config:
    """What a config.json says. A data file that is not where the settings name it is that of the path it had.

    Raises for a file that is not that, or that was altered: call it in `reading`, which finds the words. One without
    SHA-256, of an older version or made by hand, is read: whoever uses it says so.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    sha256 = seal(content) if isinstance(content, dict) else ""
    if isinstance(content, dict) and fits(schema := content.get("schema", 1), int) and schema > SCHEMA:
        raise ValueError(
            f"it is of a newer version of direp: its schema is {schema}, and this one knows up to {SCHEMA}"
        )
    if isinstance(content, dict) and "fit" in content:
        raise ValueError("it was made by direp.fit in Python: call that again with this folder to go on")
    if not isinstance(content, dict) or "settings" not in content:
        raise ValueError("it has no settings")
    sealed = "sha256" in content
    if sealed and content["sha256"] != sha256:
        raise ValueError(
            "it was altered: its content is not that of its sha256; if you meant that, delete the line "
            '"sha256" at its top'
        )
    unknown = set(content) - _KEPT
    if unknown:
        raise ValueError(f"{short(sorted(unknown))} is not known")
    before = content.get("before", [])
    if not (isinstance(before, list) and all(isinstance(each, str) for each in before)):
        raise ValueError(f"before is {short(before)}; needed is a list of SHA-256")
    settings, kept = Settings.from_dict(content["settings"]), content.get("own", {})
    if "graph" in content:
        settings = dataclasses.replace(settings, graph=find_graph(path.parent, content["graph"]))
    try:
        own = {name: (entry, kept.get(name, {}).get("sha256")) for name, entry in settings.own().items()}
    except AttributeError:
        raise ValueError(f"own is {short(kept)}; needed is a path and a sha256 for each part") from None
    data = content.get("data")
    if data is None:
        return Config(settings, own, None, sha256, sealed, tuple(before))
    if not (
        isinstance(data, dict)
        and set(_SIZES) <= set(data) <= set(_DATA_KEPT)
        and ("path" in data) == ("sha256" in data)
        and all(fits(value, _DATA_KEPT[name]) for name, value in data.items())
        and all(0 < data[name] <= MOST_ENDS for name in _SIZES)
    ):
        raise ValueError(
            f"data is {short(data)}; needed are {', '.join(_DATA_KEPT)}, and up to {MOST_ENDS:,} of each end"
        )
    if "path" in data and not Path(settings.task).exists() and Path(data["path"]).exists():
        settings = dataclasses.replace(settings, task=data["path"])
    return Config(settings, own, data, sha256, sealed, tuple(before))
