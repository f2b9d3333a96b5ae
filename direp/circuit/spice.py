r"""Networks as netlists of SPICE: capacitors, resistors, controlled sources and clamps."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..model import Network
from ..rules import AbstractCost, SquaredError
from ..settling import check_kind, check_number
from .formulas import formula_of, put


def netlist(
    network: Network,
    x: ArrayLike,
    y: ArrayLike | None = None,
    *,
    beta: float = 0.0,
    cost: AbstractCost | None = None,
    state: ArrayLike | None = None,
    transient: float | None = None,
    time: float = 1.0,
    capacitance: float = 1.0,
    clamp: float = 1e9,
    formulas: Mapping[str, str] | None = None,
) -> str:
    r"""The circuit that obeys $\dot s=-\Lambda\odot s+\varphi(W^\top\psi(s)+b)$ for one sample, as a netlist of SPICE.

    The state of a free unit is the voltage of a node, `s0`, `s1`, ... (hidden first). Nodes `r` hold rates and nodes
    `u` drives, where these are not states and currents; nodes `x` and `y` hold inputs and targets. It asks for the
    operating point, the equilibrium, or for a transient.

    **Arguments:**

    - `x`: the clamped inputs, one number each.
    - `y`, `beta`: targets and strength of the nudge; a free phase, `beta=0`, needs no targets.
    - `cost`: of the nudge: `SquaredError()`, which is the default. No other is a controlled source.
    - `transient`, `state`: for how long to follow the states (in the network's time), and from where; by default from
      rest.
    - `time`, `capacitance`: one unit of the network's time in seconds, and the capacitor of every unit in farads. A
      state of 1 is 1 V, so that a leak or a weight of 1 is `capacitance / time` siemens.
    - `clamp`: the conductance that holds a state at a face of its box, as a leak. A state passes the face by the
      current that is held back over this.
    - `formulas`: for activations of your own, by their names, what they are in `v`: `{"softsign": "v/(1+abs(v))"}`.

    Raises `ValueError` for what a netlist cannot express, and for a formula that is not its activation.
    """
    check_kind("netlist(network=...)", network, Network, "a Network")
    for name, value in (("time", time), ("capacitance", capacitance), ("clamp", clamp)):
        check_number(f"netlist({name}", value, above=0)
    check_number("netlist(beta", beta)
    if transient is not None:
        check_number("netlist(transient", transient, above=0)
    elif state is not None:
        raise ValueError("netlist(state=...) starts a transient: give transient=..., for how long, too")
    graph = network.graph
    given = {"x": _row("x", x, graph.inputs)}
    if beta:
        if not isinstance(cost, SquaredError | None):
            raise ValueError(
                f"netlist(cost={type(cost).__name__}) has a nudge that is no controlled source: give SquaredError(), "
                "or beta=0 for the free phase"
            )
        if y is None:
            raise ValueError(f"netlist(beta={beta:g}) nudges towards targets: give y, {graph.outputs} numbers")
        given["y"] = _row("y", y, graph.outputs)
    low, high = network.neuron.low, network.neuron.high
    start = np.zeros(graph.free) if state is None else _row("state", state, graph.free)
    start = np.clip(start, low, high) if network.neuron.bounded else start
    circuit = _Circuit(network, capacitance / time, clamp, formulas or {})
    lines = [
        f"* {_plain(str(graph))}; {_plain(str(network.neuron))}; {f'nudged, beta={beta:g}' if beta else 'free'}",
        f"* made by direp: 1 V is a state of 1, {time:g} s are a time of 1, {capacitance / time:g} S a weight of 1",
        *(f"* {circuit.node(k)}: {_plain(name)}" for k, name in enumerate(graph.names)),
        *circuit.sources(given),
        *(line for j in range(graph.free) for line in circuit.unit(j, capacitance, start[j])),
        *circuit.synapses(),
        *(circuit.nudge(beta) if beta else ()),
        *_analysis(circuit, transient, time, capacitance),
        ".end",
    ]
    return "\n".join(lines) + "\n"


class _Circuit:
    """A network whose numbers are read, in 64 bits, and its elements. `unit`: a weight of 1, in siemens."""

    def __init__(self, network: Network, unit: float, clamp: float, formulas: Mapping[str, str]):
        graph, neuron = network.graph, network.neuron
        owner = f"netlist(network=...) has the neuron {type(neuron).__name__}"
        self.network, self.scale, self.clamp = network, unit, clamp
        self.transfer, self.rate = (formula_of(each, formulas, owner) for each in (neuron.transfer, neuron.rate))
        self.strengths = np.asarray(network.strengths(), np.float64)
        self.bias = np.asarray(network.bias, np.float64)
        between = graph.source >= graph.inputs
        lost = np.zeros(graph.free)
        if neuron.outflow.active:
            each = neuron.outflow.value(self.strengths[between])
            np.add.at(lost, graph.source[between] - graph.inputs, each)
        self.leak = np.asarray(network.leak, np.float64) + lost

    def node(self, unit: int) -> str:
        """The node of a unit's input or state."""
        inputs = self.network.graph.inputs
        return f"x{unit}" if unit < inputs else f"s{unit - inputs}"

    def sent(self, unit: int) -> str:
        """The node whose voltage a unit sends."""
        node = self.node(unit)
        return node if self.rate is None or node[0] == "x" else f"r{node[1:]}"

    def into(self, free: int) -> str:
        """The node that sums the currents into a free unit."""
        return f"{'s' if self.transfer is None else 'u'}{free}"

    def sources(self, given: Mapping[str, np.ndarray]) -> Iterator[str]:
        for name, voltages in given.items():
            for k, voltage in enumerate(voltages):
                yield f"V{name}{k} {name}{k} 0 {_number(voltage)}"

    def unit(self, j: int, capacitance: float, start: float) -> Iterator[str]:
        """A free unit: its capacitor, leak, bias, activations and box."""
        neuron, leak = self.network.neuron, self.scale * self.leak[j]
        yield f"C{j} s{j} 0 {_number(capacitance)} ic={_number(start)}"
        if leak > 0:
            yield f"Rleak{j} s{j} 0 {_number(1 / leak)}"
        elif leak < 0:  # a signed outflow that is larger than the leak: no resistor
            yield f"Gleak{j} s{j} 0 s{j} 0 {_number(leak)}"
        if self.bias[j]:
            yield f"Ibias{j} 0 {self.into(j)} {_number(self.scale * self.bias[j])}"
        if self.transfer is not None:
            yield f"Rsum{j} u{j} 0 {_number(1 / self.scale)}"
            yield f"Btransfer{j} 0 s{j} I={_number(self.scale)}*({put(self.transfer, f'u{j}')})"
        if self.rate is not None:
            yield f"Brate{j} r{j} 0 V={put(self.rate, f's{j}')}"
        if neuron.bounded:
            below, above = (f"V(s{j})-({_number(face)})" for face in (neuron.low, neuron.high))
            yield f"Bbox{j} s{j} 0 I={_number(self.scale * self.clamp)}*(max({above},0)+min({below},0))"

    def synapses(self) -> Iterator[str]:
        graph = self.network.graph
        for i, k, strength in zip(graph.source.tolist(), graph.target.tolist(), self.strengths, strict=True):
            if strength:
                j = k - graph.inputs
                weight = _number(self.scale * strength)
                yield f"G{self.node(i)}_{j} 0 {self.into(j)} {self.sent(i)} 0 {weight}"

    def nudge(self, beta: float) -> Iterator[str]:
        """The current beta (y - r) into every output."""
        graph = self.network.graph
        for k in range(graph.outputs):
            j = graph.hidden + k
            sent = self.sent(graph.inputs + j)
            yield f"Gnudge{k} 0 {self.into(j)} y{k} {sent} {_number(self.scale * beta)}"


def _analysis(circuit: _Circuit, transient: float | None, time: float, capacitance: float) -> Iterator[str]:
    """What is asked of the simulator, and how exactly."""
    if transient is None:
        yield "* where ngspice notes 'Transient op started', it found no operating point, whatever it prints"
        yield f".options reltol=1e-9 vntol=1e-12 abstol={_number(1e-12 * circuit.scale)} itl1=1000 numdgt=12"
        yield ".op"
        return
    # Errors of a step are relative to the larger of a charge and `chgtol`: that of 1 V. A trapezoidal rule would ring
    # where a clamp takes hold.
    yield (
        f".options method=gear reltol=1e-6 vntol=1e-9 abstol={_number(1e-9 * circuit.scale)} "
        f"chgtol={_number(capacitance)} itl4=100 numdgt=12"
    )
    states = [f"v(s{j})" for j in range(circuit.network.graph.free)]
    yield from (f".save {' '.join(states[k : k + 10])}" for k in range(0, len(states), 10))
    step = _number(time * transient / 100)
    yield f".tran {step} {_number(time * transient)} 0 {step} uic"


def _row(name: str, values: ArrayLike, size: int) -> np.ndarray:
    row = np.asarray(values, np.float64)
    if row.shape != (size,):
        raise ValueError(f"netlist({name}=...) has shape {row.shape}; a circuit has one sample: give {size} numbers")
    if not np.isfinite(row).all():
        raise ValueError(f"netlist({name}=...) holds NaN or infinite entries")
    return row


def _number(value: Any) -> str:
    """With all digits of 64 bits."""
    return repr(float(value))


def _plain(text: str) -> str:
    """A text in one line of ASCII."""
    return " ".join(text.encode("ascii", "backslashreplace").decode().split())[:200]
