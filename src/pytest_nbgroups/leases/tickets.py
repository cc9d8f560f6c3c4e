"""Tickets: one file for each claim that waits or holds, alive for as long as it is locked.

A ticket is created, read and removed as dead under the pool's gate alone. It has the claim in its
first line and in its second what is used, which is written again and again: should a process die
in the midst of that, what it holds is still known.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import typing
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pytest_nbgroups.core.codec import plain, rebuild
from pytest_nbgroups.core.errors import DataError
from pytest_nbgroups.core.resources import Claim, Need
from pytest_nbgroups.leases import locked_file

State: TypeAlias = Literal["waiting", "holding"]

_NAME = re.compile(r"(waiting|holding)-([0-9]{1,60})-[0-9]+-[0-9a-f]+")
_LAST_NUMBER = 10**60 - 1
_USAGE = ("used_bytes", "gpu_used_bytes")


@dataclass(frozen=True, kw_only=True)
class Ticket:
    """A live one of another, or of another thread."""

    state: State
    number: int
    """Its place in the queue."""
    claim: Claim


@dataclass(frozen=True, kw_only=True)
class OwnTicket:
    """One that this process has locked."""

    path: Path
    number: int
    claim: Claim
    descriptor: int

    def write_usage(self, used_bytes: int, gpu_used_bytes: Mapping[str, int]) -> None:
        """Report the present use. Raises OSError."""
        usage = json.dumps(dict(zip(_USAGE, (used_bytes, dict(gpu_used_bytes)), strict=True)))
        locked_file.write(self.descriptor, f"{usage}\n".encode(), at=len(_first_line(self.claim)))

    def end(self) -> None:
        """Close it, and remove it unless another process has inherited it and lives.

        That process keeps the ticket alive, and whoever looks after its end removes it.
        """
        # Closing ends the lock only if no child has inherited the descriptor.
        locked_file.close(self.descriptor)
        with suppress(OSError):
            locked_file.content_if_alive(self.path)


def create(folder: Path, state: State, number: int, claim: Claim) -> OwnTicket:
    """Write a ticket and lock it. Raises OSError."""
    # No two are ever called the same, so that to remove one's own cannot hit another's.
    path = folder / f"{state}-{number:012}-{os.getpid()}-{secrets.token_hex(4)}"
    claim = replace(claim, ticket=path.name)
    descriptor = locked_file.create_locked(path, _first_line(claim))
    return OwnTicket(path=path, number=number, claim=claim, descriptor=descriptor)


def next_number(folder: Path) -> int:
    """The end of the queue. Raises OSError.

    A file that somebody has named with the last number of all must not give the next ticket a name
    that nobody takes for a ticket: then two stand in one place, of which neither is ahead.
    """
    last = max((number for _, number, _ in _listed(folder)), default=0)
    return min(last + 1, _LAST_NUMBER)


def live_tickets(folder: Path, *, except_for: Path | None = None) -> Iterator[Ticket]:
    """The tickets in the order of their numbers; what is dead is removed. Raises OSError."""
    for state, number, path in sorted(_listed(folder), key=lambda listed: listed[1]):
        if path == except_for:
            continue
        content = locked_file.content_if_alive(path)
        claim = None if content is None else _named(content, path.name) or _unknown(path, state)
        if claim is not None:
            yield Ticket(state=state, number=number, claim=claim)


def _listed(folder: Path) -> Iterator[tuple[State, int, Path]]:
    for path in folder.iterdir():
        match = _NAME.fullmatch(path.name)
        if match:
            yield typing.cast("State", match[1]), int(match[2]), path


def _unknown(path: Path, state: State) -> Claim | None:
    """Return the claim for a locked ticket that cannot be read: a holder of everything.

    One that waits holds nothing, so it is passed over.
    """
    if state == "waiting":
        return None
    need = Need(cpus=0, ram_bytes=0, ram_source="declared", exclusive=True)
    return Claim(need=need, experiment=f"the holder of {path}", session="", ticket=path.name)


def _first_line(claim: Claim) -> bytes:
    return (json.dumps(plain(claim)) + "\n").encode()


@lru_cache(maxsize=256)  # a ticket is read again and again while it lives
def _named(content: bytes, name: str) -> Claim | None:
    """The claim with the file's name as its ticket, whatever its content: no two are called the same."""
    claim = decode(content)
    return None if claim is None else replace(claim, ticket=name)


def decode(content: bytes) -> Claim | None:
    """The claim with the last reported use; None if it cannot be made out."""
    first, _, rest = content.partition(b"\n")
    said = _object(first)
    usage = _object(rest.partition(b"\n")[0])
    known = {name: usage[name] for name in _USAGE if name in usage}
    return _claim({**said, **known}) or _claim(said)


def _object(line: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _claim(data: Mapping[str, Any]) -> Claim | None:
    try:
        return rebuild(Claim, data)
    except DataError:
        return None
