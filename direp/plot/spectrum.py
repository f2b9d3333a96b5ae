"""Eigenvalues of a network at its steepest, and the discs that hold them."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from ..arithmetic import at_least
from .style import BLUE, GREEN, LIGHT, RED, Place, discs, inches, open_frame, place
from .weights import square

_MOST = 2000  # free units: a few seconds


def eigenvalues(
    network: Any,
    ax: Place = None,
    *,
    leak: Any = None,
    certificate: Any = None,
    sums: str | None = None,
    title: str = "eigenvalues at steepest slopes",
) -> Axes:
    r"""Eigenvalues of $J=d_2W^\top-\Lambda$ in the complex plane, $d_2$ the steepest slope of a neuron and $\Lambda$
    the total leaks; the imaginary axis, and Gershgorin's discs: around $-\Lambda_i$, as wide as the sum of $d_2|w|$.

    Discs that all lie left of the imaginary axis prove that the network contracts; eigenvalues there do not.

    **Arguments:**

    - `network`: a network; or a square matrix of weights, from row to column, with the total `leak` of every unit.
    - `certificate`: draws the rate $c$ of the free phase, at $-c$, and discs in its norm if that weights each unit.
    - `sums`: of the `"outgoing"` weights of a unit (columns of $J$) or of its `"incoming"` ones (rows), all units
      alike; by default those of the certificate's norm, else the outgoing ones.
    """
    coupling, total = _linear(network, leak)
    rate = None if certificate is None else certificate.phases.get("free")
    if certificate is not None and rate is None:
        raise ValueError("eigenvalues(certificate=...) proves no rate of the free phase; leave it out")
    incoming, unit, where = _sums(getattr(certificate, "norm", None), sums, len(total))
    radius = (np.abs(coupling) * unit / unit[:, None]).sum(0 if incoming else 1)
    values = np.linalg.eigvals(coupling.T - np.diag(total))
    (axis,) = place(ax, 4.6, 3.9)
    discs(axis, -total, radius, LIGHT, where)
    size = 4 if len(values) <= 40 else 2.5
    axis.plot(values.real, values.imag, "o", color=BLUE, ms=size, label="eigenvalues", zorder=4)
    axis.axvline(0, color=RED, lw=1)
    if rate is not None:
        axis.axvline(-rate, color=GREEN, ls="--", lw=1.2, label=f"proved: -{at_least(rate)}")
    left, right = float((-total - radius).min()), max(float((radius - total).max()), float(values.real.max()), 0.0)
    high = max(float(radius.max()), float(values.imag.max()))
    axis.update_datalim([(left, -high), (right, high)])
    axis.autoscale_view()
    axis.set_aspect("equal", adjustable="datalim")
    axis.set(xlabel="real part (1/time)", ylabel="imaginary part (1/time)")
    axis.set_title(title, fontsize=10)
    axis.legend(
        loc="upper left", bbox_to_anchor=(-0.5, -0.45), bbox_transform=inches(axis, 0, 0), ncols=2, frameon=False,
        fontsize=8, handlelength=1.4, columnspacing=1.0,
    )  # fmt: skip
    open_frame(axis)
    return axis


def _linear(network: Any, leak: Any) -> tuple[np.ndarray, np.ndarray]:
    """$d_2W$ between free units, from row to column, and the total leaks."""
    if hasattr(network, "graph"):
        graph, slope = network.graph, network.neuron.gain
        if graph.free > _MOST or not np.isfinite(slope):
            why = f"{graph.free:,} free units are more than {_MOST:,}" if graph.free > _MOST else "slopes have no bound"
            raise ValueError(f"eigenvalues: {why}; give a matrix of your own, eigenvalues(weight, leak=...)")
        return slope * np.asarray(network.matrix, float)[graph.inputs :], np.asarray(network.total_leak(), float)
    if leak is None:
        raise ValueError("eigenvalues of a matrix needs leak=..., the total leak of every unit")
    return square("eigenvalues", network, leak)


def _sums(norm: Any, sums: str | None, size: int) -> tuple[bool, np.ndarray, str]:
    """Whether weights that come in are summed, the length of every unit alone in the norm, and what the discs are."""
    if sums not in (None, "outgoing", "incoming"):
        raise ValueError(f"eigenvalues(sums={sums!r}) must be 'outgoing' or 'incoming'")
    if sums is None and norm is not None and norm.entrywise:
        unit = np.asarray(norm.length(np.eye(size)), float)
        whole = float(norm.length(1 / unit))  # of entries of length 1 each: a sum of all, or the largest of them
        return size > 1 and whole < 1.5, unit, f"discs in {norm}"
    return sums == "incoming", np.ones(size), f"discs, {sums or 'outgoing'} sums"
