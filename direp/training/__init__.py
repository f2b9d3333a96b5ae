"""Training: constraints that keep parameters in a set, transformations of updates, the compiled step, the loop."""

from .control import AbstractControl, ControlState, LeakController, WeightProjection
from .guarantee import AbstractGuarantee, Balanced, Pairs, SignSymmetric
from .loop import Run, fit
from .step import AT_ONCE, Evaluation, Metrics, Trainer, TrainState, choose
from .update import prune, shrink, trainable

__all__ = [
    "AT_ONCE", "AbstractControl", "AbstractGuarantee", "Balanced", "ControlState", "Evaluation", "LeakController",
    "Metrics", "Pairs", "Run", "SignSymmetric", "TrainState", "Trainer", "WeightProjection", "choose", "fit",
    "prune", "shrink", "trainable",
]  # fmt: skip
