"""An activation: softsign, with what proofs need to know of it.

python docs/extending/activation.py
direp train xor --neuron rate --activation activation:softsign --outflow none    # in the folder of this file
"""

import jax
import jax.numpy as jnp

import direp


def over_balls(s):
    """Value and slope over a ball of python-flint: without it equilibria cannot be enclosed, and nothing refuted."""
    size = 1 + abs(s)
    return s / size, 1 / (size * size)


softsign = direp.Activation(
    "softsign",
    lambda s: s / (1 + jnp.abs(s)),
    range=(-1.0, 1.0),
    slope=(0.0, 1.0),  # tried when the object is made: a false bound is refused with the place where it fails
    enclose=over_balls,
)


if __name__ == "__main__":
    try:
        direp.Activation("too steep", lambda s: jnp.tanh(3 * s), range=(-1.0, 1.0), slope=(0.0, 1.0))
    except ValueError as error:
        print(error)
    network = direp.Network(direp.Graph.complete(2, 6, 1), direp.Rate(softsign), key=jax.random.key(0))
    network = direp.LeakController(0.1).begin(network)
    task = direp.tasks.xor()
    print(direp.certify(network))
    print(direp.certify_learning(network, *task.train, direp.Local(0.1)))
    try:
        direp.certify_region(direp.Box.around(network, task.train.x[0]))
    except ValueError as error:
        print(error)
