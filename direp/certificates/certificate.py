"""A certificate is data: a claim, a verdict, and all that the verdict rests on."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["Certificate", "Verdict"]

Verdict = Literal["proved", "refuted", "undecided"]


@dataclass(frozen=True)
class Certificate:
    """What is claimed of a network and how far that is proved.

    - `claim`: one sentence. `verdict`: `"proved"`, `"refuted"` or `"undecided"`.
    - `criterion`: what decided. `norm`: the norm in which distances shrink.
    - `rate`: distances shrink at least like exp(-rate t) (1/time); for `"undecided"`, the bound that was not positive.
    - `phases`: the rate of every phase that is covered: `"free"`, or the nudge, such as `"beta=+0.5"`.
    - `largest_step`: projected Euler with a step up to this (time) contracts by 1 - step * rate, in every phase.
    - `assumptions`: what must hold for the verdict to. `reason`: why it is not `"proved"`, or empty.
    - `blame`: names of the units that stand in the way.
    """

    claim: str
    verdict: Verdict
    criterion: str
    norm: str
    rate: float
    phases: dict[str, float]
    largest_step: float
    assumptions: tuple[str, ...]
    reason: str = ""
    blame: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.verdict == "proved"

    def __str__(self) -> str:
        if self:
            phases = ", ".join(f"{phase} {rate:.3g}" for phase, rate in self.phases.items())
            return f"proved: {self.claim}, rate {self.rate:.3g} in {self.norm} ({self.criterion}; phases: {phases})"
        return f"{self.verdict}: {self.claim} ({self.criterion}). {self.reason}"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
