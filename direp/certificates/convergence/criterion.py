"""The interface of every criterion: what proves, from the weights alone, that a network contracts."""

from abc import abstractmethod
from typing import ClassVar

import equinox as eqx
import numpy as np

from .certificate import Attempt
from .system import System


class AbstractCriterion(eqx.Module):
    """A sufficient condition for contraction. A new one is a class with a name and this method."""

    name: eqx.AbstractClassVar[str]
    mismatch: ClassVar[bool] = False
    """Whether it reads of a system what its dies may differ by: nothing is proved of them otherwise."""

    @abstractmethod
    def attempt(self, system: System) -> Attempt:
        """Try to prove that every phase of a system contracts. A proof must survive rounding."""

    def proposals(self, system: System) -> list[tuple[np.ndarray, bool]]:
        """Weights of diagonal norms to try where only the sizes of the Jacobian's entries are known, each with whether
        they are for rows; none for criteria in other norms."""
        return []
