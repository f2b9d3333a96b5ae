"""`direp certify`: prove that a network settles, refute it with a counter-example, or say what is missing; and whether
the rule of a run descends."""

import dataclasses
import functools
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from ...runs import Unreadable, plain, quoted, reading, write_json
from .. import catalogue, device
from ..folders import fresh_folder, new_folder
from ..graph_file import is_graph_file, network_from_graph_file
from ..parts import build
from ..settings import WrongUse, help_of, share_of
from ..words import spoken
from . import OK, REFUTED, UNDECIDED, VERDICTS, Output, first, parse, progress, worst
from ._claims import check_effect, inputs_of, mismatch_of, slopes_of
from ._learning import certify_rule, how_trained, learning_rows

if TYPE_CHECKING:
    from ...certificates import Slopes
    from ...certificates.convergence import Certificate, Counterexample
    from ...model import Network
    from ...rules import RuleRun


@dataclasses.dataclass(frozen=True)
class Certify:
    """Certify PATH: a run folder, a network file of direp (.safetensors), a matrix with leaks (.npz), or a connectome
    (.graphml, .csv).

    A run is certified for the phases it was trained with. The .npz file holds plain arrays: weight (square, from row to
    column; or source, target and strength), leak, and if you like bias, inputs (how many of the first units are
    clamped), outputs (how many of the last a nudge acts on) and slopes (as --slopes). A connectome without roles of
    units is driven by a current into every unit.
    """

    output: Output
    criterion: Annotated[str, help_of("criterion", "One criterion instead of all of them in turn: ")] = "all"
    nudge: Annotated[
        str, help_of("nudge", "For a file, cover the phases of a nudge of the squared error too: none, ")
    ] = "none"
    beta: float = 1.0
    """Strength of that nudge."""
    starts: int = 32
    """How many starts at each input the search for a counter-example takes; 0 does not search."""
    seed: int = 0
    """Seed of that search."""
    samples: int = 8
    """How many training samples, the first ones, the certificate of learning covers, and --inputs data."""
    inputs: Literal["all", "data", "box"] = "all"
    """Settling for which inputs, in the free phase: all, or of a run its training samples, or the box that holds them.
    Saturated networks are proved for these that none are for all."""
    input_range: tuple[float, float] | None = None
    """Settling for every input between two numbers, LOW HIGH, in the free phase."""
    mismatch: str | None = None
    """For every die: all networks whose weights, leaks and biases lie within this share (5%, or 0.05) of those stored;
    `largest` finds how far that can go."""
    devices: Literal["shared", "separate"] = "shared"
    """Of a synapse and of what its source loses by it (outflow): one device, or two that vary apart."""
    bits: int | None = None
    """Put every number at one of 2^bits levels before: conductances, evenly spaced up to the largest of its group."""
    on_off: float = math.inf
    """The on/off ratio of these devices: the largest conductance over the least that is not none."""
    neuron: Annotated[str, help_of("neuron", "For a matrix: ")] = "projected"
    activation: Annotated[str | None, help_of("activation", "For a matrix, hard-sigmoid by default: ")] = None
    outflow: Annotated[str, help_of("outflow", "For a matrix: ")] = "none"
    slopes: str | None = None
    """For a matrix or a connectome, in place of an activation: a file of slope bounds d1 and d2 of every free unit, or
    of d2 alone (.csv, .npy, or .npz with an array slopes). It holds for all activations within; none is run."""
    leak: float = 1.0
    """For a connectome, where it has none: the leak of every unit (1/time)."""
    figures: bool = True
    """Draw the figures."""
    allow_import: bool = False
    """Import the modules of a user's own parts that the run or the file names."""

    def check(self) -> None:
        for kind, extra in {"neuron": "", "activation": "", "outflow": "", "criterion": "all", "nudge": "none"}.items():
            value = getattr(self, kind)
            if value is not None and value != extra:
                catalogue.check(kind, value, f"--{kind}", more=f", {extra}" if extra else "")
        if self.starts < 0:
            raise WrongUse(f"--starts {self.starts} is out of range: give 0 (no search) or more")
        if not 0 <= self.leak < math.inf:
            raise WrongUse(f"--leak {self.leak} is out of range: give a finite number, 0 or above")
        if self.samples < 1:
            raise WrongUse(f"--samples {self.samples} is out of range: give 1 or more")
        if self.bits is not None and not 1 <= self.bits <= 24:
            raise WrongUse(f"--bits {self.bits} is out of range: give 1 to 24")
        if not self.on_off > 1:
            raise WrongUse(f"--on-off {self.on_off} is out of range: give a ratio above 1, such as 10")
        if self.bits is None and math.isfinite(self.on_off):
            raise WrongUse(f"--on-off {self.on_off:g} is of the levels of --bits: give --bits too, such as --bits 8")
        if self.mismatch is not None and (self.inputs != "all" or self.input_range is not None):
            raise WrongUse("--mismatch is about every input: leave --inputs and --input-range out")
        if self.mismatch not in (None, "largest"):
            share_of(self.mismatch)
        if self.mismatch is None and self.devices != "shared":
            raise WrongUse(
                f"--devices {self.devices} says which devices differ: give by how much, too, such as --mismatch 5%"
            )
        if self.input_range is not None:
            low, high = self.input_range
            if not -math.inf < low <= high < math.inf:
                raise WrongUse(f"--input-range {low:g} {high:g} is no range: give two finite numbers, the lower first")
            if self.inputs != "all":
                raise WrongUse(f"--inputs {self.inputs} and --input-range both say for which inputs: give one of them")

    def levels(self) -> str:
        """To what the stored numbers are rounded before all else, in words."""
        if self.bits is None:
            return ""
        least = f", the least 1/{self.on_off:g} of the largest" if math.isfinite(self.on_off) else ""
        return f"not the stored numbers: each is put at one of 2^{self.bits} before{least}"


@dataclasses.dataclass
class _Subject:
    """What is to be certified: one network, or one for each seed of a run."""

    networks: list["Network"]
    labels: list[str]
    folder: Path
    nudge: Any = None
    phases: "RuleRun | None" = None
    cost: Any = None
    x: Any = None
    y: Any = None
    rules: Any = None
    how: dict[str, Any] = dataclasses.field(default_factory=dict)
    history: list[dict] | None = None
    counterexample: "Counterexample | None" = None
    lost: str | None = None
    matrix: bool = False
    dies: list[float | None] = dataclasses.field(default_factory=list)
    slopes: "Slopes | None" = None


def certify(arguments: list[str]) -> int:
    """The command: exit code 0 if all networks are proved to settle, 6 if one is refuted, else 5."""
    given, rest = first(
        "certify", arguments, "a path, before all options: a run folder, a .safetensors, .npz, .graphml or .csv file"
    )
    path = Path(given or "")
    asked = parse("certify PATH", Certify, rest, Certify(Output()))
    asked.check()

    device.configure(double=True)
    subject = _load(path, asked)
    output = asked.output
    if subject.counterexample is not None:
        return _again(subject, path, output)
    certificates = _certify_all(subject, asked)
    k = worst(certificates, lambda c: c.verdict, lambda c: c.rate)
    chosen, network = certificates[k], subject.networks[k]
    x, y = (None if part is None else part[: asked.samples] for part in (subject.x, subject.y))
    learning = certify_rule(
        subject.networks, subject.labels, x, y, subject.rules, subject.how, output.quiet, subject.lost
    )
    folder = new_folder(fresh_folder(output.out, subject.folder))
    per_seed = [
        {"network": label, "verdict": c.verdict, "criterion": c.criterion, "rate": c.rate}
        for label, c in zip(subject.labels, certificates, strict=True)
    ]
    document = {
        "run": str(path), "convergence": chosen.to_dict(),
        "learning": learning, "worst": subject.labels[k],
        "per_seed": per_seed, "folder": str(folder),
    }  # fmt: skip
    if asked.mismatch is not None or asked.bits is not None:
        on_off = asked.on_off if math.isfinite(asked.on_off) else None
        if asked.bits is not None:
            document["convergence"]["assumptions"] = [asked.levels(), *chosen.assumptions]
        document["dies"] = {
            "mismatch": subject.dies[k], "devices": asked.devices, "bits": asked.bits, "on_off": on_off,
        }  # fmt: skip
        for row, share in zip(per_seed, subject.dies, strict=False):
            row["mismatch"] = share
    example = _write(folder, document, chosen, network)
    if asked.figures and chosen.within is None and chosen.slopes is None:  # they show slopes and runs of an activation
        from ..figures.certificate import save_figures

        save_figures(
            folder, network, chosen, None if subject.x is None else subject.x[:8], subject.history, output.format
        )
    if output.json:
        print((folder / "certificate.json").read_text(), end="")
    else:
        _show(subject, asked.levels(), certificates, learning, k, folder, example)
    return {"proved": OK, "undecided": UNDECIDED, "refuted": REFUTED}[chosen.verdict]


def _load(path: Path, asked: Certify) -> _Subject:
    import numpy as np

    from ..matrix_file import network_from_matrix
    from ..network_file import open_network

    values = {"beta": asked.beta, "beta_end": None, "updates": 1, "outflow": asked.outflow}
    used = {"nudge"}

    def known(name: str) -> Any:
        used.add(name)
        return build("activation", asked.activation or "hard-sigmoid", known) if name == "activation" else values[name]

    nudge = None if asked.nudge == "none" else build("nudge", asked.nudge, known)
    beside = path.parent / f"{path.stem}-certificate"
    if path.suffix == ".npz" or is_graph_file(path.name):
        neuron, note = build("neuron", asked.neuron, known), None
        if path.suffix == ".npz":
            network = network_from_matrix(path, neuron)
        else:
            network, note = network_from_graph_file(path, neuron, asked.leak)
            used.add("leak")
        if note and not asked.output.quiet:
            print(f"direp: {path.name}: {note}", file=sys.stderr)
        slopes = slopes_of(asked, path, network, note)
        none = f"{asked.neuron} units have none: give --neuron hopfield or rate, or leave it out"
        check_effect(asked, {*used, "neuron"}, path, activation=none)
        return _Subject([network], [path.name], beside, nudge, matrix=True, slopes=slopes)
    if asked.slopes is not None and path.exists():
        raise WrongUse(
            f"--slopes {asked.slopes}: the units of {path.name} have an activation, with slopes of its own: leave "
            "--slopes out, or give the weights as a matrix (.npz, .csv)"
        )
    if len(path.name) > 255:
        raise Unreadable(f"{path.name[:40]}... is no path: its name is too long")
    if path.name == "weights.safetensors" and (path.parent / "config.json").exists():
        path = path.parent
    if path.suffix == ".safetensors":
        network, example = open_network(path, allow_import=asked.allow_import)
        check_effect(asked, used, path)
        return _Subject([network], [path.name], beside, nudge, counterexample=example)
    if not path.is_dir():
        state = "is no run folder, .safetensors, .npz, .graphml or .csv file" if path.exists() else "does not exist"
        raise Unreadable(f"{path} {state}")

    from ..run_folder import open_run

    run = open_run(path, allow_import=asked.allow_import, needs_data=False)
    own = "a run is certified for the phases it was trained with: leave it out"
    check_effect(asked, (), path, nudge=own, beta=own)
    x, y = (None, None) if run.lost else map(np.asarray, run.task.train)
    return _Subject(
        run.networks,
        [f"seed {seed}" for seed in run.parts.seeds[: len(run.networks)]],
        path / "certificate",
        None,
        run.parts.phases,
        run.parts.cost,
        x,
        y,
        run.rules,
        how_trained(run),
        _history(path / "metrics.jsonl"),
        lost=run.lost,
    )


def _history(path: Path) -> list[dict] | None:
    """What training recorded after each epoch."""
    with reading(f"{path} is not the metrics.jsonl of a run"):
        history = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    if not all(isinstance(row, dict) and "epoch" in row and "lowest_margin" in row for row in history):
        raise Unreadable(f"{path} is not the metrics.jsonl of a run: a line has no epoch or no lowest_margin")
    return history or None


def _certify_all(subject: _Subject, asked: Certify) -> list["Certificate"]:
    import direp

    from ...certificates import CASCADE

    criteria = CASCADE if asked.criterion == "all" else (build("criterion", asked.criterion, {}.__getitem__),)
    x = None if subject.x is None else subject.x[:8]
    inputs = inputs_of(asked, subject.x, subject.lost)
    found = []
    with progress("certify", len(subject.networks), asked.output.quiet) as step:
        for k, network in enumerate(subject.networks):
            if asked.bits is not None:
                network = subject.networks[k] = direp.quantised(network, asked.bits, asked.on_off)
            if inputs is not None:
                subject.dies.append(None)
                found.append(direp.certify(network, nudge=subject.nudge, criteria=criteria, inputs=inputs))
                step()
                continue
            phases = None if subject.phases is None else subject.phases.of(subject.rules[k], network)
            judge = functools.partial(direp.certify, network, rule=phases, nudge=subject.nudge, cost=subject.cost)
            judge = functools.partial(judge, slopes=subject.slopes)
            mismatch = mismatch_of(asked.mismatch, asked.devices, criteria, judge)
            subject.dies.append(None if mismatch is None else mismatch.share)
            found.append(judge(criteria=criteria, x=x, starts=asked.starts, seed=asked.seed, mismatch=mismatch))
            step()
    return found


def _write(folder: Path, document: dict, certificate: "Certificate", network: "Network") -> Path | None:
    from ..network_file import save_network

    write_json(folder / "certificate.json", document)
    if certificate.counterexample is None:
        return None
    path = folder / "counterexample.safetensors"
    try:
        save_network(path, network, certificate.counterexample)
    except ValueError as error:
        print(f"direp: no file of the counter-example: {error}", file=sys.stderr)
        return None
    return path


def _show(
    subject: _Subject, levels: str, certificates: list, learning: dict, k: int, folder: Path, example: Path | None
) -> None:
    """A few lines for people, on standard output."""
    from ...arithmetic import at_least
    from ..network_file import describe_neuron

    certificate, network = certificates[k], subject.networks[k]
    graph, neuron = network.graph, network.neuron
    source = None if certificate.slopes is None else certificate.slopes.source
    rows = [("network", f"{graph.kinds}, {graph.synapses:,} synapses; {describe_neuron(neuron, source)}")]
    if levels:
        rows.append(("levels", levels))
    if len(certificates) > 1:
        counts = [f"{sum(c.verdict == v for c in certificates)} {v}" for v in reversed(VERDICTS)]
        rows.append(("seeds", f"{', '.join(counts)}; the worst, {subject.labels[k]}:"))
    rows.append(("verdict", certificate.sentence))
    if certificate:
        phases = ", ".join(f"{at_least(rate)} ({name})" for name, rate in certificate.phases.items())
        sharper = certificate.criterion in ("local leak", "rows")
        hint = " (--criterion perron gives the sharpest rate)" if sharper else ""
        rows += [
            ("criterion", f"{certificate.criterion}, in {certificate.norm or 'a norm of each'}{hint}"),
            *([] if certificate.within is None else [("holds", str(certificate.within))]),
            ("rate", f"{phases}, 1/time: distances shrink like exp(-rate t)"),
            (
                "steps",
                f"Euler steps up to {at_least(certificate.largest_step)} contract; {_many(certificate.steps(0.1))} of "
                "them for each digit of accuracy",
            ),
            ("checked", certificate.check),
            *(("" if n else "assuming", sentence) for n, sentence in enumerate(certificate.assumptions)),
        ]
    else:
        rows.append(("reason", certificate.reason))
        if certificate.blame:
            rows.append(("blame", ", ".join(certificate.blame[:10]) + (" ..." if len(certificate.blame) > 10 else "")))
    rows += [("not covered", f"phases of {each}") for each in certificate.uncovered]
    for n, attempt in enumerate(certificate.attempts):
        outcome = f"proved, rate {at_least(attempt.rate)}" if attempt.proof is not None else attempt.note
        rows.append(("tried" if n == 0 else "", f"{attempt.criterion}: {outcome}"))
    if example is not None:
        rows.append(("file", f"{example}; direp certify {quoted(example)} proves it again"))
    rows += [*(learning_rows(learning) if not subject.matrix else []), ("folder", str(folder))]
    for name, text in rows:
        print(f"{name:<11}  {spoken(text)}")


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
        print(json.dumps(plain(document), indent=2))
    else:
        print(f"verdict      {verdict}: {reason}")
        with np.printoptions(precision=4, suppress=True, threshold=12):
            print(f"input        {example.x}")
            for state, end, result in zip(example.states, ends, np.asarray(settled.result), strict=True):
                print(f"state        {state}\n  settles    {end} ({RESULTS[int(result)].split(':')[0]})")
    return REFUTED if holds else UNDECIDED


def _many(count: int) -> str:
    from ...arithmetic import at_most

    return f"{count:,}" if count < 1_000_000 else at_most(float(count), 2)
