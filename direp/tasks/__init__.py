"""What to learn: logic gates, tables, images, a user's own arrays; and random changes of training inputs."""

from .augment import AbstractAugmentation, Shift
from .gates import GATES, gate, xor
from .images import IMAGES, DataMissing, DataUnreadable, images
from .tables import BUNDLED, bundled, from_arrays
from .task import Samples, Task

__all__ = [
    "BUNDLED", "GATES", "IMAGES", "AbstractAugmentation", "DataMissing", "DataUnreadable", "Samples", "Shift",
    "Task", "bundled", "from_arrays", "gate", "images", "xor",
]  # fmt: skip
