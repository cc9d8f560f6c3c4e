"""Runs one notebook in a kernel of its own, through nbclient, under deadlines that hold."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_nbgroups.core.errors import KernelStartError
from pytest_nbgroups.core.events import CellStarted
from pytest_nbgroups.core.model import Failure, Notebook, NotebookResult
from pytest_nbgroups.execution.cell_files import with_cell_names
from pytest_nbgroups.execution.cells import NotebookEnded, client_on, execute_cell, is_run
from pytest_nbgroups.execution.deadlines import Limit, limit, nearest
from pytest_nbgroups.execution.failures import deadline_failure
from pytest_nbgroups.execution.halting import Halted
from pytest_nbgroups.execution.notebook_run import NotebookRun
from pytest_nbgroups.execution.run import Run
from pytest_nbgroups.kernels.choice import choose_kernel, unused_option
from pytest_nbgroups.kernels.kernel import RunningKernel
from pytest_nbgroups.kernels.launch import Launch
from pytest_nbgroups.kernels.running import running_kernel
from pytest_nbgroups.monitoring.watch import MemoryWatch
from pytest_nbgroups.monitoring.witness import Witness
from pytest_nbgroups.notebooks.outputs import error_output_warnings, left_out_warnings
from pytest_nbgroups.notebooks.reading import read_notebook
from pytest_nbgroups.notebooks.saving import ExecutedCopy

if TYPE_CHECKING:
    from nbformat import NotebookNode

    from pytest_nbgroups.execution.cell_client import CellClient


async def run_notebook(notebook: Notebook, run: Run) -> NotebookResult:
    """Run a notebook and return its result; warnings are added to the run's.

    When the task is cancelled the cell is interrupted, the kernel's tree is killed, the notebook is
    saved, and the result's outcome is ``interrupted``: CancelledError is not raised. When this
    returns nothing of the kernel's process tree is left.
    """
    this = NotebookRun(run=run, notebook=notebook)
    try:
        await _run(this)
    except asyncio.CancelledError:
        this.interrupted = True
    except NotebookEnded as ended:
        this.end(ended)
    except Exception as exc:  # noqa: BLE001  a fault of ours is a result too, and what ran is saved
        this.fail(exc)
    result = this.result()
    run.warnings.extend(this.warnings)
    return result


async def _run(this: NotebookRun) -> None:
    run = this.run
    until = nearest(limit("notebook", this.notebook.timeout_s, this.started), run.limit)
    content = this.content = read_notebook(this.notebook.path)
    path = run.artifacts.executed(run.experiment.name, this.notebook.name)
    copy = this.copy = ExecutedCopy(content, run.artifacts, path)
    launch = _launch(this, content, until)
    try:
        async with running_kernel(run.host, launch) as kernel:
            memory, witness = _watch(this, kernel)
            try:
                with memory:
                    async with copy.kept_up_to_date():
                        await _execute(this, client_on(content, kernel), kernel, witness, until)
            except NotebookEnded as ended:
                if run.halts.wanted and ended.failure and ended.kernel_is_idle:
                    await _halt(this, kernel, ended.failure)
                raise
            finally:
                _warn_of_outputs(this, kernel)
    except KernelStartError as exc:
        if until is not None and time.monotonic() >= until.ends_at:
            failure = deadline_failure(until, cell=None, killed_after_s=None)
            raise NotebookEnded(failure, kernel_is_lost=True) from exc
        raise


def _launch(this: NotebookRun, content: NotebookNode, until: Limit | None) -> Launch:
    """Choose the kernel and prepare its log."""
    run, settings = this.run, this.run.settings
    this.kernel = choose_kernel(content, this.notebook.kernel, settings)
    if unused := unused_option(content, settings):
        this.warnings.append(unused)
    this.log_path = _prepare_log(this)
    return Launch(
        name=this.kernel,
        cwd=run.experiment.directory,
        env={**run.env, "NBGROUPS_NOTEBOOK": this.notebook.name},
        log_path=this.log_path,
        transport=settings.transport,
        ends_at=until.ends_at if until is not None else None,
        holding=run.holding,
        output_limit=settings.output_limit,
        shutdown_grace_s=settings.shutdown_grace_s,
        preload=settings.preload if settings.kernel_start == "warm" else None,
    )


def _prepare_log(this: NotebookRun) -> Path | None:
    artifacts = this.run.artifacts
    path = artifacts.log(this.run.experiment.name, this.notebook.name)
    try:
        artifacts.make_room(path)
        path.unlink(missing_ok=True)  # the target of a link must not be written to
        path.touch(exist_ok=False)
    except OSError as exc:
        this.warnings.append(f"{path}: the kernel's log cannot be written: {exc.strerror}")
        return None
    return path


def _watch(this: NotebookRun, kernel: RunningKernel) -> tuple[MemoryWatch, Witness]:
    """Take note of a kernel that has come up, and prepare to measure it."""
    host, holding = this.run.host, this.run.holding
    this.running = kernel
    if kernel.warning:
        this.warnings.append(kernel.warning)
    if trouble := holding.on_start(kernel.process.pid):
        this.warnings.append(f"{this.notebook.name}: {trouble}")
    # From the host on: processes that have lost their parent are children of the host.
    root_pid, server_pid = host.pid or kernel.process.pid, kernel.process.server_pid
    memory = MemoryWatch(root_pid, holding, apart=server_pid, on_excess=host.kill_tree_soon)
    this.memory, this.witness = memory, Witness(kernel.process, holding, memory)
    return memory, this.witness


async def _execute(
    this: NotebookRun,
    client: CellClient,
    kernel: RunningKernel,
    witness: Witness,
    until: Limit | None,
) -> None:
    run, notebook, content = this.run, this.notebook, client.nb
    for index, cell in enumerate(content.cells):
        if not is_run(cell):
            continue
        run.emit(
            CellStarted(
                experiment=run.experiment.name,
                at=time.time(),
                notebook=notebook.name,
                number=index + 1,
                count=len(content.cells),
                timeout_s=notebook.cell_timeout_s,
            )
        )
        own = limit("cell", notebook.cell_timeout_s, time.monotonic())
        try:
            await execute_cell(
                client, kernel, index, nearest(own, until), run.settings.error_outputs
            )
        except NotebookEnded as ended:
            if ended.failure is not None:
                directory = run.experiment.directory
                ended.failure = with_cell_names(ended.failure, content, directory)
            if ended.kernel_is_lost:
                kernel.abandon()
            raise
        finally:
            witness.cell_ended(index + 1)
        this.cells_executed += 1
    client.set_widgets_metadata()


async def _halt(this: NotebookRun, kernel: RunningKernel, why: Failure) -> None:
    """Save the notebook and let its kernel be looked at before it is ended."""
    this.save()
    halted = Halted(
        notebook=this.notebook.name,
        failure=why,
        connection_file=Path(kernel.manager.connection_file),
        executed_path=this.executed,
    )
    await this.run.halts.halt(halted, stopped=kernel.abandon)


def _warn_of_outputs(this: NotebookRun, kernel: RunningKernel) -> None:
    for index, left_out in kernel.left_out.items():
        cell = f"{this.place}, cell {index + 1}"
        this.warnings += left_out_warnings(cell, left_out, kernel.output_limit)
    this.warnings += error_output_warnings(this.place, kernel.error_outputs)
