"""Networks for circuits: netlists of SPICE, what a simulator makes of them, and graphs of NIR."""

from .formulas import FORMULAS
from .ngspice import Simulated, simulate
from .nir_graph import to_nir
from .spice import netlist

__all__ = ["FORMULAS", "Simulated", "netlist", "simulate", "to_nir"]
