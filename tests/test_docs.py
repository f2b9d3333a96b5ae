"""Code in the README and the documentation runs, and files that they name exist."""

import functools
import re
from pathlib import Path

import pytest

import direp
from direp.program.commands.train import parse_train

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCKS = [
    pytest.param(block, id=f"{page.name}-{k}")
    for page in PAGES
    for k, block in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL))
]


@pytest.mark.usefixtures("_optax")
@pytest.mark.parametrize("block", BLOCKS)
def test_python_blocks_run(block):
    names = {}
    exec(compile(block, "documentation", "exec"), names)
    if "run" in names:
        assert names["run"].solved.all()
        assert "4 of 4 settled" in direp.settle(names["run"].network, names["task"].test.x).summary()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 100


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_and_names_that_a_page_mentions_exist(page):
    text = page.read_text()
    for name in re.findall(r"\b(?:tests|benchmarks|direp|docs)/[\w/]+\.py", text):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"\bdirep(?:\.[A-Za-z_]\w*)+", text):
        assert functools.reduce(getattr, name.split(".")[1:], direp) is not None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_are_understood(page):
    text = re.sub(r"\\\n\s*", " ", page.read_text())
    lines = re.findall(r"^direp train (.*?)(?:#.*)?$", text, re.MULTILINE) + re.findall(r"`direp train ([^`]*)`", text)
    for line in dict.fromkeys(lines):
        arguments = line.split()
        if not {"--help", "--config", "..."} & set(arguments):
            settings, *_ = parse_train(arguments)
            settings.check()
