"""Directed equilibrium propagation: leaky recurrent networks on any directed graph, that settle and learn locally.

The names below stand in the order of the data flow: task, graph, network, settle, nudge, rule, update, run.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import analysis as analysis
    from . import rules as rules
    from . import tasks as tasks
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
    from .model import Activation as Activation
    from .model import Dense as Dense
    from .model import FanIn as FanIn
    from .model import Graph as Graph
    from .model import Hopfield as Hopfield
    from .model import Layered as Layered
    from .model import LinearMap as LinearMap
    from .model import Network as Network
    from .model import Normal as Normal
    from .model import Parameters as Parameters
    from .model import Projected as Projected
    from .model import Rate as Rate
    from .model import Sparse as Sparse
    from .model import activation as activation
    from .rules import BPTT as BPTT
    from .rules import Adjoint as Adjoint
    from .rules import AsymEP as AsymEP
    from .rules import Centred as Centred
    from .rules import CrossEntropy as CrossEntropy
    from .rules import Dyadic as Dyadic
    from .rules import Fading as Fading
    from .rules import Homeostasis as Homeostasis
    from .rules import Local as Local
    from .rules import Nudged as Nudged
    from .rules import OneSided as OneSided
    from .rules import RandomSign as RandomSign
    from .rules import Safeguard as Safeguard
    from .rules import SquaredError as SquaredError
    from .rules import SymmetricEP as SymmetricEP
    from .rules import Trajectory as Trajectory
    from .rules import VectorField as VectorField
    from .rules import estimate as estimate
    from .settling import ODE as ODE
    from .settling import Anderson as Anderson
    from .settling import Coloured as Coloured
    from .settling import Euler as Euler
    from .settling import Newton as Newton
    from .settling import Preconditioned as Preconditioned
    from .settling import Settled as Settled
    from .settling import Steps as Steps
    from .settling import Tolerance as Tolerance
    from .settling import choose_method as choose_method
    from .settling import settle as settle
    from .settling import trajectory as trajectory
    from .tasks import Shift as Shift
    from .training import Balanced as Balanced
    from .training import LeakController as LeakController
    from .training import Pairs as Pairs
    from .training import Run as Run
    from .training import SignSymmetric as SignSymmetric
    from .training import WeightProjection as WeightProjection
    from .training import fit as fit
    from .training import prune as prune
    from .training import shrink as shrink
    from .training import trainable as trainable

_ROOMS = ("tasks", "rules", "analysis")  # which are public by themselves
_HOME = {
    "model": (
        "activation",
        "Activation",
        "Graph",
        "Projected",
        "Hopfield",
        "Rate",
        "Dense",
        "Layered",
        "LinearMap",
        "Sparse",
        "Normal",
        "FanIn",
        "Network",
        "Parameters",
    ),
    "tasks": ("Shift",),
    "settling": (
        "choose_method",
        "Euler",
        "Preconditioned",
        "Coloured",
        "Anderson",
        "Newton",
        "settle",
        "Settled",
        "Tolerance",
        "Steps",
        "ODE",
        "trajectory",
    ),
    "rules": (
        "SquaredError",
        "CrossEntropy",
        "OneSided",
        "Centred",
        "RandomSign",
        "Fading",
        "Nudged",
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
    "certificates.region": (
        "certify_region",
        "Box",
        "Region",
    ),
    "training": (
        "SignSymmetric",
        "Balanced",
        "Pairs",
        "LeakController",
        "WeightProjection",
        "shrink",
        "prune",
        "trainable",
        "fit",
        "Run",
    ),
}
_MODULE = {name: module for module, names in _HOME.items() for name in names}

__all__ = [*_ROOMS, *_MODULE]  # pyright: ignore[reportUnsupportedDunderAll]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Modules load on first use, so that `direp --help` does not wait for JAX."""
    if name in _ROOMS:
        return importlib.import_module(f".{name}", __name__)
    if name not in _MODULE:
        raise AttributeError(f"module 'direp' has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_MODULE[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
