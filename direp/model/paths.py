"""What can be told of synapses by their numbers alone: what they reach, and whether they are those of blocks."""

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order


def reachable(units: int, source: np.ndarray, target: np.ndarray, begin: np.ndarray) -> np.ndarray:
    """Which units a path along `source` -> `target` reaches from some of `begin`: a search from an extra unit there."""
    source = np.concatenate([source, np.full(len(begin), units)])
    target = np.concatenate([target, begin])
    links = coo_array((np.ones(len(source), np.int8), (source, target)), shape=(units + 1, units + 1)).tocsr()
    seen = np.zeros(units + 1, bool)
    seen[breadth_first_order(links, units, return_predecessors=False)] = True
    return seen[:units]


def first_difference(
    sizes: tuple[int, ...], blocks: list[tuple[int, ...]], source: np.ndarray, target: np.ndarray
) -> tuple[int, int, str] | None:
    """A synapse that only the blocks have, or only the edges (sorted, none twice), and which of the two."""
    count = len(sizes)
    first, layer = np.cumsum((0, *sizes)), np.repeat(np.arange(count), sizes)
    wanted = np.array(sorted(p * count + q for p, q in blocks), np.int64)
    own = layer[source] * count + layer[target]
    at = np.searchsorted(wanted, own)
    outside = np.append(wanted, -1)[at] != own
    if outside.any():
        k = int(np.argmax(outside))
        return int(source[k]), int(target[k]), "there, and in none of its blocks"
    # A block with as many synapses as it has places has them all, as none is there twice.
    have = np.bincount(at, minlength=len(wanted))
    p, q = np.divmod(wanted, count)
    size = np.array(sizes, np.int64)
    short = have != size[p] * (size[q] - (p == q))
    if not short.any():
        return None
    k = int(np.argmax(short))
    p, q, within = int(p[k]), int(q[k]), at == k
    row, column = source[within] - first[p], target[within] - first[q]
    width = sizes[q] - (p == q)  # without the synapse from a unit to itself
    gaps = row * width + column - (column > row if p == q else 0) != np.arange(len(row))
    row, column = divmod(int(np.argmax(gaps)) if gaps.any() else len(row), width)
    column += p == q and column >= row
    return int(first[p]) + row, int(first[q]) + column, f"missing, and in block {(p, q)}"
