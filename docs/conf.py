"""Configuration of the documentation: ``make docs`` and ``make docs-links``."""

from __future__ import annotations

import os
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

autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
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


def setup(app: Any) -> None:
    app.add_object_type("setting", "setting", parse_node=show_setting)
    app.connect("doctree-read", close_tables)
