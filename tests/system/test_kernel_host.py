"""The kernel host with real processes and signals."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psutil  # noqa: TID253  to look at processes
import pytest

from pytest_nbgroups.core.errors import KernelHostError
from pytest_nbgroups.kernel_host import client
from pytest_nbgroups.kernel_host.client import KernelHost, KernelProcess, Reaped

if sys.platform == "win32":
    pytest.skip("starts POSIX programs and sends POSIX signals", allow_module_level=True)

import fcntl

pytestmark = pytest.mark.timeout(60)
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs a child subreaper")

GONE_S = 10
"""The guarantee: within so long nothing is left."""

TELL = """
import os, signal, subprocess, sys, time
def tell(*words):
    with open(os.environ["TELL"], "w") as fifo:
        fifo.write(" ".join(map(str, words)))
def sleeper(code="pass", **kwargs):
    code += "\\nprint(flush=True)\\nimport time\\ntime.sleep(600)"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, **kwargs)
    child.stdout.readline()
    return child.pid
"""
STUBBORN = """
ignore = "import signal\\nfor s in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): signal.signal(s, signal.SIG_IGN)"
tell(sleeper(ignore, start_new_session=True))
"""
DOUBLE_FORK = """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        tell(os.getpid())
        time.sleep(600)
    os._exit(0)
os.wait()
"""
TWENTY = "tell(*[sleeper(start_new_session=i % 2 == 0) for i in range(20)])"
FOREVER = "\ntime.sleep(600)"


@pytest.fixture
def host() -> Iterator[KernelHost]:
    with closing(KernelHost()) as host:
        yield host


class Stage:
    """Starts scripts in the place of kernels and hears what they tell."""

    def __init__(self, host: KernelHost, folder: Path) -> None:
        self.host = host
        self.folder = folder
        self.log = folder / "log"
        self._fifo = folder / "fifo"
        os.mkfifo(self._fifo)

    async def start(
        self, *argv: str, env: dict[str, str] | None = None, descriptors: Sequence[int] = ()
    ) -> KernelProcess:
        env = {**os.environ} if env is None else env
        return await self.host.start(
            argv, cwd=self.folder, env=env, log_path=self.log, descriptors=descriptors
        )

    async def play(
        self, script: str, *, descriptors: Sequence[int] = ()
    ) -> tuple[KernelProcess, list[str]]:
        """Start a script and wait until it has told something."""
        env = {**os.environ, "TELL": str(self._fifo)}
        argv = [sys.executable, "-c", TELL + script]
        process = await self.start(*argv, env=env, descriptors=descriptors)
        return process, (await asyncio.to_thread(self._fifo.read_text)).split()


@pytest.fixture
def stage(host: KernelHost, tmp_path: Path) -> Stage:
    return Stage(host, tmp_path)


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work, debug=True)


def is_gone(pid: object) -> bool:
    try:
        return psutil.Process(int(str(pid))).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def assert_gone_in_time(*pids: int | str) -> None:
    end = time.monotonic() + GONE_S
    while not all(map(is_gone, pids)):
        assert time.monotonic() < end, [pid for pid in pids if not is_gone(pid)]
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("code", "expected"), [("exit 3", 3), ("exit 0", 0), ("kill -SEGV $$", -11)]
)
def test_the_end_of_a_kernel_is_told_at_once(stage: Stage, code: str, expected: int) -> None:
    """Exit code or signal, without anyone asking."""

    async def scene() -> None:
        process = await stage.start("sh", "-c", code)
        assert await asyncio.wait_for(process.wait(), GONE_S) == expected
        assert process.returncode == expected

    run(scene())


def test_a_kernel_gets_just_the_given_environment(stage: Stage) -> None:
    """And the host's pid, by which ipykernel sees that its host is gone."""
    program = shutil.which("env")
    assert program is not None
    name = b"caf\xe9".decode("utf-8", "surrogateescape")

    async def scene() -> None:
        process = await stage.start(program, env={"A": "1\n2", "B": name})
        assert await process.wait() == 0

    run(scene())
    expected = {b"A=1", b"2", b"B=caf\xe9", f"JPY_PARENT_PID={stage.host.pid}".encode()}
    assert set(stage.log.read_bytes().splitlines()) == expected


def test_a_kernel_inherits_nothing_else(stage: Stage) -> None:
    """No descriptor but its three, a session and group of its own, the given directory, no input."""
    script = """
tell(*os.listdir("/dev/fd"), "|", os.getsid(0), os.getpgid(0), os.getcwd(), sys.stdin.read() == "")
"""

    async def scene() -> None:
        with (stage.folder / "open").open("w") as file:
            os.set_inheritable(file.fileno(), True)  # noqa: FBT003  it takes no keyword
            process, told = await stage.play(script)
        bar = told.index("|")
        assert {"0", "1", "2"} <= set(told[:bar])
        assert bar == 4  # those and the listing's own
        assert told[bar + 1 :] == [str(process.pid)] * 2 + [str(stage.folder), "True"]

    run(scene())


@linux_only
def test_kernels_die_before_pytest(stage: Stage) -> None:
    """Where memory is short: the score of a kernel is above that of host and pytest, its children's too."""
    score = "oom_score_adj"
    script = f"""
open("child.py", "w").write("print(open('/proc/self/{score}').read())")
ran = subprocess.run([sys.executable, "child.py"], capture_output=True, text=True)
tell(open("/proc/self/{score}").read(), ran.stdout)
"""
    own = int(Path(f"/proc/self/{score}").read_text())

    async def scene() -> None:
        _, told = await stage.play(script)
        assert [int(each) for each in told] == [min(1000, own + 500)] * 2

    run(scene())
    for pid in (stage.host.pid, "self"):
        assert int(Path(f"/proc/{pid}/{score}").read_text()) == own


def test_output_is_appended_to_the_log(stage: Stage) -> None:
    """Standard output and error, raw, after what is there."""
    stage.log.write_bytes(b"before\n")

    async def scene() -> None:
        process = await stage.start("sh", "-c", r"printf 'out\377\n'; echo err >&2")
        await process.wait()

    run(scene())
    assert stage.log.read_bytes() == b"before\nout\xff\nerr\n"


def test_an_interrupt_reaches_the_kernel(stage: Stage) -> None:
    """Also when pytest ignores SIGINT, as in the background of a shell, or its thread blocks signals."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGCHLD})

    async def scene() -> None:
        process, _ = await stage.play("tell(1)" + FOREVER)
        assert await stage.host.signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), GONE_S) == -signal.SIGINT
        assert not await stage.host.signal(signal.SIGINT)

    try:
        run(scene())
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    "script",
    [STUBBORN, pytest.param(DOUBLE_FORK, marks=linux_only), TWENTY],
    ids=["stubborn", "double-fork", "twenty"],
)
def test_kill_tree_leaves_nothing(stage: Stage, script: str) -> None:
    """Neither what ignores signals in a session of its own, nor what has lost its parent, nor a crowd."""

    async def scene() -> None:
        process, children = await stage.play(script + FOREVER)
        assert not any(map(is_gone, children))
        assert await stage.host.kill_tree() == ()
        assert all(map(is_gone, [process.pid, *children]))
        assert process.returncode == -9

    run(scene())


@linux_only
def test_children_of_a_kernel_that_ended_are_killed(stage: Stage) -> None:
    """They would disturb the next kernel, which is refused until they are gone."""

    async def scene() -> None:
        process, (child,) = await stage.play(STUBBORN)
        assert await process.wait() == 0
        with pytest.raises(KernelHostError, match="still alive"):
            await stage.start("true")
        assert not is_gone(child)
        await stage.host.kill_tree()
        assert is_gone(child)
        assert await (await stage.start("true")).wait() == 0

    run(scene())


def test_a_second_kernel_is_refused(stage: Stage) -> None:
    """One at a time; the first is not disturbed."""

    async def scene() -> None:
        process, _ = await stage.play("tell(1)" + FOREVER)
        with pytest.raises(KernelHostError, match="still alive"):
            await stage.start("true")
        assert process.returncode is None

    run(scene())


def test_a_program_that_does_not_exist_is_an_oserror(stage: Stage) -> None:
    """As Popen raises it; the host goes on."""

    async def scene() -> None:
        with pytest.raises(FileNotFoundError) as caught:
            await stage.start("/does/not/exist")
        assert caught.value.filename == "/does/not/exist"
        assert await (await stage.start("true")).wait() == 0

    run(scene())


def test_kill_tree_can_be_called_in_another_loop(stage: Stage) -> None:
    """Each notebook has a loop of its own, the host none."""
    told: list[str] = []

    async def scene() -> None:
        told.extend((await stage.play(STUBBORN + FOREVER))[1])

    async def kill() -> None:
        assert await stage.host.kill_tree() == ()

    run(scene())
    run(kill())
    assert all(map(is_gone, told))


def test_a_host_that_was_never_needed_costs_nothing(host: KernelHost) -> None:
    """It starts with the first kernel."""

    async def scene() -> None:
        assert await host.kill_tree() == ()
        assert not await host.signal(signal.SIGINT)

    run(scene())
    assert host.pid is None


def test_close_leaves_nothing_and_may_be_repeated(stage: Stage) -> None:
    """Not even what ignores signals; what waits for the kernel is told."""

    async def scene() -> None:
        process, children = await stage.play(STUBBORN + FOREVER)
        pid = stage.host.pid
        assert pid is not None
        stage.host.close()
        stage.host.close()
        assert all(map(is_gone, [pid, process.pid, *children]))
        with pytest.raises(KernelHostError, match="closed"):
            await process.wait()
        assert process.returncode == -9

    run(scene())


def test_close_works_while_a_forked_child_holds_the_socket(stage: Stage) -> None:
    """Then there is no end of file."""

    async def scene() -> None:
        process, children = await stage.play(STUBBORN + FOREVER)
        if (forked := os.fork()) == 0:
            signal.pause()
        try:
            stage.host.close()
            assert all(map(is_gone, [process.pid, *children]))
        finally:
            os.kill(forked, signal.SIGKILL)
            os.waitpid(forked, 0)  # noqa: ASYNC222  nothing else runs

    run(scene())


def test_the_end_of_the_host_is_told(stage: Stage) -> None:
    """Its kernel goes with it, and the next start brings up another host."""

    async def scene() -> None:
        process, _ = await stage.play("tell(1)" + FOREVER)
        assert stage.host.pid is not None
        os.kill(stage.host.pid, signal.SIGKILL)
        with pytest.raises(KernelHostError, match=r"ended unexpectedly \(exit code -9\)"):
            await asyncio.wait_for(process.wait(), 5)
        with pytest.raises(KernelHostError, match="ended unexpectedly"):
            await stage.host.kill_tree()
        assert_gone_in_time(process.pid)
        assert await (await stage.start("true")).wait() == 0

    run(scene())


@pytest.mark.parametrize(
    ("what", "arguments"),
    [("signal", [signal.SIGINT]), ("kill_tree", [])],
    ids=["signal", "kill_tree"],
)
def test_a_host_that_is_mute(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, what: str, arguments: list[int]
) -> None:
    """Is given up, for else no deadline would hold; the kernel goes with it, the next one has another host."""
    monkeypatch.setattr(client, "_ANSWER_MARGIN_S", 0.2)
    monkeypatch.setattr(client, "_KILL_S", 0.2)

    async def scene() -> None:
        process, _ = await stage.play("tell(1)" + FOREVER)
        host = stage.host.pid
        assert host is not None
        os.kill(host, signal.SIGSTOP)
        with pytest.raises(KernelHostError, match="did not answer and was killed"):
            await getattr(stage.host, what)(*arguments)
        assert_gone_in_time(host, process.pid)
        assert process.returncode == -9
        assert await (await stage.start("true")).wait() == 0
        assert stage.host.pid != host

    run(scene())


def test_a_host_that_is_terminated_cleans_up(stage: Stage) -> None:
    """SIGTERM is no way to lose processes."""

    async def scene() -> None:
        process, children = await stage.play(STUBBORN + FOREVER)
        assert stage.host.pid is not None
        os.kill(stage.host.pid, signal.SIGTERM)
        with pytest.raises(KernelHostError, match="ended unexpectedly"):
            await asyncio.wait_for(process.wait(), GONE_S)
        assert_gone_in_time(process.pid, *children)

    run(scene())


def test_the_host_is_out_of_reach_of_the_terminal(stage: Stage) -> None:
    """Ctrl-C goes to the group of pytest; a stray SIGINT is survived too."""

    async def scene() -> None:
        process, _ = await stage.play("tell(1)" + FOREVER)
        assert stage.host.pid is not None
        assert os.getsid(stage.host.pid) == stage.host.pid
        os.kill(stage.host.pid, signal.SIGINT)
        await stage.host.kill_tree()
        assert process.returncode == -9

    run(scene())


def test_modules_in_the_working_directory_are_not_imported(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user's json.py does not break the host."""
    (stage.folder / "json.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(stage.folder)

    async def scene() -> None:
        assert await (await stage.start("true")).wait() == 0

    run(scene())


def test_a_host_that_cannot_start_says_why(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what it printed."""
    monkeypatch.setenv("PYTHONHOME", "/does/not/exist")

    async def scene() -> None:
        with pytest.raises(KernelHostError, match=r"ended unexpectedly \(exit code 1\):\n"):
            await stage.start("true")

    run(scene())


PYTEST_PROCESS = (
    TELL
    + """
import asyncio
from contextlib import closing
from pathlib import Path
from pytest_nbgroups.kernel_host.client import KernelHost

async def main():
    with closing(KernelHost()) as host:
        folder = Path(sys.argv[1])
        (folder / "scratch").mkdir()
        await host.start(
            [sys.executable, "-c", sys.argv[2]],
            cwd=folder, env={**os.environ}, log_path=folder / "log", scratch=folder / "scratch",
        )
        forked = os.fork() if sys.argv[3] == "forked" else 0
        if sys.argv[3] == "forked" and forked == 0:
            time.sleep(600)
        print(host.pid, forked, flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""
)


@pytest.mark.parametrize("mode", ["alone", "forked"])
@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_outlives_pytest(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, signum: int
) -> None:
    """Killed, with a forked child that holds the socket open: host, kernel, its child and its folder go."""
    monkeypatch.setenv("TELL", str(stage._fifo))
    script = TELL + STUBBORN.replace("tell(", "tell(os.getpid(), ") + FOREVER
    argv = [sys.executable, "-c", PYTEST_PROCESS, str(tmp_path), script, mode]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as pytest_process:
        assert pytest_process.stdout is not None
        kernel, child = stage._fifo.read_text().split()
        host, forked = map(int, pytest_process.stdout.readline().split())
        try:
            pytest_process.send_signal(signum)
            assert_gone_in_time(host, kernel, child)
            assert not (tmp_path / "scratch").exists()
        finally:
            if forked:
                os.kill(forked, signal.SIGKILL)


def test_a_forked_child_does_not_close_the_host(stage: Stage) -> None:
    """Its copy of the object is not its own."""

    async def scene() -> None:
        process, _ = await stage.play("tell(1)" + FOREVER)
        if (child := os.fork()) == 0:
            stage.host.close()
            os._exit(0)
        os.waitpid(child, 0)  # noqa: ASYNC222  nothing else runs
        assert await stage.host.signal(signal.SIGKILL)
        assert await process.wait() == -9

    run(scene())


def open_descriptors() -> int:
    return len(os.listdir("/dev/fd"))  # noqa: PTH208


def test_many_kernels_leave_no_trace(stage: Stage) -> None:
    """Neither descriptors nor processes."""

    async def scene() -> None:
        await (await stage.start("true")).wait()
        before = open_descriptors()
        for _ in range(20):
            await (await stage.start("true")).wait()
            await stage.host.kill_tree()
        assert open_descriptors() == before
        assert psutil.Process(stage.host.pid).children() == []

    before = open_descriptors()
    run(scene())
    stage.host.close()
    assert open_descriptors() == before


class Lease:
    """A file that is locked as a lease is: until the last copy of its descriptor is closed."""

    def __init__(self, path: Path) -> None:
        path.touch()
        self.path = path

    def is_free(self) -> bool:
        with self.path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

    def assert_free_in_time(self) -> None:
        end = time.monotonic() + GONE_S
        while not self.is_free():
            assert time.monotonic() < end, "still locked"
            time.sleep(0.02)


@pytest.fixture
def lease(tmp_path: Path) -> Lease:
    return Lease(tmp_path / "lease")


def test_a_lease_is_held_until_the_tree_is_gone(stage: Stage, lease: Lease) -> None:
    """Its holder has let go, the kernel has ended, and a child that has not inherited it lives on."""

    async def scene() -> None:
        with lease.path.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            process, (child,) = await stage.play(STUBBORN, descriptors=[file.fileno()])
        assert await process.wait() == 0
        assert not is_gone(child)
        assert not lease.is_free()
        await stage.host.kill_tree()
        assert is_gone(child)
        assert lease.is_free()
        assert stage.host.pid is not None
        assert not is_gone(stage.host.pid)

    run(scene())


def test_a_lease_of_a_kernel_that_cannot_start_is_let_go(stage: Stage, lease: Lease) -> None:
    """Else the host would hold it as long as it lives."""

    async def scene() -> None:
        with lease.path.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            with pytest.raises(FileNotFoundError):
                await stage.start("/does/not/exist", descriptors=[file.fileno()])
        assert lease.is_free()

    run(scene())


def test_a_descriptor_that_is_closed_is_an_oserror(stage: Stage) -> None:
    """Not a wait for an answer to a request that could not be sent; the host goes on."""

    async def scene() -> None:
        read_end, write_end = os.pipe()
        os.close(read_end)
        os.close(write_end)
        with pytest.raises(OSError, match="Bad file descriptor"):
            await asyncio.wait_for(stage.start("true", descriptors=[write_end]), 10)
        assert await (await stage.start("true")).wait() == 0

    run(scene())


HOLDER = """
import asyncio, fcntl, os, sys
from contextlib import closing
from pathlib import Path
from pytest_nbgroups.kernel_host.client import KernelHost

async def main():
    folder = Path(sys.argv[1])
    with closing(KernelHost()) as host, (folder / "lease").open() as lease:
        fcntl.flock(lease, fcntl.LOCK_EX)
        await host.start(
            [sys.executable, "-c", sys.argv[2]],
            cwd=folder, env={**os.environ}, log_path=None, descriptors=[lease.fileno()],
        )
        print(host.pid, flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""
INHERITED = """
inherited = []
for number in os.listdir("/dev/fd"):
    try:
        inherited.append(os.readlink("/dev/fd/" + number))
    except OSError:
        pass
"""


@contextmanager
def holder(stage: Stage, script: str) -> Iterator[tuple[subprocess.Popen[str], int, list[str]]]:
    """A process that holds the lease and has started the script; its host's pid, and what was told."""
    argv = [sys.executable, "-c", HOLDER, str(stage.folder), TELL + script]
    env = {**os.environ, "TELL": str(stage._fifo)}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=env) as process:
        assert process.stdout is not None
        told = stage._fifo.read_text().split()
        try:
            yield process, int(process.stdout.readline()), told
        finally:
            process.kill()


def test_a_killed_holders_lease_outlasts_it(stage: Stage, lease: Lease) -> None:
    """Held while anything of the tree lives, though all who had the descriptor but the host are gone."""
    script = STUBBORN.replace("tell(", "tell(os.getpid(), ") + FOREVER
    with holder(stage, script) as (process, host, (kernel, child)):
        os.kill(host, signal.SIGSTOP)  # so that it does not kill the tree just yet
        try:
            process.kill()
            process.wait()
            os.kill(int(kernel), signal.SIGKILL)
            assert_gone_in_time(kernel)
            assert not is_gone(child)
            assert not lease.is_free()
        finally:
            os.kill(host, signal.SIGCONT)
        lease.assert_free_in_time()
        assert is_gone(child)


@linux_only
def test_a_kernel_holds_the_lease_without_its_host(stage: Stage, lease: Lease) -> None:
    """Holder and host are killed; a kernel that evades the signal of the host's death keeps the lease."""
    evade = "import ctypes; ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)\n"
    script = INHERITED + evade + "tell(os.getpid(), *inherited)" + FOREVER
    with holder(stage, script) as (process, host, (kernel, *inherited)):
        try:
            assert str(lease.path) in inherited
            process.send_signal(signal.SIGSTOP)  # it would kill the kernel that has lost its host
            os.kill(host, signal.SIGKILL)
            process.kill()
            process.wait()
            assert_gone_in_time(host)
            assert not is_gone(kernel)
            assert not lease.is_free()
        finally:
            os.kill(int(kernel), signal.SIGKILL)
        lease.assert_free_in_time()


@linux_only
def test_killed_with_its_host_a_lease_is_free_soon(stage: Stage, lease: Lease) -> None:
    """As an ordinary kernel dies with its host."""
    with holder(stage, "tell(os.getpid())" + FOREVER) as (process, host, (kernel,)):
        process.kill()
        os.kill(host, signal.SIGKILL)
        lease.assert_free_in_time()
        assert_gone_in_time(kernel)


BURN = "end = time.process_time() + 0.3\nwhile time.process_time() < end: pass\n"


def test_what_has_been_reaped_is_counted(stage: Stage) -> None:
    """CPU time of the kernel, of a child that it has waited for and of one that is killed; the largest peak."""
    script = f"""
import time
{BURN}
grow = "block = bytearray(b'x') * 200_000_000"
code = "import time\\n" + {BURN!r}
subprocess.run([sys.executable, "-c", code + grow], check=True)
tell(sleeper(code, start_new_session=True))
"""

    async def scene() -> None:
        await stage.play(script + FOREVER)
        await stage.host.kill_tree()
        used = stage.host.reaped
        assert used is not None
        assert 0.9 <= used.cpu_s < 3
        assert 200_000_000 < used.peak_bytes < 260_000_000
        process = await stage.start("true")
        before_its_end = stage.host.reaped
        await process.wait()
        await stage.host.kill_tree()
        again: Reaped | None = stage.host.reaped
        assert before_its_end is None
        assert again is not None
        assert again.cpu_s < 0.9  # nothing of what was reaped before
        assert again.peak_bytes < 100_000_000

    run(scene())
