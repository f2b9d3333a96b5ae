"""How the pages are built: `make docs`. Docstrings are Markdown, as the pages are; formulas need no network."""

import functools
import re
from contextlib import redirect_stdout, suppress
from io import StringIO

from docutils.utils import new_document
from myst_parser.parsers.sphinx_ import MystParser
from sphinx.util.docutils import SphinxDirective

import direp
from direp.program import cli

project, author, release = "direp", "the direp authors", direp.__version__
extensions = [
    "myst_parser", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "sphinx-mathjax-offline", "sphinx_gallery.gen_gallery",
]  # fmt: skip
exclude_patterns = ["gallery/*.ipynb", "tutorials/*.rst"]
root_doc = "index"

html_theme = "furo"
html_title = "direp"
html_show_copyright = False
html_static_path = ["style"]
html_css_files = ["pages.css"]

myst_enable_extensions = ["dollarmath", "amsmath", "deflist"]
myst_heading_anchors = 4
suppress_warnings = ["config.cache"]

nitpicky = True
autodoc_typehints = "none"  # shapes stand in the docstrings, bounds in the errors
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"

sphinx_gallery_conf = {
    "examples_dirs": "tutorials", "gallery_dirs": "gallery", "filename_pattern": r"\.py$",
    "abort_on_example_error": True, "download_all_examples": False, "show_signature": False, "show_memory": False,
    "write_computation_times": False, "within_subsection_order": "FileNameSortKey", "image_scrapers": ("matplotlib",),
}  # fmt: skip


class Markdown(SphinxDirective):
    """Text in Markdown within a page of reStructuredText: what autodoc writes of a docstring."""

    has_content = True

    def run(self):
        document = new_document(self.state.document.current_source, self.state.document.settings)
        MystParser().parse("\n".join(self.content), document)
        return document.children


class Names(SphinxDirective):
    """The public names of a room, from their docstrings: those of `direp` itself in its order, then those listed."""

    required_arguments, has_content = 1, True

    def run(self):
        room = self.arguments[0]
        paths = [f"direp.{name}" for name, home in direp._HOME.items() if home.split(".")[0] == room]
        lines = [f".. py:module:: direp.{room}", ""]
        for path in [*paths, *(f"direp.{room}.{name}" for name in " ".join(self.content).split())]:
            value = functools.reduce(getattr, path.split(".")[1:], direp)
            kind = "class" if isinstance(value, type) else "function" if callable(value) else "data"
            lines += [f".. auto{kind}:: {path}", *(["   :members:"] if kind == "class" else []), ""]
        return self.parse_text_to_nodes("\n".join(["```{eval-rst}", *lines, "```"]))


class Help(SphinxDirective):
    """What `direp --help` prints, or the help of a command."""

    optional_arguments = 1

    def run(self):
        printed = StringIO()
        with redirect_stdout(printed), suppress(SystemExit):
            cli.main([*self.arguments, "--help"])
        return self.parse_text_to_nodes(f"```text\n{printed.getvalue()}\n```")


def as_markdown(app, what, name, thing, options, lines):
    """Links between docstrings, [`Graph`][direp.Graph], become links of the page; the rest is read as Markdown."""
    text = re.sub(r"\[([^\]]*)\]\[(direp[\w.]*)\]", r"[\1](#\2)", "\n".join(lines))
    text = re.sub(r"^(\w.*)\n-{3,}$", r"**\1**\n", text, flags=re.MULTILINE)  # sections of what scikit-learn adds
    lines[:] = [".. markdown::", "", *("   " + line for line in text.split("\n")), ""]


def setup(app):
    app.add_directive("markdown", Markdown)
    app.add_directive("names", Names)
    app.add_directive("help", Help)
    app.connect("autodoc-process-docstring", as_markdown)
