"""Names of ours that a project uses itself: the marker ``experiment``, options and ini keys."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from pytest_nbgroups.integration.options.command_line import has_their_switch, lines_of

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


def owner_of(config: pytest.Config, name: str) -> str:
    """Return the place that declares an option or ini key, such as ``tests/conftest.py:12``."""
    for file in _declaring_files(config):
        for number, line in enumerate(lines_of(file), start=1):
            if f'"{name}"' in line or f"'{name}'" in line:
                base = config.rootpath
                shown = file.relative_to(base) if file.is_relative_to(base) else file
                return f"{shown}:{number}"
    return "another plugin"


def _declaring_files(config: pytest.Config) -> Iterator[Path]:
    """Yield the files with a ``pytest_addoption``, the project's own conftests first."""
    found: list[Path] = []
    for plugin in config.pluginmanager.get_plugins():
        try:
            source = inspect.getsourcefile(inspect.unwrap(plugin.pytest_addoption))
        except (AttributeError, TypeError):
            continue
        if source is not None:
            found.append(Path(source))
    yield from sorted(set(found), key=lambda file: not file.is_relative_to(config.rootpath))
