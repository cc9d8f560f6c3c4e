from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from pytest_nbgroups.core.errors import LeaseCancelledError, LeaseError, LeaseTimeoutError
from pytest_nbgroups.core.resources import Budget, Claim, Gpu, Need
from pytest_nbgroups.leases import waiting
from pytest_nbgroups.leases.pool import HeldLease, LeasePool
from pytest_nbgroups.scheduling.admission import Grant, Obstacle, admit

PATIENCE_S = 20.0
GPUS = tuple(
    Gpu(uuid=f"GPU-{index}", index=index, name="A100", total_bytes=100, free_bytes=100)
    for index in range(2)
)
BUDGET = Budget(
    cpus=8, cpus_source="affinity", ram_bytes=10**10, ram_capacity_bytes=10**10, ram_source="RAM"
)


def claim(name: str, **need: Any) -> Claim:
    values: dict[str, Any] = {"cpus": 1, "ram_bytes": 0, "ram_source": "declared"}
    choices = tuple(gpu.uuid for gpu in GPUS)
    return Claim(need=Need(**(values | need)), experiment=name, session="s", gpu_choices=choices)


def admission(asking: Claim, holders: Sequence[Claim], ahead: Sequence[Claim]) -> Grant | Obstacle:
    return admit(asking, holders=holders, ahead=ahead, budget=BUDGET, gpus=GPUS, memory=None)


@pytest.fixture
def pool(tmp_path: Path) -> LeasePool:
    return LeasePool(tmp_path / "pool", poll_s=0.01)


def files(pool: LeasePool) -> list[str]:
    return sorted(path.name.partition("-")[0] for path in pool.folder.iterdir())


class Waiter:
    """A thread that wants a lease, and holds it until it is told to let go."""

    def __init__(self, pool: LeasePool, wanted: Claim, **options: Any) -> None:
        self.lines: list[str] = []
        self.told = threading.Event()
        self.granted = threading.Event()
        self.let_go = threading.Event()
        self.held: HeldLease | None = None
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(pool, wanted, options))
        self._thread.start()

    def _run(self, pool: LeasePool, wanted: Claim, options: dict[str, Any]) -> None:
        def tell(line: str) -> None:
            self.lines.append(line)
            self.told.set()

        try:
            with pool.lease(wanted, admission=admission, on_wait=tell, **options) as self.held:
                self.granted.set()
                assert self.let_go.wait(PATIENCE_S)
        except LeaseError as exc:
            self.error = exc

    def end(self) -> None:
        self.let_go.set()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()


@contextmanager
def waiter(pool: LeasePool, wanted: Claim, **options: Any) -> Iterator[Waiter]:
    """A waiter whose ticket stands in the queue, or that has been granted its lease."""
    before = len(files(pool))
    made = Waiter(pool, wanted, **options)
    try:
        until(lambda: len(files(pool)) > before)
        yield made
    finally:
        made.end()


def until(condition: Any) -> None:
    give_up_at = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.005)


def test_lease(pool: LeasePool) -> None:
    """What is granted is held for as long as the context lasts; nothing is left afterwards."""
    before = time.time()
    with pool.lease(claim("A", gpus=1), admission=admission) as held:
        (holder,) = pool.snapshot().holders
        assert (holder.experiment, holder.gpus, holder.pid) == ("A", ("GPU-0",), os.getpid())
        assert holder.user
        assert before <= holder.since == held.record.granted_at <= time.time()
        assert held.gpus == ("GPU-0",)
        assert (held.waited_for, held.record.notes, held.record.released_at) == ("", (), None)
    assert held.record.released_at is not None
    assert held.record.need == claim("A", gpus=1).need
    assert files(pool) == ["gate"]


def test_several_in_one_process(pool: LeasePool) -> None:
    """Leases of one process exclude each other as those of several do."""
    with ExitStack() as leases:
        granted = [
            leases.enter_context(pool.lease(claim(name, gpus=1), admission=admission))
            for name in "AB"
        ]
        assert [held.gpus for held in granted] == [("GPU-0",), ("GPU-1",)]
        with (
            pytest.raises(LeaseTimeoutError),
            pool.lease(claim("C", gpus=1), admission=admission, wait_s=0),
        ):
            pass
        assert len(pool.snapshot().holders) == 2
        assert pool.snapshot().waiting == ()


def test_error_within(pool: LeasePool) -> None:
    """A lease ends with its context, however that ends."""
    with pytest.raises(ZeroDivisionError), pool.lease(claim("A"), admission=admission):
        1 / 0  # noqa: B018
    assert files(pool) == ["gate"]


def test_error_in_admission(pool: LeasePool) -> None:
    """So does the wait."""

    def fail(*_: object) -> Grant:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), pool.lease(claim("A"), admission=fail):
        pass
    assert files(pool) == ["gate"]


def test_note(pool: LeasePool) -> None:
    """What was to be remarked at the grant stays with the lease."""
    with pool.lease(claim("A"), admission=lambda *_: Grant(note="only 3 GiB are free")) as held:
        assert held.record.notes == ("only 3 GiB are free",)


def test_wait(pool: LeasePool, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that must wait says why, gets the lease when it can, and tells how long it waited."""
    monkeypatch.setattr(waiting, "_LOOK_AGAIN_S", 10 * PATIENCE_S)  # a release is seen at once
    monkeypatch.setattr(waiting, "_SILENT_S", 0.0)
    with ExitStack() as stack:
        first = stack.enter_context(ExitStack())
        first.enter_context(pool.lease(claim("A", gpus=2), admission=admission))
        asked_at = time.monotonic()
        second = stack.enter_context(waiter(pool, claim("B", gpus=1)))
        assert second.told.wait(PATIENCE_S)
        told_at = time.monotonic()
        assert second.lines[0].startswith(f"needs 1 gpu; held by A (pid {os.getpid()}, ")
        assert [each.experiment for each in pool.snapshot().waiting] == ["B"]
        assert not second.granted.is_set()
        released_at = time.monotonic()
        first.close()
        assert second.granted.wait(PATIENCE_S)
        assert second.held is not None
        assert released_at - told_at < second.held.waited_s < time.monotonic() - asked_at
        assert second.held.waited_for.startswith("needs 1 gpu; held by A (")
    assert len(second.lines) == 1


def answering(pool: LeasePool, *answers: Obstacle) -> Callable[..., Grant | Obstacle]:
    """An admission that gives each of the answers, then a grant."""
    left = iter(answers)

    def answer(*_: object) -> Grant | Obstacle:
        # As if a ticket had come and gone, so that it looks again.
        (pool.folder / "touched").touch()
        (pool.folder / "touched").unlink()
        return next(left, None) or Grant()

    return answer


def test_short_wait_is_silent(pool: LeasePool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is told of a wait that is over in a moment, but the lease remembers it."""
    monkeypatch.setattr(waiting, "_SILENT_S", PATIENCE_S)
    lines: list[str] = []
    lucky = answering(pool, Obstacle(lacking="needs luck"))
    with pool.lease(claim("A"), admission=lucky, on_wait=lines.append) as held:
        assert lines == []
        assert held.waited_for == "needs luck"


def test_reason_changes(pool: LeasePool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever another thing is lacking, or others hold it, that is told; numbers are no news."""
    monkeypatch.setattr(waiting, "_SILENT_S", 0.0)
    answers = answering(
        pool,
        Obstacle(lacking="needs 8GB of RAM", detail="1 GiB"),
        Obstacle(lacking="needs 8GB of RAM", detail="2 GiB"),
        Obstacle(lacking="needs 1 gpu", blockers=(claim("A"),)),
        Obstacle(lacking="needs 1 gpu", blockers=(claim("B"),)),
    )
    lines: list[str] = []
    with pool.lease(claim("C"), admission=answers, on_wait=lines.append) as held:
        assert held.waited_for == "needs 8GB of RAM, 1 GiB"
    assert lines == ["needs 8GB of RAM, 1 GiB", "needs 1 gpu; held by A", "needs 1 gpu; held by B"]


def test_order_of_the_queue(pool: LeasePool) -> None:
    """Who asked first is served first, also one that needs more and must wait for longer."""
    with ExitStack() as stack:
        first = stack.enter_context(ExitStack())
        first.enter_context(pool.lease(claim("A", gpus=1), admission=admission))
        pair = stack.enter_context(waiter(pool, claim("B", gpus=2)))
        single = stack.enter_context(waiter(pool, claim("C", gpus=1)))
        assert single.told.wait(PATIENCE_S)
        assert "B (pid" in single.lines[0]
        assert not single.granted.is_set()  # though GPU-1 is free
        first.close()
        assert pair.granted.wait(PATIENCE_S)
        assert not single.granted.is_set()
        pair.let_go.set()
        assert single.granted.wait(PATIENCE_S)


def test_passing(pool: LeasePool) -> None:
    """One that takes nothing of what those before it need passes them."""
    cancelled = threading.Event()
    with pool.lease(claim("A", gpus=2), admission=admission):
        with waiter(pool, claim("B", gpus=1), cancelled=cancelled.is_set) as waiter_b:
            with pool.lease(claim("C"), admission=admission, wait_s=0):
                assert [each.experiment for each in pool.snapshot().waiting] == ["B"]
            cancelled.set()
        assert not waiter_b.granted.is_set()


def test_timeout(pool: LeasePool) -> None:
    """Who waits too long gets an error that names what is lacking and who holds it."""
    with pool.lease(claim("A", locks=("x",)), admission=admission):
        with (
            pytest.raises(
                LeaseTimeoutError,
                match=r"^no lease within 0\.05s: needs the lock 'x'; held by A \(pid",
            ),
            pool.lease(claim("B", locks=("x",)), admission=admission, wait_s=0.05),
        ):
            pass
        assert files(pool) == ["gate", "holding"]


def test_cancelled(pool: LeasePool) -> None:
    """Who is cancelled leaves the queue at once."""
    cancelled = threading.Event()
    with pool.lease(claim("A", locks=("x",)), admission=admission):
        with waiter(pool, claim("B", locks=("x",)), cancelled=cancelled.is_set) as waiter_b:
            cancelled.set()
        assert isinstance(waiter_b.error, LeaseCancelledError)
        assert files(pool) == ["gate", "holding"]


def test_update(pool: LeasePool) -> None:
    """What a holder is seen to use stands in its ticket; small changes are not written."""

    def used() -> tuple[int, dict[str, int]]:
        (holder,) = pool.snapshot().holders
        return holder.used_bytes, dict(holder.gpu_used_bytes)

    with pool.lease(claim("A", gpus=1), admission=admission) as held:
        held.update(1000, {"GPU-0": 50})
        assert used() == (1000, {"GPU-0": 50})
        held.update(1010, {"GPU-0": 50})
        assert used() == (1000, {"GPU-0": 50})
        held.update(1010, {"GPU-0": 80})
        assert used() == (1010, {"GPU-0": 80})
        held.update(10, {})
        assert used() == (10, {})
    held.update(2000, {})
    assert files(pool) == ["gate"]


def test_update_does_not_wait(pool: LeasePool) -> None:
    """Where another is at the gate, what is used is told the next time."""
    with pool.lease(claim("A"), admission=admission) as held:
        with pool._gate.entered():
            held.update(1000, {})
        assert pool.snapshot().holders[0].used_bytes == 0
        held.update(1000, {})
        assert pool.snapshot().holders[0].used_bytes == 1000


def test_release(pool: LeasePool) -> None:
    """A lease can be given back before its context ends, and then another may have it."""
    with pool.lease(claim("A", locks=("x",)), admission=admission) as held:
        held.release()
        assert held.descriptors == ()
        with pool.lease(claim("B", locks=("x",)), admission=admission, wait_s=0) as other:
            held.release()
            assert [each.experiment for each in pool.snapshot().holders] == ["B"]
        assert other.record.released_at is not None


def test_unreadable_holder(pool: LeasePool) -> None:
    """A holder that says nothing we can read is waited for, by its path."""
    with pool.lease(claim("A"), admission=admission) as held:
        path = held._ticket.path
        path.write_text(" " + json.dumps("garbage"))
        with (
            pytest.raises(LeaseTimeoutError, match=f"the holder of {path}"),
            pool.lease(claim("B"), admission=admission, wait_s=0),
        ):
            pass


def test_full_disk(pool: LeasePool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no ticket can be written, folder and reason are named, and nothing is left."""

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    pool.snapshot()  # creates the gate
    monkeypatch.setattr(os, "write", full)
    with (
        pytest.raises(LeaseError, match=f"{pool.folder} cannot be used: No space left"),
        pool.lease(claim("A"), admission=admission),
    ):
        pass
    monkeypatch.undo()
    assert files(pool) == ["gate"]


def test_unusable_folder(tmp_path: Path) -> None:
    """A pool that cannot be is refused before anybody waits."""
    (tmp_path / "pool").touch()
    with pytest.raises(LeaseError, match="cannot be used"):
        LeasePool(tmp_path / "pool")
