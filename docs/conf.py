"""Configuration of the documentation: ``make docs`` and ``make docs-links``."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import django
from docutils import nodes
from sphinx import addnodes

from pushserver import __version__

# autodoc imports the modules, some of which need the settings of a site.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")
django.setup()

project = "django-pushserver"
copyright = "2026, the django-pushserver authors"
release = version = __version__
html_theme = "furo"
html_title = f"django-pushserver {__version__}"
html_baseurl = "https://django-pushserver.readthedocs.io/en/latest/"
html_static_path = ["static"]
html_css_files = ["pages.css"]
exclude_patterns = ["_build"]
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon"]

nitpicky = True
# The types of other packages have no address here.
nitpick_ignore_regex = [(r"py:.*", r"(?!pushserver).*")]
nitpick_ignore = [("py:class", "pushserver_channels.routing.PushApplication")]

autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_type_aliases = {
    name: name for name in ("Application", "Expiry", "Position", "TemplateName")
}
maximum_signature_line_length = 80
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_use_ivar = True

# A redirect to a login or to a language is no fault.
linkcheck_allow_unauthorized = True
linkcheck_timeout = 10
linkcheck_ignore = [
    r"https?://(127\.0\.0\.1|localhost)",
    # Addresses of the documentation itself, which the build checks as references.
    r"https://django-pushserver\.readthedocs\.io/",
]


#: A comment before a code block.
MARK = re.compile(
    r"(?P<verb>write|add to|replace|try|output)"
    r'(?: "(?P<old>.+)" in)?(?: (?P<path>\S+))?'
)


def show_setting(env: Any, signature: str, node: addnodes.desc_signature) -> str:
    """Show ``subscriber.timeout`` as ``timeout``; return what others refer to."""
    node += addnodes.desc_name(signature, signature.rpartition(".")[2])
    return signature


def close_tables(app: Any, doctree: nodes.document) -> None:
    """Put each table into a box of its own, which scrolls where a screen is narrow."""
    for table in list(doctree.findall(nodes.table)):
        box = nodes.container(classes=["table-box"])
        table.replace_self(box)
        box += table


def show_marks(app: Any, doctree: nodes.document) -> None:
    """Show what a reader does with a code block, which a comment before it says.

    ``tests/guides/blocks.py`` has the comments, and the tests do what they say.
    """
    for comment in list(doctree.findall(nodes.comment)):
        found = MARK.fullmatch(comment.astext())
        if found is None:
            continue
        before, path, after = {
            "write": ("", found["path"], ""),
            "add to": ("At the end of ", found["path"], ""),
            "replace": ("In ", found["path"], ", in place of the line with "),
            "try": ("In ", "python manage.py shell", ""),
            "output": ("It prints", "", ""),
        }[found["verb"]]
        title = nodes.paragraph(classes=["block-title"])
        title += nodes.Text(before)
        if path:
            title += nodes.literal(text=path)
        title += nodes.Text(after)
        if found["old"]:
            title += nodes.literal(text=found["old"])
        comment.replace_self(title)


def setup(app: Any) -> None:
    app.add_object_type("setting", "setting", parse_node=show_setting)
    app.connect("doctree-read", close_tables)
    app.connect("doctree-read", show_marks)
