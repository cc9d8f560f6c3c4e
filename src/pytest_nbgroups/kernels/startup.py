"""The time between a kernel's start and its first answer, and the message if none comes."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import re
import socket
import sys
import time
from collections.abc import Sequence
from queue import Empty
from typing import Any

from jupyter_client.asynchronous.client import AsyncKernelClient

from pytest_nbgroups.core.errors import KernelStartError
from pytest_nbgroups.core.units import format_duration
from pytest_nbgroups.kernel_host.client import KernelProcess
from pytest_nbgroups.kernel_host.exits import describe_exit
from pytest_nbgroups.kernels.kernel import KernelLog

_ASK_AGAIN_S = 1.0
_IOPUB_S = 0.2
_STATUS_S = 0.05
_CLASH = re.compile(r"address (already )?in use|EADDRINUSE|only one usage of each", re.IGNORECASE)


class PortClashError(KernelStartError):
    """Another process took one of the kernel's TCP ports, so that another attempt is worth it."""


class StartTimeoutError(KernelStartError, TimeoutError):
    """The kernel runs but has not answered in time."""


async def await_ready(
    client: AsyncKernelClient, process: KernelProcess, timeout_s: float
) -> dict[str, Any] | int:
    """Wait until the kernel has answered on shell and iopub; return its description of itself.

    Gives the exit code if it ended instead. Raises TimeoutError, KernelHostError.
    """
    ready = asyncio.ensure_future(_handshake(client))
    ended = asyncio.ensure_future(process.wait())
    try:
        await asyncio.wait({ready, ended}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if ready.done():
            return await ready
        if ended.done():
            return await ended
        raise TimeoutError
    finally:
        for task in (ready, ended):
            task.cancel()
        await asyncio.gather(ready, ended, return_exceptions=True)


async def _handshake(client: AsyncKernelClient) -> dict[str, Any]:
    """Ask for the kernel's information until both its reply and its status arrive.

    A subscription takes effect some time after the connection, so the first status may be lost; jupyter_client
    instead waits until iopub has been silent for a while.
    """
    requests: set[str] = set()
    while True:
        requests.add(client.kernel_info())
        try:
            reply = await client.get_shell_msg(timeout=_ASK_AGAIN_S)
        except Empty:
            continue
        if reply["msg_type"] == "kernel_info_reply" and await _hears_status(client, requests):
            client._handle_kernel_info_reply(reply)  # noqa: SLF001  adapts to the protocol version
            content: dict[str, Any] = reply["content"]
            return content


async def _hears_status(client: AsyncKernelClient, requests: set[str]) -> bool:
    """Return whether iopub speaks. It ends at the idle status of a request, or when nothing more comes."""
    end, heard = time.monotonic() + _IOPUB_S, False
    while (left_s := end - time.monotonic()) > 0:
        with contextlib.suppress(Empty):
            message = await client.get_iopub_msg(timeout=left_s)
            heard = True
            if _is_idle_after(message, requests):
                return True
            # The status was sent before the welcome, or it comes now.
            if message["msg_type"] == "iopub_welcome":
                end = min(end, time.monotonic() + _STATUS_S)
    return heard


def _is_idle_after(message: dict[str, Any], requests: set[str]) -> bool:
    is_idle = message["msg_type"] == "status" and message["content"]["execution_state"] == "idle"
    return is_idle and message["parent_header"].get("msg_id") in requests


def ended_early(
    name: str, returncode: int, log: KernelLog, ports: Sequence[int], *, cause: str = ""
) -> KernelStartError:
    """The error for a kernel that ended before it was ready; ``ports`` are its TCP ports, ``cause`` is a clause."""
    how = describe_exit(returncode)
    text = f"kernel {name!r} ended before it was ready ({how}){cause}{log.quoted()}"
    if ports and (_CLASH.search(log.tail()) or any(map(_is_taken, ports))):
        return PortClashError(text)
    return KernelStartError(text)


def silent(name: str, timeout_s: float, log: KernelLog) -> StartTimeoutError:
    """The error for a kernel that runs but does not answer."""
    limit = format_duration(timeout_s)
    return StartTimeoutError(f"kernel {name!r} did not answer within {limit}{log.quoted()}")


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        if sys.platform != "win32":  # there, it allows to bind a port in use
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as exc:
            return exc.errno == errno.EADDRINUSE
    return False
