"""Messages between the kernel host and its pytest process: one JSON object a line.

A request is ``{"id", "op", ...}``; its answer repeats the id. A message of the host that answers no request is an ``event``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

Message: TypeAlias = dict[str, Any]


def encode(message: Mapping[str, Any]) -> bytes:
    """One line of ASCII, so that paths and variables with undecodable bytes survive."""
    return json.dumps(message, ensure_ascii=True).encode() + b"\n"


class LineBuffer:
    """Puts messages together again from the pieces that the socket delivers."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Message]:
        """Give each message that ``data`` completes. Raises ValueError for a line that is no object."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if not isinstance(message, dict):
                raise ValueError(f"expected a JSON object, got {line[:80]!r}")
            yield message
