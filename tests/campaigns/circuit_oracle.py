"""What a netlist says, read line by line and solved by Kirchhoff's law in plain NumPy. Nothing of direp is used."""

import math
import re

import numpy as np

_CALLS = {"min": min, "max": max, "abs": abs, "exp": math.exp, "ln": math.log, "tanh": math.tanh, "sin": math.sin}


class Circuit:
    """Elements of a netlist whose capacitors stand between the nodes s0, s1, ... and ground."""

    def __init__(self, text):
        self.elements = [line.split(maxsplit=3) for line in text.splitlines()[1:] if line[0] not in "*."]
        self.sources = {a: float(value) for name, a, _, value in self.elements if name[0] == "V"}
        self.capacitor = {a: float(value.split()[0]) for name, a, _, value in self.elements if name[0] == "C"}

    def velocity(self, state):
        """The slope of every capacitor's voltage, in volts a second."""
        volts = {"0": 0.0, **self.sources, **{f"s{j}": float(v) for j, v in enumerate(state)}}
        for name, a, _, value in self.elements:
            if name[0] == "B" and value.startswith("V="):
                volts[a] = self.value(value[2:], volts)
        summing = {a: float(value) for name, a, _, value in self.elements if name.startswith("Rsum")}
        for node, ohms in summing.items():
            volts[node] = ohms * self.into(node, volts, "IG")
        return np.array([self.into(node, volts, "IGRB") / farads for node, farads in self.capacitor.items()])

    def into(self, node, volts, kinds):
        """The current that elements of some kinds bring into a node."""
        total = 0.0
        for name, a, b, value in self.elements:
            sign = (b == node) - (a == node)  # an element's current runs from its first node to its second
            if sign and name[0] in kinds:
                total += sign * self.current(name[0], volts[a] - volts[b] if name[0] == "R" else 0.0, value, volts)
        return total

    def current(self, kind, across, value, volts):
        if kind == "I":
            return float(value)
        if kind == "R":
            return across / float(value)
        if kind == "G":
            plus, minus, conductance = value.split()
            return float(conductance) * (volts[plus] - volts[minus])
        return self.value(value[2:], volts)

    @staticmethod
    def value(expression, volts):
        assert not re.search(r"[^\w\s.,+*/()-]", expression)
        return eval(expression, {"__builtins__": {}}, {**_CALLS, "V": _Volts(volts), **{node: node for node in volts}})


class _Volts(dict):
    def __call__(self, node):
        return self[node]
