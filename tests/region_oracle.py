"""The sign that region certificates prove, from plain NumPy: settle, then every synapse by itself.

Shares nothing with `direp.certificates`: Euler steps in float64, the derivative of the field by every parameter as a
matrix, adjoint and response from it.
"""

import numpy as np

__all__ = ["settled_sign"]


def _activation(name):
    return {
        "identity": (lambda u: u, np.ones_like),
        "hard-sigmoid": (lambda u: np.clip(u, 0, 1), lambda u: ((u > 0) & (u < 1)).astype(float)),
        "sigmoid": (lambda u: 1 / (1 + np.exp(-u)), lambda u: 1 / (2 + np.exp(u) + np.exp(-u))),
        "tanh": (np.tanh, lambda u: 1 - np.tanh(u) ** 2),
    }[name]


def settled_sign(kind, activation, outflow, exists, bias_learns, weight, bias, leak, x, start=0.3, steps=6000):
    """For a stack of networks (first axis): the cosine, and whether the sample settled away from any corner.

    `kind` is `projected`, `hopfield` or `rate`; `exists` the adjacency (units x free), the last unit the output.
    Where the gradient is exactly zero the cosine is NaN.
    """
    fn, slope = _activation(activation)
    count, units, free = weight.shape
    inputs = units - free
    inner = weight[:, inputs:]
    sent = {"none": 0 * inner, "signed": inner, "absolute": np.abs(inner)}[outflow]
    total = leak + sent.sum(2)
    step = 0.7 / (np.abs(inner).sum(1).max(1) + np.abs(inner).sum(2).max(1) + np.abs(total).max(1))[:, None]
    drive_in = np.einsum("nij,ni->nj", weight[:, :inputs], x) + bias
    state = np.full((count, free), start)

    def parts(s, at=slice(None)):
        r = fn(s) if kind == "hopfield" else s
        u = (inner[at] * r[:, :, None]).sum(1) + drive_in[at]
        return r, u, (fn(u) if kind == "rate" else u) - total[at] * s

    alive = np.arange(count)
    for _ in range(steps // 50):
        s = state[alive]
        for _ in range(50):
            before = s
            s = s + step[alive] * parts(s, alive)[2]
            # Networks without equilibrium may grow without bound; they come back as not settled.
            s = np.clip(s, 0, 1) if kind == "projected" else np.clip(s, -50, 50)
        state[alive] = s
        alive = alive[(np.abs(s - before) > 1e-15 * (1 + np.abs(s))).any(1)]
        if not len(alive):
            break
    rate, drive, flow = parts(state)
    if kind == "rate":  # what decays to zero for ever gets there
        state = np.where(np.abs(flow) < 1e-12, fn(drive) / np.where(total > 0, total, 1), state)
        rate = state
    free_of_face = np.ones_like(state, bool)
    near = np.zeros_like(state, bool)
    if kind == "projected":
        free_of_face = (state > 0) & (state < 1)
        near = np.where(free_of_face, np.minimum(state, 1 - state), np.abs(flow)) < 1e-6
    elif activation == "hard-sigmoid":
        at = state if kind == "hopfield" else drive
        near = np.minimum(np.abs(at), np.abs(at - 1)) < 1e-6
    moving = np.where(free_of_face, np.abs(flow), 0).max(1)
    d_rate = slope(state) if kind == "hopfield" else np.ones_like(state)
    d_drive = slope(drive) if kind == "rate" else np.ones_like(state)

    eye = np.eye(free)
    jacobian = d_drive[:, :, None] * np.swapaxes(inner, 1, 2) * d_rate[:, None, :] - total[:, :, None] * eye
    held = ~free_of_face
    jacobian = np.where(held[:, :, None], -eye, jacobian)  # a held unit moves with nothing
    source, target = np.nonzero(exists)
    rates = np.concatenate([x, rate], 1)
    by_parameter = np.zeros((count, free, len(source) + free))
    for k, (i, j) in enumerate(zip(source, target, strict=True)):
        by_parameter[:, j, k] += d_drive[:, j] * rates[:, i]
        if i >= inputs and outflow != "none":
            kappa = 1.0 if outflow == "signed" else np.sign(weight[:, i, j])
            by_parameter[:, i - inputs, k] -= kappa * state[:, i - inputs]
    if bias_learns:
        by_parameter[:, np.arange(free), len(source) + np.arange(free)] = d_drive
    by_parameter = np.where(held[:, :, None], 0, by_parameter)
    error = np.zeros((count, free, 1))
    error[:, -1] = 1.0
    # The cost is minus the output's rate: what lowers it raises the rate.
    exact = -d_rate[:, -1:] * np.linalg.solve(jacobian, by_parameter)[:, -1]
    current = np.where(held[:, :, None], 0, d_drive[:, :, None] * error)
    response = -np.linalg.solve(jacobian, current)[..., 0] * d_rate
    back = response
    if kind == "rate":
        back = (np.einsum("nij,ni->nj", inner, response) + error[..., 0]) / total
    told = np.zeros_like(exact)
    for k, (i, j) in enumerate(zip(source, target, strict=True)):
        told[:, k] = rates[:, i] * response[:, j]
        if i >= inputs and outflow != "none":
            kappa = 1.0 if outflow == "signed" else np.sign(weight[:, i, j])
            told[:, k] -= kappa * state[:, i - inputs] * back[:, i - inputs]
    if bias_learns:
        told[:, len(source) :] = response
    size = np.sqrt((exact**2).sum(1) * (told**2).sum(1))
    with np.errstate(all="ignore"):
        cosine = np.where(size > 0, (exact * told).sum(1) / size, np.nan)
    good = (moving < 1e-10) & ~near.any(1) & (total > 0).all(1) & (np.abs(state) < 50).all(1)
    return cosine, good, state
