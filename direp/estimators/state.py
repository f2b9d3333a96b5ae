"""Between the parameters of an estimator and the settings of the program; fitted state on the host."""

import dataclasses
import functools
import re
from typing import Any

import jax
import numpy as np

from ..certificates import certify
from ..model import Network
from ..program import Parts, Settings, preset
from ..rules import companions, initialise, parameters_of, with_companions, with_parameters
from ..tasks import Samples, Task
from ..training import AbstractLimits, Dale, Run

NAMED = ("graph", "neuron", "activation", "outflow", "rule", "feedback", "scale")
OWN = {  # settings that are parameters here, by the names that these have
    "hidden": "hidden_layer_sizes", "learning_rate": "learning_rate_init", "epochs": "max_iter", "decay": "alpha",
    "seeds": "random_state", "keep": "early_stopping",
    **{name: name for name in (*NAMED, "leak", "beta", "batch_size")},
}  # fmt: skip
FREE = "data_dir task target drop kind split device precision shift"  # settings without a meaning here


def usual(certified: bool) -> dict[str, Any]:
    """The settings of tables where nothing else is said."""
    known = {name: value for name, value in dataclasses.asdict(preset("data.npz")).items() if name != "task"}
    own = {"tolerance": 1e-5, "schedule": "constant", "warm": True, "margin": 0.1 if certified else None}
    return known | own


def as_parameters(settings: Settings) -> dict[str, Any]:
    """The parameters of an estimator that stand for settings."""
    given, certified = dataclasses.asdict(settings), settings.margin is not None
    named = {here: given[name] for name, here in OWN.items() if name not in ("seeds", "keep")}
    known = dataclasses.asdict(Settings()) | usual(certified)
    rest = {
        name: value for name, value in given.items()
        if name not in {*OWN, *FREE.split()} and value != known[name]
    }  # fmt: skip
    return {
        **named, "batch_size": settings.batch_size or "auto", "early_stopping": settings.keep == "best",
        "random_state": int(settings.seeds) if settings.seeds.isdigit() else None, "certified": certified,
        "settings": rest or None,
    }  # fmt: skip


def fitted(run: Run) -> dict[str, Any]:
    """What predictions need, on the host."""
    how = {"cost": run.trainer.cost, "method": run.trainer.method, "stop": run.trainer.stop}
    return {"network_": on_host(run.network), "_how": on_host(how)}


@functools.lru_cache(maxsize=256)
def hold(settings: Settings, inputs: int, outputs: int) -> None:
    """Raise `ValueError` where a network of these settings is not proved to settle as training begins. Whatever was
    drawn, its control brings it inside: it is asked once for all seeds."""
    empty = Samples(np.zeros((1, inputs)), np.zeros((1, outputs)))
    parts = Parts(settings, Task("data", empty, empty, empty, kind="regression"))
    rule, network = initialise(parts.rule, parts.network, jax.random.key(parts.seeds[0])), parts.network
    given: dict[str, Any] = {}
    if parts.control is None:
        network = parts.started()[0]
    else:
        own = parameters_of(rule)
        network, feedback = parts.control.begin_with(network, tuple(node.recurrent for node in companions(own)))
        rule, given = with_parameters(rule, with_companions(own, feedback)), {"criteria": (parts.control.criterion,)}
    found = certify(network, rule=parts.phases.of(rule, network), cost=parts.cost, starts=0, **given)
    if found.verdict != "proved":
        raise ValueError(f"certified=True cannot be held: {found.reason}")


def signs_of(network: Network, before: np.ndarray | None = None) -> np.ndarray:
    """The sign of every synapse, in the order of the graph; of one that is zero, that which it had `before`."""
    signs = np.sign(np.asarray(network.strengths())).astype(np.int8)
    return signs if before is None else np.where(signs == 0, before, signs)


def keep_signs(constraints: tuple[AbstractLimits, ...], signs: np.ndarray) -> tuple[AbstractLimits, ...]:
    """Limits of which a `Dale` that asks for the signs with which weights begin has these."""
    return tuple(Dale(signs) if isinstance(each, Dale) and each.signs is None else each for each in constraints)


def room(samples: int) -> int:
    """Rows that a table of samples is filled up to, so that data sets of nearby sizes share a program: a multiple of
    32, and of about an eighth of the size."""
    step = max(32, 1 << max((samples - 1).bit_length() - 4, 0))
    return -(-samples // step) * step


def plain(value: Any) -> Any:
    """A parameter as a file would hold it."""
    value = value.item() if isinstance(value, np.generic) else value
    return list(value) if isinstance(value, tuple | np.ndarray) else value


def named_here(message: str) -> str:
    """A message of the program with the names that settings have here."""
    plain = re.sub(r"--([a-z][a-z-]*)", lambda found: found[1].replace("-", "_"), message)
    for name, here in OWN.items():
        plain = re.sub(rf"\b{name}\b(?= )", here, plain, count=1) if plain.startswith(f"{name} ") else plain
    return plain


def on_host(tree: Any) -> Any:
    """Arrays as NumPy's; random keys by their data."""

    def leaf(value: Any) -> Any:
        if isinstance(value, jax.Array):
            return np.asarray(jax.random.key_data(value) if _is_key(value) else value)
        return value

    return jax.tree.map(leaf, tree)


def _is_key(value: jax.Array) -> bool:
    return jax.numpy.issubdtype(value.dtype, jax.dtypes.prng_key)


def on_device(tree: Any) -> Any:
    """The way back; arrays of whole numbers without sign are random keys."""

    def leaf(value: Any) -> Any:
        if not isinstance(value, np.ndarray):
            return value
        array = jax.device_put(value)
        return jax.random.wrap_key_data(array) if value.dtype == np.uint32 else array

    return jax.tree.map(leaf, tree)
