"""Runs one notebook in a kernel of its own, through nbclient, under deadlines that hold."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_nbgroups.core.artifacts import Artifacts, has_content
from pytest_nbgroups.core.errors import KernelStartError
from pytest_nbgroups.core.events import CellStarted, Emit
from pytest_nbgroups.core.model import Failure, Notebook, NotebookOutcome, NotebookResult
from pytest_nbgroups.core.resources import Usage
from pytest_nbgroups.core.settings import Settings
from pytest_nbgroups.execution.cell_files import with_cell_names
from pytest_nbgroups.execution.cells import NotebookEnded, client_on, execute_cell, is_run
from pytest_nbgroups.execution.deadlines import Limit, limit, nearest
from pytest_nbgroups.execution.failures import bounded, deadline_failure, failure_of
from pytest_nbgroups.execution.halting import Halted, Halts
from pytest_nbgroups.kernel_host.client import KernelHost, Reaped
from pytest_nbgroups.kernels.choice import choose_kernel, unused_option
from pytest_nbgroups.kernels.holding import Holding
from pytest_nbgroups.kernels.kernel import RunningKernel
from pytest_nbgroups.kernels.running import running_kernel
from pytest_nbgroups.monitoring.watch import MemoryWatch
from pytest_nbgroups.monitoring.witness import Witness
from pytest_nbgroups.notebooks.outputs import error_output_warnings, left_out_warnings
from pytest_nbgroups.notebooks.reading import read_notebook
from pytest_nbgroups.notebooks.saving import ExecutedCopy

if TYPE_CHECKING:
    from nbformat import NotebookNode

STARTUP_TIMEOUT_S = 60.0


@dataclass(frozen=True, kw_only=True)
class NotebookContext:
    """Context that the notebooks of one experiment share."""

    experiment: str
    directory: Path
    env: Mapping[str, str]
    settings: Settings
    host: KernelHost
    emit: Emit
    holding: Holding
    halts: Halts
    limit: Limit | None = None
    """Deadline of the whole experiment."""

    @property
    def artifacts(self) -> Artifacts:
        return Artifacts(folder=self.settings.artifacts)


@dataclass(kw_only=True)
class _Progress:
    """Facts of a run while it lasts, so that every end can be reported."""

    notebook: NotebookNode | None = None
    copy: ExecutedCopy | None = None
    kernel: str | None = None
    plain_start: str | None = None
    running: RunningKernel | None = None
    log_path: Path | None = None
    cells_executed: int = 0
    memory: MemoryWatch | None = None
    witness: Witness | None = None
    failure: Failure | None = None
    interrupted: bool = False
    executed: Path | None = None
    """Where it was saved before its kernel was halted."""
    warnings: list[str] = field(default_factory=list)

    def end(self, ended: NotebookEnded) -> None:
        self.failure, self.interrupted = ended.failure, ended.failure is None

    def fail(self, exc: Exception) -> None:
        """Take an error for the failure, unless it came up while a failed notebook was cleared away."""
        failure = failure_of(exc)
        if isinstance(exc.__context__, NotebookEnded):
            self.end(exc.__context__)
            self.warnings.append(failure.message)
        else:
            self.failure = failure

    def explain(self, name: str, usage: Usage | None, reaped: Reaped | None) -> None:
        """Add to the failure what is known of its cause. A user's interrupt needs no other."""
        if self.witness is None or self.notebook is None or self.interrupted:
            return
        sources = [cell.source if is_run(cell) else "" for cell in self.notebook.cells]
        self.failure, remarks = self.witness.explain(self.failure, usage, sources, reaped)
        self.warnings += [f"{name}: {text}" for text in remarks]


async def run_notebook(
    notebook: Notebook, around: NotebookContext
) -> tuple[NotebookResult, tuple[str, ...]]:
    """Run a notebook; give its result and warnings about what could not be saved.

    When the task is cancelled the cell is interrupted, the kernel's tree is killed, the notebook is
    saved, and the result's outcome is ``interrupted``: CancelledError is not raised. When this
    returns nothing of the kernel's process tree is left.
    """
    started, progress = time.monotonic(), _Progress()
    try:
        await _run(notebook, around, progress)
    except asyncio.CancelledError:
        progress.interrupted = True
    except NotebookEnded as ended:
        progress.end(ended)
    except Exception as exc:  # noqa: BLE001  a fault of ours is a result too, and what ran is saved
        progress.fail(exc)
    if progress.running is not None and progress.running.cut_off:
        progress.warnings.append(
            f"{around.experiment}: {notebook.name}: {progress.running.cut_off}"
        )
    executed = progress.executed or _save(progress)
    usage = _usage(notebook, progress, around.host)
    progress.explain(notebook.name, usage, around.host.reaped)
    duration_s = time.monotonic() - started - around.halts.total_s  # no earlier notebook had any
    return _result(notebook, progress, executed, duration_s, usage), tuple(progress.warnings)


def _usage(notebook: Notebook, progress: _Progress, host: KernelHost) -> Usage | None:
    """None if no kernel came up."""
    if progress.memory is None:
        return None
    progress.warnings += [f"{notebook.name}: {text}" for text in progress.memory.warnings]
    return progress.memory.usage(host.reaped)


def _result(
    notebook: Notebook,
    progress: _Progress,
    executed: Path | None,
    duration_s: float,
    usage: Usage | None,
) -> NotebookResult:
    log = progress.log_path
    return NotebookResult(
        name=notebook.name,
        outcome=_outcome(progress),
        duration_s=duration_s,
        kernel=progress.kernel,
        plain_start=progress.plain_start,
        cells_total=len(progress.notebook.cells) if progress.notebook else 0,
        cells_executed=progress.cells_executed,
        executed_path=executed,
        log_path=log if log is not None and has_content(log) else None,
        usage=usage,
        failure=bounded(progress.failure) if progress.failure else None,
    )


def _outcome(progress: _Progress) -> NotebookOutcome:
    if progress.interrupted:
        return NotebookOutcome.INTERRUPTED
    return NotebookOutcome.FAILED if progress.failure else NotebookOutcome.PASSED


def _save(progress: _Progress) -> Path | None:
    """Write the executed notebook; a failure to do so is a warning and never a result."""
    if progress.copy is None:
        return None
    if trouble := progress.copy.save():
        progress.warnings.append(trouble)
        return None
    return progress.copy.path


async def _run(notebook: Notebook, around: NotebookContext, progress: _Progress) -> None:
    own = limit("notebook", notebook.timeout_s, time.monotonic())
    until = nearest(own, around.limit)
    progress.notebook = read_notebook(notebook.path)
    path = around.artifacts.executed(around.experiment, notebook.name)
    progress.copy = ExecutedCopy(progress.notebook, around.artifacts, path)
    progress.kernel = choose_kernel(progress.notebook, notebook.kernel, around.settings)
    if unused := unused_option(progress.notebook, around.settings):
        progress.warnings.append(unused)
    log = around.artifacts.log(around.experiment, notebook.name)
    progress.log_path = _prepare_log(around.artifacts, log, progress)
    try:
        async with running_kernel(
            around.host,
            progress.kernel,
            cwd=around.directory,
            env={**around.env, "NBGROUPS_NOTEBOOK": notebook.name},
            log_path=progress.log_path,
            transport=around.settings.transport,
            startup_timeout=STARTUP_TIMEOUT_S,
            ends_at=until.ends_at if until is not None else None,
            holding=around.holding,
            output_limit=around.settings.output_limit,
            shutdown_grace=around.settings.shutdown_grace_s,
            preload=_preload(around.settings),
        ) as kernel:
            progress.running, progress.plain_start = kernel, kernel.plainly
            if kernel.warning:
                progress.warnings.append(kernel.warning)
            if trouble := around.holding.on_start(kernel.process.pid):
                progress.warnings.append(f"{notebook.name}: {trouble}")
            progress.memory = MemoryWatch(
                around.host.pid or kernel.process.pid,
                around.holding,
                apart=kernel.process.server_pid,
                on_excess=around.host.kill_tree_soon,
            )
            progress.witness = Witness(kernel.process, around.holding, progress.memory)
            try:
                with progress.memory:
                    async with progress.copy.kept_up_to_date():
                        await _execute(notebook, around, kernel, progress, until)
            except NotebookEnded as ended:
                if around.halts.wanted and ended.failure and ended.kernel_is_idle:
                    await _halt(notebook, around, kernel, progress, ended.failure)
                raise
            finally:
                progress.warnings += _remarks(notebook, around, kernel)
    except KernelStartError as exc:
        if until is not None and time.monotonic() >= until.ends_at:
            failure = deadline_failure(until, cell=None, killed_after_s=None)
            raise NotebookEnded(failure, kernel_is_lost=True) from exc
        raise


async def _halt(
    notebook: Notebook,
    around: NotebookContext,
    kernel: RunningKernel,
    progress: _Progress,
    why: Failure,
) -> None:
    """Save the notebook and let its kernel be looked at before it is ended."""
    progress.executed = _save(progress)
    halted = Halted(
        notebook=notebook.name,
        failure=why,
        connection_file=Path(kernel.manager.connection_file),
        executed_path=progress.executed,
    )
    await around.halts.halt(halted, stopped=kernel.abandon)


def _remarks(notebook: Notebook, around: NotebookContext, kernel: RunningKernel) -> list[str]:
    where = f"{around.experiment}: {notebook.name}"
    left_out = (
        text
        for index, each in kernel.left_out.items()
        for text in left_out_warnings(f"{where}, cell {index + 1}", each, kernel.output_limit)
    )
    return [*left_out, *error_output_warnings(where, kernel.error_outputs)]


def _preload(settings: Settings) -> tuple[str, ...] | None:
    return settings.preload if settings.kernel_start == "warm" else None


def _prepare_log(artifacts: Artifacts, path: Path, progress: _Progress) -> Path | None:
    try:
        artifacts.make_room(path)
        path.unlink(missing_ok=True)  # not to write to what a link leads to
        path.touch(exist_ok=False)
    except OSError as exc:
        progress.warnings.append(f"{path}: the kernel's log cannot be written: {exc.strerror}")
        return None
    return path


async def _execute(
    notebook: Notebook,
    around: NotebookContext,
    kernel: RunningKernel,
    progress: _Progress,
    until: Limit | None,
) -> None:
    assert progress.notebook is not None  # noqa: S101  read before the kernel started
    assert progress.witness is not None  # noqa: S101  it has begun when the kernel had
    client = client_on(progress.notebook, kernel)
    for index, cell in enumerate(progress.notebook.cells):
        if not is_run(cell):
            continue
        around.emit(
            CellStarted(
                experiment=around.experiment,
                at=time.time(),
                notebook=notebook.name,
                number=index + 1,
                count=len(progress.notebook.cells),
                timeout_s=notebook.cell_timeout_s,
            )
        )
        own = limit("cell", notebook.cell_timeout_s, time.monotonic())
        try:
            await execute_cell(
                client, kernel, index, nearest(own, until), around.settings.error_outputs
            )
        except NotebookEnded as ended:
            if ended.failure is not None:
                ended.failure = with_cell_names(ended.failure, progress.notebook, around.directory)
            if ended.kernel_is_lost:
                kernel.abandon()
            raise
        finally:
            progress.witness.cell_ended(index + 1)
        progress.cells_executed += 1
    client.set_widgets_metadata()
