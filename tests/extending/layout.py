"""A layout of one's own: a 1-D convolution on a ring, a readout pooled over places, and feedback to every channel."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import direp
from direp.model import Weight


class Convolution(direp.LinearMap):
    """`length` inputs -> `channels` maps of hidden units, by one kernel each -> `outputs`, and from these back."""

    graph: direp.Graph = eqx.field(static=True)
    channels: int = eqx.field(static=True)
    width: int = eqx.field(static=True)

    def __init__(self, length, channels, outputs, width=3):
        self.channels, self.width = channels, width
        hidden = length + np.arange(channels * length).reshape(channels, length)
        out = length + hidden.size + np.arange(outputs)[:, None, None]
        windows = (np.arange(length) + np.arange(width)[:, None, None]) % length
        pairs = [np.broadcast_arrays(*pair) for pair in ((windows, hidden), (hidden, out), (out, hidden))]
        source, target = (np.concatenate([pair[k].ravel() for pair in pairs]) for k in (0, 1))
        self.graph = direp.Graph(length, hidden.size, outputs, source, target)

    def build(self, make):
        first = self.graph.inputs * (1 + np.arange(self.channels))[:, None]  # one unit of each channel is enough
        out = self.graph.inputs + self.graph.hidden + np.arange(self.graph.outputs)
        kernel, readout, feedback = make(np.arange(self.width), first), make(first, out), make(out, first)
        return Weight(jnp.asarray(kernel), (jnp.asarray(readout), jnp.asarray(feedback)))

    def input_drive(self, weight, x):
        windows = jnp.stack([jnp.roll(x, -k, axis=1) for k in range(self.width)])
        maps = jnp.einsum("ck,knl->ncl", weight.input, windows).reshape(len(x), -1)
        return jnp.pad(maps, ((0, 0), (0, self.graph.outputs)))

    def drive(self, weight, rate):
        readout, feedback = weight.recurrent
        hidden, outputs = jnp.split(rate, [self.graph.hidden], axis=1)
        pooled = hidden.reshape(len(rate), self.channels, -1).sum(2)
        return jnp.concatenate([jnp.repeat(outputs @ feedback.T, self.graph.inputs, 1), pooled @ readout], 1)


def show(epochs=300):
    """Three ones in a row, anywhere on the ring? The numbers of one kernel a channel learn it at all places at once."""
    layout, neuron = Convolution(length=8, channels=4, outputs=2), direp.Rate(direp.activation.tanh)
    network = direp.Network(layout.graph, neuron, direp.FanIn(), layout=layout, key=jax.random.key(1))
    x = (np.random.default_rng(0).permutation(256)[:, None] >> np.arange(8)) & 1
    y = np.eye(2)[(x & np.roll(x, -1, 1) & np.roll(x, -2, 1)).any(1) + 0]
    task = direp.tasks.Task("three in a row", *(direp.tasks.Samples(x[k::3] + 0.0, y[k::3]) for k in range(3)))
    rule, control = direp.Local(direp.Centred(0.05)), direp.LeakController(0.2)
    return direp.fit(network, task, rule=rule, optimiser=optax.adam(0.02), epochs=epochs, control=control)


if __name__ == "__main__":
    run = show()
    print(run.network, f"accuracy {float(run.test.accuracy[0]):.2f}", direp.certify(run.network), sep="\n")
