"""Training: constraints that keep parameters in a set, transformations of updates, the compiled step, the loop."""

from .constraint import AbstractConstraint, ConstrainedState, check_nudges, constrain
from .control import AbstractControl, LeakController, WeightProjection
from .guarantee import AbstractGuarantee, Balanced, Pairs, SignSymmetric
from .loop import fit
from .loops import LoopProjection
from .recorded import RecordedOptimiser
from .run import Run
from .step import AT_ONCE, Evaluation, Metrics, Trainer, TrainState, choose, drawn
from .update import own_keys, prune, shrink, trainable

__all__ = [
    "AT_ONCE", "AbstractConstraint", "AbstractControl", "AbstractGuarantee", "Balanced", "ConstrainedState",
    "Evaluation", "LeakController", "LoopProjection", "Metrics", "Pairs", "RecordedOptimiser", "Run",
    "SignSymmetric", "TrainState", "Trainer", "WeightProjection", "check_nudges", "choose", "constrain", "drawn", "fit",
    "own_keys", "prune", "shrink", "trainable",
]  # fmt: skip
