"""What a network is: graph, activation, neuron, layout and initial weights, and the field that moves its states."""

from . import activation
from .activation import ACTIVATIONS, Activation, hard_sigmoid, identity, relu, sigmoid, softplus, tanh
from .connectome import Connectome
from .field import AbstractField, AbstractWrapper, Coupling, NetworkField, Signal, declared
from .graph import Graph
from .initialise import AbstractInitialiser, FanIn, Given, Normal
from .network import Network, Parameters
from .neuron import AbstractNeuron, Hopfield, Projected, Rate
from .outflow import OUTFLOWS, Outflow
from .paths import reachable
from .synapses import AbstractSynapses, Dense, Layered, LinearMap, Sparse, Weight, lay_out
from .wiring import Wiring, numbered, read_csv, read_graphml

__all__ = [
    "ACTIVATIONS", "OUTFLOWS", "AbstractField", "AbstractInitialiser", "AbstractNeuron", "AbstractSynapses",
    "AbstractWrapper", "Activation", "Connectome", "Coupling", "Dense", "FanIn", "Given", "Graph", "Hopfield",
    "Layered", "LinearMap", "Network", "NetworkField", "Normal", "Outflow", "Parameters", "Projected", "Rate",
    "Signal", "Sparse", "Weight", "Wiring", "activation", "declared", "hard_sigmoid", "identity", "lay_out",
    "numbered", "reachable", "read_csv", "read_graphml", "relu", "sigmoid", "softplus", "tanh",
]  # fmt: skip
