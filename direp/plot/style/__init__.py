"""One palette and one style for all figures: colours, axes to draw in, legends that fit."""

from .axes import (
    BANDS,
    LOSS_FLOOR,
    MIDDLES,
    Place,
    band,
    below,
    beside,
    canvas,
    discs,
    epochs,
    inches,
    open_frame,
    place,
    points,
    save,
    written,
)
from .colours import (
    BLUE,
    COLOURS,
    EMPTY,
    GOLD,
    GREEN,
    GREY,
    LIGHT,
    ORANGE,
    PURPLE,
    RED,
    TEAL,
    WARM,
    coloured,
    readable,
    tint,
)
from .legend import legend_below, shortened

__all__ = [
    "BANDS", "BLUE", "COLOURS", "EMPTY", "GOLD", "GREEN", "GREY", "LIGHT", "LOSS_FLOOR", "MIDDLES", "ORANGE", "PURPLE",
    "RED", "TEAL", "WARM", "Place", "band", "below", "beside", "canvas", "coloured", "discs", "epochs", "inches",
    "legend_below", "open_frame", "place", "points", "readable", "save", "shortened", "tint", "written",
]  # fmt: skip
