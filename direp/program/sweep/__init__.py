"""Sweeps: many trials, each a run folder named by the hash of its settings, trained wherever an executor leads."""

from .run import Sweep, sweep
from .trials import state_of
from .work import train_block

__all__ = ["Sweep", "state_of", "sweep", "train_block"]
