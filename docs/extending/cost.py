"""A cost: Huber's, quadratic near the target and linear far from it, so that outliers count less.

python docs/extending/cost.py
direp train xor --cost cost:Huber --epochs 100                     # in the folder of this file
"""

import flint
import jax
import jax.numpy as jnp
import numpy as np

import direp


class Huber(direp.AbstractCost):
    r"""$C=\sum_oh(r_o-y_o)$, $h(e)=\tfrac12e^2$ where $|e|\le\delta$, else $\delta|e|-\tfrac12\delta^2$."""

    delta: float = 0.4

    @property
    def curvature(self):
        return 1.0

    def value(self, rate, y):
        error = jnp.abs(rate - y)
        return jnp.where(error <= self.delta, error**2 / 2, self.delta * error - self.delta**2 / 2).sum(-1)

    def gradient(self, rate, y):
        return jnp.clip(rate - y, -self.delta, self.delta)

    # For proofs of learning: gradient and Hessian over balls of python-flint.
    def enclose(self, rate, y):
        error = rate - np.asarray(y, np.float64)
        inside = [abs(e) < self.delta for e in error]
        outside = [abs(e) > self.delta for e in error]
        slopes = [flint.arb(int(i)) if i or o else flint.arb(0.5, 0.5) for i, o in zip(inside, outside, strict=True)]
        bound = flint.arb(self.delta)
        return np.array([e.max(-bound).min(bound) for e in error], object), np.diag(slopes)

    # For proofs of convergence: what a negative nudge can add to the log-norm.
    def feedback(self, beta, slope, ratio):
        return np.full_like(ratio, max(-beta * slope[0], -beta * slope[1], 0.0))


if __name__ == "__main__":
    direp.testing.check_cost(Huber())
    network = direp.Network(direp.Graph.layered([2, 8, 1]), direp.Projected(), key=jax.random.key(0))
    network = direp.LeakController(0.1).begin(network)
    task = direp.tasks.xor()
    print(direp.certify(network, nudge=direp.Centred(0.05), cost=Huber()))
    print(direp.certify_learning(network, *task.train, direp.Local(0.1), cost=Huber()))
