"""The location of the site's static files, which nginx reads from disk."""

from __future__ import annotations

from os.path import abspath
from urllib.parse import unquote, urlsplit

from django.apps import apps
from django.conf import settings

from .writer import Untranslatable, Writer, literal

#: The media types of common file name extensions. Without them nginx would send all
#: files with one type.
TYPES = {
    "text/html": "html htm",
    "text/css": "css",
    "text/javascript": "js mjs",
    "text/plain": "txt ts",
    "text/xml": "xml",
    "application/json": "json map",
    "application/manifest+json": "webmanifest",
    "application/pdf": "pdf",
    "application/wasm": "wasm",
    "image/svg+xml": "svg svgz",
    "image/png": "png",
    "image/jpeg": "jpg jpeg",
    "image/gif": "gif",
    "image/webp": "webp",
    "image/avif": "avif",
    "image/x-icon": "ico",
    "font/woff": "woff",
    "font/woff2": "woff2",
    "font/ttf": "ttf",
    "font/otf": "otf",
    "audio/mpeg": "mp3",
    "video/mp4": "mp4",
    "video/webm": "webm",
}


def write_static_files(out: Writer) -> None:
    """Write the location of ``STATIC_URL``, or a comment why there is none."""
    out.line("")
    if not apps.is_installed("django.contrib.staticfiles") or not settings.STATIC_URL:
        out.comment(
            "Static files are not served here: the site has no"
            " 'django.contrib.staticfiles' or no STATIC_URL."
        )
        return
    url = urlsplit(settings.STATIC_URL)
    path = unquote(url.path)
    if url.netloc:
        out.comment(f"Static files are on another host: {settings.STATIC_URL}")
        return
    if not settings.STATIC_ROOT:
        out.warn(
            "STATIC_ROOT",
            f"is not set, so nginx asks Django for static files ({path}), such as"
            " updates.js; once DEBUG is off, Django serves them only with WhiteNoise."
            " Set STATIC_ROOT, run 'manage.py collectstatic', and print this again.",
        )
        return
    root = abspath(settings.STATIC_ROOT).rstrip("/")
    try:
        if not path.startswith("/") or not path.endswith("/") or path == "/":
            raise Untranslatable(f"{path!r} is not a folder below the site's root")
        head, alias = f"location {literal(path)}", literal(f"{root}/")
    except Untranslatable as error:
        out.warn("STATIC_URL", f"or STATIC_ROOT is left out: {error}.")
        return
    out.comment("Static files, as 'manage.py collectstatic' puts them into STATIC_ROOT")
    with out.block(head):
        out.line(f"alias {alias};")
        with out.block("types"):
            out.line(*(f"{name} {endings};" for name, endings in TYPES.items()))
        out.line(
            "default_type application/octet-stream;",
            "charset utf-8;",
            "charset_types text/css text/javascript text/plain text/xml;",
        )
