"""Tasks: two interleaved half-moons, and three ones in a row on a ring.

python docs/extending/task.py
direp train task:moons --epochs 20                                 # in the folder of this file
"""

import jax
import numpy as np
import optax
from sklearn.datasets import make_moons

import direp


def moons(samples: int = 400, noise: float = 0.15) -> direp.tasks.Task:
    x, y = make_moons(samples, noise=noise, random_state=0)
    return direp.tasks.from_arrays(x, y, name="moons")


def rings(size: int = 8) -> direp.tasks.Task:
    """Are there three ones in a row, anywhere on a ring of bits? A third of all rings to learn, to choose, to test."""
    x = (np.random.default_rng(0).permutation(2**size)[:, None] >> np.arange(size)) & 1
    y = np.eye(2)[(x & np.roll(x, -1, 1) & np.roll(x, -2, 1)).any(1) + 0]
    return direp.tasks.Task("rings", *(direp.tasks.Samples(x[k::3] + 0.0, y[k::3]) for k in range(3)))


if __name__ == "__main__":
    task = moons()
    print(task)
    graph = direp.Graph.layered([task.inputs, 32, task.outputs])
    network = direp.Network(graph, direp.Projected(), key=jax.random.key(0))
    control = direp.LeakController(margin=0.1, floor=0.1)
    run = direp.fit(
        network, task, rule=direp.Local(2.0), optimiser=optax.adam(0.02), control=control, epochs=60, batch_size=32
    )
    print(f"test accuracy {float(run.test.accuracy[0]):.1%}; {direp.certify(run.network)}")
