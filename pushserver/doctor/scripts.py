"""The check that pages can load ``updates.js``."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urljoin, urlsplit

from django.apps import apps
from django.conf import settings
from django.templatetags.static import static

from pushserver import __version__

from .findings import Failure, NotApplicable, NotChecked
from .probe import Probe
from .requests import Response, SentRequest

#: The name of the script, as in ``{% static 'pushserver/updates.js' %}``.
NAME = "pushserver/updates.js"

#: The script of this version of the package.
FILE = Path(__file__).resolve().parent.parent / "static" / NAME

#: The types that browsers run as a script.
TYPES = ("text/javascript", "application/javascript", "application/x-javascript")

SERVE = (
    "Serve static files: get_application() does while DEBUG is on; else run 'manage.py"
    " collectstatic' and let WhiteNoise or the web server serve STATIC_ROOT (see"
    " https://django-pushserver.readthedocs.io/en/latest/howto/systemd.html)."
)


def check_script(probe: Probe) -> str:
    """Check that updates.js is served as a script, in this package's version."""
    if not apps.is_installed("django.contrib.staticfiles") or not settings.STATIC_URL:
        raise NotApplicable(
            "The site has no static files ('django.contrib.staticfiles', STATIC_URL)."
        )
    try:
        path = static(NAME)
    except ValueError as error:  # The manifest of the storage lacks the file.
        raise Failure(f"updates.js has no URL: {error}", SERVE) from error
    url = urljoin(f"{probe.base}/", path)
    response = SentRequest(url, patience=probe.patience).response()
    if (
        not response.status
        and probe.first_response is None
        and url.startswith(f"{probe.base}/")
    ):
        raise NotChecked(f"There is no answer at the public URL: {response.error}.")
    _check_answer(url, response)
    return f"{urlsplit(url).path} is served, as in version {__version__}."


def _check_answer(url: str, response: Response) -> None:
    """Raise :class:`Failure` unless a response is the script of this version."""
    if response.status != 200:
        what = f"answered {response.status}" if response.status else response.error
        raise Failure(f"updates.js is not served: {url} is {what}.", SERVE)
    content_type = response.headers["Content-Type"] or "no type"
    if content_type.partition(";")[0].strip().lower() not in TYPES:
        raise Failure(
            f"Browsers do not run {url}: its Content-Type is {content_type}.",
            SERVE if "html" in content_type else "Have it sent as text/javascript.",
        )
    if response.body != FILE.read_bytes():
        raise Failure(
            f"{url} is another file than the updates.js of version {__version__}: an"
            " old copy, or changed on the way.",
            "Run 'manage.py collectstatic' (with --clear, if it finds nothing to copy),"
            " and empty the caches before the site.",
        )
