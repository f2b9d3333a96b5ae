"""Does a rule descend? Its phases are enclosed and its estimate is compared with the exact gradient."""

from .certificate import LearningCertificate, SampleVerdict, Step
from .descent import certify_learning
from .linear import Sample
from .structure import one_layer

__all__ = ["LearningCertificate", "Sample", "SampleVerdict", "Step", "certify_learning", "one_layer"]
