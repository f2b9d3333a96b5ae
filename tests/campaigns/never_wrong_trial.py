"""What `never_wrong.py` tries on what is proved: how pairs approach, how residuals shrink, where all starts end."""

import numpy as np
from never_wrong_judge import EPS, Norms, Oracle, times
from never_wrong_verdicts import Case, Judge

STARTS = 32
LONGEST = 1500  # steps up to which settling is followed to its certified end
TOLERANCE = 1e-6


class Trial:
    """All cases of a chunk, side by side, and what is tried on them."""

    def __init__(self, judge: Judge, cases: list[Case], rng: np.random.Generator):
        self.judge, self.cases, self.rng = judge, cases, rng
        self.rows = np.array([case.b for case in cases])
        self.oracle = Oracle(judge.batch, self.rows, np.array([case.beta for case in cases]))
        self.norms = Norms.of([case.norm for case in cases], judge.batch.size)
        column = lambda name: np.array([getattr(case, name) for case in cases])[:, None]  # noqa: E731
        self.rate, self.least, self.h, self.shrink = map(column, ("rate", "least", "step", "shrink"))
        self.factor = 1 - self.shrink

    def starts(self) -> np.ndarray:
        """A mixture: the whole space at many scales, faces and corners of the box, and beside the anchor."""
        batch, rng = self.judge.batch, self.rng
        shape = (len(self.rows), STARTS, batch.size)
        anchor = batch.anchor[self.rows][:, None]
        if batch.box is not None:
            low, high = batch.box
            inside = rng.uniform(low, high, shape)
            corner = np.where(rng.random(shape) < 0.5, low, high)
            some = rng.random((*shape[:2], 1)) < 0.4
            return np.where(some & (rng.random(shape) < 0.5), corner, inside)
        scale = 10 ** rng.uniform(-1, 1, (*shape[:2], 1))
        centre = np.where(rng.random((*shape[:2], 1)) < 0.5, anchor, 0.0)
        return centre + scale * rng.normal(size=shape)

    def extremes(self) -> tuple[np.ndarray, np.ndarray]:
        """Pairs beside the anchor that approach as slowly as slopes allow: along units, or along signs of a row."""
        batch, rng, count = self.judge.batch, self.rng, 8
        anchor, n, weight = batch.anchor[self.rows], batch.size, self.oracle.weight
        size, eta = np.abs(weight), self.norms.weights
        incoming = (self.norms.kind == 1)[:, None]
        pulled = np.where(incoming, times(eta, size), np.matmul(size, eta[..., None])[..., 0]) / eta
        margin = self.oracle.total[:, 0] - self.oracle.gain * pulled
        margin[:, n - batch.outputs :] += self.oracle.beta[:, None] * self.oracle.gain
        unit = np.argsort(margin, 1)[:, np.arange(count) % n]
        unit[:, count // 2 :] = rng.integers(n, size=(len(unit), count - count // 2))
        at = np.arange(len(unit))[:, None]
        along = np.zeros((len(unit), count, n))
        along[at, np.arange(count)[None], unit] = 1.0
        signs = np.sign(weight.swapaxes(1, 2)[at, unit])
        signs[at, np.arange(count)[None], unit] = 1.0
        difference = np.where(incoming[..., None], signs * eta[:, None], along)
        euclidean = self.norms.kind == 2
        if euclidean.any():
            difference[euclidean] = rng.normal(size=(int(euclidean.sum()), count, n))
        difference = self._within(difference)
        middle = np.broadcast_to(anchor[:, None], difference.shape)
        return self.oracle.clip(middle + difference / 2), self.oracle.clip(middle - difference / 2)

    def _within(self, difference: np.ndarray) -> np.ndarray:
        """Scaled so that slopes stay as large as they are at the anchor, or nearly."""
        batch = self.judge.batch
        difference = difference / np.maximum(np.abs(difference).max(-1, keepdims=True), 1e-300)
        reach = {"projected": 0.2, "sigmoid": 2e-3, "tanh": 1e-3, "hard-sigmoid": 0.2, "relu": 0.3}
        most = reach.get(batch.neuron, reach.get(batch.activation, 1.0))
        if batch.neuron == "rate":  # what counts is the difference of drives
            most = most / np.maximum(np.abs(np.matmul(difference, self.oracle.weight)).max(-1, keepdims=True), 1e-9)
            most = np.minimum(most, 1e3 * (1 + np.abs(batch.anchor[self.rows]).max(-1))[:, None, None])
        return difference * most

    def contraction(self, s: np.ndarray, t: np.ndarray, h: np.ndarray, factor: np.ndarray, what: str) -> np.ndarray:
        """One step of two states: judge how they approach. The observed ratio, less what rounding may have added."""
        oracle, norms = self.oracle, self.norms
        step = h[..., None]
        flows = oracle.field(s), oracle.field(t)
        ends = oracle.step(s, step, flows[0]), oracle.step(t, step, flows[1])
        before, after = norms.length(s - t), norms.length(ends[0] - ends[1])
        error = step * (oracle.rounding(s) + oracle.rounding(t)) + 8 * EPS * (
            np.abs(s) + np.abs(t) + step * (np.abs(flows[0]) + np.abs(flows[1]))
        )
        allowed = norms.most(error)
        bound = factor * before * (1 + norms.shake[:, None]) + norms.shake[:, None] * after + allowed
        self.judge.all(after <= bound, self.rows, what, after, bound, before)
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = (after - allowed - norms.shake[:, None] * (before + after)) / before
        return np.where(before > 0, ratio, -np.inf)

    def approach(self, starts: np.ndarray) -> np.ndarray:
        """(a) Pairs approach by the certified factor: random ones, extreme ones, and ones that a climb has found."""
        s, t = starts[:, : STARTS // 2], starts[:, STARTS // 2 :]
        beside = self.extremes()
        s, t = np.concatenate([s, beside[0]], 1), np.concatenate([t, beside[1]], 1)
        ratio = self.contraction(s, t, self.h, self.factor, "a pair approaches too slowly")
        shorter = self.h * self.rng.random((len(s), s.shape[1]))
        squared = 1 - 2 * shorter * self.rate + shorter**2 * self.least / self.h
        slow = np.where((self.norms.kind == 2)[:, None], np.sqrt(np.maximum(squared, 0)), 1 - shorter * self.rate)
        slow += 4 * EPS
        self.contraction(s, t, shorter, slow, "a pair approaches too slowly in a shorter step")
        best = ratio.max(1)
        at = np.arange(len(s))
        place = ratio.argmax(1)
        a, b = s[at, place][:, None], t[at, place][:, None]
        for _ in range(2):
            size = 0.3 * np.abs(a - b).max(-1, keepdims=True)
            shift = self.rng.normal(size=(2, len(s), 6, a.shape[-1])) * size
            sparse = self.rng.random(shift.shape) < 0.5
            s, t = self.oracle.clip(a + np.where(sparse, shift[0], 0)[0]), self.oracle.clip(b + shift[1] * sparse[1])
            ratio = self.contraction(s, t, self.h, self.factor, "a pair found by a climb approaches too slowly")
            place = ratio.argmax(1)
            better = ratio[at, place] > best
            best = np.maximum(best, ratio[at, place])
            a = np.where(better[:, None, None], s[at, place][:, None], a)
            b = np.where(better[:, None, None], t[at, place][:, None], b)
        for k, observed in enumerate(best):
            if self.norms.kind[k] < 2 and self.cases[k].rate == self.cases[k].least:
                certified, shrink = float(self.factor[k, 0]), float(self.shrink[k, 0])
                loss = shrink / (1 - observed) if shrink > 1e-5 else 0.0
                self.judge.report.tight(self.judge.place, float(observed / certified) if certified > 0.1 else 0.0, loss)
        return best

    def residuals(self, s: np.ndarray) -> None:
        """(b) The projected field shrinks by the certified factor in every step."""
        oracle, norms, h = self.oracle, self.norms, self.h[..., None]
        flow = oracle.field(s)
        lengths = norms.length(oracle.velocity(s, flow))
        for _ in range(3):
            after = oracle.step(s, h, flow)
            flow = oracle.field(after)
            now = norms.length(oracle.velocity(after, flow))
            # The new state's own rounding moves the field by at most the stiffness times it.
            moved = 8 * EPS * (np.abs(s) + np.abs(after)) + h * oracle.rounding(s)
            error = oracle.rounding(s) + oracle.rounding(after) + 2 * self._stretched(moved)
            shake = norms.shake[:, None]
            bound = self.factor * lengths * (1 + shake) + shake * now + norms.most(error)
            self.judge.all(now <= bound, self.rows, "a residual shrinks too slowly", now, bound, lengths)
            s, lengths = after, now

    def _stretched(self, moved: np.ndarray) -> np.ndarray:
        """How much entries of the field can change when states change by `moved`."""
        oracle = self.oracle
        nudge = np.abs(oracle.beta)[:, None, None] * max(1.0, self.judge.batch.sharpness**2)
        gain = max(oracle.gain, 1.0)
        own = (np.abs(oracle.total) + gain * nudge) * moved + gain * nudge * moved.sum(-1, keepdims=True)
        return own + gain * np.matmul(moved, np.abs(oracle.weight))

    def apart(self, s: np.ndarray, v: np.ndarray, rows: np.ndarray, what: str) -> np.ndarray:
        """Any two states are at most as far apart as (their velocities' lengths) / rate. The largest such bound."""
        norms, rate = self.norms.take(rows), self.rate[rows]
        speed = norms.length(v) + norms.most(self.oracle.take(rows).rounding(s))
        far = norms.length(s - s[:, :1])
        with np.errstate(over="ignore"):  # rates can be as small as numbers get
            bound = (speed + speed[:, :1]) / rate * (1 + 4 * norms.shake[:, None]) + norms.most(4 * EPS * np.abs(s))
        self.judge.all(far <= bound, self.rows[rows], what, far, bound)
        return bound.max(1) * norms.reach

    def settle(self, starts: np.ndarray) -> None:
        """(c) All starts arrive in one place within the certified number of steps, where that number allows it."""
        velocity = self.oracle.velocity(starts)
        self.apart(starts, velocity, np.arange(len(starts)), "two states are farther apart than their velocities allow")
        main = [k for k, case in enumerate(self.cases) if case.certificate is not None]
        chosen: dict[int, int] = {}
        for k in main:  # one phase of each certificate, any
            if self.cases[k].b not in chosen or self.rng.random() < 0.5:
                chosen[self.cases[k].b] = k
        steps: dict[int, int] = {}
        for k in chosen.values():
            certificate = self.cases[k].certificate
            assert certificate is not None
            needed = certificate.steps_to(velocity[k], TOLERANCE)
            assert needed is not None
            steps[k] = needed
        slow = np.array([k for k in chosen.values() if steps[k] > LONGEST], int)
        self.judge.report.count(self.judge.place, "followed", len(chosen) - len(slow))
        self._follow(starts, steps, dict.fromkeys(steps, TOLERANCE))
        self._newton(starts, slow)
        self._slowest(list(chosen.values()))

    def _slowest(self, rows: list[int]) -> None:
        """One start beside the anchor, along what decays most slowly there: its own number of steps to a thousandth."""
        anchor = self.judge.batch.anchor[self.rows][:, None]
        values, vectors = np.linalg.eig(self.oracle.jacobian(anchor)[:, 0])
        along = vectors[np.arange(len(values)), :, values.real.argmax(1)].real[:, None]
        starts = self.oracle.clip(anchor + self._within(along))
        velocity = self.oracle.velocity(starts)
        aim = {k: 1e-3 * float(np.abs(velocity[k]).max()) for k in rows}
        bound = {k: self.cases[k].certificate.steps_to(velocity[k], aim[k]) for k in rows if aim[k] > 1e-12}
        self._follow(starts, bound, aim)

    def _follow(self, starts: np.ndarray, steps: dict[int, int], aim: dict[int, float]) -> None:
        """Take the certified number of steps, where that is not too large; compare what is left with `aim`."""
        left = np.array(sorted((k for k in steps if steps[k] <= LONGEST), key=lambda k: steps[k]), int)
        done, s, oracle, h = 0, starts[left], self.oracle.take(left), self.h[left][..., None]
        for count in sorted({steps[k] for k in left}):
            for _ in range(count - done):
                s = oracle.step(s, h)
            done, over = count, sum(steps[k] == count for k in left)
            self._arrived(s[:over], left[:over], np.array([aim[k] for k in left[:over]])[:, None])
            left, s, h = left[over:], s[over:], h[over:]
            oracle = self.oracle.take(left)

    def _arrived(self, s: np.ndarray, rows: np.ndarray, aim: np.ndarray) -> None:
        oracle = self.oracle.take(rows)
        v = oracle.velocity(s)
        largest = np.abs(v).max(-1)
        # Rounding of one step may move the field; over all steps it adds up to at most 1 / shrink times that.
        noise = Trial._stretched(self._take(rows), 8 * EPS * np.abs(s)) + oracle.rounding(s)
        norms = self.norms.take(rows)
        grown = norms.most(noise) * norms.reach[:, None] / self.shrink[rows]
        self.judge.all(
            largest <= aim * (1 + 1e-9) + grown, self.rows[rows], "not settled in the certified steps", largest
        )
        self.apart(s, v, rows, "two starts end in different places")

    def _take(self, rows: np.ndarray) -> "Trial":
        return Trial(self.judge, [self.cases[k] for k in rows], self.rng)

    def _newton(self, starts: np.ndarray, rows: np.ndarray) -> None:
        """Equilibria found from four starts, by steps and Newton's method: they must be the same."""
        if not len(rows):
            return
        oracle, h, s = self.oracle.take(rows), self.h[rows][..., None], starts[rows][:, :4]
        for _ in range(40):
            s = oracle.step(s, h)
        unit = np.arange(self.judge.batch.size)
        for _ in range(8):
            flow = oracle.field(s)
            held = oracle.held(s, flow)
            v = np.where(held, 0, flow)
            jacobian = oracle.jacobian(s)
            jacobian[held] = 0
            jacobian[..., unit, unit] -= held
            try:
                moved = oracle.clip(s - np.linalg.solve(jacobian, v[..., None])[..., 0])
            except np.linalg.LinAlgError:
                break
            flow = oracle.field(moved)
            better = np.abs(oracle.velocity(moved, flow)).max(-1) < np.abs(v).max(-1)
            s = np.where(better[..., None], moved, oracle.step(s, h))
        v = oracle.velocity(s)
        bound = self.apart(s, v, rows, "two equilibria")
        self.judge.report.count(self.judge.place, "one place", int((bound < 1e-3).sum()))

    def logarithmic(self, s: np.ndarray) -> None:
        """For Euclidean norms, whose step is cautious: the Jacobian's own rate at states, the anchor among them."""
        rows = np.flatnonzero(self.norms.kind == 2)
        if not len(rows):
            return
        oracle, norms = self.oracle.take(rows), self.norms.take(rows)
        s = np.concatenate([s[rows][:, :12], self.judge.batch.anchor[self.rows[rows]][:, None]], 1)
        jacobian = oracle.jacobian(s)
        # Rows: states; v M is what is measured, so M^T J M^-T acts on it.
        root = norms.root.swapaxes(1, 2)[:, None]
        turned = root @ jacobian @ np.linalg.inv(root)
        largest = np.linalg.eigvalsh((turned + turned.swapaxes(-1, -2)) / 2)[..., -1]
        size = norms.shake[:, None] * np.linalg.norm(jacobian, axis=(-2, -1))
        rate = self.rate[rows]
        self.judge.all(largest <= size - rate, self.rows[rows], "the Jacobian's rate is too low", largest, rate)
