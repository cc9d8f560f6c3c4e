"""Registers the plugin from a root conftest.py: ``pytest_plugins = ["pytest_nbgroups.register"]``.

Harmless where the entry point has registered it already.
"""

from __future__ import annotations

import pytest

NAME = "nbgroups"


def pytest_addoption(pluginmanager: pytest.PytestPluginManager) -> None:
    from pytest_nbgroups import plugin

    if not pluginmanager.is_registered(plugin) and not pluginmanager.is_blocked(NAME):
        pluginmanager.register(plugin, NAME)
