"""The composition root: what is made, and for which role. A process is alone, controller or worker."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import pytest

from pytest_nbgroups.core.cancellation import Cancellation
from pytest_nbgroups.core.errors import DeclarationError
from pytest_nbgroups.core.events import Event
from pytest_nbgroups.declarations.directory import read_pyproject
from pytest_nbgroups.integration import signals
from pytest_nbgroups.integration.annotations import OneAnnotation
from pytest_nbgroups.integration.collection import ExperimentCollection
from pytest_nbgroups.integration.facts import SessionFacts
from pytest_nbgroups.integration.fixture import RunExperiment
from pytest_nbgroups.integration.gpu_default import GpuDefault
from pytest_nbgroups.integration.options.resolve import read_settings
from pytest_nbgroups.integration.runner import Deliver, Runner
from pytest_nbgroups.integration.scope import (
    complete_arguments,
    customize,
    find_scope,
    resolve_item_arguments,
)
from pytest_nbgroups.integration.terminal import ExperimentReporter
from pytest_nbgroups.integration.xdist import channel, limits
from pytest_nbgroups.integration.xdist.idle import IdleWorker
from pytest_nbgroups.reports.lines import plain_lines

if TYPE_CHECKING:
    from pytest_nbgroups.core.model import ExperimentResult
    from pytest_nbgroups.integration.debugging import KernelPrompt

Role: TypeAlias = Literal["alone", "controller", "worker"]

COLLECTION = "nbgroups-collection"
_PREPARED = pytest.StashKey[SessionFacts]()


def prepare(config: pytest.Config) -> SessionFacts:
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
        config.stash[_PREPARED] = SessionFacts(
            config=config, settings=settings, scope=scope, started_at=time.time()
        )
    return config.stash[_PREPARED]


def role_of(config: pytest.Config) -> Role:
    if hasattr(config, "workerinput"):
        return "worker"
    # As xdist decides it: with --collect-only it starts no worker.
    distributes = config.getoption("dist", "no") != "no" and bool(config.getoption("tx", None))
    return "controller" if distributes and not config.getoption("collectonly") else "alone"


def auto_num_workers(config: pytest.Config) -> int | None:
    """Return the workers for ``-n auto``; None leaves the number to xdist."""
    if limits.user_decides(config):
        return None
    prepared = prepare(config)
    # More workers would only wait for leases; ordinary tests need none and use all CPUs.
    if prepared.has_ordinary_tests:
        return max(prepared.fitting.fit, int(prepared.budget.cpus), 1)
    return prepared.fitting.fit


def configure(config: pytest.Config) -> None:
    """Make and register the parts of this process's role."""
    limits.refuse_unsupported(config)
    prepared = prepare(config)
    if prepared.settings.plan:
        # Imports what reads notebooks, which most sessions can do without.
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
    # pluggy calls what is registered later first: so this comes before pytest's own -m gpu.
    config.pluginmanager.register(GpuDefault(prepared), "nbgroups-gpu-default")
    config.add_cleanup(signals.end_on_sigterm())


def _prompt(config: pytest.Config) -> KernelPrompt | None:
    if not config.getoption("usepdb", False):  # noqa: FBT003  -p no:debugging
        return None
    from pytest_nbgroups.integration.debugging import KernelPrompt

    prompt = KernelPrompt(config)
    config.pluginmanager.register(prompt, "nbgroups-kernel-prompt")
    return prompt


def _deliver(prepared: SessionFacts, cancellation: Cancellation) -> Deliver:
    """Register the reporters of this process; return the receiver of its events."""
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
        prepared.workers = controller = channel.Controller(prepared, audience)
        plugins.register(controller, "nbgroups-controller")
    return audience.receive


@dataclass(frozen=True, kw_only=True)
class _Audience:
    """Takes the events of all experiments, for history, terminal and planner."""

    reporter: ExperimentReporter
    prepared: SessionFacts

    def receive(self, event: Event, *, nodeid: str, worker: str = "") -> None:
        self.prepared.history.receive(event, nodeid=nodeid, worker=worker)
        self.reporter.receive(event, nodeid=nodeid, worker=worker)
        has_learned = self.prepared.planner.learn(event)
        if has_learned and self.prepared.workers:
            self.prepared.workers.send_slow_start()

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
