"""Runs that go on from their folders alone."""

import dataclasses
from pathlib import Path
from typing import Any

from ..runs import quoted
from .record import How, Outcome, carry_on, configure

FREE = ("epochs", "device", "data_dir")  # settings that a run may go on with another value of


def go_on(path: Path, changes: dict[str, Any], how: How, allow_import: bool) -> Outcome | None:
    """Go on with the run of a folder; `None` if it is complete. `changes`: other values of `FREE` settings.

    Raises `Unreadable` for what is no run folder, and for other data than that of the run; and `Held`, naming the
    holder, where another process writes.
    """
    from ..runs import CHECKPOINT, WEIGHTS, RunFolder, Unreadable
    from .build import Parts, load_task
    from .data import differs
    from .parts import permit
    from .run_folder import read_run_config

    config = read_run_config(path)
    permit(config.own, path / "config.json", allow_import)
    settings = dataclasses.replace(config.settings, **changes)
    settings.check()
    configure(settings)
    task = load_task(settings)
    if why := differs(settings, task, config.data):
        raise Unreadable(
            f"{path} cannot go on: {why}. Put that back, or direp train --config {quoted(path / 'config.json')} begins "
            "anew"
        )
    parts = Parts(settings, task)
    arguments = parts.fit()
    with RunFolder(path) as place:
        done = place.stands()
        if (path / WEIGHTS).exists() and not (path / CHECKPOINT).exists():
            raise Unreadable(
                f"{path} holds networks and no checkpoint, from which it could go on: direp train --config "
                f"{quoted(path / 'config.json')} begins anew"
            )
        longer = settings.epochs > config.settings.epochs
        if (done.get("state") == "failed" and not longer) or (
            done.get("state") == "done" and settings.epochs <= done.get("epoch", 0)
        ):
            return None
        if settings.epochs != config.settings.epochs:
            place.amend(settings={**config.settings.to_dict(), "epochs": settings.epochs})
            changing = settings.schedule != "constant" or settings.beta_end is not None
            if changing and settings.epochs > done.get("epoch", 0):
                place.say(f"what changes over a training, changes over {settings.epochs} epochs from here on")
        place.say(f"goes on after epoch {done.get('epoch', 0)}", show=False)
        return carry_on(place, parts, arguments, how)


def resume(
    path: str | Path,
    *,
    epochs: int | None = None,
    checkpoint: float = 30.0,
    progress: bool = False,
    allow_import: bool = False,
) -> Any:
    """Go on with a run from its folder alone, after whatever ended it: to the bits of a run that was never ended, on
    the same kind of machine. The run as [`load_run`][direp.load_run] reads it then; one that is complete stays as it
    is.

    **Arguments:**

    - `path`: the folder of a `direp train`; one of [`fit`][direp.fit] goes on by calling that again.
    - `epochs`: train up to so many; no more than there were ends the run there.
    - `checkpoint`: seconds between two checkpoints. `progress`: show a bar on standard error.
    - `allow_import`: import the modules of a user's own parts that the run names.

    Raises `ValueError` for what is no run folder, or where another process writes in it.
    """
    import jax

    from .run_folder import load_run

    changes = {} if epochs is None else {"epochs": epochs}
    double = jax.config.jax_enable_x64  # pyright: ignore[reportAttributeAccessIssue]
    try:
        go_on(Path(path), changes, How(show=progress, every=checkpoint), allow_import)
    finally:
        jax.config.update("jax_enable_x64", double)
    return load_run(path, allow_import=allow_import)
