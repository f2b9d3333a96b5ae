"""Does a rule descend? The gradient that it returned is compared with the exact one, and followed."""

from .certificate import LearningCertificate, SampleVerdict, Step
from .descent import certify_learning
from .following import Following
from .linear import Sample
from .structure import one_layer

__all__ = ["Following", "LearningCertificate", "Sample", "SampleVerdict", "Step", "certify_learning", "one_layer"]
