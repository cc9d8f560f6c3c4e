"""What tidies up after a kernel gets to do so, whatever ends the kernel."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path

import psutil  # noqa: TID253  to look at processes
import pytest
from workbench import Tree, await_condition, gone

from pytest_nbgroups.core.errors import KernelHostError
from pytest_nbgroups.kernel_host.client import KernelHost, KernelProcess

if sys.platform == "win32":
    pytest.skip("there, shared memory goes with its last process", allow_module_level=True)

pytestmark = pytest.mark.timeout(120)
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="looks into /dev/shm or /proc")

FOREVER = "time.sleep(600)\n"
RESOURCES = """
import os, signal, subprocess, sys, time
from multiprocessing import get_context, resource_tracker
from multiprocessing.shared_memory import SharedMemory
kept = SharedMemory(name=os.environ["SEGMENT"], create=True, size=1000)
context = get_context("spawn")
semaphore = context.Semaphore()
"""
"""Registers with a resource tracker."""
IN_A_CHILD = """
if os.fork() == 0:  # it has the pipe of the tracker, and heeds no signal
    os.setsid()
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    another = SharedMemory(name=os.environ["SEGMENT"] + "-child", create=True, size=1000)
    time.sleep(600)
    os._exit(0)
while not os.path.exists("/dev/shm/" + os.environ["SEGMENT"] + "-child"):
    time.sleep(0.01)
"""
TELL = """
name = semaphore._semlock.name.lstrip("/")
with open("told.new", "w") as file:
    file.write(f"{resource_tracker._resource_tracker._pid} {os.getpid()} sem.{name}")
os.rename("told.new", "told")
"""
STOP_TRACKER = "os.kill(resource_tracker._resource_tracker._pid, signal.SIGSTOP)\nos._exit(0)"
HELPER = """
import subprocess, sys
helper = '''
import sys, time
open("helper", "w").close()
sys.stdin.read()
sys.stdin.close()
time.sleep(0.5)
open("done", "w").close()
{then}
'''
child = subprocess.Popen(
    [sys.executable, "-c", helper], stdin=subprocess.PIPE, start_new_session=True
)
import os, time
while not os.path.exists("helper"):
    time.sleep(0.01)
"""


@pytest.fixture
def host() -> Iterator[KernelHost]:
    with closing(KernelHost()) as host:
        yield host


@pytest.fixture
def segment() -> Iterator[str]:
    """The name of a segment, which is removed if a test fails."""
    name = f"nbgroups-{uuid.uuid4().hex[:8]}"
    yield name
    for path in segments(name):
        path.unlink()


def segments(name: str) -> list[Path]:
    return list(Path("/dev/shm").glob(f"*{name}*"))  # noqa: S108  that is where they are


class Play:
    """A script in the place of a kernel, and the processes that it told of."""

    def __init__(self, host: KernelHost, folder: Path, segment: str) -> None:
        self.host, self.folder, self.segment = host, folder, segment

    async def start(self, script: str) -> KernelProcess:
        env = {**os.environ, "SEGMENT": self.segment}
        self.kernel = await self.host.start(
            [sys.executable, "-c", script], cwd=self.folder, env=env, log_path=self.folder / "log"
        )
        return self.kernel

    async def told(self) -> list[psutil.Process]:
        """Return the tracker and the kernel once the script is ready, and note the name of the semaphore."""
        told = self.folder / "told"
        assert await asyncio.to_thread(await_condition, told.exists), self.log()
        *pids, self.semaphore = told.read_text().split()
        return [psutil.Process(int(pid)) for pid in pids]

    def log(self) -> str:
        return (self.folder / "log").read_text()


async def kill_tree(play: Play) -> None:
    assert await play.host.kill_tree() == ()


async def kill_kernel(play: Play) -> None:
    os.kill(play.kernel.pid, signal.SIGKILL)
    assert await play.kernel.wait() == -signal.SIGKILL
    assert await play.host.kill_tree() == ()


async def close(play: Play) -> None:
    await asyncio.to_thread(play.host.close)


async def signal_host(play: Play, signum: int) -> None:
    assert play.host.pid is not None
    os.kill(play.host.pid, signum)
    with pytest.raises(KernelHostError, match="ended unexpectedly"):
        await play.kernel.wait()


async def terminate_host(play: Play) -> None:
    await signal_host(play, signal.SIGTERM)


async def kill_host(play: Play) -> None:
    await signal_host(play, signal.SIGKILL)


ENDS = [kill_tree, kill_kernel, close, terminate_host, kill_host]


@linux_only
@pytest.mark.parametrize("end", ENDS)
def test_shared_memory_goes_with_a_kernel_that_is_killed(
    host: KernelHost, tmp_path: Path, segment: str, end: Callable[[Play], Awaitable[None]]
) -> None:
    """Its tracker is the last to go, so it removes segments and semaphores; those of children too."""
    play = Play(host, tmp_path, segment)
    child = "" if end is kill_host else IN_A_CHILD  # which nobody kills then

    async def scene() -> None:
        await play.start(RESOURCES + child + TELL + FOREVER)
        processes = await play.told()
        assert segments(segment)
        assert segments(play.semaphore)
        await end(play)
        assert await asyncio.to_thread(await_condition, lambda: all(map(gone, processes)), 10)
        assert segments(segment) == segments(play.semaphore) == []
        if child:
            assert "2 leaked shared_memory" in play.log()

    asyncio.run(scene())


@linux_only
def test_shared_memory_goes_with_a_kernel_that_ends_by_itself(
    host: KernelHost, tmp_path: Path, segment: str
) -> None:
    """Also when the tracker has been stopped; when the tree is gone it has done its work."""
    play = Play(host, tmp_path, segment)

    async def scene() -> None:
        kernel = await play.start(RESOURCES + IN_A_CHILD + STOP_TRACKER)
        assert await kernel.wait() == 0
        assert segments(segment)
        assert await host.kill_tree() == ()
        assert segments(segment) == []

    asyncio.run(scene())


@linux_only
@pytest.mark.parametrize("then", ["", "time.sleep(600)"], ids=["ends", "stays"])
def test_a_helper_does_its_work_after_the_kernel(
    host: KernelHost, tmp_path: Path, segment: str, then: str
) -> None:
    """It waits on a pipe for the kernel's end, in a session of its own. If it does not end, it is killed."""
    play = Play(host, tmp_path, segment)

    async def scene() -> None:
        kernel = await play.start(HELPER.replace("{then}", then) + FOREVER)
        assert await asyncio.to_thread(await_condition, (tmp_path / "helper").exists)
        await host.expect_end()
        (child,) = psutil.Process(kernel.pid).children()
        os.kill(kernel.pid, signal.SIGTERM)
        await kernel.wait()
        assert not (tmp_path / "done").exists()
        assert await host.kill_tree() == ()
        assert (tmp_path / "done").exists()
        assert gone(child)

    asyncio.run(scene())


@linux_only
def test_a_helper_of_a_kernel_that_is_killed_goes_at_once(
    host: KernelHost, tmp_path: Path, segment: str
) -> None:
    """After a deadline nothing of its kind has time."""
    play = Play(host, tmp_path, segment)

    async def scene() -> None:
        await play.start(HELPER.replace("{then}", "") + FOREVER)
        assert await asyncio.to_thread(await_condition, (tmp_path / "helper").exists)
        await host.expect_end()
        assert await host.kill_tree() == ()
        assert not (tmp_path / "done").exists()

    asyncio.run(scene())


NOTEBOOK = """
from multiprocessing.shared_memory import SharedMemory
kept = SharedMemory(name="{name}", create=True, size=20_000)
kept.buf[:] = b"1" * kept.size
"""


@linux_only
def test_notebooks_leave_no_shared_memory(tmp_path: Path, segment: str) -> None:
    """The next one can use the same name; nor does a notebook that ran into its deadline leave any."""
    tree = Tree(tmp_path)
    make = NOTEBOOK.format(name=segment)
    for name in ("1-a.ipynb", "2-b.ipynb", "3-c.ipynb"):
        tree.notebook("a", name, make, HELPER.replace("{then}", "") if name == "2-b.ipynb" else "")
    tree.notebook("a", "4-d.ipynb", make, "import time\ntime.sleep(600)")
    tree.toml("a", '[notebooks."4-d.ipynb"]\ncell_timeout = "0.5s"\n')
    try:
        finished = tree.pytest("-n1")
    finally:
        tree.close()
    assert finished.outcomes("a") == ["passed", "passed", "passed", "failed"], finished.text
    assert "ran into the cell's limit" in finished.failure("a")["message"]
    assert (tmp_path / "experiments/a/done").exists()
    assert segments(segment) == []


def test_exit_handlers_that_are_cut_off_are_reported(tmp_path: Path) -> None:
    """In a line that names experiment and notebook; the notebook has passed."""
    tree = Tree(tmp_path, ini="[pytest]\nexperiment_shutdown_grace = 0.3s\n")
    tree.notebook("a", "1-a.ipynb", "import atexit, time\natexit.register(time.sleep, 600)")
    try:
        finished = tree.pytest()
    finally:
        tree.close()
    assert finished.outcomes("a") == ["passed"], finished.text
    assert (
        "warning: a: 1-a.ipynb: its kernel was killed 0.30s after it was asked to" in finished.text
    )
