"""One annotation for a failed experiment, if another plugin annotates failed tests too."""

from __future__ import annotations

from typing import Any

import pytest

_THEIRS = "annotate_errors"
"""Name under which pytest-github-actions-annotate-failures registers its hook for tests."""


class OneAnnotation:
    """Keeps the other plugin to the tests: it knows no notebook, and would annotate a directory."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config

    def pytest_sessionstart(self) -> None:
        # In pytest_configure the other plugin may not be registered yet.
        plugins = self.config.pluginmanager
        theirs = plugins.get_plugin(_THEIRS)
        if hasattr(theirs, "pytest_runtest_logreport"):
            plugins.unregister(theirs)
            plugins.register(_TestsOnly(theirs), _THEIRS)


class _TestsOnly:
    def __init__(self, theirs: Any) -> None:  # noqa: ANN401
        self._theirs = theirs

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not is_annotated(dict(report.user_properties)):
            self._theirs.pytest_runtest_logreport(report=report)


def is_annotated(properties: dict[str, object]) -> bool:
    """Return whether an item failed because of its experiment, which has its own annotation."""
    if "nbgroups_experiment" not in properties:
        return False
    # A test that runs an experiment can also fail by itself, after notebooks that passed.
    none_passed = properties.get("nbgroups_notebooks_passed") == "0"
    return none_passed or "nbgroups_failed_notebook" in properties
