"""The views: ``path("passthrough", include("pushserver.urls"))``.

Below the same path, ``tokens`` gives pages new signed URLs, and nginx with Nchan asks
``authorize`` who may listen.
"""

from __future__ import annotations

from django.urls import re_path

from .access.subscriptions import authorize_subscriber
from .access.views import renew_tokens
from .views import passthrough

# With and without a slash, so that it may be included at "passthrough" and at
# "passthrough/" whatever the setting says.
urlpatterns = [
    re_path(r"^(?:/)?$", passthrough, name="pushserver-passthrough"),
    re_path(r"^(?:/)?tokens/?$", renew_tokens, name="pushserver-tokens"),
    re_path(r"^(?:/)?authorize/?$", authorize_subscriber, name="pushserver-authorize"),
]
