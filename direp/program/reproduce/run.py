"""A reproduction, run: every run in a folder of its own, what is there not trained again; then the report."""

import dataclasses
import json
import shlex
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ...runs import Unreadable, plain, read_text, reading, say, write, write_json
from ..catalogue import WrongUse, nearest
from ..commands import Stop
from ..commands.train import parse_train
from ..folders import ended_as, new_folder
from ..parts import build
from ..record import How, configure, record_on
from ..run_folder import read_run_config
from ..settings import Settings, parse_seeds
from ..words import plural
from .reproduction import AbstractReproduction, Runs
from .trained import Trained, differences, measured

_ASKED, TABLE, REPORT = "reproduce.json", "table.json", "report.md"
_ELSEWHERE = ("device", "data_dir")  # settings that may differ between runs that are compared


@dataclasses.dataclass(frozen=True)
class Asked:
    """What is to be reproduced, and of which seeds; `only` some variants or tasks. Where not set: as the reproduction
    and its presets have it. `baseline`: a folder whose runs of the baseline are taken."""

    name: str
    seeds: str | None = None
    epochs: int | None = None
    only: tuple[str, ...] = ()
    baseline: Path | None = None
    data_dir: str | None = None


class Planned(NamedTuple):
    """A run that is needed: of which variant and task, where it lies, and its settings."""

    variant: str
    task: str
    path: Path
    settings: Settings
    command: str


def named(name: str) -> AbstractReproduction:
    return build("reproduction", name, lambda _: None, "reproduce")


def planned(asked: Asked, folder: Path) -> list[Planned]:
    """All runs that are needed. Raises `WrongUse` for what cannot be asked for."""
    what = named(asked.name)
    variants = what.variants()
    if asked.baseline is not None and what.baseline is None:
        raise WrongUse(f"--baseline {asked.baseline}: {asked.name} has no baseline beside it: leave it out")
    if asked.data_dir is not None and not what.data:
        raise WrongUse(f"--data-dir {asked.data_dir}: {asked.name} reads no files of data: leave it out")
    choices = dict.fromkeys([*variants, *(task for variant in variants.values() for task in variant.tasks)])
    for word in asked.only:
        if word not in choices:
            raise WrongUse(nearest("--only", word, choices))
    only_variants, only_tasks = (set(asked.only) & set(group) for group in (variants, set(choices) - set(variants)))
    needed = []
    for name, variant in variants.items():
        if only_variants and name not in only_variants:
            continue
        home = asked.baseline if asked.baseline is not None and name == what.baseline else folder
        for task in variant.tasks:
            if only_tasks and task not in only_tasks:
                continue
            words = variant.arguments(task, asked.seeds or what.seeds, asked.epochs, asked.data_dir)
            settings = parse_train([*words, "--quiet"])[0]
            needed.append(Planned(name, task, home / name / task, settings, shlex.join(["direp", "train", *words])))
    if not needed:
        raise WrongUse(f"--only {' '.join(asked.only)} leaves nothing: no such variant has such a task")
    return needed


def admit(asked: Asked, folder: Path) -> None:
    """Raise `WrongUse` for a folder that holds anything else than what is to go on, or a finished report."""
    if folder.exists() and not folder.is_dir():
        raise WrongUse(f"--out {folder} is a file: name a new folder")
    if not folder.exists() or not any(folder.iterdir()):
        return
    kept = folder / _ASKED
    if not kept.is_file():
        raise WrongUse(f"--out {folder} already holds something: name a new folder, nothing is overwritten")
    if (folder / REPORT).exists():
        raise WrongUse(f"--out {folder} holds a report already: name a new folder, nothing is overwritten")
    with reading(f"{kept} cannot be read: name a new folder with --out"):
        before, now = dict(json.loads(read_text(kept))), _told(asked)
    names = [name for name in now if before.get(name) != now[name]]
    if names:
        told = ", ".join(f"{name} {before.get(name)}, here {now[name]}" for name in names)
        raise WrongUse(f"--out {folder} was begun with other options ({told}): give the same ones, or a new folder")


def _told(asked: Asked) -> dict[str, Any]:
    home = None if asked.baseline is None else str(asked.baseline.resolve())
    content = {**dataclasses.asdict(asked), "only": list(asked.only), "baseline": home}
    return {name: value for name, value in content.items() if name not in _ELSEWHERE}


def check(runs: list[Planned], asked: Asked) -> None:
    """Refuse before the first training what a later one would be refused for, and runs that are of other settings."""
    for run in runs:
        foreign = asked.baseline is not None and asked.baseline in run.path.parents
        if foreign and ended_as(run.path) is None:
            raise Unreadable(
                f"--baseline {asked.baseline} has no finished run in {run.path}: give the folder of a direp reproduce "
                "that was trained on these seeds and tasks"
            )
        if not (run.path / "config.json").exists():
            continue
        before, now = read_run_config(run.path).settings, run.settings
        there, here = _compared(before), _compared(now)
        if names := [name for name in here if there[name] != here[name]]:
            told = ", ".join(f"{name} {getattr(before, name)}, here {getattr(now, name)}" for name in names)
            raise WrongUse(f"{run.path} was trained by other settings ({told}): give the same, or another folder")


def _compared(settings: Settings) -> dict[str, Any]:
    """What must be the same for runs to be compared."""
    kept = {name: value for name, value in settings.to_dict().items() if name not in _ELSEWHERE}
    return {**kept, "seeds": parse_seeds(settings.seeds)}


def train(runs: list[Planned], folder: Path, quiet: bool, formats: tuple[str, ...]) -> None:
    """Train what is missing. Raises `KeyboardInterrupt` as soon as somebody asks to end."""
    left = [run for run in runs if ended_as(run.path) is None]
    begun = time.monotonic()
    for k, run in enumerate(left):
        label = f"{run.variant} {run.task} ({k + 1 + len(runs) - len(left)} of {len(runs)})"
        outcome = record_on(run.settings, run.path, How(show=not quiet, label=label, formats=formats))
        if outcome.rescued:
            raise OSError(f"{run.path} cannot be written: the run is in {outcome.folder}")
        if outcome.summary is None or Stop.asked():
            raise KeyboardInterrupt
        after = len(left) - k - 1
        if after and not quiet:
            ahead = (time.monotonic() - begun) / (k + 1) * after
            say(f"{plural(after, 'run')} to go, about {max(1, round(ahead / 60))} min")


def reproduce(asked: Asked, folder: Path, *, quiet: bool = True, formats: tuple[str, ...] = ("png",)) -> dict[str, Any]:
    """Train what is missing in a folder, and write `table.json`, the figures and `report.md`; the content of the first.

    Raises `WrongUse` for what cannot be, `KeyboardInterrupt` where somebody asked to end: what was trained stays, and
    the same call goes on.
    """
    needed = planned(asked, folder)
    admit(asked, folder)
    check(needed, asked)
    write_json(new_folder(folder) / _ASKED, _told(asked))
    configure(needed[0].settings)
    train(needed, folder, quiet, formats)
    what = named(asked.name)
    runs: dict[str, dict[str, Trained]] = {}
    for run in needed:
        runs.setdefault(run.variant, {})[run.task] = Trained.read(run.path)
    document = document_of(asked, what, needed, runs)
    pictures = _draw(what, runs, document, folder, formats)
    write_json(folder / TABLE, document)
    write(folder / REPORT, report_of(what, document, pictures))
    return document


def document_of(asked: Asked, what: AbstractReproduction, needed: list[Planned], runs: Runs) -> dict[str, Any]:
    """What `table.json` holds."""
    seeds, variants = asked.seeds or what.seeds, what.variants()
    base, *others = runs
    paired = {
        name: {task: differences(run, runs[base][task]) for task, run in runs[name].items() if task in runs[base]}
        for name in others
        if all(run.summary["solved"] is not None for run in runs[name].values())
    }
    return plain({
        "reproduction": asked.name, "title": what.title, "seed_range": seeds, "seeds": len(parse_seeds(seeds)),
        "epochs": asked.epochs, "labels": {name: variants[name].label for name in runs},
        "runs": {name: {task: measured(run) for task, run in own.items()} for name, own in runs.items()},
        "against": base, "paired": paired,
        "seconds": sum(run.summary["seconds"] for own in runs.values() for run in own.values()),
        "commands": [run.command for run in needed],
    })  # fmt: skip


def _draw(
    what: AbstractReproduction, runs: Runs, document: Mapping[str, Any], folder: Path, formats: tuple[str, ...]
) -> dict[str, str]:
    """Figures into the folder; the name of each and its caption."""
    from ...plot.style import save

    kept = {}
    for name, figure, caption in what.figures(runs, document):
        save(figure, folder / f"{name}.png", formats)
        kept[f"{name}.{formats[0]}"] = caption
        Stop.check()
    return kept


def report_of(what: AbstractReproduction, document: Mapping[str, Any], pictures: Mapping[str, str]) -> str:
    """The text with its tables and figures, in Markdown."""
    short = "" if document["epochs"] is None else f" Trained for {plural(document['epochs'], 'epoch')} only (--epochs)."
    figures = "\n\n".join(f"![{caption.split(':')[0]}]({name})\n\n*{caption}*" for name, caption in pictures.items())
    commands = "\n".join(document["commands"])
    parts = {
        f"# {what.title}": "",
        "## What was published": what.published,
        "## What was measured here": f"{plural(document['seeds'], 'seed')} ({document['seed_range']}), intervals of "
        f"95 %; {document['seconds']:.0f} s of training in all, compilation included.{short}",
        "": what.tables(document),
        "### What the columns mean": what.definitions(),
        "### Figures": figures,
        "## What is derived here, and not taken from the paper": what.derived,
        "## Each run by itself": f"```sh\n{commands}\n```",
    }
    return "\n\n".join(filter(None, (text.strip() for part in parts.items() for text in part))) + "\n"


def go_on_with(asked: Asked, folder: Path, words: list[str]) -> str:
    """The command that goes on with an interrupted reproduction, which was given these options."""
    known = any(word.partition("=")[0] == "--out" for word in words)
    return shlex.join(["direp", "reproduce", asked.name, *words, *(() if known else ("--out", str(folder)))])
