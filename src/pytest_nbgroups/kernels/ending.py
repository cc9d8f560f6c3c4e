"""The end of a kernel: it is asked, given time, and killed with all processes that it has started."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from pytest_nbgroups.core.errors import KernelHostError
from pytest_nbgroups.core.units import format_duration
from pytest_nbgroups.kernel_host.client import KernelHost
from pytest_nbgroups.kernel_host.commands import runs_python
from pytest_nbgroups.kernels.kernel import RunningKernel


@asynccontextmanager
async def asked_to_end(
    host: KernelHost, kernel: RunningKernel, *, grace_s: float, ends_at: float | None
) -> AsyncIterator[None]:
    """Ask the kernel to end and give it time to, unless it is dead, abandoned or the task cancelled.

    The time is ``grace_s``, but not longer than up to ``ends_at``, a moment of `time.monotonic`.
    """
    try:
        yield
    except asyncio.CancelledError:
        kernel.abandon()
        raise
    finally:
        if kernel.can_be_asked:
            await host.expect_end()
            _ask_to_end(kernel)
            kernel.cut_off = await _cut_off(kernel, grace_s, ends_at)


async def _cut_off(kernel: RunningKernel, grace_s: float, ends_at: float | None) -> str | None:
    """Give its exit handlers time; explain if that is too short."""
    left_s = grace_s if ends_at is None else max(0.0, ends_at - time.monotonic())
    timeout_s = min(grace_s, left_s)
    await asyncio.wait({kernel.exited}, timeout=timeout_s)
    if kernel.exited.done():
        return None
    if left_s < grace_s:
        when, remedy = "at the deadline, ", "raise the deadline"
    else:
        when, remedy = "", "raise experiment_shutdown_grace in the ini file"
    return (
        f"its kernel was killed {when}{format_duration(timeout_s)} after it was asked to end: exit handlers or "
        f"threads may not have finished, and files may be missing; {remedy} if they need longer"
    )


def _ask_to_end(kernel: RunningKernel) -> None:
    """Ask over the control channel, as the protocol requires; kernels in Python over the shell channel."""
    # Asked over control on a busy machine, one ipykernel in fifty, and one in six bash_kernels, which are built on it,
    # goes on for ten seconds: its main thread waits for the control thread, which waits for a third one, which has
    # ended, to flush the outputs.
    if not runs_python(kernel.spec.argv):
        kernel.client.shutdown()
        return
    message = kernel.client.session.msg("shutdown_request", {"restart": False})
    kernel.client.shell_channel.send(message)


async def kill(host: KernelHost, name: str) -> None:
    if left := await host.kill_tree():
        raise KernelHostError(
            f"processes that kernel {name!r} started cannot be killed: {', '.join(left)}"
        )


async def uncancelled(work: Coroutine[Any, Any, None]) -> None:
    """Finish ``work`` even when cancelled meanwhile; then be cancelled."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as exc:
            cancelled = exc
    task.result()
    if cancelled is not None:
        raise cancelled
