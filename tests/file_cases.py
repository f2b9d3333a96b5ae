"""A network file to read, to alter and to make again with other content."""

import json

import numpy as np
import pytest
from cases import network
from safetensors.numpy import load_file

import direp
from direp.certificates.convergence import Counterexample
from direp.program.network_file import save_network
from direp.runs import write_arrays

LAYERED = direp.Graph.layered([2, 3, 1])
EXAMPLE = Counterexample("two equilibria", np.zeros(2), np.zeros((2, 4)))


@pytest.fixture
def saved(tmp_path):
    """A network file with a counter-example: its path, metadata and arrays."""
    path = tmp_path / "net.safetensors"
    save_network(path, network("rate-tanh", "absolute", LAYERED), EXAMPLE)
    return path, metadata_of(path), load_file(path)


def metadata_of(path):
    content = path.read_bytes()
    return json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]


def remade(saved, change=lambda described: {}, **arrays):
    """The file with another description and other arrays, and the SHA-256 of these: what the checks alone say."""
    path, metadata, old = saved
    described = json.loads(metadata["network"])
    described |= change(described)
    arrays = {name: array for name, array in (old | arrays).items() if array is not None}
    write_arrays(path, arrays, {"format": metadata["format"], "network": json.dumps(described)})
    return path
