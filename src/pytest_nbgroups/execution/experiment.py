"""Runs an experiment: its notebooks strictly in order, stopping at the first failure."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import TypeVar, TypeVarTuple, Unpack

from pytest_nbgroups.core.cancellation import Cancellation
from pytest_nbgroups.core.events import (
    ExperimentFinished,
    ExperimentStarted,
    NotebookFinished,
    NotebookStarted,
)
from pytest_nbgroups.core.model import (
    ExperimentResult,
    Failure,
    FailureKind,
    Notebook,
    NotebookOutcome,
    NotebookResult,
)
from pytest_nbgroups.declarations.fate import notebook_skip
from pytest_nbgroups.execution.notebook import run_notebook
from pytest_nbgroups.execution.run import Run
from pytest_nbgroups.resume.aftermath import (
    is_for_want_of_a_file,
    lost_files,
    with_lost,
    with_reading,
)
from pytest_nbgroups.resume.aside import aside
from pytest_nbgroups.resume.bounds import ReadingCutError, ReadingStoppedError
from pytest_nbgroups.resume.checkpoint import Planned

Arguments = TypeVarTuple("Arguments")
Value = TypeVar("Value")


def run_experiment(run: Run, cancellation: Cancellation) -> ExperimentResult:
    """Run an experiment to its end and report every one of its notebooks.

    Blocks. KeyboardInterrupt and ``cancellation`` interrupt the running cell. KeyboardInterrupt is raised again once
    nothing of the kernel is left, as is what ``on_halt`` raises. Raises nothing else: failures are in the result.
    """
    try:
        _in_thread(run, cancellation)
    finally:
        result = run.result()
        run.emit(ExperimentFinished(experiment=run.experiment.name, at=time.time(), result=result))
    return replace(result, warnings=run.all_warnings)


def _in_thread(run: Run, cancellation: Cancellation) -> None:
    """Run the event loop beside the caller's thread, which stays free to be interrupted.

    A separate asyncio loop also works if the caller runs inside one, as a notebook does.
    """

    def work() -> None:
        try:
            _run_loop(run, cancellation)
        finally:
            run.halts.end()

    threading.Thread(target=work, name="nbgroups-experiment").start()
    try:
        run.halts.serve()
    except BaseException as exc:
        cancellation.cancel(type(exc).__name__)
        run.halts.wait()  # when the thread is over, nothing of the kernel is left
        raise


def _run_loop(run: Run, cancellation: Cancellation) -> None:
    async def cancellable() -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None  # noqa: S101  a coroutine that runs is a task

        def cancel() -> None:
            loop.call_soon_threadsafe(task.cancel)

        with cancellation.calling(cancel):
            await _run_notebooks(run)

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


async def _run_notebooks(run: Run) -> None:
    experiment, attempt = run.experiment, run.attempt
    attempt.begin_deadline(run.started)
    attempt.written.running = lambda: [each.experiment for each in run.holding.neighbours()]
    run.reuse = attempt.reuse or await _beside(run, attempt.look) or attempt.unlooked()
    reused = run.reuse.steps if run.reuse else ()
    with contextlib.suppress(OSError):  # reported when there is something to write
        run.artifacts.prepare()
        run.artifacts.remove_earlier(experiment.name, keep=[step.name for step in reused])
    run.emit(
        ExperimentStarted(
            experiment=experiment.name,
            at=run.started_at,
            directory=experiment.directory,
            notebooks=tuple(n.name for n in experiment.notebooks),
            timeout_s=experiment.timeout_s,
        )
    )
    for step in reused:
        _finish(run, attempt.result(step))
    if left := experiment.notebooks[len(reused) :]:
        await _beside(run, attempt.begin, reused)
        await _run_each(run, left)


async def _run_each(run: Run, notebooks: Iterable[Notebook]) -> None:
    """Run notebooks up to the first failure, and record those that pass."""
    for notebook in notebooks:
        planned = await _beside(run, run.attempt.before, notebook) or Planned(name=notebook.name)
        result = await _explained(run, await _run_notebook(run, notebook))
        _finish(run, result)
        if result.outcome is NotebookOutcome.FAILED and not run.wants_all:
            run.resumable = await _beside(run, run.attempt.left) or 0
        if result.outcome.ends_experiment:
            return
        await _record(run, result, planned)


async def _explained(run: Run, result: NotebookResult) -> NotebookResult:
    """Add to a failure the part that recording files and reusing notebooks have in it."""
    if result.failure is None:
        return result
    failure = with_reading(result.failure, run.attempt.bounds.spent_s)
    if run.reuse is not None and run.reuse.reused:
        directory = str(run.experiment.directory)
        lost = await _beside(run, lost_files, run.reuse.steps, directory, failure)
        run.wants_all = bool(lost) or is_for_want_of_a_file(failure)
        failure = with_lost(failure, lost or ()) if run.wants_all else failure
    return replace(result, failure=failure)


async def _record(run: Run, result: NotebookResult, planned: Planned) -> None:
    attempt, count = run.attempt, run.attempt.count
    await _beside(run, attempt.after, result, planned)
    if attempt.bounds.reason and attempt.count == count:  # left behind: record it without the files
        await _beside(run, attempt.after, result, planned)


async def _beside(
    run: Run, work: Callable[[Unpack[Arguments]], Value], *args: *Arguments
) -> Value | None:
    """Do work that may read many files in a thread, so that the run stays open to cancellation.

    Return None if the work failed, or was abandoned because a file does not answer. That costs a warning and one
    more run of a notebook, never a result.
    """
    try:
        return await aside(partial(work, *args), run.attempt.bounds)
    except ReadingStoppedError:  # the run was cancelled while a thread was reading
        raise asyncio.CancelledError from None
    except ReadingCutError:  # the attempt warns of it
        return None
    except Exception as exc:  # noqa: BLE001  see above
        run.warnings.append(f"checkpoint: {type(exc).__name__}: {exc}")
        return None


async def _run_notebook(run: Run, notebook: Notebook) -> NotebookResult:
    reason = notebook_skip(notebook, run.env)
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
    return await run_notebook(notebook, run)


def _finish(run: Run, result: NotebookResult) -> None:
    run.results.append(result)
    run.emit(
        NotebookFinished(
            experiment=run.experiment.name,
            at=time.time(),
            number=len(run.results),
            count=len(run.experiment.notebooks),
            result=result,
        )
    )
