"""Markdown tables, and figures as their cells show them."""

from collections.abc import Mapping, Sequence
from typing import Any


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


def count(entry: Mapping[str, Any], of: int) -> str:
    """`21 of 100 (14 to 30 %)`."""
    low, high = entry["interval"]
    return f"{entry['count']} of {of} ({100 * low:.0f} to {100 * high:.0f} %)"


def percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %"


def median(value: float | None) -> str:
    """Of epochs; `None` where it is infinite."""
    return "most never do" if value is None else f"{value:.0f}"


def interval(value: float, ends: Sequence[float | None], scale: float, form: str, unit: str = "") -> str:
    """A value, and its interval where there is one."""
    told, known = f"{scale * value:{form}}{unit}", [scale * end for end in ends if end is not None]
    return f"{told} ({known[0]:{form}} to {known[1]:{form}})" if known else told
