"""What to learn: logic gates, data sets that come with scikit-learn, and your own arrays."""

from .data import BUNDLED, bundled, from_arrays
from .gates import GATES, gate
from .task import Samples, Task

__all__ = ["BUNDLED", "GATES", "Samples", "Task", "bundled", "from_arrays", "gate", "xor"]


def xor() -> Task:
    """The exclusive or, the smallest task that needs hidden units."""
    return gate("xor")
