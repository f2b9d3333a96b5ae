"""Intervals for what random seeds gave: shares and means, 95 per cent."""

import numpy as np
from scipy import stats


def wilson(hits: int, count: int) -> tuple[float, float]:
    """Wilson's interval of a share, `hits` of `count`."""
    interval = stats.binomtest(int(hits), int(count)).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def student(values: np.ndarray) -> tuple[float, float]:
    """The mean, and half of Student's interval around it."""
    half = float(stats.t.ppf(0.975, len(values) - 1)) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean()), float(half)


def bootstrap_mean(values: np.ndarray, resamples: int = 10_000, seed: int = 0) -> tuple[float, float]:
    """Percentile bootstrap of a mean; infinitely wide for fewer than two values."""
    values = np.asarray(values, float)
    if len(values) < 2:
        return float("-inf"), float("inf")
    drawn = np.random.default_rng(seed).integers(0, len(values), (resamples, len(values)))
    low, high = np.quantile(values[drawn].mean(1), [0.025, 0.975])
    return float(low), float(high)
