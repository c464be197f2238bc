"""The files of the two archives: the source archive and the wheel."""

from __future__ import annotations

from collections.abc import Collection, Iterator

#: The packages that are installed.
PACKAGES = ("pushserver/", "pushserver_channels/")

#: Files of the repository that are of no use outside it.
OF_THE_REPOSITORY = (".ci/", ".gitignore", ".readthedocs.yaml")


def find_faults_of_source(
    names: Collection[str], tracked: Collection[str]
) -> Iterator[str]:
    """Yield a sentence for each file that the source archive lacks.

    Args:
        names: The files of the archive, relative to its folder.
        tracked: The files of the repository.
    """
    for name in sorted(set(tracked) - set(names)):
        if not name.startswith(OF_THE_REPOSITORY):
            yield f"The source archive lacks {name}: see MANIFEST.in."


def find_faults_of_wheel(
    names: Collection[str], tracked: Collection[str]
) -> Iterator[str]:
    """Yield a sentence for each file that the wheel lacks or that is none of its own.

    Args:
        names: The files of the wheel.
        tracked: The files of the repository.
    """
    wanted = {name for name in tracked if name.startswith(PACKAGES)}
    found = {name for name in names if ".dist-info/" not in name}
    for name in sorted(wanted - found):
        yield f"The wheel lacks {name}: see package_data in setup.cfg."
    for name in sorted(found - wanted):
        yield f"The wheel has {name}, which is not one of the packages' files."
