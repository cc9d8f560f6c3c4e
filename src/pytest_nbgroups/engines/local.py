"""Runs an experiment on this machine: leases what it needs, then runs it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from pytest_nbgroups.core.cancellation import Cancellation
from pytest_nbgroups.core.errors import LeaseCancelledError, LeaseError, LeaseTimeoutError
from pytest_nbgroups.core.events import Event, ExperimentFinished, ExperimentWaiting
from pytest_nbgroups.core.model import (
    Experiment,
    ExperimentOutcome,
    ExperimentResult,
    Failure,
    FailureKind,
    NotebookOutcome,
    NotebookResult,
)
from pytest_nbgroups.core.resources import Need, Resources
from pytest_nbgroups.declarations.environment import environment_of
from pytest_nbgroups.declarations.requirements import hindrance
from pytest_nbgroups.engines.planner import Planner
from pytest_nbgroups.execution.experiment import run_experiment
from pytest_nbgroups.execution.halting import OnHalt
from pytest_nbgroups.execution.notebook import Emit
from pytest_nbgroups.kernel_host.client import KernelHost
from pytest_nbgroups.kernels.holding import Holding, Neighbour, Sample
from pytest_nbgroups.leases import lender
from pytest_nbgroups.leases.pool import HeldLease
from pytest_nbgroups.machine import affinity
from pytest_nbgroups.resume.attempt import Attempt, looked
from pytest_nbgroups.scheduling.threads import thread_count, thread_variables

CUDA_VISIBLE = "CUDA_VISIBLE_DEVICES"


def run_leased(  # noqa: PLR0913  each is a fact of its own
    experiment: Experiment,
    emit: Emit,
    *,
    planner: Planner,
    host: KernelHost,
    cancellation: Cancellation,
    env: Mapping[str, str],
    nodeid: str = "",
    on_halt: OnHalt | None = None,
) -> ExperimentResult:
    """Wait for the lease, run the experiment in it, release it.

    As `run_experiment`, which does the running; ``env`` is what the kernels' environment is made
    from. No deadline counts the wait. That the lease could not be had is in the result.
    """
    experiment = _grantable(experiment, planner)
    attempt = attempt_at(experiment, planner, env, cancellation=cancellation)
    run = partial(
        run_experiment,
        experiment,
        settings=planner.settings,
        host=host,
        cancellation=cancellation,
        attempt=attempt,
        on_halt=on_halt,
    )
    if hindrance(experiment, environment_of(experiment, env)) or _is_reused(attempt, planner):
        return run(emit, env=env)
    ending = _Ending(experiment=experiment, emit=emit, planner=planner)
    need = planner.need(experiment.name, experiment.resources)
    try:
        with planner.pool.lease(
            planner.claim(experiment.name, nodeid, need, place=experiment.place),
            admission=planner.admission,
            on_wait=ending.tell_wait,
            cancelled=lambda: cancellation.reason is not None,
            wait_s=planner.settings.wait_s,
        ) as held:
            ending.held = held
            run(
                ending.receive,
                env={**env, **_threads(experiment, held, planner, env)},
                holding=_holding(held, need, planner, experiment.resources),
            )
    except LeaseCancelledError as exc:
        ending.without_run(str(exc))
    except LeaseTimeoutError as exc:
        remedy = "end what holds it, or wait longer with --experiment-wait"
        ending.without_run(
            str(exc), error=Failure(kind=FailureKind.LEASE, message=str(exc), remedy=remedy)
        )
    except LeaseError as exc:
        ending.without_run(str(exc), error=Failure(kind=FailureKind.LEASE, message=str(exc)))
    except KeyboardInterrupt:
        ending.without_run("interrupted while it waited for its lease")
        raise
    finally:
        ending.tell()
    return ending.result


def attempt_at(
    experiment: Experiment,
    planner: Planner,
    env: Mapping[str, str],
    *,
    cancellation: Cancellation | None = None,
) -> Attempt:
    """What may be reused of the last attempt, and what is recorded of this one."""
    return Attempt(
        experiment,
        planner.settings,
        session=planner.knowledge.session,
        env=environment_of(experiment, env),
        cancellation=cancellation,
    )


def _is_reused(attempt: Attempt, planner: Planner) -> bool:
    """Whether nothing of it has to run, so that it needs no lease."""
    if planner.settings.resume:
        with contextlib.suppress(Exception):  # it is looked for again within the run
            looked(attempt)
    return attempt.is_whole


def _grantable(experiment: Experiment, planner: Planner) -> Experiment:
    """Have it skipped, or failed, where what it declares can never be granted."""
    refusal = planner.never(experiment.resources)
    if experiment.problem or experiment.skip or refusal is None:
        return experiment
    if refusal.fails:
        return replace(experiment, problem=refusal.reason)
    return replace(experiment, skip=refusal.reason)


def _threads(
    experiment: Experiment, held: HeldLease, planner: Planner, env: Mapping[str, str]
) -> Mapping[str, str]:
    count = thread_count(
        experiment.resources.cpus,
        budget_cpus=planner.budget.cpus,
        parallel=planner.knowledge.parallel,
    )
    visible = len(held.bound_cpus or affinity.available_cpus()) or None
    return thread_variables(count, {**env, **experiment.env}, visible_cpus=visible)


def _holding(held: HeldLease, need: Need, planner: Planner, declared: Resources) -> Holding:
    def publish(sample: Sample) -> None:
        held.update(sample.used_bytes, sample.gpu_used_bytes)

    def gpu_memory(pids: Collection[int]) -> Mapping[str, int] | None:
        return planner.gpu_memory(pids, held.gpus) if need.gpus else None

    def bind(pid: int) -> str | None:
        return affinity.apply(pid, held.bound_cpus) if held.bound_cpus else None

    def neighbours() -> Sequence[Neighbour]:
        return [
            Neighbour(
                experiment=other.experiment,
                used_bytes=other.used_bytes,
                shares_limit=other.ram_domain == held.claim.ram_domain,
            )
            for other in planner.others(held.claim)
        ]

    return Holding(
        descriptors=held.descriptors,
        on_start=bind,
        env={**_visible_gpus(held, planner), lender.VARIABLE: held.claim.ticket},
        on_sample=publish,
        gpu_memory=gpu_memory,
        kill_counts=planner.kill_counts,
        neighbours=neighbours,
        ram_limit=declared.ram if declared.ram_limit else None,
    )


def _visible_gpus(held: HeldLease, planner: Planner) -> dict[str, str]:
    """What makes CUDA see the leased GPUs alone, and none without a lease of one."""
    names = {gpu.uuid: gpu for gpu in planner.budget.gpus}
    by_index = planner.settings.gpu_naming == "index"
    chosen = [
        str(names[uuid].index) if by_index and names[uuid].parent_uuid is None else uuid
        for uuid in held.gpus
    ]
    return {CUDA_VISIBLE: ",".join(chosen), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


@dataclass(kw_only=True)
class _Ending:
    """Holds an experiment's last event back until its lease is released."""

    experiment: Experiment
    emit: Emit
    planner: Planner
    held: HeldLease | None = None
    finished: ExperimentFinished | None = None
    trouble: tuple[str, ...] = ()

    @property
    def result(self) -> ExperimentResult:
        assert self.finished is not None  # noqa: S101  told by run_experiment, else made here
        result = self.finished.result
        return replace(result, warnings=(*result.warnings, *self.trouble))

    def receive(self, event: Event) -> None:
        if isinstance(event, ExperimentFinished):
            self.finished = event
        else:
            self.emit(event)

    def tell_wait(self, reason: str) -> None:
        self._emit(
            ExperimentWaiting(experiment=self.experiment.name, at=time.time(), reason=reason)
        )

    def without_run(self, reason: str, *, error: Failure | None = None) -> None:
        """Make the result of an experiment that never got its lease: without an error, interrupted."""
        if self.finished is not None:
            return
        result = ExperimentResult(
            name=self.experiment.name,
            directory=self.experiment.directory,
            outcome=ExperimentOutcome.FAILED if error else ExperimentOutcome.INTERRUPTED,
            reason=reason,
            notebooks=tuple(
                NotebookResult(name=notebook.name, outcome=NotebookOutcome.NOT_RUN)
                for notebook in self.experiment.notebooks
            ),
            started_at=time.time(),
            error=error,
        )
        self.finished = ExperimentFinished(
            experiment=self.experiment.name, at=time.time(), result=result
        )

    def tell(self) -> None:
        if self.finished is None:
            return
        result = replace(
            self.finished.result,
            lease=self.held.record if self.held else None,
            estimate=self.planner.estimate(self.experiment.name),
        )
        self.finished = replace(self.finished, at=time.time(), result=result)
        self._emit(self.finished)

    def _emit(self, event: Event) -> None:
        """Hand an event on. What the listener raises is a warning, as within the run."""
        try:
            self.emit(event)
        except Exception as exc:  # noqa: BLE001  the user's code
            self.trouble += (f"on_event raised {type(exc).__name__}: {exc}",)
