"""The palette."""

from typing import Any

import numpy as np
from matplotlib.colors import to_rgb

BLUE, ORANGE, GREEN, PURPLE, RED, GREY, GOLD, TEAL = COLOURS = (
    "#3b6fb6", "#d1742f", "#3a8f5c", "#8a4fa3", "#b03a3a", "#6b6b6b", "#c2a026", "#2aa5a0",
)  # fmt: skip
LIGHT, EMPTY = "#9aa0a6", "#d6d6d6"  # what is only beside the point; where there is no value


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
