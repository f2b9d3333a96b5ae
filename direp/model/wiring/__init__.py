"""Units and synapses by name, as files and other libraries have them: readers, writers, and how they are numbered."""

from .csv_file import read_csv, write_csv
from .graphml_file import read_graphml, write_graphml
from .libraries import from_matrix, from_networkx, to_dataframe, to_networkx, to_scipy
from .numbered import Numbered, numbered
from .table import Wiring, flag

__all__ = [
    "Numbered", "Wiring", "flag", "from_matrix", "from_networkx", "numbered", "read_csv", "read_graphml",
    "to_dataframe", "to_networkx", "to_scipy", "write_csv", "write_graphml",
]  # fmt: skip
