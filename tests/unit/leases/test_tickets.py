from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nbgroups.core.codec import plain
from pytest_nbgroups.core.resources import Claim, Need
from pytest_nbgroups.leases import locked_file, tickets
from pytest_nbgroups.leases.tickets import OwnTicket, State, Ticket, decode

posix = pytest.mark.skipif(sys.platform == "win32", reason="modes, links and pipes of POSIX")

CLAIM = Claim(
    need=Need(cpus=1.5, ram_bytes=7, ram_source="slow start", gpu_share_bytes=3, locks=("a",)),
    experiment="Heart-CT",
    session="s",
    pid=42,
    gpu_choices=("GPU-0", "GPU-1"),
    gpus=("GPU-1",),
    gpu_used_bytes={"GPU-1": 5},
)

Create = Callable[..., OwnTicket]


@pytest.fixture
def create(tmp_path: Path) -> Iterator[Create]:
    """Write tickets, which live until the test ends."""
    made: list[OwnTicket] = []

    def write(state: State = "holding", number: int = 1, claim: Claim = CLAIM) -> OwnTicket:
        made.append(tickets.create(tmp_path, state, number, claim))
        return made[-1]

    yield write
    for ticket in made:
        locked_file.close(ticket.descriptor)


def live(folder: Path) -> list[Ticket]:
    return list(tickets.live_tickets(folder))


def test_claim(create: Create, tmp_path: Path) -> None:
    """A ticket says all of the claim to everyone, in a process of its own or in this one."""
    own = create("holding", 7)
    claim = replace(CLAIM, ticket=own.path.name)
    assert own.claim == claim
    assert live(tmp_path) == [Ticket(state="holding", number=7, claim=claim)]


def test_name(create: Create, tmp_path: Path) -> None:
    """A ticket is called what its file is called, also if it says something else."""
    other = create("holding", 1)
    path = tmp_path / "holding-2-1-a"
    said = json.dumps(plain(replace(CLAIM, ticket=other.path.name))).encode()
    descriptor = locked_file.create_locked(path, said + b"\n")
    assert [found.claim.ticket for found in live(tmp_path)] == [other.path.name, path.name]
    locked_file.close(descriptor)


def test_queue(create: Create, tmp_path: Path) -> None:
    """Tickets stand in the order of their numbers, and the next comes after all of them."""
    for number in (10, 2, 1_000_000_000_000):
        create("waiting", number)
    assert [ticket.number for ticket in live(tmp_path)] == [2, 10, 1_000_000_000_000]
    assert tickets.next_number(tmp_path) == 1_000_000_000_001


def test_own(create: Create, tmp_path: Path) -> None:
    """One's own ticket can be left out."""
    own = create("waiting", 1)
    other = create("waiting", 2)
    found = list(tickets.live_tickets(tmp_path, except_for=own.path))
    assert [ticket.number for ticket in found] == [other.number]


def test_dead(create: Create, tmp_path: Path) -> None:
    """A ticket whose process has ended is removed by whoever looks next."""
    ticket = create()
    locked_file.close(ticket.descriptor)
    assert live(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_end(create: Create, tmp_path: Path) -> None:
    """A ticket that is given back is gone at once."""
    create().end()
    assert list(tmp_path.iterdir()) == []


@posix
def test_end_with_an_heir(create: Create, tmp_path: Path) -> None:
    """As long as a copy of the descriptor is open elsewhere, a ticket that is given back stays."""
    ticket = create()
    heir = os.dup(ticket.descriptor)
    ticket.end()
    assert [found.claim for found in live(tmp_path)] == [ticket.claim]
    os.close(heir)
    assert live(tmp_path) == []


def test_usage(create: Create, tmp_path: Path) -> None:
    """What is used is told again and again, in fewer or more digits; the last word counts."""
    ticket = create()
    for used, gpu in [(10**9, {"GPU-1": 10**9}), (3, {}), (12345, {"GPU-1": 1})]:
        ticket.write_usage(used, gpu)
        (found,) = live(tmp_path)
        assert (found.claim.used_bytes, found.claim.gpu_used_bytes) == (used, gpu)
        assert found.claim.need == CLAIM.need


@pytest.mark.parametrize("usage", [b'{"used_by', b'{"used_bytes": -1}\n', b"[7]\n", b"\xff\n"])
def test_torn_usage(usage: bytes) -> None:
    """A process that dies as it tells what it uses has still said what it holds."""
    assert decode(json.dumps(plain(CLAIM)).encode() + b"\n" + usage) == CLAIM


def test_unknown_fields() -> None:
    """What another version of the plugin says beside is passed over."""
    said = {**plain(CLAIM), "colour": "red"}
    assert decode(json.dumps(said).encode() + b"\n") == CLAIM


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("need", 5),
        ("need", {}),
        ("experiment", None),
        ("pid", "42"),
        ("pid", True),
        ("since", float("nan")),
        ("since", 10**400),
        ("used_bytes", -1),
        ("used_bytes", 1.5),
        ("gpus", [1]),
        ("gpus", 5),
        ("gpu_used_bytes", {"GPU-1": "all"}),
        ("slow_start_limit", "2"),
    ],
)
def test_garbage_in_a_field(field: str, value: Any) -> None:
    """A claim of which a part cannot be is none."""
    assert decode(json.dumps({**plain(CLAIM), field: value}).encode() + b"\n") is None


def test_garbage_in_the_need() -> None:
    """The same for what it needs."""
    need = plain(CLAIM.need)
    for field, value in [("ram_source", "guess"), ("cpus", -1), ("locks", [None]), ("gpus", 1.5)]:
        said = {**plain(CLAIM), "need": {**need, field: value}}
        assert decode(json.dumps(said).encode() + b"\n") is None


@given(st.binary() | st.recursive(st.none() | st.integers() | st.text(), st.lists))
def test_any_content(content: Any) -> None:
    """Whatever a ticket says, reading it never ends in an error."""
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    assert decode(data) is None
    assert decode(b"[" * 100_000) is None


def test_depth() -> None:
    """A value that is almost too deep to be read is refused as any other."""
    for depth in range(0, 1100, 3):
        nested = f"{'[' * depth}{']' * depth}" if depth else "0"
        assert decode(f'{{"need": {nested}}}\n'.encode()) is None


def test_unreadable_holder(tmp_path: Path) -> None:
    """A locked ticket of which nothing can be read may hold anything: nobody runs beside it."""
    path = tmp_path / "holding-1-1-a"
    descriptor = locked_file.create_locked(path, b"garbage")
    (found,) = live(tmp_path)
    assert found.claim.need.exclusive
    assert found.claim.experiment == f"the holder of {path}"
    locked_file.close(descriptor)
    assert live(tmp_path) == []


def test_unreadable_waiter(tmp_path: Path) -> None:
    """One that waits holds nothing, and nobody waits for it."""
    descriptor = locked_file.create_locked(tmp_path / "waiting-1-1-a", b"garbage")
    assert live(tmp_path) == []
    assert len(list(tmp_path.iterdir())) == 1
    locked_file.close(descriptor)


@posix
def test_strange_files(tmp_path: Path) -> None:
    """What else lies in the folder is left alone: links, pipes, folders, other names."""
    target = tmp_path / "target"
    target.write_text("precious")
    (tmp_path / "holding-1-1-a").symlink_to(target)
    os.mkfifo(tmp_path / "holding-2-1-a")
    (tmp_path / "holding-3-1-a").mkdir()
    (tmp_path / "holding-x-1-a").touch()
    assert live(tmp_path) == []
    assert len(list(tmp_path.iterdir())) == 5
    assert target.read_text() == "precious"


@posix
def test_mode(create: Create) -> None:
    """Every user may read a ticket, whatever the umask, and only its owner write it."""
    previous = os.umask(0o077)
    try:
        ticket = create()
    finally:
        os.umask(previous)
    assert stat.S_IMODE(ticket.path.stat().st_mode) == 0o644


def test_not_inherited(create: Create) -> None:
    """A program that is started does not get the descriptor unless it is named."""
    assert not os.get_inheritable(create().descriptor)


def test_the_last_number(create: Create, tmp_path: Path) -> None:
    """Who comes after the last number there can be has a ticket all the same, which all others see."""
    (tmp_path / f"waiting-{'9' * 60}-1-ab").touch()
    number = tickets.next_number(tmp_path)
    own = create("holding", number)
    assert live(tmp_path) == [Ticket(state="holding", number=number, claim=own.claim)]


@posix
def test_huge_file(tmp_path: Path) -> None:
    """Of another user's file no more is read than a ticket can have."""
    path = tmp_path / "holding-1-1-a"
    descriptor = locked_file.create_locked(path)
    os.truncate(path, 2**40)
    (found,) = live(tmp_path)
    assert found.claim.experiment == f"the holder of {path}"
    locked_file.close(descriptor)


@posix
def test_hard_link(tmp_path: Path) -> None:
    """A file that another name makes a ticket is neither written nor emptied: the name goes."""
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (tmp_path / "holding-1-1-a").hardlink_to(precious)
    assert live(tmp_path) == []
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]
    assert precious.read_text() == "precious"
