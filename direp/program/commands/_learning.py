"""The part of `direp certify` that asks whether the rule of a run descends."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ...model import Network
    from ..run_folder import LoadedRun

from ..words import plural
from . import VERDICTS, progress, worst


def certify_rule(
    networks: list["Network"],
    labels: list[str],
    x: Any,
    y: Any,
    rules: Any,
    how: dict[str, Any],
    quiet: bool,
    lost: str | None = None,
) -> dict:
    """The JSON of all networks together: the worst verdict, and how many have which. `how`: more arguments of
    `certify_learning`; `lost`: why there is no data of the run."""
    import direp

    if x is None or rules is None:
        return {
            "verdict": "undecided", "criterion": None,
            "reason": lost or "a rule descends on data: certify the folder of a run, which names both",
        }  # fmt: skip
    found = []
    try:
        with progress("certify learning", len(networks), quiet) as step:
            for network, rule in zip(networks, rules, strict=True):
                found.append(direp.certify_learning(network, x, y, rule, **how))
                step()
    except ValueError as error:
        return {"verdict": "undecided", "criterion": None, "reason": str(error)}
    k = worst(found, lambda c: c.verdict, lambda c: (c.cosine or (-1.0,))[0])
    counts = {verdict: sum(c.verdict == verdict for c in found) for verdict in VERDICTS}
    document = {**found[k].to_dict(), "sentence": found[k].sentence}
    return {**document, "network": labels[k], "count": len(x), "counts": counts}


def how_trained(run: "LoadedRun") -> dict[str, Any]:
    """How a run makes and takes its steps, as arguments of `certify_learning`: that of its last update."""
    import jax

    given, settings = run.parts.fit(), run.settings
    extras = {
        "sign_only": "of the sign of the gradient", "decay": "with weight decay", "shrink": "with shrinkage",
        "prune": "with pruning", "learn_leak": "with learned leaks", "outputs_only": "of the outputs alone",
        "dale": "with signs that are kept", "fixed": "with synapses that stay",
        "weight_bounds": "with weights that are clipped",
    }  # fmt: skip
    momentum = [f"with momentum {settings.momentum:g}"] if settings.optimiser == "sgd" and settings.momentum else []
    more = momentum + [text for name, text in extras.items() if getattr(settings, name)]
    constraint = given["control"] if given["guarantee"] is None else given["guarantee"]
    batches = -(-len(run.task.train.x) // (settings.batch_size or len(run.task.train.x)))
    return {
        "cost": given["cost"], "method": given["method"], "stop": given["stop"], "control": constraint,
        "optimiser": " ".join([settings.optimiser, *more]), "key": jax.random.key(0),
        "update": max(settings.epochs * batches - 1, 0),
    }  # fmt: skip


def learning_rows(learning: dict[str, Any]) -> list[tuple[str, str]]:
    """Lines for people."""
    from ...arithmetic import at_most

    if learning.get("criterion") is None:
        return [("learning", f"{learning['verdict']}: {learning['reason']}")]
    rows = [("learning", learning["sentence"])]
    counts = learning["counts"]
    if sum(counts.values()) > 1:
        shown = ", ".join(f"{n} {verdict}" for verdict, n in counts.items() if n)
        rows[0] = ("learning", f"{shown}; the worst, {learning['network']}: {rows[0][1]}")
    rows.append(
        ("", f"the first {plural(learning['count'], 'training sample')}; {learning['criterion']}; {learning['scope']}")
    )
    if learning["angle"] is not None and learning["angle"] < 180:  # any angle is at most that
        rows.append(("angle", f"{at_most(learning['angle'], 4)} degrees from the exact gradient, at most"))
    if learning["verdict"] == "proved":
        rows.append(("step size", learning["reach"]))
    if learning["reason"]:
        rows.append(("reason", learning["reason"]))
    rows += [("" if n else "assuming", sentence) for n, sentence in enumerate(learning["assumptions"])]
    if learning["blame"]:
        rows.append(("against it", ", ".join(learning["blame"][:10])))
    for k, step in enumerate(learning["steps"]):
        says = _SAYS.get(step["criterion"][:2])
        named = step["criterion"] + (f" ({says})" if says else "")
        note = f"; {step['note']}" if step["note"] else ""
        rows.append(("" if k else "conditions", f"{named}: {step['verdict']}{note}"))
    return rows


_SAYS = {
    "T1": "a sample's cost falls, whatever unit errs", "T2": "how far the rule's signal is from the gradient's",
    "T3": "the cost falls, whatever the targets of these inputs", "T4": "leaks outweigh asymmetry; implies T1",
    "T5": "no synapse moves the wrong way, however strong the nudge",
    "T6": "synapses learn positive multiples of their gradient",
}  # fmt: skip
