"""Registers the plugin from a root conftest.py: ``pytest_plugins = ["pytest_nbgroups.register"]``.

Harmless if the entry point has registered it already.
"""

from __future__ import annotations

import pytest

NAME = "nbgroups"


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    from pytest_nbgroups import plugin
    from pytest_nbgroups.integration.options.command_line import take_options_at_last

    if not pluginmanager.is_registered(plugin) and not pluginmanager.is_blocked(NAME):
        pluginmanager.register(plugin, NAME)
        config = pluginmanager.get_plugin("pytestconfig")
        assert isinstance(config, pytest.Config)  # noqa: S101  registered when it is made
        take_options_at_last(config, parser)
