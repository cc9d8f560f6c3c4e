from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

from pytest_nbgroups.core.errors import LeaseCancelledError, LeaseError
from pytest_nbgroups.leases import locked_file
from pytest_nbgroups.leases.gate import Gate

posix = pytest.mark.skipif(sys.platform == "win32", reason="modes, links and pipes of POSIX")


def test_one_at_a_time(tmp_path: Path) -> None:
    """Of many threads one is within at a time."""
    within, most = [0], [0]

    def enter() -> None:
        gate = Gate(tmp_path)
        for _ in range(20):
            with gate.entered():
                within[0] += 1
                most[0] = max(most[0], within[0])
                within[0] -= 1

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]


def test_taken(tmp_path: Path) -> None:
    """Who does not want to wait is told that another is within."""
    gate, other = Gate(tmp_path), Gate(tmp_path)
    with gate.entered(), other.entered_if_free() as entered:
        assert not entered
    with other.entered_if_free() as entered:
        assert entered
        with gate.entered_if_free() as second:
            assert not second


def test_stuck(tmp_path: Path) -> None:
    """A gate that stays locked ends in an error that names it, not in a hang."""
    gate = Gate(tmp_path, stuck_s=0.05)
    path = tmp_path / "gate"
    with (
        gate.entered(),
        pytest.raises(LeaseError) as caught,
        Gate(tmp_path, stuck_s=0.05).entered(),
    ):
        pass
    assert str(caught.value) == (
        f"the gate of the lease pool, {path}, has been locked for 0.05s by a stopped process; "
        f"find it with `fuser {path}`, then resume or end it"
    )


def test_cancelled(tmp_path: Path) -> None:
    """Nobody who is cancelled goes on to wait at the gate."""
    gate = Gate(tmp_path)
    with gate.entered(), pytest.raises(LeaseCancelledError), gate.entered(lambda: True):
        pass


def test_error_within(tmp_path: Path) -> None:
    """The gate is open again after an error."""
    gate = Gate(tmp_path)
    with pytest.raises(ZeroDivisionError), gate.entered():
        1 / 0  # noqa: B018
    with gate.entered_if_free() as entered:
        assert entered


@posix
def test_copy_of_the_descriptor(tmp_path: Path) -> None:
    """A child that was forked within the gate does not keep it locked."""
    gate = Gate(tmp_path)
    with gate.entered():
        copies = [os.dup(descriptor) for descriptor in locked_file._ours]
    assert copies
    with gate.entered_if_free() as entered:
        assert entered
    for copy in copies:
        os.close(copy)


@posix
def test_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has locked a gate that somebody removes at that moment does not believe to be alone."""
    gate, path = Gate(tmp_path), tmp_path / "gate"
    with gate.entered():
        pass
    original = locked_file.try_lock

    def lock_late(descriptor: int) -> bool:
        monkeypatch.undo()
        path.unlink()
        return original(descriptor)

    monkeypatch.setattr(locked_file, "try_lock", lock_late)
    with gate.entered(), gate.entered_if_free() as entered:
        assert path.exists()
        assert not entered


@posix
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/etc/passwd")])
def test_strange_gate(tmp_path: Path, make: object) -> None:
    """What is no file, or a link to one, is refused at once."""
    assert callable(make)
    make(tmp_path / "gate")
    with (
        pytest.raises(LeaseError, match="its gate is not a file that you can read; "),
        Gate(tmp_path, stuck_s=0.1).entered(),
    ):
        pass


@posix
def test_folder_removed(tmp_path: Path) -> None:
    """A folder that somebody cleans away in the midst of a session is made anew."""
    gate = Gate(tmp_path / "pool")
    with gate.entered():
        assert (tmp_path / "pool" / "gate").is_file()
