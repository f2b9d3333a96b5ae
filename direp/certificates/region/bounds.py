r"""Bounds over whole boxes of networks: what the local rule and the exact gradient make of every equilibrium.

For one output and one sample, with slopes $D=\mathrm{diag}(\varphi'\psi')$ and $e$ the unit vector of the output,
$(WD-\Lambda)v=e$ and $(W^\top D-\Lambda)\hat v=e$ give $p=Dv$, $\hat p=D\hat v$, $a=p$, $\hat a=\hat p$ (where
$\psi$ is the identity and $\varphi$ is not: $a=v$, $\hat a=\hat v$), all in units of the output's error, and the rule
descends iff

$$q=\sum_{i\to j}(r_ip_j-\kappa_{ij}s_ia_i)(r_i\hat p_j-\kappa_{ij}s_i\hat a_i)+\sum_jp_j\hat p_j>0.$$

A unit at a face, or where a hard-sigmoid is flat, has $D=0$.
"""

from dataclasses import dataclass

import numpy as np

from ...arithmetic import Affine, Interval, Ramp, solve
from .states import ACTIVE, LOW, Family

OPEN, DESCENDS, ASCENDS, FLAT, EDGE = range(5)
_PIECES = 81  # combinations of cases that are distinguished in one box


@dataclass(frozen=True)
class Bounds:
    """What is known of each box.

    - `verdict`: `DESCENDS` or `ASCENDS` at every equilibrium, `FLAT` (no gradient at any), `EDGE` (some descend, the
      others have no gradient), or `OPEN`.
    - `influence`: (boxes x coordinates) how much each coordinate has to do with what is open.
    - `leak_open`: whether a total leak may be zero or below.
    """

    verdict: np.ndarray
    influence: np.ndarray
    leak_open: np.ndarray


def bounds(family: Family, low: np.ndarray, high: np.ndarray) -> Bounds:
    """Bounds over boxes, `low` and `high` of shape (boxes, coordinates)."""
    with np.errstate(all="ignore"):  # what overflows stays open
        numbers = family.intervals(low, high)
        total = family.total_leak(numbers)
        leak_open = np.asarray(~(total.low > 0).all(1))
        states, cases = family.states(numbers, total)
        box, case = _pieces(cases, leak_open)
        verdict, influence = _piece(family, numbers[box], states[box], case, cases[box].sum(2) > 1)
        return Bounds(*_gather(len(low), box, verdict, influence), leak_open)


def _piece(
    family: Family, numbers: Interval, box: Interval, case: np.ndarray, unsure: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The verdict of every piece, -1 where it holds no equilibrium, and the influence of every coordinate."""
    forms, kappa = family.cut(family.forms(numbers)), family.kappa(numbers)
    weight, _, _, x = forms
    inner, total = weight[:, family.inputs :], family.total(forms, kappa)
    state, guess, excess, possible = family.settle(forms, total, box, case)
    rate, drive, _ = family.field(state, forms, total, case)
    possible &= family.consistent(drive, total, case)
    slope = family.answering(state, rate, drive, case)

    unit = np.zeros(case.shape)
    unit[:, family.output] = 1.0
    spent = total[:, :, None] * np.eye(family.free)
    exact, left = solve(inner * slope[:, None, :] - spent, unit)
    answered, right = solve(inner.swap() * slope[:, None, :] - spent, unit)
    posts = slope * exact, slope * answered
    backs = (exact, answered) if family.outward else posts
    product = _product(family, x, rate, state, Affine.of(kappa, len(family.varying)), posts, backs)

    ends = product.hull()
    verdict = np.where(ends.low > 0, DESCENDS, np.where(ends.high < 0, ASCENDS, OPEN))
    verdict = np.where(_flat(family, case), FLAT, verdict)
    verdict = np.where(possible, verdict, -1)
    score = np.abs(product.coef) / (np.abs(product.mid) + product.radius)
    trouble = sum(np.abs(part.coef).sum((-1, -2)) for part in (excess, left, right))
    score = np.where(np.isfinite(score).all(0) & (score.sum(0) > 0), score, trouble)
    turned = np.abs(guess.coef) * (unsure & (case == ACTIVE))
    score = np.where(verdict == OPEN, score, 0.0) + turned.sum(-1)
    return verdict, np.nan_to_num(score.T, posinf=0.0)


def _product(family: Family, x: Affine, rate: Affine, state: Affine, kappa: Affine, posts, backs) -> Affine:
    r"""$q$, from `post` and `back` of the exact gradient, and of the rule."""
    outside = ((x * x)[:, :, None] * family.exists[: family.inputs]).swap().sum(-1) + family.bias
    if family.inward:
        mine, yours = (
            rate[:, :, None] * p[:, None, :] - kappa * (state * a)[:, :, None]
            for p, a in zip(posts, backs, strict=True)
        )
        pairs = mine * yours
    else:  # rates are states: their squares stand by themselves
        mine, yours = (p[:, None, :] - kappa * a[:, :, None] for p, a in zip(posts, backs, strict=True))
        pairs = mine * yours * (state * state)[:, :, None]
    return (posts[0] * posts[1] * outside).sum(-1) + (pairs * family.inner).sum(-1).sum(-1)


def _flat(family: Family, case: np.ndarray) -> np.ndarray:
    """Where the output does not answer, so that every gradient is zero."""
    if not isinstance(family.shape, Ramp):
        return np.zeros(len(case), bool)
    output = case[:, family.output]
    if family.outward and family.outflow.active and family.inner[family.output].any():
        return output == LOW  # at the top it still loses what it sends
    return output != ACTIVE


def _pieces(cases: np.ndarray, leak_open: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every combination of the cases of the units: the box it belongs to, and the case of each unit."""
    count = cases.sum(2)
    box = np.flatnonzero((count.prod(1) <= _PIECES) & ~leak_open)
    case = np.zeros((len(box), 0), int)
    for unit in range(cases.shape[1]):
        grown = [(keep := cases[box, unit, k], box[keep], case[keep], k) for k in range(3)]
        case = np.concatenate([np.column_stack([c, np.full(len(c), k)]) for _, _, c, k in grown])
        box = np.concatenate([b for _, b, _, _ in grown])
    return box, case


def _gather(boxes: int, piece: np.ndarray, verdict: np.ndarray, influence: np.ndarray):
    """One verdict a box, of all its pieces that can hold an equilibrium."""
    has = np.zeros((5, boxes), bool)
    real = verdict >= 0
    has[verdict[real], piece[real]] = True
    out = np.full(boxes, OPEN)
    out[has[DESCENDS] & has[FLAT]] = EDGE
    for one in (DESCENDS, ASCENDS, FLAT):
        out[has[one] & (has.sum(0) == 1)] = one
    out[has[OPEN] | has[ASCENDS] & (has[DESCENDS] | has[FLAT])] = OPEN
    score = np.zeros((boxes, influence.shape[1]))
    np.add.at(score, piece[real], influence[real])
    return out, score
