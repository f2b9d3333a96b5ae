"""What to learn: logic gates, tables, images, a user's own arrays; and random changes of training inputs."""

from .augment import AbstractAugmentation, Shift
from .errors import DataMissing, DataUnreadable
from .gates import GATES, gate, xor
from .images import IMAGES, images
from .preparation import Column, Inputs, Preparation, Targets, arrow
from .table_files import read_table
from .tables import BUNDLED, bundled, from_arrays, from_table, kind_of
from .task import KINDS, Samples, Task

__all__ = [
    "BUNDLED", "GATES", "IMAGES", "KINDS", "AbstractAugmentation", "Column", "DataMissing", "DataUnreadable",
    "Inputs", "Preparation", "Samples", "Shift", "Targets", "Task", "arrow", "bundled", "from_arrays", "from_table",
    "gate", "images", "kind_of", "read_table", "xor",
]  # fmt: skip
