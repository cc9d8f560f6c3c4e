"""A running kernel with a connected client, held in an ``async with``."""

from __future__ import annotations

import asyncio
import contextlib
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

import zmq.asyncio
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.manager import AsyncKernelManager

from pytest_nbgroups.core.errors import KernelStartError
from pytest_nbgroups.kernel_host.client import KernelHost, KernelProcess
from pytest_nbgroups.kernel_host.commands import runs_ipykernel
from pytest_nbgroups.kernels.ending import asked_to_end, kill, uncancelled
from pytest_nbgroups.kernels.endpoint import Endpoint, open_endpoint
from pytest_nbgroups.kernels.kernel import KernelLog, RunningKernel
from pytest_nbgroups.kernels.kernelspecs import spec_manager
from pytest_nbgroups.kernels.launch import Launch
from pytest_nbgroups.kernels.output_allowance import OutputAllowance
from pytest_nbgroups.kernels.output_channel import AnswerChannel, OutputChannel
from pytest_nbgroups.kernels.provisioner import HostProvisioner
from pytest_nbgroups.kernels.start_causes import cause
from pytest_nbgroups.kernels.startup import PortClashError, await_ready, ended_early, silent

_TCP_ATTEMPTS = 3
_RECONNECT_MS = 10
"""The client connects before the kernel has made its sockets, and zmq tries again only after 100 ms by default."""
_MESSAGES_WAITING = 100_000
"""A kernel drops outputs once a thousand messages wait there and these here, as on a busy machine."""
_NO_HISTORY = "--HistoryManager.hist_file=:memory:"
"""Kernels that run at once would otherwise wait for each other's locks on the user's history."""


@asynccontextmanager
async def running_kernel(host: KernelHost, launch: Launch) -> AsyncIterator[RunningKernel]:
    """Start a kernel; in the end stop it and wait until its whole process tree is gone.

    In the end the kernel is asked to end, so that its exit handlers run. Then what is left of its tree is killed. A
    cancelled task or ``abandon`` skips the asking.

    Raises KernelStartError if there is no such kernel or it does not come up, with the last lines of its log
    (StartTimeoutError, also a TimeoutError, if it is mute), and KernelHostError if the host ends or cannot
    get rid of a process.
    """
    async with AsyncExitStack() as stack:
        yield await _enter(stack, host, launch)


async def _enter(stack: AsyncExitStack, host: KernelHost, launch: Launch) -> RunningKernel:
    """Try again if a port was taken between its choice and its use."""
    for _ in range(_TCP_ATTEMPTS - 1):
        with contextlib.suppress(PortClashError):
            return await stack.enter_async_context(_kernel(host, launch))
    return await stack.enter_async_context(_kernel(host, launch))


@asynccontextmanager
async def _kernel(host: KernelHost, launch: Launch) -> AsyncIterator[RunningKernel]:
    with (
        open_endpoint(launch.transport, launch.spec.argv) as endpoint,
        _context(endpoint) as context,
    ):
        try:
            kernel = await _start(_manager(host, launch, endpoint, context), launch)
            async with asked_to_end(
                host, kernel, grace_s=launch.shutdown_grace_s, ends_at=launch.ends_at
            ):
                yield kernel
        finally:
            # Whoever cancels, the next notebook must not start beside the rest of this kernel's tree.
            await uncancelled(kill(host, launch.name))


def _manager(
    host: KernelHost, launch: Launch, endpoint: Endpoint, context: zmq.asyncio.Context
) -> AsyncKernelManager:
    manager = AsyncKernelManager(
        kernel_name=launch.name,
        transport=endpoint.transport,
        ip=endpoint.ip,
        connection_file=str(endpoint.connection_file),
        context=context,
        kernel_spec_manager=spec_manager(),
    )
    # jupyter_client warns of kernelspecs with keys that it does not know.
    with warnings.catch_warnings(action="ignore"):
        manager.kernel_spec  # noqa: B018  reading it keeps it
    manager.provisioner = HostProvisioner(
        host, launch, scratch=endpoint.folder, parent=manager, kernel_spec=launch.spec
    )
    return manager


@contextmanager
def _context(endpoint: Endpoint) -> Iterator[zmq.asyncio.Context]:
    context = zmq.asyncio.Context()
    context.setsockopt(zmq.RCVHWM, _MESSAGES_WAITING)
    if endpoint.transport == "ipc":  # over TCP, hasty attempts can connect a port to itself
        context.setsockopt(zmq.RECONNECT_IVL, _RECONNECT_MS)
    try:
        yield context
    finally:
        context.destroy(linger=0)  # without the wait for messages to a kernel that is dead


async def _start(manager: AsyncKernelManager, launch: Launch) -> RunningKernel:
    log = KernelLog(launch.log_path)
    patience_s = launch.patience_s()
    try:
        provisioner, process = await _launch(manager, launch)
        client = _connected(manager, launch.output_limit.bytes)
        answer = await await_ready(client, process, patience_s := launch.patience_s())
    except TimeoutError as exc:
        raise silent(launch.name, patience_s, log) from exc
    if isinstance(answer, int):
        ports = manager.ports if manager.transport == "tcp" else ()
        why = cause(log.tail(), launch.cwd, {**launch.env, **launch.spec.env})
        raise ended_early(launch.name, answer, log, ports, cause=why)
    return RunningKernel(
        manager=manager,
        client=client,
        spec=launch.spec,
        process=process,
        exited=_exited(process),
        language_info=answer.get("language_info", {}),
        log=log,
        output_limit=launch.output_limit,
        plainly=provisioner.plainly,
        warning=provisioner.warning,
    )


async def _launch(
    manager: AsyncKernelManager, launch: Launch
) -> tuple[HostProvisioner, KernelProcess]:
    """Do what the manager's ``start_kernel`` does, which would also log a failure with a traceback."""
    provisioner = manager.provisioner
    assert isinstance(provisioner, HostProvisioner)  # noqa: S101  set by _manager
    extra = [_NO_HISTORY] if runs_ipykernel(launch.spec.argv) else []
    command, options = await manager.pre_start_kernel(env=dict(launch.env), extra_arguments=extra)
    try:
        await provisioner.launch_kernel(command, **options)
    except TimeoutError:  # an OSError too, but here the deadline's
        raise
    except (OSError, ValueError) as exc:
        raise KernelStartError(f"kernel {launch.name!r} cannot be started: {exc}") from exc
    assert provisioner.process is not None  # noqa: S101  it has just been launched
    return provisioner, provisioner.process


def _connected(manager: AsyncKernelManager, limit_bytes: int) -> AsyncKernelClient:
    """A connected client, with a limit on the outputs that it keeps."""
    client = manager.client(context=manager.context)
    client.iopub_channel_class = OutputChannel
    client.shell_channel_class = AnswerChannel
    client.iopub_channel.allowance = OutputAllowance(limit_bytes=limit_bytes)
    client.shell_channel.outputs = client.iopub_channel
    # No heartbeat: the kernel host reports the end of a kernel at once.
    client.start_channels(stdin=False, hb=False)
    return client


def _exited(process: KernelProcess) -> asyncio.Future[int]:
    future = asyncio.wrap_future(process.exited)
    # asyncio logs an exception that nobody has looked at.
    future.add_done_callback(lambda done: done.cancelled() or done.exception())
    return future
