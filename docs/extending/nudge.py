"""A nudge: two phases on the same side, whose first-order errors cancel (Richardson's extrapolation).

python docs/extending/nudge.py
direp train xor --nudge nudge:TwoStep --beta 1 --epochs 100        # in the folder of this file
"""

import jax
import numpy as np

import direp


class TwoStep(direp.AbstractNudge):
    r"""$\Delta q=\big(4(q^{\beta}-q^0)-(q^{2\beta}-q^0)\big)/2\beta$: of second order, and never a negative nudge."""

    beta: float = 0.1

    @property
    def strengths(self):
        return (self.beta, 2 * self.beta)

    def difference(self, free, nudged):
        return (4 * (nudged[0] - free) - (nudged[1] - free)) / (2 * self.beta)


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)  # differences of small responses need the digits
    direp.testing.check_nudge(TwoStep(0.1))
    network = direp.Network(direp.Graph.complete(2, 6, 1), direp.Rate("tanh"), key=jax.random.key(0))
    network = direp.LeakController(0.1).begin(network)
    task = direp.tasks.xor()
    end = direp.estimate(network, *task.train, direp.Local(direp.Centred(1e-3))).gradient.bias
    for nudge in (direp.OneSided(0.2), TwoStep(0.2), direp.Centred(0.2)):
        error = direp.estimate(network, *task.train, direp.Local(nudge)).gradient.bias - end
        print(f"{type(nudge).__name__:<9} differs from the limit by {np.abs(error).max():.1e}")
    print(direp.certify(network, nudge=TwoStep(0.2)))
