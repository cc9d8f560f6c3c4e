"""Runs an experiment: its notebooks strictly in order, stopping at the first failure."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pytest_nbgroups.artifacts import Artifacts
from pytest_nbgroups.events import (
    Event,
    ExperimentFinished,
    ExperimentStarted,
    NotebookFinished,
    NotebookStarted,
)
from pytest_nbgroups.execution.cancellation import Cancellation
from pytest_nbgroups.execution.deadlines import limit
from pytest_nbgroups.execution.failures import bounded
from pytest_nbgroups.execution.halting import Halts, OnHalt
from pytest_nbgroups.execution.holding import Holding
from pytest_nbgroups.execution.host_client import KernelHost
from pytest_nbgroups.execution.notebook import Emit, Surroundings, run_notebook
from pytest_nbgroups.execution.requirements import missing
from pytest_nbgroups.model import (
    Experiment,
    ExperimentOutcome,
    ExperimentResult,
    Failure,
    FailureKind,
    Notebook,
    NotebookOutcome,
    NotebookResult,
)
from pytest_nbgroups.settings import Settings

_NOTHING = Holding()


@dataclass(kw_only=True)
class _Run:
    """One run of an experiment while it lasts."""

    experiment: Experiment
    listener: Emit
    holding: Holding
    halts: Halts
    results: list[NotebookResult] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    error: Failure | None = None
    skip: str | None = None
    started_at: float = field(default_factory=time.time)
    started: float = field(default_factory=time.monotonic)

    def emit(self, event: Event) -> None:
        """Hand an event on. What the listener raises is a warning: it must not end the run."""
        try:
            self.listener(event)
        except Exception as exc:  # noqa: BLE001  the user's code
            self.warnings.append(f"on_event raised {type(exc).__name__}: {exc}")

    def result(self) -> ExperimentResult:
        return ExperimentResult(
            name=self.experiment.name,
            directory=self.experiment.directory,
            outcome=self._outcome(),
            reason=self.skip or self._reason(),
            notebooks=tuple(self._all_notebooks()),
            started_at=self.started_at,
            duration_s=time.monotonic() - self.started - self.halts.total_s,
            error=bounded(self.error) if self.error else None,
            warnings=tuple(self.warnings),
        )

    def _outcome(self) -> ExperimentOutcome:
        outcomes = {result.outcome for result in self.results}
        if self.error is not None or NotebookOutcome.FAILED in outcomes:
            return ExperimentOutcome.FAILED
        if NotebookOutcome.INTERRUPTED in outcomes or len(self.results) < self._expected():
            return ExperimentOutcome.INTERRUPTED
        if outcomes <= {NotebookOutcome.SKIPPED}:
            return ExperimentOutcome.SKIPPED
        return ExperimentOutcome.PASSED

    def _reason(self) -> str | None:
        if self._outcome() is not ExperimentOutcome.SKIPPED:
            return None
        reasons = dict.fromkeys(result.reason for result in self.results if result.reason)
        return f"all notebooks are skipped: {'; '.join(reasons)}"

    def _expected(self) -> int:
        return 0 if self.skip else len(self.experiment.notebooks)

    def _all_notebooks(self) -> Iterator[NotebookResult]:
        yield from self.results
        outcome = NotebookOutcome.SKIPPED if self.skip else NotebookOutcome.NOT_RUN
        for notebook in self.experiment.notebooks[len(self.results) :]:
            yield NotebookResult(name=notebook.name, outcome=outcome, reason=self.skip)


def run_experiment(  # noqa: PLR0913  each is a fact of its own
    experiment: Experiment,
    emit: Emit,
    *,
    settings: Settings,
    host: KernelHost,
    cancellation: Cancellation,
    env: Mapping[str, str] | None = None,
    holding: Holding = _NOTHING,
    on_halt: OnHalt | None = None,
) -> ExperimentResult:
    """Run an experiment to its end and report every one of its notebooks.

    ``env`` is what the kernels' environment is made from, by default this process's. ``emit`` is
    called in the order of the events, most of them in a thread of their own. ``on_halt`` is called in this
    thread when a cell has failed, while its kernel lives and waits. Blocks; KeyboardInterrupt and
    ``cancellation`` interrupt the running cell, and the first is raised again once nothing of the
    kernel is left, as is what ``on_halt`` raises. Raises nothing else: what goes wrong is in the result.
    """
    run = _Run(experiment=experiment, listener=emit, holding=holding, halts=Halts(on_halt))
    environment = _environment(experiment, os.environ if env is None else env)
    try:
        if (fault := experiment.problem or _env_fault(environment)) is not None:
            run.error = Failure(kind=FailureKind.DECLARATION, message=fault)
        elif (reason := experiment.skip or missing(experiment.requires, environment)) is not None:
            run.skip = reason
        else:
            _in_thread(run, settings, host, cancellation, environment)
    finally:
        result = run.result()
        run.emit(ExperimentFinished(experiment=experiment.name, at=time.time(), result=result))
    return replace(result, warnings=tuple(run.warnings))


def _environment(experiment: Experiment, base: Mapping[str, str]) -> dict[str, str]:
    # PYTEST_CURRENT_TEST would make libraries believe that they run inside of pytest.
    inherited = {name: value for name, value in base.items() if name != "PYTEST_CURRENT_TEST"}
    return {
        **inherited,
        **experiment.env,
        "NBGROUPS": "1",
        "NBGROUPS_EXPERIMENT": experiment.name,
    }


def _env_fault(env: Mapping[Any, Any]) -> str | None:
    for name, value in env.items():
        if not isinstance(name, str) or not isinstance(value, str):
            return f"environment variable {name!r} = {value!r}: expected a name and a text"
    return None


def _in_thread(
    run: _Run,
    settings: Settings,
    host: KernelHost,
    cancellation: Cancellation,
    env: Mapping[str, str],
) -> None:
    """Run the event loop beside the caller's thread, which stays free to be interrupted.

    An asyncio loop of its own also works where the caller is inside of one, as in a notebook.
    """

    def work() -> None:
        try:
            _run_loop(run, settings, host, cancellation, env)
        finally:
            run.halts.end()

    threading.Thread(target=work, name="nbgroups-experiment").start()
    try:
        run.halts.serve()
    except BaseException as exc:
        cancellation.cancel(type(exc).__name__)
        run.halts.wait()
        raise


def _run_loop(
    run: _Run,
    settings: Settings,
    host: KernelHost,
    cancellation: Cancellation,
    env: Mapping[str, str],
) -> None:
    async def cancellable() -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None  # noqa: S101  a coroutine that runs is a task

        def cancel() -> None:
            loop.call_soon_threadsafe(task.cancel)

        with cancellation.calling(cancel):
            await _run_notebooks(run, settings, host, env)

    # zmq needs a loop that can watch sockets, which on Windows is not the default one.
    factory = asyncio.SelectorEventLoop if sys.platform == "win32" else None
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(cancellable())
    except asyncio.CancelledError:
        pass
    except Exception as exc:  # noqa: BLE001  a fault of ours is a result too, never a lost item
        run.error = Failure(
            kind=FailureKind.ERROR, message=f"could not be run: {type(exc).__name__}: {exc}"
        )


async def _run_notebooks(
    run: _Run, settings: Settings, host: KernelHost, env: Mapping[str, str]
) -> None:
    experiment = run.experiment
    artifacts = Artifacts(folder=settings.artifacts)
    with contextlib.suppress(OSError):  # told when there is something to write
        artifacts.prepare()
        artifacts.remove_earlier(experiment.name)
    run.emit(
        ExperimentStarted(
            experiment=experiment.name,
            at=run.started_at,
            directory=experiment.directory,
            notebooks=tuple(n.name for n in experiment.notebooks),
            timeout_s=experiment.timeout_s,
        )
    )
    around = Surroundings(
        experiment=experiment.name,
        directory=experiment.directory,
        env=env,
        settings=settings,
        host=host,
        emit=run.emit,
        holding=run.holding,
        halts=run.halts,
        limit=limit("experiment", experiment.timeout_s, run.started),
    )
    for notebook in experiment.notebooks:
        result = await _run_notebook(run, notebook, around)
        run.results.append(result)
        _emit_finished(run, result)
        if result.outcome.ends_experiment:
            return


async def _run_notebook(run: _Run, notebook: Notebook, around: Surroundings) -> NotebookResult:
    reason = notebook.skip or missing(notebook.requires, around.env)
    if reason is not None:
        return NotebookResult(name=notebook.name, outcome=NotebookOutcome.SKIPPED, reason=reason)
    run.emit(
        NotebookStarted(
            experiment=run.experiment.name,
            at=time.time(),
            notebook=notebook.name,
            number=len(run.results) + 1,
            count=len(run.experiment.notebooks),
            timeout_s=notebook.timeout_s,
        )
    )
    result, warnings = await run_notebook(notebook, around)
    run.warnings.extend(warnings)
    return result


def _emit_finished(run: _Run, result: NotebookResult) -> None:
    run.emit(
        NotebookFinished(
            experiment=run.experiment.name,
            at=time.time(),
            number=len(run.results),
            count=len(run.experiment.notebooks),
            result=result,
        )
    )
