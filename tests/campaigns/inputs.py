"""An attack on `certify(inputs=...)`: networks that inputs may saturate, simulated beside what is claimed of them.

python tests/campaigns/inputs.py --draws 3000 --seed 0    # networks drawn

Whatever is proved must hold in a simulation that shares no code with the library: plain NumPy, Euler steps. Of every
proved network, at corners and inside of the box of inputs (or at its samples), from corners and inside of the starts:

- entered: after the time `enters` all trajectories from `first` are in the box, and stay there;
- shrinks: from the box, steps of `largest_step` shrink distances by `factor`;
- settles: trajectories from all starts come to one place for each input;

Euler steps obey the same comparison as the flow, so nothing is allowed for but rounding.
"""

import argparse
import sys
from collections import Counter

import numpy as np

import direp

NEURONS = (
    lambda rng: direp.Rate("tanh"),
    lambda rng: direp.Rate("sigmoid", outflow="absolute"),
    lambda rng: direp.Rate("hard-sigmoid"),
    lambda rng: direp.Rate("softplus"),
    lambda rng: direp.Rate("relu"),
    lambda rng: direp.Hopfield("tanh"),
    lambda rng: direp.Hopfield("hard-sigmoid", outflow="absolute"),
    lambda rng: direp.Hopfield("sigmoid"),
    lambda rng: direp.Hopfield("softplus"),
    lambda rng: direp.Projected(),
    lambda rng: direp.Projected(outflow="signed"),
    lambda rng: direp.Projected(outflow="absolute", low=-1.0, high=2.0),
)
FUNCTIONS = {
    "tanh": np.tanh,
    "sigmoid": lambda u: 0.5 * (1 + np.tanh(u / 2)),
    "hard-sigmoid": lambda u: np.clip(u, 0, 1),
    "relu": lambda u: np.maximum(u, 0),
    "softplus": lambda u: np.logaddexp(0, u),
    "identity": lambda u: u,
}


class Simulated:
    """A network's field, written apart from the library's."""

    def __init__(self, network):
        graph, neuron = network.graph, network.neuron
        matrix = np.asarray(network.matrix, np.float64)
        self.outer, self.inner = matrix[: graph.inputs], matrix[graph.inputs :]
        self.bias, leak = np.asarray(network.bias, np.float64), np.asarray(network.leak, np.float64)
        lost = {"none": 0 * self.inner, "signed": self.inner, "absolute": np.abs(self.inner)}[neuron.outflow.name]
        self.total = leak + lost.sum(1)
        self.transfer, self.rate = FUNCTIONS[neuron.transfer.name], FUNCTIONS[neuron.rate.name]
        self.low = -np.inf if neuron.low is None else float(np.asarray(neuron.low, network.dtype))
        self.high = np.inf if neuron.high is None else float(np.asarray(neuron.high, network.dtype))

    def flow(self, s, x):
        return self.transfer(x @ self.outer + self.rate(s) @ self.inner + self.bias) - self.total * s

    def euler(self, s, x, h):
        return np.clip(s + h * self.flow(s, x), self.low, self.high)

    def run(self, s, x, time, h, limit=20000):
        """The states after a time or more, or `None` if that takes too many steps."""
        steps = int(np.ceil(time / h)) + 1
        if steps > limit:
            return None
        for _ in range(steps):
            s = self.euler(s, x, h)
        return s

    @property
    def step(self):
        return 0.1 / max(1.0, float(np.abs(self.total).max()))


def draw(rng):
    """A network, and what is asked about it."""
    free, inputs = int(rng.integers(1, 9)), int(rng.integers(1, 4))
    neuron = NEURONS[rng.integers(len(NEURONS))](rng)
    graph = direp.Graph.complete(inputs, free - 1, 1)
    scale = rng.uniform(0.3, 6) / np.sqrt(free)
    weight = rng.normal(size=(free, free)) * scale
    if rng.random() < 0.4:
        weight = np.where(rng.random(weight.shape) < rng.random(), np.abs(weight), -np.abs(weight))
    np.fill_diagonal(weight, 0)
    bias = rng.choice([-1, 1], free) * rng.exponential(rng.choice([0.3, 2, 6]), free)
    leak = rng.uniform(0.2, 2, free) if rng.random() < 0.8 or not neuron.bounded else np.zeros(free)
    outer = rng.normal(size=(inputs, free)) * rng.choice([0.3, 2, 5])
    network = direp.Network(
        graph, neuron, np.concatenate([outer, weight]), leak=leak, bias=bias,
        dtype=np.float32 if rng.random() < 0.3 else np.float64,
    )  # fmt: skip
    middle, width = rng.normal(size=inputs), rng.choice([0.01, 0.3, 1.0])
    asked = direp.Between(middle - width, middle + width)
    if rng.random() < 0.4:
        asked = middle + width * rng.uniform(-1, 1, (int(rng.integers(1, 5)), inputs))
    start = None
    if rng.random() < (0.8 if np.isinf(neuron.transfer.range[1]) and np.isinf(neuron.rate.range[1]) else 0.3):
        low, high = (-2.0, 2.0) if not neuron.bounded else (neuron.low, neuron.high)
        ends = np.sort(rng.uniform(low, high, (2, free)), 0)
        start = direp.Between(*ends)
    return network, asked, start


def between(rng, low, high, count):
    """Corners and insides of a box."""
    share = rng.uniform(0, 1, (count, len(low)))
    share[: count // 2] = np.round(share[: count // 2])
    share[0], share[1] = 0, 1
    return np.minimum(np.maximum(low + share * (high - low), low), high)


def judge(network, certificate, rng, inputs=5, starts=20, limit=20000):
    """What of a proved certificate is wrong, and what was looked at."""
    within, true = certificate.within, Simulated(network)
    wrong, looked = [], Counter()
    x_low, x_high = within.inputs
    for k in range(inputs):
        row = int(rng.integers(len(x_low)))
        x = between(rng, x_low[row], x_high[row], max(inputs, 2))[k % max(inputs, 2)][None]
        norm = within.norms[row if len(within.norms) > 1 else 0]
        low, high = within.box[0][row], within.box[1][row]
        slack = 1e-9 * (1 + np.abs(np.where(np.isfinite(low), low, 0)) + np.abs(np.where(np.isfinite(high), high, 0)))

        def inside(s, low=low, high=high, slack=slack):
            return ((s >= low - slack) & (s <= high + slack)).all()

        finite = np.isfinite(within.first[0][row]).all() and np.isfinite(within.first[1][row]).all()
        late = None
        if finite and within.enters is not None:
            s = between(rng, within.first[0][row], within.first[1][row], starts)
            late = true.run(s, x, within.enters, true.step, limit)
            if late is not None:
                looked["entered"] += 1
                later = true.run(late, x, 1.0, true.step)
                if not (inside(late) and inside(later)):
                    wrong.append("entered")
        if np.isfinite(low).all() and np.isfinite(high).all():
            s = between(rng, low, high, starts)
        elif late is not None:
            s = late
        else:
            ends = np.where(np.isfinite(low), low, np.minimum(-20, high - 20)), np.where(
                np.isfinite(high), high, np.maximum(20, low + 20))  # fmt: skip
            s = between(rng, *ends, starts)
        # Distances and steps in the box.
        h, far = certificate.largest_step, None
        looked["shrinks"] += 1
        for _ in range(30):
            after = true.euler(s, x, h)
            before, now = norm.length(s[1:] - s[:-1]), norm.length(after[1:] - after[:-1])
            scale = float(norm.length(np.abs(s).max(0)[None])[0])
            if (now > certificate.factor * before + 1e-11 * scale + 1e-12).any():
                wrong.append("shrinks")
                break
            s = after
        # All starts come to one place.
        if within.start is not None:
            begin = between(rng, within.start[0], within.start[1], starts)
        elif np.isfinite(true.low):
            begin = between(rng, np.full(len(low), true.low), np.full(len(low), true.high), starts)
        else:
            begin = rng.normal(size=(starts, len(low))) * rng.choice([1, 10, 100], (starts, 1))
        ends = true.run(begin, x, (within.enters or 30.0) + 30 + 25 / certificate.rate, true.step, limit)
        if ends is not None:
            looked["settles"] += 1
            far = float(np.ptp(ends, 0).max())
            if not far <= 1e-5 * (1 + np.abs(ends).max()) or not inside(ends):
                wrong.append(f"settles ({far:.2g} apart)")
    return wrong, looked


CRITERIA = (direp.Rows(), direp.Perron(), direp.Symmetric())


def attack(seed, draws, criteria=CRITERIA, **how):
    """Counts of what was asked, proved, looked at and wrong; and the places where something was."""
    counts, places = Counter(), []
    for draw_number in range(draws):
        rng = np.random.default_rng((seed, draw_number))
        network, asked, start = draw(rng)
        certificate = direp.certify(network, inputs=asked, start=start, criteria=criteria)
        kind = network.neuron.__class__.__name__
        counts["networks"] += 1
        if not certificate:
            continue
        counts["proved"] += 1
        counts[f"proved {kind}"] += 1
        counts["proved and by no global slope"] += not direp.certify(network, starts=0, criteria=criteria)
        wrong, looked = judge(network, certificate, rng, **how)
        counts += looked
        for each in wrong:
            counts["wrong"] += 1
            places.append(f"seed {seed}, draw {draw_number}: {each}; {network}, {certificate.criterion}")
    return counts, places


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--draws", type=int, default=3000)
    options.add_argument("--seed", type=int, default=0)
    chosen = options.parse_args()
    counts, places = attack(chosen.seed, chosen.draws)
    for name, count in sorted(counts.items()):
        print(f"{count:8,}  {name}")
    print(f"{len(places):8,}  wrong", *places[:20], sep="\n")
    sys.exit(1 if places else 0)


if __name__ == "__main__":
    import jax

    jax.config.update("jax_enable_x64", True)
    with np.errstate(all="ignore"):
        main()
