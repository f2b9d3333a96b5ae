"""Every neuron, layout and criterion keeps the laws of `direp.testing`; broken ones are caught."""

from typing import ClassVar

import extending.criterion
import extending.layout
import extending.neuron
import jax.numpy as jnp
import numpy as np
import pytest
from cases import GRAPHS, NEURONS, OUTFLOWS

import direp
from direp.certificates.convergence import Proof, prove
from direp.testing import check_criterion, check_layout, check_neuron

LAYOUTS = {
    "dense": lambda: direp.Dense(GRAPHS["random"]()),
    "layered": lambda: direp.Layered(GRAPHS["layered"]()),
    "sparse": lambda: direp.Sparse(GRAPHS["complete"]()),
    "convolution": lambda: extending.layout.Convolution(5, 2, 2),
}
CRITERIA = (
    direp.LocalLeak(), direp.Rows(), direp.Perron(), direp.Symmetric(), direp.LMI(), extending.criterion.Degree(),
)  # fmt: skip


@pytest.mark.parametrize("outflow", OUTFLOWS)
@pytest.mark.parametrize("neuron", NEURONS)
def test_neurons(neuron, outflow):
    check_neuron(NEURONS[neuron](outflow))


def test_a_neuron_of_ones_own():
    check_neuron(extending.neuron.Rectified())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout):
    check_layout(LAYOUTS[layout]())


@pytest.mark.parametrize("criterion", CRITERIA, ids=lambda criterion: criterion.name)
def test_criteria(criterion):
    check_criterion(criterion)


def test_broken_parts_are_caught():
    class Hopeful(direp.AbstractCriterion):
        name: ClassVar[str] = "hopeful"

        def attempt(self, system):
            found = prove(self.name, system, [(np.ones(system.size), False)])
            rate = 2 * system.leak.min()
            proof = Proof(direp.certificates.convergence.L1(np.ones(system.size)), {"free": rate}, 0.01, 0.01 * rate)
            return found if found.proof is None else type(found)(self.name, proof, rate, free=True)

    class Lopsided(direp.Dense):
        def back(self, weight, post):
            return post @ weight.recurrent  # not transposed

    class Forgetful(direp.Dense):
        def outgoing(self, weight, fn):
            return jnp.abs(weight.recurrent[:, 1:]).sum(1)

    for check, part, words in (
        (check_criterion, Hopeful(), "a distance of"),
        (check_layout, Lopsided(GRAPHS["random"]()), "back is not"),
        (check_layout, Forgetful(GRAPHS["random"]()), "outgoing is not"),
    ):
        with pytest.raises(AssertionError, match=words):
            check(part)
