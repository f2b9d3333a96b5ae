# Two commands: `make demo` trains the main example, `make test` runs every check; `make bench` times the machine, and
# `make docs` builds the documentation, build/docs/index.html.
# All install what they need, once.

PYTHON ?= python3
BIN := .venv/bin
# Equal programs are compiled once for all tests, workers and processes.
# Checks of shapes are compiled into bytecode, once for all workers.
# The compiler keeps its memory for its next program, where glibc would give it back: 6 to 9 % of a compilation.
# A process a core, and no more threads than that for linear algebra; a file stays in one process, and shares its runs.
CACHE := PYTHONDONTWRITEBYTECODE= MALLOC_TRIM_THRESHOLD_=1000000000 MALLOC_TOP_PAD_=67108864 OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 JAX_COMPILATION_CACHE_DIR='$(CURDIR)/.pytest_cache/jax' JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0
# One run's folder; a second demo goes to a new one.
DEMO := runs/demo-$(shell date +%Y%m%d-%H%M%S)

.PHONY: demo test tested whole check bench docs links clean

demo: .venv/installed
	$(BIN)/direp train digits --seeds 0..4 --out $(DEMO)

bench: .venv/installed
	$(BIN)/direp bench

# Every tutorial runs. A warning, a link within that leads nowhere or a misspelt word fails it.
docs: .venv/docs
	$(CACHE) JAX_PLATFORMS=cpu $(BIN)/sphinx-build -W --keep-going -q docs build/docs
	$(BIN)/codespell README.md docs direp
	@echo 'build/docs/index.html'

# Links to elsewhere: needs a network.
links: .venv/docs
	$(BIN)/sphinx-build -q -b linkcheck -D sphinx_gallery_conf.plot_gallery=0 docs build/links

# The types are checked beside the tests: either leaves a core idle at times.
test: .venv/dev
	$(MAKE) --no-print-directory -j 2 check tested

tested: .venv/dev
	$(CACHE) $(BIN)/python -m pytest -n 2 --dist loadfile -q

# All cases of the tests of which the suite takes a third.
whole: .venv/dev
	$(CACHE) $(BIN)/python -m pytest -n 2 --dist loadfile -q --whole

check: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

.venv/made:
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "direp needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv
	touch $@

.venv/installed: .venv/made pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	touch $@

.venv/dev: .venv/made pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch .venv/installed $@

.venv/docs: .venv/made pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[docs]'
	touch .venv/installed $@

clean:
	rm -rf .venv runs build docs/gallery
