"""A neuron: its membrane saturates, and it sends only what lies above rest. Both of its functions are nonlinear.

python docs/extending/neuron.py
direp train xor --neuron neuron:Rectified --outflow none                       # in the folder of this file
"""

import equinox as eqx
import jax
import optax

import direp


class Rectified(direp.AbstractNeuron):
    r"""$\dot s=-\Lambda\odot s+\tanh(W^\top\max(s,0)+b)$. A neuron is data: five attributes, which the dynamics, the
    rules and the proofs read."""

    transfer: direp.Activation = eqx.field(static=True, default=direp.activation.tanh)
    rate: direp.Activation = eqx.field(static=True, default=direp.activation.relu)
    low: None = eqx.field(static=True, default=None)
    high: None = eqx.field(static=True, default=None)
    outflow: direp.Outflow = eqx.field(static=True, default=direp.Outflow.of("none"), converter=direp.Outflow.of)


if __name__ == "__main__":
    task = direp.tasks.xor()
    network = direp.Network(direp.Graph.layered([2, 16, 1]), Rectified(), key=jax.random.key(1))
    control = direp.LeakController(margin=0.1, floor=0.1)
    run = direp.fit(
        network, task, rule=direp.Local(direp.Centred(0.05)), optimiser=optax.adam(0.05), control=control, epochs=300
    )
    print(run)
    print(direp.certify(run.network))
    print(direp.certify(run.network, criteria=(direp.LMI(),), starts=0))  # refused by name
    local, exact = (
        direp.estimate(network, *task.train, rule).gradient for rule in (direp.Local(0.01), direp.Adjoint())
    )
    print(f"cosine to the exact gradient before training {direp.rules.cosine(network, local, exact):.3f}")
