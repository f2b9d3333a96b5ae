"""What `attack.py` counts and prints."""

import collections
import statistics
from dataclasses import dataclass, field
from typing import Any

KEPT = 20  # violations of one kind that are saved with all their numbers
VIOLATIONS = (
    "wrong proof", "not settled", "outside its bar", "too early", "lost response", "mates", "left its set"
)  # fmt: skip


@dataclass
class Report:
    seams: collections.Counter = field(default_factory=collections.Counter)
    counts: collections.Counter = field(default_factory=collections.Counter)
    violated: collections.Counter = field(default_factory=collections.Counter)
    ratios: list[float] = field(default_factory=list)
    saved: list[dict[str, Any]] = field(default_factory=list)

    def add(self, other: "Report") -> None:
        for mine, theirs in ((self.seams, other.seams), (self.counts, other.counts), (self.violated, other.violated)):
            mine.update(theirs)
        self.ratios += other.ratios
        kept = collections.Counter(v["what"] for v in self.saved)
        for each in other.saved:
            if kept[each["what"]] < KEPT:
                kept[each["what"]] += 1
                self.saved.append(each)

    @property
    def total(self) -> int:
        return sum(self.seams.values())

    def violations(self, what: str) -> int:
        return sum(count for (_, name), count in self.violated.items() if name == what)

    def table(self) -> str:
        lines = [f"{'':12}{'seams':>12}" + "".join(f"{name:>17}" for name in VIOLATIONS)]
        for kind in sorted(self.seams):
            row = "".join(f"{self.violated[kind, name]:>17,}" for name in VIOLATIONS)
            lines.append(f"{kind:12}{self.seams[kind]:>12,}{row}")
        row = "".join(f"{self.violations(name):>17,}" for name in VIOLATIONS)
        lines.append(f"{'all':12}{self.total:>12,}{row}")
        count = self.counts
        share = count["proved"] / max(count["networks"], 1)
        bars = f"{statistics.median(self.ratios):.3g}" if self.ratios else "no bars"
        lines += [
            "",
            f"{count['networks']:,} networks, {share:.1%} proved; {count['converged']:,} seams converged; "
            f"median of bar / true error {bars} ({count['bars']:,} bars, {count['no bar']:,} infinite or missing)",
            f"{count['unmoved']:,} nudged phases said that their tolerance does not let them move; "
            f"{count['responses']:,} responses were compared with the true ones, "
            f"{count['nothing left']:,} samples had no error left (below the root of the precision)",
            f"not judged: {count['below rounding']:,} seams whose tolerance is below rounding, "
            f"{count['not found']:,} whose equilibrium the judge did not find",
        ]
        return "\n".join(lines)
