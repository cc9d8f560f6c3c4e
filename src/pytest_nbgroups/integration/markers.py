"""The marker ``experiment``: ours, or a project's own of that name."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from pytest_nbgroups.integration.options.command_line import has_their_switch

MARKER = "experiment"
MARKERS = (
    "experiment(**resources): an experiment, or a test that runs one and declares its [resources]",
    "gpu: an experiment that declares a GPU",
)

_HAS_OWN_MARKER = pytest.StashKey[bool]()


def uses_fixture(item: pytest.Item) -> bool:
    return "run_experiment" in getattr(item, "fixturenames", ())


def is_declared_to_run(item: pytest.Item) -> bool:
    """Return whether an item has our marker ``experiment``, and not a project's own of that name.

    It is the project's if the project has registered it, has its own ``--run-experiments``, or passes
    arguments that ours does not take. Such tests are not skipped and hold no lease, unless they use our fixture.
    """
    marker = item.get_closest_marker(MARKER)
    if marker is None:
        return False
    if uses_fixture(item):
        return True
    return not _has_own_marker(item.config) and not marker.args and _are_resources(marker.kwargs)


def _are_resources(names: Collection[str]) -> bool:
    if not names:
        return True
    # Imported for markers with arguments only: this runs for every test of every session.
    from pytest_nbgroups.declarations.keys import KEYS

    return {key.name for key in KEYS if key.table == "resources"}.issuperset(names)


def _has_own_marker(config: pytest.Config) -> bool:
    if _HAS_OWN_MARKER not in config.stash:
        lines = [line for line in config.getini("markers") if line not in MARKERS]
        names = (line.partition(":")[0].partition("(")[0].strip() for line in lines)
        config.stash[_HAS_OWN_MARKER] = has_their_switch(config) or MARKER in names
    return config.stash[_HAS_OWN_MARKER]
