"""What a user should know of a training that cannot learn as it might: by its rule, its graph, its units."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..model import Network, Parameters
from ..rules import Adjoint, cosine, estimate, feedback_of, initialise, nudges_of
from ..settling import Tolerance
from ..training import Run
from .build import Parts
from .settings import Settings, is_file

_SAMPLES = 64  # training samples that are looked at
_LARGE = 30.0  # an input that is worth a word
_CLOSE = 0.7  # from this cosine on there is nothing to say
_NOTHING = 1e-3  # a share of the gradient that is rounding, or the end of settling
_DWARFS = 10.0  # standard deviations of a column over the spread of its middle half
_AGAIN = 0.05  # a share of rows
_CLEAR = 5e5  # from so many units in the last place on, a nudge is clear
_FAINT = 0.2  # an error of the first update that is worth a word
_MANY = 0.5  # this share of dead hidden units is worth a word
_LIFTED = ("dyadic", "adjoint")  # rules that --lift changes


def misfit(parts: Parts) -> str | None:
    """How far from the gradient hidden synapses begin to learn, by a rule without a channel of its own, where half of
    all synapses or more have no way back or errors have several layers to pass; and what to take instead. `None` where
    nothing of the kind is known."""
    graph = parts.graph
    one_way, layers = 1 - graph.reciprocity, len(graph.layers or ()) - 2
    if feedback_of(parts.rule) or (one_way < 0.5 and layers < 2):
        return None
    network, task, key = parts.started()[0], parts.task, parts.key
    x, y = (table[:_SAMPLES].astype(network.dtype) for table in task.train)
    bare = Parts(dataclasses.replace(parts.settings, lift=False), task).rule  # what lifts an output is no channel
    rules = initialise(bare, network, key), Adjoint(), Adjoint(lift=True)  # the last looks past outputs at a bound
    settings: Any = {"cost": parts.cost, "stop": Tolerance(max_steps=1000), "key": key}
    both = [_into_hidden(network, estimate(network, x, y, rule, **settings).gradient) for rule in rules]
    learned, *exact = (
        np.linalg.norm(np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(g[:2])])) for g in both
    )
    cure = "--rule asym-ep --feedback learned has a channel for it"
    if learned < _NOTHING * max(exact):
        return f"{type(parts.rule).__name__} teaches hidden units nothing, as nothing comes back to them; {cure}"
    found = float(cosine(network, *both[:2]))
    if not found < _CLOSE:  # or unknown: both are zero
        return None
    why = f"{one_way:.0%} of synapses between free units have no way back" if one_way >= 0.5 else f"{layers} layers"
    angle = np.degrees(np.arccos(np.clip(found, -1, 1)))
    return (
        f"{type(parts.rule).__name__} begins {angle:.0f} degrees from the gradient at synapses into "
        f"hidden units ({why}); {cure}"
    )


def faint(parts: Parts) -> str | None:
    r"""How far the first update is from what the same nudge says at equilibria of 64 bits, where that is more than a
    little; and what to take instead. `None` where the response to the nudge is clear.

    Both estimates are of one batch, $\hat g$ as the run settles and $\tilde g$ down to $10^{-12}$; a sample that no
    nudge moves is missing from the former. The error of settling is $\lVert\hat g-\tilde g\rVert/\lVert\tilde
    g\rVert$. As phases settle to a share of what the nudge changes, a loose tolerance adds a few per cent; what drowns
    a response is rounding, by about the precision over $\beta$.
    """
    settings, nudges = parts.settings, nudges_of(parts.rule)
    if not nudges or settings.fixed_steps:
        return None
    beta = min(abs(float(beta)) for nudge in nudges for beta in nudge.strengths)
    clear = _CLEAR * float(jnp.finfo(settings.precision).eps)
    if beta >= clear:
        return None
    network = parts.started()[0]
    x, y = (table[: min(settings.batch_size or _SAMPLES, _SAMPLES)] for table in parts.task.train)
    error = _error_of_settling(parts, network, x, y)
    if error is None or not error > _FAINT:  # training says so itself where no sample is moved
        return None
    enough, left = beta, error
    while left > _FAINT and enough < clear:  # an error of all there is does not say how much is missing
        enough *= left / (_FAINT / 2)
        digit = 10 ** np.floor(np.log10(enough))
        enough = float(np.ceil(enough / digit) * digit)
        fades = None if settings.beta_end is None else settings.beta_end * enough / beta
        stronger = dataclasses.replace(settings, beta=settings.beta * enough / beta, beta_end=fades)
        found = _error_of_settling(Parts(stronger, parts.task), network, x, y)
        left = 1.0 if found is None else found
    wider = "" if settings.precision == "float64" else ", or --precision float64"
    return (
        f"a nudge of {beta:g} moves the network by little more than settling in {settings.precision} leaves open, an "
        f"error of {error:.0%} in the first update: take --beta {enough:g} or more{wider}"
    )


def _error_of_settling(parts: Parts, network: Network, x: Any, y: Any) -> float | None:
    """That of the first update, as a share of it; `None` where the nudge moves no sample."""
    own = network, initialise(parts.rule, network, parts.key)
    given: dict[str, Any] = {"cost": parts.cost, "key": parts.key}
    as_run = estimate(network, x, y, own[1], stop=parts.fit()["stop"], **given)
    if not np.asarray(as_run.used).any():
        return None
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        wide, rule = jax.tree.map(_wide, own)
        fine = estimate(wide, x, y, rule, stop=Tolerance(1e-12, 1e-12, max_steps=20_000), **given)
        pairs = zip(*(jax.tree.leaves(found.gradient._replace(leak=0)) for found in (as_run, fine)), strict=True)
        both = [(np.asarray(a, float), np.asarray(b, float)) for a, b in pairs]
    size = np.sqrt(sum((b**2).sum() for _, b in both))
    return float(np.sqrt(sum(((a - b) ** 2).sum() for a, b in both)) / size) if size else 0.0


def unscaled(parts: Parts) -> str | None:
    """Inputs of a size that saturates units, and what scales them; `None` where all are of a size."""
    x = np.abs(parts.task.train.x).max(0)
    if parts.settings.scale != "none" or not x.size or x.max() <= _LARGE:
        return None
    kept, k = parts.task.preparation, int(x.argmax())
    name = f"input {kept.inputs.names[k]!r}" if kept is not None else f"input {k}"
    return f"{name} reaches {x.max():.3g} and inputs are not scaled, which saturates units: leave out --scale none"


def odd_data(parts: Parts) -> str | None:
    """What a user's own data may hold unseen: columns in which a few values dwarf all others, and test rows that stand
    among those that the network learns from."""
    task, kept = parts.task, parts.task.preparation
    if kept is None or not is_file(parts.settings.task):
        return None
    said, targets = [], kept.targets
    tables = {"column": (task.train.x, kept.inputs.names)}
    if targets.kind == "regression":
        tables["target"] = task.train.y, targets.names or tuple(map(str, range(task.outputs)))
    for what, (table, names) in tables.items():
        low, high = np.percentile(table, (25, 75), axis=0)
        dwarfed = (high > low) & (table.std(0) > _DWARFS * (high - low))
        if dwarfed.any():
            shown = ", ".join(repr(names[k]) for k in np.flatnonzero(dwarfed)[:4])
            said.append(
                f"{what} {shown} holds a few values beside which all others are alike: remove or clip them, or take "
                "logarithms"
            )
    rows = {row.tobytes() for row in np.ascontiguousarray(task.train.x)}
    again = sum(row.tobytes() in rows for row in np.ascontiguousarray(task.test.x))
    if again > _AGAIN * len(task.test.x):
        said.append(
            f"{again} of {len(task.test.x)} test rows stand in the training part too: the test is no test of them"
        )
    return "; ".join(said) or None


def _wide(leaf: Any) -> Any:
    return jnp.asarray(np.asarray(leaf), jnp.float64) if eqx.is_inexact_array(leaf) else leaf


def _into_hidden(network: Network, gradient: Parameters) -> Parameters:
    graph = network.graph
    part = network.synapses.build(lambda _, target: (target < graph.inputs + graph.hidden).astype(network.dtype))
    bias = (np.arange(graph.free) < graph.hidden).astype(network.dtype)
    return gradient._replace(weight=jax.tree.map(jnp.multiply, gradient.weight, part), bias=gradient.bias * bias)


def dead_units(run: Run, settings: Settings) -> dict[str, Any]:
    """The shares of hidden units and of outputs without a gradient in the last epoch, means over the seeds; and, where
    outputs or most hidden units are among them, what helps."""
    if not run.history:
        return {}
    hidden, outputs = (run.history[name][-1] for name in ("dead", "dead_outputs"))
    found: dict[str, Any] = {"hidden": float(hidden.mean()), "outputs": float(outputs.mean())}
    said = []
    if (outputs > 0).any():
        cure = "a stronger nudge (--beta)" if nudges_of(run.rules[0]) else "--rule dyadic --lift"
        cure = "--lift" if settings.rule in _LIFTED and not settings.lift else cure
        said.append(
            f"{outputs.mean():.0%} of outputs (in {(outputs > 0).sum()} of {len(run.seeds)} networks) stand at a bound "
            f"for every sample that they get wrong, where they have no gradient: {cure} pulls them off"
        )
    if hidden.mean() >= _MANY:
        said.append(
            f"{hidden.mean():.0%} of hidden units have no gradient for any sample: let them begin with a drive "
            "(--bias 0.3), or take a neuron without bounds (--neuron rate --activation sigmoid)"
        )
    return {**found, **({"advice": "; ".join(said)} if said else {})}
