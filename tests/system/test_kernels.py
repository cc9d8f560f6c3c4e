"""Real kernels, from their start to the end of their process trees."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import psutil  # noqa: TID253  to look at processes
import pytest
from workbench import GONE_S

from pytest_nbgroups.core.errors import KernelHostError, KernelStartError
from pytest_nbgroups.core.settings import Transport
from pytest_nbgroups.kernel_host.client import KernelHost
from pytest_nbgroups.kernels import ending
from pytest_nbgroups.kernels.holding import Holding
from pytest_nbgroups.kernels.kernel import RunningKernel
from pytest_nbgroups.kernels.launch import Launch
from pytest_nbgroups.kernels.running import running_kernel
from pytest_nbgroups.kernels.startup import PortClashError, StartTimeoutError

if sys.platform == "win32":
    pytest.skip("uses Unix sockets and POSIX signals", allow_module_level=True)

pytestmark = pytest.mark.timeout(120)
NOTHING = Holding()


@pytest.fixture
def host() -> Iterator[KernelHost]:
    with closing(KernelHost()) as host:
        yield host


class Room:
    """Where the kernels of one test live."""

    def __init__(
        self, host: KernelHost, folder: Path, preload: tuple[str, ...] | None = None
    ) -> None:
        self.host = host
        self.preload = preload
        self.folder = folder
        self.log = folder / "log"

    def install(
        self, name: str, argv: list[str], language: str = "x", env: dict[str, str] | None = None
    ) -> None:
        path = self.folder / "jupyter" / "kernels" / name / "kernel.json"
        path.parent.mkdir(parents=True)
        spec = {"argv": argv, "display_name": name, "language": language, "env": env or {}}
        path.write_text(json.dumps(spec))

    @asynccontextmanager
    async def kernel(
        self,
        name: str = "python3",
        transport: Transport = "auto",
        startup_timeout: float = 60,
        holding: Holding = NOTHING,
        shutdown_grace: float = 600,
    ) -> AsyncIterator[RunningKernel]:
        launch = Launch(
            name=name,
            cwd=self.folder,
            env={**os.environ},
            log_path=self.log,
            transport=transport,
            startup_timeout_s=startup_timeout,
            holding=holding,
            shutdown_grace_s=shutdown_grace,
            preload=self.preload,
        )
        async with running_kernel(self.host, launch) as kernel:
            yield kernel


@pytest.fixture(params=[None, ()], ids=["plain", "warm"])
def room(
    request: pytest.FixtureRequest,
    host: KernelHost,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Room:
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    return Room(host, tmp_path, request.param)


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A short temporary folder of this test's own, in which nothing may remain."""
    with tempfile.TemporaryDirectory(prefix="nb", dir="/tmp") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)
        assert list(Path(folder).iterdir()) == []


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


async def execute(kernel: RunningKernel, code: str) -> str:
    """Execute code; give the value of the variable ``answer``."""
    reply: Awaitable[dict[str, Any]] = kernel.client.execute(
        code, user_expressions={"answer": "answer"}, reply=True, timeout=30
    )
    content = (await reply)["content"]
    assert content["status"] == "ok", content
    return str(content["user_expressions"]["answer"]["data"]["text/plain"])


async def printed(kernel: RunningKernel, code: str) -> str:
    """Execute code; give what it prints."""
    request = kernel.client.execute(code)
    text = ""
    while True:
        message = await kernel.client.get_iopub_msg(timeout=30)
        if message["parent_header"].get("msg_id") != request:
            continue
        if message["msg_type"] == "stream":
            text += message["content"]["text"]
        if message["content"].get("execution_state") == "idle":
            return text


CHILD = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", '''
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(flush=True)
time.sleep(600)
'''], start_new_session=True, stdout=subprocess.PIPE)
child.stdout.readline()
answer = child.pid
"""
FAREWELL = """
import atexit, pathlib
atexit.register(lambda: pathlib.Path("farewell").touch())
answer = 1
"""


@pytest.mark.parametrize("transport", ["ipc", "tcp"])
def test_a_kernel_runs_and_leaves_nothing(
    room: Room, temporary: Path, transport: Transport
) -> None:
    """Its files are private while it runs; its exit handlers run; all of it goes."""

    async def scene() -> None:
        async with room.kernel(transport=transport) as kernel:
            assert kernel.manager.transport == transport
            (folder,) = temporary.iterdir()  # noqa: ASYNC240  nothing else runs
            assert stat.S_IMODE(folder.stat().st_mode) & 0o777 == 0o700
            connection = folder / "connection.json"
            assert stat.S_IMODE(connection.stat().st_mode) == 0o600
            assert kernel.language_info["name"] == "python"
            assert await execute(kernel, FAREWELL) == "1"
            child = int(await execute(kernel, CHILD))
            assert await execute(kernel, "import os; answer = os.getcwd()") == repr(
                str(room.folder)
            )
            assert not kernel.exited.done()
        assert not psutil.pid_exists(child)
        assert not psutil.pid_exists(kernel.process.pid)
        assert kernel.exited.done()
        assert (room.folder / "farewell").exists()

    run(scene())


def test_auto_takes_ipc_for_ipykernel(room: Room) -> None:
    """No ports, no unencrypted TCP; and what it writes to its real standard error is in the log."""

    async def scene() -> None:
        async with room.kernel() as kernel:
            assert kernel.manager.transport == "ipc"
            await execute(kernel, "import os; answer = os.write(2, b'raw\\n')")
            assert kernel.log.tail().splitlines()[-1] == "raw"  # older ones warn of their debugger

    run(scene())


def test_bash_runs_over_tcp(room: Room) -> None:
    """A kernel of another language gets what every kernel supports."""
    room.install("bash", [sys.executable, "-m", "bash_kernel", "-f", "{connection_file}"], "bash")

    async def scene() -> None:
        async with room.kernel("bash") as kernel:
            assert kernel.manager.transport == "tcp"
            assert kernel.manager.ip == "127.0.0.1"
            assert kernel.language_info["name"] == "bash"
            assert await printed(kernel, "echo $((6 * 7))") == "42\n"

    run(scene())


def test_what_a_run_holds_reaches_the_kernel(room: Room) -> None:
    """Its variables win over those of the kernelspec; its descriptors are open there and then closed."""
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    room.install("own", argv, "python", env={"GPUS": "the kernelspec's", "OTHER": "as ever"})
    code = """
import os
kinds = [os.fstat(int(name)).st_ino for name in os.listdir("/dev/fd") if os.path.exists("/dev/fd/" + name)]
answer = os.environ["GPUS"], os.environ["OTHER"], {inode} in kinds
"""

    async def scene() -> None:
        with (room.folder / "lease").open("w") as file:
            holding = Holding(descriptors=(file.fileno(),), env={"GPUS": "the lease's"})
            inode = os.fstat(file.fileno()).st_ino
            async with room.kernel("own", holding=holding) as kernel:
                answer = await execute(kernel, code.format(inode=inode))
            assert answer == "(\"the lease's\", 'as ever', True)"
            async with room.kernel("own", holding=Holding(env={"GPUS": "none"})) as kernel:
                answer = await execute(kernel, code.format(inode=inode))
            assert answer == "('none', 'as ever', False)"

    run(scene())


def test_the_users_history_is_left_alone(room: Room) -> None:
    """Cells do not enter it, and kernels do not wait for each other's locks on it."""

    async def scene() -> None:
        async with room.kernel() as kernel:
            code = "answer = get_ipython().history_manager.hist_file"
            assert await execute(kernel, code) == "':memory:'"

    run(scene())


def test_a_long_tmpdir_is_no_obstacle(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sockets go where their paths fit."""
    long = room.folder / ("x" * 120)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))

    async def scene() -> None:
        async with room.kernel() as kernel:
            assert kernel.manager.transport == "ipc"
            assert await execute(kernel, "answer = 1") == "1"

    run(scene())


def test_an_interrupt_ends_a_cell(room: Room) -> None:
    """The kernel lives on."""

    async def scene() -> None:
        async with room.kernel() as kernel:
            code = "print('on')\nimport time; time.sleep(600)"
            busy = kernel.client.execute(code, stop_on_error=False)
            await hears(kernel, busy, "stream")
            await kernel.interrupt()
            await hears(kernel, busy, "error")
            assert await execute(kernel, "answer = 1") == "1"

    run(scene())


async def hears(kernel: RunningKernel, request: str, kind: str) -> None:
    while True:
        message = await kernel.client.get_iopub_msg(timeout=30)
        if message["msg_type"] == kind and message["parent_header"].get("msg_id") == request:
            return


@pytest.mark.parametrize("how", ["abandon", "cancel"])
def test_a_busy_kernel_is_not_asked(room: Room, how: str) -> None:
    """After a deadline or a cancel its tree is killed at once: it would have ten minutes."""
    started = asyncio.Event()
    trees: list[int] = []

    async def visit() -> None:
        async with room.kernel() as kernel:
            trees.append(kernel.process.pid)
            busy = kernel.client.execute("print('on')\nimport time\nwhile True: time.sleep(600)")
            await hears(kernel, busy, "stream")
            if how == "abandon":
                kernel.abandon()
                started.set()
                return
            started.set()
            await asyncio.Event().wait()

    async def scene() -> None:
        task = asyncio.ensure_future(visit())
        await started.wait()
        if how == "cancel":
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled() == (how == "cancel")
        assert not psutil.pid_exists(trees[0])

    run(scene())


def test_a_second_cancel_does_not_stop_the_kill(room: Room) -> None:
    """Ctrl-C twice leaves no kernel behind either."""
    inside = asyncio.Event()
    trees: list[int] = []

    async def visit() -> None:
        async with room.kernel() as kernel:
            trees.append(int(await execute(kernel, CHILD)))
            inside.set()
            await asyncio.Event().wait()

    async def scene() -> None:
        task = asyncio.ensure_future(visit())
        await inside.wait()
        while not task.done():
            task.cancel()
            await asyncio.sleep(0)
        assert task.cancelled()
        assert not psutil.pid_exists(trees[0])

    run(scene())


def test_a_kernel_that_does_not_end_when_asked_is_killed(room: Room) -> None:
    """An exit handler may not hold up the run; that it was cut off is told."""
    code = "import atexit, time; atexit.register(time.sleep, 600); answer = 1"

    async def scene() -> None:
        async with room.kernel(shutdown_grace=0.3) as kernel:
            await execute(kernel, code)
        assert kernel.exited.result() == -9
        assert kernel.cut_off is not None
        assert kernel.cut_off.startswith("its kernel was killed 0.30s after it was asked to end")

    run(scene())


def test_a_cancel_ends_exit_handlers_at_once(room: Room) -> None:
    """Ctrl-C does not wait for them: they would have ten minutes."""
    begun = room.folder / "begun"
    code = f"""
import atexit, time
from pathlib import Path
atexit.register(time.sleep, 600)
atexit.register(Path({str(begun)!r}).touch)
answer = 1
"""

    async def visit() -> None:
        async with room.kernel() as kernel:
            await execute(kernel, code)

    async def scene() -> None:
        task = asyncio.ensure_future(visit())
        while not begun.exists():
            assert not task.done()
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(scene())


def test_the_tree_goes_also_when_the_body_fails(room: Room) -> None:
    """And the body's error is what is told."""

    async def scene() -> None:
        child = 0
        with pytest.raises(ZeroDivisionError):  # noqa: PT012
            async with room.kernel() as kernel:
                child = int(await execute(kernel, CHILD))
                raise ZeroDivisionError
        assert child
        assert not psutil.pid_exists(child)

    run(scene())


def test_the_death_of_a_kernel_is_told_at_once(room: Room) -> None:
    """With its exit code; to interrupt it is no error; its children go with it all the same."""

    async def scene() -> None:
        async with room.kernel() as kernel:
            child = int(await execute(kernel, CHILD))
            kernel.client.execute("import os; os._exit(7)")
            assert await asyncio.wait_for(kernel.exited, 2) == 7
            assert not await kernel.manager.is_alive()
            await kernel.interrupt()
        assert not psutil.pid_exists(child)

    run(scene())


def test_the_death_of_the_host_is_told(room: Room) -> None:
    """Whoever holds the kernel learns of it on leaving at the latest."""

    async def scene() -> None:
        with pytest.raises(KernelHostError, match="ended unexpectedly"):  # noqa: PT012
            async with room.kernel() as kernel:
                assert room.host.pid is not None
                psutil.Process(room.host.pid).kill()
                await asyncio.wait({kernel.exited}, timeout=5)
                assert kernel.process.returncode == -9
                assert not await kernel.manager.is_alive()
        async with room.kernel() as kernel:
            assert await execute(kernel, "answer = 1") == "1"

    run(scene())


def test_what_cannot_be_killed_is_named() -> None:
    """The next kernel would not be alone."""

    class Helpless(KernelHost):
        async def kill_tree(self) -> tuple[str, ...]:
            return ("python3 (pid 4242, uninterruptible)",)

    async def scene() -> None:
        with pytest.raises(KernelHostError) as caught:
            await ending.kill(Helpless(), "python3")
        assert str(caught.value) == (
            "processes that kernel 'python3' started cannot be killed: "
            "python3 (pid 4242, uninterruptible)"
        )

    run(scene())


@pytest.mark.usefixtures("temporary")
def test_a_kernel_that_ends_at_once_is_told_with_its_log(room: Room) -> None:
    """Exit code and last lines, without waiting for the timeout."""
    room.install("broken", [sys.executable, "-c", "import sys; print('boom'); sys.exit(4)"])

    async def scene() -> None:
        with pytest.raises(KernelStartError) as caught:
            async with room.kernel("broken"):
                pass
        assert str(caught.value) == (
            "kernel 'broken' ended before it was ready (exit code 4); "
            f"the end of its log {room.log}:\nboom"
        )

    run(scene())


@pytest.mark.usefixtures("temporary")
def test_a_mute_kernel_is_killed(room: Room) -> None:
    """After the timeout, with what it has started."""
    room.install("mute", [sys.executable, "-c", CHILD + "import time; time.sleep(600)"])

    async def scene() -> None:
        begun = time.monotonic()
        with pytest.raises(StartTimeoutError, match=r"did not answer within 0\.50s"):
            async with room.kernel("mute", startup_timeout=0.5):
                pass
        assert 0.5 <= time.monotonic() - begun < GONE_S
        assert psutil.Process(room.host.pid).children() == []

    run(scene())


@pytest.mark.usefixtures("temporary")
def test_a_start_can_be_cancelled(room: Room) -> None:
    """Nothing of the kernel remains."""
    ready = room.folder / "ready"
    os.mkfifo(ready)
    room.install(
        "mute", [sys.executable, "-c", f"open({str(ready)!r}, 'w'); import time; time.sleep(600)"]
    )

    async def visit() -> None:
        async with room.kernel("mute"):
            pass

    async def scene() -> None:
        task = asyncio.ensure_future(visit())
        await asyncio.to_thread(ready.read_text)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert psutil.Process(room.host.pid).children() == []

    run(scene())


@pytest.mark.usefixtures("temporary")
def test_a_program_that_is_not_there_is_named(room: Room) -> None:
    """Where the path is known only at the start."""
    room.install("gone", ["{prefix}/gone", "{connection_file}"])

    async def scene() -> None:
        with pytest.raises(KernelStartError, match=r"kernel 'gone' cannot be started: .*/gone'"):
            async with room.kernel("gone"):
                pass

    run(scene())


CLASHING = """
import os, pathlib, sys
count = pathlib.Path("attempts")
count.write_text(count.read_text() + "x" if count.exists() else "x")
if len(count.read_text()) < int(sys.argv[1]):
    sys.exit("zmq.error.ZMQError: Address already in use")
os.execv(sys.executable, [sys.executable, "-m", "ipykernel_launcher", *sys.argv[2:]])
"""


@pytest.mark.usefixtures("temporary")
def test_a_port_clash_is_tried_again(room: Room) -> None:
    """With other ports."""
    room.install("clashing", [sys.executable, "-c", CLASHING, "3", "-f", "{connection_file}"])

    async def scene() -> None:
        async with room.kernel("clashing") as kernel:
            assert await execute(kernel, "answer = 1") == "1"

    run(scene())
    assert (room.folder / "attempts").read_text() == "xxx"


@pytest.mark.usefixtures("temporary")
def test_port_clashes_without_end_are_told(room: Room) -> None:
    """After three attempts."""
    room.install("clashing", [sys.executable, "-c", CLASHING, "9", "-f", "{connection_file}"])

    async def scene() -> None:
        with pytest.raises(PortClashError, match="Address already in use"):
            async with room.kernel("clashing"):
                pass

    run(scene())
    assert (room.folder / "attempts").read_text() == "xxx"


def traces() -> tuple[int, int]:
    return len(os.listdir("/dev/fd")), threading.active_count()  # noqa: PTH208


@pytest.mark.slow
@pytest.mark.usefixtures("temporary")
def test_twenty_kernels_leave_no_trace(room: Room) -> None:
    """Neither descriptors, threads, processes nor files."""

    async def visit() -> None:
        async with room.kernel() as kernel:
            await execute(kernel, "answer = 1")

    async def scene() -> None:
        await visit()
        before = traces()
        for _ in range(19):
            await visit()
        assert traces() == before
        servers = 0 if room.preload is None else 1
        assert len(psutil.Process(room.host.pid).children()) == servers

    run(scene())


def test_threads_with_hosts_of_their_own_do_not_meet(
    tmp_path: Path, run_in_threads: Callable[[list[Callable[[], None]]], None]
) -> None:
    """Each has its event loop, as experiments do."""

    def work(number: int) -> None:
        folder = tmp_path / str(number)
        folder.mkdir()

        async def scene(room: Room) -> None:
            async with room.kernel(transport="tcp" if number % 2 else "ipc") as kernel:
                assert await execute(kernel, f"answer = {number}") == str(number)

        with closing(KernelHost()) as host:
            for _ in range(2):
                asyncio.run(scene(Room(host, folder)))

    run_in_threads([lambda n=n: work(n) for n in range(3)])  # type: ignore[misc]


@pytest.fixture
def run_in_threads() -> Callable[[list[Callable[[], None]]], None]:
    def run(works: list[Callable[[], None]]) -> None:
        errors: list[BaseException] = []

        def guarded(work: Callable[[], None]) -> None:
            try:
                work()
            except BaseException as exc:  # noqa: BLE001  raised again below
                errors.append(exc)

        threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]

    return run
