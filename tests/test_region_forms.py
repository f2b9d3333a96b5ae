"""What region certificates are made of: forms and intervals that hold what they stand for; the closed forms of q."""

import flint
import numpy as np
import pytest
from region_oracle import settled_sign

import direp
from direp.arithmetic import affine
from direp.arithmetic.affine import Affine
from direp.arithmetic.ball import precise
from direp.arithmetic.interval import Interval
from direp.certificates.region.point import inner_product
from direp.model.activation import hard_sigmoid, sigmoid, tanh


@pytest.mark.parametrize("complete", [True, False])
def test_forms_hold_what_they_stand_for(monkeypatch, complete):
    """Products, functions and inverses at random points of wide boxes; without the rest of the inverse, they do not."""
    if not complete:
        monkeypatch.setattr(affine, "contract", lambda residual, *_: 0 * residual)
    rng = np.random.default_rng(0)
    coef = rng.normal(0, 0.04, (3, 50, 4, 4))
    square = Affine(rng.normal(0, 0.3, (50, 4, 4)) + 2 * np.eye(4), coef, np.zeros((50, 4, 4)))
    right = rng.normal(size=(50, 4))
    solved, _ = affine.solve(square, right)
    product, shaped = square * square.swap(), affine.transform(tanh.interval, square)
    other = rng.normal(size=(4, 4))
    sums = square @ square.swap(), square @ other, other @ square
    both, _ = affine.solve(square, square[..., 0])
    missed = 0
    for _ in range(40):
        at = rng.choice([-1.0, 1.0, rng.uniform(-1, 1)], 3)
        matrix = square.mid + np.tensordot(at, coef, 1)
        turned, first = np.swapaxes(matrix, 1, 2), np.broadcast_to(np.eye(4)[0], right.shape)
        truths = np.linalg.solve(matrix, right[..., None])[..., 0], matrix * turned, np.tanh(matrix)
        truths = (*truths, matrix @ turned, matrix @ other, other @ matrix, first)
        for form, value in zip((solved, product, shaped, *sums, both), truths, strict=True):
            error = np.abs(value - form.mid - np.tensordot(at, form.coef, 1)) - form.err
            missed += int((error > 1e-14 * (1 + np.abs(value))).sum())
    assert (missed == 0) == complete


@pytest.mark.parametrize("activation", [hard_sigmoid, sigmoid, tanh])
def test_activations_are_enclosed_as_by_balls(activation):
    rng = np.random.default_rng(1)
    low = rng.normal(0, 3, 300)
    at = Interval(low, low + 10.0 ** rng.uniform(-18, 1, 300))
    shape = activation.interval
    value = shape.value(at)
    slope = shape.slope(at) if hasattr(shape, "slope") else None
    with precise():
        for k in range(300):
            for point in (at.low[k], at.high[k], (at.low[k] + at.high[k]) / 2):
                exact, steep = activation.enclose(flint.arb(float(point)))
                assert flint.arb(float(value.low[k])) <= exact <= flint.arb(float(value.high[k]))
                if slope is not None:
                    assert flint.arb(float(slope.low[k])) <= steep <= flint.arb(float(slope.high[k]))


@pytest.mark.parametrize(("hidden", "outflow"), [(1, "none"), (1, "signed"), (2, "none"), (2, "signed"), (3, "signed")])
@pytest.mark.parametrize("bias", [True, False])
def test_closed_forms_are_the_inner_product_up_to_a_positive_factor(hidden, outflow, bias):
    """One hidden unit, one layer of hidden units, two hidden units in a complete graph: `Projected`, none held."""
    rng = np.random.default_rng(hidden)
    complete = hidden < 3
    graph = (
        direp.Graph.complete(2, hidden, 1, bias=bias) if complete else direp.Graph.layered([2, hidden, 1], bias=bias)
    )
    exists = graph.adjacency()
    n, o = graph.free, graph.hidden
    tried = 0
    weight = rng.uniform(-0.5, 0.6, (400, graph.units, n)) * exists
    leak, x = rng.uniform(1.5, 2.5, (400, n)), rng.random((400, 2))
    current = 0.4 * bias * np.ones((400, n))
    cosine, good, state = settled_sign("projected", "identity", outflow, exists, bias, weight, current, leak, x)
    for w, b, lam, clamped, s, cos, fine in zip(weight, current, leak, x, state, cosine, good, strict=True):
        if not fine or (s <= 0).any() or (s >= 1).any():
            continue
        tried += 1
        inner = w[2:]
        total = lam + inner.sum(1) * (outflow == "signed")
        outside = (exists[:2] * (clamped**2)[:, None]).sum(0) + bias  # inputs and bias alone
        pair = exists[2:] * (s**2)[:, None]
        into, theta = outside + pair.sum(0), pair + pair.T
        f, back = inner[:o, o], inner[o, :o]
        if hidden != 2:
            if outflow == "none":
                form = into[o] + (into[:o] * f * back / total[:o] ** 2).sum()
            else:
                rest = theta[:o, o] * lam[:o] / total[:o] * (1 - back / total[:o])
                form = outside[o] + (outside[:o] * f * back / total[:o] ** 2 + rest).sum()
            scale = 1.0
        else:
            w12, w21 = inner[0, 1], inner[1, 0]
            scale = total[0] * total[1] - w12 * w21
            fwd = np.array([total[1] * f[0] + w12 * f[1], total[0] * f[1] + w21 * f[0]])
            rev = np.array([total[1] * back[0] + w21 * back[1], total[0] * back[1] + w12 * back[0]])
            if outflow == "none":
                form = (into[:2] * fwd * rev).sum() + into[2] * scale**2
            else:
                form = (outside[:2] * fwd * rev).sum() + outside[2] * scale**2
                form += theta[0, 1] * (fwd[0] - fwd[1]) * (rev[0] - rev[1])
                form += (theta[:2, 2] * (scale - fwd) * (scale - rev)).sum()
        # q = form / scale^2 times the square of dr_o/du_o.
        jacobian = inner.T - np.diag(total)
        factor = np.linalg.inv(jacobian)[o, o] ** 2 / scale**2
        network = direp.Network(graph, direp.Projected(outflow=outflow), w, leak=lam, bias=b if bias else None)
        assert np.sign(form) == np.sign(cos)
        if tried <= 6:
            assert np.mean(inner_product(network, clamped)[1]) == pytest.approx(form * factor, rel=1e-10)
    assert tried > 30
