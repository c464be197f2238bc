"""``make run``: serves this site with Daphne and says what to try."""

from __future__ import annotations

import sys

from daphne.cli import CommandLineInterface

from .settings import HOST, PORT

WHAT_TO_TRY = f"""
  The example site is at http://{HOST}/ (Ctrl-C stops it).

  In a second terminal, wait for news:     curl -i http://{HOST}/updates/news
  In a third one, publish some:            curl -i http://{HOST}/send-update/news -d hello
"""

if __name__ == "__main__":
    sys.stdout.write(f"{WHAT_TO_TRY}\n")
    sys.stdout.flush()
    arguments = ["-b", "127.0.0.1", "-p", str(PORT), "example_project.asgi:application"]
    CommandLineInterface().run(arguments)
