"""What all reproductions on the logic gates share: their tables, and the figures of one seed."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from ..words import plural
from .reproduction import AbstractReproduction, Drawn, Runs
from .retrace import retraced
from .table import count, interval, markdown, median, percent
from .trained import Trained

GATES = ("and", "or", "xor", "not", "identity")
PUBLISHED_NETWORKS = 10  # of which Farinha et al. drew the losses


class AbstractGates(AbstractReproduction):
    """Gates, by one way to learn or several.

    - `drawn`: the variants of which figures of a single seed are drawn; by default all.
    """

    drawn: ClassVar[tuple[str, ...]] = ()

    def tables(self, document: Mapping[str, Any]) -> str:
        labels = document["labels"]
        parts = [
            f"**{labels[name]}**, {next(iter(own.values()))['epochs']} epochs:\n\n{_table(own)}"
            for name, own in document["runs"].items()
        ]
        if document["paired"]:
            parts.append(f"**Seed by seed against {labels[document['against']]}**:\n\n{_paired(document)}")
        return "\n\n".join(parts)

    def definitions(self) -> str:
        return _DEFINITIONS

    def figures(self, runs: Runs, document: Mapping[str, Any]) -> Iterator[Drawn]:
        from ..figures import reproduce as draw

        labels, seeds = document["labels"], plural(document["seeds"], "seed")
        tasks = list(next(iter(runs.values())))
        losses = {
            task: {labels[name]: own[task].history["validation_loss"] for name, own in runs.items()} for task in tasks
        }
        few = min(PUBLISHED_NETWORKS, document["seeds"]) if len(runs) == 1 else 0
        thin = f" (thin: the first {few}, as many as were published)" if few else ""
        yield Drawn(
            "losses", draw.losses(losses, document, few),
            f"Loss after each epoch: median and 80 % band of {seeds}{thin}; below the dotted line a gate counts as "
            "solved. Last panel: the share of seeds that solved, with its 95 % interval.",
        )  # fmt: skip
        runs = {name: own for name, own in runs.items() if name in self.drawn} or runs
        planes = {task: _shown(runs, task) for task in tasks if runs[next(iter(runs))][task].loaded.task.inputs == 2}
        if planes:
            maps = {
                labels[name]: {task: _map(own[task], seed) for task, seed in planes.items()}
                for name, own in runs.items()
            }
            which = ", ".join(f"{task.upper()} of seed {seed}" for task, seed in planes.items())
            yield Drawn(
                "maps",
                draw.maps(maps),
                f"Decision maps: output over the unit square, {which} ({_WHICH}), "
                "each point from a state drawn as training draws it.",
            )
        task = "xor" if "xor" in tasks else tasks[0]
        seed = _shown(runs, task)
        which = f"{task}, seed {seed} ({_WHICH})"
        networks = {labels[name]: own[task].network(seed) for name, own in runs.items()}
        yield Drawn("weights", draw.weights(networks), f"Weight matrix: {which}, after training.")
        yield Drawn(
            "graph", draw.graphs(networks),
            f"Graph: {which}, after training. Red synapses excite, blue ones inhibit, the wider the stronger; 1 is the "
            "constant input.",
        )  # fmt: skip
        found = {labels[name]: retraced(own[task], seed) for name, own in runs.items()}
        away = max(each.away for each in found.values())
        yield Drawn(
            "convergence", draw.convergence(found),
            f"Convergence: {which}. Left: states of the trained network at the last pattern, in continuous time from "
            "where training starts. Right: weights and biases of this seed, trained once more by itself; they end "
            f"{f'within {away:.1g} of' if away else 'with the same bits as'} those in the run folder.",
        )  # fmt: skip


_WHICH = "the first that all solved, from other starts too, else the first of all"


def _shown(runs: Runs, task: str) -> int:
    """The seed that is drawn: the first that every variant solved, from other starts too, or the first of all."""
    own = [each[task] for each in runs.values()]
    seeds = own[0].each("seed").astype(int)
    solved = np.all([run.solved_from_starts for run in own], 0)
    return int(seeds[solved.argmax()])


def _map(run: Trained, seed: int, points: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outputs over the unit square, and the patterns with their targets."""
    line, (x, y) = np.linspace(0, 1, points), run.loaded.task.train
    grid = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    return run.outputs(seed, grid)[:, 0].reshape(points, points), np.asarray(x), np.asarray(y)[:, 0]


def _table(runs: Mapping[str, Any]) -> str:
    head = ["gate", "solved", "from other starts", "from everywhere", "epochs to solve", "loss at the end", "diverged",
            "not settled at the end", "phases unsettled in training", "certified at every epoch",
            "lowest margin"]  # fmt: skip
    return markdown(head, [
        [
            task, count(entry["solved"], entry["seeds"]),
            count(entry["solved_from_starts"], entry["seeds"]), count(entry["solved_from_everywhere"], entry["seeds"]),
            median(entry["epochs_to_solve"]),
            f"{entry['loss']['median']:.2g} ({entry['loss']['band'][0]:.2g} to {entry['loss']['band'][1]:.2g})",
            count(entry["diverged"], entry["seeds"]), count(entry["unsettled_at_the_end"], entry["seeds"]),
            percent(entry["unsettled_in_training"]), count(entry["certified_at_every_epoch"], entry["seeds"]),
            f"{entry['lowest_margin']:+.2g}",
        ]
        for task, entry in runs.items()
    ])  # fmt: skip


def _paired(document: Mapping[str, Any]) -> str:
    head = ["gate", "", "solved by it alone", "by the other alone", "solved, difference", "loss at the end, difference"]
    return markdown(head, [
        [
            task, document["labels"][name], str(entry["solved_only_here"]), str(entry["solved_only_there"]),
            interval(entry["solved"]["mean"], entry["solved"]["interval"], 100, "+.0f", " points"),
            interval(entry["loss"]["mean"], entry["loss"]["interval"], 1, "+.2g"),
        ]
        for name, own in document["paired"].items()
        for task, entry in own.items()
    ])  # fmt: skip


_DEFINITIONS = """\
- *Solved*: after the last epoch the mean squared error, halved, is below 0.05 **and** every rounded output is right;
  the network is that of the last epoch, none is picked. Intervals are Wilson's.
- *From other starts*: seeds that solved, and whose rounded outputs are right as well when each pattern settles from 20
  other states drawn as training draws them (DEEP 2020: evenly from [0, 0.1]; the others start at rest, which is one
  state). *From everywhere*: the same from 20 states drawn evenly from [0, 1].
- *Epochs to solve*: the first epoch that counts as solved, median over seeds; seeds that never do count as infinite.
- *Loss at the end*: mean squared error, halved, of the network of the last epoch: median, and in brackets the 10th and
  90th percentile over seeds.
- *Diverged*: parameters stopped being finite, or no sample of an epoch settled.
- *Not settled at the end*: seeds of which at least one pattern of the truth table has a residual above the tolerance
  when its free phase ends. With fixed times a phase simply ends then.
- *Phases unsettled in training*: the share of all phases of all patterns, epochs and seeds.
- *Certified at every epoch*: seeds whose free phase is proved to contract after every epoch; with a control after every
  update too. *Lowest margin*: the least contraction rate (1/time) after any update of any seed; below zero nothing is
  proved.
- Differences are taken seed by seed; their intervals are a bootstrap's."""
