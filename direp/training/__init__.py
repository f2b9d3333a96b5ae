"""Training: constraints that keep parameters in a set, transformations of updates, the compiled step, the loop."""

from .constraint import AbstractCertified, AbstractConstraint, ConstrainedState, check_nudges, constrain
from .control import AbstractControl, LeakController, WeightProjection
from .guarantee import AbstractGuarantee, Balanced, Pairs, SignSymmetric
from .limits import AbstractLimits, Bounds, Dale, FixedSynapses
from .loop import fit
from .loops import LoopProjection
from .recorded import RecordedOptimiser
from .run import Run
from .step import AT_ONCE, Evaluation, Metrics, Trainer, TrainState, choose
from .update import own_keys, prune, shrink, trainable

__all__ = [
    "AT_ONCE", "AbstractCertified", "AbstractConstraint", "AbstractControl", "AbstractGuarantee", "AbstractLimits",
    "Balanced", "Bounds", "ConstrainedState", "Dale", "Evaluation", "FixedSynapses", "LeakController",
    "LoopProjection", "Metrics", "Pairs", "RecordedOptimiser", "Run", "SignSymmetric", "TrainState", "Trainer",
    "WeightProjection", "check_nudges", "choose", "constrain", "fit", "own_keys", "prune", "shrink", "trainable",
]  # fmt: skip
