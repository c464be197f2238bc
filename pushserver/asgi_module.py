"""Find out what the site's ASGI application consists of, from its source code.

The module is parsed and not imported: a check runs before each command, and importing
an ``asgi.py`` may open connections, start threads or set up error reporting. Modules of
the project that it imports are parsed as well; installed packages are not.
"""

from __future__ import annotations

import ast
import sys
from collections import deque
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from typing import NamedTuple

from django.conf import settings

#: The module that has the push locations.
ROUTING = "pushserver_channels.routing"

#: The most modules that are parsed. A project may import all of its modules, and this
#: runs before each command.
MAX_MODULES = 50


class AsgiModule(NamedTuple):
    """The module of a site's ASGI application.

    Attributes:
        name: The dotted name of the module.
        serves_locations: Whether it, or a module of the project that it imports, uses
            the push locations.
        serves_static: Whether one of them uses a package that serves static files.
    """

    name: str
    serves_locations: bool
    serves_static: bool


def find_asgi_module() -> AsgiModule | None:
    """Return the module of the site's ASGI application, None if there is none.

    It is the module that ``ASGI_APPLICATION`` names, or else an ``asgi`` module beside
    the URLconf, the WSGI application or the settings.

    Raises ``LookupError`` if the module cannot be parsed.
    """
    named = getattr(settings, "ASGI_APPLICATION", None)
    if named:
        return _read(str(named).rpartition(".")[0])
    for name in _usual_names():
        if _find_source(name) is not None:
            return _read(name)
    return None


def _usual_names() -> Iterator[str]:
    """Yield the names that the module may have if no setting names it."""
    for setting in ("ROOT_URLCONF", "WSGI_APPLICATION", "SETTINGS_MODULE"):
        value = getattr(settings, setting, None)
        if not isinstance(value, str):
            continue
        package = value
        while package:
            package = package.rpartition(".")[0]
            yield f"{package}.asgi" if package else "asgi"


def _read(name: str) -> AsgiModule:
    """Parse a module and the project's modules that it imports, breadth first.

    Raises ``LookupError`` if the module cannot be parsed, or if it imports more than
    :data:`MAX_MODULES` modules and none of these uses the push locations.
    """
    waiting, seen = deque([name]), {name}
    imported: set[str] = set()
    read = 0
    while waiting:
        module = waiting.popleft()
        source = _find_source(module)
        if source is None or not _is_own(source):
            if module == name:
                raise LookupError(f"The module {name} cannot be read.")
            continue
        read += 1
        if read > MAX_MODULES:
            if ROUTING in imported:
                break
            raise LookupError(f"The module {name} imports too many modules.")
        try:
            tree = ast.parse(source.read_bytes())
        except (OSError, SyntaxError, ValueError) as error:
            raise LookupError(f"{source} cannot be read.") from error
        is_package = source.name == "__init__.py"
        names = set(_imports(tree, module if is_package else module.rpartition(".")[0]))
        imported |= names
        waiting.extend(sorted(names - seen))
        seen |= names
    return AsgiModule(
        name,
        any(f"{each}.".startswith(f"{ROUTING}.") for each in imported),
        any("static" in each.lower() or "noise" in each.lower() for each in imported),
    )


def _imports(tree: ast.Module, package: str) -> Iterator[str]:
    """Yield the names that a module imports, and dotted names in its strings.

    The latter may be arguments of ``import_string()`` and similar functions.

    Args:
        tree: The parsed module.
        package: The package of the module, for relative imports.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                kept = parents[: len(parents) - node.level + 1]
                base = ".".join([*kept, base] if base else kept)
            yield base
            yield from (f"{base}.{each.name}" for each in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            dotted = node.value.replace(":", ".")
            if "." in dotted and dotted.replace(".", "").isidentifier():
                yield dotted


def _find_source(module: str) -> Path | None:
    """Return the file of a module without importing anything."""
    top, _, rest = module.partition(".")
    if not top or top in sys.stdlib_module_names or top.startswith("pushserver"):
        return None
    loaded = sys.modules.get(module)
    if loaded is not None:
        file = getattr(loaded, "__file__", None)
        return Path(file) if file else None
    if not rest:
        spec = PathFinder.find_spec(top)
        origin = spec.origin if spec is not None and spec.has_location else None
        return Path(origin) if origin is not None else None
    parent, _, name = module.rpartition(".")
    for folder in _find_folders(parent):
        for file in (folder / name / "__init__.py", folder / f"{name}.py"):
            if file.is_file():
                return file
    return None


def _find_folders(package: str) -> list[Path]:
    """Return the folders of a package's modules; none if it is not a package."""
    loaded = sys.modules.get(package)
    if loaded is not None:
        return [Path(each) for each in getattr(loaded, "__path__", ())]
    parent, _, name = package.rpartition(".")
    if parent:
        folders = [folder / name for folder in _find_folders(parent)]
        return [folder for folder in folders if folder.is_dir()]
    spec = PathFinder.find_spec(package)
    if spec is None:
        return []
    return [Path(each) for each in spec.submodule_search_locations or ()]


def _is_own(source: Path) -> bool:
    """Return whether a file belongs to the project, not to an installed package."""
    parts = set(source.parts)
    return source.suffix == ".py" and parts.isdisjoint(
        {"site-packages", "dist-packages"}
    )
