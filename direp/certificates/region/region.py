r"""Where does the local rule descend? Proved for a whole box of weights, biases, leaks and inputs, or refuted in it.

Branch and bound: bounds over boxes decide a box, or it is halved across the coordinate that has most to do with what is
open. The largest open boxes come first, so that the effort goes where the volume is.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Num

from ...model import Network
from ..convergence import Judged, Verdict
from .box import Box, vector
from .point import inner_product
from .search import Search, Tree

_CLAIM = "a small step of the local rule lowers the cost of a sample, at every equilibrium, for every target"
_ASSUMPTIONS = (
    "the network rests at an equilibrium, and the nudge is small (its limit)",
    "one sample at a time; weights and biases learn, leaks stay",
    "where an output has no gradient (it is held at a face, or its activation is flat) there is nothing to descend",
    "no unit lies exactly at a corner of its activation, no weight of an absolute outflow is exactly zero",
    "exp and tanh of the platform are right to a relative 1e-14",
)


@dataclass(frozen=True)
class RegionPoint:
    r"""A network and an input at which the local rule moves against the gradient, proved in ball arithmetic.

    `state` is the equilibrium, `inner` encloses the inner product of the two for `error` ($\partial C/\partial r_o$ of
    length one).
    """

    network: Network
    x: np.ndarray
    state: np.ndarray
    inner: tuple[float, float]
    error: np.ndarray

    def to_dict(self) -> dict[str, Any]:
        parts = {name: getattr(self.network, name) for name in ("matrix", "bias", "leak")}
        parts |= {"x": self.x, "state": self.state, "inner": self.inner, "error": self.error}
        return {name: np.asarray(part, np.float64).tolist() for name, part in parts.items()}


@dataclass(frozen=True, repr=False)
class Region(Judged):
    """What is proved of a box.

    - `verdict`: `"proved"`: the rule descends everywhere in the box where there is a gradient; `"refuted"`: not at
      `counterexample`; `"undecided"`.
    - `shares` of the volume: `proved` (the rule descends), `refuted` (it ascends), `flat` (no gradient), `edge`
      (descends or has no gradient) and `undecided`. They add up to one.
    - `boxes`: for each of these, arrays `low` and `high` (boxes x coordinates), in the order of `coordinates`. `tree`:
      how they were cut.
    - `effort`: how many boxes were bounded. `reason`: why it is not `"proved"`. `assumptions`: what must hold.
    """

    claim: str
    verdict: Verdict
    box: Box
    shares: dict[str, float]
    boxes: dict[str, tuple[np.ndarray, np.ndarray]]
    tree: Tree
    effort: int
    reason: str
    counterexample: RegionPoint | None
    assumptions: tuple[str, ...] = _ASSUMPTIONS

    def __str__(self) -> str:
        return f"{self.sentence} ({self._shares}; {self.effort} boxes). {self.reason}".strip()

    def __repr__(self) -> str:
        return f"Region({self.verdict}; {self._shares})"

    @property
    def _shares(self) -> str:
        return ", ".join(f"{name} {share:.3g}" for name, share in self.shares.items() if share)

    @property
    def coordinates(self) -> tuple[str, ...]:
        return tuple(self.box.names[k] for k in self.box.varying)

    @property
    def captured(self) -> float:
        """At least this share of all the volume in which the rule descends is proved."""
        may = self.shares["proved"] + self.shares["edge"] + self.shares["undecided"]
        return self.shares["proved"] / may if may > 0 else 1.0

    def find(self, values: Num[ArrayLike, "... coordinate"]) -> np.ndarray:
        """The names of the shares that points, given by their coordinates, lie in."""
        values = np.asarray(values, np.float64)
        points = values.reshape(math.prod(values.shape[:-1]), len(self.coordinates))
        least, most = self.box.least[self.box.varying], self.box.most[self.box.varying]
        found = np.where(((least <= points) & (points <= most)).all(1), self.tree.leaf(points), "outside")
        return found.reshape(values.shape[:-1])

    def proves(self, network: Network, x: Num[ArrayLike, " input"]) -> bool:
        """Whether this network with this input lies in a part of the box that is proved to descend."""
        if network.graph != self.box.low.graph or network.neuron != self.box.low.neuron:
            return False
        flat = vector(network, np.asarray(x))
        fixed = self.box.least == self.box.most
        if (flat != self.box.least)[fixed].any():
            return False
        return str(self.find(flat[self.box.varying])) in ("proved", "edge")

    def to_dict(self) -> dict[str, Any]:
        """Everything but the boxes, for JSON."""
        box, point = self.box, self.counterexample
        data = {name: getattr(self, name) for name in ("claim", "verdict", "shares", "captured", "effort", "reason")}
        ends = {box.names[k]: [float(box.least[k]), float(box.most[k])] for k in box.varying}
        example = None if point is None else point.to_dict()
        return {**data, "coordinates": ends, "assumptions": list(self.assumptions), "counterexample": example}


def certify_region(
    box: Box,
    *,
    effort: int = 500_000,
    tolerance: float = 1e-3,
    progress: Callable[[int, dict[str, float]], None] | None = None,
) -> Region:
    r"""Prove that the local rule descends in all of a box of networks and inputs, or find where it does not.

    The rule is `Local` in the limit of a small nudge, for one sample; the target is any. With one output the sign of
    the inner product with the exact gradient does not depend on it; with several the form over their errors is positive
    definite. What is proved holds at every equilibrium, stable or not, of every network and input in a proved part.

    **Arguments:**

    - `effort`: how many boxes to bound at most.
    - `tolerance`: stop when a counter-example is known and no more than this share of the volume is open.
    - `progress`: called with the number of boxes so far and the shares.

    **Returns:**

    A [`Region`][direp.Region]. Raises `ValueError` if `effort` is below 1.
    """
    if effort < 1:
        raise ValueError(f"certify_region(effort={effort}) must be 1 or more boxes")
    search = Search(box.low, box.least, box.most)
    while search.used < effort and len(search.low):
        search.step(min(2048, effort - search.used))
        if progress is not None:
            progress(search.used, search.shares())
        if search.volume.sum() <= tolerance and (search.share["refuted"] > 0 or not search.unknown):
            break
    shares, open_ = search.shares(), search.unknown
    point = _refutation(box, search.suspects())
    verdict: Verdict = "refuted" if point is not None else "proved"
    reason = ""
    if point is not None:
        reason = "At the counter-example the rule moves against the gradient."
    elif open_ or shares["refuted"] > 0:
        verdict, reason = "undecided", search.reason()
    elif not shares["proved"] + shares["edge"]:
        verdict, reason = "undecided", "There is no gradient anywhere in the box."
    return Region(_CLAIM, verdict, box, shares, search.boxes(), search.tree(), search.used, reason, point)


def _refutation(box: Box, candidates: np.ndarray) -> RegionPoint | None:
    """The first of some points at which ball arithmetic, with the numbers as the network stores them, agrees."""
    for values in candidates:
        network, x = box.point(values)
        flat = vector(network, x)
        inside = ((box.least <= flat) & (flat <= box.most)).all()
        found = inner_product(network, x) if inside else None
        if found is not None and found[1][1] < 0:
            return RegionPoint(network, x, *found)
    return None
