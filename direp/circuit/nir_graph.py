"""Networks as graphs of NIR, the intermediate representation that neuromorphic frameworks exchange."""

from typing import Any

import numpy as np

from ..model import Network, identity
from ..settling import check_kind


def to_nir(network: Network) -> Any:
    r"""A network of identity neurons as a `nir.NIRGraph`: leaky integrators with a recurrent connection.

    NIR says $\tau\dot v=-v+RI$: with $\tau=R=1/\Lambda$ and $I=W^\top s+b$ that is $\dot s=-\Lambda\odot s+W^\top s+b$.
    Nodes are `input`, `weight` (`nir.Affine`: weights from inputs, and biases), `neurons` (`nir.LI`), `recurrent`
    (`nir.Linear`), `readout` (`nir.Linear`: picks the outputs) and `output`. Needs the package nir.

    Raises `ValueError` for what NIR has no node for: an activation, a box of states, a total leak of zero or less.
    """
    check_kind("to_nir(network=...)", network, Network, "a Network")
    neuron, graph = network.neuron, network.graph
    what = f"to_nir(network=...) has the neuron {neuron}"
    for activation in (neuron.transfer, neuron.rate):
        if activation != identity:
            raise ValueError(
                f"{what}: NIR has no node for the activation {activation.name!r}; export Hopfield('identity'), or a "
                "netlist, which has formulas"
            )
    if neuron.bounded:
        raise ValueError(
            f"{what}: NIR has no node that holds a state in a box; export Hopfield('identity'), or a netlist, which "
            "has clamps"
        )
    leak = np.asarray(network.total_leak(), np.float64)
    if (leak <= 0).any():
        raise ValueError(
            f"to_nir(network=...) has a total leak of {leak.min():g} at {graph.name(int(np.argmin(leak)))}: a leaky "
            "integrator needs one above 0; raise the leaks"
        )
    try:
        import nir
    except ImportError:
        raise ValueError("to_nir needs the package nir: pip install 'direp[circuit]'") from None
    weight = np.asarray(network.matrix, np.float64).T
    pick = np.eye(graph.free)[graph.hidden :]
    nodes = {
        "input": nir.Input({"input": np.array([graph.inputs])}),
        "weight": nir.Affine(weight[:, : graph.inputs], np.asarray(network.bias, np.float64)),
        "neurons": nir.LI(tau=1 / leak, r=1 / leak, v_leak=np.zeros(graph.free)),
        "recurrent": nir.Linear(weight[:, graph.inputs :]),
        "readout": nir.Linear(pick),
        "output": nir.Output({"output": np.array([graph.outputs])}),
    }
    edges = [
        ("input", "weight"), ("weight", "neurons"), ("neurons", "recurrent"), ("recurrent", "neurons"),
        ("neurons", "readout"), ("readout", "output"),
    ]  # fmt: skip
    return nir.NIRGraph(nodes, edges)
