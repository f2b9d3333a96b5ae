r"""Conditions on the responses at given inputs, in the limit of a small nudge: T1 to T4 and the closed forms.

Over the error directions $E$ (one column each) let $A$ and $\hat A$ be what the exact gradient and the rule make of
them, synapse by synapse. The rule descends for every error in the span iff $Q=A\hat A^\top$ has a positive definite
symmetric part.
"""

from collections.abc import Sequence

import flint
import numpy as np

from ...arithmetic import Form, Near, exact, matrix, positive_definite
from ...model import OUTFLOWS, Network
from .certificate import Step
from .linear import Sample, dense, shared
from .structure import one_layer, plain

_CORNER = "a unit rests where its slope is not certainly zero or above: near a corner of its activation, or it falls"
_EACH = "these inputs, any target, sample by sample, in the limit of a small nudge"


def symmetric(form: flint.arb_mat) -> flint.arb_mat:
    return (form + form.transpose()) * flint.arb(0.5)


def _definite(form: flint.arb_mat) -> bool:
    return positive_definite(dense(form))


def _negative_direction(form: flint.arb_mat) -> np.ndarray | None:
    """A direction along which a symmetric form is certainly negative."""
    middle = np.array([[float(entry.mid()) for entry in row] for row in form.tolist()])
    if not np.isfinite(middle).all() or not len(middle):
        return None
    values, vectors = np.linalg.eigh((middle + middle.T) / 2)
    if values[0] >= 0:
        return None
    column = matrix(exact(vectors[:, :1]))
    return vectors[:, 0] if (column.transpose() * form * column)[0, 0] < 0 else None


def _unit_columns(size: int, units: np.ndarray) -> np.ndarray:
    return exact(np.eye(size)[:, units])


class Directions:
    """Unit errors at some units of some samples, with what the synapses make of each.

    A unit whose error changes no synapse, neither by the gradient nor by the rule, is left out. One with a slope of
    zero can still count: with outflow, a unit whose `transfer` is saturated has a gradient by what it sends.
    """

    def __init__(self, samples: Sequence[Sample], units: Sequence[np.ndarray]):
        gradients, estimates, self.units = [], [], []
        for sample, chosen in zip(samples, units, strict=True):
            currents = _unit_columns(len(sample.rates), chosen)
            rows = [sample.synapses(part).tolist() for part in (sample.adjoint(currents), sample.response(currents))]
            for unit, one, other in zip(chosen, *rows, strict=True):
                if not all(entry == 0 for entry in (*one, *other)):
                    gradients.append(one)
                    estimates.append(other)
                    self.units.append(int(unit))
        self.exact, self.estimated = (
            flint.arb_mat(part) if part else flint.arb_mat(0, 0) for part in (gradients, estimates)
        )
        self.form = symmetric(self.exact * self.estimated.transpose())


def conditions(samples: Sequence[Sample]) -> list[Step]:
    """Every condition that says something of these samples."""
    network = samples[0].network
    graph = network.graph
    steps = []
    outputs = np.arange(graph.hidden, graph.free)
    steps.append(_outputs(samples, outputs))
    if graph.free <= 24 and graph.free * graph.synapses * len(samples) <= 100_000:
        steps += [_every(samples), _angle(samples), _closed(samples)]
    return steps + _forms(samples)


_SMALL, _PAIRS, _WORK = (64, 100_000), 1024, 3e11  # pairs, and pairs (or their square) times synapses


def _outputs(samples: Sequence[Sample], outputs: np.ndarray) -> Step:
    r"""**T3.** Errors live on outputs only, the same weights serve all samples: $Q$ over all pairs of sample and
    output, cross terms included. Few pairs are decided in balls, up to about a thousand by a verified factorisation in
    64 bits. More pairs than numbers that learn have a singular $Q$: then some errors cancel, and T3 cannot hold."""
    name, scope = "T3 output errors", "these inputs, any targets, in the limit of a small nudge"
    network = samples[0].network
    if not all(sample.settled for sample in samples):
        return Step(name, scope, note=_CORNER)
    units = [outputs[sample.inside[outputs]] for sample in samples]
    pairs = sum(map(len, units))
    numbers = len(np.unique(_group(network))) + network.graph.bias * network.graph.free
    many = f"{pairs} pairs of sample and output, but only {numbers} numbers that learn: the form is singular"
    if pairs <= _SMALL[0] and pairs * network.graph.synapses <= _SMALL[1]:
        found = Directions(samples, units)
        sign = 1 if _definite(found.form) else -1 if _negative_direction(found.form) is not None else 0
        answered = len(found.units)
    elif pairs <= _PAIRS and float(pairs) ** 2 * network.graph.synapses <= _WORK:
        form = _form(samples, units)
        sign, answered = form.sign(), int((~form.silent).sum())
    elif pairs > numbers:
        return Step(name, scope, note=f"not tried; there are {many}")
    else:
        return Step(
            name, scope, note=f"not tried: {pairs} pairs of sample and output, {network.graph.synapses} synapses"
        )
    if not answered:
        return Step(name, scope, note="no output unit answers")
    notes = {1: "", -1: "there are targets for which it ascends"}
    note = notes.get(sign, f"there are {many}" if answered > numbers else "not decided")
    return Step(name, scope, proved=sign > 0, refuted=sign < 0, note=note)


def _group(network: Network) -> np.ndarray:
    """For every synapse the number of its strength."""
    group = shared(network)
    return np.arange(network.graph.synapses) if group is None else group


def _form(samples: Sequence[Sample], units: Sequence[np.ndarray]) -> Form:
    """$Q$ from what each pair makes of the synapses, a block of these at a time: no table of all is formed."""
    network, graph = samples[0].network, samples[0].network.graph
    parts: list[list[Near]] = [[], [], [], []]  # post and back, of the gradient and of the rule: pairs x free units
    for sample, chosen in zip(samples, units, strict=True):
        currents = _unit_columns(len(sample.rates), chosen)
        for part, balls in zip(parts, (*sample.adjoint(currents), *sample.response(currents)), strict=True):
            part.append(Near.of(balls.T))
    signals = [Near(*(np.concatenate([getattr(n, end) for n in part]) for end in ("mid", "rad"))) for part in parts]
    of = np.repeat(np.arange(len(samples)), [len(chosen) for chosen in units])
    sent = Near.of(np.stack([np.concatenate([exact(sample.x), sample.rates]) for sample in samples]))
    state = Near.of(np.stack([sample.free.state for sample in samples]))

    outflow, group = network.neuron.outflow, _group(network)
    order = np.argsort(group, kind="stable")
    source, target = graph.source[order], graph.target[order] - graph.inputs
    slope = outflow.slope(np.asarray(network.matrix, np.float64)[source, target]) * (source >= graph.inputs)
    starts = np.flatnonzero(np.r_[True, np.diff(group[order]) > 0])
    form = Form(len(of))
    block = max(1, 4_000_000 // max(len(of) * -(-len(order) // len(starts)), 1))  # numbers that learn, at a time
    for first in range(0, len(starts), block):
        heads = starts[first : first + block]
        end = starts[first + block] if first + block < len(starts) else len(order)
        some = slice(heads[0], end)
        pair = np.ix_(of, source[some])
        made = []
        for post, back in (signals[:2], signals[2:]):
            rows = sent[pair] * post[:, target[some]]
            if outflow.active:
                unit = np.maximum(source[some] - graph.inputs, 0)
                lost = state[np.ix_(of, unit)] * back[:, unit]
                rows = rows - Near(slope[some] * lost.mid, np.abs(slope[some]) * lost.rad)
            made.append(rows.sums(heads - heads[0]))
        form.add(*made)
    if graph.bias:
        form.add(signals[0], signals[2])
    return form


def _every(samples: Sequence[Sample]) -> Step:
    r"""**T1.** Every error direction on every unit, sample by sample: necessary and sufficient. Where all of them
    answer, $\lVert\tilde J_A\tilde J_S^{-1}\rVert_2<1$ with $\tilde J=K^{-1/2}NK^{-1/2}$, which is
    $\mathrm{Sym}(N^{-1}KN^{-1})\succ0$."""
    name = "T1 every direction"
    scope = "these inputs, errors at any unit, sample by sample, in the limit of a small nudge"
    if not all(sample.settled for sample in samples):
        return Step(name, scope, note=_CORNER)
    decided, some = True, False
    for sample in samples:
        found = Directions([sample], [np.flatnonzero(sample.inside)])
        some = some or bool(found.units)
        if not found.units or _definite(found.form):
            continue
        direction = _negative_direction(found.form)
        if direction is not None:
            worst = tuple(found.units[k] for k in np.argsort(-abs(direction))[:3])
            return Step(name, scope, refuted=True, note="there are errors for which it ascends", blame=worst)
        decided = False
    if not decided or not some:
        return Step(name, scope, note="not decided" if not decided else "no unit answers")
    return Step(name, scope, proved=True)


def _reduced(sample: Sample) -> np.ndarray:
    r"""$N=W^\top-\Lambda\,\mathrm{diag}(\psi'\varphi')^{-1}$ on the units that answer."""
    units = sample.responsive
    slope = (sample.rate_slope * sample.transfer_slope)[units]
    return sample.field.coupling[np.ix_(units, units)] - np.diag(sample.field.leak[units] / slope)


def _parts(square: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return (square + square.T) * 0.5, (square - square.T) * 0.5


def _at_most(scale: flint.arb, metric: np.ndarray, skew: np.ndarray) -> bool:
    r"""Whether $\lVert M^{-1/2}AM^{-1/2}\rVert_2<$ `scale`, for an antisymmetric $A$: scale $M\pm iA\succ0$."""
    return positive_definite(np.block([[metric * scale, -skew], [skew, metric * scale]]))


def _middle(balls: np.ndarray) -> np.ndarray:
    return np.array([[float(entry.mid()) for entry in row] for row in balls])


def _angle(samples: Sequence[Sample]) -> Step:
    r"""**T2.** With $M=-N_S\succ0$ and $\omega=\lVert M^{-1/2}N_AM^{-1/2}\rVert_2$, adjoint and response enclose an
    angle of at most $2\arctan\omega$ in the metric $M$, whatever the error. Says nothing of the metric in which
    synapses add up, unless $K$ is proportional to $M$."""
    name, scope = "T2 angle", "these inputs, adjoint against response in the metric -Sym(N), sample by sample"
    if not all(sample.settled for sample in samples):
        return Step(name, scope, note=_CORNER)
    largest = 0.0
    for sample in samples:
        if not sample.responsive.any():
            continue
        even, skew = _parts(_reduced(sample))
        metric = -even
        if not positive_definite(metric):
            return Step(name, scope, note="-Sym(N) is not positive definite")
        root = np.linalg.inv(np.linalg.cholesky(_middle(metric)))
        omega = float(np.linalg.norm(root @ _middle(skew) @ root.T, 2)) * (1 + 1e-9) + 1e-12
        if not _at_most(flint.arb(omega), metric, skew):
            return Step(name, scope, note="not decided")
        largest = max(largest, omega)
    degrees = float(np.degrees(2 * np.arctan(largest))) * (1 + 1e-12)
    return Step(name, scope, proved=True, value=degrees, note=f"at most {degrees:.3g} degrees")


def _closed(samples: Sequence[Sample]) -> Step:
    r"""**T4.** $\min_i\Lambda_i/d_i>\lambda_{\max}(W_S)+\sqrt{\mathrm{cond}K}\,\lVert W_A\rVert_2$ over the units that
    answer, with $d=\psi'\varphi'$ and $K=\sum_\theta\partial_\theta F\,\partial_\theta F^\top$. Implies T1."""
    name = "T4 closed form"
    scope = "these inputs, errors at any unit, sample by sample, in the limit of a small nudge"
    network = samples[0].network
    if not network.neuron.transfer.linear and network.neuron.outflow.active:
        return Step(name, scope, note="with a transfer such as that of Rate it needs a neuron without outflow")
    if not all(sample.settled for sample in samples):
        return Step(name, scope, note=_CORNER)
    for sample in samples:
        units = np.flatnonzero(sample.responsive)
        if not len(units):
            continue
        unit = _unit_columns(len(sample.rates), units)
        rows = sample.synapses((unit, unit))
        kernel = dense(rows * rows.transpose())
        values = np.linalg.eigvalsh(_middle(kernel))
        low, high = flint.arb(float(values[0]) * (1 - 1e-9)), flint.arb(float(values[-1]) * (1 + 1e-9))
        one = exact(np.eye(len(units)))
        if not (low > 0 and positive_definite(kernel - one * low) and positive_definite(one * high - kernel)):
            return Step(name, scope, note="K is singular: some unit has no synapse that is active")
        slope = (sample.rate_slope * sample.transfer_slope)[units]
        even, skew = _parts(sample.field.coupling[np.ix_(units, units)])
        top = flint.arb(float(np.linalg.eigvalsh(_middle(even))[-1]) + 1e-9 * (1 + float(np.abs(_middle(even)).sum())))
        side = flint.arb(float(np.linalg.norm(_middle(skew), 2)) * (1 + 1e-9) + 1e-12)
        fine = positive_definite(one * top - even) and _at_most(side, one, skew)
        bound = top + (high / low).sqrt() * side
        if not (fine and all(value > bound for value in sample.field.leak[units] / slope)):
            return Step(name, scope, note="the asymmetry is too large for the leaks")
    return Step(name, scope, proved=True)


def _forms(samples: Sequence[Sample]) -> list[Step]:
    """The closed forms: the number whose sign decides, for every target, sample by sample."""
    network = samples[0].network
    wanted = [(one_layer, _one_layer), (_two_hidden, _two)]
    steps = []
    for applies, form in wanted:
        if not applies(network) or network.neuron.outflow not in (OUTFLOWS["none"], OUTFLOWS["signed"]):
            continue
        name = {_one_layer: "one hidden layer", _two: "two hidden units"}[form]
        if shared(network) is not None:
            steps.append(Step(name, _EACH, note="it needs a number of its own for every synapse"))
            continue
        if not all(sample.inside.all() for sample in samples):
            steps.append(Step(name, _EACH, note="a unit rests at a face"))
            continue
        values = [form(sample) for sample in samples]
        steps.append(
            Step(
                name, _EACH, proved=all(v > 0 for v in values), refuted=any(v < 0 for v in values),
                value=min(float(v.mid()) for v in values),
            )
        )  # fmt: skip
    return steps


def _two_hidden(network: Network) -> bool:
    return plain(network) and network.graph.hidden == 2 and network.graph.outputs == 1


def _squares(sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    r"""Squared rates that each free unit receives: from inputs and its bias, and pair by pair from free units."""
    graph = sample.network.graph
    exists = graph.adjacency().astype(float)
    outside = exact(exists[: graph.inputs].T) @ (exact(sample.x) ** 2) + float(graph.bias)
    pair = exact(exists[graph.inputs :]) * (sample.rates**2)[:, None]
    return outside, pair


def _one_layer(sample: Sample) -> flint.arb:
    r"""No outflow: $X_o+\sum_hX_hf_hb_h/\Lambda_h^2$ with all squared rates into each unit in $X$. Signed outflow:
    the same with those from inputs and bias alone, and $\sum_h\theta_{ho}\frac{\lambda_h}{\Lambda_h}
    (1-\frac{b_h}{\Lambda_h})$, $\theta_{ho}$ the squared rates of the pair's synapses."""
    outside, pair = _squares(sample)
    h = sample.network.graph.hidden
    forth, back = sample.field.coupling[h, :h], sample.field.coupling[:h, h]
    total = sample.field.leak[:h]
    if sample.network.neuron.outflow == OUTFLOWS["none"]:
        into = outside + pair.sum(0)
        return into[h] + sum(into[:h] * forth * back / total**2)
    leak, theta = exact(np.asarray(sample.network.leak)[:h]), pair[:h, h] + pair[h, :h]
    rest = theta * leak / total * (1 - back / total)
    return outside[h] + sum(outside[:h] * forth * back / total**2 + rest)


def _two(sample: Sample) -> flint.arb:
    r"""With $P=\Lambda_1\Lambda_2-w_{12}w_{21}$, $A_1=\Lambda_2f_1+w_{12}f_2$, $A_2=\Lambda_1f_2+w_{21}f_1$,
    $B_1=\Lambda_2b_1+w_{21}b_2$, $B_2=\Lambda_1b_2+w_{12}b_1$. No outflow: $X_1A_1B_1+X_2A_2B_2+X_oP^2$. Signed
    outflow: the same with inputs and bias alone, $+\theta_{12}(A_1-A_2)(B_1-B_2)+\sum_i\theta_{io}(P-A_i)(P-B_i)$."""
    outside, pair = _squares(sample)
    w, (one, two) = sample.field.coupling.T, sample.field.leak[:2]
    forth, back = w[:2, 2], w[2, :2]
    p = one * two - w[0, 1] * w[1, 0]
    a = (two * forth[0] + w[0, 1] * forth[1], one * forth[1] + w[1, 0] * forth[0])
    b = (two * back[0] + w[1, 0] * back[1], one * back[1] + w[0, 1] * back[0])
    if sample.network.neuron.outflow == OUTFLOWS["none"]:
        into = outside + pair.sum(0)
        return into[0] * a[0] * b[0] + into[1] * a[1] * b[1] + into[2] * p**2
    theta = pair + pair.T
    lateral = theta[0, 1] * (a[0] - a[1]) * (b[0] - b[1])
    rest = sum(theta[k, 2] * (p - a[k]) * (p - b[k]) for k in range(2))
    return outside[0] * a[0] * b[0] + outside[1] * a[1] * b[1] + outside[2] * p**2 + lateral + rest
