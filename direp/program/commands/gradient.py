"""`direp gradient`: every rule against the exact gradient, on the networks and the data of a run."""

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ...runs import plain, write_json
from .. import catalogue, device
from ..folders import fresh_folder, new_folder
from ..settings import WrongUse, help_of, nearest
from ..words import plural
from . import DIVERGED, OK, Output, Stop, first, parse, progress

if TYPE_CHECKING:
    from ...model import Network
    from ..run_folder import LoadedRun

RULES = catalogue.names("rule", without=("adjoint", "safeguard"))  # adjoint is what they are compared with
WHEN = ("auto", "trained", "start")
FEW = 8  # samples of a certificate and of the order in beta


@dataclasses.dataclass(frozen=True)
class Gradient:
    """Compare gradient estimates with the exact gradient on the networks and training data of a run (a folder of direp
    train).

    Rules take strength and kind of nudge from the run unless --beta says otherwise; those marked `(limit)` have a
    centred nudge of 0.001. Everything is settled tightly, in 64 bits.
    """

    output: Output
    rules: Annotated[tuple[str, ...], help_of("rule", "Which rules: ")] = RULES
    samples: int = 64
    """How many training samples, the first ones."""
    beta: float | None = None
    """Nudge strength, instead of the run's."""
    seed_index: int | None = None
    """Only this network of the run, counted from 0."""
    at: str = "auto"
    """trained, start (as training began), or auto: trained, unless no trained network has a gradient left."""
    figures: bool = True
    """Draw the figure."""
    allow_import: bool = False
    """Import the modules of a user's own parts that the run names."""

    def check(self) -> None:
        for rule in self.rules:
            catalogue.check("rule", rule, "--rules")
        if not self.rules:
            raise WrongUse(f"--rules is empty: name one or more of {', '.join(RULES)}")
        if self.at not in WHEN:
            raise WrongUse(nearest("--at", self.at, WHEN))
        if self.samples < 1:
            raise WrongUse(f"--samples {self.samples} is out of range: give 1 or more")
        if self.beta is not None and not (self.beta and abs(self.beta) < float("inf")):
            raise WrongUse(f"--beta {self.beta} is no nudge: give a finite number other than 0, such as 0.1")


def gradient(arguments: list[str]) -> int:
    """The command: exit code 0 if something was measured, 4 if no sample settled in the phases of any rule, 130/143 if
    interrupted (with what was measured until then in the folder)."""
    path, rest = first("gradient", arguments, "the folder of a run, before all options")
    asked = parse("gradient RUN", Gradient, rest, Gradient(Output()))
    asked.check()

    device.configure(double=True)
    import numpy as np

    from ...plot.style import save
    from ..figures.gradient import gradient_figure
    from ..run_folder import open_run
    from ._gradient import means, show

    run = open_run(Path(path or ""), allow_import=asked.allow_import)
    parts, cost = run.parts, run.parts.cost
    chosen = _chosen(asked.seed_index, len(run.networks))
    x, y = (np.asarray(part[: asked.samples], np.float64) for part in (run.task.train.x, run.task.train.y))
    folder = fresh_folder(asked.output.out, run.path / "gradient")
    at, networks, learned = _networks(asked.at, run, chosen, x, y)
    nudge, words = _nudge(run, asked.beta, at)
    count = len(_rules(run, None, asked.rules, nudge))
    each: list[dict[str, Any]] = []
    try:
        with progress("gradient", len(networks) * (2 + 2 * count), asked.output.quiet) as step:
            for k, network, own in zip(chosen, networks, learned, strict=True):
                label = f"seed {parts.seeds[k]}"
                rules = _rules(run, k if at == "trained" else None, asked.rules, nudge, own)
                labelled = lambda what, share=1, label=label: step(f"{label}, {what}", share)  # noqa: E731
                measured = _measure(network, x, y, rules, cost, run, not each, labelled)
                each.append({"network": label, **measured})
    except KeyboardInterrupt:
        if not each:
            raise
    interrupted = len(each) < len(networks)
    document = plain(
        {
            "run": str(run.path), "task": run.task.name, "at": at, "nudge": words, "samples": len(x), **means(each),
            "order": each[0]["order"], "per_seed": each, "folder": str(folder),
            **({"status": "interrupted"} if interrupted else {}),
        }
    )  # fmt: skip
    write_json(new_folder(folder) / "gradient.json", document)
    if asked.figures:
        save(gradient_figure(document), folder / "gradient.png", asked.output.format)
    if asked.output.json:
        print((folder / "gradient.json").read_text(), end="")
    else:
        show(document)
    if interrupted:
        print(f"direp: interrupted; {len(each)} of {plural(len(networks), 'network')} are in {folder}", file=sys.stderr)
        return Stop.code()
    if at == "start" and asked.at == "auto" and not asked.output.quiet:
        print(
            "direp: no trained network has a gradient left on these samples: measured where training began "
            "(--at trained measures them all the same)",
            file=sys.stderr,
        )
    if not document["settled"]:
        print(
            "direp: no sample settled in the phases of any rule; try a smaller nudge, --beta 0.1, or the networks that "
            "training began with, --at start",
            file=sys.stderr,
        )
        return DIVERGED
    return OK


def _chosen(index: int | None, count: int) -> list[int]:
    if index is None:
        return list(range(count))
    if not 0 <= index < count:
        allowed = "1 network: give 0, or" if count == 1 else f"{count} networks: give 0 to {count - 1}, or"
        raise WrongUse(f"--seed-index {index} is not in this run of {allowed} leave it out for all")
    return [index]


def _nudge(run: "LoadedRun", beta: float | None, at: str) -> tuple[Any, dict[str, str]]:
    """The nudge to measure with, and in words that of the run and this one: a nudge that changes from update to update
    is measured as what it is in the mean, and where it is at that time."""
    from ..build import nudge_of

    settings = run.settings
    entry = catalogue.CATALOGUE["nudge"].entries.get(settings.nudge, catalogue.Entry())
    name, strength = entry.measured or settings.nudge, settings.beta
    own, why = f"{settings.nudge} {settings.beta:g}", "the mean over its signs" if entry.measured else ""
    if settings.beta_end is not None:
        own += f", fading to {settings.beta_end:g}"
        if beta is None:
            strength = settings.beta if at == "start" else settings.beta_end
            why = ", ".join(filter(None, [why, f"where training {'began' if at == 'start' else 'ended'}"]))
    strength = strength if beta is None else beta
    chosen = dataclasses.replace(settings, nudge=name, beta_end=None)
    measured = f"{name} {strength:g}" + (f" ({why})" if why else "")
    return nudge_of(chosen, strength, run.parts.updates), {"run": own, "measured": measured}


def _rules(
    run: "LoadedRun", k: int | None, names: tuple[str, ...], nudge: Any, learned: tuple[Any, ...] = ()
) -> dict[str, Any]:
    """The rules to measure, by name; that of the run with what it learned beside network `k`, if one is given. Others
    that send deviations back do so by the same companions: those among `learned`, of the network that is measured."""
    import direp

    from ...rules import by_companions, companions, parameters_of, with_nudge, with_parameters
    from ..build import Parts

    def make(name: str, nudge: Any) -> Any:
        if name == run.settings.rule and k is not None:
            return with_nudge(run.rules[k], nudge)
        parts = Parts(dataclasses.replace(run.settings, rule=name, lift=False), run.task)
        parts.nudge = nudge
        rule, kept = parts.part("rule"), companions(learned)
        fits = len(parameters_of(rule)) == len(kept) and by_companions(rule, run.networks[0])
        return with_parameters(rule, kept) if fits else rule

    found = {}
    for name in names:
        found[name] = make(name, direp.OneSided(nudge.beta) if name == "trajectory" else nudge)
        entry = catalogue.CATALOGUE["rule"].entries.get(name)
        if entry is not None and entry.limit:
            found[f"{name} (limit)"] = make(name, direp.Centred(1e-3))
    return found


def _networks(
    when: str, run: "LoadedRun", chosen: list[int], x: Any, y: Any
) -> tuple[str, list["Network"], list[tuple[Any, ...]]]:
    """Trained ones or those that training began with, in 64 bits; and what the rule had learned beside each."""
    import numpy as np

    from ...analysis import is_flat
    from ...rules import parameters_of

    def wide(networks: list["Network"]) -> list["Network"]:
        return [network.astype(np.float64) for network in networks]

    trained = wide([run.networks[k] for k in chosen])
    flat = when == "auto" and all(is_flat(network, x, y, run.parts.cost) for network in trained)
    if when == "start" or flat:
        networks, learned = zip(*map(run.parts.begun, chosen), strict=True)
        return "start", wide(list(networks)), list(learned)
    return "trained", trained, [parameters_of(run.rules[k]) for k in chosen]


def _measure(
    network: "Network", x: Any, y: Any, rules: dict[str, Any], cost: Any, run: "LoadedRun", order: bool,
    step: Callable[..., None],
) -> dict[str, Any]:  # fmt: skip
    import direp

    from ...analysis import compare_gradients, order_in_beta, state_of

    entries, settings = catalogue.CATALOGUE["rule"].entries, run.settings
    step("rules", 0)
    compared, left_out = compare_gradients(network, x, y, rules, cost=cost)
    step("rules", 1 + len(rules))
    entry: dict[str, Any] = {"rules": {}, "order": {}, "left_out": len(left_out), "used": len(x) - len(left_out)}
    for name, rule in rules.items():
        entry["rules"][name] = compared[name].to_dict()
        about = entries.get(name.removesuffix(" (limit)"))
        if about is not None and about.certificate:
            step(f"certificate of {name}", 0)
            proof = direp.certify_learning(network, x[:FEW], y[:FEW], rule, cost=cost)
            entry["rules"][name]["certificate"] = {
                "verdict": proof.verdict, "criterion": proof.criterion, "scope": proof.scope, "angle": proof.angle,
                "samples": min(FEW, len(x)), "reason": proof.reason,
            }  # fmt: skip
        if order and not name.endswith("(limit)"):
            step(f"order of {name}", 0)
            found = order_in_beta(network, x[:FEW], y[:FEW], rule, cost=cost)
            if found is not None:
                entry["order"][name] = found
        step(name)
    tolerance = settings.tolerance or (1e-5 if settings.precision == "float32" else 1e-9)
    nudged = rules.get("local", direp.Local(settings.beta))
    entry["state"] = state_of(network, x, y, nudged, cost, tolerance)
    step("state")
    return entry
