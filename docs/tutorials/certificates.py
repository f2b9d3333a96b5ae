r"""
Certificates, by breaking them
==============================

The best way to trust a proof is to try to break it. Here are two neurons, a claim about them, and a screw to turn until
it fails; then the same with learning.
"""

# %%
# Two neurons that encourage each other
# -------------------------------------
# Each sends :math:`\tanh` of its current to the other with weight :math:`w`, and leaks at rate 1. With a small
# :math:`w` excitement dies down. With a large one it feeds itself, in one direction or the other: the pair
# *remembers*, and has two places to rest for one input. Somewhere between, the claim "one equilibrium for each input"
# stops being true.

import jax
import matplotlib.pyplot as plt
import numpy as np

import direp

graph = direp.Graph.complete(inputs=1, hidden=1, outputs=1)


def pair(w):
    return direp.Network(graph, direp.Rate("tanh"), np.array([[1.0, 1.0], [0.0, w], [w, 0.0]]), leak=1.0)


print(direp.certify(pair(0.5)))
print()
print(direp.certify(pair(1.5)))

# %%
# The second is *refuted*: there is a counter-example, found by search and then proved to exist in ball arithmetic. It
# is data, and can be looked at and checked again.

broken = direp.certify(pair(1.5)).counterexample
print(broken, broken.x, broken.states, broken.check(pair(1.5)), sep="\n")

# %%
# Now turn the screw. For each :math:`w`, forty random starts with no input; where do they end?

strengths, ends, verdicts = np.linspace(0.1, 2.0, 20), [], []
random = np.random.default_rng(0)
for w in strengths:
    network = pair(w)
    settled = direp.settle(network, np.zeros((40, 1)), state=random.uniform(-2, 2, (40, 2)))
    ends.append(np.asarray(settled.state)[:, 0])
    verdicts.append(direp.certify(network, starts=16).verdict)

figure, axis = plt.subplots(figsize=(6, 3.2), layout="constrained")
colours = {"proved": "#009e73", "undecided": "#999999", "refuted": "#d55e00"}
for w, states, verdict in zip(strengths, ends, verdicts, strict=True):
    axis.axvspan(w - 0.05, w + 0.05, color=colours[verdict], alpha=0.15, lw=0)
    axis.plot(np.full(40, w), states, ".", color="#333333", ms=4)
for verdict in dict.fromkeys(verdicts):
    axis.plot([], [], "s", color=colours[verdict], alpha=0.3, label=verdict)
axis.set(xlabel="weight", ylabel="where a neuron ends", title="One place, then two", xlim=(0.05, 2.05))
axis.legend(frameon=False)

# %%
# The verdict turns where the picture does, and was found without it. It would be a poor proof that gave up long
# before; for positive weights this criterion is exact. (At a weight of exactly 1 the pair still has one equilibrium
# and comes to it ever more slowly. There is no rate to prove then, and no counter-example.)
#
# What would it take?
# -------------------
# A verdict that is not *proved* says what is missing. Here: leak.

failed = direp.certify(pair(1.5))
print(failed.remedy.common_leak)
mended = pair(1.5).replace(pair(1.5).parameters._replace(leak=jax.numpy.full(2, 1.0 + failed.remedy.common_leak + 0.1)))
print(direp.certify(mended).verdict)

# %%
# Or less is claimed. The pair with weight 1.5 forgets its past if an input is strong enough to overrule it: of inputs
# between 3 and 4 alone there is a proof.

print(direp.certify(pair(1.5), inputs=direp.Between(3.0, 4.0)).verdict)

# %%
# Does the rule descend?
# ----------------------
# The second kind of certificate is about learning: a small step along the update lowers the cost of this batch. Two
# hidden neurons, XOR's four patterns, and feedback that first has the sign of its partner, then the other.

layered, task = direp.Graph.layered([2, 2, 1]), direp.tasks.xor()
x, y = task.train
inward = np.array([[1.8, -1.2], [1.0, 1.4]])


def loop(sign):
    weight = np.zeros((5, 3))
    weight[:2, :2], weight[2:4, 2], weight[4, :2] = inward, [3.2, 2.4], [sign * 2.8, sign * 2.0]
    return direp.Network(layered, direp.Rate(direp.activation.sigmoid), weight, leak=1.0, bias=[0.0, 0.0, -2.8])


rule = direp.Local(direp.Centred(0.01))
certificates = {sign: direp.certify_learning(loop(sign), x, y, rule) for sign in (1, -1)}
for sign, certificate in certificates.items():
    print(f"{sign:+d}: {certificate}\n")

# %%
# Of the first it is also proved *how far* one may go: the cost stays below its start for every step up to
# ``step_size``. That can be tried.

figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
for axis, (sign, certificate) in zip(axes, certificates.items(), strict=True):
    network = loop(sign)
    gradient = direp.estimate(network, x, y, rule).gradient
    gradient = gradient._replace(leak=jax.numpy.zeros(3))  # weights and biases learn, leaks stay
    longest = 1.5 * certificate.step_size or 20.0
    steps = np.linspace(0, longest, 25)
    costs = []
    for step in steps:
        moved = network.replace(jax.tree.map(lambda p, g, step=step: p - step * g, network.parameters, gradient))
        outputs = np.asarray(moved.outputs(direp.settle(moved, x).state))
        costs.append(((outputs - np.asarray(y)) ** 2).sum(1).mean() / 2)
    axis.plot(steps, costs, color="#0072b2")
    axis.axhline(costs[0], color="#999999", lw=1, ls=":")
    if certificate.step_size:
        axis.axvspan(0, certificate.step_size, color="#009e73", alpha=0.15, lw=0, label="proved")
        axis.legend(frameon=False)
    axis.set(
        xlabel="length of the step",
        title=f"feedback of {'the same' if sign > 0 else 'the other'} sign: {certificate.verdict}",
    )
axes[0].set_ylabel("cost")

# %%
# What it does not say
# --------------------
# A certificate of learning speaks of this batch and of plain steps along this update. It does not say that Adam's
# step descends, that another batch gets better, or that training ends well. One of settling says nothing of right
# answers. And *undecided* says nothing: most networks that are undecided settle, and learn. What is assumed stands in
# each certificate:

print(*certificates[1].assumptions, sep="\n")
