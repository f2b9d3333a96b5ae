"""What to learn: logic gates, data sets that come with scikit-learn, images, and your own arrays."""

from .data import BUNDLED, bundled, from_arrays
from .gates import GATES, gate
from .images import IMAGES, DataMissing, DataUnreadable, images
from .task import Samples, Task

__all__ = [
    "BUNDLED", "GATES", "IMAGES", "DataMissing", "DataUnreadable", "Samples", "Task", "bundled", "from_arrays", "gate",
    "images", "xor",
]  # fmt: skip


def xor() -> Task:
    """The exclusive or, the smallest task that needs hidden units."""
    return gate("xor")
