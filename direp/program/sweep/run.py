"""A sweep, run: what is missing is trained, wherever its workers are; folders say what has come of it."""

import contextlib
import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...runs import Unreadable, write_json
from ..catalogue import WrongUse
from ..commands import Stop, progress
from ..folders import new_folder
from ..parts import permit
from ..settings import TAKEN_BY, Settings, is_file, parse_seeds, refuse_untaken
from ..words import plural
from . import trials as folders
from .results import document_of, failures, table_of, write_results
from .sampling import rounds, sized_base
from .spec import Spec, read_spec, spec_of
from .trials import Trial
from .work import train_block
from .workers import Crew, Workers, given, here

TRIES = 3  # so often a trial may lose its worker
_MOST = 16  # trials of a block
_POLL = 0.2  # seconds


@dataclass(frozen=True)
class Sweep:
    """A sweep's folder, and its results (`results.json`) as far as it has come."""

    folder: Path
    document: dict[str, Any]

    @property
    def chosen(self) -> dict[str, Any] | None:
        """The settings that do best on validation samples: `settings`, `validation`, `test`, and their `runs`."""
        return self.document["chosen"]

    def table(self) -> str:
        """Candidates from the best one on, in Markdown."""
        return table_of(self.document)

    def __repr__(self) -> str:
        counts = {state: number for state, number in self.document["counts"].items() if number and state != "trials"}
        shown = ", ".join(f"{number} {state}" for state, number in counts.items())
        return f"Sweep({self.folder}, {plural(self.document['counts']['trials'], 'trial')}: {shown})"


def sweep(
    spec: str | Path | Mapping[str, Any] | Spec,
    folder: str | Path | None = None,
    *,
    executor: Executor | None = None,
    allow_import: bool = False,
    progress: bool = False,
    retry: bool = False,
) -> Sweep:
    """Train what is missing of a sweep, and rank all trials by their validation figures.

    **Arguments:**

    - `spec`: a TOML file, or its tables as a mapping: `{"task": "xor", "grid": {"beta": [1.0, 6.0]}}`.
    - `folder`: where trials lie, by default `runs/sweep-` and the file's name. What is there already is not trained
      again, whoever began it.
    - `executor`: of `concurrent.futures`, of Dask or of executorlib; by default trials are trained in this process.
      Whoever trains must see `folder` under the same path.
    - `allow_import`: import the modules of a user's own parts that a file names.
    - `retry`: train those trials again that had failed without a run, for want of a worker or of memory.

    Raises `ValueError` for a spec that cannot be; a single trial that cannot be is listed as refused.
    """
    read, home = opened(spec, folder, allow_import)
    return run_sweep(read, home, here if executor is None else given(executor), quiet=not progress, retry=retry)


def opened(spec: Any, folder: str | Path | None, allow_import: bool) -> tuple[Spec, Path]:
    """The spec, and the sweep's folder: that of the same name as the last time."""
    path = Path(spec) if isinstance(spec, str | Path) else None
    read = spec if isinstance(spec, Spec) else spec_of(spec) if path is None else read_spec(path)
    if path is not None:
        values = {name: [value] for name, value in read.settings.items()} | read.grid
        values |= {k: v for drawn in (read.random, read.search) if drawn for k, v in drawn.ranges.items()}
        for name, several in {"task": [read.task], **values}.items():
            for value in several if isinstance(several, list | tuple) else ():
                if isinstance(value, str):
                    own = dataclasses.replace(Settings(), **{name: value}).own()
                    for entry in own.values():
                        permit({name: (entry, None)}, path, allow_import)
    if folder is None:
        if path is None:
            raise WrongUse("a sweep without a file needs a folder: sweep(spec, folder)")
        folder = path if path.is_dir() else Path("runs") / f"sweep-{path.stem}"
    folder = Path(folder).absolute()
    if folder.exists() and not (folder / "spec.json").is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise WrongUse(f"{folder} already holds something that is no sweep: name another folder")
    return read, folder


def run_sweep(
    spec: Spec, folder: Path, workers: Workers, *, quiet: bool = True, retry: bool = False,
    formats: Sequence[str] = ("png",),
) -> Sweep:  # fmt: skip
    """Train all rounds of a sweep. Interrupted, or left by its workers, it writes what there is before it ends."""
    found: list[Trial] = []
    try:
        with contextlib.ExitStack() as stack:
            step: Any = None
            for trials in rounds(spec, folder):
                _admit(trials, folder, first=not found, retry=retry, spec=spec)
                total = spec.search.trials if spec.search else len(trials)
                label = f"{Path(spec.task).stem}, {plural(total, 'trial')}"
                step = step or stack.enter_context(progress(label, total, quiet))
                found += trials
                _train(trials, folder, workers, step)
    finally:
        if found and folder.is_dir():
            document = document_of(found, spec.swept, spec.objective, folder)
            with folders.alone(folder):
                write_results(document, folder, formats)
    return Sweep(folder, document)


def status(spec: Spec, folder: Path) -> Sweep:
    """The sweep as its folder says it stands; nothing is trained or written."""
    found: list[Trial] = []
    for trials in rounds(spec, folder):
        found += trials
        if not all(trial.ended for trial in trials):
            break
    return Sweep(folder, document_of(found, spec.swept, spec.objective, folder))


def told(sweep: Sweep, spec: Spec) -> str:
    """Where a sweep stands, in a few lines."""
    counts = dict(sweep.document["counts"])
    total = counts.pop("trials")
    asked = spec.search.trials if spec.search else total
    later = f", {asked - total} to be drawn" if asked > total else ""
    shown = ", ".join(f"{number} {state}" for state, number in counts.items())
    return "\n".join([f"{plural(asked, 'trial')}: {shown}{later}", *failures(sweep.document)[1:]])


def _admit(trials: list[Trial], folder: Path, *, first: bool, retry: bool, spec: Spec) -> None:
    """Refuse before the first training what a later one would be refused for; make the folder."""
    if retry:
        folders.forget(trials)
    refused = _refusals([trial for trial in trials if not trial.ended], sized_base(spec))
    if first and len(refused) == len(trials):
        _, reason = next(iter(refused.values()))
        raise WrongUse(f"none of its trials ({len(trials)}) can be trained: {reason}")
    if first and not any(trial.ended for trial in trials):
        asked = TAKEN_BY.keys() & {*spec.swept, *spec.settings}  # of a part that is swept too, some trial may take it
        refuse_untaken([name for name in asked if TAKEN_BY[name][0] not in spec.swept], trials[0].settings)
    new_folder(folder / "trials")
    with folders.alone(folder):
        write_json(folder / "spec.json", spec.to_dict())
    for trial, reason in refused.values():
        folders.mark(trial.folder, "refused", reason)


# What a task depends on; and a file's, into what its neurons reach.
_DATA = ("task", "target", "drop", "kind", "data_dir", "scale", "split", "cost")
_REACH = ("neuron", "activation", "outflow", "leak")


def _refusals(trials: list[Trial], base: Settings) -> dict[str, tuple[Trial, str]]:
    """Trials whose settings cannot be, by name, each with the reason."""
    refused: dict[str, tuple[Trial, str]] = {}
    tasks: dict[tuple, Any] = {}
    for trial in trials:
        try:
            trial.settings.check()
            _build(trial.settings, tasks)
        except ValueError as error:
            refused[trial.name] = trial, " ".join(str(error).split())
        Stop.check()
    return refused


def _build(settings: Settings, tasks: dict[tuple, Any]) -> None:
    from ..build import Parts, load_task

    data = tuple(getattr(settings, name) for name in (*_DATA, *(_REACH if is_file(settings.task) else ())))
    if data not in tasks:
        tasks.clear()  # one at a time: images are large
        tasks[data] = load_task(settings)
    parts = Parts(settings, tasks[data])
    _ = parts.rule, parts.graph


def blocks_of(trials: Sequence[Trial], count: int) -> Iterator[list[Trial]]:
    """Trials that may share a program, some at a time: so few that `count` workers end together, and as many as fill
    the lanes of their program."""
    share = -(-len(trials) // (4 * count))
    alike: dict[str, list[Trial]] = {}
    for trial in trials:
        alike.setdefault(repr(_kind(trial.settings)), []).append(trial)
    for group in alike.values():
        settings = group[0].settings
        filled = 1 if settings.lanes is None else max(1, settings.lanes // len(parse_seeds(settings.seeds)))
        most = max(1, min(_MOST, share) // filled) * filled
        for k in range(0, len(group), most):
            yield group[k : k + most]


def _kind(settings: Settings) -> dict[str, Any]:
    """What trials of one program have in common, at least: all but numbers that it takes, and seeds but for how many
    there are."""
    kept = {name: value for name, value in settings.to_dict().items() if not isinstance(value, float)}
    return {**kept, "seeds": len(parse_seeds(settings.seeds))}


def _train(trials: list[Trial], folder: Path, workers: Workers, step: Any) -> None:
    """Until every trial has ended. One that loses its worker comes again: after all others and alone, so that what
    ends a worker is found out; and not for ever."""
    tries: Counter[str] = Counter()
    step(share=sum(trial.ended for trial in trials))
    while left := [trial for trial in trials if not trial.ended]:
        fresh, ended = [trial for trial in left if not tries[trial.name]], 0
        with workers() as crew:
            crew = crew if fresh else crew._replace(ahead=1)
            blocks = blocks_of(fresh, crew.count) if fresh else ([trial] for trial in left)
            for block, error in _outcomes(crew, folder, blocks):
                _judge(block, error, tries)
                ended += 1
                step(share=sum(trial.ended for trial in block))
        if not ended:
            raise ConnectionError("the executor is broken: the same call goes on, with another one")


def _judge(block: list[Trial], error: BaseException | None, tries: Counter[str]) -> None:
    """What the end of a block means for those of its trials that have not ended."""
    left = [trial for trial in block if not trial.ended]
    if isinstance(error, CancelledError):
        raise ConnectionError("the scheduler is lost: the same command goes on, with it or another one")
    if isinstance(error, ImportError):
        raise Unreadable(f"a worker cannot import {error.name}: install the same direp there")
    died = isinstance(error, BrokenExecutor) or type(error).__name__ in _DIED
    if error is not None and not died:
        raise error
    for trial in left:
        tries[trial.name] += 1
        if tries[trial.name] >= TRIES:
            folders.mark(trial.folder, "failed", _WHY[died].format(TRIES))


_DIED = ("KilledWorker", "ExecutorlibSocketError")  # of Dask and of executorlib, which need not be there
_WHY = {
    True: "its worker ended {} times while it trained it, perhaps for want of memory",
    False: "its worker trained another one, {} times: are the files and modules that it names the same there?",
}


def _outcomes(
    crew: Crew, folder: Path, blocks: Iterator[list[Trial]]
) -> Iterator[tuple[list[Trial], BaseException | None]]:
    """Every block that was begun, as it ends, with what ended it. Of a crew that broke no more is asked."""
    pending: dict[Future, list[Trial]] = {}
    try:
        while True:
            for block in itertools.islice(blocks, crew.ahead - len(pending)):
                settings = [trial.settings.to_dict() for trial in block]
                try:
                    pending[crew.executor.submit(train_block, str(folder), settings)] = block
                except BrokenExecutor:
                    blocks = iter(())
                    break
            if not pending:
                return
            wait(pending, timeout=_POLL, return_when=FIRST_COMPLETED)
            Stop.check()
            for future in [
                future for future in pending if future.done()
            ]:  # cancelled ones too, which `wait` leaves out
                yield pending.pop(future), _error(future)
    finally:
        for future in pending:
            future.cancel()


def _error(future: Future) -> BaseException | None:
    try:
        return future.exception()
    except CancelledError as error:
        return error
