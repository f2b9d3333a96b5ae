"""Figures. Each function takes `ax`, where to draw, and returns the axes it drew in.

`ax` is given axes, or an empty matplotlib `Figure` to fill, or by default a new figure of pyplot, which a notebook
shows. The objects drawn are asked for their data, so that whatever has the same can be drawn: a run that was trained or
loaded, a network, plain arrays.
"""

from .decision import decision_map
from .dies import dies_histogram
from .learning import SIDE_BY_SIDE, learning_curve, learning_curves
from .states import settling, trajectory
from .weights import weight_matrix

__all__ = [
    "SIDE_BY_SIDE",
    "decision_map",
    "dies_histogram",
    "learning_curve",
    "learning_curves",
    "settling",
    "trajectory",
    "weight_matrix",
]
