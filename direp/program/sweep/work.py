"""The work of a sweep: to train a block of trials, anywhere that sees the sweep's folder."""

import socket
from pathlib import Path
from typing import Any

from ...runs import Unreadable, write_json
from ..catalogue import WrongUse
from ..settings import Settings
from .trials import ENDED, begun, folder_of, mark, put, settings_of, state_of, summary_of


def train_block(folder: str, block: list[dict[str, Any]]) -> None:
    """Train those trials of a block, settings as JSON knows them, that have not ended yet, each into the folder of its
    hash below a sweep's `folder`. A trial is there as a whole or not at all, so it does no harm to do one twice.

    Raises `OSError` where nothing can be written. What else ends a trial is kept in its place, as its reason.
    """
    if not (Path(folder) / "spec.json").is_file():
        raise FileNotFoundError(
            f"{folder} is not there on {socket.gethostname()}: whoever trains must see the sweep's folder, under the "
            "same path"
        )
    for values in block:
        settings = settings_of(values)
        where = folder_of(Path(folder), settings)
        if state_of(where) in ENDED:
            continue
        try:
            _train(settings, where)
        except Unreadable as error:
            mark(where, "failed", str(error))
        except ValueError as error:
            mark(where, "refused" if isinstance(error, WrongUse) else "failed", " ".join(str(error).split()))
        except OSError:
            raise
        except Exception as error:
            mark(where, "failed", " ".join(f"{type(error).__name__}: {error}".split()))


def _train(settings: Settings, where: Path) -> None:
    import jax

    from ..record import How, record

    wide = jax.config.jax_enable_x64  # pyright: ignore[reportAttributeAccessIssue]
    with begun(where) as own:
        try:
            outcome = record(settings, own / "run", How(show=False, formats=()))
        finally:
            jax.config.update("jax_enable_x64", wide)
        if outcome.run.status == "interrupted":
            raise KeyboardInterrupt
        summary = summary_of(own / "run")
        write_json(own / "run" / "summary.json", _moved(summary, str(own / "run"), str(where)))
        put(own / "run", where)


def _moved(content: Any, before: str, after: str) -> Any:
    """What a summary says of its folder, which is another one from here on."""
    if isinstance(content, dict):
        return {name: _moved(value, before, after) for name, value in content.items()}
    if isinstance(content, list):
        return [_moved(value, before, after) for value in content]
    return content.replace(before, after) if isinstance(content, str) else content
