"""The composition root: what is made, and for which role. A process is alone, controller or worker."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

import pytest

from pytest_nbgroups.directory import read_pyproject
from pytest_nbgroups.errors import DeclarationError
from pytest_nbgroups.execution.cancellation import Cancellation
from pytest_nbgroups.integration import channel, scheduling, signals
from pytest_nbgroups.integration.collection import ExperimentCollection
from pytest_nbgroups.integration.fixture import RunExperiment
from pytest_nbgroups.integration.options import read_settings
from pytest_nbgroups.integration.runner import Deliver, Runner
from pytest_nbgroups.integration.scope import (
    Scope,
    complete_arguments,
    customize,
    find_experiments,
    find_scope,
    has_companions,
    has_test_files,
    places,
    resolve_item_arguments,
)
from pytest_nbgroups.integration.summary import Summary
from pytest_nbgroups.integration.terminal import Telling
from pytest_nbgroups.machine.capacity import find_budget
from pytest_nbgroups.model import Budget, Experiment
from pytest_nbgroups.planning import Parallelism, parallelism
from pytest_nbgroups.settings import Settings

Role: TypeAlias = Literal["alone", "controller", "worker"]


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What is known before collection."""

    config: pytest.Config
    settings: Settings
    scope: Scope

    @cached_property
    def budget(self) -> Budget:
        handed_down = channel.budget_of_worker(self.config)
        return handed_down or find_budget(self.settings)

    @cached_property
    def fitting(self) -> Parallelism:
        """How many of the experiments surely fit at once."""
        return parallelism(
            (e.resources for e in self.experiments if not e.problem and not e.skip),
            self.budget,
            default_ram=self.settings.default_ram,
        )

    @cached_property
    def has_ordinary_tests(self) -> bool:
        return has_test_files(self.config, self.scope)

    @cached_property
    def experiments(self) -> tuple[Experiment, ...]:
        """What collection will find, were nothing deselected."""
        return find_experiments(self.scope)


COLLECTION = "nbgroups-collection"
_PREPARED = pytest.StashKey[Prepared]()


def prepare(config: pytest.Config) -> Prepared:
    """Read settings, declarations and arguments, once. Raises pytest.UsageError."""
    if _PREPARED not in config.stash:
        settings = read_settings(config)
        try:
            patterns = read_pyproject(config.rootpath)
        except DeclarationError as exc:
            raise pytest.UsageError(str(exc)) from exc
        complete_arguments(config, settings)
        scope = find_scope(config, settings, customize(config, config.hook, patterns))
        resolve_item_arguments(config, scope)
        config.stash[_PREPARED] = Prepared(config=config, settings=settings, scope=scope)
    return config.stash[_PREPARED]


def role_of(config: pytest.Config) -> Role:
    if hasattr(config, "workerinput"):
        return "worker"
    distributes = config.getoption("dist", "no") != "no" and bool(config.getoption("tx", None))
    return "controller" if distributes and not config.getoption("collectonly") else "alone"


def auto_num_workers(config: pytest.Config) -> int | None:
    """Workers for ``-n auto``: no more experiments at once than surely fit.

    None leaves it to xdist, where the user has decided already.
    """
    if scheduling.user_decides(config):
        return None
    prepared = prepare(config)
    fits = prepared.fitting
    if fits.fit < fits.experiments or not prepared.has_ordinary_tests:
        return max(1, fits.fit)
    return max(fits.fit, int(prepared.budget.cpus), 1)


def configure(config: pytest.Config) -> None:
    """Make and register the parts of this process's role."""
    scheduling.refuse_unsupported(config)
    prepared = prepare(config)
    role = role_of(config)
    cancellation = Cancellation()
    deliver = _deliver(config, prepared, role, cancellation)
    runner = Runner(
        config=config,
        settings=prepared.settings,
        budget=lambda: prepared.budget,
        deliver=deliver,
        cancellation=cancellation,
    )
    config.add_cleanup(runner.close)
    config.pluginmanager.register(ExperimentCollection(prepared.scope, runner), COLLECTION)
    config.add_cleanup(signals.end_on_sigterm())


def _deliver(
    config: pytest.Config, prepared: Prepared, role: Role, cancellation: Cancellation
) -> Deliver:
    if role == "worker":
        link = channel.WorkerLink(config, cancellation)
        config.pluginmanager.register(link, "nbgroups-worker")
        return link.deliver
    telling = Telling(
        config=config,
        budget=lambda: prepared.budget,
        experiments=lambda: prepared.experiments,
        fitting=lambda: prepared.fitting,
        places=lambda: places(prepared.scope),
        has_companions=lambda: has_companions(config, prepared.experiments),
        has_workers=role == "controller",
        summary=Summary(
            config=config,
            artifacts=prepared.settings.artifacts,
            budget=lambda: prepared.budget,
        ),
    )
    config.pluginmanager.register(telling, "nbgroups-terminal")
    if role == "controller":
        controller = channel.Controller(config, telling, lambda: prepared.budget)
        config.pluginmanager.register(controller, "nbgroups-controller")
    return telling.receive


def fixture_for(request: pytest.FixtureRequest) -> RunExperiment:
    """What the ``run_experiment`` fixture gives a test."""
    collection = request.config.pluginmanager.get_plugin(COLLECTION)
    assert isinstance(collection, ExperimentCollection)  # noqa: S101  registered by configure
    return RunExperiment(request, collection)
