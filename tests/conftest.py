"""A strict session: 64 bits, no silent promotion, types and shapes checked at every call. Warnings are errors."""

import gc
import os
import zlib
from importlib.metadata import version
from pathlib import Path

from beartype.claw import beartype_package
from jaxtyping import install_import_hook

# Measured: programs compile twice as fast with the first two, and the suite is 5 % faster with the third. XLA ends a
# process over a flag that it does not know.
if "XLA_FLAGS" not in os.environ and version("jaxlib").startswith("0.10."):
    os.environ["XLA_FLAGS"] = (
        "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1 "
        "--xla_llvm_disable_expensive_passes=true"
    )
# Measured: a large program compiles with 9 % less where none tells from which lines its operations come.
os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")

# Numbers and bounds are called a million times, and name no shapes: their types are checked, without what shapes need.
with install_import_hook(
    [f"direp.{r.stem}" for r in Path(__file__).parents[1].glob("direp/*") if r.stem != "arithmetic"],
    "beartype.beartype",
):
    gc.disable()  # until all is imported and collected: a second of every worker
    beartype_package("direp.arithmetic")
    import direp.runs
    import direp.training


import jax
import jaxtyping
import pytest
from hypothesis import settings

direp.runs.Requests.grace = 600.0  # a process of tests is never ended for a step that is slow
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_disable_most_optimizations", True)  # tests compile much and run little
jax.config.update("jax_numpy_dtype_promotion", "strict")
settings.register_profile("direp", deadline=None, max_examples=12, print_blob=True)
settings.load_profile("direp")

pytest_plugins = ("file_cases", "stand_in", "resume_cases", "page_cases")  # fixtures


# Files that take longest: workers that share out files begin with them, and end together.
LONGEST = (
    "rule_laws", "sweep_trials", "resume", "going_on", "companion_bound", "rule_family", "feedback", "true_as_run",
    "cli_gradient", "extending", "settling", "estimators", "methods", "learning_campaign", "train", "docs",
    "shared_strengths", "predict", "part_laws",
)  # fmt: skip


def pytest_configure(config):
    config.option.loadscopereorder = False  # xdist would begin with the files of most tests


# A law is stated over products of neurons, outflows, graphs, layouts, methods, rules and controls: the suite takes a
# third of the cases of a test, at least one, chosen by their names; `make whole` (pytest --whole) takes all. In these
# files every case says something of its own, and all of them are taken.
EACH = ("catalogue", "cli_wrong_use", "declarations", "docs", "fuzz", "report", "resume", "rooms", "tables")


def pytest_addoption(parser):
    parser.addoption("--whole", action="store_true", help="all cases of every test, of which the suite takes a third")


def _left(items):
    """Tests and cases that the suite leaves to `make whole`."""
    cases = {}
    for item in items:
        if item.get_closest_marker("whole"):
            yield item
        elif hasattr(item, "callspec") and item.path.stem.removeprefix("test_") not in EACH:
            cases.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for several in cases.values():
        several.sort(key=lambda item: zlib.crc32(item.nodeid.encode()))
        yield from several[-(-len(several) // 3) :]


def pytest_collection_modifyitems(config, items):
    named = any("::" in argument for argument in config.args)  # a test that is asked for by name is run
    if not (config.getoption("--whole") or named):
        left = set(_left(items))
        config.hook.pytest_deselected(items=list(left))
        items[:] = [item for item in items if item not in left]
    place = {f"test_{name}.py": k for k, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(place)))


def pytest_collection_finish():
    """Millions of objects of modules and tests are there to stay: the collector need not visit them again and again."""
    gc.enable()
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


@pytest.fixture(autouse=True)
def _sixty_four_bits():
    """The program, called within a test, sets the precision that it was asked for."""
    jax.config.update("jax_enable_x64", True)
    return


@pytest.fixture
def _optax():
    """Optax itself multiplies floats with integer counts, which strict promotion refuses."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def _memory():
    """Bytes that this process holds; infinite where that is not known."""
    pages = Path("/proc/self/statm")
    return int(pages.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if pages.exists() else float("inf")


@pytest.fixture(scope="session")
def _allowed():
    """The memory beyond which compiled programs are dropped."""
    return [3 * 2**30]


@pytest.fixture(autouse=True, scope="module")
def _free_compiled_code(_allowed):
    """Compiled programs are shared between files, until they take up much memory.

    What they leave free stays with the process, for the next ones: they are dropped again when it takes more.
    """
    yield
    if _memory() > _allowed[0]:
        jax.clear_caches()
        _allowed[0] = _memory() + 2**29


@pytest.fixture
def _unchecked():
    """Shapes are checked in the other tests; in a campaign that would take longer than all the rest."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
