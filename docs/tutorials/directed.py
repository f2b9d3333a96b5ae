r"""
Directed graphs and the feedback channel
========================================

In a brain most synapses have no partner. What happens to the rule where nothing comes back, and what mends it?
"""

# %%
# A graph without a pair
# ----------------------
# Sixty hidden neurons; from each to each other there is a synapse in one direction at most. So no hidden neuron hears
# from a neuron that it speaks to, except by detours.

import jax
import matplotlib.pyplot as plt
import numpy as np
import optax

import direp

task = direp.tasks.bundled("digits", scale="global")
graph = direp.Graph.random(64, 60, 10, density=0.15, reciprocity=0.0, seed=1)
print(graph, graph.reciprocity)

# %%
# Two rules on the same networks
# ------------------------------
# ``Local`` compares two phases, and so depends on what comes back by itself. ``AsymEP`` with *learned feedback* gives
# every synapse :math:`i\to j` a companion :math:`m_{ij}` that carries one thing back to :math:`i`: by how much
# :math:`j` has moved since the free phase. Both know the same two neurons, so both can get the same update,
#
# .. math:: \Delta w_{ij}=\Delta m_{ij},
#
# and if both decay a little, too, they can only become alike: their difference shrinks by the same factor in each
# update, whatever is learned.

keys = [jax.random.key(k) for k in range(3)]
networks = [direp.Network(graph, direp.Projected(), direp.FanIn(), key=key) for key in keys]
rules = {"Local": direp.Local(beta=2.0), "learned feedback": direp.AsymEP(beta=0.5, feedback=direp.LearnedFeedback())}
optimiser = optax.adamw(optax.cosine_decay_schedule(0.04, 12 * 40), b1=0.5, weight_decay=0.6)
runs = {
    name: direp.fit(
        networks, task, rule=rule, optimiser=optimiser, control=direp.LeakController(0.1), epochs=12, batch_size=32,
        keep="last",
    )
    for name, rule in rules.items()
}  # fmt: skip

figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
epochs = np.arange(1, 13)
for (name, run), colour in zip(runs.items(), ("#999999", "#0072b2"), strict=True):
    each = 100 * run.history["validation_accuracy"]
    left.plot(epochs, each.mean(1), "o-", ms=4, color=colour, label=name)
    left.fill_between(epochs, each.min(1), each.max(1), color=colour, alpha=0.2, lw=0)
left.set(xlabel="epoch", ylabel="right, %", title="Digits, three networks")
left.legend(frameon=False)
right.plot(epochs, runs["learned feedback"].history["agreement"], color="#0072b2")
right.set(xlabel="epoch", ylabel="cosine", ylim=(0, 1.05), title="Companions come to agree with weights")

for name, run in runs.items():
    right, pairs = 100 * run.test.accuracy.mean(), run.network.graph.reciprocity
    print(f"{name:<18} test accuracy {right:.1f} %, reciprocity {pairs:g}")

# %%
# No synapse was copied, and none has got a partner: the graph is as directed as it was.
#
# How far from the gradient?
# --------------------------
# Now that companions resemble the weights, the update is near the gradient, and one can say how near *without knowing
# the gradient*. ``bound_feedback`` needs the weights, the companions and what the rule measures, and proves a bound
# on the angle.

run = runs["learned feedback"]
x, y = task.train.x[:32], task.train.y[:32]
control = direp.LeakController(0.1)
bound = direp.bound_feedback(run.network, x, y, run.rule, control=control)
print(bound)

# %%
# The update of ``Local`` has no such bound; its angle can only be measured, by calculus that no neuron can do.

small = direp.Local(beta=0.05)
exact = direp.estimate(run.network, x, y, direp.Adjoint(lift=True)).gradient
for name, rule in (("Local", small), ("learned feedback", run.rule)):
    found = direp.estimate(run.network, x, y, rule).gradient
    print(f"{name:<18} cosine to the exact gradient {direp.rules.cosine(run.network, found, exact):.2f}")

# %%
# The nudge of 0.5 is not small, so that what is measured is not within the bound, which speaks of a small one.
#
# With the command line
# ---------------------
# ``direp train`` takes learned feedback for random graphs by itself.
#
# .. code-block:: sh
#
#    direp train digits --graph random --reciprocity 0 --hidden 60 --epochs 12 --out runs/one-way
#    direp certify runs/one-way
