"""Figures. Each function takes `ax`, where to draw, and returns the axes it drew in.

`ax` is given axes, or an empty matplotlib `Figure` to fill, or by default a new figure of pyplot, which a notebook
shows. The objects drawn are asked for their data, so that whatever has the same can be drawn: a run that was trained or
loaded, a network, plain arrays.
"""

from .confusion import confusion_matrix
from .decay import residual_decay
from .decision import decision_map
from .dies import dies_histogram
from .fields import receptive_fields
from .learning import SIDE_BY_SIDE, learning_curve, learning_curves
from .spectrum import eigenvalues
from .states import settling, trajectory
from .success import success_rates
from .weights import weight_matrix
from .wiring import directed_graph

__all__ = [
    "SIDE_BY_SIDE",
    "confusion_matrix",
    "decision_map",
    "dies_histogram",
    "directed_graph",
    "eigenvalues",
    "learning_curve",
    "learning_curves",
    "receptive_fields",
    "residual_decay",
    "settling",
    "success_rates",
    "trajectory",
    "weight_matrix",
]
