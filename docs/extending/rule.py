"""A learning rule with a memory along the phase: synapses keep a fading trace of their sender's rate.

python docs/extending/rule.py                                      # what it estimates, against the exact gradient
direp train xor --rule rule:Trace --epochs 100                     # in the folder of this file
"""

import jax
import jax.numpy as jnp

import direp


class Trace(direp.AbstractRule):
    r"""$\Delta w_{ij}\propto e_i\,\Delta r_j$, with $e_i\leftarrow(1-\alpha)e_i+\alpha r_i$ at every step."""

    nudge: direp.AbstractNudge = direp.OneSided(0.5)
    decay: float = 0.2

    def estimate(self, problem, key):
        synapses = problem.network.synapses

        def observe(trace, before, after, moved):
            fresh = (1 - self.decay) * trace + self.decay * problem.network.neuron.rate(after)
            return jnp.where(moved[:, None], fresh, trace)

        response = problem.nudge(self.nudge, key, observe=observe, observed=problem.free.rate)
        used = response.settled & problem.valid
        post = jnp.where(used[:, None], response.difference("rate"), 0) / problem.count(used)
        trace = jnp.where(used[:, None], response.observed[0], 0)
        gradient = jax.tree.map(jnp.zeros_like, problem.network.parameters)
        gradient = gradient._replace(weight=synapses.outer(problem.x_of(used), trace, -post), bias=-post.sum(0))
        return problem.estimate(gradient, used, response.phases)


if __name__ == "__main__":
    task = direp.tasks.xor()
    graph = direp.Graph.layered([2, 8, 1])
    network = direp.Network(graph, direp.Projected(), key=jax.random.key(0))
    network = direp.LeakController(0.1).begin(network)
    direp.testing.check_rule(Trace())
    for rule in (Trace(), direp.Local(0.5)):
        one, exact = (direp.estimate(network, *task.train, r).gradient for r in (rule, direp.Adjoint()))
        print(f"{type(rule).__name__:<6} cosine to the exact gradient {direp.rules.cosine(network, one, exact):.3f}")
