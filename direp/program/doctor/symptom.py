"""The interface of every symptom."""

from abc import ABC, abstractmethod
from typing import ClassVar

from .examination import Examination
from .finding import Finding


class AbstractSymptom(ABC):
    """One thing that may be wrong with a run. A new one is a class with these two or three lines, and a line in the
    catalogue, whose order is that of causes: what comes first may cause what follows.

    - `needs`: what must be there for it: `"folder"` (a run folder), `"history"` (figures of epochs), `"networks"`, or
      `"start"` (also the networks as training began, and the settings).
    - `hides`: symptoms whose measurements mean nothing where this one is found; they are not looked for then.
    """

    needs: ClassVar[str] = "networks"
    hides: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def look(self, run: Examination) -> Finding | None:
        """What was found; `None` where nothing is wrong. It asks `run` for measurements, which are made once."""
