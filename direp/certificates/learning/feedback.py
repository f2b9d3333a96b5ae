r"""How far companions of synapses lead a rule from the gradient, unit by unit, and when it descends all the same.

On the units that no bound holds, $B=\psi'W\varphi'$ and $\hat B=\psi'M\varphi'$, the exact rule has
$(B-\Lambda)a=\partial_sC$ and companions give $(\hat B-\Lambda)\hat a=\partial_sC$. So $(\Lambda-B)(\hat a-a)=
(\hat B-B)\hat a$, and where $\Lambda-|B|$ is a nonsingular M-matrix, $|(\Lambda-B)^{-1}|\le(\Lambda-|B|)^{-1}$ and

$$|\hat a-a|\le\varepsilon:=(\Lambda-|B|)^{-1}\,|(\hat B-B)\hat a|,$$

with equality where $B\ge0$ and the entries of $(\hat B-B)\hat a$ have one sign. The gradient is linear in responses,
$\hat g=G\hat a$ and $g=Ga$. With $v=G^\top\hat g$, $|\langle\hat g,\hat g-g\rangle|\le\sum_n|v_n|\cdot
\varepsilon_n$: the least that holds for all $\hat a-a$ within $\pm\varepsilon$.

Derived here. Ostrowski (1937) compares inverses of matrices with those of M-matrices.
"""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Num

from ...model import Network
from ...model.synapses import Weight
from ...rules import (
    AbstractCost,
    AbstractFeedback,
    AbstractRule,
    AdjointField,
    SquaredError,
    companions,
    feedback_of,
    parameters_of,
    state_gradient,
)  # fmt: skip
from ...settling import AbstractMethod, AbstractStop, Settled, Tolerance, compiled, linearise, settle, traced
from ..convergence import refuse_tracing
from .corners import unknown_motion

_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class FeedbackBound:
    r"""What is proved of the update that a rule with companions makes of a batch, in the limit of a small nudge.

    - `response`: $\hat a$ (batch x free). `error`: $\varepsilon\ge|\hat a-a|$, the same shape; infinite where
      $\Lambda-|B|$ is no M-matrix. `used`: the samples that settled; of others nothing is known, and they do not count.
    - `crude`: the bound of $\max_i|\hat a_i-a_i|$ of every sample by norms alone, $\mathrm{gap}\,\max_i|\hat a_i|/c$
      with $\mathrm{gap}=d_2\max_i\sum_j|m_{ij}-w_{ij}|$ and $c=\min_i(\Lambda_i-d_2\sum_j|w_{ij}|)$. Infinite where
      the rule lifts an output off its face, whose adjoint is 0.
    - `lost`: $\sum_n|v_n|\cdot\varepsilon_n/\lVert\hat g\rVert^2$, the largest share of $\langle\hat g,\hat g\rangle$
      that $\langle\hat g,g\rangle$ can lack, and what the cost may gain by leaks that move otherwise than the update
      knows: by weights of zero, whose size grows either way, or as a control will have it. The update descends if it is
      below 1; else companions must come as many times nearer. Infinite where the update is zero, too, and where the
      leaks follow a norm that moves.
    - `apart`: a bound of $\lVert\hat g-g\rVert/\lVert\hat g\rVert$. Infinite where leaks move so: it is no corner
      that has a gradient.
    - `condition`: $\chi=\sum_n\lVert v_n\rVert_1\max_i|\hat a_{ni}|/\lVert\hat g\rVert^2$, how far samples and units
      cancel in the update: $\mathrm{lost}\le\chi\,\mathrm{gap}/c$, leaks that move so left aside. Infinite where an
      output is lifted.
    """

    response: np.ndarray
    error: np.ndarray
    used: np.ndarray
    crude: np.ndarray
    lost: float
    apart: float
    condition: float

    @property
    def descends(self) -> bool:
        r"""Whether $\langle\hat g,g\rangle>0$ is proved: every small enough step lowers the mean cost."""
        return self.lost < 1

    @property
    def relative_error(self) -> float:
        r"""A bound of $\lVert\hat g-g\rVert/\lVert g\rVert$; infinite where descent is not proved."""
        return self.apart / (1 - self.lost) if self.descends else math.inf

    @property
    def cosine(self) -> float:
        """A lower bound of the cosine between the update and the gradient; -1 where nothing is proved."""
        lost, apart = min(self.lost, self.apart), self.apart
        # Along the update the gradient lacks a share of at most `lost`, and across it the rest of `apart`.
        if lost < min(apart**2, 1.0):
            return (1 - lost) / math.sqrt((1 - lost) ** 2 + apart**2 - lost**2) if apart < math.inf else 0.0
        return math.sqrt(1 - apart**2) if apart < 1 else -1.0

    @property
    def angle(self) -> float:
        """The largest angle between them that is not excluded, in degrees."""
        return math.degrees(math.acos(self.cosine))

    def __repr__(self) -> str:
        said = f"descends, at most {self.angle:.3g} degrees from the gradient" if self.descends else "not proved"
        return f"FeedbackBound({said}; {self.used.sum()} samples, lost {self.lost:.3g})"


def bound_feedback(
    network: Network,
    x: Num[ArrayLike, "batch input"],
    y: Num[ArrayLike, "batch output"],
    rule: AbstractRule,
    *,
    cost: AbstractCost | None = None,
    control: Any = None,
    hidden_only: bool = False,
    method: AbstractMethod | None = None,
    stop: AbstractStop | None = None,
) -> FeedbackBound:
    r"""Bound what a batch's update by companions misses of the gradient, and prove that it descends, where it does.

    Needs $\hat a$, which the rule has, and not $a$. Computed in 64 bits from the numbers as stored, rounding of the
    linear algebra included, at the equilibria and slopes that settling with `stop` finds: a unit so near a face or a
    corner that the tolerance hides on which side it is may count on the wrong one. `certify_learning` encloses
    equilibria, and judges the gradient that a strong nudge returned; this one tells how much companions may differ. A
    dense system for every sample: up to about a thousand free units.

    **Arguments:**

    - `rule`: `AsymEP` or `Dyadic` with companions that are drawn (`Run.rules`, or `rules.initialise`). What `lift`
      adds counts as error.
    - `control`: that of the training. What the cost owes to leaks that follow weights or companions then belongs to
      both gradients. Leaks above what it asks for count as staying; that steps are cut or scaled back is not covered.
    - `hidden_only`: of the update and the gradient what hidden units learn, by the synapses into them and their biases.
      Outputs know their own errors, and most of a gradient is often theirs.
    - `cost`, `method`: as in `settle` and `estimate`. `stop`: by default a tolerance of $10^{-12}$.

    Weights and biases learn; leaks stay, or follow the control. Raises `ValueError` for a rule without companions of
    its own (such as `Homeostasis`, whose update is that of a rule and a penalty), for a layout whose synapses share
    strengths, and when traced.
    """
    refuse_tracing("bound_feedback", network, x, y, rule, control)
    network.synapses.refuse_shared("bound_feedback")
    feedback = _feedback("bound_feedback", rule, network)
    cost, beside = SquaredError() if cost is None else cost, companions(parameters_of(rule))
    x, y = (np.asarray(table).astype(network.dtype).astype(np.float64) for table in (x, y))
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"), jax.default_matmul_precision("highest"):
        double = network.astype(np.float64)
        stop = Tolerance(1e-12, 1e-12, max_steps=50_000) if stop is None else stop
        settled = settle(double, x, method=method, stop=stop)
        used = np.asarray(settled.converged)
        lift = bool(getattr(rule, "lift", False))
        system = _system(double, jax.tree.map(lambda w: w.astype(np.float64), feedback), x, y, cost, settled, lift)
        response, error = _responses(*(np.asarray(part) for part in system), used)
        learns = (np.arange(network.graph.free) < network.graph.hidden) | (not hidden_only)
        about = double, x, settled.state, settled.drive, used, learns, network, traced(control, network.dtype), beside
        *numbers, known, step, owed, doubt = map(np.asarray, _update(*about, response, error))
    size, missing, terms, spread, apart = map(float, numbers)
    eps = _EPS if control is None else float(jnp.finfo(network.dtype).eps)  # a control works in the network's precision
    rounding = 8 * (network.graph.units + len(x) + 16) * eps
    weight, companion, leak = (np.asarray(part) for part in system[:3])
    rate = float((leak - network.neuron.gain * np.abs(weight).sum(1)).min())
    gap = _gap(network, weight, companion)
    lifted = np.flatnonzero(np.asarray(system[-1]).any(1))
    crude = gap / rate * np.abs(response).max(1, initial=0) if rate > 0 else np.full(len(x), np.inf)
    crude[lifted] = np.inf
    following = None if control is None else control.following(network, control.init(network))
    strengths = [(weight, -step), (companion, -step * beside[0].learned)]
    unknown = unknown_motion(network, following, strengths, -known, eps)
    few = 64 * (network.graph.units + 8) * eps * network.neuron.gain * np.abs(step).sum()
    smooth = (np.abs(unknown) <= few).all()
    bounded = size > 0 and np.isfinite(error[used]).all() and (following is None or following.known)
    if bounded:
        missing += float(np.maximum(owed * unknown + doubt * np.abs(unknown), 0).max(0).sum())
    return FeedbackBound(
        response,
        error,
        used,
        crude,
        lost=(missing + rounding * terms) / size if bounded else math.inf,
        apart=apart / math.sqrt(size) * (1 + rounding) if bounded and smooth else math.inf,
        condition=spread / size if size > 0 and not used[lifted].any() else math.inf,
    )


def updates_to_descent(
    network: Network, rule: AbstractRule, steps: Num[ArrayLike, " update"], *, rate: float, condition: float
) -> int | None:
    r"""Before training: after how many updates every batch no worse than `condition` descends, by the law of decay.

    The first $t$ with $\chi\,\frac{\mathrm{gap}_0}{c}\prod_{k<t}(1-\eta_kd_k)<1$, where $\mathrm{gap}_0=
    d_2\max_i\sum_j|m_{ij}-w_{ij}|$ at the start; `None` if there is none within `steps`. Then `FeedbackBound.lost` is
    below 1, whatever else is learned. Assumed are:

    - companions get the very steps of their partners, $\eta_k$ times the same number and the decay $d_k$ (`rule` has
      `LearnedFeedback`), as they do under every optimiser of the program, in 32 bits to about $10^{-6}$; limits
      (`Dale`, `Bounds`) clip both alike, which takes no two strengths apart;
    - a control keeps every unit's $\Lambda_i-d_2\sum_k|w_{ik}|$ at `rate` or above: one with the criterion `LocalLeak`,
      whose `margin` it is; and no leak moves otherwise than the update knows (`FeedbackBound.lost`);
    - the condition number $\chi$ of the batch (`FeedbackBound.condition`) is at most `condition`. It depends on
      what is learned, and grows without bound where the gradients of samples come to cancel.

    For one sample by itself, without outflow and with $\varphi$ the identity, $\chi\le\frac12(1+\sqrt{1+S/K})$: with
    $K_j$ the sum of the squared rates into a unit that moves, 1 for its bias, $K$ is the least and $S$ the sum of the
    others.

    **Arguments:**

    - `network`, `rule`: as training begins, inside the set of the control (`control.begin_with`).
    - `steps`: $\eta_kd_k$ of every update, such as `schedule(np.arange(updates)) * decay`.
    """
    if not all(each.learned for each in companions(parameters_of(rule))):
        raise ValueError("updates_to_descent(rule=...) has companions that stay, which no decay brings nearer")
    steps = np.asarray(steps, np.float64)
    if not ((steps >= 0) & (steps < 1)).all():
        raise ValueError(
            "updates_to_descent(steps=...) needs numbers from 0 to below 1: eta times decay of every update"
        )
    if not rate > 0 or not condition > 0:
        raise ValueError(f"updates_to_descent(rate={rate}, condition={condition}) must both be above 0")
    pair = network.weight, _feedback("updates_to_descent", rule, network)
    square = (np.asarray(network.synapses.matrix(each), np.float64)[network.graph.inputs :] for each in pair)
    lost = condition * _gap(network, *square) / rate
    left = lost * np.exp(np.concatenate([[0.0], np.cumsum(np.log1p(-steps))])) * (1 + 1e-9)
    return int(np.argmax(left < 1)) if (left < 1).any() else None


def _feedback(who: str, rule: AbstractRule, network: Network) -> Weight:
    """The strengths of the only feedback of a rule."""
    found, own = feedback_of(rule), getattr(rule, "feedback", None)
    weight = own.weight(network) if len(found) == 1 and isinstance(own, AbstractFeedback) else None
    if weight is None:
        raise ValueError(
            f"{who}(rule=...) needs one feedback by companions of synapses, of the rule itself, such as "
            "direp.AsymEP(feedback=direp.LearnedFeedback())"
        )
    return weight


def _gap(network: Network, weight: np.ndarray, companion: np.ndarray) -> float:
    r"""$d_2\max_i\sum_j|m_{ij}-w_{ij}|$."""
    return float(network.neuron.gain * np.abs(companion - weight).sum(1).max(initial=0))


@compiled
def _system(
    network: Network, feedback: Weight, x: Any, y: Any, cost: AbstractCost, settled: Settled, lift: bool
) -> tuple[Array, ...]:
    """Weights and companions between free units, leaks, slopes, the units that move, the error of every sample, and the
    units that the rule alone lets move."""
    field = network.field(x)
    linear = linearise(field, settled.state, settled.drive)
    square = (network.synapses.matrix(each)[network.graph.inputs :] for each in (network.weight, feedback))
    error = state_gradient(network, cost, y, settled.state)
    lifted = AdjointField.at(field, settled, error, lift=lift).linear.active & ~linear.active
    return *square, linear.total_leak, linear.rate_slope, linear.transfer_slope, linear.active, error, lifted


def _responses(
    weight: np.ndarray, companion: np.ndarray, leak: np.ndarray, rate: np.ndarray, transfer: np.ndarray,
    active: np.ndarray, error: np.ndarray, lifted: np.ndarray, used: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    r"""$\hat a$ of every sample and the bound of $|\hat a-a|$."""
    response, bound = np.zeros(error.shape), np.zeros(error.shape)
    for n in np.flatnonzero(used):
        on = np.flatnonzero(active[n] | lifted[n])
        real = active[n, on]
        forth, other = (rate[n, on, None] * each[np.ix_(on, on)] * transfer[n, on] for each in (weight, companion))
        forth = forth * real * real[:, None]  # the adjoint of a unit that is lifted is 0
        size, diagonal, right = np.abs(forth), np.diag(leak[on]), error[n, on]
        try:
            a = np.linalg.solve(other - diagonal, right)
            beside = np.abs(forth @ a - leak[on] * a - right)
            terms = size @ np.abs(a) + leak[on] * np.abs(a) + np.abs(right)
            short = beside + 4 * (len(on) + 4) * _EPS * terms
            bound[n, on[real]] = _compared(size[np.ix_(real, real)], leak[on[real]], short[real])
            bound[n, on[~real]], response[n, on] = np.abs(a[~real]), a
        except np.linalg.LinAlgError:
            bound[n, on] = np.inf
    return response, bound


def _compared(size: np.ndarray, leak: np.ndarray, right: np.ndarray) -> np.ndarray:
    r"""A bound of $(\Lambda-|B|)^{-1}$ `right`, rounding included; infinite where that is no M-matrix."""
    square, infinite = np.diag(leak) - size, np.full(len(leak), np.inf)
    ones, found = np.linalg.solve(square, np.stack([np.ones_like(right), right], 1)).T
    doubt = 4 * (len(leak) + 4) * _EPS
    # A matrix with no positive entry off its diagonal that takes some positive vector to a positive one is an M-matrix.
    least = (square @ ones - doubt * (size @ np.abs(ones) + leak * np.abs(ones))).min(initial=np.inf)
    if not (least > 0 and (ones > 0).all()):
        return infinite
    short = right - square @ found + doubt * (size @ np.abs(found) + leak * np.abs(found) + right)
    return np.maximum(found, 0) + ones * max(float(short.max(initial=0)), 0.0) / least


@compiled
def _update(
    network: Network, x: Any, state: Array, drive: Array, used: Any, learns: Any, stored: Network, control: Any,
    beside: Any, response: Any, error: Any,
) -> tuple[Array, ...]:  # fmt: skip
    r"""$\lVert\hat g\rVert^2$, $\sum_n|v_n|\cdot\varepsilon_n$, $\sum_n|v_n|\cdot|\hat a_n|$,
    $\sum_n\lVert v_n\rVert_1\max_i|\hat a_{ni}|$, and a bound of $\lVert G(\hat a-a)\rVert$; how total leaks move
    with $\hat g$ as it knows, $\hat g$ between free units, and the derivative of the cost by each leak with a bound of
    its error."""
    synapses, neuron, count = network.synapses, network.neuron, jnp.maximum(used.sum(), 1)
    rates, slope = neuron.rate(state), neuron.transfer_slope(drive)
    x, state, rates, slope, response, error = (
        jnp.where(used[:, None], each, 0) for each in (x, state, rates, slope, response, error)
    )
    norm = None if control is None else control.init(stored)
    learns = learns.astype(state.dtype)

    def own_part(weight: Weight) -> Weight:
        return synapses.scaled(synapses.mask(weight), learns, incoming=True)

    def through(lost: Float[Array, " free"]) -> Weight:
        """What weights learn by the leaks that depend on them; `lost`: the gradient of leaks."""
        weight = jax.tree.map(jnp.zeros_like, network.weight)
        if neuron.outflow.active:
            weight = synapses.outgoing_gradient(network.weight, lost, neuron.outflow.slope)
        if control is not None:
            own = jax.tree.map(jnp.zeros_like, stored.parameters)._replace(leak=lost.astype(stored.dtype))
            more = control.gradient(stored, norm, own, beside).weight
            weight = jax.tree.map(lambda one, other: one + other.astype(one.dtype), weight, more)
        return own_part(weight)

    def gradient(a: Float[Array, "batch free"]) -> tuple[Weight, Array]:
        post = slope * a / count
        own = own_part(synapses.outer(x, rates, -post))
        bias = -(learns * post).sum(0) * float(network.graph.bias)
        return jax.tree.map(jnp.add, own, through((state * a).sum(0) / count)), bias

    made, pull = jax.vjp(gradient, response)
    v = jnp.abs(pull(made)[0])
    size = jnp.stack([(leaf * leaf).sum() for leaf in jax.tree.leaves(made)]).sum()

    ones = synapses.mask(jax.tree.map(jnp.ones_like, network.weight))
    post = learns * slope * error / count

    def row(sample: tuple[Array, Array, Array]) -> Array:
        """A row of the Gram matrix of what is presynaptic to every unit, weighted by the bounds."""
        own = synapses.input_drive(ones, sample[0] * x) + synapses.drive(ones, sample[1] * rates)
        return (sample[2] * post * jnp.abs(own + float(network.graph.bias))).sum()

    apart = jnp.sqrt(jax.lax.map(row, (x, rates, post)).sum())
    if control is not None or neuron.outflow.active:
        lost, back = (jnp.abs(state) * error).sum(0) / count, jax.vjp(through, state[0])[1]
        gram = jax.lax.map(lambda unit: back(through(unit))[0], jnp.eye(len(lost)))
        apart = apart + jnp.sqrt(lost @ jnp.abs(gram) @ lost)
    absolute = jnp.abs(response)
    known = jax.vjp(through, state[0])[1](made[0])[0]
    step = synapses.matrix(made[0])[network.graph.inputs :]
    leaks = known, step, (state * response).sum(0) / count, (jnp.abs(state) * error).sum(0) / count
    return size, (v * error).sum(), (v * absolute).sum(), (v.sum(1) * absolute.max(1)).sum(), apart, *leaks
