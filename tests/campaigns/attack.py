"""Do verdicts hold for what runs? The seams between mathematics and execution, drawn and judged.

A seam is one network at one input and start, in one precision, settled by one method to one tolerance (or one nudged
phase of a rule, or one batch with mates that are not numbers). The judge, `attack_judge.py`, shares no code with the
library: it finds the true equilibria in extended precision from the stored numbers. What counts as a violation:

- wrong proof: a proved network with two equilibria, or two states that approach each other more slowly than proved
- not settled: a proved network that the default method does not settle
- outside its bar: a state further from the true equilibrium than its error bar
- too early: reported converged although the residual of some unit exceeds that unit's own tolerance
- lost response: a sample that is used although its nudged phases say nothing of the true response
- mates: a sample that comes out differently when the others in its batch are not numbers
- left its set: a constraint that does not keep the margin it promises

    python tests/campaigns/attack.py --seams 1000000 --seed 0 --jobs 2

Two kinds of complaint are counted and are no violation: a tolerance below what the precision can resolve, and an
equilibrium that the judge itself could not find.
"""

import argparse
import collections
import json
import multiprocessing
import os
import pathlib
import sys
import time
from collections.abc import Callable, Iterator

# Programs compile twice as fast with these.
if __name__ == "__main__" or multiprocessing.parent_process() is not None:
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1")

import jax
import numpy as np
from attack_control import control
from attack_draw import FAMILIES, NETWORKS, PRECISIONS, Chunk
from attack_phases import phases
from attack_report import Report
from attack_settling import settling
from threadpoolctl import threadpool_limits

KINDS: dict[str, tuple[Callable[..., Report], float]] = {
    "settle": (settling, 0.85), "phases": (phases, 0.13), "control": (control, 0.02),
}  # fmt: skip


_CHUNKS = 16  # of one process: its compiled programs take up memory, and pieces of it


def attack(
    seed: int, chunk: int, only: tuple[str, ...] = (), networks: int = NETWORKS, precisions: tuple = PRECISIONS
) -> Report:
    """Draw and judge one chunk; the same one whoever runs it."""
    kinds = [k for k in KINDS if not only or k in only or (k == "settle" and set(only) & FAMILIES.keys())]
    rng = np.random.default_rng([seed, chunk])
    weights = np.array([KINDS[k][1] for k in kinds], float)
    kind = kinds[int(rng.choice(len(kinds), p=weights / weights.sum()))]
    with np.errstate(all="ignore"):
        families = tuple(f for f in FAMILIES if f in only) or tuple(FAMILIES)
        return KINDS[kind][0](Chunk(seed, chunk, families, networks, precisions), rng)


def prepare() -> None:
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)  # what one process compiles, the others read
    threadpool_limits(1)  # for matrices this small, threads only wait for each other


def _one(job: tuple[int, int, tuple[str, ...], int]) -> Report:
    return attack(*job)


def campaign(
    seams: int, seed: int, only: tuple[str, ...] = (), jobs: int = 0, save: pathlib.Path | None = None,
    networks: int = NETWORKS,
) -> Report:  # fmt: skip
    """Judge at least this many seams, in this process unless there are `jobs`; tell how far it is if there is a file to
    save violations in, as they come."""
    report, began = Report(), time.perf_counter()

    def work() -> Iterator[tuple[int, int, tuple[str, ...], int]]:
        chunk = 0
        while report.total < seams:
            yield seed, chunk, only, networks
            chunk += 1

    def parts() -> Iterator[Report]:
        if not jobs:
            yield from map(_one, work())
            return
        with multiprocessing.get_context("spawn").Pool(jobs, prepare, maxtasksperchild=_CHUNKS) as pool:
            waiting, source = collections.deque(), work()
            while True:
                while len(waiting) < 2 * jobs and (job := next(source, None)) is not None:
                    waiting.append(pool.apply_async(_one, (job,)))
                if not waiting:
                    return
                yield waiting.popleft().get()

    shown = 0.0
    for part in parts():
        report.add(part)
        passed = time.perf_counter() - began
        if save is not None and part.saved:
            save.write_text(json.dumps(report.saved, indent=1))
        if save is not None and passed - shown > 5:
            shown, left = passed, passed * (seams / max(report.total, 1) - 1)
            print(
                f"{report.total:,} of {seams:,} seams, {sum(report.violated.values()):,} violations, "
                f"{passed / 60:.1f} min, {max(left, 0) / 60:.1f} min left", file=sys.stderr, flush=True,
            )  # fmt: skip
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seams", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=0, help="processes; 0: this one only")
    parser.add_argument("--only", default="", help=f"of {', '.join([*KINDS, *FAMILIES])}, with commas between")
    parser.add_argument("--networks", type=int, default=NETWORKS, help="of one chunk: more share compiled programs")
    parser.add_argument("--chunk", type=int, help="judge one chunk again, with the same --only and --networks")
    parser.add_argument("--save", type=pathlib.Path, default=pathlib.Path("attack-violations.json"))
    options = parser.parse_args()
    only = tuple(name for name in options.only.split(",") if name)
    if unknown := set(only) - KINDS.keys() - FAMILIES.keys():
        parser.error(f"--only {', '.join(sorted(unknown))}: choose from {', '.join([*KINDS, *FAMILIES])}")
    prepare()
    began = time.perf_counter()
    if options.chunk is not None:
        report = attack(options.seed, options.chunk, only, options.networks)
    else:
        report = campaign(options.seams, options.seed, only, options.jobs, options.save, options.networks)
    print(report.table())
    seconds = time.perf_counter() - began
    print(f"{report.total:,} seams in {seconds:.0f} s, seed {options.seed}")
    count = sum(report.violated.values())
    if not count:
        return 0
    options.save.write_text(json.dumps(report.saved, indent=1))
    for each in report.saved[:20]:
        print(json.dumps(each), file=sys.stderr)
    print(
        f"{count:,} violations; {len(report.saved)} of them with all their numbers in {options.save}", file=sys.stderr
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
