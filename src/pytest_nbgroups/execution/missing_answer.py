"""Notices a kernel that is done with a cell but has no answer to send.

By the protocol a kernel sends its answer and then reports that it is idle. If the answer cannot be made or sent, it
is idle without one, and nbclient waits for ever: https://jupyter-client.readthedocs.io/en/stable/messaging.html
"""

from __future__ import annotations

import asyncio
import re
import time
from queue import Empty

from pytest_nbgroups.core.text import plain_text
from pytest_nbgroups.kernels.kernel import RunningKernel

GRACE_S = 10.0
"""Time for a late answer: some kernels report that they are idle before it, and the machine may be busy."""
_LOOK_S = 0.5
_PROBE_S = 3.0
_READ_BYTES = 2**20
_ENTRY_BYTES = 2**16

# Logged by ipykernel when the handling of a request is over, with an exception in place of an answer.
_HANDLER_FAILED = b"Exception in message handler"
_NEXT_ENTRY = re.compile(r"^(?:\[\w+\] |(?:WARNING|ERROR|CRITICAL):)", re.MULTILINE)
_RAISED = re.compile(r"^[ \t].*\n(?P<error>\S.*)$", re.MULTILINE)
"""The line below the frames of a traceback."""


class MissingAnswer:
    """Watches one kernel while it runs one cell, from before the cell is sent."""

    def __init__(self, kernel: RunningKernel) -> None:
        self._kernel = kernel
        self._begins = self._searched = kernel.log.size()
        self._entry: int | None = None
        """Where the log of the kernel reports that the request has failed."""
        self._can_speak = False
        self._probe: str | None = None
        """Id of the request that waits behind the cell."""

    @property
    def is_suspected(self) -> bool:
        """Return whether the kernel is done with the cell, as far as it shows, and has not answered."""
        outputs = self._kernel.outputs
        if outputs.is_answered:
            return False
        if outputs.has_ended or self._is_passed_over:
            return True
        return self._has_failed() and not self._can_speak

    @property
    def _is_passed_over(self) -> bool:
        """Return whether the kernel has answered a later request: its answers keep the order of the requests."""
        channel = self._kernel.client.shell_channel
        return self._probe is not None and channel.last_answered == self._probe

    async def confirmed(self, grace_s: float = GRACE_S) -> None:
        """Return once the answer has been missing for so many seconds; never if it comes.

        Looks are counted, not time: a process that was stopped for a while has not waited.
        """
        looks = 0
        while looks * _LOOK_S < grace_s or not await self._is_certain():
            await asyncio.sleep(_LOOK_S)
            looks = looks + 1 if self.is_suspected else 0

    async def _is_certain(self) -> bool:
        """Return whether the kernel is idle, or has gone on to the next request, or cannot answer any."""
        if not self._kernel.outputs.has_ended:
            self._ask_behind_the_cell()
            self._can_speak = await _answers(self._kernel)
        return self.is_suspected

    def _ask_behind_the_cell(self) -> None:
        """Send a question that a Python kernel answers after the cell; nbclient passes the answer over.

        If ``sys.stdout.flush()`` raises, an ipykernel neither answers nor becomes idle, but it still serves requests.
        """
        if self._probe is None:
            request = self._kernel.client.session.msg("kernel_info_request", {})
            self._probe = request["msg_id"]
            self._kernel.client.shell_channel.send(request)

    def log(self) -> str:
        """Return the kernel's log of the failed request, or else of the time since the cell began, as plain text."""
        if self._has_failed():
            text = self._read(self._entry or 0)
            following = _NEXT_ENTRY.search(text)
            return text[: following.start() if following else None].strip()
        return self._read(max(self._begins, self._kernel.log.size() - _ENTRY_BYTES)).strip()

    def _read(self, start: int) -> str:
        data = self._kernel.log.read(start, _ENTRY_BYTES)
        return plain_text(data.decode(errors="replace"))

    def _has_failed(self) -> bool:
        """Search the part of the log that is new since the last look."""
        if self._entry is None:
            data = self._kernel.log.read(self._searched, _READ_BYTES)
            if (found := data.find(_HANDLER_FAILED)) >= 0:
                self._entry = self._searched + found
            # The text may be cut at the end of what was read.
            self._searched += max(0, len(data) - len(_HANDLER_FAILED))
        return self._entry is not None


async def _answers(kernel: RunningKernel) -> bool:
    """Ask over the control channel, which Python kernels serve while a cell runs."""
    channel = kernel.client.control_channel
    request = kernel.client.session.msg("kernel_info_request", {})
    channel.send(request)
    end = time.monotonic() + _PROBE_S
    while (left_s := end - time.monotonic()) > 0:
        try:
            message = await channel.get_msg(timeout=left_s)
        except Empty:
            return False
        if message["parent_header"].get("msg_id") == request["msg_id"]:
            return True
    return False


def raised_last(log: str) -> str:
    """The last error with a traceback in a log: ``TypeError: 'NoneType' object is not callable``."""
    errors = [found["error"] for found in _RAISED.finditer(log)]
    return errors[-1] if errors else ""
