"""DEEP revisited: leaky networks that are kept certified, and the local rule, beside the published baseline."""

from .deep_2020 import DEEP_2020
from .gates import GATES, AbstractGates
from .reproduction import Variant


class Revisited(AbstractGates):
    title = "DEEP revisited: leaky networks and the local rule beside DEEP 2020"
    baseline = "deep-2020"
    drawn = ("deep-2020", "local")
    published = """
Costa & Santos, *Directed Equilibrium Propagation Revisited*, Mathematics 13(11):1866, 2025. Only its abstract is at
hand. It announces DEEP generalised by **neuronal leakage**, **new convergence criteria** for the dynamics, **a new
local learning rule closely linked to the gradient of the objective**, and **sufficient conditions for reliable learning
in small networks**. No equation, setting, figure or number of that paper is quoted or repeated here.

The baseline is DEEP as Farinha et al. published it in 2020 (arXiv:2006.08798); `direp reproduce deep-2020` says what
that was."""
    derived = r"""
**All equations of the leaky networks were derived here from the four claims of the abstract, and checked here; none is
attributed to the paper**, which may have others:

- the dynamics $\dot s=-\Lambda\odot s+W^\top r+b$ on the box $[0,1]$, where $r$ are inputs and states,
  $\Lambda_j=\lambda_j+\sum_kw_{jk}$, with a leak $\lambda_j>0$;
- the criterion: $\lambda_i\ge2\sum_kw_{ik}^-+c_0$ for every unit (twice its own outgoing inhibition) makes the network
  contract at rate $c_0$ to one equilibrium for each input. Leaks are held there after every update ($c_0=0.1$), and
  count as functions of the weights in the update;
- the local rule $\Delta w_{ij}\propto r_i\,\Delta r_j-\kappa_{ij}s_i\,\Delta r_i$, whose second term is the part of the
  gradient that flows through the outflow;
- the settings (Adam, $\beta=6$, 300 epochs, biases with which units begin inside their box) were chosen here, on XOR.

What differs between the ways to learn is therefore more than leak and rule: optimiser, nudge, initial weights and
number of epochs differ too. Two of them have the same graph of 5 hidden units; the third has the 16 that are this
program's default. `python benchmarks/learning.py reliable` takes ingredients away one at a time."""

    def variants(self) -> dict[str, Variant]:
        return {
            "deep-2020": DEEP_2020,
            "local": Variant("leaky, local rule, 5 hidden", "--preset small --keep last", GATES),
            "local-16": Variant("leaky, local rule, 16 hidden", "--preset default --keep last", GATES),
        }
