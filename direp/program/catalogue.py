"""One table from names to what they stand for: all choices, help texts, presets, files and commands read it.

A new part is one line here: its name, the import path of its class or function, a line of help. Nothing is imported
before it is built, so that `direp --help` does not wait for JAX. A user's own part is named by its import path,
`module:Name`. Either is built alike: parameters of its constructor get what the settings know under their names.
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


class WrongUse(ValueError):
    """Settings that cannot be; one line says which, what is allowed and how to mend it."""


@dataclass(frozen=True)
class Entry:
    """One name: the import path of its class, function or object (empty for a plain word) and a line of help.

    - `limit`: `direp gradient` measures the rule with a very small nudge too. `certificate`: and certifies it.
    - `measured`: the nudge that `direp gradient` takes in place of one that changes from update to update.
    """

    path: str = ""
    help: str = ""
    limit: bool = False
    certificate: bool = False
    measured: str = ""


@dataclass(frozen=True)
class Kind:
    """What parts of a kind are instances of (import paths, any of them; empty for plain words), and its entries.

    `takes` lists what a constructor may ask for: `name`, or `name=setting` where it has another name in the settings.
    With `own`, a user's own parts are taken.
    """

    base: str
    takes: str
    entries: dict[str, Entry]
    own: bool = True


def _words(*words: str, **explained: str) -> Kind:
    entries = {word: Entry() for word in words} | {word: Entry(help=text) for word, text in explained.items()}
    return Kind("", "", entries, own=False)


_DIAGONAL = {
    "local": Entry("direp.certificates:LocalLeak", "a unit's leak against its outgoing synapses"),
    "rows": Entry("direp.certificates:Rows", "against its incoming ones"),
    "perron": Entry("direp.certificates:Perron", "in the sharpest weights"),
}

CATALOGUE: dict[str, Kind] = {
    "task": Kind("direp.tasks:Task", "name=task scale split data_dir", {
        **{name: Entry("direp.tasks:gate") for name in ("and", "or", "xor", "not", "identity")},
        **{name: Entry("direp.tasks:bundled") for name in ("digits", "iris", "wine", "breast-cancer")},
        **{name: Entry("direp.tasks:images") for name in ("mnist", "fashion-mnist")},
    }),
    "graph": Kind(
        "direp.model:Graph direp.model.synapses:AbstractSynapses",
        "inputs hidden=units outputs sizes density reciprocity neighbours rewired", {
        "complete": Entry("direp.model:Graph.complete", "every unit sends to every free one"),
        "layered": Entry("direp.model:Graph.layered", "neighbouring layers, in both directions"),
        "random": Entry("direp.model:Graph.random", "each synapse with probability --density"),
        "small-world": Entry("direp.model:Graph.small_world", "a ring of neighbours, some synapses rewired"),
    }),
    "layout": Kind("direp.model.synapses:AbstractSynapses", "graph", {
        "auto": Entry("direp.model.synapses:lay_out", "what suits the graph"),
        "dense": Entry("direp.model:Dense", "one matrix"),
        "layered": Entry("direp.model:Layered", "a block for each pair of layers"),
        "sparse": Entry("direp.model:Sparse", "a list of synapses"),
    }),
    "neuron": Kind("direp.model:AbstractNeuron", "activation outflow", {
        "projected": Entry("direp.model:Projected", "linear within a box"),
        "hopfield": Entry("direp.model:Hopfield", "the activation acts on the state"),
        "rate": Entry("direp.model:Rate", "the activation acts on the drive"),
    }),
    "activation": Kind("direp.model:Activation", "", {
        "hard-sigmoid": Entry("direp.model:hard_sigmoid"),
        "sigmoid": Entry("direp.model:sigmoid"),
        "tanh": Entry("direp.model:tanh"),
        "relu": Entry("direp.model:relu"),
        "softplus": Entry("direp.model:softplus"),
        "identity": Entry("direp.model:identity"),
    }),
    "outflow": _words(none="no outflow", signed="the sum of its weights", absolute="of their sizes"),
    "init": Kind(
        "direp.model:AbstractInitialiser",
        "std=weight_scale input_std=input_scale bias bias_std=bias_scale input_mean gain=weight_scale "
        "feedback=feedback_scale hidden_bias=bias connectome", {
        "normal": Entry("direp.model:Normal", "one spread for all"),
        "fan-in": Entry("direp.model:FanIn", "by the number of sources"),
        "file": Entry("direp.program.build:given", "the weights of the graph's file, times --weight-scale"),
    }),
    "rule": Kind("direp.rules:AbstractRule", "nudge beta feedback lift updates inputs hidden=units outputs key", {
        "local": Entry("direp.rules:Local", "two phases, local", limit=True, certificate=True),
        "trajectory": Entry("direp.rules:Trajectory", "of DEEP, Farinha et al. 2020: along one nudged phase"),
        "vector-field": Entry("direp.rules:VectorField", "with slopes of the activation"),
        "symmetric-ep": Entry("direp.rules:SymmetricEP", "both directions of a pair learn alike"),
        "asym-ep": Entry("direp.rules:AsymEP", "exact on directed weights as the nudge vanishes", limit=True),
        "dyadic": Entry("direp.rules:Dyadic", "exact on directed weights", certificate=True),
        "safeguard": Entry("direp.program.build:safeguard", "local where it is known to descend, else asym-ep"),
        "adjoint": Entry("direp.rules:Adjoint", "exact, not local", certificate=True),
        "bptt": Entry("direp.rules:BPTT", "exact, not local: by unrolled steps"),
    }),
    "feedback": Kind("direp.rules:AbstractFeedback", "scale=companion_scale", {
        "shared": Entry("direp.rules:SharedFeedback", "the synapses themselves, both ways"),
        "learned": Entry("direp.rules:LearnedFeedback", "companions that learn as their partners: local"),
        "fixed": Entry("direp.rules:FixedFeedback", "companions that stay as they were drawn: local"),
    }),
    "nudge": Kind("direp.rules:AbstractNudge", "beta beta_end updates", {
        "one-sided": Entry("direp.rules:OneSided", "one phase at beta"),
        "centred": Entry("direp.rules:Centred", "two phases, at beta and -beta"),
        "random-sign": Entry("direp.rules:RandomSign", "one phase, at beta or -beta by chance", measured="centred"),
    }),
    "cost": Kind("direp.rules:AbstractCost", "sharpness outputs", {
        "squared": Entry("direp.rules:SquaredError"),
        "cross-entropy": Entry("direp.rules:CrossEntropy", "softmax readout"),
    }),
    "optimiser": Kind("optax:GradientTransformation", "b1=momentum momentum", {
        "adam": Entry("optax:scale_by_adam"),
        "sgd": Entry("direp.program.build:sgd"),
    }),
    "schedule": Kind("", "init_value=learning_rate decay_steps=updates", {
        "constant": Entry("direp.program.build:constant"),
        "cosine": Entry("optax:cosine_decay_schedule", "to zero"),
        "warm-cosine": Entry("direp.program.build:warm_cosine", "up over the first tenth, then to zero: for depth"),
    }, own=False),
    "method": Kind("direp.settling.methods:AbstractMethod", "network h=euler_step", {
        "auto": Entry("direp.settling.methods:choose_method", "by graph and size"),
        "preconditioned": Entry("direp.settling.methods:Preconditioned"),
        "coloured": Entry("direp.settling.methods:Coloured", "layered graphs"),
        "anderson": Entry("direp.settling.methods:Anderson", "large networks"),
        "newton": Entry("direp.settling.methods:Newton", "small ones"),
        "euler": Entry("direp.settling.methods:Euler"),
    }),
    "control": Kind("direp.training:AbstractControl", "margin floor=leak leak criterion follow through_leak mismatch", {
        "leak": Entry("direp.program.build:leak_control", "every unit's leak follows its weights"),
        "weights": Entry("direp.program.build:weight_control", "weights are scaled back, leaks stay"),
        "loops": Entry("direp.training:LoopProjection", "weights to earlier units are, for several layers"),
    }),
    "guarantee": Kind("direp.training:AbstractGuarantee", "margin=kept", {
        "none": Entry(),
        "sign-symmetric": Entry("direp.training:SignSymmetric"),
        "balanced": Entry("direp.training:Balanced"),
        "pairs": Entry("direp.training:Pairs"),
    }),
    "norm": Kind("direp.certificates:AbstractCriterion", "", {
        **_DIAGONAL,
        "euclidean": Entry("direp.certificates:Spectral", "in the Euclidean norm, which knows signs"),
    }),
    "criterion": Kind("direp.certificates:AbstractCriterion", "", {
        **_DIAGONAL,
        "compartmental": Entry("direp.certificates:Compartmental", "networks with outflow and without inhibition"),
        "spectral": Entry("direp.certificates:Spectral", "one singular value, or the symmetric part: knows signs"),
        "symmetric": Entry("direp.certificates:Symmetric", "the symmetric part of the weights"),
        "circle": Entry("direp.certificates:Circle", "a full Euclidean norm, by a Riccati equation"),
        "lmi": Entry("direp.certificates:LMI", "a Euclidean norm by semidefinite programming"),
        "vertices": Entry("direp.certificates:Vertices", "a Euclidean norm for every corner of the slopes"),
    }),
    "symptom": Kind("direp.program.doctor:AbstractSymptom", "", {  # of direp doctor, in the order of causes
        "unfinished": Entry("direp.program.doctor.symptoms:Unfinished", "interrupted, killed, ended by an error"),
        "data": Entry("direp.program.doctor.symptoms:Inputs", "inputs that are not scaled, odd columns, copied rows"),
        "uneven": Entry("direp.program.doctor.symptoms:Parts", "training rows unlike the others"),
        "diverged": Entry("direp.program.doctor.symptoms:Diverged", "weights or losses that are no numbers"),
        "unsettled": Entry("direp.program.doctor.symptoms:Unsettled", "free phases that do not come to rest"),
        "large-steps": Entry("direp.program.doctor.symptoms:LargeSteps", "a learning rate that overshoots"),
        "dead": Entry("direp.program.doctor.symptoms:Dead", "hidden units that never change"),
        "saturated": Entry("direp.program.doctor.symptoms:Saturated", "hidden units at their bounds"),
        "stifled": Entry("direp.program.doctor.symptoms:Stifled", "leaks that leave no activity"),
        "weak-nudge": Entry("direp.program.doctor.symptoms:WeakNudge", "a nudge that moves nothing"),
        "strong-nudge": Entry("direp.program.doctor.symptoms:StrongNudge", "a nudge that moves too far"),
        "blocked": Entry("direp.program.doctor.symptoms:Blocked", "no feedback reaches hidden units"),
        "small-steps": Entry("direp.program.doctor.symptoms:SmallSteps", "a learning rate that moves nothing"),
        "short": Entry("direp.program.doctor.symptoms:Short", "a loss that was still falling"),
        "misaligned": Entry("direp.program.doctor.symptoms:Misaligned", "a rule that does not follow the gradient"),
        "overfitted": Entry("direp.program.doctor.symptoms:Overfitted", "right on training rows alone"),
        "unexplained": Entry("direp.program.doctor.symptoms:Unexplained", "worse than a linear model all the same"),
    }),
    "reproduction": Kind("direp.program.reproduce:AbstractReproduction", "", {
        "deep-2020": Entry("direp.program.reproduce.deep_2020:Deep2020", "the gates, as DEEP was published"),
        "revisited": Entry("direp.program.reproduce.revisited:Revisited", "leaky networks, local rule, beside it"),
        "mnist": Entry("direp.program.reproduce.mnist:MNIST", "images, on three graphs"),
    }),
    "part": Kind("", "repeats", {  # of direp bench
        "startup": Entry("direp.program.bench:startup", "help and first result"),
        "gate": Entry("direp.program.bench:gate", "many small networks"),
        "dense": Entry("direp.program.bench:dense", "beside the product with the weights"),
        "sparse": Entry("direp.program.bench:sparse", "beside SciPy's product"),
        "ode": Entry("direp.program.bench:ode", "beside SciPy's solver"),
        "train": Entry("direp.program.bench_train:train", "beside the matrix products of an update"),
    }, own=False),
    "kind": _words(
        auto="by their looks", classification="labels", multilabel="rows of 0 and 1", regression="numbers"
    ),
    "keep": _words(best="epoch by validation", last="epoch"),
    "scale": _words(standard="", **{"global": "one variance", "range": "to [0, 1]", "none": ""}),
    "precision": _words("float32", "float64"),
    "device": _words("auto", "cpu", "gpu", "tpu"),
}  # fmt: skip


def names(kind: str, *, without: Iterable[str] = ()) -> tuple[str, ...]:
    return tuple(name for name in CATALOGUE[kind].entries if name not in without)


def describe(kind: str) -> str:
    """The names of a kind with their help, for `--help`."""
    parts = [f"{name} ({entry.help})" if entry.help else name for name, entry in CATALOGUE[kind].entries.items()]
    own = "; or your own, as module:Name" if CATALOGUE[kind].own else ""
    return ", ".join(parts) + own


def nearest(what: str, given: str, allowed: Iterable[str], more: str = "") -> str:
    """The message for a name that is not among those allowed."""
    allowed = tuple(allowed)
    near = difflib.get_close_matches(given, allowed, n=1) or difflib.get_close_matches(given.lower(), allowed, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{what} {given!r} is unknown: {hint}there are {', '.join(allowed)}{more}"


def flag(setting: str) -> str:
    """The option of a setting."""
    return "--" + setting.replace("_", "-")


def is_own(kind: str, name: str) -> bool:
    """Whether a name is the import path of a user's own part."""
    return CATALOGUE[kind].own and name not in CATALOGUE[kind].entries and ":" in name


def check(kind: str, name: str, what: str, *, more: str = "", without: Iterable[str] = ()) -> None:
    """Raise `WrongUse` for a name that is neither in the table nor an import path."""
    allowed = names(kind, without=without)
    if name not in allowed and not is_own(kind, name):
        own = ", or your own, as module:Name" if CATALOGUE[kind].own else ""
        raise WrongUse(nearest(what, name, allowed, more + own))
