"""What `never_wrong.py` counts and prints."""

import collections
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

NAMES = ["local leak", "rows", "Perron", "compartmental", "symmetric", "LMI", "spectral", "circle", "vertices"]


@dataclass
class Report:
    """Counts that add up over chunks, by neuron and outflow, and the violations in full."""

    counts: dict[tuple[str, str], collections.Counter] = field(default_factory=dict)
    tightest: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)
    violations: list[dict[str, Any]] = field(default_factory=list)

    def count(self, place: tuple[str, str], what: str, many: int = 1) -> None:
        self.counts.setdefault(place, collections.Counter())[what] += int(many)

    def tight(self, place: tuple[str, str], factor: float, loss: float) -> None:
        before = self.tightest.get(place, (0.0, 0.0))
        self.tightest[place] = (max(before[0], factor), max(before[1], loss))

    def add(self, other: "Report") -> None:
        for place, counter in other.counts.items():
            self.counts.setdefault(place, collections.Counter()).update(counter)
        for place, pair in other.tightest.items():
            self.tight(place, *pair)
        self.violations += other.violations

    def total(self, what: str) -> int:
        return sum(counter[what] for counter in self.counts.values())

    def table(self) -> str:
        """Markdown."""
        names = NAMES
        head = [
            "neuron", "outflow", "networks", *(f"proved: {name}" for name in names), "refuted", "undecided",
            "followed to the end", "one place by Newton", "observed / certified factor", "certified / observed loss",
            "violations",
        ]  # fmt: skip
        lines = ["| " + " | ".join(head) + " |", "|" + "---|" * 2 + "---:|" * (len(head) - 2)]
        everywhere = collections.Counter()
        for place in sorted(self.counts):
            everywhere.update(self.counts[place])
            lines.append(self._line(*place, self.counts[place], self.tightest.get(place, (0.0, 0.0)), names))
        largest = tuple(max((pair[k] for pair in self.tightest.values()), default=0.0) for k in (0, 1))
        return "\n".join([*lines, self._line("all", "all", everywhere, largest, names)])

    @staticmethod
    def _line(neuron: str, outflow: str, counter: Any, tight: Sequence[float], names: list[str]) -> str:
        cells = [
            neuron, outflow, counter["networks"], *(counter[name] for name in names), counter["refuted"],
            counter["undecided"], counter["followed"], counter["one place"], f"{tight[0]:.9f}", f"{tight[1]:.6f}",
            counter["violations"],
        ]  # fmt: skip
        return "| " + " | ".join(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in cells) + " |"
