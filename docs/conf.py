"""Configuration of the documentation: ``make docs``."""

from __future__ import annotations

from pushserver import __version__

project = "django-pushserver"
copyright = "2026, the django-pushserver authors"
release = version = __version__
html_theme = "furo"
html_title = f"django-pushserver {__version__}"
exclude_patterns = ["_build"]
nitpicky = True
