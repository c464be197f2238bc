"""The app's scripts with ``manage.py collectstatic``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.contrib.staticfiles.storage import ManifestStaticFilesStorage
from django.core.management import call_command
from django.test import override_settings


class Hashing(ManifestStaticFilesStorage):
    """Names files by their content hash, also in the imports of modules."""

    support_js_module_import_aggregation = True


def test_import_in_a_collected_module_has_the_hash(tmp_path: Path) -> None:
    """The import in the module is rewritten to the script's name with the hash."""
    storages: dict[str, Any] = {
        "staticfiles": {"BACKEND": f"{__name__}.{Hashing.__name__}"}
    }
    with override_settings(STATIC_ROOT=tmp_path, STORAGES=storages):
        call_command("collectstatic", interactive=False, verbosity=0)
    (script,) = tmp_path.glob("pushserver/updates.????????????.js")
    (module,) = tmp_path.glob("pushserver/updates.module.????????????.js")
    assert f'"./{script.name}"' in module.read_text()
