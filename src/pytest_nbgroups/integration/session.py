"""The composition root: what is made, and for which role. A process is alone, controller or worker."""

from __future__ import annotations

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
from pytest_nbgroups.core.identity import session_id
from pytest_nbgroups.core.model import Experiment
from pytest_nbgroups.core.resources import Budget, Resources
from pytest_nbgroups.core.settings import Settings
from pytest_nbgroups.declarations.directory import read_pyproject
from pytest_nbgroups.declarations.fate import declared_fate
from pytest_nbgroups.engines.planner import MachineState, Planner
from pytest_nbgroups.engines.protocol import Engine, Knowledge
from pytest_nbgroups.engines.this_machine import ThisMachine
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
    has_test_files,
    resolve_item_arguments,
)
from pytest_nbgroups.integration.shard_selection import of_shard, record_of
from pytest_nbgroups.integration.terminal import ExperimentReporter
from pytest_nbgroups.integration.xdist import channel, limits
from pytest_nbgroups.integration.xdist.idle import IdleWorker
from pytest_nbgroups.reports.lines import plain_lines
from pytest_nbgroups.scheduling.planning import Parallelism
from pytest_nbgroups.scheduling.sharding import ORDINARY, ShardRecord

if TYPE_CHECKING:
    from pytest_nbgroups.core.model import ExperimentResult
    from pytest_nbgroups.history.store import History
    from pytest_nbgroups.integration.debugging import KernelPrompt

Role: TypeAlias = Literal["alone", "controller", "worker"]


@dataclass(kw_only=True, eq=False)
class LiveSession:
    """The facts of a session in this process. `SessionFacts` documents those without a docstring."""

    config: pytest.Config
    settings: Settings
    scope: Scope
    started_at: float
    """Seconds since the epoch."""
    controller: channel.Controller | None = None
    """In the controller of xdist's workers."""

    @cached_property
    def session(self) -> str:
        return session_id(self.started_at, uuid.uuid4().hex[:6])

    @property
    def budget(self) -> Budget:
        return self.planner.budget

    @cached_property
    def planner(self) -> Planner:
        """Raises pytest.UsageError for GPUs or a lease pool that cannot be used."""
        handed_down = channel.knowledge_of_worker(self.config)
        try:
            return Planner(handed_down or self._started[0], self.settings)
        except (LeaseError, SelectionError) as exc:
            raise pytest.UsageError(str(exc)) from exc

    @cached_property
    def engine(self) -> Engine:
        """Raises pytest.UsageError for a lease pool that cannot be used."""
        # Imports nbclient and zmq, which collection and xdist's controller can do without.
        from pytest_nbgroups.engines.local import LocalEngine

        try:
            engine = LocalEngine(self._machine)
        except LeaseError as exc:
            raise pytest.UsageError(str(exc)) from exc
        self.config.add_cleanup(engine.close)
        return engine

    @cached_property
    def _machine(self) -> ThisMachine:
        """Raises LeaseError."""
        return ThisMachine.open()

    def machine_state(self) -> MachineState:
        return self._machine.state(self.budget)

    @property
    def history(self) -> History:
        return self._started[1]

    @cached_property
    def _started(self) -> tuple[Knowledge, History]:
        """Found and opened in the process that looks at the machine; closed when pytest ends."""
        # Imports sqlite3 and what finds GPUs, which workers can do without.
        from pytest_nbgroups.engines.session_start import open_session

        start = open_session(
            self._machine, self.settings, session=self.session, started_at=self.started_at
        )
        return self._opened.enter_context(start)

    @cached_property
    def _opened(self) -> ExitStack:
        opened = ExitStack()
        self.config.add_cleanup(opened.close)
        return opened

    def end_history(self) -> tuple[str, ...]:
        self._opened.close()
        return (*self.history.notes, *self.history.warnings)

    @cached_property
    def fitting(self) -> Parallelism:
        return self.planner.fitting(self.declared)

    @cached_property
    def declared(self) -> list[tuple[str, Resources]]:
        return [(e.name, e.resources) for e in self.experiments if declared_fate(e).runs]

    @cached_property
    def has_ordinary_tests(self) -> bool:
        shard = self.settings.shard
        runs_here = shard is None or shard.index == ORDINARY
        return runs_here and has_test_files(self.config, self.scope)

    @cached_property
    def experiments(self) -> tuple[Experiment, ...]:
        found = find_experiments(self.scope)
        return of_shard(found, self.settings.shard, self.config.rootpath)

    @property
    def shard_record(self) -> ShardRecord | None:
        return self.controller.shard if self.controller else record_of(self.config)

    def not_run(self) -> list[str]:
        return self.controller.not_run() if self.controller else []


COLLECTION = "nbgroups-collection"
_PREPARED = pytest.StashKey[LiveSession]()


def prepare(config: pytest.Config) -> LiveSession:
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
        config.stash[_PREPARED] = LiveSession(
            config=config, settings=settings, scope=scope, started_at=time.time()
        )
    return config.stash[_PREPARED]


def role_of(config: pytest.Config) -> Role:
    if hasattr(config, "workerinput"):
        return "worker"
    distributes = config.getoption("dist", "no") != "no" and bool(config.getoption("tx", None))
    return "controller" if distributes and not config.getoption("collectonly") else "alone"


def auto_num_workers(config: pytest.Config) -> int | None:
    """Return the workers for ``-n auto``: as many as experiments can ever run at once.

    With ordinary tests, which need no lease, there are at least as many as CPUs in the budget. None leaves the
    number to xdist, because the user has set it.
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
        # Imports what reads notebooks.
        from pytest_nbgroups.integration.plan.plan_only import PlanOnly, without_workers

        plan = PlanOnly(prepared, without_workers(config))
        config.pluginmanager.register(plan, "nbgroups-plan")
    cancellation = Cancellation()
    runner = Runner(
        prepared,
        deliver=_deliver(prepared, cancellation),
        cancellation=cancellation,
        prompt=_prompt(config),
    )
    config.pluginmanager.register(ExperimentCollection(prepared.scope, runner), COLLECTION)
    config.pluginmanager.register(GpuDefault(prepared), "nbgroups-gpu-default")
    config.add_cleanup(signals.end_on_sigterm())


def _prompt(config: pytest.Config) -> KernelPrompt | None:
    if not config.getoption("usepdb", False):  # noqa: FBT003  -p no:debugging
        return None
    from pytest_nbgroups.integration.debugging import KernelPrompt

    prompt = KernelPrompt(config)
    config.pluginmanager.register(prompt, "nbgroups-kernel-prompt")
    return prompt


def _deliver(prepared: LiveSession, cancellation: Cancellation) -> Deliver:
    """Register who reports in this process; return who takes the events of its experiments."""
    config, plugins = prepared.config, prepared.config.pluginmanager
    role = role_of(config)
    if role == "worker":
        link = channel.WorkerLink(prepared, cancellation)
        plugins.register(link, "nbgroups-worker")
        plugins.register(IdleWorker(), "nbgroups-idle")
        return link.deliver
    _ = prepared.planner  # a usage error comes before anything is registered
    reporter = ExperimentReporter(facts=prepared, has_workers=role == "controller")
    if not prepared.settings.plan:
        plugins.register(reporter, "nbgroups-terminal")
        plugins.register(OneAnnotation(config), "nbgroups-annotations")
    audience = _Audience(reporter=reporter, prepared=prepared)
    if role == "controller":
        # Not when the planner is made: for -n auto that is before there are workers.
        prepared.planner.share_among(limits.worker_count(config), prepared.declared)
        prepared.controller = channel.Controller(prepared, audience)
        plugins.register(prepared.controller, "nbgroups-controller")
    return audience.receive


@dataclass(frozen=True, kw_only=True)
class _Audience:
    """Takes the events of all experiments, for history, terminal and planner."""

    reporter: ExperimentReporter
    prepared: LiveSession

    def receive(self, event: Event, *, nodeid: str, worker: str = "") -> None:
        self.prepared.history.receive(event, nodeid=nodeid, worker=worker)
        self.reporter.receive(event, nodeid=nodeid, worker=worker)
        has_learned = self.prepared.planner.learn(event)
        if has_learned and self.prepared.controller:
            self.prepared.controller.send_slow_start()

    def worker_crashed(
        self, nodeid: str, *, worker: str, message: str
    ) -> tuple[str, ExperimentResult] | None:
        lost = self.reporter.worker_crashed(nodeid, worker=worker, message=message)
        if lost is not None:
            self.prepared.history.record_experiment(lost[1], nodeid=lost[0], worker=worker)
        return lost


def fixture_for(request: pytest.FixtureRequest) -> RunExperiment:
    """Return the value of the ``run_experiment`` fixture."""
    collection = request.config.pluginmanager.get_plugin(COLLECTION)
    assert isinstance(collection, ExperimentCollection)  # noqa: S101  registered by configure
    return RunExperiment(request, collection)
