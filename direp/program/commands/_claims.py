"""What `direp certify` is to claim: for which inputs, and of which dies."""

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

from ..settings import WrongUse, share_of

if TYPE_CHECKING:
    from pathlib import Path

    from ...certificates import Slopes
    from ...certificates.convergence import AbstractCriterion, Certificate, Mismatch
    from ...model import Network


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


def check_effect(asked: Any, used: Collection[str], path: "Path", **why: str) -> None:
    """Refuse an option that changes nothing about what is certified: the verdict would seem to be of that."""
    why = {"beta": "it is the strength of a nudge: give --nudge too, such as --nudge one-sided", **why}
    for name in ("neuron", "activation", "outflow", "leak", "nudge", "beta"):
        if name not in used and (value := getattr(asked, name)) != getattr(type(asked), name):
            raise WrongUse(f"--{name} {value}: {why.get(name, f'{path.name} has its own: leave it out')}")


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


def slopes_of(asked: Any, path: "Path", network: "Network", folded: str | None) -> "Slopes | None":
    """Slopes of every unit of a matrix or a connectome, from the file itself or beside it; `None` where there are
    none. `folded`: that synapses from a unit to itself are in its leak, if any are."""
    from ...certificates import Slopes
    from ..matrix_file import slopes_of_matrix
    from ..slopes_file import read_slopes

    inside = slopes_of_matrix(path) if path.suffix == ".npz" else None
    if inside is None and asked.slopes is None:
        return None
    if inside is not None and asked.slopes is not None:
        raise WrongUse(f"--slopes {asked.slopes}: {path.name} holds slopes itself: leave one of them out")
    if inside is not None:
        found = Slopes(inside, f"slopes of {path.name}")
    else:
        found = read_slopes(str(asked.slopes), network.graph.names[network.graph.inputs :])
    given = "--slopes" if inside is None else f"the slopes of {path.name}"
    if asked.activation is not None:
        raise WrongUse(f"--activation {asked.activation} has slopes of its own, and {given} are others: leave one out")
    if asked.inputs != "all" or asked.input_range is not None:
        raise WrongUse(f"--inputs and --input-range find slopes from an activation: leave them or {given} out")
    if folded is not None and (found.bounds != 1).any():
        raise WrongUse(
            f"{path.name}: {folded}; where slopes are not 1 that is another network: leave these synapses out"
        )
    return found.of(network)
