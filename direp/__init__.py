"""Directed equilibrium propagation: leaky recurrent networks on any directed graph, that settle and learn locally.

The names below stand in the order of the data flow: task, graph, network, settle, nudge, rule, update, run.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import activation as activation
    from . import tasks as tasks
    from .activation import Activation as Activation
    from .augment import Shift as Shift
    from .certificates import LMI as LMI
    from .certificates import Certificate as Certificate
    from .certificates import Compartmental as Compartmental
    from .certificates import Counterexample as Counterexample
    from .certificates import LearningCertificate as LearningCertificate
    from .certificates import LocalLeak as LocalLeak
    from .certificates import Perron as Perron
    from .certificates import Rows as Rows
    from .certificates import Symmetric as Symmetric
    from .certificates import certify as certify
    from .certificates import certify_learning as certify_learning
    from .certificates import contraction_margin as contraction_margin
    from .certificates.region import Box as Box
    from .certificates.region import Region as Region
    from .certificates.region import certify_region as certify_region
    from .control import LeakController as LeakController
    from .control import WeightProjection as WeightProjection
    from .graph import Graph as Graph
    from .guarantee import Balanced as Balanced
    from .guarantee import Pairs as Pairs
    from .guarantee import SignSymmetric as SignSymmetric
    from .initialise import FanIn as FanIn
    from .initialise import Normal as Normal
    from .methods import Anderson as Anderson
    from .methods import Coloured as Coloured
    from .methods import Euler as Euler
    from .methods import Newton as Newton
    from .methods import Preconditioned as Preconditioned
    from .methods import choose_method as choose_method
    from .network import Network as Network
    from .network import Parameters as Parameters
    from .neuron import Hopfield as Hopfield
    from .neuron import Projected as Projected
    from .neuron import Rate as Rate
    from .nudge import Centred as Centred
    from .nudge import CrossEntropy as CrossEntropy
    from .nudge import Fading as Fading
    from .nudge import Nudged as Nudged
    from .nudge import OneSided as OneSided
    from .nudge import RandomSign as RandomSign
    from .nudge import SquaredError as SquaredError
    from .ode import ODE as ODE
    from .ode import trajectory as trajectory
    from .rules import BPTT as BPTT
    from .rules import Adjoint as Adjoint
    from .rules import AsymEP as AsymEP
    from .rules import Dyadic as Dyadic
    from .rules import Homeostasis as Homeostasis
    from .rules import Local as Local
    from .rules import Safeguard as Safeguard
    from .rules import SymmetricEP as SymmetricEP
    from .rules import Trajectory as Trajectory
    from .rules import VectorField as VectorField
    from .rules import estimate as estimate
    from .settling import Settled as Settled
    from .settling import Steps as Steps
    from .settling import Tolerance as Tolerance
    from .settling import settle as settle
    from .synapses import Dense as Dense
    from .synapses import Layered as Layered
    from .synapses import Sparse as Sparse
    from .train import Run as Run
    from .train import fit as fit
    from .update import prune as prune
    from .update import shrink as shrink
    from .update import trainable as trainable

_HOME = {
    "tasks": ("tasks", "activation"),
    "graph": ("Graph",),
    "activation": ("Activation",),
    "neuron": ("Projected", "Hopfield", "Rate"),
    "synapses": ("Dense", "Layered", "Sparse"),
    "initialise": ("Normal", "FanIn"),
    "network": ("Network", "Parameters"),
    "methods": ("choose_method", "Euler", "Preconditioned", "Coloured", "Anderson", "Newton"),
    "settling": ("settle", "Settled", "Tolerance", "Steps"),
    "ode": ("ODE", "trajectory"),
    "nudge": ("SquaredError", "CrossEntropy", "OneSided", "Centred", "RandomSign", "Fading", "Nudged"),
    "rules": (
        "estimate",
        "Local",
        "Trajectory",
        "VectorField",
        "SymmetricEP",
        "AsymEP",
        "Dyadic",
        "Homeostasis",
        "Safeguard",
        "Adjoint",
        "BPTT",
    ),
    "certificates": (
        "certify",
        "certify_learning",
        "Certificate",
        "LearningCertificate",
        "Counterexample",
        "LocalLeak",
        "Rows",
        "Perron",
        "Compartmental",
        "Symmetric",
        "LMI",
        "contraction_margin",
    ),
    "certificates.region": ("certify_region", "Box", "Region"),
    "guarantee": ("SignSymmetric", "Balanced", "Pairs"),
    "control": ("LeakController", "WeightProjection"),
    "augment": ("Shift",),
    "update": ("shrink", "prune", "trainable"),
    "train": ("fit", "Run"),
}
_MODULE = {name: module for module, names in _HOME.items() for name in names}

__all__ = [*_MODULE]  # pyright: ignore[reportUnsupportedDunderAll]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Modules load on first use, so that `direp --help` does not wait for JAX."""
    if name not in _MODULE:
        raise AttributeError(f"module 'direp' has no attribute {name!r}")
    module = _MODULE[name]
    if name in ("tasks", "activation"):
        value = importlib.import_module(f".{name}", __name__)
    else:
        value = getattr(importlib.import_module(f".{module}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
