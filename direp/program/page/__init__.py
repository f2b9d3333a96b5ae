"""A report of runs: one HTML file that explains them, with their networks to play with."""

from .page import page_of
from .sheet import Sheet, sheet_of

__all__ = ["Sheet", "page_of", "sheet_of"]
