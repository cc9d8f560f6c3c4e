from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from pytest_nbgroups.kernels.ending import asked_to_end


class FakeChannel:
    def __init__(self, exited: asyncio.Future[int], *, ends: bool) -> None:
        self._exited, self._ends = exited, ends

    def send(self, _message: object) -> None:
        if self._ends:
            self._exited.set_result(0)


class FakeKernel:
    """A kernel that ends when it is asked to, or never."""

    can_be_asked = True
    cut_off: str | None = None

    def __init__(self, *, ends: bool) -> None:
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.spec = type("Spec", (), {"argv": ["python"]})()
        session = type("Session", (), {"msg": staticmethod(lambda *_: None)})()
        channel = FakeChannel(self.exited, ends=ends)
        self.client = type("Client", (), {"session": session, "shell_channel": channel})()


class FakeHost:
    looked = False

    async def expect_end(self) -> None:
        self.looked = True


def ended(*, ends: bool, grace_s: float, left_s: float | None) -> str | None:
    """What is said of a kernel after it has been asked to end."""

    async def scene() -> str | None:
        kernel: Any = FakeKernel(ends=ends)
        host: Any = FakeHost()
        ends_at = None if left_s is None else time.monotonic() + left_s
        async with asked_to_end(host, kernel, grace_s=grace_s, ends_at=ends_at):
            assert not host.looked
        assert host.looked
        return kernel.cut_off  # type: ignore[no-any-return]  # a fake

    return asyncio.run(scene())


@pytest.mark.parametrize("left_s", [None, 600.0, -1.0])
def test_nothing_is_said_of_a_kernel_that_ends(left_s: float | None) -> None:
    """With a deadline and without, even if that has just passed."""
    assert ended(ends=True, grace_s=600, left_s=left_s) is None


def test_a_kernel_that_does_not_end_in_its_grace() -> None:
    """The text says how long that was, and which key makes it longer."""
    assert ended(ends=False, grace_s=0.05, left_s=600) == (
        "its kernel was killed 0.05s after it was asked to end: exit handlers or threads may not have finished, "
        "and files may be missing; raise experiment_shutdown_grace in the ini file if they need longer"
    )


def test_a_deadline_ends_the_grace() -> None:
    """Of the notebook or of the experiment."""
    assert ended(ends=False, grace_s=600, left_s=-1.0) == (
        "its kernel was killed at the deadline, 0.00s after it was asked to end: exit handlers or threads may not "
        "have finished, and files may be missing; raise the deadline if they need longer"
    )
