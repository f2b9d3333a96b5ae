"""The figures of a run for a page, each with what it shows in words."""

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ... import plot
from ...arithmetic import at_least
from ...certificates import CASCADE, Certificate, certify
from ...model import Network
from ...plot.style import canvas, written
from ...rules import AbstractRule, trajectory
from ...settling import settle
from ..run_folder import LoadedRun, wide

_LARGEST = 250_000  # bytes of a drawing by lines; beyond, by points
_ROWS, _FEW = 24, 6  # samples whose rates are shown, and that are followed in time
_GRAPH, _DISCS, _CELLS = 60, 800, 2000  # units


@dataclass(frozen=True)
class Drawing:
    """A figure: its title, what it shows in words, and an image as the browser takes it."""

    title: str
    alt: str
    image: str


@dataclass(frozen=True)
class Figured:
    """What figures are drawn of: a run, and one of its seeds."""

    run: LoadedRun
    seed: int

    @property
    def place(self) -> int:
        return self.run.parts.seeds.index(self.seed)

    @property
    def network(self) -> Network:
        return self.run.networks[self.place]

    @property
    def rule(self) -> AbstractRule:
        return self.run.rules[self.place]

    @cached_property
    def certificate(self) -> Certificate:
        """By the criterion that the run was kept in, else by all in turn."""
        control = self.run.parts.control
        criteria = CASCADE if control is None else (control.criterion, *CASCADE)
        return certify(self.network, rule=self.rule, cost=self.run.parts.cost, criteria=criteria, starts=0)

    def samples(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Validation samples, or training samples where there are none."""
        task = self.run.task
        part = task.validation if len(task.validation.x) else task.train
        return np.asarray(part.x)[:count], np.asarray(part.y)[:count]


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
    content, name = written(paper, "svg"), "svg+xml"
    if len(content) > _LARGEST:
        content, name = written(paper, "png"), "png"
    return f"data:image/{name};base64,{base64.b64encode(content).decode()}"


def _map(of: Figured, paper: Any) -> str:
    plot.decision_map(of.run, paper, seed=of.seed, title=f"answers of seed {of.seed}")
    return "What the network answers at every point of the plane of its two inputs; samples are dots."


def _confusion(of: Figured, paper: Any) -> str:
    axis = plot.confusion_matrix(of.run, paper, seed=of.seed, part=_part(of))
    return f"How many samples of a class, a row each, are taken for which, a column each. {axis.get_title()}."


def _part(of: Figured) -> str:
    return "validation" if len(of.run.task.validation.x) else "train"


def _graph(of: Figured, paper: Any) -> str:
    plot.directed_graph(of.network, paper)
    graph = of.network.graph
    return f"{graph.kinds}, and {graph.synapses:,} synapses between them as arrows, in the colours of their weights."


def _weights(of: Figured, paper: Any) -> str:
    plot.weight_matrix(of.network, paper, f"weights of seed {of.seed}")
    strengths = np.asarray(of.network.strengths())
    return (
        f"A matrix with a cell for each of {strengths.size:,} synapses, from its row to its column; weights from "
        f"{strengths.min():.3g} to {strengths.max():.3g}, of which {np.mean(strengths < 0):.0%} are negative."
    )


def _eigenvalues(of: Figured, paper: Any) -> str:
    proved = of.certificate if "free" in of.certificate.phases else None
    plot.eigenvalues(of.network, paper, certificate=proved)
    rate = (
        "" if proved is None else f" It is proved to contract at rate {at_least(proved.phases['free'])}, left of which"
    )
    return (
        "Eigenvalues of the linear network at steepest slopes in the complex plane, within Gershgorin's discs."
        + (f"{rate} all of them lie." if rate else "")
    )  # fmt: skip


def _decay(of: Figured, paper: Any) -> str:
    x, y = of.samples(_FEW)
    paths = trajectory(of.network, x, y=y, rule=of.rule, cost=of.run.parts.cost)
    proved = of.certificate if "free" in of.certificate.phases else None
    plot.residual_decay(paths, paper, certificate=proved)
    beside = "" if proved is None else f", beside the proved rate {at_least(proved.phases['free'])}"
    return f"Distance of {len(x)} samples from their equilibria over time, on a logarithmic scale{beside}."


def _fields(of: Figured, paper: Any) -> str:
    plot.receptive_fields(of.network, paper)
    return "Weights from the pixels of an image to hidden units, an image for each of the units with the largest ones."


def _rates(of: Figured, paper: Any) -> str:
    arguments = of.run.parts.fit()
    x, _ = of.samples(_ROWS)
    with wide(of.run.settings.precision):
        found = settle(of.network, x, method=arguments["method"], stop=arguments["stop"])
    plot.settling(found, paper)
    return f"Rates of free units at the equilibria of {len(x)} samples, and the steps each took: {found.summary()}."


def _plane(of: Figured) -> bool:
    kept = of.run.task.preparation
    return of.run.task.inputs == 2 and not (kept and any(column.categories for column in kept.inputs.columns))


def _classes(of: Figured) -> bool:
    kept, task = of.run.task.preparation, of.run.task
    words = kept is not None and any(column.categories for column in kept.inputs.columns)
    return task.kind == "classification" and not task.whole and not words


def _image_like(of: Figured) -> bool:
    inputs = of.run.task.inputs
    side = round(inputs**0.5)
    graph = of.network.graph
    seen = (graph.source < graph.inputs) & (graph.target < graph.inputs + graph.hidden)
    return side * side == inputs and inputs >= 49 and bool(seen.any())


_FIGURES: dict[str, tuple[Callable[[Figured], bool], Callable[[Figured, Any], str]]] = {
    "Answers": (_plane, _map),
    "Classes taken for each other": (_classes, _confusion),
    "What hidden units see": (_image_like, _fields),
    "Units and synapses": (lambda of: of.network.graph.units <= _GRAPH, _graph),
    "Weights": (lambda of: of.network.graph.units <= _CELLS, _weights),
    "Eigenvalues": (lambda of: of.network.graph.free <= _DISCS, _eigenvalues),
    "Coming to rest": (lambda of: of.network.graph.free <= _DISCS, _decay),
    "Rates at equilibrium": (lambda of: of.network.graph.free <= _CELLS, _rates),
}
