"""Families: an experiment and all items in or below its directory. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_nbgroups.core.model import WHOLE_DIRECTORY


def experiment_directories(nodeids: Iterable[str]) -> frozenset[str]:
    """Return the directories of the experiments."""
    found = (nodeid.partition("::") for nodeid in nodeids)
    return frozenset(
        directory for directory, _, item in found if item.partition("@")[0] == WHOLE_DIRECTORY
    )


def family_of(nodeid: str, directories: frozenset[str]) -> str | None:
    """Return the outermost experiment directory around the item; None outside of them."""
    if "." in directories:  # the rootdir itself
        return "."
    parts = nodeid.partition("::")[0].split("/")
    above = ("/".join(parts[:count]) for count in range(1, len(parts) + 1))
    return next((directory for directory in above if directory in directories), None)
