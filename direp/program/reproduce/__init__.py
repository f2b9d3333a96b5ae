"""Published results, trained again: what is trained for each, what is measured, and what the report says of both."""

from .reproduction import AbstractReproduction, Drawn, Variant
from .run import Asked, reproduce

__all__ = ["AbstractReproduction", "Asked", "Drawn", "Variant", "reproduce"]
