"""A feedback: every synapse sends deviations back by its sign alone, all of a unit's at their mean size.

python docs/extending/feedback.py
direp train xor --rule asym-ep --feedback feedback:Signs --epochs 100        # in the folder of this file
"""

import jax
import jax.numpy as jnp

import direp


class Signs(direp.AbstractFeedback):
    r"""$m_{ij}=\mathrm{sgn}(w_{ij})\,\mathrm{mean}_k\lvert w_{ik}\rvert$, the mean over the targets of $i$.

    As $\sum_j\lvert m_{ij}\rvert=\sum_j\lvert w_{ij}\rvert$, a leak that certifies the network in `LocalLeak` certifies
    the phases of this feedback too. Signs as feedback: Liao, Leibo & Poggio (2016), arXiv:1510.05067.
    """

    def weight(self, network):
        synapses, signs = network.synapses, jax.tree.map(jnp.sign, network.weight)
        size, count = (synapses.outgoing(each, jnp.abs) for each in (network.weight, signs))
        return synapses.scaled(signs, size / jnp.maximum(count, 1))

    def gradient(self, gradient):
        return gradient  # it learns nothing itself; what does is a `direp.rules.Learned` in a field


if __name__ == "__main__":
    direp.testing.check_rule(direp.Dyadic(Signs()))
    graph = direp.Graph.random(4, 40, 3, density=0.2, reciprocity=0.0, seed=0)
    network = direp.Network(graph, direp.Projected(), direp.FanIn(1.0, 1.0), key=jax.random.key(0))
    network = direp.LeakController(0.1).begin(network)
    task = direp.tasks.bundled("iris")
    exact = direp.estimate(network, *task.train, direp.Adjoint()).gradient
    for name, rule in (("local", direp.Local(0.5)), ("by signs", direp.AsymEP(0.1, feedback=Signs()))):
        found = direp.estimate(network, *task.train, rule).gradient
        print(f"{name:<8} cosine to the exact gradient {direp.rules.cosine(network, found, exact):.3f}")
    print(direp.certify(network, rule=rule))
