"""Named settings: the best found for each task, and the published baseline."""

from typing import Any

from .config import GATE_NAMES, Settings, WrongUse, nearest

__all__ = ["PRESETS", "preset"]

_GATE: dict[str, Any] = {"input_scale": 2.0, "hidden_bias": 0.5, "beta": 2.0}
_DIGITS: dict[str, Any] = {"graph": "layered", "hidden": (128,), "neuron": "hopfield", "outflow": "none", "init": "fan-in",
  "weight_scale": 1.0, "beta": 0.5, "learning_rate": 2e-3, "epochs": 20, "batch_size": 32, "hidden_bias":0.5}

# DEEP 2020 as published (arXiv:2006.08798): 64-bit, no leak, fixed times, its own rule and settings.
_DEEP_2020: dict[str, Any] = {
    "graph": "complete",
    "hidden": (5,),
    "neuron": "projected",
    "outflow": "signed",
    "leak": 0.0,
    "init": "normal",
    "weight_scale": 0.05,
    "input_scale": 1.0,
    "hidden_bias": 0.0,
    "bias_scale": 0.05,
    "rule": "trajectory",
    "beta": 10.0,
    "nudge": "one-sided",
    "cost": "squared",
    "optimiser": "sgd",
    "learning_rate": 100.0,
    "schedule": "constant",
    "epochs": 200,
    "margin": None,
    "method": "euler",
    "euler_step": 0.05,
    "fixed_steps": 1000,
    "start": (0.0, 0.1),
    "warm": False,
    "keep": "last",
    "precision": "float64",
}

PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    **{name: {"default": _GATE, "small": {**_GATE, "hidden": (5,)}, "deep-2020": _DEEP_2020} for name in GATE_NAMES},
    "digits": {"default": _DIGITS},
}


def preset(task: str, name: str = "default") -> Settings:
    """The settings of a preset for a task; a user's own data begins from those of digits."""
    own = PRESETS.get(task, {"default": PRESETS["digits"]["default"]})
    if name not in own:
        raise WrongUse(nearest(f"preset for {task}", name, own))
    return Settings(**{**own[name], "task": task})
