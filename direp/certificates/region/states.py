r"""All equilibria of a box of networks: enclosed, divided by which units are held, and made to move with the box.

Where a box leaves open which units rest at a face (or where a hard-sigmoid is flat), each case is a *piece*: the field
is linear, or smooth, in it, and every equilibrium lies in one of them.
"""

import numpy as np

from ...arithmetic import Affine, Interval, Ramp, Shape, apply, constant, contract, inverse, transform
from ...model import ACTIVATIONS, AbstractNeuron, Network

LOW, ACTIVE, HIGH = range(3)  # the cases of a unit
Forms = tuple[Affine, Affine, Affine, Affine]  # weights, biases, leaks, inputs


class Family:
    """The networks of a box: which numbers are fixed, which vary, and bounds over boxes of those that vary.

    All numbers lie in one vector: the matrix of weights (units x free) row by row, biases, leaks, inputs.
    """

    def __init__(self, network: Network, base: np.ndarray, varying: np.ndarray):
        graph, neuron = network.graph, network.neuron
        self.base, self.varying, self.outflow = base, varying, neuron.outflow
        self.inputs, self.units, self.free = graph.inputs, graph.units, graph.free
        self.outputs = np.arange(graph.hidden, graph.free)
        self.exists = graph.adjacency().astype(float)
        self.inner = self.exists[graph.inputs :]
        self.bias = float(graph.bias)
        self.shape: Shape = shape_of(neuron)
        # Where the shape acts: on states by a box, on drives (outward) or on states that are sent (inward).
        identity = ACTIVATIONS["identity"]
        self.boxed, self.outward, self.inward = neuron.bounded, neuron.transfer != identity, neuron.rate != identity

    def cut(self, flat):
        """Weights, biases, leaks and inputs of the vectors."""
        n, ends = self.free, np.cumsum([self.units * self.free, self.free, self.free])
        places = np.arange(ends[0]).reshape(self.units, n)
        rows = (slice(None),)
        return flat[(*rows, places)], flat[:, ends[0] : ends[1]], flat[:, ends[1] : ends[2]], flat[:, ends[2] :]

    def intervals(self, low: np.ndarray, high: np.ndarray) -> Interval:
        flat = np.repeat(self.base[None], len(low), 0)
        other = flat.copy()
        flat[:, self.varying], other[:, self.varying] = low, high
        return Interval(flat, other)

    def forms(self, numbers: Interval) -> Affine:
        mid = 0.5 * numbers.low + 0.5 * numbers.high
        mid = np.where(numbers.low == numbers.high, numbers.low, mid)
        coef = np.zeros((len(self.varying), *mid.shape))
        for k, place in enumerate(self.varying):
            away = np.maximum(numbers.high[:, place] - mid[:, place], mid[:, place] - numbers.low[:, place])
            coef[k, :, place] = np.nextafter(away, np.inf)
        return Affine(mid, coef, np.zeros_like(mid))

    def kappa(self, numbers: Interval) -> Interval:
        r"""$\partial\,\mathrm{out}_i/\partial w_{ij}$; both signs where a weight may have either."""
        weight = self.cut(numbers)[0][:, self.inputs :]
        one = np.broadcast_to(self.inner, weight.low.shape)
        low, high = self.outflow.bounds(weight.low, weight.high)
        return Interval(low * one, high * one)

    def total_leak(self, numbers: Interval) -> Interval:
        weight, _, leak, _ = self.cut(numbers)
        return leak + (weight[:, self.inputs :] * self.kappa(numbers)).sum(2)

    def states(self, numbers: Interval, total: Interval) -> tuple[Interval, np.ndarray]:
        """An enclosure of all equilibria, and whether each unit can be (low, active, high): boxes x free x 3.

        Says nothing of boxes in which a total leak may be zero or below.
        """
        weight, bias, _, x = self.cut(numbers)
        inner = weight[:, self.inputs :]
        fixed = (weight[:, : self.inputs] * x[:, :, None]).sum(1) + bias
        shape, size = self.shape, bias.low.shape
        low, high = np.full(size, shape.low), np.full(size, shape.high)
        ramp = Ramp(shape.low, shape.high)
        cases = np.zeros((*size, 3), bool)
        cases[..., ACTIVE] = True
        if np.isinf(shape.low):  # linear units: their states come from the linear system alone
            return Interval(low, high), cases
        rates = Interval(low, high)
        states = rates if self.boxed else rates / total
        drive = states
        for sweep in range(16):
            if self.inward and sweep:
                rates = shape.value(states)
            elif not self.inward:
                rates = states
            drive = (inner * rates[:, :, None]).sum(1) + fixed
            moved = shape.value(drive) / total if self.outward else drive / total
            moved = moved.clip(shape.low, shape.high) if self.boxed else moved
            new = moved if self.inward and not sweep else moved.meet(states)
            still = sweep > 1 and (states.width() - new.width() <= 0.02 * states.width()).all()
            states = new
            if still:
                break
        if isinstance(shape, Ramp):
            at = drive if self.outward else states if self.inward else drive / total
            cases = np.stack(
                [at.low <= ramp.low, (at.high >= ramp.low) & (at.low <= ramp.high), at.high >= ramp.high], -1
            )
        return states, cases

    def field(self, state, forms: Forms, total: Affine, case: np.ndarray) -> tuple[Affine, Affine, Affine]:
        """Rates, drives and the field at a state, an array or a form, in a piece."""
        weight, bias, _, x = forms
        active, held = case == ACTIVE, np.where(case == LOW, self.shape.low, self.shape.high)
        held = np.where(active, 0.0, held)
        gate = active.astype(float)
        smooth = None if isinstance(self.shape, Ramp) else self.shape
        rate = state
        if self.inward:
            lifted = state if isinstance(state, Affine) else constant(state, len(bias.coef))
            rate = transform(smooth, lifted) if smooth else lifted * gate + held
        sent = (weight[:, : self.inputs] * x[:, :, None]).swap().sum(-1)
        drive = (weight[:, self.inputs :] * rate[:, :, None]).swap().sum(-1) + sent + bias
        if self.boxed:
            return rate, drive, (drive - total * state) * gate + (held - state * (1 - gate))
        if self.outward:
            passed = transform(smooth, drive) if smooth else drive * gate + held
            return rate, drive, passed - total * state
        return rate, drive, drive - total * state

    def total(self, forms: Forms, kappa: Interval) -> Affine:
        _, _, leak, _ = forms
        if not self.outflow.active:
            return leak
        inner = forms[0][:, self.inputs :]
        return leak + (inner * Affine.of(kappa, len(leak.coef))).sum(-1)

    def _jacobian(self, forms: Forms, total: Affine, slope: Affine, case: np.ndarray) -> Affine:
        """Of the field in a piece, over all the slopes."""
        into = forms[0][:, self.inputs :].swap()
        eye = np.eye(self.free)
        if self.boxed:
            gate = (case == ACTIVE).astype(float)
            return into * gate[:, :, None] - (total * gate + (1 - gate))[:, :, None] * eye
        slope = slope[:, None, :] if self.inward else slope[:, :, None]
        return into * slope - total[:, :, None] * eye

    def settle(
        self, forms: Forms, total: Affine, box: Interval, case: np.ndarray
    ) -> tuple[Affine, Affine, Affine, np.ndarray]:
        r"""All equilibria of a piece as forms; the same to first order; $1-CJ$; whether the piece can hold any.

        With $\hat s$ right to first order, $s-\hat s=-CF(\hat s)+(1-CJ)(s-\hat s)$ for slopes between the two.
        """
        box = self._within(box, case)
        start, near = self._middle(forms, total, box, case)
        _, _, flow = self.field(start, forms, total, case)
        guess = Affine(start, apply(-near, flow).coef, np.zeros_like(start))
        _, _, flow = self.field(guess, forms, total, case)
        before, reach = None, guess.hull()
        if not self.shape.linear:
            reach = reach.join(box)
            before = (reach - guess.hull()).size()
        at = reach
        if not self.inward:
            weight, bias, _, x = (form.hull() for form in forms)
            sent = (weight[:, : self.inputs] * x[:, :, None]).sum(1)
            at = (weight[:, self.inputs :] * reach[:, :, None]).sum(1) + sent + bias
        slope = self._slopes(at, case, len(total.coef))
        jacobian = self._jacobian(forms, total, slope, case)
        excess = np.eye(self.free) - (near[:, :, :, None] * jacobian[:, None, :, :]).sum(-2)
        error = contract(apply(near, flow).hull().size(), excess.hull().size(), before)
        state = Affine(start, guess.coef, error)
        met = state.hull().meet(box)
        possible = np.asarray(~(met.low > met.high).any(1))  # a NaN rules out nothing
        return state.narrowed(met), guess, excess, possible

    def _middle(self, forms: Forms, total: Affine, box: Interval, case: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Near the equilibrium of the middle of a box, by Newton's method, and near the inverse of its Jacobian."""
        weight, bias, leak, x, total = (Affine(form.mid, form.coef[:0], form.err) for form in (*forms, total))
        middle = weight, bias, leak, x
        linear = isinstance(self.shape, Ramp)
        start = np.zeros(case.shape) if linear else 0.5 * box.low + 0.5 * box.high
        near = np.zeros((*case.shape, self.free))
        for _ in range(1 if linear else 4):
            _, drive, flow = self.field(start, middle, total, case)
            at = Interval.of(start if self.inward else drive.mid)
            near = inverse(self._jacobian(middle, total, self._slopes(at, case, 0), case).mid)
            start = start - (near * flow.mid[:, None, :]).sum(-1)
        return start, near

    def _slopes(self, at: Interval, case: np.ndarray, coordinates: int) -> Affine:
        if isinstance(self.shape, Ramp):
            return constant((case == ACTIVE).astype(float), coordinates)
        return Affine.of(self.shape.slope(at), coordinates)

    def _within(self, box: Interval, case: np.ndarray) -> Interval:
        """The states of a piece, as far as its case alone says."""
        if self.boxed:
            held = np.where(case == LOW, self.shape.low, self.shape.high)
            return Interval(np.where(case == ACTIVE, box.low, held), np.where(case == ACTIVE, box.high, held))
        if self.inward and isinstance(self.shape, Ramp):
            low = np.where(case == LOW, -np.inf, np.where(case == ACTIVE, self.shape.low, self.shape.high))
            high = np.where(case == HIGH, np.inf, np.where(case == ACTIVE, self.shape.high, self.shape.low))
            return box.meet(Interval(low, high))
        return box

    def answering(self, state: Affine, rate: Affine, drive: Affine, case: np.ndarray) -> Affine:
        r"""$\varphi'\psi'$ of every unit, which moves with the box."""
        if isinstance(self.shape, Ramp):
            return self._slopes(Interval.of(state.mid), case, len(state.coef))
        value = rate if self.inward else transform(self.shape, drive)
        at = state if self.inward else drive
        return self.shape.slope_of(value).narrowed(self.shape.slope(at.hull()))

    def consistent(self, drive: Affine, total: Affine, case: np.ndarray) -> np.ndarray:
        """Whether the units of a piece can be where its case says."""
        if not isinstance(self.shape, Ramp) or self.shape.linear or self.inward:
            return np.ones(len(case), bool)
        low, high = ((total * end if self.boxed else end) for end in (self.shape.low, self.shape.high))
        below, above = ((drive - end).hull() for end in (low, high))
        # Written so that a NaN rules out nothing.
        wrong = np.where(case == LOW, below.low > 0, (below.high < 0) | (above.low > 0))
        return np.asarray(~np.where(case == HIGH, above.high < 0, wrong).any(1))


def shape_of(neuron: AbstractNeuron) -> Shape:
    """How the one function of a neuron that is not the identity is enclosed: its box, or an activation.

    Raises `ValueError` for a neuron with two such functions, and for an activation without enclosure.
    """
    name, identity = type(neuron).__name__, ACTIVATIONS["identity"]
    curved = [a for a in (neuron.transfer, neuron.rate) if a != identity]
    if neuron.bounded and curved:
        raise ValueError(f"certify_region covers no box with the activation {curved[0].name!r}, as {name} has")
    if len(curved) > 1:
        raise ValueError(f"certify_region needs transfer or rate to be the identity; {name} has two activations")
    if neuron.low is not None and neuron.high is not None:
        return Ramp(neuron.low, neuron.high)
    shape = (curved or [identity])[0].interval
    if shape is None:
        raise ValueError(
            f"certify_region cannot enclose the activation {curved[0].name!r}: give it interval=..., or use identity, "
            "hard-sigmoid, sigmoid or tanh of direp.activation"
        )
    return shape
