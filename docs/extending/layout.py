"""A layout: a 1-D convolution on a ring, a readout pooled over places, and feedback to every channel.

python docs/extending/layout.py
direp train task:rings --graph layout:Convolution --hidden 4 --neuron rate    # in the folder of this file
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import direp
from direp.model import Weight


class Convolution(direp.LinearMap):
    """`inputs` on a ring -> a map of hidden units for each of `hidden` kernels -> `outputs`, and from these back."""

    graph: direp.Graph = eqx.field(static=True)
    channels: int = eqx.field(static=True)
    width: int = eqx.field(static=True)

    def __init__(self, inputs, hidden, outputs, width=3):
        self.channels, self.width = hidden, width
        maps = inputs + np.arange(hidden * inputs).reshape(hidden, inputs)
        out = inputs + maps.size + np.arange(outputs)[:, None, None]
        windows = (np.arange(inputs) + np.arange(width)[:, None, None]) % inputs
        pairs = [np.broadcast_arrays(*pair) for pair in ((windows, maps), (maps, out), (out, maps))]
        source, target = (np.concatenate([pair[k].ravel() for pair in pairs]) for k in (0, 1))
        self.graph = direp.Graph(inputs, maps.size, outputs, source, target)

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


if __name__ == "__main__":
    from task import rings

    layout, task = Convolution(inputs=8, hidden=4, outputs=2), rings()
    network = direp.Network(layout.graph, direp.Rate("tanh"), direp.FanIn(), layout=layout, key=jax.random.key(1))
    rule, control = direp.Local(direp.Centred(0.05)), direp.LeakController(0.2)
    run = direp.fit(network, task, rule=rule, optimiser=optax.adam(0.02), epochs=300, control=control)
    print(run.network, f"accuracy {float(run.test.accuracy[0]):.2f}", direp.certify(run.network), sep="\n")
