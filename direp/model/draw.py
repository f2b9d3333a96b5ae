"""Synapses drawn at random, as pairs of unit numbers (source, target), inputs first. Nothing here forms a matrix."""

import numpy as np

Synapses = tuple[np.ndarray, np.ndarray]


def random(inputs: int, free: int, density: float, reciprocity: float | None, rng: np.random.Generator) -> Synapses:
    """Each synapse of the complete graph with probability `density`; see `Graph.random`."""
    if not 0 < density <= 1:
        raise ValueError(f"Graph.random(density={density}) must be above 0 and at most 1")
    if reciprocity is None:
        count = rng.binomial((inputs + free) * free, density)
        source, target = np.divmod(_distinct(rng, count, (inputs + free) * free), max(free, 1))
        keep = source != target + inputs
        return source[keep], target[keep] + inputs
    if not 0 <= reciprocity <= 1 or density * (2 - reciprocity) > 1:
        raise ValueError(
            f"Graph.random(reciprocity={reciprocity}) must be from 0 to 1, and at density {density} at least "
            f"{max(0.0, 2 - 1 / density):g}: so many synapses do not fit one way"
        )
    enter, into = np.divmod(_distinct(rng, rng.binomial(inputs * free, density), inputs * free), max(free, 1))
    count, pairs = rng.binomial(free * (free - 1), density), free * (free - 1) // 2
    joined = min(count - round(reciprocity * count / 2), pairs)
    low, high = _pair(rng.permutation(_distinct(rng, joined, pairs)))
    both, turned = np.arange(joined) < count - joined, rng.random(joined) < 0.5
    one, other = np.where(turned, high, low), np.where(turned, low, high)
    source = np.concatenate([enter, inputs + one, inputs + other[both]])
    return source, inputs + np.concatenate([into, other, one[both]])


def small_world(inputs: int, free: int, neighbours: int, rewired: float, rng: np.random.Generator) -> Synapses:
    """A ring of free units, some synapses rewired; see `Graph.small_world`."""
    if not 1 <= neighbours < free or not 0 <= rewired <= 1:
        raise ValueError(
            f"Graph.small_world(neighbours={neighbours}, rewired={rewired}) must be 1 to {free - 1} neighbours, and a "
            "share from 0 to 1"
        )
    away = np.array([(1 + k // 2) * (1 - 2 * (k % 2)) for k in range(neighbours)])
    unit = np.arange(free)[:, None]
    target = (unit + away) % free
    loose = (rng.random(target.shape) < rewired) & (neighbours < free - 1)
    again = loose
    while again.any():
        target = np.where(again, rng.integers(0, free, target.shape), target)
        # Each unit has different targets, none of them itself.
        again = loose & ((target == unit) | _repeated(target, loose))
    order = rng.permutation(free)
    enter, into = np.divmod(np.arange(inputs * free), max(free, 1))
    source = np.concatenate([enter, inputs + np.repeat(order, neighbours)])
    return source, inputs + np.concatenate([into, order[target].ravel()])


def _repeated(target: np.ndarray, loose: np.ndarray) -> np.ndarray:
    """Which entries of a row stand in it once more: in a place that stays, or in an earlier one that was drawn."""
    place = np.argsort(2 * target + loose, axis=1, kind="stable")
    row = np.take_along_axis(target, place, 1)
    again = np.zeros(target.shape, bool)
    np.put_along_axis(again, place, np.pad(row[:, 1:] == row[:, :-1], ((0, 0), (1, 0))), 1)
    return again


def _distinct(rng: np.random.Generator, count: int, of: int) -> np.ndarray:
    """So many different numbers below `of`, in order."""
    if count > 0.9 * of:  # the last ones would be drawn for ever
        return np.delete(np.arange(of), _distinct(rng, of - count, of))
    place = np.unique(rng.integers(0, of, size=count))
    while len(place) < count:
        place = np.unique(np.concatenate([place, rng.integers(0, of, size=count - len(place))]))
    return place


def _pair(number: np.ndarray) -> Synapses:
    """The pair low < high with this number, of high (high - 1)/2 + low."""
    high = ((1 + np.sqrt(1 + 8 * number.astype(np.float64))) / 2).astype(np.int64)
    high += (high * (high + 1) // 2 <= number).astype(np.int64) - (high * (high - 1) // 2 > number)
    return number - high * (high - 1) // 2, high
