r"""
The idea in ten minutes
=======================

A network of neurons is a thing that moves. Left alone with an input it comes to rest, and where it rests is its
answer. Pull its outputs a little towards the right answer, and all of it moves a little. That movement is all that
a synapse needs in order to learn.
"""

# %%
# One leaky neuron
# ----------------
# The state :math:`s` of a neuron is like the water in a bucket with a hole. A current :math:`u` flows in, a leak
# :math:`\lambda` lets it out:
#
# .. math:: \dot s=-\lambda s+u.
#
# Whatever it begins with, it ends where both are equal, at :math:`s=u/\lambda`; the larger the leak, the sooner. Here
# is a network of one neuron, its output, with one input.

import jax
import matplotlib.pyplot as plt
import numpy as np
import optax

import direp

alone = direp.Graph.layered([1, 1])
times, x = np.linspace(0, 4, 100), np.array([[0.8]])

figure, axis = plt.subplots(figsize=(5, 3), layout="constrained")
for leak, colour in ((1.0, "#0072b2"), (2.0, "#d55e00")):
    neuron = direp.Network(alone, direp.Projected(), np.array([[1.0], [0.0]]), leak=leak)
    for begin in (0.0, 1.0):
        states = direp.trajectory(neuron, x, times, state=np.array([[begin]]))
        axis.plot(times, states[:, 0, 0], color=colour, label=f"leak {leak:g}" if begin else None)
axis.set(xlabel="time", ylabel="state", title="From full or empty to the same place")
axis.legend(frameon=False)

# %%
# Many of them: a network settles
# -------------------------------
# Now every neuron gets its current from others, and they from it. A synapse :math:`w_{ij}` goes *from* :math:`i` *to*
# :math:`j`, and there need not be one back: the graph is directed. Two inputs are held at one of the four patterns of
# XOR; eight hidden neurons and an output start empty and settle.

graph = direp.Graph.complete(inputs=2, hidden=8, outputs=1)
network = direp.Network(graph, direp.Projected(), direp.Normal(0.3), leak=2.0, bias=0.4, key=jax.random.key(4))
task = direp.tasks.xor()
x, y = task.train

figure, axis = plt.subplots(figsize=(5, 3), layout="constrained")
times = np.linspace(0, 4, 100)
states = direp.trajectory(network, x, times)[:, 1]
axis.plot(times, states[:, :-1], color="#999999", lw=1)
axis.plot(times, states[:, -1], color="#d55e00", lw=2, label="output")
axis.plot([], [], color="#999999", label="hidden")
axis.set(xlabel="time", ylabel="state", title="Inputs 0 and 1: from nothing to rest")
axis.legend(frameon=False)

# %%
# Nobody has to watch that: ``settle`` goes to the end at once and says whether it got there.

print(direp.settle(network, x).summary())

# %%
# A nudge, and what it tells
# --------------------------
# The answer is wrong. So a small current pulls the output towards its target :math:`y`, with the strength
# :math:`\beta`: :math:`\dot s_o` gets :math:`\beta(y-s_o)` more. Because everything depends on everything, hidden
# neurons move, too. By how much each does, over :math:`\beta`, is its *response* :math:`\Delta s`.

beta = 0.5
paths = direp.trajectory(network, x, y=y, rule=direp.Local(beta=beta))
print(*paths)
free, nudged = (np.asarray(path.settled.state) for path in paths.phases.values())
response = (nudged - free) / beta

figure, axis = plt.subplots(figsize=(5, 3), layout="constrained")
names = [f"h{k}" for k in range(8)] + ["output"]
axis.bar(names, response[1], color=["#0072b2"] * 8 + ["#d55e00"])
axis.axhline(0, color="black", lw=0.8)
axis.set(ylabel="response", title="Who moves when the output is pulled")

# %%
# The contrast is the update
# --------------------------
# A synapse sits between two neurons and can know what *they* do, nothing else. The rule asks for no more: what the
# sender sends, times how the receiver responds,
#
# .. math:: \Delta w_{ij}\propto r_i\,\Delta r_j .
#
# There is no backward pass; the network itself carried the news. Does it say what calculus says? For every synapse,
# here is the update against the exact gradient, once with *symmetric* weights and once with weights that know nothing
# of each other.

weight = np.array(network.matrix)
hidden = weight[2:]
mirrored = weight.copy()
mirrored[2:] = (hidden + hidden.T) / 2
rule = direp.Local(direp.Centred(0.01))


def update_and_gradient(weight):
    candidate = direp.Network(graph, direp.Projected(), weight, leak=2.0, bias=0.4)
    local, exact = (direp.estimate(candidate, x, y, each).gradient for each in (rule, direp.Adjoint()))
    return candidate, local, exact


figure, axes = plt.subplots(1, 2, figsize=(7, 3.3), layout="constrained", sharex=True, sharey=True)
for axis, name, values in zip(axes, ("symmetric weights", "directed weights"), (mirrored, weight), strict=True):
    candidate, local, exact = update_and_gradient(values)
    pairs = [np.asarray(candidate.synapses.matrix(each.weight))[graph.adjacency()] for each in (exact, local)]
    axis.axline((0, 0), slope=1, color="#999999", lw=1)
    axis.plot(-pairs[0], -pairs[1], "o", ms=4, alpha=0.7, color="#0072b2")
    axis.set(
        xlabel="minus the exact gradient", title=f"{name}\ncosine {direp.rules.cosine(candidate, local, exact):.2f}"
    )
axes[0].set_ylabel("update of the rule")

# %%
# With symmetric weights the local rule *is* the gradient. With directed ones it is an estimate: synapses into the
# output lie on the line, for the output knows its own error; those into hidden neurons scatter, for what comes back
# to a hidden neuron comes over other synapses than its own.
#
# Why feedback matters
# --------------------
# So what counts is how the way back resembles the way forth. Here every synapse into a hidden neuron from the output
# is turned, from the mirror image of its partner to the opposite of it. The cosine is that of the update of hidden
# synapses to their gradient: above 0 they learn, below 0 they unlearn.

layered = direp.Graph.layered([2, 8, 1])
forth = np.abs(np.random.default_rng(1).normal(0, 0.5, (8, 1)))
inward = np.random.default_rng(2).normal(0, 0.5, (2, 8))
shares, cosines = np.linspace(-1, 1, 21), []
for share in shares:
    weight = np.zeros((11, 9))
    weight[:2, :8], weight[2:10, 8:], weight[10:, :8] = inward, forth, share * forth.T
    candidate = direp.Network(layered, direp.Projected(), weight, leak=2.0, bias=0.5)
    pair = [direp.estimate(candidate, x, y, each).gradient for each in (rule, direp.Adjoint())]
    into = [np.asarray(candidate.synapses.matrix(each.weight))[:2].ravel() for each in pair]
    cosines.append(into[0] @ into[1] / max(np.linalg.norm(into[0]) * np.linalg.norm(into[1]), 1e-12))

figure, axis = plt.subplots(figsize=(5, 3), layout="constrained")
axis.axhline(0, color="black", lw=0.8)
axis.plot(shares, cosines, "o-", ms=4, color="#0072b2")
axis.set(xlabel="feedback, in shares of the way forth", ylabel="cosine to the gradient", title="Into hidden neurons")

# %%
# The sign alone decides here: with one output and one hidden layer, feedback of the right sign is enough, whatever
# its size. That is a theorem (*detailed balance*, T6 of the glossary), and there are more of them for other graphs.
# Where no synapse comes back at all, a second strength beside each one can learn to do it: see the tutorial on
# directed graphs.
#
# It learns
# ---------
# Settle, nudge, settle, update, for all four patterns; again and again. A *control* keeps every leak large enough
# that the network is proved to settle, after every update.

network = direp.Network(graph, direp.Projected("signed"), direp.Normal(input_mean=0.5), key=jax.random.key(0))
run = direp.fit(
    network,
    task,
    rule=direp.Local(beta=6.0),
    optimiser=optax.adam(0.05, b1=0.5),
    control=direp.LeakController(margin=0.1, floor=0.1),
    epochs=60,
)
print(run)

figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.3), layout="constrained")
left.semilogy(np.arange(1, 61), np.maximum(run.history["loss"][:, 0], 1e-6), color="#0072b2")
left.set(xlabel="epoch", ylabel="loss", title="It learns XOR")
direp.plot.decision_map(run, right)

# %%
# What a certificate says
# -----------------------
# *This network settles* is a sentence about every input and every start: no number of trials shows it. But it can be
# proved from the weights:

certificate = direp.certify(run.network)
print(certificate)

# %%
# It promises that any two states come closer at least as fast as :math:`e^{-ct}`. Let us see twenty pairs of them
# run. Distances are in the norm of the certificate; the line is the promise.

random = np.random.default_rng(0)
times = np.linspace(0, 6, 60)
ones, others = (
    direp.trajectory(run.network, np.tile(x[:1], (20, 1)), times, state=random.uniform(0, 1, (20, 9))) for _ in range(2)
)
distance = np.abs(ones - others) @ certificate.norm.weights
figure, axis = plt.subplots(figsize=(5, 3), layout="constrained")
axis.semilogy(times, distance / distance[0], color="#999999", lw=1)
axis.semilogy(times, np.exp(-certificate.rate * times), color="#d55e00", lw=2, label="proved: never above")
axis.set(xlabel="time", ylabel="distance of two states", ylim=(1e-6, 2), title="Every pair comes together")
axis.legend(frameon=False, loc="lower left")

# %%
# It does not promise that the answer is right, that learning goes on, or anything of a network with other weights.
# What it does promise holds for all inputs, and no run will contradict it. The next tutorials try to.
