"""Code in the README and the documentation runs, and files that they name exist."""

import functools
import json
import re
import runpy
import shlex
from pathlib import Path
from unittest import mock

import matplotlib.pyplot as plt
import pytest
from program import call, finished, untold

import direp
from direp.program.commands import COMMANDS, DIVERGED, INTERNAL, OK, REFUTED, UNDECIDED, UNREADABLE, WRONG_USE
from direp.program.commands.train import parse_train

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
START = [
    DOCS / "start" / f"{name}.md" for name in ("index", "table", "trained", "connectome")
]  # as a newcomer reads them
TUTORIALS = sorted((DOCS / "tutorials").glob("*.py"))
BLOCKS = [
    pytest.param(block, id=f"{page.name}-{k}")
    for page in PAGES
    if page not in START
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


def anchors(page):
    """What a link may name in a page: its headings, written as MyST and GitHub write them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target, anchor in re.findall(r"\]\((?!http)([^)#\s]*)(?:#([^)\s]+))?\)", page.read_text()):
        place = page.parent / target if target else page
        assert place.exists(), target
        assert not anchor or anchor in anchors(place), f"{target}#{anchor}"


def test_every_page_is_reached_from_the_first():
    reached, left = set(), [DOCS / "index.md"]
    while left:
        page = left.pop()
        reached.add(page)
        for block in re.findall(r"```{toctree}\n(.*?)```", page.read_text(), re.DOTALL):
            for entry in re.findall(r"^[\w/.*-]+$", block, re.MULTILINE):
                if entry.startswith("/gallery/"):
                    found = [DOCS / "tutorials" / f"{entry.removeprefix('/gallery/')}.py"]
                else:
                    found = sorted(page.parent.glob(f"{entry}.md"))
                assert found or "*" in entry, f"{page.name}: {entry}"
                reached |= {each for each in found if each.suffix == ".py"}
                left += [each for each in found if each.suffix == ".md" and each.resolve() not in reached]
        reached.add(page.resolve())
    assert {page.resolve() for page in [*PAGES[1:], *TUTORIALS]} <= {page.resolve() for page in reached}


@pytest.mark.whole
@pytest.mark.usefixtures("_optax")
@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_tutorials_run(page, capsys):
    with mock.patch.dict(plt.rcParams, {"backend": "agg"}):
        runpy.run_path(str(page), run_name="__main__")
        assert plt.get_fignums(), "a tutorial has pictures"
        plt.close("all")


def text_of(page):
    """A page with its shell blocks as Markdown has them: those of a tutorial are in its comments."""
    if page.suffix == ".md":
        return page.read_text()
    typed = re.findall(r"^#    (direp .*)$", page.read_text(), re.MULTILINE)
    return "\n".join(["```sh", *typed, "```\n"])


def commands(text):
    """The commands of a page's shell blocks, as they are typed."""
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            yield shlex.split(line, comments=True)


@pytest.mark.parametrize("page", [*PAGES, *TUTORIALS], ids=lambda page: str(page.relative_to(ROOT)))
def test_options_of_commands_exist(page):
    for words in commands(text_of(page)):
        if words[:1] == ["direp"]:
            assert words[1] in COMMANDS, words
            named = [word for word in words if word.startswith("--")]
            assert not [option for option in named if option not in options(words[1])], words


@functools.cache
def options(command):
    return set(re.findall(r"--[a-z][\w-]*", call(command, "--help")[1])) | {"--help"}


@pytest.mark.whole
@pytest.mark.usefixtures("_optax")
def test_a_newcomer_types_nothing_that_fails(tmp_path, monkeypatch):
    """The pages of the start and the tutorials, one after the other in one folder: Python and commands as they are
    written."""
    monkeypatch.chdir(tmp_path)
    typed = []
    for page in [*START, *TUTORIALS, DOCS / "tutorials" / "notebook.md"]:
        for kind, block in re.findall(r"^```(python|sh)\n(.*?)^```", text_of(page), re.DOTALL | re.MULTILINE):
            if kind == "python":
                if page in START:
                    exec(compile(block, page.name, "exec"), {})
                continue
            for words in commands(f"```sh\n{block}```"):
                if words[0] == "direp":
                    code, _, err = call(*words[1:], drawn=True)
                    assert code == 0, (words, err)
                    typed.append(words)
                else:
                    assert words in (["make", "demo"], ["make", "test"]), words
    assert {words[1] for words in typed} >= {"train", "certify", "gradient", "doctor", "predict", "export", "resume"}


def test_the_reference_has_what_there_is():
    """Exit codes, files and keys of documents, as the program writes them."""
    codes = (DOCS / "reference" / "codes.md").read_text()
    assert all(f"\n| {code} |" in codes for code in (OK, INTERNAL, WRONG_USE, UNREADABLE, DIVERGED, UNDECIDED, REFUTED))
    folder, summary, _ = finished()
    files = (DOCS / "reference" / "files.md").read_text()
    assert not [path.name for path in folder.iterdir() if path.is_file() and f"`{path.name}`" not in files]
    code, out, _ = call("certify", folder, "--json", "--no-figures", "--out", folder.parent / "certified-for-docs")
    assert code == 0
    for name, document in {"train": summary, "certify": json.loads(out)}.items():
        assert untold(name, document, *(value for value in document.values() if isinstance(value, dict))) == []


def test_every_room_and_command_is_in_the_reference():
    rooms = {home.split(".")[0] for home in direp._HOME.values() if home} | {n for n, h in direp._HOME.items() if not h}
    assert {path.stem for path in (DOCS / "reference" / "api").glob("*.md")} == rooms | {"index"}
    for page in (DOCS / "reference" / "api").glob("*.md"):
        for room, names in re.findall(r"```{names} (\w+)\n(.*?)```", page.read_text(), re.DOTALL):
            assert not [name for name in names.split() if not hasattr(getattr(direp, room), name)]
    told = re.findall(r"^```{help} (\w+)$", (DOCS / "reference" / "commands.md").read_text(), re.MULTILINE)
    assert told == list(COMMANDS)


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
