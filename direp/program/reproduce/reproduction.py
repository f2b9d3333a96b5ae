"""The interface of every reproduction."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from .trained import Trained

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Runs = Mapping[str, Mapping[str, Trained]]
"""What was trained: by the name of the variant, then by task."""


@dataclass(frozen=True)
class Variant:
    """One way to learn: what tables call it, the options of `direp train` that make it, and its tasks."""

    label: str
    options: str
    tasks: tuple[str, ...]

    def arguments(self, task: str, seeds: str, epochs: int | None = None, data_dir: str | None = None) -> list[str]:
        """Those of `direp train` for one of its tasks."""
        given = {"--epochs": epochs, "--data-dir": data_dir}
        more = [word for name, value in given.items() if value is not None for word in (name, str(value))]
        return [task, *self.options.split(), "--seeds", seeds, *more]


class Drawn(NamedTuple):
    """A figure for the report: the name of its file, the figure, and the line below it."""

    name: str
    figure: "Figure"
    caption: str


class AbstractReproduction(ABC):
    """Results of a publication that can be trained again. A new one is a class with these texts and methods, and a line
    in the catalogue.

    - `title`; `seeds`: those that are trained by default.
    - `published`: what the publication says, with its source. `derived`: what is not taken from it. Markdown both.
    - `baseline`: the variant whose runs another reproduction may hold already, if there is one.
    - `data`: whether its tasks read files of data.
    """

    title: ClassVar[str]
    seeds: ClassVar[str] = "0..99"
    published: ClassVar[str]
    derived: ClassVar[str]
    baseline: ClassVar[str | None] = None
    data: ClassVar[bool] = False

    @abstractmethod
    def variants(self) -> dict[str, Variant]:
        """What is trained, by name. Seed by seed all are compared with the first."""

    @abstractmethod
    def tables(self, document: Mapping[str, Any]) -> str:
        """What was measured, as Markdown tables; `document` is what `table.json` holds."""

    @abstractmethod
    def definitions(self) -> str:
        """What the columns of the tables mean."""

    @abstractmethod
    def figures(self, runs: Runs, document: Mapping[str, Any]) -> Iterator[Drawn]:
        """What was measured, drawn."""
