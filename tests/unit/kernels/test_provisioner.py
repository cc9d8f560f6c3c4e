"""How a kernel is started through the kernel host."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pytest_nbgroups.core.errors import KernelHostError
from pytest_nbgroups.kernel_host.connection import NotForkedError
from pytest_nbgroups.kernel_host.warm_start import ForkReadiness
from pytest_nbgroups.kernels.holding import Holding
from pytest_nbgroups.kernels.launch import Launch
from pytest_nbgroups.kernels.provisioner import HostProvisioner

COMMAND = [sys.executable, "-m", "ipykernel_launcher", "-f", "connection.json"]


class Process:
    """A kernel that has ended."""

    returncode: int | None = 3

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error

    async def wait(self) -> int | None:
        if self._error is not None:
            raise self._error
        return self.returncode


class Host:
    """A kernel host that notes what it is asked for."""

    def __init__(self) -> None:
        self.prepared = ForkReadiness(obstacle=None)
        self.refusal: Exception | None = None
        self.starts: list[dict[str, Any]] = []
        self.asked: list[object] = []

    async def prepare(self, wanted: Any, *, timeout_s: float | None) -> ForkReadiness:
        self.asked.append((wanted.preload, timeout_s))
        return self.prepared

    async def start(self, command: list[str], **options: Any) -> Process:
        if self.refusal is not None and options.get("fork") is not None:
            raise self.refusal
        self.starts.append({"command": command, **options})
        return Process()

    async def signal(self, signum: int) -> bool:
        self.asked.append(signum)
        return True

    async def kill_tree(self) -> tuple[str, ...]:
        self.asked.append("kill")
        return ()


def provisioner(host: Any, *, preload: tuple[str, ...] | None = ()) -> HostProvisioner:
    launch = Launch(
        name="python3",
        cwd=Path("/repo"),
        env={},
        log_path=None,
        holding=Holding(env={"CUDA_VISIBLE_DEVICES": "GPU-1"}, descriptors=(7,)),
        preload=preload,
        ends_at=time.monotonic() - 1,
    )
    return HostProvisioner(host, launch, scratch=Path("/tmp/kernel"))  # noqa: S108  nothing is written


def launch(made: HostProvisioner) -> None:
    asyncio.run(made.launch_kernel(COMMAND, env={"CUDA_VISIBLE_DEVICES": "0"}))


def test_a_kernel_is_forked() -> None:
    """With the modules that were asked for; what the lease sets stands above the kernelspec."""
    host = Host()
    made = provisioner(host, preload=("numpy",))
    launch(made)
    (start,) = host.starts
    assert start["fork"] is not None
    assert host.asked == [(("numpy",), 0.0)]
    assert (start["cwd"], start["descriptors"]) == (Path("/repo"), (7,))
    assert start["env"] == {"CUDA_VISIBLE_DEVICES": "GPU-1"}
    assert (made.plainly, made.warning) == (None, None)


@pytest.mark.parametrize("when", ["asked", "prepared", "forked"])
def test_a_kernel_is_started_plainly(when: str) -> None:
    """If the user wants it so, or there is an obstacle before or while it is forked; with the reason."""
    host = Host()
    if when == "prepared":
        host.prepared = ForkReadiness(obstacle="it does not run ipykernel", warning="no numpy")
    if when == "forked":
        host.refusal = NotForkedError("the process is lost")
    made = provisioner(host, preload=None if when == "asked" else ())
    launch(made)
    (start,) = host.starts
    assert "fork" not in start
    reasons = {
        "asked": ("experiment_kernel_start = plain", None),
        "prepared": ("it does not run ipykernel", "no numpy"),
        "forked": ("the process is lost", None),
    }
    assert (made.plainly, made.warning) == reasons[when]


def test_other_troubles_are_passed_on() -> None:
    """A plain start would meet the same."""
    host = Host()
    host.refusal = KernelHostError("ended")
    with pytest.raises(KernelHostError, match="ended"):
        launch(provisioner(host))
    assert host.starts == []


def test_the_end_of_a_kernel() -> None:
    """It is waited for once; before the start and after the end there is nothing to signal."""
    host = Host()
    made = provisioner(host, preload=None)

    async def scene() -> None:
        assert not made.has_process
        assert await made.poll() == 0
        assert await made.wait() == 0
        await made.send_signal(signal.SIGINT)
        await made.launch_kernel(COMMAND, env={})
        await made.terminate()
        assert await made.poll() == 3
        assert await made.wait() == 3
        assert not made.has_process
        await made.kill()

    asyncio.run(scene())
    assert host.asked == [signal.SIGTERM, "kill"]


def test_a_host_that_has_ended_tells_what_it_knew() -> None:
    """jupyter_client asks for the end of a kernel also if nobody is left to tell it."""
    made = provisioner(Host())
    made.process = Process(KernelHostError("gone"))  # type: ignore[assignment]
    assert asyncio.run(made.wait()) == 3
