"""A kernel that has answered, and the log that it writes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager

from pytest_nbgroups.core.text import last_lines, plain_text
from pytest_nbgroups.core.units import Size
from pytest_nbgroups.kernel_host.client import KernelProcess
from pytest_nbgroups.kernels.output_allowance import LeftOut
from pytest_nbgroups.kernels.output_channel import OutputChannel

_TAIL_BYTES = 8192
_TAIL_LINES = 20


class KernelLog:
    """Output of a kernel in its log from now on."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._start = self.size()

    def tail(self) -> str:
        """The last lines, without terminal escapes; empty if there are none."""
        data = self.read(max(self._start, self.size() - _TAIL_BYTES), _TAIL_BYTES)
        text = data.decode(errors="replace")
        return last_lines(plain_text(text).strip(), _TAIL_LINES)

    def size(self) -> int:
        """Bytes that it has now; 0 if it cannot be read."""
        try:
            return self._path.stat().st_size if self._path is not None else 0
        except OSError:
            return 0

    def read(self, start: int, length: int) -> bytes:
        """Read from a position on; empty if nothing is there."""
        if self._path is None:
            return b""
        try:
            with self._path.open("rb") as file:
                file.seek(start)
                return file.read(length)
        except OSError:
            return b""

    def quoted(self) -> str:
        """The tail as the end of a message."""
        if tail := self.tail():
            return f"; the end of its log {self._path}:\n{tail}"
        return f"; its log {self._path} is empty" if self._path else ""


@dataclass(kw_only=True)
class RunningKernel:
    """A kernel that has answered, with its manager and its client ready for nbclient."""

    manager: AsyncKernelManager
    client: AsyncKernelClient
    spec: KernelSpec
    process: KernelProcess
    exited: asyncio.Future[int]
    """The kernel's exit code, negative for a signal; KernelHostError if the host ended first.

    It belongs to the event loop in which the kernel was started.
    """
    language_info: Mapping[str, Any] = field(default_factory=dict)
    """The kernel's description of its language, as notebooks store it."""
    log: KernelLog
    output_limit: Size
    left_out: dict[int, LeftOut] = field(default_factory=dict)
    """Index of a cell -> output that was not kept."""
    error_outputs: dict[int, tuple[str, ...]] = field(default_factory=dict)
    """Index of a cell that passed -> the errors among its outputs, a line each."""
    plainly: str | None
    """Why it was not forked."""
    warning: str | None
    """About how it was started."""
    cut_off: str | None = None
    """An explanation if it was killed before its exit handlers had finished; known in the end."""
    _abandoned: bool = False

    @property
    def outputs(self) -> OutputChannel:
        """Return the outputs of the cells on their way to nbclient."""
        channel = self.client.iopub_channel
        assert isinstance(channel, OutputChannel)  # noqa: S101  set by _start
        return channel

    async def interrupt(self) -> None:
        """Interrupt as its kernelspec asks for: by signal or by message; a dead kernel is left alone."""
        await self.manager.interrupt_kernel()

    def abandon(self) -> None:
        """Do not ask it to end but kill it at once: it is known to be busy or stuck."""
        self._abandoned = True

    @property
    def can_be_asked(self) -> bool:
        return not self._abandoned and not self.exited.done()
