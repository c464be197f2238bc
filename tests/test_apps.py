from __future__ import annotations

import importlib

from django.apps import apps
from django.core.checks.registry import registry

import pushserver
from pushserver.checks import check_settings


def test_the_app_registers_its_checks() -> None:
    """A site that installs the app has its checks, also by the app's name alone."""
    assert apps.get_app_config("pushserver").name == "pushserver"
    assert check_settings in registry.get_checks()
    assert registry.tag_exists("pushserver")


def test_old_import_of_updates_works() -> None:
    """The import path of django-pushserver 0.3 returns the current module."""
    from pushserver.utils import updates

    assert updates is importlib.import_module("pushserver.updates")
    assert updates is pushserver.updates


def test_old_import_of_a_function_works() -> None:
    """The functions can be imported from the old module, too."""
    from pushserver.utils.updates import send_update

    assert send_update is pushserver.updates.send_update


def test_the_version_has_three_numbers() -> None:
    """The package has a version with three numbers."""
    numbers = pushserver.__version__.split(".")
    assert len(numbers) == 3
    assert all(number.isdigit() for number in numbers)
