"""Does a rule descend? Its phases are enclosed and its estimate is compared with the exact gradient."""

from .certificate import LearningCertificate, SampleVerdict, Step
from .descent import certify_learning
from .directions import Directions, conditions
from .linear import Sample, dense, shared
from .structure import balance, detailed_balance, gains, one_layer, pairs, structural

__all__ = [
    "Directions", "LearningCertificate", "Sample", "SampleVerdict", "Step", "balance", "certify_learning",
    "conditions", "dense", "detailed_balance", "gains", "one_layer", "pairs", "shared", "structural",
]  # fmt: skip
