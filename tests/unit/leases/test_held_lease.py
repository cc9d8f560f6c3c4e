"""A lease while it is held, and what is recorded of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from machines import need

from pytest_nbgroups.core.errors import LeaseError
from pytest_nbgroups.core.resources import Claim, Lease
from pytest_nbgroups.leases import held_lease
from pytest_nbgroups.leases.gate import Gate
from pytest_nbgroups.leases.held_lease import HeldLease

CLAIM = Claim(need=need(), experiment="A", session="s", since=1e9, gpus=("GPU-1",))


class Ticket:
    """A ticket that notes what is written, or cannot be written."""

    claim = CLAIM
    descriptor = 7

    def __init__(self, error: Exception | None = None) -> None:
        self.written: list[tuple[int, dict[str, int]]] = []
        self.ends = 0
        self.error = error

    def write_usage(self, used_bytes: int, gpu_used_bytes: Mapping[str, int]) -> None:
        if self.error is not None:
            raise self.error
        self.written.append((used_bytes, dict(gpu_used_bytes)))

    def end(self) -> None:
        self.ends += 1


@pytest.fixture
def ticket() -> Ticket:
    return Ticket()


def hold(ticket: Any, folder: Path) -> HeldLease:
    return HeldLease(ticket, Gate(folder), waited_s=2.0, waited_for="needs luck", notes=("low",))


def test_small_changes_are_not_written(ticket: Ticket, tmp_path: Path) -> None:
    """Two in a hundred, of RAM and of each GPU; a GPU that comes or goes is."""
    held = hold(ticket, tmp_path)
    for used, gpus in [
        (1000, {}),
        (1019, {}),
        (1021, {}),
        (1021, {"GPU-1": 50}),
        (1021, {"GPU-1": 51}),
        (1021, {"GPU-1": 52}),
        (1021, {}),
    ]:
        held.update(used, gpus)
    assert ticket.written == [
        (1000, {}),
        (1021, {}),
        (1021, {"GPU-1": 50}),
        (1021, {"GPU-1": 52}),
        (1021, {}),
    ]


@pytest.mark.parametrize("error", [OSError(28, "full"), LeaseError("gone")])
def test_what_could_not_be_written_is_tried_again(tmp_path: Path, error: Exception) -> None:
    """It raises nothing: the experiment runs on."""
    ticket = Ticket(error)
    held = hold(ticket, tmp_path)
    held.update(1000, {})
    ticket.error = None
    held.update(1000, {})
    assert ticket.written == [(1000, {})]


def test_it_is_released_once(
    ticket: Ticket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a time that no clock can set back, and with nothing left to inherit."""
    now = [50.0]
    monkeypatch.setattr(held_lease, "time", SimpleNamespace(monotonic=lambda: now[-1]))
    held = hold(ticket, tmp_path)
    before = held.record
    assert (held.descriptors, before.released_at) == ((7,), None)
    now.append(53.5)
    held.release()
    now.append(99.0)
    held.release()
    held.update(1, {})
    assert (ticket.ends, len(ticket.written), len(held.descriptors)) == (1, 0, 0)
    assert held.record == replace(before, released_at=1e9 + 3.5)
    assert before == Lease(
        need=CLAIM.need,
        gpus=("GPU-1",),
        waited_s=2.0,
        waited_for="needs luck",
        granted_at=1e9,
        notes=("low",),
    )
