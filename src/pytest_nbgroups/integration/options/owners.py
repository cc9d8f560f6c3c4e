"""The owners of options and ini keys that a project, or another plugin, has under our names."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_nbgroups.integration.options.command_line import lines_of


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
