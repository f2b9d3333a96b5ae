"""Named settings: the best found for each task, and the published baseline."""

import math
from typing import Any

from .catalogue import CATALOGUE
from .graph_file import is_graph_file
from .settings import Settings, WrongUse, nearest

# Found on XOR by its truth table; the same setting serves all gates and any number of hidden units.
_GATE: dict[str, Any] = {
    "graph": "complete", "hidden": (16,), "neuron": "projected", "outflow": "signed", "leak": 0.1, "margin": 0.1,
    "init": "normal", "weight_scale": 0.25, "input_scale": 1.0, "bias": 0.5,
    "rule": "local", "beta": 6.0, "nudge": "one-sided",
    "optimiser": "adam", "learning_rate": 0.05, "momentum": 0.5, "epochs": 300,
}  # fmt: skip
# Inside the guaranteed region: one hidden layer, signs that stay, a weak nudge, steps without momentum.
_GUARANTEED: dict[str, Any] = {
    **_GATE,
    "graph": "layered", "neuron": "rate", "activation": "sigmoid", "outflow": "none", "leak": 1.0,
    "guarantee": "sign-symmetric", "weight_scale": 0.5,
    "beta": 0.1, "tolerance": 1e-6, "method": "preconditioned",
    "momentum": 0.0, "epochs": 600,
}  # fmt: skip
# Chosen on validation data of several splits; one family for all four data sets.
_TABLE: dict[str, Any] = {
    "graph": "layered", "hidden": (128,), "neuron": "projected", "outflow": "none", "leak": 1.0, "margin": 0.1,
    "init": "fan-in", "weight_scale": 1.0, "feedback_scale": 1.0, "bias": 0.0,
    "rule": "local", "beta": 2.0, "nudge": "one-sided", "lift": True, "method": "preconditioned", "warm": False,
    "optimiser": "adam", "learning_rate": 0.02, "schedule": "cosine", "decay": 0.3, "epochs": 60, "batch_size": 16,
}  # fmt: skip
# For graphs on which errors need a channel of their own. Rate, decay and nudge: benchmarks/directed.py, the best of
# 24 trials each on validation data of digits; of the small world the best among those that stay directed.
_CHANNEL: dict[str, Any] = {"rule": "asym-ep", "feedback": "learned"}
_SMALL: dict[str, Any] = {"feedback_scale": 0.1, "bias": 0.3}
_DIRECTED: dict[str, dict[str, Any]] = {
    "random": {**_CHANNEL, "graph": "random", "density": 0.1, "learning_rate": 0.04, "decay": 0.3, "beta": 0.5},
    "complete": {**_CHANNEL, "graph": "complete", "learning_rate": 0.02, "decay": 1.0, "beta": 2.0},
    "small-world": {
        **_CHANNEL, **_SMALL, "graph": "small-world", "learning_rate": 0.01, "decay": 0.3, "beta": 2.0,
    },
    "deep": {
        **_CHANNEL, **_SMALL, "hidden": (64, 64, 64, 64), "control": "loops", "weight_scale": 1.4,
        "learning_rate": 0.01, "decay": 1.0, "beta": 2.0,
    },
}  # fmt: skip
# Chosen on validation images. Weights are scaled back where the sharpest norm asks for it, which costs far less than
# leaks that grow with 512 synapses; in several layers, and on a random graph, it does not.
_IMAGES: dict[str, Any] = {
    **_TABLE,
    "hidden": (512,), "scale": "range", "control": "weights", "norm": "perron",
    "weight_scale": 0.5, "feedback_scale": 0.1, "bias": 0.3,
    "rule": "symmetric-ep", "method": "auto",
    "learning_rate": 0.002, "epochs": 16, "batch_size": 128,
}  # fmt: skip
_MNIST: dict[str, Any] = {**_IMAGES, **_CHANNEL, "companion_scale": 0.3, "decay": 0.1, "epochs": 20, "shift": 1}
_MNIST_ON: dict[str, dict[str, Any]] = {
    "random": {"graph": "random", "density": 0.1, "control": "leak", "norm": "local", "learning_rate": 0.005},
    "deep": {
        "hidden": (512, 512, 512), "control": "loops", "norm": "local", "learning_rate": 0.001,
        "schedule": "warm-cosine", "epochs": 8,
    },
}  # fmt: skip
_FASHION: dict[str, Any] = {
    **_IMAGES, **_CHANNEL, "companion_scale": 0.3, "beta": 0.5, "decay": 0.05, "learning_rate": 0.0007, "epochs": 50,
}  # fmt: skip
# DEEP 2020 as published (arXiv:2006.08798): 64-bit, no leak, fixed times, its own rule and settings.
_DEEP_2020: dict[str, Any] = {
    "graph": "complete", "hidden": (5,), "neuron": "projected", "outflow": "signed", "leak": 0.0, "margin": None,
    "init": "normal", "weight_scale": 0.05, "input_scale": 0.05, "bias": 0.0, "bias_scale": 0.05, "centred": False,
    "rule": "trajectory", "beta": 10.0, "nudge": "one-sided", "cost": "squared",
    "method": "euler", "euler_step": 0.05, "fixed_steps": 1000, "start": (0.0, 0.1), "warm": False,
    "optimiser": "sgd", "learning_rate": 100.0, "momentum": 0.0, "schedule": "constant", "epochs": 200,
    "keep": "last", "precision": "float64",
}  # fmt: skip

_GATES = {"default": _GATE, "small": {**_GATE, "hidden": (5,)}, "guaranteed": _GUARANTEED, "deep-2020": _DEEP_2020}
_DIGITS = {**_TABLE, "batch_size": 32, "scale": "global"}
_TABLES = {"default": _TABLE, **{name: {**_TABLE, **own} for name, own in _DIRECTED.items()}}
_OWN = {  # tasks with other ones than the rest of their family
    "digits": {"default": _DIGITS, **{name: {**_DIGITS, **own} for name, own in _DIRECTED.items()}},
    "mnist": {"default": _MNIST, **{name: {**_MNIST, "weight_scale": 1.0, **own} for name, own in _MNIST_ON.items()}},
    "fashion-mnist": {"default": _FASHION},
}
_FAMILIES = {"direp.tasks:gate": _GATES}  # by what makes the task; a user's own data begins from those of the tables

PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    name: _OWN.get(name, _FAMILIES.get(entry.path, _TABLES)) for name, entry in CATALOGUE["task"].entries.items()
}


def preset(task: str, name: str = "default") -> Settings:
    """The settings of a preset for a task; a user's own data begins from those of the data sets."""
    own = PRESETS.get(task, _TABLES)
    if name not in own:
        raise WrongUse(nearest(f"preset for {task}", name, own))
    return Settings(**{**own[name], "task": task})


def sized(rows: int) -> dict[str, int]:
    """Samples an update and passes for so many training samples of a user's own: small sets want many small updates,
    large ones fewer passes of larger batches. Those of the data sets: 16 and 60 up to a thousand, 128 for MNIST."""
    batch = 2 ** round(math.log2(max(rows, 1) / 60))
    return {"batch_size": min(max(batch, 16), 128), "epochs": round(min(max(60 * (2000 / rows) ** 0.5, 15), 60))}


def suited(task: str, graph: str | None, layers: int) -> str:
    """The preset for a kind of graph, where its task has one: of that name, or `deep` for several hidden layers."""
    if graph is not None and is_graph_file(graph):  # whose synapses need have no partners
        graph = "random"
    name = "deep" if graph in (None, "layered") and layers > 1 else graph
    return name if name in PRESETS.get(task, _TABLES) else "default"


def describe_presets() -> str:
    """All presets with the tasks that have them, for `--help`."""
    found: dict[str, list[str]] = {}
    for task, own in PRESETS.items():
        for name in own:
            found.setdefault(name, []).append(task)
    return "; ".join(
        f"{name} (all tasks)" if len(tasks) == len(PRESETS) else f"{name} ({', '.join(tasks)})"
        for name, tasks in found.items()
    )
