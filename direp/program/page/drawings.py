"""The figures of a run for a page, each with what it shows in words."""

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import plot
from ...model import Network
from ...plot.style import canvas, written
from ...settling import settle
from ..run_folder import LoadedRun, wide

_LARGEST = 250_000  # bytes of a drawing by lines; beyond, by points
_ROWS = 24  # samples whose rates are shown


@dataclass(frozen=True)
class Drawing:
    """A figure: its title, what it shows in words, and an image as the browser takes it."""

    title: str
    alt: str
    image: str


@dataclass(frozen=True)
class Figured:
    """What figures are drawn of: a run, one of its seeds, and a few samples that its network has settled."""

    run: LoadedRun
    seed: int

    @property
    def network(self) -> Network:
        return self.run.networks[self.run.parts.seeds.index(self.seed)]


def drawings_of(run: LoadedRun, seed: int) -> Iterator[Drawing | str]:
    """What the network of a seed has become; in the place of a figure that could not be drawn, why."""
    of = Figured(run, seed)
    for title, (suits, draw) in _FIGURES.items():
        if suits(of):
            paper = canvas()
            try:
                alt = draw(of, paper)
                yield Drawing(title, alt, _image(paper))
            except Exception as error:  # a page is written in any case
                yield f"the figure of {title.lower()} could not be drawn ({type(error).__name__}: {error})"


def _image(paper: Any) -> str:
    for kind, name in (("svg", "svg+xml"), ("png", "png")):
        content = written(paper, kind)
        if len(content) <= _LARGEST or kind == "png":
            return f"data:image/{name};base64,{base64.b64encode(content).decode()}"
    raise AssertionError


def _weights(of: Figured, paper: Any) -> str:
    plot.weight_matrix(of.network, paper, f"weights of seed {of.seed}")
    strengths = np.asarray(of.network.strengths())
    return (
        f"A matrix with a cell for each of {strengths.size:,} synapses, from its row to its column; weights from "
        f"{strengths.min():.3g} to {strengths.max():.3g}, of which {np.mean(strengths < 0):.0%} are negative."
    )


def _map(of: Figured, paper: Any) -> str:
    plot.decision_map(of.run, paper, seed=of.seed, title=f"answers of seed {of.seed}")
    return "What the network answers at every point of the plane of its two inputs; samples are dots."


def _rates(of: Figured, paper: Any) -> str:
    task, arguments = of.run.task, of.run.parts.fit()
    x = (task.validation if len(task.validation.x) else task.train).x[:_ROWS]
    with wide(of.run.settings.precision):
        found = settle(of.network, x, method=arguments["method"], stop=arguments["stop"])
    plot.settling(found, paper)
    return f"Rates of free units at the equilibria of {len(x)} samples, and the steps each took: {found.summary()}."


def _plane(of: Figured) -> bool:
    kept = of.run.task.preparation
    return of.run.task.inputs == 2 and not (kept and any(column.categories for column in kept.inputs.columns))


_FIGURES: dict[str, tuple[Callable[[Figured], bool], Callable[[Figured, Any], str]]] = {
    "Answers": (_plane, _map),
    "Weights": (lambda of: of.network.graph.units <= 2000, _weights),
    "Rates at equilibrium": (lambda of: of.network.graph.free <= 2000, _rates),
}
