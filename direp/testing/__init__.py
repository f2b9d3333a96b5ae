"""Laws that a part of your own must keep: each check raises `AssertionError` and says which law fails and where.

They are the laws of this project's own suite, and compute in 64 bits. In a test of your own:

    direp.testing.check_rule(MyRule())
"""

from .costs import check_cost, check_nudge
from .parts import check_criterion, check_layout, check_neuron
from .rules import check_rule

__all__ = ["check_cost", "check_criterion", "check_layout", "check_neuron", "check_nudge", "check_rule"]
