"""Where a training stands, as arrays of a file and back: weights, optimiser, random state, epoch, batch, history."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..model import Parameters
from ..model.synapses import Weight
from ..runs import CHECKPOINT, WEIGHTS, RunFolder, quoted, read_back, reading
from ..tasks import Preparation
from .epochs import Standing, steps_of
from .metrics import Metrics, rounded, summarise
from .plan import Plan
from .step import TrainState

_FORMAT, _WEIGHTS = "direp checkpoint 1", "direp 2"
_FEW = 20  # seeds up to which the metrics keep every one


class Keeper:
    """Keeps a training in a run folder: the figures of every epoch, and every now and then where it stands.

    - `begun`: the state of all seeds before the first update, whose kinds and shapes a checkpoint must have.
    - `seconds`: between two checkpoints.
    """

    def __init__(self, folder: RunFolder, plan: Plan, begun: TrainState, seconds: float):
        self.folder, self._plan, self._begun, self._seconds = folder, plan, begun, seconds
        self._unsaved, self._saved = True, None

    def standing(self) -> Standing:
        """Where it goes on: at the last checkpoint, or at the beginning. Raises `Unreadable` for a checkpoint that is
        damaged, or of another training."""
        found, now = self.folder.saved(_FORMAT), Standing(self._begun, [])
        if found is not None:
            with reading(f"{self.folder.path / CHECKPOINT} does not hold what this training needs"):
                now = self._read(*found)
        self.folder.start([line_of(k, row) for k, row in enumerate(now.rows, 1)])
        return now

    def _read(self, metadata: Mapping[str, str], arrays: Mapping[str, np.ndarray]) -> Standing:
        names = [name for name in Metrics._fields if f"history.{name}" in arrays]
        history = {name: arrays[f"history.{name}"] for name in names}
        seeds = len(self._plan.seeds)
        if any(a.shape[1:] != (seeds,) or len(a) != len(history["loss"]) for a in history.values()):
            raise ValueError("the figures of its epochs are not those of these seeds")
        rows = [{name: a[k] for name, a in history.items()} for k in range(len(history.get("loss", ())))]
        state, update = tree_of("state", self._begun, arrays), int(metadata["update"])
        needed = len(jax.tree.leaves(self._begun)) + len(history)
        under = None
        if "before.epoch" in arrays:
            steps = steps_of(self._plan, self._begun)
            under = tree_of("before", self._begun, arrays), tree_of("steps", steps, arrays), update
            needed += len(jax.tree.leaves(self._begun)) + len(jax.tree.leaves(steps))
            if not 0 <= update <= np.shape(steps.loss)[1]:
                raise ValueError(f"it stands at update {update} of {np.shape(steps.loss)[1]}")
        now = Standing(state, rows, under)
        if len(arrays) != needed or str(now.epoch) != metadata["epoch"]:
            raise ValueError(f"it stands at epoch {metadata['epoch']} with figures of {len(rows)}")
        return now

    def due(self) -> bool:
        return self._saved is None or self.folder.due(self._seconds)

    def save(self, now: Standing) -> bool:
        """Write the checkpoint, and the networks that the run would keep if it ended here; whether that could be."""
        if now is self._saved and not self._unsaved:
            return True
        # First where it stands: networks without that would be those of a run that cannot go on.
        done = [self.folder.save(name, *content) for name, content in self._files(now).items()]
        self._saved, self._unsaved = now, not all(done)
        self.folder.tell("running", epoch=now.epoch)
        return not self._unsaved

    def put(self, now: Standing) -> None:
        """Keep where a training stands that was trained elsewhere: whoever goes on does so from there."""
        self.folder.start([line_of(k, row) for k, row in enumerate(now.rows, 1)])
        self.folder.save(CHECKPOINT, *self._files(now)[CHECKPOINT])

    def end(self, now: Standing, status: str) -> None:
        """Leave a folder that nobody else looks after. What could not be saved there goes elsewhere."""
        if self._unsaved:
            files = self._files(now)
            self.folder.finish(lambda home: [self.folder.put(home, name, *content) for name, content in files.items()])
        self.folder.tell(status, epoch=now.epoch)

    def _files(self, now: Standing) -> dict[str, Any]:
        arrays = arrays_of("state", now.state)
        if now.rows:
            arrays |= {f"history.{name}": np.stack([row[name] for row in now.rows]) for name in now.rows[0]}
        update = 0
        if now.under is not None:
            before, steps, update = now.under
            arrays |= arrays_of("before", before) | arrays_of("steps", steps)
        metadata = {"format": _FORMAT, "epoch": str(now.epoch), "update": str(update)}
        return {CHECKPOINT: (arrays, metadata), WEIGHTS: self.weights(now.state.best, _best(now.state))}

    def leave(self, now: Standing) -> None:
        """Save from another thread while this one cannot, and say how to go on."""
        self.save(now)
        self.end(now, "interrupted")
        self.folder.say(
            f"interrupted in the middle of a step; direp resume {quoted(self.folder.path)} goes on before it"
        )

    def weights(self, parameters: Parameters, best: int) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        return weights_of(parameters, self._plan.seeds, best, self._plan.task.preparation)

    def epoch(self, number: int, row: Mapping[str, np.ndarray]) -> None:
        self.folder.line(line_of(number, row))


def line_of(number: int, row: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """An epoch for `metrics.jsonl`: over the seeds, the mean (or the worst, where the mean would hide it), and of few
    seeds every one."""
    line: dict[str, Any] = {"epoch": number, **summarise(dict(row))}
    if 1 < len(row["loss"]) <= _FEW:
        line["per_seed"] = {name: rounded(name, values).tolist() for name, values in row.items()}
    return line


def history_at(run: Path) -> dict[str, np.ndarray]:
    """The figures of every epoch and of every seed, epochs x seeds each, out of the checkpoint of a run folder.

    Raises `Unreadable` if there is none, or one that is damaged.
    """
    _, arrays = read_back(run / CHECKPOINT, "checkpoint", _FORMAT, ())
    return {name.partition(".")[2]: figures for name, figures in arrays.items() if name.startswith("history.")}


def weights_of(
    parameters: Parameters, seeds: Sequence[int], best: int, preparation: Preparation | None
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays and metadata of `weights.safetensors`: the networks of all seeds, which every array has as its first axis,
    what their rules have learned, the seed that is best by validation, and how rows become inputs."""
    whole = jax.tree.map(np.asarray, parameters)
    arrays = {"bias": whole.bias, "leak": whole.leak, "seeds": np.array(seeds)}
    arrays |= dict(zip(weight_names(whole.weight), jax.tree.leaves(whole.weight), strict=True))
    arrays |= {f"rule.{k}": leaf for k, leaf in enumerate(jax.tree.leaves(whole.rule))}
    kept = {"format": _WEIGHTS, "best": str(seeds[best])}
    if preparation is not None:
        kept["preparation"] = json.dumps(preparation.to_dict())
    return arrays, kept


def weight_names(weight: Weight) -> list[str]:
    """What files call the leaves of weights, in their order."""
    leaves = ((part, jax.tree.leaves(getattr(weight, part))) for part in Weight._fields)
    return [f"weight.{part}.{k}" for part, found in leaves for k in range(len(found))]


def _best(state: TrainState) -> int:
    """The place of the seed that does best on validation samples so far: by accuracy, then loss; failed ones last."""
    score, failed = np.asarray(state.best_score), np.asarray(state.failed)
    return min(range(len(score)), key=lambda k: (failed[k], -score[k, 0], -score[k, 1], k))


def arrays_of(lead: str, tree: Any) -> dict[str, np.ndarray]:
    """The leaves of a tree by their places in it; random keys by their data."""
    return {name: np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf) for name, leaf in _named(lead, tree)}


def tree_of(lead: str, like: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """The way back, for a tree of the kinds and shapes of another one. Raises `ValueError` for arrays that are not
    those."""
    leaves = []
    for name, leaf in _named(lead, like):
        array = arrays.get(name)
        needed = jax.eval_shape(jax.random.key_data, leaf) if _is_key(leaf) else leaf
        if array is None or array.shape != needed.shape or array.dtype != needed.dtype:
            got = "missing" if array is None else f"{array.dtype} of shape {array.shape}"
            raise ValueError(f"{name} is {got}; needed is {needed.dtype} of shape {needed.shape}")
        made = jnp.asarray(array)
        leaves.append(jax.random.wrap_key_data(made, impl=jax.random.key_impl(leaf)) if _is_key(leaf) else made)
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _named(lead: str, tree: Any) -> list[tuple[str, Any]]:
    found = jax.tree_util.tree_flatten_with_path(tree)[0]
    return [(f"{lead}.{jax.tree_util.keystr(path, simple=True, separator='.')}", leaf) for path, leaf in found]


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
