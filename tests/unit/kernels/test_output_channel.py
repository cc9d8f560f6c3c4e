"""The channel of a kernel's outputs, fed by a socket of the test."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from queue import Empty
from typing import Any

import pytest
import zmq.asyncio  # noqa: TID253  in place of a kernel
from jupyter_client.session import Session  # noqa: TID253

from pytest_nbgroups.kernels import output_channel
from pytest_nbgroups.kernels.output_allowance import LeftOut, OutputAllowance
from pytest_nbgroups.kernels.output_channel import AnswerChannel, OutputChannel

REQUEST = {"msg_id": "request", "msg_type": "execute_request"}
LIMIT = 10_000


class Kernel:
    """Sends what a kernel shows."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self.socket = socket
        self.session = Session(key=b"key")

    def send(self, kind: str, parent: dict[str, str] = REQUEST, **content: Any) -> None:
        self.session.send(self.socket, kind, content, parent=parent, ident=kind.encode())

    def begin(self) -> None:
        self.send("status", execution_state="busy")
        self.send("execute_input", code="", execution_count=1)

    def print(self, text: str) -> None:
        self.send("stream", name="stdout", text=text)

    def end(self) -> None:
        self.send("status", execution_state="idle")


def talk(about: Callable[[Kernel, OutputChannel], Awaitable[None]]) -> None:
    """Have a kernel and a channel, which has begun a cell."""

    async def connected() -> None:
        context = zmq.asyncio.Context()
        ours, theirs = context.socket(zmq.PAIR), zmq.Socket(zmq.Context.shadow(context), zmq.PAIR)
        ours.bind("inproc://outputs")
        theirs.connect("inproc://outputs")
        try:
            channel = OutputChannel(ours, Session(key=b"key"))
            channel.allowance = OutputAllowance(limit_bytes=LIMIT)
            channel.begin_cell()
            channel.cell_is_asked(REQUEST["msg_id"])
            await about(Kernel(theirs), channel)
        finally:
            theirs.close(linger=0)
            context.destroy(linger=0)

    asyncio.run(connected())


async def rest(channel: OutputChannel) -> list[dict[str, Any]]:
    """What is handed on until the end of the cell."""
    messages = []
    while True:
        message = await channel.get_msg(timeout=5)
        messages.append(message)
        if message["content"].get("execution_state") == "idle":
            return messages


def kinds(messages: list[dict[str, Any]]) -> list[str]:
    return [str(message["msg_type"]) for message in messages]


def test_what_is_shown_is_handed_on() -> None:
    """In order, and as it is."""

    async def about(kernel: Kernel, channel: OutputChannel) -> None:
        kernel.begin()
        kernel.print("text")
        kernel.end()
        messages = await rest(channel)
        assert kinds(messages) == ["status", "execute_input", "stream", "status"]
        assert messages[2]["content"] == {"name": "stdout", "text": "text"}
        assert channel.has_ended
        assert channel.end_cell() == LeftOut()

    talk(about)


def test_what_is_over_the_allowance_is_dropped() -> None:
    """The rest of a text, and later ones, of which the last is remembered."""

    async def about(kernel: Kernel, channel: OutputChannel) -> None:
        kernel.begin()
        for letter in "abc":
            kernel.print(letter * 9000)
        kernel.print("the end\n")
        kernel.end()
        texts = [m["content"]["text"] for m in await rest(channel) if m["msg_type"] == "stream"]
        assert [set(text) for text in texts] == [{"a"}, {"b"}]
        assert LIMIT - 1000 < sum(map(len, texts)) <= LIMIT
        assert channel.end_cell().over_limit_bytes > 17_000
        assert channel.last_printed() == "the end\n"

    talk(about)


def test_a_thread_of_an_earlier_cell() -> None:
    """What it shows is neither handed on nor counted."""

    async def about(kernel: Kernel, channel: OutputChannel) -> None:
        kernel.begin()
        for _ in range(10):
            kernel.send("stream", {"msg_id": "earlier"}, name="stdout", text="x" * 9000)
        kernel.print("own")
        kernel.end()
        assert kinds(await rest(channel)) == ["status", "execute_input", "stream", "status"]
        assert channel.end_cell() == LeftOut()

    talk(about)


def test_in_a_hurry_only_the_end_counts() -> None:
    """And the error that the interrupt has caused."""

    async def about(kernel: Kernel, channel: OutputChannel) -> None:
        kernel.begin()
        kernel.print("late")
        kernel.send("error", ename="KeyboardInterrupt", evalue="", traceback=[])
        kernel.end()
        channel.hurry(time.monotonic())
        assert kinds(await rest(channel)) == ["status", "execute_input", "error", "status"]
        left_out = channel.end_cell()
        assert left_out.late_bytes > 0
        assert not left_out.over_limit_bytes
        assert channel.last_printed() == "late"

    talk(about)


def test_others_have_their_turn() -> None:
    """A flood that never pauses does not keep the event loop to itself."""

    async def about(kernel: Kernel, channel: OutputChannel) -> None:
        async def read() -> None:
            while True:
                await channel.get_msg(timeout=5)
                kernel.print("x")  # there is always another

        kernel.begin()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(read(), 0.1)

    talk(about)


def test_what_the_kernel_has_dropped_is_noticed() -> None:
    """Its messages are numbered; a few numbers may be missing for other reasons."""

    async def about(kernel: Kernel, channel: OutputChannel) -> None:
        kernel.begin()
        kernel.session.message_count += 3
        kernel.print("x")
        kernel.session.message_count += 500
        kernel.end()
        await rest(channel)
        assert channel.end_cell() == LeftOut(lost_messages=500)

    talk(about)


def test_the_end_may_be_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the cell is answered, silence means that nothing more comes."""
    monkeypatch.setattr(output_channel, "SILENCE_S", 0.05)
    monkeypatch.setattr(output_channel, "_LOOK_S", 0.02)

    async def about(kernel: Kernel, channel: OutputChannel) -> None:
        kernel.begin()
        assert kinds([await channel.get_msg(), await channel.get_msg()])[1] == "execute_input"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(channel.get_msg(), 0.2)
        channel.cell_is_answered("another")
        assert not channel.is_answered
        channel.cell_is_answered(REQUEST["msg_id"])
        with pytest.raises(Empty):
            await channel.get_msg()
        assert not channel.has_ended

    talk(about)


def test_only_the_cells_own_end_counts() -> None:
    """A kernel is also idle after other requests, such as those of a widget."""

    async def about(kernel: Kernel, channel: OutputChannel) -> None:
        kernel.send("status", {"msg_id": "other"}, execution_state="idle")
        kernel.begin()
        await channel.get_msg(timeout=5)
        assert not channel.has_ended
        kernel.end()
        await rest(channel)
        assert channel.has_ended

    talk(about)


def test_before_anything_is_asked() -> None:
    """Whatever comes is handed on: whoever waits for the kernel to start needs it."""

    async def about(kernel: Kernel, channel: OutputChannel) -> None:
        channel.begin_cell()
        kernel.send("status", {"msg_id": "info"}, execution_state="idle")
        assert kinds([await channel.get_msg(timeout=5)]) == ["status"]
        assert not channel.has_ended

    talk(about)


def test_messages_that_cannot_be_read() -> None:
    """They are counted, with the first reasons, and those after them are handed on."""

    async def about(kernel: Kernel, channel: OutputChannel) -> None:
        kernel.begin()
        kernel.socket.send_multipart([b"topic", b"rubbish"])
        header = b'{"msg_id": "1", "msg_type": "stream"}'
        kernel.socket.send_multipart(
            [b"topic", b"<IDS|MSG>", b"", header, b'{"msg_id": "request"}']
        )
        kernel.send("stream", name="stdout", text=[1] * LIMIT)
        kernel.session.key = b"another"
        kernel.print("signed by another")
        kernel.session.key = b"key"
        kernel.print("on")
        kernel.end()
        messages = await rest(channel)
        assert messages[-2]["content"]["text"] == "on"
        left_out = channel.end_cell()
        assert left_out.refused_messages >= 3
        assert left_out.refusals[0].startswith("unreadable message: ValueError")
        assert any("Invalid Signature" in reason for reason in left_out.refusals)
        assert channel.end_cell() == LeftOut()

    talk(about)


@pytest.mark.parametrize("count", ["x", -1, 1.5, 2**70, True, [1]])
def test_execution_count(count: Any) -> None:
    """A cell can set its kernel's to anything; the record of a failure takes whole numbers."""

    async def about(kernel: Kernel, channel: OutputChannel) -> None:
        kernel.send("execute_input", code="", execution_count=count)
        kernel.send("execute_input", code="", execution_count=3)
        kernel.end()
        messages = await rest(channel)
        assert [m["content"].get("execution_count") for m in messages] == [None, 3, None]

    talk(about)


def test_the_reasons_are_few() -> None:
    """A loop may cause thousands; each says what is wrong and where."""

    async def about(_kernel: Kernel, channel: OutputChannel) -> None:
        error = ValueError("bad\nvalue")
        error.path = ["data", "text/plain"]  # type: ignore[attr-defined]  # as of jsonschema's
        for number in range(9):
            channel.refuse("display_data", error if number == 0 else ValueError(str(number)))
        left_out = channel.end_cell()
        assert left_out.refused_messages == 9
        assert len(left_out.refusals) == 3
        assert left_out.refusals[0] == "display_data: ValueError: data.text/plain: bad"

    talk(about)


def test_no_message_in_time() -> None:
    """As of every channel of jupyter_client."""

    async def about(_kernel: Kernel, channel: OutputChannel) -> None:
        async with asyncio.timeout(10):
            with pytest.raises(Empty):
                await channel.get_msg(timeout=0.01)

    talk(about)


# Answers


class Told:
    """In the place of the outputs' channel."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers: list[str | None] = []

    def cell_is_asked(self, request: str) -> None:
        self.asked.append(request)

    def cell_is_answered(self, request: str | None) -> None:
        self.answers.append(request)


def answer(about: Callable[[Kernel, AnswerChannel, Told], Awaitable[None]]) -> None:
    async def connected() -> None:
        context = zmq.asyncio.Context()
        ours, theirs = context.socket(zmq.PAIR), zmq.Socket(zmq.Context.shadow(context), zmq.PAIR)
        ours.bind("inproc://answers")
        theirs.connect("inproc://answers")
        try:
            channel, told = AnswerChannel(ours, Session(key=b"key")), Told()
            channel.outputs = told  # type: ignore[assignment]  # of which only that is used
            await about(Kernel(theirs), channel, told)
        finally:
            theirs.close(linger=0)
            context.destroy(linger=0)

    asyncio.run(connected())


def test_an_answer_is_heard_although_something_is_sent() -> None:
    """A widget sends in the middle of a cell, which takes away the sign that the answer has come."""

    async def scene(kernel: Kernel, channel: AnswerChannel, told: Told) -> None:
        waiting = asyncio.ensure_future(channel.get_msg())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        kernel.send("execute_reply", status="ok")
        channel.send(channel.session.msg("comm_msg", {}))
        message = await asyncio.wait_for(waiting, 10)
        assert message["msg_type"] == "execute_reply"
        assert told.answers == ["request"]

    answer(scene)


def test_the_request_of_a_cell_is_known() -> None:
    """From the moment at which it is sent; other requests are none of a cell's."""

    async def scene(_kernel: Kernel, channel: AnswerChannel, told: Told) -> None:
        message = channel.session.msg("execute_request", {"code": ""})
        channel.send(message)
        channel.send(channel.session.msg("kernel_info_request", {}))
        assert told.asked == [message["msg_id"]]

    answer(scene)


def test_no_answer_in_time() -> None:
    """The wait ends, also where something is sent meanwhile; nothing is taken for an answer."""

    async def scene(kernel: Kernel, channel: AnswerChannel, told: Told) -> None:
        waiting = asyncio.ensure_future(channel.get_msg(timeout=0.1))
        await asyncio.sleep(0)
        channel.send(channel.session.msg("comm_msg", {}))
        with pytest.raises(Empty):
            await waiting
        kernel.send("comm_info_reply")
        assert (await channel.get_msg(timeout=5))["msg_type"] == "comm_info_reply"
        assert told.answers == []

    answer(scene)
