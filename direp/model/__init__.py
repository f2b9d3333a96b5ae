"""What a network is: graph, activation, neuron, layout and initial weights, and the field that moves its states."""

from . import activation
from .activation import ACTIVATIONS, Activation, hard_sigmoid, identity, relu, sigmoid, softplus, tanh
from .field import AbstractField, AbstractWrapper, Coupling, NetworkField, Signal, declared
from .graph import Graph, reachable
from .initialise import AbstractInitialiser, FanIn, Normal
from .network import Network, Parameters
from .neuron import AbstractNeuron, Hopfield, Projected, Rate
from .outflow import OUTFLOWS, Outflow
from .synapses import AbstractSynapses, Dense, Layered, LinearMap, Sparse, Weight, lay_out

__all__ = [
    "ACTIVATIONS", "OUTFLOWS", "AbstractField", "AbstractInitialiser", "AbstractNeuron", "AbstractSynapses",
    "AbstractWrapper", "Activation", "Coupling", "Dense", "FanIn", "Graph", "Hopfield", "Layered", "LinearMap",
    "Network", "NetworkField", "Normal", "Outflow", "Parameters", "Projected", "Rate", "Signal", "Sparse", "Weight",
    "activation", "declared", "hard_sigmoid", "identity", "lay_out", "reachable", "relu", "sigmoid", "softplus",
    "tanh",
]  # fmt: skip
