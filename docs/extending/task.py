"""A task: two interleaved half-moons.

python docs/extending/task.py
direp train task:moons --epochs 20                                 # in the folder of this file
"""

import jax
import optax
from sklearn.datasets import make_moons

import direp


def moons(samples: int = 400, noise: float = 0.15) -> direp.tasks.Task:
    x, y = make_moons(samples, noise=noise, random_state=0)
    return direp.tasks.from_arrays(x, y, name="moons")


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
