"""What `direp certify` is to claim: for which inputs, and of which dies."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..settings import WrongUse, share_of

if TYPE_CHECKING:
    from ...certificates.convergence import AbstractCriterion, Certificate, Mismatch


def mismatch_of(
    text: str | None, devices: Any, criteria: Sequence["AbstractCriterion"], certify: Callable[..., "Certificate"]
) -> "Mismatch | None":
    """What dies may differ by: as given, or as far as `certify` proves it of all of them."""
    from ...certificates.convergence import Mismatch, largest_mismatch

    if text is None:
        return None
    share = None if text == "largest" else share_of(text)
    known = [criterion for criterion in criteria if criterion.mismatch]
    if not known:
        raise WrongUse("--mismatch needs a criterion that knows of dies: local, rows, perron, spectral or all of them")
    if share is None:

        def proved(share: float) -> bool:
            return bool(certify(criteria=known, starts=0, mismatch=Mismatch(share, devices)))

        share = largest_mismatch(proved)
    return Mismatch(share, devices)


def inputs_of(asked: Any, x: Any, lost: str | None) -> Any:
    """For which inputs it is to be proved: a box, samples, or `None` for all."""
    import direp

    if asked.input_range is not None:
        return direp.Between(*asked.input_range)
    if asked.inputs == "all":
        return None
    if x is None:
        why = lost or "only a run folder has training samples"
        raise WrongUse(f"--inputs {asked.inputs} needs them: {why}; give --input-range LOW HIGH")
    return x[: asked.samples] if asked.inputs == "data" else direp.Between.hull(x)
