"""Specimens of where a training stands, and of what a sweep is asked for."""

import contextlib
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from fuzz_specimen import Specimen, plain, written
from fuzz_tensors import resealed

import direp
from direp.program.sweep.spec import read_spec
from direp.runs import CHECKPOINT, RunFolder
from direp.training import STOP, Keeper, planned

_SPECS = (
    """task = "xor"\npreset = "small"\nseeds = "0..3"\nobjective = "validation_loss"\n
[settings]\nepochs = 20\nhidden = [5]\nmargin = 0.1\n
[grid]\nbeta = [1.0, 2.0, 6.0]\nrule = ["local", "adjoint"]\n""",
    """task = "digits"\n[random]\ntrials = 5\nseed = 3\nlearning_rate = {low = 0.001, high = 0.1, log = true}
hidden = {low = 4, high = 16}\nrule = ["local", "asym-ep"]\n""",
    """task = "iris"\n[search]\ntrials = 4\nat_once = 2\nsampler = "tpe"\nbeta = {low = 0.5, high = 8}\n""",
)


def checkpoints(folder: Path, stack: contextlib.ExitStack) -> list[Specimen]:
    """Of a training between two epochs, and of one in the middle of an epoch."""
    rng = np.random.default_rng(0)
    task = direp.tasks.from_arrays(rng.normal(size=(40, 3)), rng.integers(0, 2, 40))
    graph = direp.Graph.layered((3, 4, 2))
    networks = [direp.Network(graph, direp.Projected(), leak=1.0, key=jax.random.key(k)) for k in range(2)]
    rule = direp.AsymEP(feedback=direp.LearnedFeedback())
    how: Any = {"rule": rule, "optimiser": optax.adam(0.01), "control": direp.LeakController(), "batch_size": 8}
    found = []
    for name, callbacks in (("between", []), ("within", [lambda number, row: STOP if number == 2 else None])):
        path = folder / name
        run = direp.fit(networks, task, **how, epochs=3, folder=path, callbacks=callbacks)
        plan = planned(networks, task, **how, epochs=3)
        if name == "within":
            _in_the_middle(path, plan, run.state)

        def read(path: Path = path, plan: Any = plan, begun: Any = run.state) -> Any:
            with RunFolder(path) as place:
                now = Keeper(place, plan, begun, 30.0).standing()
            under = () if now.under is None else (jax.tree.leaves(now.under[1]), now.under[2])
            leaves = [
                jax.random.key_data(x) if x.dtype.name.startswith("key") else x for x in jax.tree.leaves(now.state)
            ]
            return plain([leaves, now.rows, under])

        place = lambda content, path=path: (path / CHECKPOINT).write_bytes(resealed(content))  # noqa: E731
        found.append(Specimen(path / CHECKPOINT, "safetensors", read, sealed=True, place=place))
    return found


def _in_the_middle(path: Path, plan: Any, state: Any) -> None:
    """The checkpoint of an epoch of which some updates are done."""
    from direp.training.epochs import Standing, steps_of

    with RunFolder(path) as place:
        keeper = Keeper(place, plan, state, 30.0)
        rows = keeper.standing().rows
        steps = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), steps_of(plan, state))
        keeper.save(Standing(state, rows, (state, steps, 2)))


def specs(folder: Path, stack: contextlib.ExitStack) -> list[Specimen]:
    found = []
    for k, text in enumerate(_SPECS):
        path = written(folder / str(k) / "sweep.toml", text)
        read = lambda path=path: plain(read_spec(path).to_dict())  # noqa: E731
        found.append(
            Specimen(path, "table", read, commands=(("sweep", str(path), "--status", "--out", str(folder / "o")),))
        )
    return found
