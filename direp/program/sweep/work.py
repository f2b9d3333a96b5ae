"""The work of a sweep: to train a block of trials, anywhere that sees the sweep's folder."""

import socket
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ...runs import CHECKPOINT, Held, Unreadable, holder_of
from ..catalogue import WrongUse
from ..commands import Stop
from ..settings import Settings
from .trials import ended, folder_of, mark, settings_of

_POLL = 0.2  # seconds


def train_block(folder: str, block: list[dict[str, Any]]) -> None:
    """Train those trials of a block, settings as JSON knows them, that have not ended yet, each into the folder of its
    hash below a sweep's `folder`; those that were begun are gone on with. Trials that another process is at come last:
    when it has ended them, or has ended itself.

    Raises `OSError` where nothing can be written. What else ends a trial is kept in its place, as its reason.
    """
    if not (Path(folder) / "spec.json").is_file():
        raise FileNotFoundError(
            f"{folder} is not there on {socket.gethostname()}: whoever trains must see the sweep's folder, under the "
            "same path"
        )
    trials = [settings_of(values) for values in block]
    left = {folder_of(Path(folder), settings): settings for settings in trials}
    again: set[Path] = set()
    while left := {where: settings for where, settings in left.items() if ended(where) is None}:
        for where, error in _trained({**left}):
            if isinstance(error, Unreadable) and (where / CHECKPOINT).exists() and where not in again:
                again.add(where)
                (where / CHECKPOINT).unlink(missing_ok=True)  # damaged, or of other arithmetic
            elif not isinstance(error, Held):
                left.pop(where)
                _judge(where, error)
        _wait(left)


def _judge(where: Path, error: Exception | None) -> None:
    """Keep why a trial cannot be trained."""
    if isinstance(error, WrongUse):
        mark(where, "refused", " ".join(str(error).split()))
    elif isinstance(error, ValueError):
        mark(where, "failed", " ".join(str(error).split()))
    elif error is not None:
        mark(where, "failed", " ".join(f"{type(error).__name__}: {error}".split()))


def _wait(trials: Iterable[Path]) -> None:
    """Until one of the trials, all of which others are at, is free."""
    while trials and all(ended(where) is None and holder_of(where) for where in trials):
        Stop.check()
        time.sleep(_POLL)


def _trained(trials: dict[Path, Settings]) -> Iterable[tuple[Path, Exception | None]]:
    """Train each, and what ended it; `None` for one that is there."""
    import jax

    from .. import record

    how = record.How(show=False, formats=())
    alone: dict[Path, Settings] = {}
    together: dict[tuple, list[tuple[Settings, Path]]] = {}  # by what JAX is set to
    for where, settings in trials.items():
        try:
            settings.check()
        except WrongUse as error:
            yield where, error
            continue
        if settings.lanes is None:
            alone[where] = settings
        else:
            together.setdefault((settings.precision, settings.device), []).append((settings, where))
    wide = jax.config.jax_enable_x64  # pyright: ignore[reportAttributeAccessIssue]
    try:
        for several in together.values():
            yield from ((where, _error(found)) for where, found in record.record_together(several, how).items())
        for where, settings in alone.items():
            try:
                found = record.record_on(settings, where, how)
            except OSError:
                raise
            except Exception as error:
                found = error
            yield where, _error(found)
    finally:
        jax.config.update("jax_enable_x64", wide)


def _error(found: Any) -> Exception | None:
    from ..record import Complete

    if isinstance(found, Exception):
        return None if isinstance(found, Complete) else found
    if found.run.status == "interrupted":
        raise KeyboardInterrupt
    if found.rescued:
        raise OSError(f"a trial cannot be written into its folder: it is in {found.folder}")
    return None
