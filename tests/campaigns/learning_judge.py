"""What `learning.py` tries out of one certificate: the verdict, its step size, and every condition beside it."""

import collections
import itertools
from typing import Any

import equinox as eqx
import jax
import numpy as np
import optax
from learning_draw import CONTROLS, Kind, stored
from learning_oracle import Net, Unsettled

import direp


def proved_step(said: direp.LearningCertificate) -> float:
    return getattr(said, "step_size", 0.0)


@eqx.filter_jit
def stepped(network: direp.Network, gradient: Any, control: Any, sizes: Any) -> Any:
    """The parameters after a step of each size, as training takes it."""

    def one(size: Any) -> Any:
        optimiser = optax.chain(direp.trainable(network), optax.scale(-1.0))
        optimiser = optimiser if control is None else direp.training.constrain(optimiser, control, network)
        scaled = jax.tree.map(lambda g: g * size.astype(g.dtype), gradient)
        updates, _ = optimiser.update(scaled, optimiser.init(network.parameters), network.parameters)
        return optax.apply_updates(network.parameters, updates)

    return jax.vmap(one)(sizes)


class Judge:
    """Tries out what one certificate claims. `wrong` lists what did not hold."""

    def __init__(self, net: Net, x: np.ndarray, y: np.ndarray, begin: np.ndarray, rng: Any, kind: Kind | None = None):
        self.net, self.x, self.y, self.rng = net, x, y, rng
        self.free = net.settle(x, y, start=begin)
        self.before = net.loss(x, y, self.free)
        self.kind = kind
        self.wrong: list[str] = []
        self.seen: collections.Counter = collections.Counter()

    def expect(self, holds: Any, what: str) -> None:
        if not holds:
            self.wrong.append(what)

    def everything(self, said: direp.LearningCertificate, way: np.ndarray) -> None:
        self.as_run(said, way)
        for step in said.steps:
            self.seen[f"{step.criterion}: {step.verdict}"] += 1
            check = {
                "T1 every direction": self.every, "T2 angle": self.angle, "T3 output errors": self.outputs,
                "T4 closed form": self.closed, "T5 structural balance": self.structural,
                "T6 detailed balance": self.detailed, "pairs of one hidden layer": self.pairs,
                "one hidden layer": self.form, "two hidden units": self.form,
            }[step.criterion]  # fmt: skip
            if step.verdict != "undecided":
                check(step)

    def leaks(self, net: Net) -> Net:
        """A network with the leaks that the control gives it."""
        control = None if self.kind is None else CONTROLS[self.kind.control]
        if not isinstance(control, direp.LeakController):
            return net
        floor = control.floor if control.follow else self.net.leak
        return net.controlled(control.margin, floor, rows=control.criterion.incoming)

    def loss(self, way: np.ndarray, size: float) -> float:
        return self.leaks(self.net.moved(way, size)).loss(self.x, self.y, self.free)

    def as_run(self, said: direp.LearningCertificate, way: np.ndarray) -> None:
        """`way`: the step of size one, minus the stored gradient."""
        family = "plain" if self.kind is None else self.kind.family
        self.seen[f"as run, {family}: {said.verdict}"] += 1
        if said.verdict == "undecided":
            return
        exact = self.net.gradient(self.x, self.y, self.free)
        length, sizes = float(np.linalg.norm(way)), np.linalg.norm(exact, axis=1)
        if not length:
            self.expect(False, f"{said.verdict}, but the gradient is zero")
            return
        # Leaks are piecewise linear in the weights: a small step tells how they move.
        small = 1e-7 / length
        moved = (self.leaks(self.net.moved(way, small)).leak - self.leaks(self.net).leak) / small
        falls = exact @ way + self.net.leak_gradient(self.x, self.y, self.free) @ moved
        # How far the oracle's own states can be off.
        stiff = float(np.abs(np.linalg.inv(self.net.jacobian(self.free, self.x, self.y, 0.0))).sum(-1).max())
        off = 1e-13 * (1 + np.abs(self.net.drive(self.free, self.x, self.y, 0.0)).max()) * (1 + stiff) ** 2
        total = exact.sum(0)
        blur = 1e-9 + 10 * off * (1 + 1 / max(np.linalg.norm(total), 1e-300))
        cosine = falls.sum() / length / max(np.linalg.norm(total), 1e-300)
        if family != "controlled":
            low, high = said.cosine or (-1, 1)
            self.expect(low - blur < cosine < high + blur, f"cosine {cosine} outside [{low}, {high}]")
            self.expect(np.cos(np.radians(said.angle)) < cosine + blur, f"the angle is above {said.angle}")
            for one, fall, size in zip(said.samples, falls, sizes, strict=True):
                near = 1e-9 + 10 * off * (1 + 1 / max(size, 1e-300))
                if one.verdict != "undecided" and size > 1e-13 and abs(fall) > 2 * near * length * size:
                    self.seen["samples by themselves"] += 1
                    self.expect(one.verdict == ("proved" if fall > 0 else "refuted"), f"a sample: {fall}, {one}")
        if abs(cosine) < 2 * blur:
            return
        self.expect((cosine > 0) == (said.verdict == "proved"), f"{said.verdict}, but the cosine is {cosine}")
        if abs(cosine) > 1e-3:
            self.seen["small steps"] += 1
            self.expect(self.step(way, falls.mean()) == (said.verdict == "proved"), f"{said.verdict}, not by a step")
        if most := proved_step(said):
            self.steps(most, way)

    def steps(self, most: float, way: np.ndarray) -> None:
        """All steps up to the size that is proved."""
        before = self.before
        for share in (1.0, 0.3, 0.02):
            change = self.loss(way, share * most) - before
            self.seen["steps up to eta*"] += 1
            self.expect(change < 1e-13 * before + 1e-20, f"{share} of eta*={most}: the cost changes by {change}")

    def reach(self, most: float, way: np.ndarray) -> None:
        """How eta* compares with the largest step that in fact descends; at most one of 128 times all numbers."""
        if not most:
            self.seen["reach 0.00"] += 1
            return
        before, size = self.before, max(np.abs(self.net.weight).max(), 1e-9)
        end = max(128 * size / np.abs(way).max(), most)
        tried = np.append(most * 1.1 ** np.arange(max(int(np.log(end / most) / np.log(1.1)), 0)), end)
        for low, high in itertools.pairwise(tried):
            try:
                if not self.loss(way, high) < before:
                    end = low
                    break
            except (Unsettled, np.linalg.LinAlgError):
                end = low
                break
        self.seen[f"reach {min(most / end, 1.0):.3f}"] += 1

    def own(self, network: direp.Network, run: Any, way: np.ndarray, most: float) -> None:
        """Steps as the run takes them: in its precision, with its control. Their true cost must fall, if by more than
        the rounding of its parameters can change it."""
        control = CONTROLS[self.kind.control] if self.kind is not None else None
        sizes = np.array([1.0, 0.1]) * most
        after = stepped(network, run.gradient, control, sizes)
        before = self.before
        slopes = np.abs(self.net.gradient(self.x, self.y, self.free)).mean(0)
        lost = np.abs(self.net.leak_gradient(self.x, self.y, self.free)).mean(0)
        ones = self.net.moved(np.ones_like(slopes), 0.0)
        size = np.concatenate([np.abs(ones.weight[ones.exists]), np.abs(ones.bias) if ones.biased else []])
        eps = 8 * np.finfo(network.dtype).eps
        for k in range(len(sizes)):
            moved = stored(network.replace(jax.tree.map(lambda leaf, k=k: leaf[k], after)), self.net)
            wanted = self.loss(way, float(sizes[k])) - before
            rounded = size + np.abs(sizes[k] * way)
            noise = eps * (rounded @ slopes + (moved.leak + np.abs(moved.inner).sum(1)) @ lost) + 1e-13 * before
            if wanted < -2 * noise:
                self.seen["steps of the run"] += 1
                change = moved.loss(self.x, self.y, self.free) - before
                self.expect(change < 0, f"the run's step {sizes[k]} changes the cost by {change}, not {wanted}")

    def step(self, way: np.ndarray, slope: float) -> bool:
        """Whether a small step lowers the cost: taken ever smaller until the change is that of the gradient."""
        before = self.before
        for size in 10.0 ** -np.arange(3, 9) / np.linalg.norm(way):
            change = self.loss(way, size) - before
            if abs(change + size * slope) < 0.5 * abs(size * slope):
                break
        return change < 0

    def _columns(self, units: np.ndarray, samples: slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """What the synapses make of unit errors: exact and estimated, [sample, unit, synapse]."""
        x, y, s = self.x[samples], self.y[samples], self.free[samples]
        current = np.zeros((len(x), self.net.size, len(units)))
        current[:, units, range(len(units))] = 1
        found = []
        if not len(units):
            none = np.zeros((len(x), 0, int(self.net.exists.sum()) + self.net.size * self.net.biased))
            return none, none
        for post, back in (self.net.adjoint(x, y, s, current), self.net.limit(x, y, s, current)):
            found.append(np.stack([self.net.vector(x, s, post[..., k], back[..., k]) for k in range(len(units))], 1))
        return found[0], found[1]

    def _lowest(self, exact: np.ndarray, estimated: np.ndarray) -> tuple[float, float]:
        """Lowest eigenvalue of the symmetric part, and the size of rounding."""
        form = exact @ estimated.T
        return float(np.linalg.eigvalsh((form + form.T) / 2)[0]), 1e-11 * float(np.abs(form).max())

    def _felt(self, n: int, units: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Which errors some synapse feels, of those at units that no face holds, and what the synapses make of them."""
        net, s = self.net, self.free[n : n + 1]
        held = net.held(s, net.flow(s, net.drive(s, self.x[n : n + 1], self.y[n : n + 1], 0.0)))[0]
        units = units[~held[units]]
        exact, estimated = (part[0] for part in self._columns(units, slice(n, n + 1)))
        kept = (np.abs(exact).max(1, initial=0) > 0) | (np.abs(estimated).max(1, initial=0) > 0)
        return units[kept], exact[kept], estimated[kept]

    def _answering(self, n: int) -> np.ndarray:
        net, s = self.net, self.free[n : n + 1]
        u = net.drive(s, self.x[n : n + 1], self.y[n : n + 1], 0.0)
        before, after = net.slopes(s, u)
        return np.flatnonzero((before * after > 0)[0] & ~net.held(s, net.flow(s, u))[0])

    def every(self, step: Any) -> None:
        lowest = []
        for n in range(len(self.x)):
            units, exact, estimated = self._felt(n, np.arange(self.net.size))
            if len(units):
                value, blur = self._lowest(exact, estimated)
                lowest.append((value / max(blur, 1e-300), value))
                if np.array_equal(units, self._answering(n)):
                    self._first_form(n, units, value, blur)
        if not lowest:
            self.expect(False, f"T1 {step.verdict}, but no error is felt")
            return
        worst = min(lowest)[0]
        if abs(worst) > 1:
            self.seen["T1 equivalence"] += 1
            self.expect((worst > 0) == step.proved, f"T1 {step.verdict}, lowest eigenvalue {min(lowest)}")

    def _first_form(self, n: int, units: np.ndarray, value: float, blur: float) -> None:
        r"""T1 as it is written: the norm of J_A J_S^-1 after scaling by K^(-1/2)."""
        net, s = self.net, self.free[n : n + 1]
        if net.neuron == "rate" and net.outflow != "none":
            return
        before, after = net.slopes(s, net.drive(s, self.x[n : n + 1], self.y[n : n + 1], 0.0))
        reduced = (net.inner.T - np.diag(net.total / np.where(before * after > 0, before * after, 1)[0]))[
            np.ix_(units, units)
        ]
        unit = np.zeros((1, net.size, len(units)))
        unit[0, units, range(len(units))] = 1
        rows = np.stack([net.vector(self.x[n : n + 1], s, unit[..., k], unit[..., k])[0] for k in range(len(units))])
        values, vectors = np.linalg.eigh(rows @ rows.T)
        if values[0] < 1e-6 * values[-1]:
            return
        root = vectors / np.sqrt(values) @ vectors.T
        scaled = root @ reduced @ root
        even, skew = (scaled + scaled.T) / 2, (scaled - scaled.T) / 2
        if np.linalg.cond(even) > 1e8:
            return
        norm = float(np.linalg.norm(skew @ np.linalg.inv(even), 2))
        if abs(norm - 1) > 1e-6 and abs(value) > blur:
            self.seen["T1 as a norm"] += 1
            self.expect((norm < 1) == (value > 0), f"T1 as a norm is {norm}, the lowest eigenvalue {value}")

    def outputs(self, step: Any) -> None:
        outputs = np.arange(self.net.hidden, self.net.size)
        parts = [self._felt(n, outputs) for n in range(len(self.x))]
        exact, estimated = (np.concatenate([part[k] for part in parts]) for k in (1, 2))
        if not len(exact):
            self.expect(False, f"T3 {step.verdict}, but no output's error is felt")
            return
        value, blur = self._lowest(exact, estimated)
        if abs(value) > blur:
            self.expect((value > 0) == step.proved, f"T3 {step.verdict}, lowest eigenvalue {value}")
        if step.proved:
            for _ in range(3):
                error = self.rng.normal(size=len(exact))
                self.expect(error @ exact @ (estimated.T @ error) > -blur, "T3 proved, but other targets ascend")

    def closed(self, step: Any) -> None:
        for n in range(len(self.x)):
            units = self._answering(n)
            if len(units):
                exact, estimated = self._columns(units, slice(n, n + 1))
                value, blur = self._lowest(exact[0], estimated[0])
                self.expect(value > -blur, f"T4 proved, but T1 fails with {value}")

    def angle(self, step: Any) -> None:
        net = self.net
        for n in range(len(self.x)):
            units, s = self._answering(n), self.free[n : n + 1]
            if not len(units):
                continue
            before, after = net.slopes(s, net.drive(s, self.x[n : n + 1], self.y[n : n + 1], 0.0))
            reduced = net.inner.T - np.diag(net.total / np.where(before * after > 0, before * after, 1)[0])
            reduced = reduced[np.ix_(units, units)]
            metric = -(reduced + reduced.T) / 2
            # The largest angle is that of an eigenvector, whose plane reaches the bound.
            root = np.linalg.inv(np.linalg.cholesky(metric))
            vector = np.linalg.eigh(1j * root @ (reduced - reduced.T) @ root.T)[1][:, -1]
            for c in [np.linalg.solve(root, vector.real), *self.rng.normal(size=(3, len(units)))]:
                p, q = np.linalg.solve(reduced.T, c), np.linalg.solve(reduced, c)
                cosine = p @ metric @ q / np.sqrt((p @ metric @ p) * (q @ metric @ q))
                self.expect(np.degrees(np.arccos(np.clip(cosine, -1, 1))) < step.value + 1e-5, "T2: a larger angle")

    def _elsewhere(self, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        x = self.rng.normal(0.4, 1, (count, self.net.inputs))
        y = self.rng.normal(0.5, 0.5, (count, self.net.outputs))
        return x, y, self.net.settle(x, y)

    def structural(self, step: Any) -> None:
        x, y, s = self._elsewhere(4)
        exact = self.net.gradient(x, y, s)
        for betas in ((1e-2,), (1.0,), (10.0,), (-0.05,), (0.1, -0.1)):
            try:
                phases = [self.net.settle(x, y, beta, s) for beta in betas]
            except Unsettled:  # a negative nudge may leave nothing to settle at
                phases = None
            if phases is None or not all(
                self.net.stable(x, y, phase, beta) for phase, beta in zip(phases, betas, strict=True)
            ):
                self.seen["nudges for T5 that did not settle"] += 1
                continue
            estimated = self.net.rule(x, y, s, betas, phases)
            product = estimated * exact
            # Where the exact gradient is zero, the oracle's is rounding, and a strong nudge makes it look large.
            blur = 1e-9 * np.abs(product).max(1, keepdims=True) + 1e-12 * (1 + np.abs(estimated).max(1, keepdims=True))
            fine = (product > -blur).all()
            self.expect(fine, f"T5 with nudges {betas}")

    def detailed(self, step: Any) -> None:
        x, y, s = self._elsewhere(5)
        estimated, exact = self.net.limit_rule(x, y, s).sum(0), self.net.gradient(x, y, s).sum(0)
        self.expect(
            estimated @ exact >= -1e-12 * (exact @ exact + estimated @ estimated),
            "T6 proved, but another batch ascends",
        )
        target = np.nonzero(self.net.exists)[1]
        for j in range(self.net.size):
            a, b = estimated[: len(target)][target == j], exact[: len(target)][target == j]
            if np.abs(b).max(initial=0) > 1e-9:
                gain = a @ b / (b @ b)
                self.expect(np.abs(a - gain * b).max() < 1e-7 * np.abs(a).max() + 1e-12, "T6: no common gain")
                self.expect(1 / step.value - 1e-6 < gain < step.value + 1e-6, f"T6: gain {gain} above {step.value}")

    def pairs(self, step: Any) -> None:
        if not step.proved:
            return
        x, y, s = self._elsewhere(5)
        product = (self.net.limit_rule(x, y, s) * self.net.gradient(x, y, s)).sum(1)
        self.expect((product > -1e-10).all(), f"pairs proved, but a sample has {product.min()}")

    def form(self, step: Any) -> None:
        """The number itself: the inner product for a unit error, over what reaches the output's own bias."""
        net, lowest, values = self.net, [], []
        output = np.array([net.hidden])
        square = net.inner.T - np.diag(net.total)
        scale = np.linalg.det(square[:2, :2]) ** 2 if step.criterion == "two hidden units" else 1.0
        current = np.zeros((1, net.size, 1))
        current[0, output] = 1
        for n in range(len(self.x)):
            exact, estimated = self._columns(output, slice(n, n + 1))
            lowest.append(float(exact[0, 0] @ estimated[0, 0]))
            at = (self.x[n : n + 1], self.y[n : n + 1], self.free[n : n + 1], current)
            own = [post[0, net.hidden, 0] for post, _ in (net.adjoint(*at), net.limit(*at))]
            values.append(scale * lowest[-1] / (own[0] * own[1]))
        near = abs(min(values) - step.value) < 1e-7 * max(1e-3, np.abs(values).max())
        self.expect(near, f"{step.criterion} is {step.value}, not {min(values)}")
        if abs(min(lowest)) > 1e-12 * max(np.abs(lowest)):
            self.expect((min(lowest) > 0) == step.proved, f"{step.criterion} {step.verdict}, T3 says {min(lowest)}")


def finite_differences(judge: Judge) -> None:
    """The oracle against itself: its gradient and that of its settled loss.

    An absolute outflow has a corner at a synapse of weight zero, so such synapses stay as they are.
    """
    net, x, y, s = judge.net, judge.x, judge.y, judge.free
    exact = net.gradient(x, y, judge.free).sum(0) / len(x)
    way = judge.rng.normal(size=len(exact))
    if net.outflow == "absolute":
        way[: int(net.exists.sum())][net.weight[net.exists] == 0] = 0
    way /= np.linalg.norm(way)
    slope = (net.moved(way, 1e-6).loss(x, y, s) - net.moved(way, -1e-6).loss(x, y, s)) / 2e-6
    judge.expect(abs(slope + exact @ way) < 1e-4 * (np.linalg.norm(exact) + 1e-3), f"oracle: {slope} {exact @ way}")
