"""Networks for circuits: netlists of SPICE, what a simulator makes of them, and graphs of NIR."""

from .formulas import FORMULAS
from .netlist import netlist
from .ngspice import Simulated, simulate
from .nir_graph import to_nir

__all__ = ["FORMULAS", "Simulated", "netlist", "simulate", "to_nir"]
