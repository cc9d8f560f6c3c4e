"""The local engine: leases the needs of an experiment on this machine, then runs it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from pytest_nbgroups.core.cancellation import Cancellation
from pytest_nbgroups.core.errors import LeaseCancelledError, LeaseError, LeaseTimeoutError
from pytest_nbgroups.core.events import Emit, Event, ExperimentFinished, ExperimentWaiting
from pytest_nbgroups.core.model import (
    Experiment,
    ExperimentOutcome,
    ExperimentResult,
    Failure,
    FailureKind,
    unrun,
)
from pytest_nbgroups.core.resources import Estimate, Need, Resources
from pytest_nbgroups.declarations.environment import environment_of
from pytest_nbgroups.declarations.fate import Fate, fate_of
from pytest_nbgroups.engines.planner import Planner
from pytest_nbgroups.engines.protocol import Knowledge, Order
from pytest_nbgroups.engines.this_machine import ThisMachine
from pytest_nbgroups.execution.experiment import run_experiment
from pytest_nbgroups.execution.failures import bounded
from pytest_nbgroups.execution.halting import Halts, OnHalt
from pytest_nbgroups.execution.run import Run
from pytest_nbgroups.kernel_host.client import KernelHost
from pytest_nbgroups.kernels.holding import Holding, Neighbour, Sample
from pytest_nbgroups.leases import lender
from pytest_nbgroups.leases.pool import HeldLease
from pytest_nbgroups.machine import affinity
from pytest_nbgroups.resume.attempt import Attempt, looked
from pytest_nbgroups.scheduling.threads import thread_count, thread_variables

CUDA_VISIBLE = "CUDA_VISIBLE_DEVICES"


class LocalEngine:
    """Runs experiments on this machine, one at a time: the engine of a single process."""

    def __init__(self, machine: ThisMachine) -> None:
        self._machine = machine
        self._host = KernelHost()

    def close(self) -> None:
        self._host.close()

    def run(
        self,
        order: Order,
        emit: Emit,
        *,
        cancellation: Cancellation,
        on_halt: OnHalt | None = None,
    ) -> ExperimentResult:
        """Carry out an order, as `Engine.run` requires: wait for the lease, run, release.

        Deadlines do not count the wait. An experiment that does not begin, or that is reused as a whole, needs
        no lease. If the lease is not granted, the result has the reason.
        """
        experiment, settings = order.experiment, order.settings
        planner = Planner(order.knowledge, settings)
        env = environment_of(experiment, order.env)
        refusal = planner.refusal(experiment.resources)
        fate = fate_of(experiment, env, artifacts=settings.artifacts, refusal=refusal)
        if not fate.runs:
            return _settled(experiment, fate, emit)
        attempt = Attempt(
            experiment,
            settings,
            session=order.knowledge.session,
            env=env,
            cancellation=cancellation,
        )
        run = partial(
            Run,
            experiment=experiment,
            settings=settings,
            host=self._host,
            attempt=attempt,
            halts=Halts(on_halt),
        )
        if settings.resume and _is_reused(attempt):
            return run_experiment(run(listener=emit, env=env), cancellation)
        ending = _Ending(
            experiment=experiment, emit=emit, estimate=planner.estimate(experiment.name)
        )
        need = planner.need(experiment.name, experiment.resources)
        try:
            with self._machine.pool.lease(
                planner.claim(experiment.name, order.nodeid, need, place=experiment.place),
                admission=partial(planner.admission, self._machine.readings),
                on_wait=ending.emit_wait,
                cancelled=lambda: cancellation.reason is not None,
                wait_s=settings.wait_s,
            ) as held:
                ending.held = held
                if held.waited_for:
                    attempt.reuse = None  # files may have changed since they were looked at
                threads = _threads(experiment.resources, held, order.knowledge, env)
                leased = run(
                    listener=ending.receive,
                    env={**env, **threads},
                    holding=self._holding(held, need, order),
                )
                run_experiment(leased, cancellation)
        except LeaseCancelledError as exc:
            ending.without_run(str(exc))
        except LeaseTimeoutError as exc:
            ending.without_lease(
                exc, "end the run that holds it, or wait longer with --experiment-wait"
            )
        except LeaseError as exc:
            ending.without_lease(exc)
        except KeyboardInterrupt:
            ending.without_run("interrupted while it waited for its lease")
            raise
        finally:
            ending.finish()
        return ending.result

    def _holding(self, held: HeldLease, need: Need, order: Order) -> Holding:
        declared, readings = order.experiment.resources, self._machine.readings

        def publish(sample: Sample) -> None:
            held.update(sample.used_bytes, sample.gpu_used_bytes)

        def gpu_memory(pids: Collection[int]) -> Mapping[str, int] | None:
            return readings.gpu_memory(pids, held.gpus) if need.gpus else None

        def bind(pid: int) -> str | None:
            return affinity.apply(pid, held.bound_cpus) if held.bound_cpus else None

        def neighbours() -> Sequence[Neighbour]:
            return [
                Neighbour(
                    experiment=other.experiment,
                    used_bytes=other.used_bytes,
                    shares_limit=other.ram_domain == held.claim.ram_domain,
                )
                for other in self._machine.others(held.claim)
            ]

        return Holding(
            descriptors=held.descriptors,
            on_start=bind,
            env={**_visible_gpus(held, order), lender.VARIABLE: held.claim.ticket},
            on_sample=publish,
            gpu_memory=gpu_memory,
            kill_counts=readings.kill_counts,
            neighbours=neighbours,
            ram_limit=declared.ram if declared.ram_limit else None,
        )


def _settled(experiment: Experiment, fate: Fate, emit: Emit) -> ExperimentResult:
    """Report an experiment that does not begin."""
    ending = _Ending(experiment=experiment, emit=emit)
    if fate.outcome is ExperimentOutcome.FAILED:
        failure = Failure(kind=FailureKind.DECLARATION, message=fate.reason)
        ending.without_run(None, ExperimentOutcome.FAILED, error=failure)
    else:
        ending.without_run(fate.reason, ExperimentOutcome.SKIPPED)
    ending.finish()
    return ending.result


def _is_reused(attempt: Attempt) -> bool:
    """Return whether the whole experiment can be reused."""
    with contextlib.suppress(Exception):  # the run looks again, and reports what goes wrong
        looked(attempt)
    return attempt.is_whole


def _threads(
    resources: Resources, held: HeldLease, knowledge: Knowledge, env: Mapping[str, str]
) -> Mapping[str, str]:
    count = thread_count(
        resources.cpus, budget_cpus=knowledge.budget.cpus, parallel=knowledge.parallel
    )
    visible = len(held.bound_cpus or affinity.available_cpus()) or None
    return thread_variables(count, env, visible_cpus=visible)


def _visible_gpus(held: HeldLease, order: Order) -> dict[str, str]:
    """Variables that let CUDA see the leased GPUs only, and no GPU without a lease."""
    names = {gpu.uuid: gpu for gpu in order.knowledge.budget.gpus}
    by_index = order.settings.gpu_naming == "index"
    # CUDA takes MIG devices by UUID only.
    chosen = [
        str(names[uuid].index) if by_index and names[uuid].parent_uuid is None else uuid
        for uuid in held.gpus
    ]
    # NVML counts in the order of the bus, CUDA by default from the fastest: an index would be another GPU.
    return {CUDA_VISIBLE: ",".join(chosen), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


@dataclass(kw_only=True)
class _Ending:
    """Holds the last event of an experiment back until its lease is released."""

    experiment: Experiment
    emit: Emit
    estimate: Estimate | None = None
    held: HeldLease | None = None
    finished: ExperimentFinished | None = None
    warnings: tuple[str, ...] = ()

    @property
    def result(self) -> ExperimentResult:
        assert self.finished is not None  # noqa: S101  emitted by run_experiment, else made here
        result = self.finished.result
        return replace(result, warnings=(*result.warnings, *self.warnings))

    def receive(self, event: Event) -> None:
        if isinstance(event, ExperimentFinished):
            self.finished = event
        else:
            self.emit(event)

    def emit_wait(self, reason: str) -> None:
        self._emit(
            ExperimentWaiting(experiment=self.experiment.name, at=time.time(), reason=reason)
        )

    def without_lease(self, error: LeaseError, remedy: str = "") -> None:
        message = str(error)
        failure = Failure(kind=FailureKind.LEASE, message=message, remedy=remedy)
        self.without_run(message, ExperimentOutcome.FAILED, error=failure)

    def without_run(
        self,
        reason: str | None,
        outcome: ExperimentOutcome = ExperimentOutcome.INTERRUPTED,
        *,
        error: Failure | None = None,
    ) -> None:
        """Make the result of an experiment that did not begin, by default an interrupted one."""
        if self.finished is not None:
            return
        result = unrun(
            self.experiment,
            outcome,
            reason=reason,
            error=bounded(error) if error else None,
            at=time.time(),
        )
        self.finished = ExperimentFinished(
            experiment=self.experiment.name, at=time.time(), result=result
        )

    def finish(self) -> None:
        if self.finished is None:
            return
        result = replace(
            self.finished.result,
            lease=self.held.record if self.held else None,
            estimate=self.estimate,
        )
        # Later than the run's own event: the lease has been released since.
        self.finished = replace(self.finished, at=time.time(), result=result)
        self._emit(self.finished)

    def _emit(self, event: Event) -> None:
        """Hand an event on. An exception of the listener becomes a warning, as within the run."""
        try:
            self.emit(event)
        except Exception as exc:  # noqa: BLE001  the user's code
            self.warnings += (f"on_event raised {type(exc).__name__}: {exc}",)
