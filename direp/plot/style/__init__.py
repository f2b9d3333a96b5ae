"""One palette and one style for all figures: colours, axes to draw in, legends that fit."""

from .axes import Place, band, below, beside, canvas, epochs, inches, open_frame, place, points, save, written
from .colours import BLUE, COLOURS, EMPTY, GOLD, GREEN, GREY, LIGHT, ORANGE, PURPLE, RED, TEAL, coloured, readable, tint
from .legend import legend_below, shortened

__all__ = [
    "BLUE", "COLOURS", "EMPTY", "GOLD", "GREEN", "GREY", "LIGHT", "ORANGE", "PURPLE", "RED", "TEAL", "Place", "band",
    "below", "beside", "canvas", "coloured", "epochs", "inches", "legend_below", "open_frame", "place", "points",
    "readable", "save", "shortened", "tint", "written",
]  # fmt: skip
