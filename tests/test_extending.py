"""The pages on parts of one's own: each file is short, runs by itself, and its part works on the command line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from program import call

PAGES = Path(__file__).parent.parent / "docs" / "extending"
PARTS = {
    "rule": ("xor", "--rule", "rule:Trace"),
    "neuron": ("xor", "--neuron", "neuron:Rectified", "--outflow", "none"),
    "activation": ("xor", "--neuron", "rate", "--activation", "activation:softsign", "--outflow", "none"),
    "cost": ("xor", "--cost", "cost:Huber"),
    "nudge": ("xor", "--nudge", "nudge:TwoStep", "--beta", "1"),
    "feedback": ("xor", "--rule", "asym-ep", "--feedback", "feedback:Signs"),
    "task": ("task:moons", "--neuron", "rate", "--hidden", "4", "--graph", "layered"),
    "layout": ("task:rings", "--graph", "layout:Convolution", "--hidden", "2", "--neuron", "rate", "--outflow", "none"),
    "criterion": ("xor", "--preset", "small"),
}


@pytest.fixture(autouse=True)
def _in_the_folder(monkeypatch):
    monkeypatch.chdir(PAGES)
    yield
    for name in PARTS:
        sys.modules.pop(name, None)


def test_every_page_is_short_and_listed():
    listed = (PAGES / "README.md").read_text()
    assert {path.stem for path in PAGES.glob("*.py")} == set(PARTS)
    for path in PAGES.glob("*.py"):
        assert len(path.read_text().splitlines()) <= 60, path.name
        assert f"({path.name})" in listed


@pytest.mark.parametrize("name", PARTS)
def test_a_part_works_on_the_command_line(name, tmp_path):
    code, _, err = call("train", *PARTS[name], "--epochs", "3", "--out", tmp_path / "run", "--quiet")
    assert code == 0, err
    own = "criterion" if name == "criterion" else None
    more = ("--criterion", "criterion:Degree") if own else ()
    code, out, err = call("certify", tmp_path / "run", "--allow-import", "--json", "--quiet", *more)
    assert code in (0, 5), err  # proved, or undecided with its reason
    document = json.loads(out)
    convergence = document["convergence"]
    if own is None:
        assert convergence["verdict"] == "proved"
    else:
        assert [attempt["criterion"] for attempt in convergence["attempts"]] == ["degree"]
    learning = document["learning"]
    assert learning["verdict"] in ("proved", "refuted", "undecided")
    assert learning["verdict"] == "proved" or learning["reason"]
    if own is None:
        code, _, err = call("certify", tmp_path / "run", "--quiet")
        assert code == 3
        assert "--allow-import" in err
    if name in ("neuron", "layout"):
        small = ("--samples", "2", "--rules", "dyadic", "--at", "start")
        code, out, err = call("gradient", tmp_path / "run", "--allow-import", "--json", "--quiet", *small)
        assert code == 0, err
        assert json.loads(out)["rules"]["dyadic"]["cosine"] > 1 - 1e-6


def test_every_page_runs_by_itself():
    """As a script, without what tests set, but compiled as quickly; all share a process, and its imports."""
    environment = {**os.environ, "PYTHONPATH": str(PAGES.parent.parent), "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    code = """
import runpy, sys
import jax
for page in sys.argv[1:]:
    runpy.run_path(page, run_name="__main__")
    jax.config.update("jax_enable_x64", False)  # what a page sets ends with it
    print(chr(0))
"""
    names = list(PARTS)
    command = [sys.executable, "-c", code, *(f"{name}.py" for name in names)]
    run = subprocess.run(command, cwd=PAGES, env=environment, text=True, capture_output=True, timeout=300)
    assert run.returncode == 0, f"{names}: {run.stderr}"
    printed = run.stdout.split(chr(0))[:-1]
    assert len(printed) == len(names)
    assert all(text.strip() for text in printed)
