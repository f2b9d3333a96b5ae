"""The settings of a training run as plain data: what the command line sets, a run folder keeps and a preset names.

Pure Python at import, so that the program answers `--help` at once. `build.py` turns settings into objects.
"""

import dataclasses
import itertools
import math
import os
import re
import typing
from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from .catalogue import CATALOGUE, WrongUse, check, describe, flag, is_own, names, nearest
from .graph_file import is_graph_file

FILES = (".npz", ".csv", ".tsv", ".parquet")  # in which a user's own data may lie
_DATA = ", or a file: .csv, .tsv or .parquet, or .npz with arrays x and y"
_SEEDS = re.compile(r"(\d+)(?:(?:\.\.|-)(\d+))?")
COUNTED = 2**31 - 1  # the largest 32-bit integer, in which JAX counts
_LARGEST = 1e30  # float32 ends at 3e38
_MOST_SEEDS = 1_000_000


DEVICES = ("shared", "separate")


def share_of(text: str, option: str = "--mismatch") -> float:
    """`"5%"` and `"0.05"` are one share."""
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise WrongUse(f"{option} {text} is out of range: give 0 to below 100 percent, as 5% or 0.05")
    return value


def is_file(task: str) -> bool:
    """Whether a task is a file of the user's data."""
    return task.lower().endswith(FILES)


def check_task(name: str) -> None:
    if is_file(name):
        return
    near = next((name + ending for ending in FILES if os.path.isfile(name + ending)), None)
    if near is not None:
        raise WrongUse(f"task {name!r} is unknown: did you mean {near}?")
    if os.path.isfile(name):  # which a name that is too long for a file is not
        raise WrongUse(
            f"{name} is none of {', '.join(FILES)}: save it as CSV with the names of its columns in the first line, or "
            "write numpy.savez('data.npz', x=x, y=y), with x (samples x inputs) and y (a label for each sample)"
        )
    check("task", name, "task", more=_DATA)


def parse_seeds(text: str) -> tuple[int, ...]:
    """`"3"` is one seed, `"0..4"` and `"0-4"` are five, `"1,2,5..7"` are five too."""
    seeds: list[int] = []
    for part in text.split(","):
        match = _SEEDS.fullmatch(part.strip())
        if match is None:
            raise WrongUse(f"--seeds {text!r} is no seed and no range: write 3, 0..4 for five of them, or 1,2,5..7")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise WrongUse(f"--seeds {text!r} must count upwards from 0 or more, such as 0..4")
        if last >= 2**32:  # a key of JAX has 32 bits of it in float32: seeds would come out alike
            raise WrongUse(f"--seeds {text!r} is out of range: give numbers below {2**32}")
        if len(seeds) + last - first >= _MOST_SEEDS:
            raise WrongUse(f"--seeds {text!r} names more than {_MOST_SEEDS:,} networks: train fewer at once")
        seeds += range(first, last + 1)
    if len(set(seeds)) < len(seeds):
        raise WrongUse(f"--seeds {text!r} names a seed twice: give each one once")
    return tuple(seeds)


def help_of(kind: str, lead: str = "") -> Any:
    """The help text of an option whose value is a name in the catalogue."""
    return tyro.conf.arg(help=f"{lead}{describe(kind)}.")


@dataclass(frozen=True)
class Settings:
    """All that determines a training run."""

    task: Annotated[str, tyro.conf.Suppress] = "xor"
    """A name in the catalogue, module:Name, or a file of the user's data."""
    target: tuple[str, ...] = ()
    """For a table: the column to predict, or several columns of numbers."""
    drop: tuple[str, ...] = ()
    """For a table: columns to leave out."""
    kind: Annotated[str, help_of("kind", "What a file's targets are: ")] = "auto"
    data_dir: str | None = None
    """Directory with folders mnist and fashion-mnist; by default DIREP_DATA, else they are downloaded once."""
    seeds: str = "0"
    """One seed, a range such as 0..4, or several: 1,2,5..7. Seeds train side by side."""
    graph: Annotated[str, help_of("graph", "A .graphml or .csv file with roles of units, or ")] = "complete"
    layout: Annotated[str, help_of("layout", "Where weights lie in memory: ")] = "auto"
    hidden: tuple[int, ...] = (16,)
    """Hidden units; for a layered graph, of each hidden layer."""
    density: float = 0.5
    """Share of synapses that exist, for a random graph."""
    reciprocity: float | None = None
    """Share of synapses between free units that have a partner, for a random graph; by default left to chance."""
    neighbours: int = 8
    """Targets of every free unit, for a small-world graph."""
    rewired: float = 0.1
    """Share of these synapses that go elsewhere."""
    neuron: Annotated[str, help_of("neuron")] = "projected"
    activation: Annotated[str, help_of("activation", "For hopfield and rate: ")] = "hard-sigmoid"
    outflow: Annotated[str, help_of("outflow", "What a neuron loses by sending: ")] = "signed"
    leak: float = 1.0
    """Leak of every unit (1/time); with the leak controller, the least that it keeps."""
    init: Annotated[str, help_of("init")] = "normal"
    weight_scale: float = 0.25
    """Spread of the initial weights between free units; for fan-in, times 1/sqrt(number of sources)."""
    input_scale: float = 1.0
    """Spread of the initial weights from inputs (normal only)."""
    feedback_scale: float = 0.2
    """As --weight-scale, for feedback (fan-in only)."""
    bias: float = 0.5
    """Initial drive of a unit at the mean input (fan-in: of hidden units)."""
    bias_scale: float = 0.0
    """Spread of the initial biases (normal only)."""
    centred: bool = True
    """Set the initial biases for the mean input instead of zero inputs (normal only)."""
    rule: Annotated[str, help_of("rule")] = "local"
    feedback: Annotated[
        str, help_of("feedback", "For asym-ep and dyadic, what tells a unit how its targets deviate: ")
    ] = "shared"
    companion_scale: float = 1.0
    """Spread of the initial companions, in that of the weights of their kind (feedback learned and fixed)."""
    lift: bool = False
    """For dyadic and adjoint: an output at a bound is free where its error pulls it off; else it stays there."""
    beta: float = 1.0
    """Nudge strength."""
    beta_end: float | None = None
    """Let the nudge fade to this strength over the training."""
    nudge: Annotated[str, help_of("nudge")] = "one-sided"
    homeostasis: float = 0.0
    """Strength of a penalty on the antisymmetric part of the Jacobian; 0 adds none."""
    probe: int = 0
    """Measure the angle to the exact gradient on so many training samples after every epoch."""
    cost: Annotated[str, help_of("cost")] = "squared"
    sharpness: float = 1.0
    """Factor on the rates in the softmax."""
    optimiser: Annotated[str, help_of("optimiser")] = "adam"
    learning_rate: float = 0.02
    """Step size of the optimiser, at the beginning of its schedule."""
    momentum: float = 0.9
    """Decay of the running mean of gradients (Adam's b1)."""
    schedule: Annotated[str, help_of("schedule")] = "constant"
    decay: float = 0.0
    """Weight decay an update, times the learning rate (biases and leaks are spared)."""
    epochs: int = 1000
    """Passes through the training samples."""
    batch_size: int | None = None
    """Samples an update; by default all."""
    margin: float | None = 0.1
    """Certified rate that a control keeps after every update (1/time); none trains without a control."""
    control: Annotated[str, help_of("control", "What keeps the network certified: ")] = "leak"
    norm: Annotated[str, help_of("norm", "Where a control of leaks or weights certifies: ")] = "local"
    mismatch: str = "0%"
    """Keep every die certified whose weights and leaks are within so much of what is stored, as 5%."""
    devices: str = "shared"
    """Whether one device carries a synapse and what its source loses by it (shared), or two do (separate)."""
    guarantee: Annotated[
        str, help_of("guarantee", "Keep weights where the local rule is proved to descend, in place of a control: ")
    ] = "none"
    through_leak: bool = True
    """Count in the gradient that the leak, as the controller sets it, depends on the weights."""
    learn_leak: bool = False
    """Let leaks learn too, by the rule's own estimate."""
    outputs_only: bool = False
    """Let only the synapses into outputs learn: a control that shows what hidden units contribute."""
    shrink: float = 0.0
    """L1: every update takes this from the size of every weight."""
    dale: bool = False
    """No synapse ever changes its sign: that of the graph's file (of its weights if it has no signs), else that with
    which it begins."""
    fixed: bool = False
    """Synapses that the graph's file marks as fixed keep the strength with which they begin."""
    weight_bounds: tuple[float, float] | None = None
    """The least and the largest strength of a synapse."""
    prune: bool = False
    """Stochastic pruning of weights up to 0.01, as in DEEP (Farinha et al. 2020)."""
    sign_only: bool = False
    """Update by the sign of the gradient only."""
    method: Annotated[str, help_of("method", "How networks settle: ")] = "auto"
    euler_step: float = 0.05
    """Step size of --method euler (time)."""
    fixed_steps: int | None = None
    """Settle for exactly so many steps, as DEEP (Farinha et al. 2020) does."""
    max_steps: int = 5000
    """At most so many steps a settling."""
    tolerance: float | None = None
    """Residual that counts as settled; by default 1e-5 in float32 and 1e-9 in float64."""
    start: tuple[float, float] = (0.0, 0.0)
    """Range from which free units start."""
    warm: bool = True
    """Start a free phase where the sample settled in the last epoch."""
    shift: int = 0
    """Move every training image by up to so many pixels, at random in every epoch (mnist, fashion-mnist)."""
    keep: Annotated[str, help_of("keep", "Which weights: ")] = "best"
    scale: Annotated[str, help_of("scale", "Of inputs, fitted on the training part: ")] = "standard"
    split: int = 0
    """Seed of the split into training, validation and test."""
    lanes: int | None = None
    """Train in a program of so many lanes, as a sweep does: the bits of a run are those of its number of lanes."""
    precision: Annotated[str, help_of("precision")] = "float32"
    device: Annotated[str, help_of("device")] = "auto"

    def check(self) -> None:
        """Raise `WrongUse` for the first setting that cannot be."""
        check_task(self.task)
        bounds = self.weight_bounds or (0.0, 0.0)
        share = share_of(self.mismatch)
        for name in _NAMED:
            if name == "graph" and is_graph_file(self.graph):
                continue
            check(name, getattr(self, name), flag(name))
        for least, settings in _LEAST.items():
            for name in settings.split():
                value = getattr(self, name)
                if value is None:
                    continue
                largest = COUNTED if isinstance(value, int) else _LARGEST
                if isinstance(value, float) and not math.isfinite(value):
                    raise WrongUse(f"{flag(name)} {value} is not a finite number")
                if abs(value) > largest:
                    raise WrongUse(f"{flag(name)} {value} is out of range: give a number of at most {largest:g}")
                words, bound = least.rsplit(maxsplit=1)
                if value < float(bound) or (words == "above" and value == float(bound)):
                    raise WrongUse(f"{flag(name)} {value} is out of range: give a number {least}")
        hidden = " ".join(map(str, self.hidden))
        synapses = max(sum(self.hidden), self.synapses_between_hidden())
        for wrong, message in (
            (self.beta == 0, "--beta 0 is no nudge: give a number other than 0, such as 1"),
            (self.beta_end is not None and self.beta_end * self.beta <= 0,
             f"--beta-end {self.beta_end} must have the sign of --beta {self.beta} and not be 0"),
            (self.momentum >= 1,
             f"--momentum {self.momentum} is out of range: give a number of at least 0 and below 1"),
            ((self.target or self.drop or self.kind != "auto") and not is_file(self.task),
             f"--target, --drop and --kind are about a file of data, and the task is {self.task}: leave them out"),
            (self.reciprocity is not None and self.density * (2 - self.reciprocity) > 1,
             f"--reciprocity {self.reciprocity} at --density {self.density} does not fit: at least "
             f"{max(0.0, 2 - 1 / self.density):g}, or a density of at most {1 / (2 - (self.reciprocity or 0)):.3g}"),
            (max(self.reciprocity or 0, self.rewired) > 1,
             "--reciprocity and --rewired are shares: give numbers from 0 to 1"),
            (self.density > 1, f"--density {self.density} is out of range: it is a share, above 0 and at most 1"),
            (self.margin is not None and self.leak <= 0,
             f"--leak {self.leak} cannot be certified: give a leak above 0, or --margin none to train without a "
             "certificate"),
            (self.margin is not None and self.control == "weights" and (1 - share) * self.leak <= self.margin,
             f"--control weights with --leak {self.leak} leaves no room for weights: give a leak above the margin "
             f"{self.margin}" + (f" over {1 - share:g}" if share else "")),
            (share > 0 and (self.margin is None or self.guarantee != "none"),
             f"--mismatch {self.mismatch} is room that a control keeps, and there is none: leave it out, or give "
             "--margin and no --guarantee"),
            (self.devices not in DEVICES, f"--devices {self.devices} must be shared or separate"),
            (self.margin is not None and self.control == "loops" and self.norm == "euclidean",
             "--control loops finds a norm of its own, in which sizes count: leave out --norm euclidean, or use "
             "--control leak or weights"),
            (self.guarantee != "none" and self.learn_leak,
             f"--guarantee {self.guarantee} needs leaks that stay: leave out --learn-leak"),
            (self.guarantee != "none" and (self.dale or self.fixed or self.weight_bounds is not None),
             f"--guarantee {self.guarantee} keeps signs and sizes by itself: leave out --dale, --fixed and "
             "--weight-bounds"),
            (self.fixed and not is_graph_file(self.graph),
             f"--fixed is about synapses of the graph's file, and the graph is {self.graph}: give --graph FILE"),
            (not all(abs(end) <= _LARGEST for end in bounds) or bounds[0] > bounds[1],
             f"--weight-bounds {bounds[0]} {bounds[1]} is no range of finite numbers: give the lower end first"),
            (self.init == "file" and not is_graph_file(self.graph),
             f"--init file takes the weights of the graph's file, and the graph is {self.graph}: give --graph FILE"),
            (min(self.hidden, default=0) < 0, f"--hidden {hidden} has a negative number of units: give 0 or more"),
            (self.graph == "layered" and 0 in self.hidden,
             "--hidden 0 makes an empty layer: give every hidden layer 1 unit or more"),
            (self.graph in ("complete", "random", "small-world") and len(self.hidden) > 1,
             f"--hidden with several numbers needs layers: use --graph layered, or one number for {self.graph}"),
            (synapses > COUNTED, f"--hidden {hidden} makes more than {COUNTED:,} synapses: give fewer units"),
            (self.task == "xor" and sum(self.hidden) == 0,
             "--hidden 0 cannot learn xor, which no single unit computes: give 1 hidden unit or more"),
            (self.method == "coloured" and self.graph in ("complete", "random", "small-world"),
             f"--method coloured needs layers, and the graph is {self.graph}: use --graph layered or --method auto"),
            (self.shift and self.task in names("task", without=_IMAGES),
             f"--shift {self.shift} moves images, and {self.task} has none: leave it out"),
            (self.rule == "trajectory" and self.nudge == "centred",
             "--rule trajectory watches one nudged phase: use --nudge one-sided"),
            (self.reciprocity is not None and self.graph in names("graph", without=("random",)),
             f"--reciprocity {self.reciprocity} is of a random graph, and the graph is {self.graph}: leave it out"),
            (not (math.isfinite(self.start[0]) and self.start[0] <= self.start[1] < math.inf),
             f"--start {self.start[0]} {self.start[1]} is no range: give the lower end first"),
        ):  # fmt: skip
            if wrong:
                raise WrongUse(message)
        parse_seeds(self.seeds)

    def untaken(self, name: str) -> str | None:
        """Why a setting changes nothing beside the parts that are named; `None` if it does, or if that is not known."""
        kind, *others = TAKEN_BY[name]
        part = getattr(self, kind)
        if part in others or is_own(kind, part):
            return None
        given, needed = f"{flag(name)} {getattr(self, name)}", f"{flag(kind)} {' or '.join(others)}"
        return f"{given} is of {needed}, and the {kind} is {part}: leave it out, or give that"

    def synapses_between_hidden(self) -> int:
        """How many there can be, in one direction for layers."""
        pairs = itertools.pairwise(self.hidden) if self.graph == "layered" else [(sum(self.hidden),) * 2]
        return sum(source * target for source, target in pairs)

    def own(self) -> dict[str, str]:
        """The user's own parts that are named: setting -> import path."""
        named = {name: getattr(self, name) for name in ("task", *_NAMED)}
        return {
            name: value
            for name, value in named.items()
            if is_own(name, value)
            and not (name == "task" and is_file(value))
            and not (name == "graph" and is_graph_file(value))
        }

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Settings":
        if not isinstance(values, dict):
            raise WrongUse(f"settings are {type(values).__name__}; needed is an object of names and values")
        hints, default = typing.get_type_hints(cls), cls()
        given: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
        }
        for name, value in given.items():
            if name not in hints:
                raise WrongUse(nearest("setting", name, sorted(hints)))
            if not fits(value, hints[name]):
                raise WrongUse(f"setting {name} is {short(value)}; needed is something like {getattr(default, name)!r}")
        return cls(**dict[str, Any](given))


def refuse_untaken(asked: Collection[str], *settings: Settings) -> None:
    """Refuse what was asked for and changes nothing in any of these settings."""
    for name in TAKEN_BY:
        why = [each.untaken(name) for each in settings] if name in asked else []
        if why and all(why):
            raise WrongUse(str(why[0]))


def fits(value: Any, hint: Any) -> bool:
    """Whether a value out of a file is what a type hint says; a whole number is a float too, and no number a bool."""
    several = typing.get_args(hint)
    if typing.get_origin(hint) is tuple:
        kinds = several[:1] * len(value) if several[-1] is ... and isinstance(value, tuple) else several
        return isinstance(value, tuple) and len(value) == len(kinds) and all(map(fits, value, kinds))
    if several:
        return any(fits(value, kind) for kind in several)
    if hint is float:
        return isinstance(value, float) or (fits(value, int) and abs(value) <= COUNTED)
    return isinstance(value, hint) and (hint is bool or not isinstance(value, bool))


def short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 40 else f"{shown[:40]} ..."


_NAMED = tuple(field.name for field in dataclasses.fields(Settings) if field.name in CATALOGUE and field.name != "task")
# Settings that some parts of a kind take, and no other part: beside another one of the catalogue they change nothing.
TAKEN_BY = {
    "activation": ("neuron", "hopfield", "rate"),
    "density": ("graph", "random"),
    "neighbours": ("graph", "small-world"),
    "rewired": ("graph", "small-world"),
    "input_scale": ("init", "normal"),
    "bias_scale": ("init", "normal"),
    "feedback_scale": ("init", "fan-in"),
    "lift": ("rule", "dyadic", "adjoint"),
    "through_leak": ("control", "leak"),
    "sharpness": ("cost", "cross-entropy"),
    "companion_scale": ("feedback", "learned", "fixed"),
    "euler_step": ("method", "euler"),
}
_LEAST = {  # numbers, by the least that they may be
    "above -inf": "beta beta_end bias",
    "of at least 0": "momentum weight_scale input_scale feedback_scale bias_scale leak decay shrink homeostasis probe "
    "companion_scale shift split reciprocity rewired",
    "above 0": "learning_rate margin tolerance sharpness euler_step density",
    "of at least 1": "neighbours epochs batch_size fixed_steps max_steps lanes",
}
_IMAGES = tuple(name for name, entry in CATALOGUE["task"].entries.items() if entry.path.endswith(":images"))
