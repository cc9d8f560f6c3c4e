"""The channel on which a kernel shows its outputs, proof against one that shows more than anyone can take.

Messages are taken from the socket as soon as they come, so that the kernel's own queue, which drops what it cannot
hold, stays short. What is over the notebook's allowance is dropped before it is decoded, and the event loop is let
run in between: neither a deadline nor Ctrl-C waits for a flood to pause.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, replace
from queue import Empty
from typing import Any

import zmq
from jupyter_client.channels import AsyncZMQSocketChannel
from jupyter_client.session import DELIM

from pytest_nbgroups.core.codec import Count, rebuild
from pytest_nbgroups.core.errors import DataError
from pytest_nbgroups.core.text import first_line
from pytest_nbgroups.kernels.output_allowance import LeftOut, OutputAllowance

_TURN_S = 0.005
"""How long messages are dealt with before others have their turn."""
_HEADER, _PARENT, _CONTENT = 1, 2, 4
_COUNT: Any = Count | None
"""Kind of an execution count."""
_LEAP = 10
"""Fewer missing numbers are no loss: messages on the other channels take numbers too."""
SILENCE_S = 15.0
"""If a kernel is silent for so long after a cell was done, the end of its outputs is lost."""
_LOOK_S = 1.0
_TAIL = 10_000
"""Characters that are kept of the last dropped text."""
_REFUSALS = 3
"""Different reasons that are kept of why messages were refused: a loop may cause thousands."""


@dataclass(frozen=True, kw_only=True)
class _Waiting:
    """A message as it came: signature, header, parent, metadata, content, buffers."""

    kind: str
    frames: list[bytes]
    size: int
    kept: int


class OutputChannel(AsyncZMQSocketChannel):
    """Hands on the outputs of the running cell, within an allowance; see `begin_cell`."""

    allowance: OutputAllowance

    def __init__(self, socket: Any, session: Any, loop: Any = None) -> None:  # noqa: ANN401  as its base
        super().__init__(socket, session, loop)
        # The same socket without asyncio: all that has arrived can be taken in one turn.
        self._direct: zmq.Socket[bytes] = zmq.Socket.shadow(socket.underlying)
        self._waiting: deque[_Waiting] = deque()
        self._request: str | None = None
        """Id of the request that runs the cell; None until it is sent."""
        self._last_dropped: list[bytes] | None = None
        self._last_cut = ""
        self._last_number: tuple[str, int] = "", 0
        """Sender of the last message, and the number that it gave to it."""
        self.has_ended = False
        """The kernel has reported the end of the cell's outputs: it is idle."""
        self.is_answered = False
        """The kernel has answered the request that runs the cell."""
        self._lost, self._refused, self._refusals = 0, 0, dict[str, None]()
        self._turn_ends, self._hurry_at = 0.0, float("inf")

    def begin_cell(self) -> None:
        """Treat the following messages as output of another cell."""
        self.allowance.begin_cell()
        self._request, self._last_dropped, self._last_cut = None, None, ""
        self._lost, self.has_ended, self.is_answered = 0, False, False
        self._hurry_at = float("inf")

    def end_cell(self) -> LeftOut:
        """Return the outputs that were dropped, once."""
        left_out = replace(
            self.allowance.end_cell(),
            lost_messages=self._lost,
            refused_messages=self._refused,
            refusals=tuple(self._refusals),
        )
        self._lost, self._refused, self._refusals = 0, 0, {}
        return left_out

    def refuse(self, kind: str, error: Exception) -> None:
        """Count a message that nothing can be made of, and keep the reason."""
        self._refused += 1
        if len(self._refusals) < _REFUSALS:
            self._refusals[f"{kind}: {_reason(error)}"] = None

    def cell_is_asked(self, request: str) -> None:
        """Take note of the request that runs the cell: only messages that name it belong to the cell."""
        self._request = request

    def cell_is_answered(self, request: str | None) -> None:
        """Take note of an answer; outputs of the cell may still be under way."""
        self.is_answered |= request == self._request

    def hurry(self, at: float) -> None:
        """From this moment of `time.monotonic` on, drop outputs to get to the end of the cell."""
        self._hurry_at = at

    def last_printed(self) -> str:
        """The end of the last dropped text; empty if it came in one message above the limit."""
        if self._last_dropped is None:
            return self._last_cut
        frames, self._last_dropped = self._last_dropped, None  # a message can be verified once
        with suppress(Exception):  # a kernel can send anything
            self._last_cut = self.session.deserialize(frames)["content"].get("text", "")[-_TAIL:]
        return self._last_cut

    async def get_msg(  # type: ignore[override]  # as its base does
        self,
        timeout: float | None = None,  # noqa: ASYNC109  the base has it
    ) -> dict[str, Any]:
        """The next message that is kept. Raises Empty when none has come in so many seconds."""
        while True:
            await self._take_turns()
            self._receive()
            if (waiting := self._next()) is not None:
                if (message := self._message(waiting)) is not None:
                    return message
                continue
            if int(self._direct.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
                continue
            if not await self._wait(timeout):
                raise Empty

    async def _wait(self, timeout_s: float | None) -> bool:
        """Return whether a message came. After the cell's end, a silence of the kernel ends the wait."""
        begun, left_s = time.monotonic(), _LOOK_S if timeout_s is None else timeout_s
        while not await self.socket.poll(int(1000 * min(_LOOK_S, left_s))):
            waited_s = time.monotonic() - begun
            left_s = _LOOK_S if timeout_s is None else timeout_s - waited_s
            if left_s <= 0 or (self.is_answered and waited_s >= SILENCE_S):
                return False
        return True

    async def _take_turns(self) -> None:
        if time.monotonic() >= self._turn_ends:
            await asyncio.sleep(0)
            self._turn_ends = time.monotonic() + _TURN_S

    def _receive(self) -> None:
        """Take the messages that have come, but not for longer than a turn."""
        while time.monotonic() < self._turn_ends:
            try:
                frames = self._direct.recv_multipart(flags=zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                self._sort(frames[frames.index(DELIM) + 1 :])
            except Exception as exc:  # noqa: BLE001  a kernel can send anything
                self.refuse("unreadable message", exc)

    def _sort(self, frames: list[bytes]) -> None:
        header = self.session.unpack(frames[_HEADER])
        kind: str = header["msg_type"]
        self._count(header.get("msg_id", ""))
        if self._is_of_another_cell(kind, frames):
            return
        size = sum(map(len, frames))
        kept = self.allowance.take(kind, size)
        if kept:
            self._waiting.append(_Waiting(kind=kind, frames=frames, size=size, kept=kept))
        else:
            self._remember(kind, frames, size)

    def _count(self, message_id: str) -> None:
        """Notice messages that the kernel has dropped: Jupyter's Python kernels number them."""
        sender, _, number = message_id.rpartition("_")
        if number.isdecimal():
            last_sender, last = self._last_number
            leap = int(number) - last - 1
            if sender == last_sender and leap >= _LEAP:
                self._lost += leap
            self._last_number = sender, int(number)

    def _is_of_another_cell(self, kind: str, frames: list[bytes]) -> bool:
        """Return whether a thread of an earlier cell shows it, which nbclient would not look at."""
        if self._request is None:  # so far only the kernel's information was asked for
            return False
        if self.session.unpack(frames[_PARENT]).get("msg_id") != self._request:
            return True
        if kind == "status":
            state = self.session.unpack(frames[_CONTENT]).get("execution_state")
            self.has_ended |= state == "idle"
        return False

    def _next(self) -> _Waiting | None:
        while self._waiting:
            waiting = self._waiting.popleft()
            if not self.allowance.may_drop(waiting.kind) or time.monotonic() < self._hurry_at:
                self.allowance.handed_on(waiting.size)
                return waiting
            self.allowance.drop(waiting.kind, waiting.size)
            self._remember(waiting.kind, waiting.frames, waiting.size)
        return None

    def _remember(self, kind: str, frames: list[bytes], size: int) -> None:
        if kind == "stream":
            self._last_dropped = frames if size <= self.allowance.limit_bytes else None

    def _message(self, waiting: _Waiting) -> dict[str, Any] | None:
        """None if it cannot be read."""
        try:
            message: dict[str, Any] = self.session.deserialize(waiting.frames)
            _check_count(message["content"])
            if waiting.kept < waiting.size:
                self._cut(message["content"], waiting.kept)
        except Exception as exc:  # noqa: BLE001  see _receive
            self.refuse(waiting.kind, exc)
            return None
        return message

    def _cut(self, content: dict[str, Any], kept: int) -> None:
        text = content.get("text", "")
        self._last_cut = text[-_TAIL:]
        # The limit counts bytes, and text can hold lone surrogates, which UTF-8 has no bytes for.
        content["text"] = text.encode(errors="surrogatepass")[:kept].decode(errors="ignore")


def _check_count(content: dict[str, Any]) -> None:
    """Drop a count that is no number of an execution: a cell can change its kernel's, and records are strict."""
    if "execution_count" in content:
        try:
            rebuild(_COUNT, content["execution_count"])
        except DataError:
            content["execution_count"] = None


class AnswerChannel(AsyncZMQSocketChannel):
    """Notifies the channel of the outputs when a cell is done.

    Sending, as widgets do within a cell, takes away the one sign that a message has come. A call that waits for a
    message is therefore woken up to look again.
    """

    outputs: OutputChannel

    def __init__(self, socket: Any, session: Any, loop: Any = None) -> None:  # noqa: ANN401  as its base
        super().__init__(socket, session, loop)
        self._sent = asyncio.Event()
        self.last_answered: str | None = None
        """Id of the request that the last message from the kernel answers."""

    def send(self, msg: dict[str, Any]) -> None:
        if msg["msg_type"] == "execute_request":
            self.outputs.cell_is_asked(msg["header"]["msg_id"])
        super().send(msg)
        self._sent.set()

    async def get_msg(  # type: ignore[override]  # as its base does
        self,
        timeout: float | None = None,  # noqa: ASYNC109  the base has it
    ) -> dict[str, Any]:
        """Raises Empty when none has come in so many seconds."""
        end = None if timeout is None else time.monotonic() + timeout
        while not await self._is_there(end):
            if end is not None and time.monotonic() >= end:
                raise Empty
        message = await super().get_msg(0)
        self.last_answered = message["parent_header"].get("msg_id")
        if message["msg_type"] == "execute_reply":
            self.outputs.cell_is_answered(self.last_answered)
        return message

    async def _is_there(self, end: float | None) -> bool:
        """Return whether a message is there, at once or when one arrives, another is sent or the time is over."""
        self._sent.clear()
        if await self.socket.poll(0):
            return True
        left_ms = None if end is None else int(1000 * max(0.0, end - time.monotonic()))
        arrival = asyncio.ensure_future(self.socket.poll(left_ms))
        sending = asyncio.ensure_future(self._sent.wait())
        try:
            await asyncio.wait({arrival, sending}, return_when=asyncio.FIRST_COMPLETED)
            return arrival.done() and bool(arrival.result())
        finally:
            for each in (arrival, sending):
                each.cancel()


def _reason(error: Exception) -> str:
    """``NotebookValidationError: data.text/plain: None is not valid under any of the given schemas``."""
    place = ".".join(map(str, getattr(error, "path", ())))
    return ": ".join(filter(None, [type(error).__name__, place, first_line(str(error))]))
