"""How a kernel is brought to its end: asked, given time, killed with all that it has started."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from pytest_nbgroups.errors import KernelHostError
from pytest_nbgroups.execution.host_client import KernelHost
from pytest_nbgroups.execution.kernelspecs import runs_python

if TYPE_CHECKING:
    from pytest_nbgroups.execution.kernels import RunningKernel

SHUTDOWN_S = 3.0
"""How long a kernel may take for its exit handlers when asked to end; Jupyter gives them 2.5 s."""


@asynccontextmanager
async def asked_to_end(host: KernelHost, kernel: RunningKernel) -> AsyncIterator[None]:
    """Ask the kernel to end and give it time to, unless it is dead, abandoned or the task cancelled."""
    try:
        yield
    except asyncio.CancelledError:
        kernel.abandon()
        raise
    finally:
        if kernel.can_be_asked:
            await host.expect_end()
            _ask_to_end(kernel)
            await wait_for_end(kernel)


async def wait_for_end(kernel: RunningKernel) -> None:
    """Give its exit handlers time."""
    await asyncio.wait({kernel.exited}, timeout=SHUTDOWN_S)


def _ask_to_end(kernel: RunningKernel) -> None:
    """Over the control channel, as the protocol would have it; those in Python over the shell channel.

    Asked over control on a busy machine, one ipykernel in fifty, and of bash_kernel, which is built on it, one in six,
    goes on for ten seconds: its main thread waits for the control thread, which waits for a third one, which has ended,
    to flush what was printed.
    """
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
