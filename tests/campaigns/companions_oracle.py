"""Exact adjoints and gradients beside those by companions of synapses, for many small networks at once, by dense linear
algebra in NumPy; it shares no code with direp."""

from typing import Any, NamedTuple

import numpy as np

# name -> value, slope, largest slope
ACTIVATIONS: dict[str, tuple[Any, Any, float]] = {
    "none": (lambda z: z, np.ones_like, 1.0),
    "sigmoid": (lambda z: 0.5 + 0.5 * np.tanh(z / 2), lambda z: 0.25 / np.cosh(z / 2) ** 2, 0.25),
    "hard-sigmoid": (lambda z: np.clip(z, 0, 1), lambda z: ((z > 0) & (z < 1)).astype(float), 1.0),
    "tanh": (np.tanh, lambda z: 1 / np.cosh(z) ** 2, 1.0),
    "softplus": (lambda z: np.logaddexp(0, z), lambda z: 0.5 + 0.5 * np.tanh(z / 2), 1.0),
}
OUTFLOWS: dict[str, tuple[Any, Any]] = {
    "none": (np.zeros_like, np.zeros_like),
    "signed": (lambda w: w, np.ones_like),
    "absolute": (np.abs, np.sign),
}


class Nets(NamedTuple):
    """Networks of one kind. `weight` (net x unit x free) from unit i (inputs first) to free unit j; `companion` (net x
    free x free) beside those between free units; `exists` (unit x free) says which synapses there are."""

    neuron: str
    activation: str
    outflow: str
    outputs: int
    exists: np.ndarray
    weight: np.ndarray
    companion: np.ndarray
    bias: np.ndarray
    leak: np.ndarray
    x: np.ndarray
    y: np.ndarray

    @property
    def inner(self) -> np.ndarray:
        return self.weight[:, self.x.shape[2] :]

    @property
    def gain(self) -> float:
        return ACTIVATIONS[self.activation][2]

    @property
    def total(self) -> np.ndarray:
        return self.leak + OUTFLOWS[self.outflow][0](self.inner).sum(2)


class Truth(NamedTuple):
    """What is true of every network: the adjoints (net x sample x free), exact and by companions, what norms (`factor`
    times the largest adjoint) and what sizes without signs allow them to differ by, the gradients by both (net x
    number), which samples settled, and which numbers belong to hidden units."""

    exact: np.ndarray
    other: np.ndarray
    crude: np.ndarray
    sizes: np.ndarray
    gradient: np.ndarray
    update: np.ndarray
    settled: np.ndarray
    factor: np.ndarray
    into_hidden: np.ndarray


def held_leak(nets: Nets, margin: np.ndarray, floor: np.ndarray) -> np.ndarray:
    """Leaks at which a unit's total exceeds what it sends, and what its companions do, by the margin; or the floor."""
    sent = nets.gain * np.maximum(np.abs(nets.inner).sum(2), np.abs(nets.companion).sum(2))
    return np.maximum(sent - OUTFLOWS[nets.outflow][0](nets.inner).sum(2) + margin[:, None], floor[:, None])


def truth(nets: Nets, margin: np.ndarray | None) -> Truth:
    """`margin`: of the control that holds leaks; `None` for leaks that stay."""
    value, slope, gain = ACTIVATIONS[nets.activation]
    one = np.ones_like
    psi, psi_slope = (value, slope) if nets.neuron == "hopfield" else (lambda s: s, one)
    phi, phi_slope = (value, slope) if nets.neuron == "rate" else (lambda u: u, one)
    total, free = nets.total[:, None], nets.leak.shape[1]
    current = nets.x @ nets.weight[:, : nets.x.shape[2]] + nets.bias[:, None]
    state = np.zeros_like(current)
    for k in range(20_000):
        drive = current + psi(state) @ nets.inner
        new = phi(drive) / total
        new = np.clip(new, 0, 1) if nets.neuron == "projected" else new
        moved, state = np.abs(new - state).max(2), new
        if k % 50 == 49 and moved.max() < 1e-14 * (1 + np.abs(state).max()):
            break
    drive = current + psi(state) @ nets.inner
    on = np.ones(state.shape, bool)
    if nets.neuron == "projected":
        on = (drive / total > 0) & (drive / total < 1)
    before, after = psi_slope(state) * on, phi_slope(drive) * on
    error = np.zeros_like(state)
    error[:, :, free - nets.outputs :] = psi(state)[:, :, free - nets.outputs :] - nets.y
    error *= before
    forth, back = (before[..., None] * each[:, None] * after[:, :, None, :] for each in (nets.inner, nets.companion))
    leak = total[..., None] * np.eye(free)

    def solved(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
        return np.linalg.solve(matrix, right[..., None])[..., 0]

    exact, other = solved(forth - leak, error), solved(back - leak, error)
    apart = np.abs(back - forth)
    sizes = solved(leak - np.abs(forth), (apart @ np.abs(other)[..., None])[..., 0])
    norm = gain * np.abs(nets.companion - nets.inner).sum(2).max(1)
    rate = (nets.total - gain * np.abs(nets.inner).sum(2)).min(1)
    crude = (norm / rate)[:, None] * np.abs(other).max(2)
    rates, slopes = np.concatenate([nets.x, psi(state)], 2), OUTFLOWS[nets.outflow][1](nets.inner)
    if margin is not None:
        holds = [
            np.abs(nets.total - gain * np.abs(each).sum(2) - margin[:, None]) < 1e-11 * (1 + nets.total)
            for each in (nets.inner, nets.companion)
        ]
        by = np.where(holds[0][..., None], np.sign(nets.inner), np.sign(nets.companion))
        slopes = np.where((holds[0] | holds[1])[..., None], gain * by, slopes)

    def gradient(a: np.ndarray) -> np.ndarray:
        count = a.shape[1]
        weight = -np.einsum("kni,knj->kij", rates, after * a) / count
        weight[:, nets.x.shape[2] :] += slopes * ((state * a).sum(1) / count)[..., None]
        bias = -(after * a).sum(1) / count
        return np.concatenate([(weight * nets.exists).reshape(len(weight), -1), bias], 1)

    into = np.tile(np.arange(free) < free - nets.outputs, nets.weight.shape[1] + 1)
    return Truth(exact, other, crude, sizes, gradient(exact), gradient(other), moved < 1e-12, norm / rate, into)
