"""The client libraries of others for the browser's tests, fetched from registries.

``python -m tests.browser.libraries`` fetches them once, into a folder that Git ignores.
Each file has to be the one that is named here, by its digest.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path

from tests.servers import ROOT

FOLDER = ROOT / "build" / "libraries"

#: The command that fetches the libraries.
COMMAND = "python -m tests.browser.libraries"

#: Seconds for a download.
TIMEOUT = 60.0


@dataclass(frozen=True)
class Package:
    """A package with one version.

    Attributes:
        name: Its name in the registry.
        version: Its version.
        digest: The SHA-512 digest of an npm package, in base64; the SHA-256 digest of a
            wheel, in hexadecimal digits.
        files: The name in :data:`FOLDER` of each file that is used.
    """

    name: str
    version: str
    digest: str
    files: dict[str, str]


NPM = (
    Package(
        "htmx.org",
        "2.0.11",
        "Thx/WtpeOQqSrqBCw/A1cwGJGg4UrVa3+sW0GmrM3p4gJgO89ecH4qtbnyzDDWFvBTqjnIMCgELTNt"
        "636dtamA==",
        {"package/dist/htmx.js": "htmx-2.js"},
    ),
    Package(
        "htmx-ext-sse",
        "2.2.4",
        "LJmxVhykyflBWgh5PvbRidcyuqMHlgfajmmzumvKctv9puvsufeH6OaejSMZTNTnEI8O2wXXn4ZZtB"
        "dpEMqmEQ==",
        {"package/dist/sse.js": "htmx-2-sse.js"},
    ),
    Package(
        "htmx-ext-ws",
        "2.0.4",
        "LnOpFRL/2hInhdKl/9N0OJsb4GYQ5/teUdTHNZYY9ytYdxYEqjfLEe0MWgF3ODjfwGJRb4E95igAbU"
        "66te48ZA==",
        {"package/dist/ws.js": "htmx-2-ws.js"},
    ),
    Package(
        "htmx.org",
        "4.0.1",
        "oF7JgXhDW9UXCy/k1ZYFUQgzu/rm19ORWPSPNL91vPluB2PB9+MV55tyQdH/w7o2EAbTYUG5SDW1R6"
        "0mdkdqGg==",
        {
            "package/dist/htmx.js": "htmx-4.js",
            "package/dist/ext/hx-sse.js": "htmx-4-sse.js",
            "package/dist/ext/hx-ws.js": "htmx-4-ws.js",
        },
    ),
    Package(
        "@hotwired/turbo",
        "8.0.23",
        "GZ7cijxEZ6Ig71u7rD6LHaRv/wcE/hNsc+nEfiWOkLNqUgLOwo5MNGWOy5ZV9ZUDSiQx1no7YxjTNn"
        "T4O6//cQ==",
        {"package/dist/turbo.es2017-esm.js": "turbo.js"},
    ),
    Package(
        "event-source-polyfill",
        "1.0.31",
        "4IJSItgS/41IxN5UVAVuAyczwZF7ZIEsM1XAoUzIHA6A+xzusEZUutdXz2Nr+MQPLxfTiCvqE79/C8"
        "HT8fKFvA==",
        {"package/src/eventsource.js": "event-source-polyfill.js"},
    ),
    Package(
        "@microsoft/fetch-event-source",
        "2.0.1",
        "W6CLUJ2eBMw3Rec70qrsEW0jOm/3twwJv21mrmj2yORiaVmVYGS4sSS5yUwvQc1ZlDLYGPnClVWmUU"
        "MagKNsfA==",
        {
            "package/lib/esm/fetch.js": "fetch-event-source.js",
            "package/lib/esm/parse.js": "fetch-event-source-parse.js",
        },
    ),
    Package(
        "nchan",
        "1.0.10",
        "jB6fV/03M1AXT08I+hldsU5m2r4t2c7J1UnOsCIK/idowxtJ/nYAPwUahMwhFsuv453miOOCvhmao+"
        "kpcScb4Q==",
        {"package/NchanSubscriber.js": "NchanSubscriber.js"},
    ),
    Package(
        "react",
        "18.3.1",
        "wS+hAgJShR0KhEvPJArfuPVN1+Hz1t0Y6n5jLrGQbkb4urgPE/0Rve+1kMB1v/oWgHgm4WIcV+i7F2p"
        "TVj+2iQ==",
        {"package/umd/react.development.js": "react.js"},
    ),
    Package(
        "react-dom",
        "18.3.1",
        "5m4nQKp+rZRb09LNH59GM4BxTh9251/ylbKIbpe7TpGxfJ+9kv6BLkLBXIjjspbgbnIBNqlI23tRnTW"
        "T0snUIw==",
        {"package/umd/react-dom.development.js": "react-dom.js"},
    ),
)

#: npm has only old versions of Datastar. This package for Python contains a new one.
DATASTAR = Package(
    "starhtml",
    "0.7.0",
    "3515ac3a21f1be7ce3e724b45440ed2be20d3afcdb60f92f6ebbfaec883d3ea2",
    {"starhtml/static/js/datastar-core.js": "datastar.js"},
)

#: What that package has changed in Datastar 1.0.1, and what it was.
DATASTAR_PATCHES = (
    (" (StarHTML patched: shadow-dom-scan, outside-race-fix)", ""),
    (
        't=!0,n=!0)=>{Z(e)&&De([e],n),De(e.querySelectorAll("*"),n)',
        't=!0)=>{Z(e)&&De([e],!0),De(e.querySelectorAll("*"),!0)',
    ),
    (
        'once:n.has("once")},d;',
        'once:n.has("once")};',
    ),
    (
        "let l=i,u=!1,f=new MutationObserver(()=>{u=!0;requestAnimationFrame(()=>"
        '{u=!1})});f.observe(e,{attributeFilter:["style"]});let g=!1,h=()=>{g='
        'e.style.display==="none"};document.addEventListener(o,h,!0);i=p=>{u||g||'
        "e.contains(p?.target)||l(p)};d=()=>{f.disconnect();"
        "document.removeEventListener(o,h,!0)}",
        "let l=i;i=u=>{e.contains(u?.target)||l(u)}",
    ),
    ("{s.removeEventListener(o,c,a);d?.()}", "{s.removeEventListener(o,c,a)}"),
    (
        'document.addEventListener("datastar:scan",e=>{let t=e.detail?.root;'
        "t&&En(t.shadowRoot||t,!0,!1)});",
        "",
    ),
)

#: The digest of Datastar 1.0.1 as its project publishes it.
DATASTAR_INTEGRITY = (
    "sha384-dWn5jta+MrFAhwrzi4llarDQkaQE0zW2lreXrV0yK15W0A7TrtfGyIyji04PLUY7"
)

#: Names the packages whose files are in :data:`FOLDER`.
STAMP = FOLDER / "fetched"
FETCHED = "".join(f"{each.digest}\n" for each in (*NPM, DATASTAR)) + DATASTAR_INTEGRITY


def are_there() -> bool:
    """Return whether the files of all packages were fetched, in these versions."""
    return STAMP.is_file() and STAMP.read_text() == FETCHED


def find_registry() -> str:
    """Return the URL of the registry that npm is configured to use."""
    for variable in ("NPM_CONFIG_REGISTRY", "npm_config_registry"):
        if os.environ.get(variable):
            return os.environ[variable].rstrip("/")
    npm = shutil.which("npm")
    if npm is not None:
        command = [npm, "config", "get", "registry"]
        found = subprocess.run(command, capture_output=True, text=True).stdout.strip()
        if found.startswith("http"):
            return found.rstrip("/")
    return "https://registry.npmjs.org"


def fetch_npm(package: Package, registry: str) -> None:
    """Fetch a package of npm, and unpack its files."""
    file = f"{package.name.rpartition('/')[2]}-{package.version}.tgz"
    url = f"{registry}/{package.name}/-/{file}"
    with urllib.request.urlopen(url, timeout=TIMEOUT) as response:
        data = response.read()
    digest = base64.b64encode(hashlib.sha512(data).digest()).decode()
    if digest != package.digest:
        raise SystemExit(f"{url} is not the expected file: its digest is {digest}.")
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member, name in package.files.items():
            content = archive.extractfile(member)
            assert content is not None, f"{member} is a regular file"
            (FOLDER / name).write_bytes(content.read())


def fetch_wheel(package: Package) -> None:
    """Fetch a wheel, for whichever Python it is, and unpack its files."""
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder, "requirements.txt")
        requirements.write_text(
            f"{package.name}=={package.version} --hash=sha256:{package.digest}\n"
        )
        subprocess.run(
            [
                *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
                *("--only-binary", ":all:", "--python-version", "3.12"),
                *("--dest", folder, "--require-hashes", "-r", str(requirements)),
            ],
            check=True,
        )
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            for member, name in package.files.items():
                (FOLDER / name).write_bytes(archive.read(member))


def build_integrity(file: Path) -> str:
    """Return the SHA-384 digest of a file as the attribute ``integrity`` has it."""
    digest = hashlib.sha384(file.read_bytes()).digest()
    return f"sha384-{base64.b64encode(digest).decode()}"


def restore_datastar(file: Path) -> None:
    """Undo what the package for Python has changed in Datastar."""
    text = file.read_text(encoding="utf-8")
    for changed, original in DATASTAR_PATCHES:
        text = text.replace(changed, original)
    file.write_bytes(text.encode())
    found = build_integrity(file)
    if found != DATASTAR_INTEGRITY:
        raise SystemExit(f"{file} is not Datastar 1.0.1: its digest is {found}.")


def main() -> None:
    if are_there():
        STAMP.touch()
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    registry = find_registry()
    for package in NPM:
        fetch_npm(package, registry)
    fetch_wheel(DATASTAR)
    restore_datastar(FOLDER / "datastar.js")
    STAMP.write_text(FETCHED)


if __name__ == "__main__":
    main()
