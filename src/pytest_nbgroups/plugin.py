"""The pytest11 entry point. Each hook dispatches; what is heavy is imported where it is needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from pytest_nbgroups.integration.options import (
    add_options,
    refuse_item_arguments,
    refuse_plan_alone,
)

if TYPE_CHECKING:
    from pytest_nbgroups.model import ExperimentResult

MARKERS = (
    "experiment(**resources): an experiment, or a test that runs one and declares its [resources]",
    "gpu: an experiment that declares a GPU",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    from pytest_nbgroups import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    if not config.getoption("run_experiments"):
        refuse_plan_alone(config)
        refuse_item_arguments(config)
        return
    from pytest_nbgroups.integration.as_installed import session

    session.configure(config)


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    if not config.getoption("run_experiments"):
        return None
    from pytest_nbgroups.integration.as_installed import session

    return session.auto_num_workers(config)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("experiment") and not item.config.getoption("run_experiments"):
        pytest.skip("needs --run-experiments")


@pytest.fixture
def run_experiment(request: pytest.FixtureRequest) -> Callable[..., ExperimentResult]:
    """Run an experiment within a test: ``run_experiment("Heart")``.

    The path is relative to the test's directory, an experiment root or the rootdir. The test fails
    or is skipped as the experiment does; else the `ExperimentResult` is returned.
    """
    if not request.config.getoption("run_experiments"):
        pytest.skip("needs --run-experiments")
    from pytest_nbgroups.integration.as_installed import session

    return session.fixture_for(request)
