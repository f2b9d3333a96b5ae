"""Training: constraints that keep parameters in a set, transformations of updates, the compiled step, the loop."""

from .checkpoint import Keeper, history_at, weight_names, weights_of
from .constraint import AbstractCertified, AbstractConstraint, ConstrainedState, check_nudges, constrain
from .control import AbstractControl, LeakController, WeightProjection
from .epochs import STOP
from .euclidean import EuclideanLeaks, EuclideanProjection
from .guarantee import AbstractGuarantee, Balanced, Pairs, SignSymmetric
from .limits import AbstractLimits, Bounds, Dale, FixedSynapses
from .loop import fit, run_of
from .loops import LoopProjection
from .metrics import Evaluation, Metrics, rounded, summarise
from .plan import evaluator_of, planned
from .prediction import Prediction, predict, read
from .progress import progress_bar
from .recorded import RecordedOptimiser
from .run import Run
from .step import AT_ONCE, Trainer, TrainState, choose, drawn
from .together import program_of, train_together
from .tracking import AbstractCallback, MLflow, TensorBoard
from .update import own_keys, prune, shrink, trainable

__all__ = [
    "AT_ONCE", "STOP", "AbstractCallback", "AbstractCertified", "AbstractConstraint", "AbstractControl",
    "AbstractGuarantee", "AbstractLimits", "Balanced", "Bounds", "ConstrainedState", "Dale", "EuclideanLeaks",
    "EuclideanProjection", "Evaluation", "FixedSynapses", "Keeper", "LeakController", "LoopProjection", "MLflow",
    "Metrics", "Pairs", "Prediction", "RecordedOptimiser", "Run", "SignSymmetric", "TensorBoard", "TrainState",
    "Trainer", "WeightProjection", "check_nudges", "choose", "constrain", "drawn", "evaluator_of", "fit", "history_at",
    "own_keys", "planned", "predict", "program_of", "progress_bar", "prune", "read", "rounded", "run_of", "shrink",
    "summarise", "train_together", "trainable", "weight_names", "weights_of",
]  # fmt: skip
