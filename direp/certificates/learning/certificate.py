"""What is proved of a rule's step: a certificate of learning is data, like one of convergence."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...arithmetic import at_least, at_most
from ..convergence import Judged, Verdict, as_data


@dataclass(frozen=True)
class Step:
    """How one condition fared.

    `proved` or `refuted`, or neither where it does not apply or cannot be decided; `scope` is what it would hold for,
    `value` its figure, `note` says why it failed, `blame` lists the free units that stand in the way.
    """

    criterion: str
    scope: str
    proved: bool = False
    refuted: bool = False
    value: float | None = None
    note: str = ""
    blame: tuple[int, ...] = ()

    @property
    def verdict(self) -> Verdict:
        return "proved" if self.proved else "refuted" if self.refuted else "undecided"

    def to_dict(self) -> dict[str, Any]:
        return {
            "criterion": self.criterion, "scope": self.scope, "verdict": self.verdict, "value": self.value,
            "note": self.note,
        }  # fmt: skip


@dataclass(frozen=True)
class SampleVerdict:
    """One sample by itself: whether the step of the batch lowers its own cost, and an enclosure of the cosine between
    the batch's stored gradient and the exact gradient of this sample."""

    index: int
    verdict: Verdict
    cosine: tuple[float, float]


@dataclass(frozen=True, repr=False)
class LearningCertificate(Judged):
    r"""Whether the gradient that a rule returned descends the mean cost of a batch, and how far that is proved.

    - `claim`: a main clause. `verdict`: on the gradient as stored: `"proved"` if its inner product with the exact
      gradient is certainly positive, so that every small enough step lowers the cost; `"refuted"` if it is certainly
      negative; else `"undecided"`.
    - `criterion`: what was run. `scope`: what it is proved for.
    - `cosine`: an enclosure of the cosine between the two gradients; `angle`: an upper bound (degrees).
    - `step_size`: every step $\theta-\eta g$ with $0<\eta\le$ `step_size` lowers the cost; 0 where none is proved.
    - `steps`: how every condition fared, most of them in the limit of a small nudge.
    - `samples`: every sample by itself. `left_out`: the samples that did not settle, which have no part in it.
    - `blame`: units whose incoming synapses, taken together, move against the gradient, worst first; `synapses`: such
      synapses with their share of the inner product.
    - `reason`: why it is not `"proved"`. `assumptions`, `check`: as in [`Certificate`][direp.Certificate].
    """

    claim: str
    verdict: Verdict
    criterion: str
    scope: str
    cosine: tuple[float, float] | None
    steps: tuple[Step, ...]
    samples: tuple[SampleVerdict, ...]
    left_out: tuple[int, ...]
    blame: tuple[str, ...]
    synapses: tuple[tuple[str, str, float], ...]
    assumptions: tuple[str, ...]
    check: str
    reason: str = ""
    step_size: float = 0.0

    def __str__(self) -> str:
        if self:
            angle = "" if self.angle is None else f", at most {at_most(self.angle)} degrees from the gradient"
            return f"{self.sentence}{angle}; {self.reach} ({self.criterion}; {self.scope})"
        return f"{self.sentence} ({self.criterion}). {self.reason}"

    def __repr__(self) -> str:
        angle = f", at most {at_most(self.angle)} degrees" if self and self.angle is not None else ""
        return f"LearningCertificate({self.verdict}{angle}; {self.criterion})"

    @property
    def reach(self) -> str:
        """How far the cost is proved to fall, in words; empty where it is not."""
        if not self:
            return ""
        if not self.step_size:
            return "how far is not proved"
        return f"every step up to eta={at_least(self.step_size)} lowers it"

    @property
    def angle(self) -> float | None:
        """An upper bound on the angle to the exact gradient, in degrees; `None` if it could not be enclosed."""
        if self.cosine is None:
            return None
        angle = np.degrees(np.arccos(np.clip(self.cosine[0], -1, 1)))
        return float(min(angle * (1 + 1e-12) + 1e-12, 180))

    @property
    def proved(self) -> tuple[Step, ...]:
        """The conditions that hold."""
        return tuple(step for step in self.steps if step.proved)

    def to_dict(self) -> dict[str, Any]:
        data = {field.name: as_data(getattr(self, field.name)) for field in dataclasses.fields(self)}
        return {**data, "angle": self.angle, "reach": self.reach}
