"""The pytest11 entry point. Each hook dispatches; heavy modules are imported when they are needed."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

import pytest

from pytest_nbgroups.integration.markers import MARKERS, is_declared_to_run
from pytest_nbgroups.integration.options import command_line
from pytest_nbgroups.integration.options.command_line import is_on
from pytest_nbgroups.integration.options.resolve import refuse_item_arguments, refuse_plan_alone

if TYPE_CHECKING:
    from pytest_nbgroups.core.model import ExperimentResult


# Around the loading: before it to hide values that look like paths, after it to give way to conftests.
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(
    early_config: pytest.Config, parser: pytest.Parser, args: list[str]
) -> Generator[None]:
    command_line.hide_values(early_config, parser, args)
    try:
        return (yield)
    finally:
        command_line.take_options(early_config, parser, args)


# Before every other plugin's, which may ask for our options.
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, object, object]:
    command_line.publish(config)
    return (yield)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    from pytest_nbgroups import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    if not is_on(config):
        refuse_plan_alone(config)
        refuse_item_arguments(config)
        return
    from pytest_nbgroups.integration.as_installed import session

    session.configure(config)


# The first answer counts, and xdist has one of its own. The hook does not exist without xdist.
@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    if not is_on(config):
        return None
    from pytest_nbgroups.integration.as_installed import session

    return session.auto_num_workers(config)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if is_declared_to_run(item) and not is_on(item.config):
        pytest.skip("needs --run-experiments")


@pytest.fixture
def run_experiment(request: pytest.FixtureRequest) -> Callable[..., ExperimentResult]:
    """Run an experiment within a test: ``run_experiment("Heart")``.

    The path is relative to the test's directory, an experiment root or the rootdir. The test fails
    or is skipped as the experiment does; else the `ExperimentResult` is returned.
    """
    if not is_on(request.config):
        pytest.skip("needs --run-experiments")
    from pytest_nbgroups.integration.as_installed import session

    return session.fixture_for(request)
