"""Code in the README and the documentation runs, and files that they name exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
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
        assert "4 of 4 settled" in names["settled"].summary()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 100


def test_commands_in_the_readme_are_understood():
    from direp.program.commands.train import parse_train

    for line in re.findall(r"^direp train (.*?)(?:#.*)?$", (ROOT / "README.md").read_text(), re.MULTILINE):
        arguments = line.split()
        if "--help" in arguments or "--config" in arguments:
            continue
        settings, _ = parse_train(arguments)
        settings.check()
