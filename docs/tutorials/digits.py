r"""
From one neuron to digits
=========================

The same few lines train one neuron, a gate and a reader of digits. Only the graph and the task change.
"""

# %%
# A recipe
# --------
# Everything that is learned here is learned in the same way: weights are drawn, a control keeps the network proved to
# settle, and the local rule moves every synapse by what its own two neurons did.

import jax
import matplotlib.pyplot as plt
import numpy as np
import optax

import direp


def train(graph, task, epochs, rate, start, beta, **more):
    network = direp.Network(graph, direp.Projected(), start, key=jax.random.key(0))
    rule, control = direp.Local(beta=beta), direp.LeakController(margin=0.1)
    return direp.fit(
        network, task, rule=rule, control=control, optimiser=optax.adam(rate, b1=0.5), epochs=epochs, **more
    )


# %%
# One neuron
# ----------
# One output and no hidden neuron: the output adds up its inputs. OR is within its reach. XOR is not, whatever the
# weights: where it should say 1 for each input alone, it says more for both.

lone, drawn = direp.Graph.layered([2, 1]), direp.Normal(0.5)
runs = {name: train(lone, direp.tasks.gate(name), 60, 0.05, drawn, 2.0) for name in ("or", "xor")}
for name, run in runs.items():
    print(f"{name}: solved {bool(run.solved[0])}, loss {run.test.loss[0]:.3f}")

figure, axes = plt.subplots(1, 2, figsize=(8, 3.3), layout="constrained")
for axis, (name, run) in zip(axes, runs.items(), strict=True):
    direp.plot.decision_map(run, axis, title=f"{name}, one neuron")

# %%
# Hidden neurons
# --------------
# Eight neurons between, and a synapse back to each of them from the output. Nobody tells a hidden neuron what it
# should do. It sees what the nudge at the output does to it, by that synapse, and its own synapses learn from it.

wired = direp.Graph.layered([2, 8, 1])
gate = train(wired, direp.tasks.xor(), 60, 0.05, direp.FanIn(hidden_bias=0.5), 6.0)
print(f"xor: solved {bool(gate.solved[0])}, loss {gate.test.loss[0]:.3f}")

figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.3), layout="constrained")
direp.plot.decision_map(gate, left, title="xor, eight hidden neurons")
hidden = np.asarray(direp.settle(gate.network, gate.task.train.x).state)[:, :8]
right.imshow(hidden, cmap="Blues", vmin=0, vmax=1)
right.set(xlabel="hidden neuron", xticks=range(8), yticks=range(4), yticklabels=["0 0", "0 1", "1 0", "1 1"])
right.set(ylabel="inputs", title="What hidden neurons say")

# %%
# The right picture is what was learned: some neurons that answer to one pattern and not to others, so that adding up
# is enough after them.
#
# Digits
# ------
# 1,797 images of 8 x 8 pixels come with scikit-learn. 64 inputs, 64 hidden neurons, an output for each digit; in
# batches of 32, ten times through the images.

digits = direp.tasks.bundled("digits", scale="global")
reader = direp.Graph.layered([64, 64, 10])
run = train(reader, digits, 10, 0.02, direp.FanIn(), 2.0, batch_size=32)
print(run)

figure, axis = plt.subplots(figsize=(5, 3), layout="constrained")
epochs = np.arange(1, 11)
for part, colour in (("", "#0072b2"), ("validation_", "#d55e00")):
    axis.plot(
        epochs,
        100 * run.history[f"{part}accuracy"][:, 0],
        "o-",
        ms=4,
        color=colour,
        label=part.rstrip("_") or "training",
    )
axis.set(xlabel="epoch", ylabel="right, %", title="Digits")
axis.legend(frameon=False)

# %%
# Some test images with its answers: six that it gets wrong, and six others. ``settled`` and ``error`` say of each
# whether the network came to rest, and how far from its true equilibrium it can be at most: that is proved, the digit
# is not.

x, truth = digits.test.x, np.asarray(digits.test.y).argmax(1)
answers = direp.predict(run.network, x, certificate=direp.certify(run.network))
said = np.asarray(answers.value).argmax(1) if np.ndim(answers.value) == 2 else np.asarray(answers.value).astype(int)
print(f"{(said == truth).mean():.1%} of {len(x)} right, {answers.settled.mean():.0%} settled")
print(f"outputs at most {answers.error.max():.1g} from equilibrium")

wrong, right = np.flatnonzero(said != truth), np.flatnonzero(said == truth)
kept = digits.preparation.inputs
images = np.asarray(x) * kept.scale + kept.centre
figure, axes = plt.subplots(2, 6, figsize=(7, 2.9), layout="constrained")
for axis, k in zip(axes.flat, [*wrong[:6], *right[:6]], strict=True):
    axis.imshow(images[k].reshape(8, 8), cmap="Greys")
    axis.set_axis_off()
    axis.set_title(
        f"{said[k]}, not {truth[k]}" if k in wrong else f"{said[k]}",
        color="#d55e00" if k in wrong else "black",
        fontsize=10,
    )

# %%
# With the command line
# ---------------------
# The program has settings for all of this that were chosen with care, and writes a folder with the pictures:
#
# .. code-block:: sh
#
#    direp train or --hidden 1 --out runs/or
#    direp train xor --preset small --out runs/xor-small
#    direp train digits --epochs 10 --out runs/digits-short
