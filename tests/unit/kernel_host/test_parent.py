"""How a process notices the end of the one that started it."""

from __future__ import annotations

import os
import select
import sys

import pytest

from pytest_nbgroups.kernel_host.parent import is_parent, open_pidfd


def test_who_is_the_parent() -> None:
    """Another process is not, and be it this one."""
    assert is_parent(os.getppid())
    if sys.platform != "win32":
        assert not is_parent(os.getpid())


@pytest.mark.skipif(sys.platform != "linux", reason="pidfds are Linux's")
def test_a_descriptor_of_a_process() -> None:
    """It is readable once the process has ended; there is none of one that is gone already."""
    assert open_pidfd(2**22 + 1) is None
    descriptor = open_pidfd(os.getpid())
    if descriptor is None:
        pytest.skip("this system gives no pidfds")
    try:
        assert select.select([descriptor], [], [], 0)[0] == []
    finally:
        os.close(descriptor)


def test_without_pidfds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere, or under a filter of system calls, others have to look now and then."""

    def refuse(_pid: int) -> int:
        raise PermissionError

    monkeypatch.setattr(os, "pidfd_open", refuse, raising=False)
    assert open_pidfd(os.getpid()) is None
    monkeypatch.setattr(sys, "platform", "darwin")
    assert open_pidfd(os.getpid()) is None
