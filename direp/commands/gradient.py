"""`direp gradient`: every rule against the exact gradient, on the networks and the data of a run."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from ..config import CHOICES, WrongUse, nearest
from . import DIVERGED, OK, Output, fresh_folder, parse

__all__ = ["gradient"]

RULES = tuple(name for name in CHOICES["rule"] if name not in ("adjoint", "safeguard"))


@dataclasses.dataclass(frozen=True)
class Gradient:
    """Hold rules against the exact gradient on the networks and training data of a run (a folder of direp train).

    The run's own rule is measured as it was trained, and `local (limit)` with a nudge of 0.001; the others take the
    strength and kind of nudge of the run unless --beta says otherwise.
    """

    output: Output
    rules: tuple[str, ...] = RULES
    """Which rules: local, trajectory, vector-field, symmetric-ep, asym-ep, dyadic, bptt."""
    samples: int = 64
    """How many training samples, the first ones."""
    beta: float | None = None
    """Nudge strength, instead of the run's."""
    figures: bool = True
    """Draw the figure."""

    def check(self) -> None:
        for rule in self.rules:
            if rule not in RULES:
                raise WrongUse(nearest("--rules", rule, RULES))
        if not self.rules:
            raise WrongUse(f"--rules is empty: name one or more of {', '.join(RULES)}")
        if self.samples < 1:
            raise WrongUse(f"--samples {self.samples} is out of range: give 1 or more")
        if self.beta is not None and not (self.beta and abs(self.beta) < float("inf")):
            raise WrongUse(f"--beta {self.beta} is no nudge: give a finite number other than 0, such as 0.1")


def gradient(arguments: list[str]) -> int:
    """The command: exit code 0 if something was measured, 4 if no sample settled in the phases of any rule."""
    if not arguments or arguments[0].startswith("-"):
        if not {"-h", "--help"} & set(arguments):
            raise WrongUse("gradient needs the folder of a run, before all options")
        arguments = ["RUN", *arguments]
    path, rest = Path(arguments[0]), arguments[1:]
    asked = parse("gradient RUN", Gradient, rest, Gradient(Output()))
    asked.check()

    import jax

    jax.config.update("jax_enable_x64", True)
    import numpy as np
    from rich.console import Console
    from rich.progress import track

    from ..record import load_run, plain

    settings, networks = load_run(path)
    task = settings.load_task()
    built = settings.build(task)
    x, y = (np.asarray(part[: asked.samples], np.float64) for part in (task.train.x, task.train.y))
    rules = _rules(settings, asked, built["rule"])
    console = Console(file=sys.stderr)
    folder = fresh_folder(asked.output.out, path / "gradient")
    labels = [f"seed {seed}" for seed in built["seeds"][: len(networks)]]
    quiet = asked.output.quiet
    each = [
        _measure(network, x, y, rules, built["cost"], order=k == 0)
        for k, network in enumerate(track(networks, "gradient", console=console, disable=quiet))
    ]
    document = {
        "run": str(path), "task": task.name, "samples": len(x),
        "rules": _means(each), "state": each[0]["state"], "order": each[0]["order"],
        "per_seed": [{"network": label, **entry} for label, entry in zip(labels, each, strict=True)],
        "folder": str(folder),
    }  # fmt: skip
    (folder / "gradient.json").write_text(json.dumps(plain(document), indent=2) + "\n")
    if asked.figures:
        from ..plot_gradient import gradient_figure

        gradient_figure(plain(document)).savefig(folder / "gradient.png", dpi=130)
    if asked.output.json:
        print((folder / "gradient.json").read_text(), end="")
    else:
        _show(document)
    if all(entry["left_out"] == len(x) for entry in document["rules"].values()):
        print("direp: no sample settled in the phases of any rule; try --beta below the run's", file=sys.stderr)
        return DIVERGED
    return OK


def _rules(settings: Any, asked: Gradient, own: Any) -> dict[str, Any]:
    """The rules to measure, by name; those that the network cannot have are refused by name."""
    import direp

    beta = settings.beta if asked.beta is None else asked.beta
    kind = direp.Centred if settings.nudge == "centred" else direp.OneSided
    nudge = kind(beta)
    makers = {
        "local": lambda: direp.Local(nudge), "trajectory": lambda: direp.Trajectory(direp.OneSided(beta)),
        "vector-field": lambda: direp.VectorField(nudge), "symmetric-ep": lambda: direp.SymmetricEP(nudge),
        "asym-ep": lambda: direp.AsymEP(nudge), "dyadic": direp.Dyadic, "bptt": direp.BPTT,
    }  # fmt: skip
    found = {name: makers[name]() for name in asked.rules}
    if "local" in found:
        found = {"local": found.pop("local"), "local (limit)": direp.Local(direp.Centred(1e-3)), **found}
    if "asym-ep" in found:
        found["asym-ep (limit)"] = direp.AsymEP(direp.Centred(1e-3))
    if asked.beta is None and isinstance(own, direp.Local) and "local" in found:
        found["local"] = own if not isinstance(own.nudge, direp.Fading | direp.RandomSign) else found["local"]
    return found


def _measure(network: Any, x: Any, y: Any, rules: dict[str, Any], cost: Any, order: bool) -> dict[str, Any]:
    import jax
    import jax.numpy as jnp

    import direp
    from direp.measure import compare_gradients, order_in_beta, state_of

    network = network.replace(jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), network.parameters))
    compared, left_out = compare_gradients(network, x, y, rules, cost=cost)
    entry: dict[str, Any] = {"rules": {}, "order": {}}
    few = slice(0, 8)
    for name, rule in rules.items():
        entry["rules"][name] = {**compared[name].to_dict(), "left_out": len(left_out[name])}
        if isinstance(rule, direp.Local | direp.Dyadic):
            said = direp.certify_learning(network, x[few], y[few], rule, cost=cost)
            entry["rules"][name]["certificate"] = {
                "verdict": said.verdict, "criterion": said.criterion, "scope": said.scope, "angle": said.angle,
                "samples": len(x[few]), "reason": said.reason,
            }  # fmt: skip
        found = order_in_beta(network, x[few], y[few], rule, cost=cost) if order and "limit" not in name else None
        if found is not None:
            entry["order"][name] = found
    local = rules.get("local")
    entry["state"] = state_of(network, x, y, local if local is not None else direp.Local(0.1), cost)
    return entry


def _means(each: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over seeds, with the lowest and the highest cosine."""
    import numpy as np

    found = {}
    for name in each[0]["rules"]:
        entries = [entry["rules"][name] for entry in each]
        figures = ("cosine", "relative_error", "norm_ratio", "angle")
        table = {figure: np.array([entry[figure] for entry in entries], float) for figure in figures}
        known = {figure: values[np.isfinite(values)] for figure, values in table.items()}
        found[name] = {figure: float(values.mean()) if len(values) else None for figure, values in known.items()}
        cosines = known["cosine"]
        found[name]["cosine_range"] = [float(cosines.min()), float(cosines.max())] if len(cosines) else None
        found[name]["left_out"] = max(entry["left_out"] for entry in entries)
        found[name]["descends"] = f"{int((cosines > 0).sum())} of {len(entries)}"
        parts = [entry["groups"] for entry in entries]
        found[name]["groups"] = {
            group: {"cosine": _mean([part[group]["cosine"] for part in parts])} for group in parts[0]
        }
        if "certificate" in entries[0]:
            found[name]["certificate"] = _worst([entry["certificate"] for entry in entries])
    return found


def _worst(certificates: list[dict[str, Any]]) -> dict[str, Any]:
    order = {"refuted": 0, "undecided": 1, "proved": 2}
    return min(certificates, key=lambda c: (order[c["verdict"]], -(180.0 if c["angle"] is None else c["angle"])))


def _mean(values: list[float]) -> float | None:
    import numpy as np

    known = np.array(values, float)
    known = known[np.isfinite(known)]
    return float(known.mean()) if len(known) else None


def _show(document: dict[str, Any]) -> None:
    """A table for people, on standard output."""
    seeds = len(document["per_seed"])
    networks = f"means over {seeds} networks, their worst certificates" if seeds > 1 else "one network"
    print(f"{document['task']}: {document['samples']} training samples; {networks}")
    head = f"{'rule':<18} {'cosine':>8} {'angle':>7} {'error':>9} {'norm':>8}  {'descends':<9}"
    print(f"{head} certificate (up to 8 samples)")
    for name, entry in document["rules"].items():
        if entry["cosine"] is None:
            lost = entry["left_out"] == document["samples"]
            print(f"{name:<18} {'no sample settled' if lost else 'the exact gradient is zero'}")
            continue
        proof = entry.get("certificate")
        told = "" if proof is None else proof["verdict"] + (
            f", at most {proof['angle']:.3g} degrees" if proof["verdict"] == "proved" else ""
        )  # fmt: skip
        print(
            f"{name:<18} {entry['cosine']:>8.4f} {entry['angle']:>7.2f} {entry['relative_error']:>9.2e} "
            f"{entry['norm_ratio']:>8.3g}  {entry['descends']:<9} {told}"
            + (f"; {entry['left_out']} samples left out (unsettled)" if entry["left_out"] else "")
        )
    state = document["state"]
    for name, order in document["order"].items():
        slopes = ", ".join(
            f"{kind} {order[kind]['order']:.2f}" if order[kind]["order"] == order[kind]["order"] else f"{kind} no error"
            for kind in ("one-sided", "centred")
        )
        print(f"order in beta      {name}, against the {order['against']}: {slopes}")
    sizes = ", ".join(f"{group} {size:.3g}" for group, size in state["rms_weight"].items())
    print(f"weights (rms)      {sizes}")
    print(
        f"responses (mean)   hidden {state['mean_response_hidden']:.2g}, outputs {state['mean_response_outputs']:.2g}; "
        f"units without gradient: hidden {state['without_gradient_hidden']:.1%}, outputs "
        f"{state['without_gradient_outputs']:.1%}"
    )
    print(f"folder             {document['folder']}")
