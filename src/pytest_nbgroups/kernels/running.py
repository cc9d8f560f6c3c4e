"""A running kernel with a connected client, held in an ``async with``."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import zmq.asyncio
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager

from pytest_nbgroups.core.settings import OUTPUT_LIMIT, SHUTDOWN_GRACE_S, Transport
from pytest_nbgroups.core.units import Size
from pytest_nbgroups.kernel_host.client import KernelHost, KernelProcess
from pytest_nbgroups.kernel_host.commands import runs_ipykernel
from pytest_nbgroups.kernels.ending import asked_to_end, kill, uncancelled
from pytest_nbgroups.kernels.endpoint import Endpoint, open_endpoint
from pytest_nbgroups.kernels.holding import Holding
from pytest_nbgroups.kernels.kernel import KernelLog, RunningKernel
from pytest_nbgroups.kernels.kernelspecs import (
    canonical_name,
    find_kernel_spec,
    spec_manager,
    without_warnings,
)
from pytest_nbgroups.kernels.output_channel import open_client
from pytest_nbgroups.kernels.provisioner import HostProvisioner
from pytest_nbgroups.kernels.start_causes import cause
from pytest_nbgroups.kernels.startup import (
    PortClashError,
    await_ready,
    ended_early,
    refused,
    silent,
)

_NOTHING = Holding()
_TCP_ATTEMPTS = 3
_RECONNECT_MS = 10
_MESSAGES_WAITING = 100_000
"""A kernel drops what it shows once a thousand messages wait there and these here, as on a busy machine."""
_NO_HISTORY = "--HistoryManager.hist_file=:memory:"
"""Kernels that run at once would otherwise wait for each other's locks on the user's history."""


@dataclass(frozen=True, kw_only=True)
class _Launch:
    """The kernel to start, and the way to start it."""

    name: str
    spec: KernelSpec
    cwd: Path
    env: Mapping[str, str]
    log_path: Path | None
    transport: Transport
    startup_timeout_s: float
    ends_at: float | None
    holding: Holding
    output_limit: Size
    shutdown_grace_s: float
    preload: tuple[str, ...] | None

    def left_s(self) -> float | None:
        return None if self.ends_at is None else max(0.0, self.ends_at - time.monotonic())

    def patience_s(self) -> float:
        """Return how long to wait for its first answer."""
        left_s = self.left_s()
        return self.startup_timeout_s if left_s is None else min(left_s, self.startup_timeout_s)


@asynccontextmanager
async def running_kernel(  # noqa: PLR0913  each is a fact of its own
    host: KernelHost,
    name: str,
    *,
    cwd: Path,
    env: Mapping[str, str],
    log_path: Path | None,
    transport: Transport = "auto",
    startup_timeout: float = 60.0,
    ends_at: float | None = None,
    holding: Holding = _NOTHING,
    output_limit: Size = OUTPUT_LIMIT,
    shutdown_grace: float = SHUTDOWN_GRACE_S,
    preload: tuple[str, ...] | None = None,
) -> AsyncIterator[RunningKernel]:
    """Start a kernel; in the end stop it and wait until its whole process tree is gone.

    ``env`` is all of its environment; the variables of its kernelspec come on top, and above all those of
    ``holding``, whose descriptors its processes inherit. Its raw output is appended to
    ``log_path``. In the end it is asked to end, so that its exit handlers run, for ``shutdown_grace`` seconds or
    up to ``ends_at``. Then what is left of its tree is killed; a cancelled task or ``abandon`` skips the asking. Of what its cells show, ``output_limit`` is kept.
    With ``preload`` it is forked if that is possible, from a process that has these modules imported; that they
    are is waited for up to ``ends_at``, a moment of `time.monotonic`, and for its answer no longer than that.

    Raises KernelStartError if there is no such kernel or it does not come up, with the last lines of its log
    (StartTimeoutError, also a TimeoutError, if it is mute), and KernelHostError if the host ends or cannot
    get rid of a process.
    """
    launch = _Launch(
        name=canonical_name(name),
        spec=find_kernel_spec(name),
        cwd=cwd,
        env=env,
        log_path=log_path,
        transport=transport,
        startup_timeout_s=startup_timeout,
        ends_at=ends_at,
        holding=holding,
        output_limit=output_limit,
        shutdown_grace_s=shutdown_grace,
        preload=preload,
    )
    async with AsyncExitStack() as stack:
        yield await _enter(stack, host, launch)


async def _enter(stack: AsyncExitStack, host: KernelHost, launch: _Launch) -> RunningKernel:
    """Try again if a port was taken between its choice and its use."""
    for _ in range(_TCP_ATTEMPTS - 1):
        with contextlib.suppress(PortClashError):
            return await stack.enter_async_context(_kernel(host, launch))
    return await stack.enter_async_context(_kernel(host, launch))


@asynccontextmanager
async def _kernel(host: KernelHost, launch: _Launch) -> AsyncIterator[RunningKernel]:
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
            await uncancelled(kill(host, launch.name))


def _manager(
    host: KernelHost, launch: _Launch, endpoint: Endpoint, context: zmq.asyncio.Context
) -> AsyncKernelManager:
    manager = AsyncKernelManager(
        kernel_name=launch.name,
        transport=endpoint.transport,
        ip=endpoint.ip,
        connection_file=str(endpoint.connection_file),
        context=context,
        kernel_spec_manager=spec_manager(),
    )
    with without_warnings():
        manager.kernel_spec  # noqa: B018  read once, and kept
    manager.provisioner = HostProvisioner(
        host=host,
        log_path=launch.log_path,
        scratch=endpoint.folder,
        holding=launch.holding,
        preload=launch.preload,
        prepare_timeout_s=launch.left_s(),
        parent=manager,
        kernel_spec=launch.spec,
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
        context.destroy(linger=0)


async def _start(manager: AsyncKernelManager, launch: _Launch) -> RunningKernel:
    log = KernelLog(launch.log_path)
    patience_s = launch.patience_s()
    try:
        provisioner, process = await _launch(manager, launch)
        client = open_client(manager, launch.output_limit.bytes)
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
    manager: AsyncKernelManager, launch: _Launch
) -> tuple[HostProvisioner, KernelProcess]:
    """Do what the manager's ``start_kernel`` does; that would log a failure with a traceback besides."""
    provisioner = manager.provisioner
    assert isinstance(provisioner, HostProvisioner)  # noqa: S101  set by _manager
    extra = [_NO_HISTORY] if runs_ipykernel(launch.spec.argv) else []
    command, options = await manager.pre_start_kernel(
        cwd=str(launch.cwd), env=dict(launch.env), extra_arguments=extra
    )
    try:
        await provisioner.launch_kernel(command, **options)
    except TimeoutError:  # an OSError, but of ours
        raise
    except (OSError, ValueError) as exc:
        raise refused(launch.name, exc) from exc
    assert provisioner.process is not None  # noqa: S101  it has just been launched
    return provisioner, provisioner.process


def _exited(process: KernelProcess) -> asyncio.Future[int]:
    future = asyncio.wrap_future(process.exited)
    future.add_done_callback(
        lambda done: done.cancelled() or done.exception()
    )  # seen, if by no one else
    return future
