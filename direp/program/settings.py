"""The settings of a training run as plain data: what the command line sets, a run folder keeps and a preset names.

Pure Python at import, so that the program answers `--help` at once. `build` turns settings into objects.
"""

import dataclasses
import difflib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

if TYPE_CHECKING:
    from ..tasks import Task

__all__ = ["TASK_NAMES", "Settings", "Unreadable", "WrongUse", "nearest", "parse_seeds"]

GATE_NAMES = ("and", "or", "xor", "not", "identity")
BUNDLED_NAMES = ("digits", "iris", "wine", "breast-cancer")
IMAGE_NAMES = ("mnist", "fashion-mnist")
TASK_NAMES = (*GATE_NAMES, *BUNDLED_NAMES, *IMAGE_NAMES)

CHOICES = {
    "graph": ("complete", "layered", "random"),
    "neuron": ("projected", "hopfield", "rate"),
    "activation": ("hard-sigmoid", "sigmoid", "tanh", "relu", "softplus"),
    "outflow": ("none", "signed", "absolute"),
    "init": ("normal", "fan-in"),
    "rule": (
        "local",
        "trajectory",
        "vector-field",
        "symmetric-ep",
        "asym-ep",
        "dyadic",
        "safeguard",
        "adjoint",
        "bptt",
    ),
    "nudge": ("one-sided", "centred", "random-sign"),
    "cost": ("squared", "cross-entropy"),
    "optimiser": ("adam", "sgd"),
    "schedule": ("constant", "cosine"),
    "method": ("auto", "preconditioned", "coloured", "anderson", "newton", "euler"),
    "control": ("leak", "weights"),
    "guarantee": ("none", "sign-symmetric", "balanced", "pairs"),
    "norm": ("local", "rows", "perron"),
    "keep": ("best", "last"),
    "scale": ("standard", "global", "range", "none"),
    "precision": ("float32", "float64"),
    "device": ("auto", "cpu", "gpu", "tpu"),
}


class WrongUse(ValueError):
    """Settings that cannot be; one line says which, what is allowed and how to mend it."""


class Unreadable(ValueError):
    """A file that is not there or does not hold what it should."""


def nearest(what: str, given: str, allowed) -> str:
    """The message for a name that is not among those allowed."""
    near = difflib.get_close_matches(given, allowed, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{what} {given!r} is unknown: {hint}there are {', '.join(allowed)}"


def unknown_task(given: str) -> str:
    return nearest("task", given, TASK_NAMES) + ", or a file.npz with arrays x and y"


def parse_seeds(text: str) -> tuple[int, ...]:
    """`"3"` is one seed, `"0..4"` are five."""
    first, dots, last = text.partition("..")
    try:
        a = int(first)
        b = int(last) if dots else a
    except ValueError:
        raise WrongUse(f"--seeds {text!r} is no seed and no range: write 3, or 0..4 for five of them") from None
    if a < 0 or b < a:
        raise WrongUse(f"--seeds {text!r} must count upwards from 0 or more, such as 0..4")
    return tuple(range(a, b + 1))


@dataclass(frozen=True)
class Settings:
    """All that determines a training run."""

    task: Annotated[str, tyro.conf.Suppress] = "xor"
    """and, or, xor, not, identity, digits, iris, wine, breast-cancer, mnist, fashion-mnist, or an .npz file with arrays
    x and y."""
    data_dir: str | None = None
    """Directory with folders mnist and fashion-mnist; by default DIREP_DATA, else they are downloaded once."""
    seeds: str = "0"
    """One seed, or a range such as 0..4; seeds train side by side."""
    graph: str = "complete"
    """complete, layered or random."""
    hidden: tuple[int, ...] = (16,)
    """Hidden units; for a layered graph, of each hidden layer."""
    density: float = 0.5
    """Share of synapses that exist, for a random graph."""
    neuron: str = "projected"
    """projected, hopfield or rate."""
    activation: str = "hard-sigmoid"
    """hard-sigmoid, sigmoid, tanh, relu or softplus; for hopfield and rate."""
    outflow: str = "signed"
    """none, signed or absolute: what a neuron loses by sending."""
    leak: float = 1.0
    """Leak of every unit (1/time); with the leak controller, the least that it keeps."""
    init: str = "normal"
    """normal (one spread for all) or fan-in."""
    weight_scale: float = 0.25
    """Spread of the initial weights between free units; for fan-in, times 1/sqrt(number of sources)."""
    input_scale: float = 1.0
    """Spread of the initial weights from inputs (normal only)."""
    feedback_scale: float = 0.2
    """As weight_scale, for feedback (fan-in only)."""
    bias: float = 0.5
    """Initial drive of a unit at the mean input (fan-in: of hidden units)."""
    bias_scale: float = 0.0
    """Spread of the initial biases (normal only)."""
    centred: bool = True
    """Set the initial biases for the mean input instead of zero inputs (normal only)."""
    rule: str = "local"
    """local, trajectory (DEEP 2020), vector-field, symmetric-ep; asym-ep and dyadic (exact on directed weights);
    safeguard (local where it is known to descend, else asym-ep); adjoint and bptt (exact, not local)."""
    beta: float = 1.0
    """Nudge strength."""
    beta_end: float | None = None
    """Let the nudge fade to this strength over the training."""
    nudge: str = "one-sided"
    """one-sided, centred or random-sign."""
    homeostasis: float = 0.0
    """Strength of a pull towards a symmetric Jacobian."""
    probe: int = 0
    """Measure the angle to the exact gradient on so many training samples after every epoch."""
    cost: str = "squared"
    """squared or cross-entropy (softmax readout)."""
    sharpness: float = 1.0
    """Factor on the rates in the softmax."""
    optimiser: str = "adam"
    """adam or sgd."""
    learning_rate: float = 0.02
    momentum: float = 0.9
    """Decay of the running mean of gradients (Adam's b1)."""
    schedule: str = "constant"
    """constant or cosine (to zero)."""
    decay: float = 0.0
    """Weight decay an update, times the learning rate (biases and leaks are spared)."""
    epochs: int = 1000
    batch_size: int | None = None
    """Samples an update; by default all."""
    margin: float | None = 0.1
    """Certified rate that a control keeps after every update (1/time). None trains without a control."""
    control: str = "leak"
    """What the control sets: leak (every unit's leak follows its weights) or weights (scaled back, leaks stay)."""
    norm: str = "local"
    """Where the control certifies: local (outgoing synapses), rows (incoming ones) or perron (sharpest weights)."""
    guarantee: str = "none"
    """Keep weights where the local rule is proved to descend, in place of a control: sign-symmetric, balanced or pairs;
    none does not."""
    through_leak: bool = True
    """Let synapses learn through the leak that the controller sets."""
    learn_leak: bool = False
    outputs_only: bool = False
    """Let only the synapses into outputs learn: a control that shows what hidden units contribute."""
    shrink: float = 0.0
    """L1: pull on every weight at each update."""
    prune: bool = False
    """Stochastic pruning of weights up to 0.01, as in DEEP 2020."""
    sign_only: bool = False
    """Update by the sign of the gradient only."""
    method: str = "auto"
    """auto (by graph and size), preconditioned, coloured (layered graphs), anderson (large networks), newton (small
    ones) or euler."""
    euler_step: float = 0.05
    fixed_steps: int | None = None
    """Settle for exactly so many steps, as DEEP 2020 does."""
    max_steps: int = 5000
    """At most so many steps a settling."""
    tolerance: float | None = None
    """Residual that counts as settled; by default 1e-5 in float32 and 1e-9 in float64."""
    start: tuple[float, float] = (0.0, 0.0)
    """Range from which free units start."""
    warm: bool = True
    """Start a free phase where the sample settled in the last epoch."""
    shift: int = 0
    """Move training images by up to so many pixels, anew at every sight (mnist, fashion-mnist)."""
    keep: str = "best"
    """best (by validation) or last epoch."""
    scale: str = "standard"
    """Scaling of inputs, fitted on the training part: standard, global (one variance), range or none."""
    split: int = 0
    """Seed of the split into training, validation and test."""
    precision: str = "float32"
    device: str = "auto"
    """auto, cpu, gpu or tpu."""

    def check(self) -> None:
        """Raise `WrongUse` for the first setting that cannot be."""
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise WrongUse(nearest(_flag(name), getattr(self, name), allowed))
        for name, least, strict in (
            ("beta", None, False), ("momentum", 0, False), ("weight_scale", 0, False),
            ("input_scale", 0, False), ("feedback_scale", 0, False),
            ("leak", 0, False), ("learning_rate", 0, True), ("epochs", 1, False), ("batch_size", 1, False),
            ("margin", 0, True), ("fixed_steps", 1, False), ("max_steps", 1, False), ("tolerance", 0, True),
            ("decay", 0, False),
            ("sharpness", 0, True), ("euler_step", 0, True), ("shrink", 0, False), ("density", 0, True),
            ("bias", None, False), ("bias_scale", 0, False), ("homeostasis", 0, False), ("probe", 0, False),
            ("beta_end", None, False), ("shift", 0, False),
        ):  # fmt: skip
            value = getattr(self, name)
            if value is None:
                continue
            if not math.isfinite(value):
                raise WrongUse(f"{_flag(name)} {value} is not a finite number")
            if least is not None and (value < least or (strict and value == least)):
                raise WrongUse(
                    f"{_flag(name)} {value} is out of range: give a number "
                    f"{'above' if strict else 'of at least'} {least}"
                )
        if self.beta == 0:
            raise WrongUse("--beta 0 is no nudge: give a number other than 0, such as 1")
        if self.beta_end is not None and self.beta_end * self.beta <= 0:
            raise WrongUse(f"--beta-end {self.beta_end} must have the sign of --beta {self.beta} and not be 0")
        if self.momentum >= 1:
            raise WrongUse(f"--momentum {self.momentum} is out of range: give a number of at least 0 and below 1")
        if self.density > 1:
            raise WrongUse(f"--density {self.density} is out of range: it is a share, above 0 and at most 1")
        if self.margin is not None and self.leak <= 0:
            raise WrongUse(
                f"--leak {self.leak} cannot be certified: give a leak above 0, or --margin None to train without a "
                "certificate"
            )
        if self.margin is not None and self.control == "weights" and self.leak <= self.margin:
            raise WrongUse(
                f"--control weights with --leak {self.leak} leaves no room for weights: give a leak above the margin "
                f"{self.margin}"
            )
        if self.guarantee != "none" and self.learn_leak:
            raise WrongUse(f"--guarantee {self.guarantee} needs leaks that stay: leave out --learn-leak")
        if any(units < 0 for units in self.hidden):
            raise WrongUse(f"--hidden {' '.join(map(str, self.hidden))} has a negative number of units: give 0 or more")
        if self.graph == "layered" and any(units == 0 for units in self.hidden):
            raise WrongUse("--hidden 0 makes an empty layer: give every hidden layer 1 unit or more")
        if self.graph != "layered" and len(self.hidden) > 1:
            raise WrongUse(
                f"--hidden with several numbers needs layers: use --graph layered, or one number for {self.graph}"
            )
        if self.task == "xor" and sum(self.hidden) == 0:
            raise WrongUse("--hidden 0 cannot learn xor, which no single unit computes: give 1 hidden unit or more")
        if self.method == "coloured" and self.graph != "layered":
            raise WrongUse(
                f"--method coloured needs layers, and the graph is {self.graph}: use --graph layered or --method auto"
            )
        if self.shift and self.task not in IMAGE_NAMES:
            raise WrongUse(f"--shift {self.shift} moves images, and {self.task} has none: leave it out")
        if self.rule == "trajectory" and self.nudge == "centred":
            raise WrongUse("--rule trajectory watches one nudged phase: use --nudge one-sided")
        if not (math.isfinite(self.start[0]) and self.start[0] <= self.start[1] < math.inf):
            raise WrongUse(f"--start {self.start[0]} {self.start[1]} is no range: give the lower end first")
        parse_seeds(self.seeds)

    def load_task(self) -> "Task":
        from .. import tasks

        task = self._find_task(tasks)
        if self.cost == "cross-entropy" and task.outputs < 2:
            raise WrongUse(
                f"--cost cross-entropy needs two outputs or more, and {self.task} has {task.outputs}: "
                "use --cost squared"
            )
        return task

    def _find_task(self, tasks: Any) -> "Task":
        if self.task in GATE_NAMES:
            return tasks.gate(self.task)
        if self.task in BUNDLED_NAMES:
            return tasks.bundled(self.task, scale=self.scale, split=self.split)
        if self.task in IMAGE_NAMES:
            try:
                return tasks.images(self.task, data_dir=self.data_dir, scale=self.scale, split=self.split)
            except (tasks.DataMissing, tasks.DataUnreadable) as error:
                raise Unreadable(str(error)) from None
        if self.task.endswith(".npz"):
            return self._load_file(Path(self.task))
        raise WrongUse(unknown_task(self.task))

    def _load_file(self, path: Path) -> "Task":
        import numpy as np

        from .. import tasks

        try:
            with np.load(path, allow_pickle=False) as arrays:
                if not {"x", "y"} <= set(arrays.files):
                    raise Unreadable(
                        f"{path} holds {', '.join(arrays.files) or 'nothing'}; needed are arrays named x and y"
                    )
                x, y = arrays["x"], arrays["y"]
        except FileNotFoundError:
            raise Unreadable(f"{path} does not exist") from None
        except Unreadable:
            raise
        except Exception as error:
            raise Unreadable(f"{path} is not a readable .npz file of plain arrays ({error})") from None
        return tasks.from_arrays(x, y, name=path.stem, scale=self.scale, split=self.split)

    def build(self, task: "Task") -> dict[str, Any]:
        """The arguments of `direp.fit` that these settings describe, the task's excepted."""
        import jax
        import jax.numpy as jnp
        import optax

        import direp

        inputs, outputs = task.inputs, task.outputs
        hidden = sum(self.hidden)
        graph = {
            "complete": lambda: direp.Graph.complete(inputs, hidden, outputs),
            "layered": lambda: direp.Graph.layered((inputs, *self.hidden, outputs)),
            "random": lambda: direp.Graph.random(inputs, hidden, outputs, density=self.density),
        }[self.graph]()
        activation = getattr(direp.activation, self.activation.replace("-", "_"))
        neuron = {
            "projected": lambda: direp.Projected(outflow=self.outflow),
            "hopfield": lambda: direp.Hopfield(activation, outflow=self.outflow),
            "rate": lambda: direp.Rate(activation, outflow=self.outflow),
        }[self.neuron]()
        mean = float(task.train.x.mean()) if self.centred else 0.0
        weights = {
            "normal": lambda: direp.Normal(self.weight_scale, self.input_scale, self.bias, self.bias_scale, mean),
            "fan-in": lambda: direp.FanIn(self.weight_scale, self.feedback_scale, self.bias),
        }[self.init]()
        seeds = parse_seeds(self.seeds)
        dtype = jnp.dtype(self.precision)
        networks = [
            direp.Network(graph, neuron, weights, leak=self.leak, key=jax.random.key(seed), dtype=dtype)
            for seed in seeds
        ]
        size = min(self.batch_size or len(task.train.x), len(task.train.x))
        updates = self.epochs * -(-len(task.train.x) // size)
        rate = (
            optax.cosine_decay_schedule(self.learning_rate, updates)
            if self.schedule == "cosine"
            else self.learning_rate
        )
        direction = {
            "adam": lambda: optax.scale_by_adam(b1=self.momentum),
            "sgd": lambda: optax.trace(self.momentum) if self.momentum else optax.identity(),
        }[self.optimiser]()
        decay = optax.add_decayed_weights(self.decay, mask=_weights_alone)
        chain = [direction, decay, optax.scale_by_learning_rate(rate)]
        if self.sign_only:
            chain.insert(0, optax.scale_by_sign())
        if self.shrink:
            chain.append(direp.shrink(self.shrink))
        if self.prune:
            chain.append(direp.prune(networks[0], key=jax.random.key(0)))
        return {
            "network": networks,
            "rule": self._rule(updates),
            "optimiser": optax.chain(*chain),
            "cost": direp.SquaredError() if self.cost == "squared" else direp.CrossEntropy(self.sharpness),
            "control": self._control(),
            "guarantee": self._guarantee(),
            "learn_leak": self.learn_leak,
            "outputs_only": self.outputs_only,
            "method": self._method(networks[0]),
            "stop": direp.Steps(self.fixed_steps)
            if self.fixed_steps
            else direp.Tolerance(self.tolerance, self.tolerance, max_steps=self.max_steps),
            "start": self.start,
            "warm": self.warm,
            "keep": self.keep,
            "augment": direp.Shift(self.shift, fill=float(task.train.x.min())) if self.shift else None,
            "probe": self.probe,
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "seeds": seeds,
        }

    def _rule(self, updates: int) -> Any:
        import direp

        kind = {"one-sided": direp.OneSided, "centred": direp.Centred, "random-sign": direp.RandomSign}[self.nudge]
        nudge = kind(self.beta) if self.beta_end is None else direp.Fading(self.beta, self.beta_end, updates, kind)
        rule = {
            "local": lambda: direp.Local(nudge),
            "trajectory": lambda: direp.Trajectory(nudge),
            "vector-field": lambda: direp.VectorField(nudge),
            "symmetric-ep": lambda: direp.SymmetricEP(nudge),
            "asym-ep": lambda: direp.AsymEP(nudge),
            "dyadic": lambda: direp.Dyadic(),
            "safeguard": lambda: direp.Safeguard(direp.Local(nudge)),
            "adjoint": lambda: direp.Adjoint(),
            "bptt": lambda: direp.BPTT(),
        }[self.rule]()
        return direp.Homeostasis(rule, self.homeostasis) if self.homeostasis else rule

    def _method(self, network: Any) -> Any:
        import direp

        kinds = {
            "auto": lambda: direp.choose_method(network),
            "preconditioned": direp.Preconditioned,
            "coloured": direp.Coloured,
            "anderson": direp.Anderson,
            "newton": direp.Newton,
            "euler": lambda: direp.Euler(self.euler_step),
        }
        return kinds[self.method]()

    def _guarantee(self) -> Any:
        import direp

        if self.guarantee == "none":
            return None
        kinds = {"sign-symmetric": direp.SignSymmetric, "balanced": direp.Balanced, "pairs": direp.Pairs}
        return kinds[self.guarantee](margin=0.1 if self.margin is None else self.margin)

    def _control(self) -> Any:
        import direp

        if self.margin is None or self.guarantee != "none":
            return None
        criterion = {"local": direp.LocalLeak, "rows": direp.Rows, "perron": direp.Perron}[self.norm]()
        if self.control == "weights":
            return direp.WeightProjection(margin=self.margin, criterion=criterion)
        follow = not self.learn_leak
        return direp.LeakController(
            self.margin, self.leak, criterion=criterion, follow=follow, through_leak=self.through_leak
        )

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Settings":
        known = {f.name for f in dataclasses.fields(cls)}
        for name in values:
            if name not in known:
                raise WrongUse(nearest("setting", name, sorted(known)))
        lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        settings = cls(**{**values, **lists})
        for name, default in cls().to_dict().items():
            value = getattr(settings, name)
            kinds = (int, float) if isinstance(default, float) else type(default)
            if default is not None and value is not None and not isinstance(value, kinds):
                raise WrongUse(f"setting {name} is {value!r}; needed is something like {default!r}")
        return settings


def _weights_alone(params: Any) -> Any:
    return params._replace(weight=True, bias=False, leak=False)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
