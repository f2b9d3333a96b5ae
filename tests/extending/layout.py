"""A layout of one's own: a 1-D convolution that shares its weights, a pooled readout, and feedback to the channels."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import direp
from direp.model import Weight


class Convolution(direp.LinearMap):
    """Inputs on a ring of `length` places -> `channels` maps of hidden units -> `outputs`, and from these back."""

    graph: direp.Graph = eqx.field(static=True)
    length: int = eqx.field(static=True)
    channels: int = eqx.field(static=True)
    outputs: int = eqx.field(static=True)
    width: int = eqx.field(static=True)

    def __init__(self, length, channels, outputs, width=3):
        self.length, self.channels, self.outputs, self.width = length, channels, outputs, width
        hidden = length + np.arange(length * channels).reshape(channels, length)
        out = length + hidden.size + np.arange(outputs)
        windows = [((np.arange(length) + k) % length, maps) for k in range(width) for maps in hidden]
        pairs = [np.broadcast_arrays(*pair) for pair in (*windows, (hidden[..., None], out), (out[:, None, None], hidden))]
        source, target = (np.concatenate([pair[k].ravel() for pair in pairs]) for k in (0, 1))
        self.graph = direp.Graph(length, hidden.size, outputs, source, target)

    def build(self, make):
        first = self.length * (1 + np.arange(self.channels))[:, None]  # the first hidden unit of every channel
        out = self.graph.inputs + self.graph.hidden + np.arange(self.outputs)
        kernel = make(np.arange(self.width), first)
        return Weight(jnp.asarray(kernel), {"readout": jnp.asarray(make(first, out)), "feedback": jnp.asarray(make(out, first))})

    def input_drive(self, weight, x):
        windows = jnp.stack([jnp.roll(x, -k, 1) for k in range(self.width)])
        maps = jnp.einsum("ck,knl->ncl", weight, windows) if False else jnp.einsum("ck,knl->ncl", weight.input, windows)
        return jnp.pad(maps.reshape(len(x), -1), ((0, 0), (0, self.outputs)))

    def drive(self, weight, rate):
        maps = rate[:, : self.graph.hidden].reshape(-1, self.channels, self.length)
        hidden = rate[:, self.graph.hidden :] @ weight.recurrent["feedback"].T
        hidden = jnp.repeat(hidden, self.length, 1)
        return jnp.concatenate([hidden, maps.sum(2) @ weight.recurrent["readout"]], 1)


L = Convolution(6,2,2)
n = direp.Network(L.graph, direp.Rate(), direp.FanIn(0.5), layout=L, key=jax.random.key(0), leak=3.0)
print(n, L.place, L.shared)
print(n.matrix.round(2))
