"""The composition root: what is made, and for which role. A process is alone, controller or worker."""

from __future__ import annotations

import os
import time
import uuid
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeAlias

import pytest

from pytest_nbgroups.core.cancellation import Cancellation
from pytest_nbgroups.core.errors import DeclarationError, LeaseError, SelectionError
from pytest_nbgroups.core.events import Event
from pytest_nbgroups.core.model import Experiment
from pytest_nbgroups.core.resources import Budget, Resources
from pytest_nbgroups.core.settings import Settings, Shard
from pytest_nbgroups.declarations.directory import read_pyproject
from pytest_nbgroups.engines.planner import Knowledge, Planner
from pytest_nbgroups.integration import signals
from pytest_nbgroups.integration.annotations import OneAnnotation
from pytest_nbgroups.integration.collection import ExperimentCollection
from pytest_nbgroups.integration.fixture import RunExperiment
from pytest_nbgroups.integration.gpu_default import GpuDefault
from pytest_nbgroups.integration.options.resolve import read_settings
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
from pytest_nbgroups.integration.shard_selection import of_shard, record_of
from pytest_nbgroups.integration.summary import Summary
from pytest_nbgroups.integration.terminal import Telling
from pytest_nbgroups.integration.xdist import channel, limits
from pytest_nbgroups.integration.xdist.idle import IdleWorker
from pytest_nbgroups.leases.pool import LeasePool
from pytest_nbgroups.leases.pool_folder import default_folder
from pytest_nbgroups.reports.lines import plain_lines
from pytest_nbgroups.reports.session_file import session_id
from pytest_nbgroups.scheduling.planning import Parallelism
from pytest_nbgroups.scheduling.sharding import ORDINARY

if TYPE_CHECKING:
    from pytest_nbgroups.core.model import ExperimentResult
    from pytest_nbgroups.history.store import History
    from pytest_nbgroups.integration.debugging import KernelPrompt
    from pytest_nbgroups.integration.plan.plan_only import PlanOnly

Role: TypeAlias = Literal["alone", "controller", "worker"]


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What is known before collection."""

    config: pytest.Config
    settings: Settings
    scope: Scope
    started_at: float
    """Seconds since the epoch."""

    @cached_property
    def session(self) -> str:
        """Names the session's record and its leases."""
        return session_id(self.started_at, uuid.uuid4().hex[:6])

    @property
    def budget(self) -> Budget:
        return self.planner.budget

    @cached_property
    def planner(self) -> Planner:
        """Raises pytest.UsageError for GPUs or a lease pool that cannot be used."""
        handed_down = channel.knowledge_of_worker(self.config)
        try:
            knowledge = handed_down or self._begun[0]
            return Planner(knowledge, self.settings, self._pool)
        except (LeaseError, SelectionError) as exc:
            raise pytest.UsageError(str(exc)) from exc

    @cached_property
    def _pool(self) -> LeasePool:
        """Raises LeaseError."""
        return LeasePool(default_folder(os.environ))

    @property
    def history(self) -> History:
        """Not for workers: one process of a session writes."""
        return self._begun[1]

    @cached_property
    def _begun(self) -> tuple[Knowledge, History]:
        """Found and opened in the process that looks about; closed when pytest ends."""
        # Brings in sqlite3 and what finds GPUs, which workers can do without.
        from pytest_nbgroups.engines.outset import begun

        return self._opened.enter_context(
            begun(
                self.settings,
                pool=self._pool,
                session=self.session,
                started_at=self.started_at,
            )
        )

    @cached_property
    def _opened(self) -> ExitStack:
        opened = ExitStack()
        self.config.add_cleanup(opened.close)
        return opened

    def end_history(self) -> tuple[str, ...]:
        """Close it; give what is to be told of it."""
        self._opened.close()
        return (*self.history.notes, *self.history.warnings)

    @cached_property
    def fitting(self) -> Parallelism:
        """How many of the experiments can ever run at once."""
        return self.planner.fitting(self.declared)

    @cached_property
    def declared(self) -> list[tuple[str, Resources]]:
        return [(e.name, e.resources) for e in self.experiments if not e.problem and not e.skip]

    @cached_property
    def has_ordinary_tests(self) -> bool:
        shard = self.settings.shard
        runs_here = shard is None or shard.index == ORDINARY
        return runs_here and has_test_files(self.config, self.scope)

    @cached_property
    def experiments(self) -> tuple[Experiment, ...]:
        """What collection will find, were nothing deselected."""
        found = find_experiments(self.scope)
        return of_shard(found, self.settings.shard, self.config.rootpath)


COLLECTION = "nbgroups-collection"
_PREPARED = pytest.StashKey[Prepared]()


def prepare(config: pytest.Config) -> Prepared:
    """Read settings, declarations and arguments, once. Raises pytest.UsageError."""
    if _PREPARED not in config.stash:
        settings = read_settings(config)
        try:
            patterns = read_pyproject(config.rootpath)
        except DeclarationError as exc:
            raise pytest.UsageError("\n".join(plain_lines(str(exc)))) from exc
        added = complete_arguments(config, settings)
        scope = find_scope(config, settings, customize(config, config.hook, patterns), added)
        resolve_item_arguments(config, scope)
        config.stash[_PREPARED] = Prepared(
            config=config, settings=settings, scope=scope, started_at=time.time()
        )
    return config.stash[_PREPARED]


def role_of(config: pytest.Config) -> Role:
    if hasattr(config, "workerinput"):
        return "worker"
    distributes = config.getoption("dist", "no") != "no" and bool(config.getoption("tx", None))
    return "controller" if distributes and not config.getoption("collectonly") else "alone"


def auto_num_workers(config: pytest.Config) -> int | None:
    """Workers for ``-n auto``: as many as experiments can ever run at once.

    Ordinary tests, which hold nothing, bring it up to the CPU budget. None leaves it to xdist, where
    the user has decided already.
    """
    if limits.user_decides(config):
        return None
    prepared = prepare(config)
    if prepared.has_ordinary_tests:
        return max(prepared.fitting.fit, int(prepared.budget.cpus), 1)
    return prepared.fitting.fit


def configure(config: pytest.Config) -> None:
    """Make and register the parts of this process's role."""
    limits.refuse_unsupported(config)
    prepared = prepare(config)
    if prepared.settings.plan:
        config.pluginmanager.register(_plan_only(config, prepared), "nbgroups-plan")
    role = role_of(config)
    cancellation = Cancellation()
    runner = Runner(
        config=config,
        settings=prepared.settings,
        planner=lambda: prepared.planner,
        deliver=_deliver(config, prepared, role, cancellation),
        cancellation=cancellation,
        prompt=_prompt(config),
        is_ignored=prepared.scope.is_ignored,
    )
    config.add_cleanup(runner.close)
    config.pluginmanager.register(ExperimentCollection(prepared.scope, runner), COLLECTION)
    config.pluginmanager.register(GpuDefault(lambda: prepared.planner), "nbgroups-gpu-default")
    config.add_cleanup(signals.end_on_sigterm())


def _prompt(config: pytest.Config) -> KernelPrompt | None:
    if not config.getoption("usepdb", False):  # noqa: FBT003  -p no:debugging
        return None
    from pytest_nbgroups.integration.debugging import KernelPrompt

    prompt = KernelPrompt(config)
    config.pluginmanager.register(prompt, "nbgroups-kernel-prompt")
    return prompt


def _plan_only(config: pytest.Config, prepared: Prepared) -> PlanOnly:
    # Brings in what reads notebooks, as the prompt above does what starts kernels.
    from pytest_nbgroups.integration.plan.plan_only import PlanOnly, without_workers

    return PlanOnly(
        config,
        without_workers(config),
        planner=lambda: prepared.planner,
        history_warnings=lambda: prepared.history.warnings,
    )


def _deliver(
    config: pytest.Config, prepared: Prepared, role: Role, cancellation: Cancellation
) -> Deliver:
    if role == "worker":
        link = channel.WorkerLink(config, cancellation, lambda: prepared.planner)
        config.pluginmanager.register(link, "nbgroups-worker")
        config.pluginmanager.register(IdleWorker(), "nbgroups-idle")
        return link.deliver
    audience = _Audience(telling=_telling(config, prepared, role), prepared=prepared)
    if not prepared.settings.plan:
        config.pluginmanager.register(audience.telling, "nbgroups-terminal")
        config.pluginmanager.register(OneAnnotation(config), "nbgroups-annotations")
    if role == "controller":
        # Not when the planner is made: for -n auto that is before there are workers.
        prepared.planner.share_among(limits.worker_count(config), prepared.declared)
        controller = channel.Controller(config, audience, lambda: prepared.planner)
        config.pluginmanager.register(controller, "nbgroups-controller")
        audience.telling.not_run = controller.not_run
        audience.telling.summary.shard = lambda: controller.shard
    return audience.receive


def _telling(config: pytest.Config, prepared: Prepared, role: Role) -> Telling:
    return Telling(
        config=config,
        budget=lambda: prepared.budget,
        estimate=prepared.planner.estimate,
        experiments=lambda: prepared.experiments,
        fitting=lambda: prepared.fitting,
        places=lambda: places(prepared.scope),
        part=_part(prepared.settings.shard),
        has_companions=lambda: has_companions(config, prepared.experiments),
        has_workers=role == "controller",
        on_cut_off=lambda result: prepared.history.record_experiment(result, nodeid=""),
        summary=Summary(
            config=config,
            artifacts=prepared.settings.artifacts,
            session=prepared.session,
            started_at=prepared.started_at,
            budget=lambda: prepared.budget,
            end_history=prepared.end_history,
            shard=lambda: record_of(config),
        ),
    )


def _part(shard: Shard | None) -> str:
    return "" if shard is None else f" for shard {shard.index}/{shard.count}"


@dataclass(frozen=True, kw_only=True)
class _Audience:
    """Who hears of experiments where the user looks on: the terminal, history, the planner."""

    telling: Telling
    prepared: Prepared

    def receive(self, event: Event, *, nodeid: str, worker: str = "") -> None:
        self.prepared.history.receive(event, nodeid=nodeid, worker=worker)
        self.telling.receive(event, nodeid=nodeid, worker=worker)
        if not worker:
            self.prepared.planner.learn(event)

    def worker_crashed(
        self, nodeid: str, *, worker: str, message: str
    ) -> tuple[str, ExperimentResult] | None:
        lost = self.telling.worker_crashed(nodeid, worker=worker, message=message)
        if lost is not None:
            self.prepared.history.record_experiment(lost[1], nodeid=lost[0], worker=worker)
        return lost


def fixture_for(request: pytest.FixtureRequest) -> RunExperiment:
    """What the ``run_experiment`` fixture gives a test."""
    collection = request.config.pluginmanager.get_plugin(COLLECTION)
    assert isinstance(collection, ExperimentCollection)  # noqa: S101  registered by configure
    return RunExperiment(request, collection)
