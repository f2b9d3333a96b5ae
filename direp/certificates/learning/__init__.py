"""Does a rule descend? The gradient that it returned is compared with the exact one, and followed."""

from .certificate import LearningCertificate, SampleVerdict, Step
from .descent import certify_learning
from .feedback import FeedbackBound, bound_feedback, updates_to_descent
from .following import Following
from .linear import Sample
from .structure import one_layer

__all__ = [
    "FeedbackBound", "Following", "LearningCertificate", "Sample", "SampleVerdict", "Step", "bound_feedback",
    "certify_learning", "one_layer", "updates_to_descent",
]  # fmt: skip
