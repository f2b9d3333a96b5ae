"""What an examination answers."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...runs import plain


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a run.

    - `name`: of the symptom, as in the catalogue. `cause`: in one sentence.
    - `evidence`: what was measured, of how many samples and seeds; `measured`: its numbers.
    - `remedies`: what to try, the likeliest first, as commands or options.
    """

    name: str
    cause: str
    evidence: str
    remedies: tuple[str, ...]
    measured: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        tried = "".join(f"\n  try       {remedy}" for remedy in self.remedies)
        return f"{self.name}: {self.cause}\n  measured  {self.evidence}{tried}"


@dataclass(frozen=True)
class Diagnosis:
    """What was found wrong with a run, the root first.

    - `run`: its folder, or the name of its task. `outcome`: how well it does, in words.
    - `findings`: the first is the root; others may follow from it.
    - `looked_at`: what was measured. `skipped`: symptoms that were not looked for, each with why.
    - `missing`: what could not be read, and so was not looked at.
    """

    run: str
    outcome: str
    findings: tuple[Finding, ...]
    looked_at: tuple[str, ...]
    skipped: dict[str, str] = dataclasses.field(default_factory=dict)
    missing: tuple[str, ...] = ()

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong with what could be looked at."""
        return not self.findings

    @property
    def cause(self) -> str | None:
        """The name of the root; `None` where nothing was found."""
        return self.findings[0].name if self.findings else None

    def named(self, *names: str) -> bool:
        """Whether one of these symptoms was found."""
        return any(finding.name in names for finding in self.findings)

    def __str__(self) -> str:
        lines = [f"{self.run}: {self.outcome}"] if self.outcome else [self.run]
        lines += [f"{k}. {finding}" for k, finding in enumerate(self.findings, 1)]
        lines += [f"not looked for: {names} ({why})" for why, names in _by_reason(self.skipped).items()]
        seen = f"looked at {spoken(self.looked_at)}" if self.looked_at else "nothing could be looked at"
        fine = "nothing found wrong" + (" in what can be read" if self.missing else "")
        return "\n".join([*lines, seen if self.findings else f"{fine}; {seen}"])

    def to_dict(self) -> dict[str, Any]:
        return plain({**dataclasses.asdict(self), "healthy": self.healthy, "cause": self.cause})


def spoken(parts: Sequence[str]) -> str:
    """A list in words, whose parts may have commas."""
    return "; ".join(parts)


def _by_reason(skipped: dict[str, str]) -> dict[str, str]:
    reasons: dict[str, list[str]] = {}
    for name, why in skipped.items():
        reasons.setdefault(why, []).append(name)
    return {why: ", ".join(names) for why, names in reasons.items()}
