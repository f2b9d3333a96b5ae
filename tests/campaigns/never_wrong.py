"""Are the convergence certificates ever wrong? Random and adversarial networks against an oracle in plain NumPy.

The certificates come from the library. What they claim is then tried out by a second implementation of the three
neurons, written from their equations: every pair of states that is tried must approach in the certified norm at the
certified rate, residuals must shrink step by step, and all starts must end in one place within the certified number of
steps. Near the edge, where an inequality is decided by the last digit, exact fractions judge the verdicts.

    python tests/campaigns/never_wrong.py --networks 1000000 --seed 0 --workers 2
"""

import argparse
import dataclasses
import json
import math
import multiprocessing
import pathlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence

import jax
import numpy as np
from never_wrong_draw import CHUNK, COMBINATIONS, Batch, draw, settle_currents
from never_wrong_judge import ACTIVATIONS, outgoing
from never_wrong_report import Report
from never_wrong_trial import Trial
from never_wrong_verdicts import REFUTED_AT_ONCE, Judge, judge_refutations, judge_verdicts
from threadpoolctl import threadpool_limits


def judge_chunk(seed: int, chunk: int) -> Report:
    """Draw, certify and try out the networks of one chunk; the same ones whoever runs it."""
    rng = np.random.default_rng([seed, chunk])
    if chunk % 16 == 15:
        return _climb(rng, seed, chunk)
    judge = Judge(draw(rng, COMBINATIONS[chunk % len(COMBINATIONS)], _size(rng)), seed, chunk)
    _try(judge, rng, range(CHUNK))
    return judge.report


def _size(rng: np.random.Generator) -> int:
    """1 to 60 units, mostly few."""
    return int(60.999 ** (rng.random() ** 1.5))


def _try(judge: Judge, rng: np.random.Generator, networks: Sequence[int]) -> np.ndarray:
    """The largest (observed less certified factor) of every network, -inf where nothing is proved."""
    gap = np.full(len(judge.batch.leak), -np.inf)
    cases = [case for b in networks for case in judge_verdicts(judge, b)]
    if not cases:
        return gap
    trial = Trial(judge, cases, rng)
    starts = trial.starts()
    best = trial.approach(starts) - trial.factor[:, 0]
    np.maximum.at(gap, trial.rows, best)
    trial.residuals(starts)
    trial.logarithmic(starts)
    trial.settle(starts)
    return gap


def _climb(rng: np.random.Generator, seed: int, chunk: int) -> Report:
    """Eight networks that are changed at random, eight times; a change stays if it brings a pair closer to the edge."""
    generations, chains = 8, CHUNK // 8
    parents = draw(rng, COMBINATIONS[chunk // 16 % len(COMBINATIONS)], _size(rng), chains)
    fields = ("weight", "leak", "entry", "bias", "x", "anchor", "target")

    def copy(batch: Batch) -> Batch:
        return dataclasses.replace(batch, **{name: getattr(batch, name).copy() for name in fields})

    batch, report, best = copy(parents), Report(), np.full(chains, -np.inf)
    for generation in range(generations):
        child = copy(batch)
        if generation:
            amount = 10 ** rng.uniform(-3, -0.3, (chains, 1, 1))
            child.weight = batch.weight * np.exp(amount * rng.normal(size=batch.weight.shape))
            # Leaks move as what the weights need does, and then some.
            gain = ACTIVATIONS[batch.activation][2]
            need = [gain * np.abs(w).sum(2) - outgoing(w, batch.outflow) for w in (batch.weight, child.weight)]
            shift = 1 + amount[..., 0] * rng.normal(size=batch.leak.shape)
            child.leak = np.maximum(batch.leak * shift + need[1] - need[0], 0)
            settle_currents(rng, child)
        judge = Judge(child, seed, chunk)
        gap = _try(judge, rng, range(chains))
        report.add(judge.report)
        for k in np.flatnonzero(gap >= best):
            best[k] = gap[k]
            for name in fields:
                getattr(batch, name)[k] = getattr(child, name)[k]
    return report


def campaign(networks: int, seed: int, *, refutations: int = 0, workers: int = 0, progress: bool = False) -> Report:
    """Judge this many networks, and search this many for refutations, both rounded up to whole chunks.

    In this process, unless there are `workers`.
    """
    jobs = [(judge_chunk, seed, chunk) for chunk in range(math.ceil(networks / CHUNK))]
    jobs += [(judge_refutations, seed, chunk) for chunk in range(math.ceil(refutations / REFUTED_AT_ONCE))]
    report = Report()
    with threadpool_limits(1):
        for part in _tracked(_parts(jobs, workers), len(jobs), progress):
            report.add(part)
    return report


Job = tuple[Callable[[int, int], Report], int, int]


def _parts(jobs: list[Job], workers: int) -> Iterator[Report]:
    if not workers:
        yield from map(_judge, jobs)
        return
    with multiprocessing.get_context("spawn").Pool(workers, _prepare) as pool:
        yield from pool.imap_unordered(_judge, jobs, chunksize=4)


def _judge(job: Job) -> Report:
    judge, seed, chunk = job
    return judge(seed, chunk)


def _prepare() -> None:
    jax.config.update("jax_enable_x64", True)
    threadpool_limits(1)  # for matrices this small, threads only wait for each other


def _tracked(parts: Iterator[Report], chunks: int, progress: bool) -> Iterator[Report]:
    if not progress:
        yield from parts
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(f"chunks of {CHUNK} networks", total=chunks)
        violations = 0
        for part in parts:
            violations += len(part.violations)
            bar.update(task, advance=1, description=f"{violations} violations in chunks of {CHUNK} networks")
            yield part


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=10_000)
    parser.add_argument("--refutations", type=int, default=2_000, help="small networks to look for counter-examples of")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=0, help="processes; 0: this one only")
    parser.add_argument("--chunk", type=int, help="judge one chunk again, such as one in a saved file")
    parser.add_argument("--refutation-chunk", type=int, help="the same for a chunk of refutations")
    parser.add_argument("--save", type=pathlib.Path, default=pathlib.Path("violations.json"))
    options = parser.parse_args()
    _prepare()
    began = time.perf_counter()
    if options.chunk is not None:
        report = judge_chunk(options.seed, options.chunk)
    elif options.refutation_chunk is not None:
        report = judge_refutations(options.seed, options.refutation_chunk)
    else:
        report = campaign(
            options.networks, options.seed, refutations=options.refutations, workers=options.workers, progress=True
        )
    print(report.table())
    seconds, count = time.perf_counter() - began, report.total("networks")
    print(
        f"\n{count:,} networks in {seconds:.0f} s ({1000 * seconds / count:.2f} ms each), seed {options.seed}; "
        f"{report.total('decided by fractions'):,} verdicts were close enough to need exact fractions."
    )
    if not report.violations:
        return 0
    options.save.write_text(json.dumps(report.violations, indent=1))
    for each in report.violations[:10]:
        print(f"violation in chunk {each['chunk']}, network {each['network']}: {each['what']}", file=sys.stderr)
    print(f"{len(report.violations)} violations, saved as {options.save}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
