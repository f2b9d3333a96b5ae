r"""What the wiring alone proves of the local rule, whatever the data: structural balance, detailed balance, pairs."""

import math
import sys
from collections import deque
from fractions import Fraction

import numpy as np

from ...model import ACTIVATIONS, OUTFLOWS, Network
from ..convergence import LocalLeak, Perron, Rows, System
from .certificate import Step
from .linear import shared


def _recurrent(network: Network) -> np.ndarray:
    return np.asarray(network.matrix, np.float64)[network.graph.inputs :]


_SHARED = "it needs a number of its own for every synapse, and this layout shares some"


def balance(weight: np.ndarray) -> np.ndarray | None:
    r"""Signs $\sigma$ with $\sigma_i\sigma_jw_{ij}\ge0$ for every synapse, or `None` if there are none."""
    return _walk(weight, lambda w, back: _one_sign(w, back), 1)


def _one_sign(w: float, back: float) -> int | None:
    # Signs are compared, not multiplied: a product of tiny weights is zero.
    signs = {float(np.sign(w)), float(np.sign(back))} - {0.0}
    return int(signs.pop()) if len(signs) == 1 else None


def gains(weight: np.ndarray) -> np.ndarray | None:
    r"""$t>0$ with $t_iw_{ji}=t_jw_{ij}$ for every pair, as fractions, or `None` if there is none."""

    def ratio(w: float, back: float) -> Fraction | None:
        return Fraction(back) / Fraction(w) if w and back and (w > 0) == (back > 0) else None

    return _walk(weight, ratio, Fraction(1))


def _walk(weight: np.ndarray, factor, one) -> np.ndarray | None:
    """Numbers with value_j = factor(w_ij, w_ji) value_i along every pair, or `None`. 1 at the last unit, an output."""
    size = len(weight)
    value = np.full(size, None, object)
    for root in reversed(range(size)):
        if value[root] is not None:
            continue
        value[root], queue = one, deque([root])
        while queue:
            i = queue.popleft()
            for j in np.flatnonzero((weight[i] != 0) | (weight[:, i] != 0)).tolist():
                step = factor(weight[i, j], weight[j, i])
                if step is None:
                    return None
                if value[j] is None:
                    value[j] = value[i] * step
                    queue.append(j)
                elif value[j] != value[i] * step:
                    return None
    return value


def structural(network: Network) -> Step:
    r"""**T5.** One output, no outflow, structurally balanced ($\sigma_i\sigma_jw_{ij}\ge0$), and the network contracts
    in a diagonal norm: then adjoint and response of a sample have equal signs at every unit, whatever the input, the
    target and the strength of the nudge, and no synapse moves the wrong way.

    $-J$ is an M-matrix up to the signs $\sigma$, for every state, so the inverse of $J$ and of its transpose, and of
    every mean of Jacobians between two phases, has the signs of $-\sigma\sigma^\top$. A phase with a negative nudge
    starts where its current points one way, and the flow, monotone up to $\sigma$, then moves every unit one way.
    """
    name, scope = "T5 structural balance", "any input and target, sample by sample"
    neuron = network.neuron
    if neuron.outflow.active or network.graph.outputs != 1:
        return Step(name, scope, note="it needs one output and no outflow")
    if shared(network) is not None:
        return Step(name, scope, note=_SHARED)
    if any(a.slope is None or a.slope[0] < 0 for a in (neuron.transfer, neuron.rate)):
        return Step(name, scope, note="it needs activations that do not fall")
    if balance(_recurrent(network)) is None:
        return Step(name, scope, note="some loop of free units has a negative product of weights")
    system = System.of(network)
    if not any(criterion.attempt(system).proof is not None for criterion in (LocalLeak(), Rows(), Perron())):
        return Step(name, scope, note="balanced, but no diagonal criterion proves that it contracts")
    return Step(name, scope, proved=True)


def detailed_balance(network: Network) -> Step:
    r"""**T6.** No outflow, and $t_iw_{ji}=t_jw_{ij}$ with $t>0$, equal at all outputs: then every synapse into unit $j$
    gets exactly $t_o/t_j$ times its gradient, the same for every sample: the rule descends on any batch.

    Symmetric weights, and every tree whose pairs have one sign (such as one hidden layer and one output).
    """
    name, scope = "T6 detailed balance", "any batch, in the limit of a small nudge"
    if network.neuron.outflow.active:
        return Step(name, scope, note="it needs a neuron without outflow")
    if shared(network) is not None:
        return Step(name, scope, note=_SHARED)
    gain = gains(_recurrent(network))
    if gain is None:
        return Step(name, scope, note="some pair lacks one direction or has two signs, or gains around a loop disagree")
    if any(g != 1 for g in gain[network.graph.hidden :]):
        return Step(name, scope, note="outputs that are joined need equal gains")
    ratio = max(max(g, 1 / g) for g in gain)
    largest = float(ratio) if ratio < sys.float_info.max else math.inf
    return Step(name, scope, proved=True, value=largest, note=f"gains of at most a factor {largest:.3g}")


def pairs(network: Network) -> Step:
    r"""**Pairs.** Units without nonlinearity (`Projected`), signed outflow, one hidden layer without lateral synapses,
    one output: $f_hb_h\ge0$ and $b_h\le\lambda_h+f_h$ with $\lambda_h\ge0$, $\Lambda_h>0$ for every hidden unit. Then
    each term of the closed form is non-negative, and that of the output's bias is positive: the rule descends on every
    sample by itself."""
    name, scope = "pairs of one hidden layer", "any input and target, sample by sample, in the limit of a small nudge"
    if not one_layer(network) or network.neuron.outflow != OUTFLOWS["signed"] or not network.graph.bias:
        note = "it needs Projected units with signed outflow and biases, one hidden layer and one output"
        return Step(name, scope, note=note)
    if shared(network) is not None:
        return Step(name, scope, note=_SHARED)
    weight = _recurrent(network)
    h = network.graph.hidden
    forth = [Fraction(float(w)) for w in weight[:h, h]]
    back = [Fraction(float(w)) for w in weight[h, :h]]
    leak = [Fraction(float(v)) for v in np.asarray(network.leak, np.float64)[:h]]
    bad = [k for k, (f, b, v) in enumerate(zip(forth, back, leak, strict=True)) if f * b < 0 or b > v + f or v + f <= 0]
    if bad:
        return Step(name, scope, note=f"{len(bad)} hidden units miss their inequalities", blame=tuple(bad))
    return Step(name, scope, proved=True)


def plain(network: Network) -> bool:
    """Units that send their state and take their drive as they are; closed forms count in such states."""
    identity = ACTIVATIONS["identity"]
    return network.neuron.transfer == identity and network.neuron.rate == identity


def one_layer(network: Network) -> bool:
    """Units without nonlinearity, one output, no synapse between hidden units."""
    graph = network.graph
    free = graph.adjacency()[graph.inputs :]
    alone = plain(network) and graph.outputs == 1 and graph.hidden > 0
    return alone and not free[: graph.hidden, : graph.hidden].any()
