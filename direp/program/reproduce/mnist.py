"""MNIST: directed networks that are kept certified, on three graphs."""

from collections.abc import Iterator, Mapping
from typing import Any

from .reproduction import AbstractReproduction, Drawn, Runs, Variant
from .table import count, markdown, percent

# Means of three seeds (lowest to highest), as docs/measurements/directed.md has them.
RECORDED = {
    "layered": "98.92 % (98.91 to 98.93)", "random": "98.17 % (98.05 to 98.24)", "deep": "98.69 % (98.64 to 98.74)",
}  # fmt: skip


class MNIST(AbstractReproduction):
    title = "MNIST: directed networks, learned without an exact gradient"
    seeds = "0..2"
    data = True
    published = """
Of the results of DEEP (2020) that are known here none is on images, and the abstract of its revision (2025) names none.
Published by others, for other networks: 98.39 % in 76 s on a GPU for a feedback-regulated equilibrium propagation
(arXiv:2508.11659), 98.05 % in 1 h 56 for discrete equilibrium propagation."""
    derived = """
- Networks, controls and settings are this project's: `AsymEP` with learned companions (its own feedback channel), leaks
  or weights that are kept certified after every update, images moved by up to one pixel. Settings were chosen on
  validation images; while that was done, the test images were seen too (docs/measurements/speed.md).
- *Recorded* are the figures in docs/measurements/directed.md, of three seeds on another machine: what this program
  should come to again. They are no publication."""

    def variants(self) -> dict[str, Variant]:
        return {
            "layered": Variant("784-512-10", "", ("mnist",)),
            "random": Variant("random graph, 512 hidden, no pairs", "--graph random --reciprocity 0", ("mnist",)),
            "deep": Variant("784-512-512-512-10", "--hidden 512 512 512", ("mnist",)),
        }

    def tables(self, document: Mapping[str, Any]) -> str:
        head = ["network", "test accuracy", "lowest to highest", "recorded", "validation", "epochs", "diverged",
                "seeds with unsettled test images", "certified at every epoch", "seconds"]  # fmt: skip
        return markdown(head, [
            [
                document["labels"][name], _mean(entry["accuracy"]),
                f"{percent(entry['accuracy']['lowest'], 2)} to {percent(entry['accuracy']['highest'], 2)}",
                RECORDED[name], _mean(entry["validation_accuracy"]), str(entry["epochs"]),
                count(entry["diverged"], entry["seeds"]), count(entry["unsettled_at_the_end"], entry["seeds"]),
                count(entry["certified_at_every_epoch"], entry["seeds"]), f"{entry['seconds']:.0f}",
            ]
            for name, own in document["runs"].items()
            for entry in own.values()
        ])  # fmt: skip

    def definitions(self) -> str:
        return """\
- *Test accuracy*: of 10,000 images, by the epoch that is best on 5,000 validation images of the 60,000; mean over
  seeds, and half of Student's interval. Of one seed there is none.
- *Unsettled*, *certified*: as measured after the training, and after every update of it. Counts have Wilson's interval.
- *Epochs* are those of each network's preset, unless --epochs gave others; then *recorded* is no comparison.
- *Seconds*: wall time of all seeds of a row side by side, compilation included."""

    def figures(self, runs: Runs, document: Mapping[str, Any]) -> Iterator[Drawn]:
        from ...plot import learning_curves
        from ...plot.style import canvas

        figure = canvas()
        labels = document["labels"]
        curves = {labels[name]: run.history for name, own in runs.items() for run in own.values()}
        learning_curves(curves, figure, ("validation_accuracy",))
        yield Drawn(
            "accuracy", figure, "Accuracy on validation images over epochs: median and 80 % band of the seeds.",
        )  # fmt: skip


def _mean(entry: Mapping[str, Any]) -> str:
    half = entry["half_width"]
    return percent(entry["mean"], 2) + ("" if half is None else f" ± {100 * half:.2f}")
