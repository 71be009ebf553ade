"""Sphinx settings: Markdown pages, notebooks run once and kept, and nothing fetched when a page is opened."""

import re

from markdown_it import MarkdownIt
from sphinx.highlighting import PygmentsBridge

import minilte

project = "minilte"
author = "The minilte authors"
copyright = f"2026, {author}"
version = release = minilte.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "sphinx.ext.viewcode"]
exclude_patterns = ["_build", "jupyter_execute"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

# `notebooks` is a link to the folder beside this one; a notebook runs again when its cells have changed
nb_execution_mode = "cache"
nb_execution_raise_on_error = True
nb_execution_timeout = 120
nb_merge_streams = True

html_theme = "sphinx_book_theme"
html_title = "minilte"
html_theme_options = {
    "navbar_persistent": [],  # one search field is enough
    "use_download_button": False,
    "use_fullscreen_button": False,
}
html_context = {"default_mode": "auto"}  # light or dark as the reader's system has it
html_static_path = ["_static"]
html_css_files = ["minilte.css"]
html_copy_source = False

# MathJax 3.2.2 with its fonts inside, as released; its menu could load more, from elsewhere
mathjax_path = "mathjax/tex-svg.js"
mathjax3_config = {"options": {"enableMenu": False}}

autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}


def fence(self, tokens, at, options, env):
    """A fenced block as Sphinx renders its own."""
    block = PygmentsBridge("html").highlight_block(tokens[at].content, tokens[at].info or "text")
    return f'<div class="highlight-{tokens[at].info} notranslate">{block}</div>'


PLAIN = MarkdownIt().disable(["emphasis", "link"])
PLAIN.add_render_rule("fence", fence)
EXAMPLE = re.compile(r"^>>> .*?(?=\n\n|\n?\Z)", re.M | re.S)  # from a prompt to the next empty line


def plain_docstring(app, what, name, obj, options, lines):
    """A docstring is plain text with formulas in it: Markdown leaves those alone, reStructuredText does not."""
    html = PLAIN.render(EXAMPLE.sub(lambda found: f"\n```pycon\n{found[0]}\n```\n", "\n".join(lines)))
    lines[:] = [".. raw:: html", "", *("   " + line for line in html.splitlines())]


def without_fields(app, what, name, obj, skip, options):
    """The fields of a NamedTuple stand in its signature already."""
    return skip or type(obj).__name__ == "_tuplegetter"


def link_notebooks(app, docname, source):
    """[text](NAME.ipynb) as a reference: Sphinx would follow `notebooks` out of this folder and not find its pages."""
    source[0] = re.sub(r"\[([^]\n]+)\]\(([\w/]+)\.ipynb\)", r"{doc}`\1 <\2>`", source[0])


def setup(app):
    """Called by Sphinx."""
    app.connect("source-read", link_notebooks)
    app.connect("autodoc-process-docstring", plain_docstring)
    app.connect("autodoc-skip-member", without_fields)
