"""The palette: any two of its colours can be told apart without red or green cones."""

from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, to_rgb

BLUE, ORANGE, GREEN, PURPLE, RED, GREY, GOLD, TEAL = COLOURS = (
    "#3b6fb6", "#d1742f", "#3a8f5c", "#4f2660", "#b92929", "#4b4b4b", "#d3a500", "#29a8a3",
)  # fmt: skip
LIGHT, EMPTY = "#9aa0a6", "#d6d6d6"  # what is only beside the point; where there is no value
WARM = LinearSegmentedColormap.from_list("from zero on", ["#ffffff", BLUE, "#16335c"])


def coloured(names: Any) -> list[tuple[str, Any]]:
    """A colour for each name, in their order."""
    return [(COLOURS[k % len(COLOURS)], name) for k, name in enumerate(names)]


def tint(colours: Any, strength: Any) -> np.ndarray:
    """Colours mixed with white: at strength 0 white, at 1 themselves."""
    rgb = np.array([to_rgb(colour) for colour in colours])
    return 1 - np.asarray(strength)[..., None] * (1 - rgb)


def readable(value: Any) -> str:
    """Black or white, whichever can be read on a colour."""
    red, green, blue = to_rgb(value)
    return "black" if 0.3 * red + 0.59 * green + 0.11 * blue > 0.55 else "white"
