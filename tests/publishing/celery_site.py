"""A site with a task that publishes: its settings and its Celery application."""

from __future__ import annotations

import os

from celery import Celery
from django.db import transaction

from tests.live.users import *  # noqa: F403

app = Celery("site", broker=os.environ.get("TEST_BROKER"))
app.conf.task_acks_late = True


@app.task(bind=True, autoretry_for=(ConnectionError,), retry_backoff=True)
def announce(self: object, order: int) -> None:
    """Publish within a transaction; the same order is published once."""
    from pushserver.updates import send_update

    with transaction.atomic():
        send_update(
            "orders", {"order": order}, idempotency_key=f"order-{order}", on_commit=True
        )
