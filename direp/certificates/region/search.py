"""Branch and bound over the boxes of a family of networks."""

from dataclasses import dataclass

import numpy as np

from ...model import Network
from .bounds import ASCENDS, DESCENDS, EDGE, FLAT, OPEN, bounds
from .states import Family

_DONE = {"proved": DESCENDS, "refuted": ASCENDS, "flat": FLAT}
_NAMES = ("proved", "refuted", "flat", "edge", "undecided")
_OPEN, _EDGE, _LEAK = range(3)  # why a box is not done


@dataclass(frozen=True)
class Tree:
    """How the box was cut. Node 0 is the box; `axis` is negative at a leaf, whose `name` says what is known of it."""

    axis: np.ndarray
    cut: np.ndarray
    child: np.ndarray
    name: np.ndarray

    def leaf(self, points: np.ndarray) -> np.ndarray:
        """The name of the leaf that holds each point (points x coordinates)."""
        node = np.zeros(len(points), int)
        row = np.arange(len(points))
        while len(row):
            at = node[row]
            row, at = row[self.axis[at] >= 0], at[self.axis[at] >= 0]
            node[row] = self.child[at] + (points[row, self.axis[at]] > self.cut[at])
        return np.array(_NAMES)[self.name[node]]


class Search:
    """The boxes that are done, and those that are not: `low`, `high` (boxes x coordinates), share `volume`, `kind`."""

    def __init__(self, network: Network, least: np.ndarray, most: np.ndarray):
        varying = np.flatnonzero(least < most)
        self.family = Family(network, least, varying)
        self.low, self.high = least[None, varying], most[None, varying]
        self.size = most[varying] - least[varying]
        self.volume, self.kind = np.ones(1), np.full(1, _OPEN)
        self.done = {name: [(self.low[:0], self.high[:0], self.volume[:0])] for name in _DONE}
        self.share = dict.fromkeys(_DONE, 0.0)
        self.stuck = [(self.low[:0], self.high[:0], self.volume[:0], self.kind[:0])]
        self.used, self.nodes = 0, 1
        self.node, self.stuck_node = np.zeros(1, int), [np.zeros(0, int)]
        self.leaves: list[tuple[np.ndarray, int]] = []
        self.cuts: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []
        # |w| has a corner at zero: such boxes are cut there first.
        graph, corner = network.graph, network.neuron.outflow.corner
        recurrent = (varying >= graph.inputs * graph.free) & (varying < graph.units * graph.free)
        self.corner = recurrent if corner else np.zeros(len(varying), bool)

    def step(self, count: int) -> None:
        """Bound the largest boxes that are not done, and halve those that stay so."""
        count = min(count, len(self.volume))
        order = np.argpartition(-self.volume, count - 1)
        take, keep = order[:count], order[count:]
        low, high, volume, node = self.low[take], self.high[take], self.volume[take], self.node[take]
        found = bounds(self.family, low, high)
        self.used += len(take)
        for code, (name, verdict) in enumerate(_DONE.items()):
            chosen = found.verdict == verdict
            self.leaves.append((node[chosen], code))
            self.done[name].append((low[chosen], high[chosen], volume[chosen]))
            self.share[name] += float(volume[chosen].sum())
        left = (found.verdict == OPEN) | (found.verdict == EDGE)
        kind = np.where(found.verdict == EDGE, _EDGE, np.where(found.leak_open, _LEAK, _OPEN))[left]
        parts = self._halve(low[left], high[left], volume[left], kind, node[left], found.influence[left])
        rest = (self.low[keep], self.high[keep], self.volume[keep], self.kind[keep])
        joined = (np.concatenate([old, *new]) for old, new in zip(rest, zip(*parts, strict=True), strict=True))
        self.low, self.high, self.volume, self.kind = joined
        born = self.nodes - 2 * len(parts[0][0]) + np.arange(2 * len(parts[0][0]))
        self.node = np.concatenate([self.node[keep], born[::2], born[1::2]])

    def _halve(self, low, high, volume, kind, node, influence):
        """Two halves of every box, across the coordinate with most influence, and a little by width."""
        if not low.shape[1]:
            self.stuck.append((low, high, volume, kind))
            self.stuck_node.append(node)
            return ((low[:0], high[:0], volume[:0], kind[:0]),) * 2
        width = (high - low) / self.size
        scale = influence.sum(1, keepdims=True)
        score = influence / np.where(scale > 0, scale, 1.0) + 0.15 * width / width.max(1, keepdims=True)
        across = self.corner & (low < 0) & (high > 0)
        axis = (score + np.where(across, 10.0, 0.0)).argmax(1)
        row = np.arange(len(low))
        a, b = low[row, axis], high[row, axis]
        cut = np.where(across[row, axis], 0.0, 0.5 * a + 0.5 * b)
        fits = (a < cut) & (cut < b)
        self.stuck.append((low[~fits], high[~fits], volume[~fits], kind[~fits]))
        self.stuck_node.append(node[~fits])
        self.cuts.append((node[fits], axis[fits], cut[fits], self.nodes + 2 * np.arange(fits.sum())))
        self.nodes += 2 * int(fits.sum())
        first, second = high.copy(), low.copy()
        first[row, axis] = second[row, axis] = cut
        share = np.where(fits, (cut - a) / np.where(fits, b - a, 1.0), 0.0)
        below = low, first, volume * share, kind
        above = second, high, volume * (1 - share), kind
        return tuple(tuple(part[fits] for part in half) for half in (below, above))

    def _rest(self) -> tuple[np.ndarray, ...]:
        """All boxes that are not done."""
        pool = (self.low, self.high, self.volume, self.kind)
        return tuple(np.concatenate(parts) for parts in zip(pool, *self.stuck, strict=True))

    @property
    def unknown(self) -> bool:
        """Whether there is a box of which nothing is proved."""
        return any((kind != _EDGE).any() for kind in (self.kind, *(part[3] for part in self.stuck)))

    def shares(self) -> dict[str, float]:
        _, _, volume, kind = self._rest()
        edge = float(volume[kind == _EDGE].sum())
        return {**self.share, "edge": edge, "undecided": float(volume.sum()) - edge}

    def tree(self) -> Tree:
        axis, cut = np.full(self.nodes, -1), np.zeros(self.nodes)
        child, name = np.zeros(self.nodes, int), np.zeros(self.nodes, int)
        for node, *parts in self.cuts:
            axis[node], cut[node], child[node] = parts
        kind = self._rest()[3]
        rest = np.concatenate([self.node, *self.stuck_node])
        for node, code in (*self.leaves, (rest[kind == _EDGE], 3), (rest[kind != _EDGE], 4)):
            name[node] = code
        return Tree(axis, cut, child, name)

    def boxes(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        out = {}
        for name, parts in self.done.items():
            out[name] = tuple(np.concatenate([part[side] for part in parts]) for side in (0, 1))
        low, high, _, kind = self._rest()
        for name, chosen in (("edge", kind == _EDGE), ("undecided", kind != _EDGE)):
            out[name] = (low[chosen], high[chosen])
        return out

    def suspects(self, count: int = 20) -> np.ndarray:
        """Points at which the rule ascends, by the same bounds: middles of refuted boxes, or of open ones."""
        low, high, volume = (np.concatenate(parts) for parts in zip(*self.done["refuted"], strict=True))
        if not len(low):
            low, high, volume, kind = self._rest()
            low, high, volume = (part[kind == _OPEN] for part in (low, high, volume))
            largest = np.argsort(-volume, kind="stable")[:4096]
            low, high, volume = low[largest], high[largest], volume[largest]
            if not len(low):
                return low
            middle = 0.5 * low + 0.5 * high
            return middle[bounds(self.family, middle, middle).verdict == ASCENDS][:count]
        largest = np.argsort(-volume, kind="stable")[:count]
        return 0.5 * low[largest] + 0.5 * high[largest]

    def reason(self) -> str:
        """What stands in the way."""
        _, _, volume, kind = self._rest()
        leak, rest = float(volume[kind == _LEAK].sum()), float(volume[kind == _OPEN].sum())
        parts = []
        if leak:
            parts.append(f"In {leak:.2g} of the volume a total leak may be zero or below: raise the leaks.")
        if rest:
            parts.append(f"{rest:.2g} of the volume is open: more effort, or a smaller box.")
        return " ".join(parts) or "The refuted part holds no point that ball arithmetic could confirm."
