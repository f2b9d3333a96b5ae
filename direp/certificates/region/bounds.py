r"""Bounds over whole boxes of networks: what the local rule and the exact gradient make of every equilibrium.

For one sample, with slopes $D=\mathrm{diag}(\varphi'\psi')$ and $e$ the unit vector of an output,
$(WD-\Lambda)v=e$ and $(W^\top D-\Lambda)\hat v=e$ give $p=Dv$, $\hat p=D\hat v$, $a=p$, $\hat a=\hat p$ (where
$\psi$ is the identity and $\varphi$ is not: $a=v$, $\hat a=\hat v$), all in units of the output's error. For one output
the rule descends iff

$$q=\sum_{i\to j}(r_ip_j-\kappa_{ij}s_ia_i)(r_i\hat p_j-\kappa_{ij}s_i\hat a_i)+\sum_jp_j\hat p_j>0.$$

For several, $q$ is a matrix: the gradient of one against the rule of another. The rule descends for every target iff
its symmetric part is positive definite over the outputs that answer, and ascends for some if it is negative along some
direction. A unit at a face, or where a hard-sigmoid is flat, has $D=0$.
"""

from dataclasses import dataclass

import numpy as np

from ...arithmetic import Affine, Interval, Ramp, down, solve, up
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

    spent = total[:, :, None] * np.eye(family.free)
    forth, back = inner * slope[:, None, :] - spent, inner.swap() * slope[:, None, :] - spent
    posts, backs, trouble = [], [], [excess]
    for output in family.outputs:
        unit = np.broadcast_to(np.eye(family.free)[output], case.shape)
        (exact, left), (answered, right) = solve(forth, unit), solve(back, unit)
        posts.append((slope * exact, slope * answered))
        backs.append((exact, answered) if family.outward else posts[-1])
        trouble += [left, right]
    rest = family, x, rate, state, Affine.of(kappa, len(family.varying))
    pairs = [
        [_product(*rest, (mine[0], yours[1]), (kept[0], other[1])) for yours, other in zip(posts, backs, strict=True)]
        for mine, kept in zip(posts, backs, strict=True)
    ]

    flat = _flat(family, case)
    sign, product = _sign(pairs, flat)
    verdict = np.where(sign > 0, DESCENDS, np.where(sign < 0, ASCENDS, OPEN))
    verdict = np.where(flat.all(1), FLAT, verdict)
    verdict = np.where(possible, verdict, -1)
    score = np.abs(product.coef) / (np.abs(product.mid) + product.radius)
    blind = sum(np.abs(part.coef).sum((-1, -2)) for part in trouble)
    score = np.where(np.isfinite(score).all(0) & (score.sum(0) > 0), score, blind)
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


def _sign(pairs: list[list[Affine]], flat: np.ndarray) -> tuple[np.ndarray, Affine]:
    r"""1 where the symmetric part of a matrix of forms is positive definite for every member of a box, over the rows
    that are not flat, -1 where it is negative along one direction, else 0; and the form along its lowest direction.

    With $V$ near the eigenvectors, $V^\top QV$ is nearly diagonal; if all of its members are strictly diagonally
    dominant, then $V$ is regular and $Q$ is positive definite.
    """
    size = len(pairs)
    forms = [[(pairs[o][p] + pairs[p][o]) * 0.5 if o != p else pairs[o][o] for p in range(size)] for o in range(size)]
    hulls = [[form.hull() for form in row] for row in forms]
    low, high = (
        np.stack([np.stack([getattr(h, end) for h in row], -1) for row in hulls], -2) for end in ("low", "high")
    )
    middle = 0.5 * low + 0.5 * high
    radius = up(np.maximum(up(high - middle), up(middle - low)))
    counts = ~(flat[:, :, None] | flat[:, None, :])
    known = np.asarray(~(counts & ~(np.isfinite(middle) & np.isfinite(radius))).any((1, 2)))
    counts &= known[:, None, None]
    middle = np.where(counts, middle, np.eye(size))  # a flat output has rows and columns of zeros
    radius = np.where(counts, radius, 0.0)
    way = np.linalg.eigh(middle)[1]
    turned, width = way.swapaxes(1, 2), np.abs(way)
    found = turned @ middle @ way
    error = width.swapaxes(1, 2) @ (radius + (size + 2) * 2.0**-49 * np.abs(middle)) @ width * (1 + 1e-9) + 1e-290
    diagonal = np.einsum("noo->no", found)
    others = np.abs(found).sum(2) - np.abs(diagonal) + error.sum(2)
    definite = (down(diagonal - others * (1 + 1e-14)) > 0).all(1)
    if size == 1:  # nothing is rounded twice
        definite, negative = low[:, 0, 0] > 0, high[:, 0, 0] < 0
    else:
        negative = up(diagonal[:, 0] + error[:, 0, 0]) < 0
    lowest = way[:, :, 0] * counts.any(2)
    along = forms[0][0] * (lowest[:, 0] ** 2)
    for o, p in [(o, p) for o in range(size) for p in range(size) if (o, p) != (0, 0)]:
        along = along + forms[o][p] * (lowest[:, o] * lowest[:, p])
    return np.where(known & definite, 1, np.where(known & negative, -1, 0)), along


def _flat(family: Family, case: np.ndarray) -> np.ndarray:
    """Where each output does not answer (boxes x outputs), so that its error changes nothing."""
    if not isinstance(family.shape, Ramp):
        return np.zeros((len(case), len(family.outputs)), bool)
    output = case[:, family.outputs]
    if family.outward and family.outflow.active:
        # At the top it still loses what it sends.
        return np.where(family.inner[family.outputs].any(1), output == LOW, output != ACTIVE)
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
