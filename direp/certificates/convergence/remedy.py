"""What would it take? The least leak, or the largest weights, that make a network certified."""

import dataclasses

import numpy as np
from scipy.optimize import minimize

from .certificate import Remedy
from .perron import noda, perron_weights
from .system import DENSE_UP_TO, System, dense


def _hair(system: System) -> float:
    """Relative, so that the inequality is strict and survives that the network rounds what it is given."""
    return max(1e-9, 16 * system.eps)


def remedy(system: System) -> Remedy | None:
    """Every part of it is proved to be enough before it is returned; `None` if nothing was found."""
    if not system.representable:
        return None
    weights = perron_weights(system, incoming=False)
    common = float(_missing(system, weights).max())
    choices = [weights, np.ones(system.size)]
    if system.size <= 300:
        choices.append(_least_total(system, weights))
    missing = [np.maximum(_missing(system, each), 0) for each in choices]
    best = int(np.argmin([each.sum() for each in missing]))
    if not (_certified(system, missing[best], 1.0, choices[best]) and _certified(system, common, 1.0, weights)):
        return None
    return Remedy(missing[best], max(common, 0.0), _weight_scale(system))


def _raised(system: System, weights: np.ndarray) -> np.ndarray:
    return np.max([system.feedback(beta, weights) for beta in system.phases.values()], axis=0)


def _missing(system: System, weights: np.ndarray) -> np.ndarray:
    """Leak that each unit lacks with these norm weights, a hair more than needed. Dies may have less of it."""
    size = system.total_leak.max() + np.abs(system.leak).max() + system.spread(weights, False) / weights
    lacking = _raised(system, weights) - system.margin(weights, False) + _hair(system) * np.abs(size)
    return lacking / (1 - system.share)


def _certified(system: System, leak: np.ndarray | float, scale: float, weights: np.ndarray) -> bool:
    changed = dataclasses.replace(system, leak=system.leak + leak, weight=system.weight * scale)
    return bool((changed.proved_margin(weights, False) - _raised(changed, weights) > 0).all())


def _least_total(system: System, weights: np.ndarray) -> np.ndarray:
    r"""Norm weights for which $\sum_i\max(0,\,d_2\sum_k|w_{ik}|\eta_k/\eta_i-\Lambda_i)$ is least.

    Convex in $\log\eta$ (a sum of maxima of exponentials); the corner is rounded off, less and less.
    """
    total, coupling = system.slowest(None, False)
    coupling, free = dense(coupling), total - _raised(system, weights)

    def cost(t: np.ndarray, corner: float) -> tuple[float, np.ndarray]:
        ratio = coupling * np.exp(np.clip(t[None] - t[:, None], -200, 200))
        spread = ratio.sum(1)
        missing = spread - free
        root = np.hypot(missing, corner)
        slope = (1 + missing / root) / 2
        return float((missing + root).sum() / 2), slope @ ratio - slope * spread

    t = np.log(weights)
    scale = float(np.abs(free).max()) + float(coupling.max(initial=0.0)) + 1e-100
    for corner in (1e-1, 1e-2, 1e-3, 1e-5):
        t = minimize(cost, t, args=(corner * scale,), jac=True, method="L-BFGS-B", options={"maxiter": 300}).x
        t = np.clip(t - t.max(), -200, 0)
    return np.exp(t)


def _weight_scale(system: System) -> float | None:
    r"""The largest $f$ for which $f\,W$ is certified: $1/f$ is the spectral abscissa of $\lambda^{-1}(d_2|W|-\kappa\,
    \mathrm{out})$. With dies one that is enough for devices apart."""
    kept, (total, size) = system.leak * (1 - system.share), system.slowest(None, False)
    room = kept - _raised(system, np.ones(system.size))
    if room.min() <= 0:
        return None
    matrix = dense(size) / room[:, None] if system.size <= DENSE_UP_TO else None
    weights, lowest = noda((total - kept) / room, lambda v: np.asarray(size @ v) / room, matrix)
    if lowest >= 0:
        return None
    scale = -(1 - _hair(system)) / lowest
    return scale if _certified(system, 0.0, scale, weights) else None
