from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nbgroups.kernel_host.wire import LineBuffer, encode

messages = st.dictionaries(st.text(), st.one_of(st.integers(), st.text(), st.lists(st.text())))


@given(st.lists(messages), st.integers(min_value=1, max_value=50))
def test_messages_survive_any_fragmentation(sent: list[dict[str, object]], size: int) -> None:
    """Whatever pieces the socket delivers, the same messages come out in the same order."""
    stream, lines = b"".join(map(encode, sent)), LineBuffer()
    pieces = [stream[i : i + size] for i in range(0, len(stream), size)]
    assert [message for piece in pieces for message in lines.feed(piece)] == sent


def test_undecodable_bytes_survive() -> None:
    """A path or variable that is not UTF-8 keeps its bytes."""
    text = b"caf\xe9".decode("utf-8", "surrogateescape")
    assert list(LineBuffer().feed(encode({"cwd": text}))) == [{"cwd": text}]


def test_a_message_is_one_line() -> None:
    """A newline in a value does not end the message."""
    assert encode({"a": "1\n2"}).count(b"\n") == 1


@pytest.mark.parametrize("line", [b"nonsense\n", b"[]\n"])
def test_what_is_no_message_is_refused(line: bytes) -> None:
    """A line that is no JSON object is an error, not silence."""
    with pytest.raises(ValueError, match=r"Expecting value|expected a JSON object"):
        list(LineBuffer().feed(line))
