"""DEEP as it was published in 2020: the gates under its own dynamics, rule and settings."""

from .gates import GATES, AbstractGates
from .reproduction import Variant

PUBLISHED = r"""
Farinha, Pequito, Santos, Figueiredo, *Equilibrium Propagation for Complete Directed Neural Networks* (DEEP), ESANN
2020, arXiv:2006.08798. Published are its dynamics, its rule, its settings, and for the gates AND, OR, XOR, NOT and
identity figures: the loss over epochs as bands over 10 networks, the convergence of states and weights, a weight
matrix, the graph, decision maps over the unit square. The settings, repeated here:

- All units in one vector $S$: inputs (one of them the constant 1), 5 hidden units, the output; a complete directed
  graph without self-loops, nothing enters an input. Weights are drawn from a normal distribution with a spread of 0.05.
- An epoch is one update by the whole truth table. Free units begin uniformly in [0, 0.1]; then 1000 free steps
  $S\leftarrow\mathrm{clip}(S+0.05\,(SW-S\odot\mathrm{rowsum}(W)),0,1)$, then 1000 nudged ones with
  $\beta(y-s_o)$ added to the output's derivative, $\beta=10$.
- $W\leftarrow W+\frac{100}{n\cdot1000}\sum_{t,n}s(t{+}1)\otimes(s(t{+}1)-s(t))$ over the nudged steps of all $n$
  patterns; 200 epochs."""


class Deep2020(AbstractGates):
    title = "DEEP 2020: the gates as published"
    published = PUBLISHED
    derived = """
- The share of networks that solve a gate is counted here, and the loss below which one counts as solved was chosen
  here. The publication's results are at hand as descriptions of its figures and not as numbers: none is compared.
- That phases end unsettled: the publication gives every phase a fixed time; the residual that is left is measured here.
- That a network may answer otherwise from another start: counted here, in the publication's range of starts and in the
  whole box.
- That no certificate exists: without leak the columns of the Jacobian of a network with signed outflow sum to zero
  whatever the weights, so it is singular, and no criterion can prove that the network contracts.
- States in the figure of convergence follow the same equations in continuous time; training takes the steps above."""

    def variants(self) -> dict[str, Variant]:
        return {"deep-2020": DEEP_2020}


DEEP_2020 = Variant("DEEP 2020 as published", "--preset deep-2020", GATES)
