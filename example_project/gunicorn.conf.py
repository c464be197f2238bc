"""gunicorn for the example: ``gunicorn -c example_project/gunicorn.conf.py``.

It needs ``pip install gunicorn uvicorn uvicorn-worker websockets``.
"""

from __future__ import annotations

import os

wsgi_app = "example_project.asgi:application"
bind = f"127.0.0.1:{os.environ.get('PORT', '8000')}"
worker_class = "uvicorn_worker.UvicornWorker"

# Several workers need a store that they share: PUSH_STORE_URL=redis://…
workers = int(os.environ.get("WORKERS", "1"))

# When gunicorn stops, the push server ends what it holds at once, but slow clients and
# slow views take longer; add the seconds of the setting "drain".
graceful_timeout = 35

# Pages that wait are idle, and not stuck: their worker still reports to gunicorn.
timeout = 60
