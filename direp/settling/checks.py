"""Arguments of the wrong kind, refused in words where they are given."""

import reprlib
from typing import Any

import numpy as np
from jax.core import Tracer


def check_kind(where: str, value: Any, kind: type | tuple[type, ...], instead: str) -> None:
    """Raise `ValueError` unless `value` is of a kind; `where` names the argument, `instead` what to give."""
    if not isinstance(value, kind):
        raise ValueError(f"{where} got {reprlib.repr(value)}: give {instead}")


def check_number(where: str, value: Any, *, above: float | int | None = None, least: float | int | None = None) -> None:
    """Raise `ValueError` unless `value` is a finite number, or an array of such, above a bound or not below one.

    What is being traced has no value yet, and passes.
    """
    if isinstance(value, Tracer):
        return
    bound = "a finite number" if above is None and least is None else (
        f"above {above:g}" if above is not None else f"{least:g} or above"
    )  # fmt: skip
    number = np.asarray(value)
    fine = number.dtype.kind in "iuf" and number.size and np.isfinite(number).all()
    fine = fine and (above is None or (number > above).all()) and (least is None or (number >= least).all())
    if not fine:
        raise ValueError(f"{where}={reprlib.repr(value)}) must be {bound}")


def check_count(where: str, value: Any, least: int = 1) -> None:
    """Raise `ValueError` unless `value` is a whole number, `least` or more."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{where}={reprlib.repr(value)}) must be a whole number, {least} or more")
