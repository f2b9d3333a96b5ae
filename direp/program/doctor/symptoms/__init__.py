"""The symptoms, in the order of causes: what comes first may cause what follows. The catalogue names them."""

from .data import Inputs, Parts
from .dynamics import Diverged, Unsettled
from .outcome import Overfitted, Unexplained
from .record import Unfinished
from .signal import Blocked, Misaligned, StrongNudge, WeakNudge
from .steps import LargeSteps, Short, SmallSteps
from .units import Dead, Saturated, Stifled

__all__ = [
    "Blocked", "Dead", "Diverged", "Inputs", "LargeSteps", "Misaligned", "Overfitted", "Parts", "Saturated", "Short",
    "SmallSteps", "Stifled", "StrongNudge", "Unexplained", "Unfinished", "Unsettled", "WeakNudge",
]  # fmt: skip
