"""`direp gradient`: every rule against the exact gradient, on the networks and the data of a run."""

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import device
from ..settings import CHOICES, Settings, WrongUse, nearest
from . import DIVERGED, OK, Output, Stop, fresh_folder, parse

if TYPE_CHECKING:
    from ...model import Network

__all__ = ["gradient"]

RULES = tuple(name for name in CHOICES["rule"] if name not in ("adjoint", "safeguard"))
WHEN = ("auto", "trained", "start")
FEW = 8  # samples of a certificate and of the order in beta


@dataclasses.dataclass(frozen=True)
class Gradient:
    """Hold rules against the exact gradient on the networks and training data of a run (a folder of direp train).

    Rules take strength and kind of nudge from the run unless --beta says otherwise; those marked `(limit)` have a
    centred nudge of 0.001. Everything is settled tightly, in 64 bits.
    """

    output: Output
    rules: tuple[str, ...] = RULES
    """Which rules: local, trajectory, vector-field, symmetric-ep, asym-ep, dyadic, bptt."""
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

    def check(self) -> None:
        for rule in self.rules:
            if rule not in RULES:
                raise WrongUse(nearest("--rules", rule, RULES))
        if not self.rules:
            raise WrongUse(f"--rules is empty: name one or more of {', '.join(RULES)}")
        if self.at not in WHEN:
            raise WrongUse(nearest("--at", self.at, WHEN))
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

    device.start(double=True)
    import numpy as np

    from ..run_folder import load_run, plain
    from ._gradient import means, show

    Stop.install()
    settings, trained = load_run(path)
    chosen = _chosen(asked.seed_index, len(trained))
    task = settings.load_task()
    built = settings.build(task)
    x, y = (np.asarray(part[: asked.samples], np.float64) for part in (task.train.x, task.train.y))
    rules = _rules(settings, asked)
    folder = fresh_folder(asked.output.out, path / "gradient")
    at, networks = _networks(asked.at, [trained[k] for k in chosen], lambda: _start(built, chosen), x, y, built["cost"])
    labels = [f"seed {built['seeds'][k]}" for k in chosen]
    each = _measure_all(networks, labels, x, y, rules, built["cost"], settings, asked.output.quiet)
    document = plain(
        {
            "run": str(path), "task": task.name, "at": at, "samples": len(x), **means(each),
            "order": each[0]["order"], "per_seed": each, "folder": str(folder),
        }
    )  # fmt: skip
    (folder / "gradient.json").write_text(json.dumps(document, indent=2) + "\n")
    if asked.figures:
        from ..figures.gradient import gradient_figure

        gradient_figure(document).savefig(folder / "gradient.png", dpi=130)
    if asked.output.json:
        print((folder / "gradient.json").read_text(), end="")
    else:
        show(document)
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


def _rules(settings: Settings, asked: Gradient) -> dict[str, Any]:
    """The rules to measure, by name."""
    import direp

    beta = settings.beta if asked.beta is None else asked.beta
    nudge = (direp.Centred if settings.nudge == "centred" else direp.OneSided)(beta)
    small = direp.Centred(1e-3)
    makers = {
        "local": lambda: direp.Local(nudge), "trajectory": lambda: direp.Trajectory(direp.OneSided(beta)),
        "vector-field": lambda: direp.VectorField(nudge), "symmetric-ep": lambda: direp.SymmetricEP(nudge),
        "asym-ep": lambda: direp.AsymEP(nudge), "dyadic": direp.Dyadic, "bptt": direp.BPTT,
    }  # fmt: skip
    limits = {"local": direp.Local, "asym-ep": direp.AsymEP}
    found = {}
    for name in asked.rules:
        found[name] = makers[name]()
        if name in limits:
            found[f"{name} (limit)"] = limits[name](small)
    return found


def _start(built: dict[str, Any], chosen: list[int]) -> list["Network"]:
    """The networks as training began: from their seeds, with what the guarantee and the control make of them."""
    networks = [built["network"][k] for k in chosen]
    for part in (built["guarantee"], built["control"]):
        networks = networks if part is None else [part.begin(network) for network in networks]
    return networks


def _networks(
    when: str, trained: list["Network"], start: Callable[[], list["Network"]], x: Any, y: Any, cost: Any
) -> tuple[str, list["Network"]]:
    """Trained ones or those that training began with, in 64 bits."""
    import jax
    import jax.numpy as jnp

    from ...analysis import is_flat

    def wide(networks: list["Network"]) -> list["Network"]:
        return [n.replace(jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), n.parameters)) for n in networks]

    trained = wide(trained)
    if when == "start" or (when == "auto" and all(is_flat(network, x, y, cost) for network in trained)):
        return "start", wide(start())
    return "trained", trained


def _measure_all(
    networks: list["Network"], labels: list[str], x: Any, y: Any, rules: dict[str, Any], cost: Any,
    settings: Settings, quiet: bool,
) -> list[dict[str, Any]]:  # fmt: skip
    """The figures of every network, with a bar on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=18), TimeElapsedColumn(), TextColumn("eta"))
    console = Console(file=sys.stderr, width=None if sys.stderr.isatty() else 120)
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=quiet) as bar:
        row = bar.add_task("gradient", total=len(networks) * (2 + 2 * len(rules)))
        each = []
        for k, (network, label) in enumerate(zip(networks, labels, strict=True)):

            def step(what: str, weight: int = 1, label: str = label) -> None:
                bar.update(row, description=f"{label}, {what}", advance=weight)

            each.append({"network": label, **_measure(network, x, y, rules, cost, settings, k == 0, step)})
    return each


def _measure(
    network: "Network", x: Any, y: Any, rules: dict[str, Any], cost: Any, settings: Settings, order: bool,
    step: Callable[..., None],
) -> dict[str, Any]:  # fmt: skip
    import direp

    from ...analysis import compare_gradients, order_in_beta, state_of

    step("rules", 0)
    compared, left_out = compare_gradients(network, x, y, rules, cost=cost)
    step("rules", 1 + len(rules))
    entry: dict[str, Any] = {"rules": {}, "order": {}, "left_out": len(left_out), "used": len(x) - len(left_out)}
    for name, rule in rules.items():
        entry["rules"][name] = compared[name].to_dict()
        if isinstance(rule, direp.Local | direp.Dyadic):
            step(f"certificate of {name}", 0)
            said = direp.certify_learning(network, x[:FEW], y[:FEW], rule, cost=cost)
            entry["rules"][name]["certificate"] = {
                "verdict": said.verdict, "criterion": said.criterion, "scope": said.scope, "angle": said.angle,
                "samples": min(FEW, len(x)), "reason": said.reason,
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
