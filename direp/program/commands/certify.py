"""`direp certify`: prove that a network settles, refute it with a counter-example, or say what is missing; and whether
the rule of a run descends."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import device
from ..settings import CHOICES, Unreadable, WrongUse, nearest
from . import OK, REFUTED, UNDECIDED, Output, Stop, fresh_folder, parse
from ._learning import certify_rule, learning_rows

if TYPE_CHECKING:
    from ...certificates.convergence import Certificate, Counterexample
    from ...model import Network

__all__ = ["certify"]

CRITERIA = ("all", "local", "rows", "perron", "compartmental", "symmetric", "lmi")


@dataclasses.dataclass(frozen=True)
class Certify:
    """Certify PATH: a run folder, a network file of direp (.safetensors), or a matrix with leaks (.npz).

    A run is certified for the phases it was trained with. The .npz file holds plain arrays: weight (square, from row to
    column; or source, target and strength), leak, and if you like bias and inputs (how many of the first units are
    clamped).
    """

    output: Output
    criterion: str = "all"
    """One criterion instead of the cascade: local, rows, perron, compartmental, symmetric or lmi."""
    nudge: str = "none"
    """For a file: cover the phases of a one-sided or centred nudge of the squared error too."""
    beta: float = 1.0
    """Strength of that nudge."""
    starts: int = 32
    """How many starts at each input the search for a counter-example takes; 0 does not search."""
    seed: int = 0
    """Seed of that search."""
    samples: int = 8
    """How many training samples, the first ones, the certificate of learning covers."""
    neuron: str = "projected"
    """For a matrix: projected, hopfield or rate."""
    activation: str = "hard-sigmoid"
    """For a matrix: hard-sigmoid, sigmoid, tanh, relu or softplus."""
    outflow: str = "none"
    """For a matrix: none, signed or absolute."""
    figures: bool = True
    """Draw the figures."""

    def check(self) -> None:
        allowed = {
            **{name: CHOICES[name] for name in ("neuron", "activation", "outflow")},
            "criterion": CRITERIA,
            "nudge": ("none", *CHOICES["nudge"]),
        }
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                raise WrongUse(nearest(f"--{name}", getattr(self, name), values))
        if self.starts < 0:
            raise WrongUse(f"--starts {self.starts} is out of range: give 0 (no search) or more")
        if self.samples < 1:
            raise WrongUse(f"--samples {self.samples} is out of range: give 1 or more")


@dataclasses.dataclass
class _Subject:
    """What is to be certified: one network, or one for each seed of a run."""

    networks: list["Network"]
    labels: list[str]
    folder: Path
    nudge: Any = None
    cost: Any = None
    x: Any = None
    y: Any = None
    rule: Any = None
    moves_leaks: bool = False
    history: list[dict] | None = None
    counterexample: "Counterexample | None" = None


def certify(arguments: list[str]) -> int:
    """The command: exit code 0 if all networks are proved to settle, 6 if one is refuted, else 5."""
    if not arguments or arguments[0].startswith("-"):
        if not {"-h", "--help"} & set(arguments):
            raise WrongUse("certify needs a path, before all options: a run folder, a .safetensors or an .npz file")
        arguments = ["PATH", *arguments]
    path, rest = Path(arguments[0]), arguments[1:]
    asked = parse("certify PATH", Certify, rest, Certify(Output()))
    asked.check()

    device.start(double=True)
    Stop.install()
    subject = _load(path, asked)
    output = asked.output
    if subject.counterexample is not None:
        return _again(subject, path, output)
    certificates = _certify_all(subject, asked)
    order = {"refuted": 0, "undecided": 1, "proved": 2}
    worst = min(range(len(certificates)), key=lambda k: (order[certificates[k].verdict], certificates[k].rate))
    chosen, network = certificates[worst], subject.networks[worst]
    x, y = (None if part is None else part[: asked.samples] for part in (subject.x, subject.y))
    learning = certify_rule(subject.networks, subject.labels, x, y, subject.rule, subject.cost, output.quiet)
    if subject.moves_leaks and "assumptions" in learning:
        learning["assumptions"].append("the run's control, which moves leaks after each update, has no part in it")
    folder = fresh_folder(output.out, subject.folder)
    document = {
        "run": str(path),
        "convergence": chosen.to_dict(),
        "learning": learning,
        "worst": subject.labels[worst],
        "per_seed": [
            {"network": label, "verdict": c.verdict, "criterion": c.criterion, "rate": c.rate}
            for label, c in zip(subject.labels, certificates, strict=True)
        ],
        "folder": str(folder),
    }
    example = _write(folder, document, chosen, network)
    if asked.figures:
        from ..figures.certificate import save_figures

        save_figures(folder, network, chosen, None if subject.x is None else subject.x[:8], subject.history)
    if output.json:
        print((folder / "certificate.json").read_text(), end="")
    else:
        _show(subject, certificates, learning, worst, folder, example)
    return {"proved": OK, "undecided": UNDECIDED, "refuted": REFUTED}[chosen.verdict]


def _load(path: Path, asked: Certify) -> _Subject:
    import numpy as np

    import direp

    from ..network_file import load_counterexample, load_network, make_neuron, network_from_matrix

    nudges: dict[str, Any] = {"none": lambda beta: None, "one-sided": direp.OneSided, "centred": direp.Centred}
    nudge = nudges[asked.nudge](asked.beta)
    beside = path.with_name(f"{path.stem}-certificate")
    if path.suffix == ".npz":
        network = network_from_matrix(path, make_neuron(asked.neuron, asked.activation, asked.outflow))
        return _Subject([network], [path.name], beside, nudge)
    if path.name == "weights.safetensors" and (path.parent / "config.json").exists():
        path = path.parent
    if path.suffix == ".safetensors":
        return _Subject([load_network(path)], [path.name], beside, nudge, counterexample=load_counterexample(path))
    if not path.is_dir():
        told = "is no run folder, .safetensors or .npz file" if path.exists() else "does not exist"
        raise Unreadable(f"{path} {told}")

    from ...rules import phases_of
    from ..run_folder import load_run

    settings, networks = load_run(path)
    built = settings.build(task := settings.load_task())
    lines = (path / "metrics.jsonl").read_text().splitlines() if (path / "metrics.jsonl").exists() else []
    return _Subject(
        networks,
        [f"seed {seed}" for seed in built["seeds"][: len(networks)]],
        path / "certificate",
        phases_of(built["rule"], networks[0]).nudges,
        built["cost"],
        np.asarray(task.train.x),
        np.asarray(task.train.y),
        built["rule"],
        built["control"] is not None and settings.control == "leak",
        [json.loads(line) for line in lines] or None,
    )


def _certify_all(subject: _Subject, asked: Certify) -> list["Certificate"]:
    from rich.console import Console
    from rich.progress import track

    import direp

    from ...certificates.convergence import CASCADE

    chosen = {
        "local": direp.LocalLeak, "rows": direp.Rows, "perron": direp.Perron, "lmi": direp.LMI,
        "compartmental": direp.Compartmental, "symmetric": direp.Symmetric,
    }  # fmt: skip
    criteria = CASCADE if asked.criterion == "all" else (chosen[asked.criterion](),)
    x = None if subject.x is None else subject.x[:8]
    quiet = asked.output.quiet or len(subject.networks) == 1
    console = Console(file=sys.stderr)
    return [
        direp.certify(
            network, nudge=subject.nudge, cost=subject.cost, criteria=criteria, x=x, starts=asked.starts,
            seed=asked.seed,
        )
        for network in track(subject.networks, "certify", console=console, disable=quiet)
    ]  # fmt: skip


def _write(folder: Path, document: dict, certificate: "Certificate", network: "Network") -> Path | None:
    from ..network_file import save_network
    from ..run_folder import plain

    (folder / "certificate.json").write_text(json.dumps(plain(document), indent=2) + "\n")
    if certificate.counterexample is None:
        return None
    path = folder / "counterexample.safetensors"
    save_network(path, network, certificate.counterexample)
    return path


def _show(
    subject: _Subject, certificates: list, learning: dict, worst: int, folder: Path, example: Path | None
) -> None:
    """A few lines for people, on standard output."""
    certificate, network = certificates[worst], subject.networks[worst]
    graph, neuron = network.graph, network.neuron
    activations = {a.name for a in (neuron.transfer, neuron.rate)} - {"identity"}
    activation = f" ({', '.join(sorted(activations)) or 'identity'})" if not neuron.bounded else ""
    rows = [
        (
            "network",
            f"{graph.inputs} inputs, {graph.hidden} hidden, {graph.outputs} outputs, {graph.synapses} synapses; "
            f"{type(neuron).__name__}{activation}, {neuron.outflow.name if neuron.outflow.active else 'no'} outflow",
        )
    ]
    if len(certificates) > 1:
        counts = [f"{sum(c.verdict == v for c in certificates)} {v}" for v in ("proved", "undecided", "refuted")]
        rows.append(("seeds", f"{', '.join(counts)}; the worst, {subject.labels[worst]}:"))
    rows.append(("verdict", certificate.sentence))
    if certificate:
        phases = ", ".join(f"{rate:.3g} ({name})" for name, rate in certificate.phases.items())
        rows += [
            (
                "criterion",
                f"{certificate.criterion}, in {certificate.norm}"
                + (
                    " (--criterion perron gives the sharpest rate)"
                    if certificate.criterion in ("local leak", "rows")
                    else ""
                ),
            ),
            ("rate", f"{phases}, 1/time: distances shrink like exp(-rate t)"),
            (
                "steps",
                f"Euler steps up to {certificate.largest_step:.3g} contract; {certificate.steps(0.1)} of them for "
                "each digit of accuracy",
            ),
            ("checked", certificate.check),
            ("assuming", "; ".join(certificate.assumptions)),
        ]
    else:
        rows.append(("reason", certificate.reason))
        if certificate.blame:
            rows.append(("blame", ", ".join(certificate.blame[:10]) + (" ..." if len(certificate.blame) > 10 else "")))
    for k, attempt in enumerate(certificate.attempts):
        told = f"proved, rate {attempt.rate:.3g}" if attempt.proof is not None else attempt.note
        rows.append(("tried" if k == 0 else "", f"{attempt.criterion}: {told}"))
    if example is not None:
        rows.append(("file", f"{example}; direp certify {example} proves it again"))
    rows += [*learning_rows(learning), ("folder", str(folder))]
    for name, text in rows:
        print(f"{name:<11}  {text}")


def _again(subject: _Subject, path: Path, output: Output) -> int:
    """A counter-example in a file: prove it again, and settle from its states."""
    import numpy as np

    import direp

    from ...settling import RESULTS

    example, network = subject.counterexample, subject.networks[0]
    assert example is not None
    holds = example.check(network)
    settled = direp.settle(network, np.repeat(example.x[None], len(example.states), 0), state=example.states)
    ends = np.asarray(settled.state)
    verdict = "refuted" if holds else "undecided"
    reason = f"Proved again: {example}." if holds else "The counter-example in the file could not be proved."
    if output.json:
        document = {
            "run": str(path),
            "convergence": {
                "verdict": verdict, "criterion": example.kind, "reason": reason, "x": example.x.tolist(),
                "states": example.states.tolist(), "ends": ends.tolist(),
            },
        }  # fmt: skip
        print(json.dumps(document, indent=2))
    else:
        print(f"verdict      {verdict}: {reason}")
        with np.printoptions(precision=4, suppress=True, threshold=12):
            print(f"input        {example.x}")
            for state, end, result in zip(example.states, ends, np.asarray(settled.result), strict=True):
                said = RESULTS[int(result)].split(":")[0]
                print(f"state        {state}\n  settles    {end} ({said})")
    return REFUTED if holds else UNDECIDED
