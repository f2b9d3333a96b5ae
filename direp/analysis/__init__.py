"""Rules compared with the exact gradient and with each other; intervals for what random seeds gave."""

from .comparison import figures_of, paired, solved_by, table
from .dies import Devices, OnDies, on_dies
from .gradients import Comparison, compare_gradients, groups, is_flat, order_in_beta, state_of
from .statistics import bootstrap_mean, student, wilson

__all__ = [
    "Comparison", "Devices", "OnDies", "bootstrap_mean", "compare_gradients", "figures_of", "groups", "is_flat",
    "on_dies", "order_in_beta", "paired", "solved_by", "state_of", "student", "table", "wilson",
]  # fmt: skip
