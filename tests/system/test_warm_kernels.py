"""Kernels that are forked from a warm process: their world is that of a plainly started one."""

from __future__ import annotations

import ast
import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import psutil  # noqa: TID253  to look at processes
import pytest
from jupyter_client.manager import AsyncKernelManager  # noqa: TID253  what nbclient uses
from workbench import ENDED_S, GONE_S, Tree, await_condition

from pytest_nbgroups.core.errors import KernelHostError, KernelStartError
from pytest_nbgroups.kernel_host import warm_start
from pytest_nbgroups.kernel_host.client import KernelHost, KernelProcess
from pytest_nbgroups.kernel_host.connection import NotForkedError
from pytest_nbgroups.kernel_host.warm_start import command_of
from pytest_nbgroups.kernels.holding import Holding
from pytest_nbgroups.kernels.kernel import RunningKernel
from pytest_nbgroups.kernels.launch import Launch
from pytest_nbgroups.kernels.provisioner import HostProvisioner
from pytest_nbgroups.kernels.running import running_kernel
from pytest_nbgroups.kernels.startup import StartTimeoutError

if sys.platform != "linux":
    pytest.skip("kernels are forked only on Linux", allow_module_level=True)

pytestmark = pytest.mark.timeout(120)

PROBES = {
    "sys.path": "sys.path",
    "sys.argv": "[re.sub('/[^ ]*nbgroups-[^/]*', '', each) for each in sys.argv]",
    "sys.orig_argv": "[re.sub('/[^ ]*nbgroups-[^/]*', '', each) for each in sys.orig_argv]",
    "sys.flags": "sys.flags",
    "sys.warnoptions": "sys.warnoptions, sys._xoptions",
    "sys.executable": "sys.executable, sys._base_executable, sys.prefix, sys.exec_prefix",
    "sys.modules": "sorted(set(sys.modules) - {'gc'})",
    "sys.meta_path": "[getattr(each, '__name__', type(each).__name__) for each in sys.meta_path], len(sys.path_hooks)",
    "hooks": "[type(each).__name__ for each in (sys.displayhook, sys.excepthook, sys.unraisablehook, sys.breakpointhook)]",
    "tracing": "sys.gettrace(), sys.getprofile(), __import__('tracemalloc').is_tracing()",
    "limits of Python": "sys.getrecursionlimit(), sys.getswitchinterval(), sys.get_int_max_str_digits()",
    "__main__": "sorted(sys.modules['__main__'].__dict__), sys.modules['__main__'].__name__",
    "__main__'s spec": "[getattr(sys.modules['__main__'], name, '-') for name in ('__spec__', '__file__', '__package__')]",
    "__builtins__": "sorted(dir(builtins)), str(type(__builtins__))",
    "names of the user": "sorted(get_ipython().user_ns), sorted(get_ipython().user_ns_hidden)",
    "IPython's configuration": "re.sub('/[^ ]*nbgroups-[^/]*', '', repr(get_ipython().config))",
    "IPython's extensions": "sorted(get_ipython().extension_manager.loaded), sorted(get_ipython().magics_manager.magics['line'])",
    "start-up file": "started_up",
    "history": "get_ipython().history_manager.hist_file, get_ipython().history_manager.enabled, get_ipython().history_length",
    "environment": "{**os.environ, 'JPY_PARENT_PID': os.environ['JPY_PARENT_PID'] == str(os.getppid())}",
    "environment in C": "sorted(subprocess.run(['env'], capture_output=True, text=True).stdout.replace(str(os.getppid()), 'PARENT').splitlines())",
    "working directory": "os.getcwd(), os.path.samefile('.', os.environ['WHERE'])",
    "umask": "[os.umask(0o27), os.umask(0o22)][0]",
    "resource limits": "{name: resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith('RLIMIT_')}",
    "signal handlers": "{each.name: getattr(signal.getsignal(each), '__name__', signal.getsignal(each)) for each in signal.valid_signals() if isinstance(each, signal.Signals)}",
    "signals of the process": "[line for line in open('/proc/self/status') if line.startswith(('SigBlk', 'SigIgn', 'SigCgt', 'SigPnd'))]",
    "mask": "signal.pthread_sigmask(signal.SIG_BLOCK, [])",
    "capabilities": "[line for line in open('/proc/self/status') if line.startswith(('Cap', 'NoNewPrivs', 'Seccomp', 'Uid', 'Gid', 'Groups', 'Umask', 'Cpus_allowed:'))]",
    "descriptors": "sorted(re.sub('[0-9]+', 'N', os.readlink('/proc/self/fd/' + each)) for each in os.listdir('/proc/self/fd') if os.path.lexists('/proc/self/fd/' + each))",
    "pipes of the outputs": "sorted(each.name for each in get_ipython().kernel.iopub_thread._event_pipes)",
    "standard descriptors": "[(stat.S_IFMT(os.fstat(each).st_mode), os.get_inheritable(each), fcntl.fcntl(each, fcntl.F_GETFL)) for each in range(3)]",
    "standard streams": "[(type(each).__name__, each.encoding, each.isatty()) for each in (sys.stdin, sys.stdout, sys.stderr, sys.__stdin__, sys.__stdout__, sys.__stderr__)]",
    "real streams": "[(each.errors, each.line_buffering, each.newlines, each.fileno()) for each in (sys.__stdout__, sys.__stderr__)]",
    "session and group": "os.getsid(0) == os.getpid(), os.getpgrp() == os.getpid()",
    "parent": "os.getppid() == int(os.environ['JPY_PARENT_PID']), psutil.Process().parent().cmdline()[3]",
    "signal at the parent's end": "(lambda found: (ctypes.CDLL(None).prctl(2, ctypes.byref(found), 0, 0, 0), found.value))(ctypes.c_int())",
    "score for the OOM killer": "open('/proc/self/oom_score_adj').read()",
    "priority": "os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0), os.sched_getaffinity(0)",
    "name of the process": "open('/proc/self/comm').read() == os.path.basename(os.path.realpath(sys.executable))[:15] + '\\n' or open('/proc/self/comm').read()",
    "cgroup": "open('/proc/self/cgroup').read()",
    "threads": "sorted(type(each).__name__ for each in threading.enumerate()), threading.main_thread() is threading.current_thread()",
    "thread of the main": "threading.main_thread().native_id == os.getpid(), threading.stack_size()",
    "temporary folder": "tempfile.gettempdir()",
    "locale": "locale.setlocale(locale.LC_ALL), locale.getpreferredencoding(), sys.getfilesystemencoding(), sys.flags.utf8_mode",
    "time zone": "time.tzname, time.timezone",
    "garbage collector": "gc.isenabled(), gc.get_threshold(), gc.get_debug(), len(gc.callbacks)",
    "warnings": "[(each[0], str(each[1]), each[2].__name__, str(each[3]), each[4]) for each in warnings.filters]",
    "logging": "[(str(type(each)), each.level) for each in logging.root.handlers], logging.root.level, logging.raiseExceptions",
    "loggers": "sorted((name, each.level, len(each.handlers)) for name, each in logging.root.manager.loggerDict.items() if isinstance(each, logging.Logger))",
    "faulthandler": "__import__('faulthandler').is_enabled()",
    "sockets": "socket.getdefaulttimeout(), socket.has_ipv6",
    "atexit": "__import__('atexit')._ncallbacks()",
    "event loop": "type(asyncio.get_running_loop()).__name__, type(asyncio.get_event_loop_policy()).__name__, get_ipython().autoawait",
    "backend of matplotlib": "os.environ['MPLBACKEND']",
    "asking the user": "get_ipython().kernel._allow_stdin",
    "directory of multiprocessing": "multiprocessing.process.ORIGINAL_DIR",
    "multiprocessing": "multiprocessing.get_start_method(), multiprocessing.spawn.get_executable(), multiprocessing.parent_process(), multiprocessing.current_process().name",
    "multiprocessing by spawn": "multiprocessing.get_context('spawn').Pool(1).apply(os.getcwd)",
    "multiprocessing by fork": "multiprocessing.get_context('fork').Pool(1).apply(os.getcwd)",
    "multiprocessing by forkserver": "multiprocessing.get_context('forkserver').Pool(1).apply(os.getcwd)",
    "pool of threads": "ThreadPoolExecutor(2).submit(threading.active_count).result() > 1",
    "pool of processes": "ProcessPoolExecutor(1).submit(os.getcwd).result()",
    "subprocess": "subprocess.run(['sh', '-c', 'pwd; ulimit -n; exit 3'], capture_output=True, text=True).stdout",
    "signals of a subprocess": "subprocess.run(['grep', '^Sig[BIC]', '/proc/self/status'], capture_output=True, text=True).stdout",
    "descriptors of a subprocess": "len(subprocess.run(['ls', '/proc/self/fd'], capture_output=True, text=True).stdout.split())",
    "Python below": "subprocess.run([sys.executable, '-c', 'import sys; print(sys.path, sys.flags)'], capture_output=True, text=True).stdout",
    "shell": "get_ipython().getoutput('echo $PWD $0')",
}
"""What is asked -> an expression. Each is evaluated in a kernel of either kind."""
IMPORTS = """
import asyncio, builtins, ctypes, fcntl, gc, locale, logging, multiprocessing, os, psutil, re, resource, signal, socket
import stat, subprocess, sys, tempfile, threading, time, warnings
import multiprocessing.spawn
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
"""
BEFORE_IMPORTS = ("sys.modules", "__main__", "names of the user", "threads", "atexit", "loggers")
INLINE = "module://matplotlib_inline.backend_inline"
NOTHING = Holding()
RANDOM = """
import multiprocessing, os, random, sys, tempfile, uuid, numpy.random, torch
answer = [numpy.random.state, torch.default_generator.state, random.random(), uuid.uuid4(), os.urandom(4)]
answer += [next(tempfile._get_candidate_names()), multiprocessing.current_process().authkey]
answer = chr(10).join(map(repr, answer))
del sys.modules["numpy"]  # the real one would help IPython to show numbers
"""


@pytest.fixture
def host() -> Iterator[KernelHost]:
    with closing(KernelHost()) as host:
        yield host


@pytest.fixture
def visit(host: KernelHost, tmp_path: Path) -> Visit:
    return Visit(host, tmp_path)


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    tree = Tree(tmp_path)
    yield tree
    tree.close()


class Visit:
    """Starts kernels in one folder."""

    def __init__(self, host: KernelHost, folder: Path) -> None:
        self.host = host
        self.folder = folder
        self.log = folder / "log"
        self.env = {**os.environ, "WHERE": str(folder)}

    @asynccontextmanager
    async def kernel(
        self,
        *,
        preload: tuple[str, ...] | None = (),
        ends_at: float | None = None,
        name: str = "python3",
        holding: Holding = NOTHING,
    ) -> AsyncIterator[RunningKernel]:
        launch = Launch(
            name=name,
            cwd=self.folder,
            env=self.env,
            log_path=self.log,
            preload=preload,
            ends_at=ends_at,
            holding=holding,
        )
        async with running_kernel(self.host, launch) as kernel:
            yield kernel

    def below_host(self) -> list[int]:
        return [process.pid for process in psutil.Process(self.host.pid).children(recursive=True)]


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


async def ask(kernel: RunningKernel, code: str) -> str:
    """Execute code that sets ``answer``; give its representation."""
    request = kernel.client.execute(code, user_expressions={"answer": "answer"})
    while True:
        reply = await kernel.client.get_shell_msg(timeout=60)
        if reply["parent_header"].get("msg_id") == request:
            break
    assert reply["content"]["status"] == "ok", reply["content"]
    answer = reply["content"]["user_expressions"]["answer"]
    assert answer["status"] == "ok", answer
    text: str = answer["data"]["text/plain"]
    return text


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Mapping[str, str]]:
    """What kernels of either kind answer."""
    folder = tmp_path_factory.mktemp("worlds")
    startup = folder / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00-mine.py").write_text("started_up = __name__")
    answers: dict[str, dict[str, str]] = {"plain": {}, "warm": {}}

    async def scene() -> None:
        for kind, preload in (("plain", None), ("warm", ())):
            with closing(KernelHost()) as host:
                visit = Visit(host, folder)
                visit.env["IPYTHONDIR"] = str(folder / "ipython")
                async with visit.kernel(preload=preload) as kernel:
                    assert (kernel.plainly is None) == (kind == "warm")
                    for name in (*BEFORE_IMPORTS, *(n for n in PROBES if n not in BEFORE_IMPORTS)):
                        imports = (
                            "import atexit, logging, os, sys, threading"
                            if name in BEFORE_IMPORTS
                            else IMPORTS
                        )
                        answers[kind][name] = await ask(
                            kernel, f"{imports}\nanswer = {PROBES[name]}"
                        )

    run(scene())
    return answers


@pytest.mark.parametrize("name", PROBES)
def test_the_world_of_a_kernel(worlds: Mapping[str, Mapping[str, str]], name: str) -> None:
    """A forked one finds what a started one finds. A question whose answer is None would ask nothing."""
    assert worlds["plain"][name] != "None"
    assert worlds["warm"][name] == worlds["plain"][name]


def test_forks_share_nothing_random(visit: Visit) -> None:
    """No two kernels draw the same numbers, make the same names or know the same secret."""

    async def scene() -> None:
        answers = []
        visit.env["PYTHONPATH"] = str(visit.folder)
        # What numpy and torch have at import, one generator for all, without having them.
        fake = "import random\nstate = {!r}, random.random()\ndef seed(): global state; state = random.random()"
        (visit.folder / "numpy").mkdir()
        (visit.folder / "numpy" / "__init__.py").touch()
        (visit.folder / "numpy" / "random.py").write_text(fake.format("numpy"))
        (visit.folder / "torch.py").write_text(
            "import types, random\ndefault_generator = types.SimpleNamespace(state=1)\n"
            "default_generator.seed = lambda: setattr(default_generator, 'state', random.random())"
        )
        preload = ("multiprocessing", "random", "tempfile", "uuid", "numpy.random", "torch")
        for _ in range(2):
            async with visit.kernel(preload=preload) as kernel:
                assert kernel.plainly is None
                answers.append(await ask(kernel, RANDOM))
        first, second = (ast.literal_eval(text).splitlines() for text in answers)
        assert len(first) == 7
        assert not set(first) & set(second)

    run(scene())


EXHAUSTED = """
import os, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (200, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
answer = ""
while not answer:
    try:
        os.dup(0)
    except OSError as exc:
        answer = exc.strerror
print("printed")
"""


def test_a_kernel_that_runs_out_of_descriptors(visit: Visit) -> None:
    """Still shows what it prints, also for the first time, and ends when it is asked to."""

    async def scene() -> None:
        async with visit.kernel() as kernel:
            assert await ask(kernel, EXHAUSTED) == "'Too many open files'"
            while (message := await kernel.client.get_iopub_msg(timeout=60)) is not None:
                if message["msg_type"] == "stream":
                    break
            assert message["content"]["text"] == "printed\n"
        assert kernel.plainly is None
        assert kernel.cut_off is None

    run(scene())


def test_a_lease_is_with_the_kernel(visit: Visit) -> None:
    """And with what it executes, but never with the server, which lives on when the lease is given back."""
    lease = visit.folder / "lease"
    code = f"import os, psutil\nanswer = os.system(f'ls -l /proc/self/fd | grep -q {lease}'), "
    code += f"[each.path for each in psutil.Process().open_files()].count({str(lease)!r})"

    async def scene() -> None:
        with lease.open("w") as file:
            holding = Holding(descriptors=(file.fileno(),))
            async with visit.kernel(holding=holding) as kernel:
                assert kernel.plainly is None
                assert await ask(kernel, code) == "(0, 1)"
                server = psutil.Process(kernel.process.server_pid)
                assert server.open_files() == []
        async with visit.kernel() as kernel:
            assert await ask(kernel, code) == "(256, 0)"
            assert kernel.process.server_pid == server.pid

    run(scene())


def test_chosen_modules_are_there(visit: Visit) -> None:
    """At the first cell, imported once, on pages that stay shared; what they print then is in the first kernel's log."""
    (visit.folder / "mine.py").write_text(
        "import os, sys\npid = os.getpid()\nprint('mine is imported')\nos.write(2, b'speaks\\n')"
    )
    visit.env["PYTHONPATH"] = str(visit.folder)
    visit.env.pop("PYTHONUNBUFFERED", None)  # what is printed has to be flushed before a fork
    code = "import gc, sys; answer = 'mine' in sys.modules, __import__('mine').pid, gc.get_freeze_count() > 0"

    async def scene() -> None:
        answers = []
        for _ in range(2):
            async with visit.kernel(preload=("mine",)) as kernel:
                answers.append(await ask(kernel, code))
        assert answers[0] == answers[1] == f"(True, {kernel.process.server_pid}, True)"
        assert visit.log.read_text() == "speaks\nmine is imported\n"

    run(scene())


MINE = """
import builtins, importlib, os, sys
import IPython
from IPython.core.interactiveshell import InteractiveShell
shell = IPython.get_ipython()
found = [
    shell.__class__.__name__, str(type(shell)), isinstance(shell, InteractiveShell), "IPKernelApp" in shell.config,
    hasattr(shell, "kernel"), InteractiveShell.initialized(), get_ipython() is shell,
    hasattr(builtins, "__IPYTHON__"), hasattr(builtins, "display"),
    hasattr(sys, "ps1"), hasattr(sys.modules["__main__"], "__file__"), os.environ.get("MPLBACKEND"),
    sys.stdout.isatty(), sys.stderr.encoding.lower(),
]
kept = sys.stdout, sys.stderr
"""


def test_what_modules_look_at_when_they_are_imported(visit: Visit) -> None:
    """Tells them of a notebook also where they are preloaded, and leaves no trace."""
    (visit.folder / "mine.py").write_text(MINE)
    visit.env["PYTHONPATH"] = str(visit.folder)
    after = "import builtins; answer = mine.found, sorted(dir(builtins)), mine.IPython.get_ipython() is get_ipython()"

    async def scene() -> None:
        answers = []
        for preload in (None, ("mine",)):
            async with visit.kernel(preload=preload) as kernel:
                assert (kernel.plainly, kernel.warning) in {
                    (None, None),
                    ("experiment_kernel_start = plain", None),
                }
                answers.append(await ask(kernel, f"import mine\n{after}"))
        assert answers[0] == answers[1]

    run(scene())


def test_what_changes_under_a_running_server(visit: Visit) -> None:
    """Python reads it at its start, or when it imports a module: the next kernel finds it as it is then."""
    lib, site, startup = (
        visit.folder / name for name in ("lib", "site-packages", "ipython/profile_default/startup")
    )
    for folder in (lib, site, startup, site / "one", site / "two"):
        folder.mkdir(parents=True)
    visit.env |= {
        "PYTHONPATH": os.pathsep.join([str(lib), str(visit.folder / "late")]),
        "IPYTHONDIR": str(visit.folder / "ipython"),
        "PYTHONSTARTUP": str(visit.folder / "startup.py"),
    }
    custom = f"import builtins, site\nsite.addsitedir({str(site)!r})\nbuiltins.custom = "
    files = {
        lib / "sitecustomize.py": f"{custom}1",
        lib / "mine.py": "value = 1",
        site / "mine.pth": "one\nthree\nimport finder",
        site / "finder.py": "import builtins; builtins.found = 1",
    }
    for file, text in files.items():
        file.write_text(text)
    code = f"""
import importlib.util, os, sys
from pathlib import Path
answer = [Path(p).name for p in sys.path if p.startswith({str(site)!r})], custom, found, __import__("mine").value
answer += globals().get("begun"), globals().get("started"), "late" if importlib.util.find_spec("late_module") else "no"
"""
    servers = set()

    async def expect(*answer: Any) -> None:
        async with visit.kernel(preload=("mine",)) as kernel:
            assert (kernel.plainly, kernel.warning) == (None, None)
            servers.add(kernel.process.server_pid)
            assert ast.literal_eval(await ask(kernel, code)) == answer

    async def scene() -> None:
        packages = "site-packages"
        await expect([packages, "one"], 1, 1, 1, None, None, "no")
        (site / "mine.pth").write_text("two\nthree\nimport finder")
        await expect([packages, "two"], 1, 1, 1, None, None, "no")
        (lib / "sitecustomize.py").write_text(f"{custom}22")
        await expect([packages, "two"], 22, 1, 1, None, None, "no")
        (site / "finder.py").write_text("import builtins; builtins.found = 22")
        await expect([packages, "two"], 22, 22, 1, None, None, "no")
        (lib / "mine.py").write_text("value = 22")
        await expect([packages, "two"], 22, 22, 22, None, None, "no")
        (site / "three").mkdir()
        await expect([packages, "two", "three"], 22, 22, 22, None, None, "no")
        assert len(servers) == 6
        (startup / "00-mine.py").write_text("begun = 1")
        (visit.folder / "startup.py").write_text("started = 1")
        (visit.folder / "late").mkdir()
        (visit.folder / "late" / "late_module.py").touch()
        await expect([packages, "two", "three"], 22, 22, 22, 1, 1, "late")
        assert len(servers) == 6
        async with visit.kernel(preload=None) as kernel:
            last = ([packages, "two", "three"], 22, 22, 22, 1, 1, "late")
            assert ast.literal_eval(await ask(kernel, code)) == last

    run(scene())


def test_a_module_of_the_directory_that_is_imported_already(visit: Visit) -> None:
    """Is imported in the place of the other one, or fails the start, as in a plain start; others are no obstacle."""
    reason = "{} in its directory has the name of a module that is imported already"

    async def scene() -> None:
        (visit.folder / "helpers.py").touch()
        async with visit.kernel() as kernel:
            assert kernel.plainly is None
        (visit.folder / "comm.py").write_text("mine = True")
        async with visit.kernel() as kernel:
            assert kernel.plainly == reason.format("comm.py")
        (visit.folder / "comm.py").unlink()
        (visit.folder / "types.py").write_text("raise OSError('mine')")
        for preload in (None, ()):
            with pytest.raises(
                KernelStartError, match=r"its own module 'types': rename it(.*\n)+OSError: mine"
            ):
                async with visit.kernel(preload=preload):
                    pass

    run(scene())


def test_a_thread_that_pythons_start_begins(visit: Visit) -> None:
    """Would be missing in a forked kernel, so that kernels are started plainly."""
    (visit.folder / "sitecustomize.py").write_text(
        "import threading; threading.Thread(target=threading.Event().wait, name='spy', daemon=True).start()"
    )
    visit.env["PYTHONPATH"] = str(visit.folder)
    code = "import threading; answer = 'spy' in [each.name for each in threading.enumerate()]"

    async def scene() -> None:
        async with visit.kernel() as kernel:
            assert kernel.plainly == (
                "what Python runs at its start, such as sitecustomize, starts a thread ('spy'), "
                "which a forked kernel would not have"
            )
            assert await ask(kernel, code) == "True"

    run(scene())


def test_streams_that_modules_keep(visit: Visit) -> None:
    """Are those of the notebook, though the module was imported before it was there."""
    (visit.folder / "mine.py").write_text("import sys\nkept = sys.stdout, sys.stderr")
    visit.env["PYTHONPATH"] = str(visit.folder)
    code = "import mine\nfor each in mine.kept: print('on', file=each)\nmine.kept[0].flush()"

    async def scene() -> None:
        async with visit.kernel(preload=("mine",)) as kernel:
            shown = []
            kernel.outputs.begin_cell()
            kernel.client.execute(code)
            content: Any = {}
            while content.get("execution_state") != "idle":
                content = (await kernel.client.get_iopub_msg(timeout=60))["content"]
                if "text" in content:
                    shown.append((content["name"], content["text"]))
            assert sorted(shown) == [("stderr", "on\n"), ("stdout", "on\n")]
        assert not visit.log.read_text()

    run(scene())


def test_settings_of_matplotlib(visit: Visit) -> None:
    """Those of the experiment's directory hold, though matplotlib was imported elsewhere, and those that change."""
    # What matplotlib does at import, without having it.
    (visit.folder / "lib").mkdir()
    (visit.folder / "lib" / "matplotlib.py").write_text(
        "import os\nfrom pathlib import Path\n"
        "def matplotlib_fname():\n"
        "    return 'matplotlibrc' if Path('matplotlibrc').exists() else os.environ['MATPLOTLIBRC']\n"
        "def rc_params():\n"
        "    return {'width': Path(matplotlib_fname()).read_text(), 'backend': 'file'}\n"
        "rcParams = {**rc_params(), 'backend': 'inline'}\nrcParamsOrig = dict(rcParams)"
    )
    general = visit.folder / "lib" / "general"
    general.write_text("default")
    visit.env |= {"PYTHONPATH": str(visit.folder / "lib"), "MATPLOTLIBRC": str(general)}
    code = "import matplotlib; answer = matplotlib.rcParams, matplotlib.rcParamsOrig"

    async def expect(preload: tuple[str, ...] | None, width: str) -> None:
        async with visit.kernel(preload=preload) as kernel:
            assert kernel.warning is None
            settings = {"width": width, "backend": "inline"}
            assert ast.literal_eval(await ask(kernel, code)) == (settings, settings)

    async def scene() -> None:
        await expect(("matplotlib",), "default")
        general.write_text("changed")
        await expect(("matplotlib",), "changed")
        (visit.folder / "matplotlibrc").write_text("mine")
        await expect(("matplotlib",), "mine")
        await expect(None, "mine")

    run(scene())


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (None, "cannot import 'mine': ModuleNotFoundError: No module named 'mine'"),
        ("raise SystemExit(3)", "cannot import 'mine': SystemExit: 3"),
        (
            "import os; os._exit(3)",
            "the fork server ended while it imported mine",
        ),
        (
            "import threading; threading.Thread(target=threading.Event().wait, name='reader', daemon=True).start()",
            "importing 'mine' starts a thread ('reader'), which a forked kernel would not have",
        ),
        (
            "import subprocess; child = subprocess.Popen(['sleep', '600'], start_new_session=True)",
            "importing 'mine' starts a process, which would be no child of a forked kernel",
        ),
        (
            "import os, subprocess; child = subprocess.Popen(['sleep', '600']); os._exit(3)",
            "the fork server ended while it imported mine",
        ),
        (
            "from multiprocessing.shared_memory import SharedMemory; kept = SharedMemory(create=True, size=1)",
            "importing 'mine' starts a process, which would be no child of a forked kernel",
        ),
        (
            "try: get_ipython().events.register('post_execute', print)\nexcept AttributeError: pass",
            "importing 'mine' uses the shell of the kernel ('events'), which is not there yet",
        ),
    ],
    ids=[
        *(
            "missing",
            "raises",
            "crashes",
            "threads",
            "processes",
            "crashes with a child",
            "tracker",
        ),
        "shell",
    ],
)
def test_modules_that_cannot_be_preloaded(visit: Visit, text: str | None, complaint: str) -> None:
    """Are told once; kernels are forked without them, and what they have started is gone."""
    if text is not None:
        (visit.folder / "mine.py").write_text(text)
    visit.env["PYTHONPATH"] = str(visit.folder)

    async def scene() -> None:
        warnings = []
        for _ in range(2):
            async with visit.kernel(preload=("wave", "mine")) as kernel:
                assert kernel.plainly is None
                assert await ask(kernel, "import sys; answer = 'wave' in sys.modules") == "False"
                assert visit.below_host() == [kernel.process.server_pid, kernel.process.pid]
                warnings.append(kernel.warning)
        assert warnings == [
            f"experiment_preload: {complaint}; kernels are started without these modules",
            None,
        ]

    run(scene())


def test_what_a_kernel_consists_of_is_there(visit: Visit) -> None:
    """It was imported before the fork, which is what makes it warm: only that is out of the collector's sight."""
    code = "import gc, sys; late = set(map(id, gc.get_objects())); answer = [name for name in sys.modules "
    code += "if name.partition('.')[0] in ('ipykernel', 'jupyter_client', 'tornado', 'traitlets', 'zmq') "
    code += "and id(sys.modules[name].__dict__) in late]"

    async def scene() -> None:
        async with visit.kernel() as kernel:
            assert await ask(kernel, code) == "[]"

    run(scene())


def test_multiprocessing_that_is_preloaded(visit: Visit) -> None:
    """Finds the modules of the experiment's directory, though it was imported in another one."""
    (visit.folder / "mine.py").write_text("import os\ndef answer(): return os.getcwd()")
    code = (
        "import mine, multiprocessing\nwith multiprocessing.get_context('spawn').Pool(1) as pool: "
    )
    code += "answer = pool.apply_async(mine.answer).get(30)"

    async def scene() -> None:
        async with visit.kernel(preload=("multiprocessing",)) as kernel:
            assert await ask(kernel, code) == repr(str(visit.folder))

    run(scene())


def test_threads_that_are_not_pythons(visit: Visit) -> None:
    """As libraries have them, which take care of a fork, are no obstacle; that Python warns of them is no error."""
    (visit.folder / "mine.py").write_text(
        "import ctypes; libc = ctypes.CDLL(None); assert not "
        "libc.pthread_create(ctypes.byref(ctypes.c_ulong()), None, libc.pause, None)"
    )
    visit.env |= {"PYTHONPATH": str(visit.folder), "PYTHONWARNINGS": "error:This process"}

    async def scene() -> None:
        for number in range(2):
            async with visit.kernel(preload=("mine",)) as kernel:
                assert (kernel.plainly, kernel.warning) == (None, None)
                assert await ask(kernel, f"answer = {number}") == str(number)

    run(scene())


@pytest.mark.parametrize(("chosen", "found"), [(None, INLINE), ("", INLINE), ("Agg", "Agg")])
def test_the_backend_of_a_preloaded_matplotlib(
    visit: Visit, chosen: str | None, found: str
) -> None:
    """Is the one that it would have found in a cell: it looks once, when it is imported."""
    (visit.folder / "mine.py").write_text("import os; backend = os.environ['MPLBACKEND']")
    visit.env["PYTHONPATH"] = str(visit.folder)
    visit.env.pop("MPLBACKEND", None)
    if chosen is not None:
        visit.env["MPLBACKEND"] = chosen

    async def scene() -> None:
        async with visit.kernel(preload=("mine",)) as kernel:
            code = "import mine, os; answer = {mine.backend, os.environ['MPLBACKEND']}"
            assert await ask(kernel, code) == repr({found})

    run(scene())


def test_modules_whose_processes_have_ended(visit: Visit) -> None:
    """Are preloaded as any other, though nobody has waited for the process."""
    (visit.folder / "mine.py").write_text(
        "import os, subprocess; child = subprocess.Popen(['true']); os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)"
    )
    visit.env["PYTHONPATH"] = str(visit.folder)

    async def scene() -> None:
        async with visit.kernel(preload=("mine",)) as kernel:
            assert kernel.warning is None
            assert await ask(kernel, "import sys; answer = 'mine' in sys.modules") == "True"

    run(scene())


def test_an_import_that_never_ends(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is given up: kernels are forked without it."""
    monkeypatch.setattr(warm_start, "PREPARE_S", 3.0)
    (visit.folder / "mine.py").write_text("import time; time.sleep(600)")
    visit.env["PYTHONPATH"] = str(visit.folder)

    async def scene() -> None:
        async with visit.kernel(preload=("mine",)) as kernel:
            assert await ask(kernel, "answer = 1") == "1"
            assert kernel.warning is not None
            assert "the fork server's imports took longer than 3.00s" in kernel.warning

    run(scene())


def test_a_deadline_holds_while_modules_are_imported(visit: Visit) -> None:
    """The wait for them ends with it, and what has been begun serves the next kernel."""
    os.mkfifo(visit.folder / "gate")
    (visit.folder / "mine.py").write_text("import os; open(os.environ['GATE']).read()")
    visit.env |= {"PYTHONPATH": str(visit.folder), "GATE": str(visit.folder / "gate")}

    async def scene() -> None:
        with pytest.raises(StartTimeoutError, match="did not answer within"):
            async with visit.kernel(preload=("mine",), ends_at=time.monotonic() + 1):
                pass
        (server,) = psutil.Process(visit.host.pid).children()
        await asyncio.to_thread((visit.folder / "gate").write_text, "")
        async with visit.kernel(preload=("mine",)) as kernel:
            assert kernel.process.server_pid == server.pid

    run(scene())


@pytest.mark.parametrize("how", ["closed", "terminated"])
def test_a_host_that_ends_while_modules_are_imported(visit: Visit, how: str) -> None:
    """Leaves neither the server nor what a module has started, and who waits is told."""
    os.mkfifo(visit.folder / "tell")
    (visit.folder / "mine.py").write_text(
        "import os, subprocess, time; child = subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
        "with open(os.environ['TELL'], 'w') as file: print(os.getpid(), child.pid, file=file)\n"
        "time.sleep(600)"
    )
    visit.env |= {"PYTHONPATH": str(visit.folder), "TELL": str(visit.folder / "tell")}

    async def scene() -> None:
        start = asyncio.ensure_future(visit.kernel(preload=("mine",)).__aenter__())
        told = await asyncio.to_thread((visit.folder / "tell").read_text)
        if how == "closed":
            await asyncio.to_thread(visit.host.close)
        else:
            psutil.Process(visit.host.pid).terminate()
        with pytest.raises(KernelHostError, match=r"closed|ended unexpectedly"):
            await start
        assert await_condition(
            lambda: not any(map(psutil.pid_exists, map(int, told.split()))), GONE_S
        )

    run(scene())


def test_a_server_that_dies_is_replaced(visit: Visit) -> None:
    """A kernel that runs does not notice, and what the server used is not its; the next one is forked from another."""
    (visit.folder / "mine.py").write_text(
        "import pathlib, time; burnt = pathlib.Path(__file__).with_name('burnt')\n"
        "while time.process_time() < 2 and not burnt.exists(): pass\nburnt.touch()"
    )
    visit.env["PYTHONPATH"] = str(visit.folder)

    async def scene() -> None:
        async with visit.kernel(preload=("mine",)) as kernel:
            assert kernel.process.server_pid is not None
            server = psutil.Process(kernel.process.server_pid)
            server.kill()
            server.wait(10)
            assert await ask(kernel, "answer = 1") == "1"
        assert kernel.exited.result() == 0
        assert visit.host.reaped is not None
        assert visit.host.reaped.cpu_s < 2
        async with visit.kernel(preload=("mine",)) as kernel:
            assert kernel.plainly is None
            assert kernel.process.server_pid not in {None, server.pid}
            assert await ask(kernel, "answer = 2") == "2"

    run(scene())


def test_a_server_that_dies_while_a_tree_is_killed(visit: Visit) -> None:
    """Is reaped with the tree but is not of it: what it used is not what the kernel used."""

    async def scene() -> None:
        async with visit.kernel() as kernel:
            server = psutil.Process(kernel.process.server_pid)
        host, reaped = psutil.Process(visit.host.pid), visit.host.reaped
        host.suspend()  # so that it hears of the request first
        work = asyncio.ensure_future(visit.host.kill_tree())
        await asyncio.sleep(0)
        server.kill()
        assert await_condition(lambda: server.status() == psutil.STATUS_ZOMBIE)
        host.resume()
        assert await work == ()
        assert visit.host.reaped == reaped
        async with visit.kernel() as kernel:
            assert kernel.plainly is None
        assert visit.host.pid == host.pid

    run(scene())


def test_a_server_that_hangs_costs_no_kernel(visit: Visit) -> None:
    """One kernel is started plainly, and nothing is left of the other way."""

    async def scene() -> None:
        async with visit.kernel() as kernel:
            server = psutil.Process(kernel.process.server_pid)
        server.suspend()
        async with visit.kernel() as kernel:
            assert kernel.plainly == "the fork server is lost: timed out"
            assert await ask(kernel, "answer = 1") == "1"
        assert not server.is_running()
        async with visit.kernel() as kernel:
            assert kernel.plainly is None

    run(scene())


def test_a_server_that_hangs_holds_nobody_up(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who gives a start up, as Ctrl-C does, still ends in time."""
    asked = asyncio.Event()
    start = visit.host.start

    def note(*args: Any, **kwargs: Any) -> Coroutine[Any, Any, KernelProcess]:
        asked.set()
        return start(*args, **kwargs)

    async def scene() -> None:
        async with visit.kernel() as kernel:
            server = psutil.Process(kernel.process.server_pid)
        server.suspend()
        monkeypatch.setattr(visit.host, "start", note)

        async def begin() -> None:
            async with visit.kernel():
                pass

        task = asyncio.ensure_future(begin())
        await asked.wait()
        await asyncio.sleep(0)  # it is sent now
        began = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - began < ENDED_S
        assert not server.is_running()
        assert visit.below_host() == []

    run(scene())


def test_another_environment_has_another_server(visit: Visit) -> None:
    """Libraries read variables such as OMP_NUM_THREADS when they are imported, and Python reads its own at its start."""
    code = "import os, sys; answer = os.environ['OMP_NUM_THREADS'], sys.flags.dont_write_bytecode"

    async def scene() -> None:
        servers = []
        for threads, notebook in (("1", "a"), ("1", "b"), ("2", "b")):
            visit.env |= {
                "OMP_NUM_THREADS": threads,
                "PYTHONDONTWRITEBYTECODE": threads,
                "NBGROUPS_NOTEBOOK": notebook,
            }
            async with visit.kernel() as kernel:
                servers.append(kernel.process.server_pid)
                assert await ask(kernel, code) == f"('{threads}', 1)"
                assert await ask(kernel, "answer = os.environ['NBGROUPS_NOTEBOOK']") == repr(
                    notebook
                )
                assert visit.below_host() == [servers[-1], kernel.process.pid]
        assert servers[0] == servers[1] != servers[2]

    run(scene())


@pytest.mark.parametrize(
    "variables",
    [{"PYTHONPATH": "lib"}, {"PYTHONPATH": ""}, {"PYTHONSAFEPATH": "1"}, {"PYTHONPATH": "HERE"}],
)
def test_where_modules_are_looked_for(visit: Visit, variables: dict[str, str]) -> None:
    """Also relative to the directory of the experiment, as in a plain start."""
    here = str(visit.folder)
    visit.env |= {name: here if value == "HERE" else value for name, value in variables.items()}

    async def scene() -> None:
        answers = []
        for preload in (None, ()):
            async with visit.kernel(preload=preload) as kernel:
                assert (kernel.plainly is None) == (preload == ())
                answers.append(await ask(kernel, "import sys; answer = sys.path"))
        assert answers[0] == answers[1]
        assert psutil.Process(kernel.process.server_pid).cwd() == os.sep  # it may be removed

    run(scene())


@pytest.mark.parametrize("module", ["ipykernel_launcher", "ipykernel"])
def test_flags_of_a_kernelspec(visit: Visit, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    """Are those of the kernel, and of what it starts."""
    folder = visit.folder / "kernels" / "optimized"
    folder.mkdir(parents=True)
    monkeypatch.setenv("JUPYTER_PATH", str(visit.folder))
    flags = ["-O", "-X", "dev", "-W", "ignore::ImportWarning", "-I"]
    argv = [sys.executable, *flags, "-m", module, "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "optimized", "language": "python", "env": {"MINE": "1"}}
    (folder / "kernel.json").write_text(json.dumps(spec))
    code = "import os, subprocess, sys; answer = (sys.orig_argv[:-2], subprocess._args_from_interpreter_flags(), "
    code += "sys.flags, sys._xoptions, sys.warnoptions, os.environ['MINE'], sys.path)"

    async def scene() -> None:
        answers = []
        for preload in (None, ()):
            async with visit.kernel(preload=preload, name="optimized") as kernel:
                assert (kernel.plainly is None) == (preload == ())
                answers.append(await ask(kernel, code))
        assert answers[0] == answers[1]
        for flag in flags:
            assert repr(flag) in answers[0]

    run(scene())


def test_a_directory_that_is_not_there(visit: Visit) -> None:
    """Is told like that of a plain start."""

    async def scene() -> None:
        messages = []
        visit.folder = visit.folder / "gone"
        for preload in (None, ()):
            with pytest.raises(KernelStartError) as caught:
                async with visit.kernel(preload=preload):
                    pass
            messages.append(str(caught.value))
        assert "No such file or directory" in messages[0]
        assert messages[0] == messages[1]

    run(scene())


def test_a_folder_of_ipython_that_cannot_be_used(visit: Visit) -> None:
    """Is named with its variable, however the kernel is started; the kernelspec has nothing to do with it."""
    visit.env["IPYTHONDIR"] = str(visit.folder / "link")
    (visit.folder / "link").symlink_to("/nowhere/at/all")

    async def scene() -> None:
        for preload in (None, ()):
            with pytest.raises(KernelStartError) as caught:
                async with visit.kernel(preload=preload):
                    pass
            assert str(caught.value).startswith(
                f"kernel 'python3' ended before it was ready (exit code 1); IPYTHONDIR is '{visit.folder}/link', "
                f"which cannot be used: set it to a folder that can be written to; the end of its log {visit.log}:\n"
            )

    run(scene())


def test_jupyters_manager(visit: Visit) -> None:
    """Starts, interrupts, restarts and shuts down a forked kernel as any other, and sees how it ended."""

    async def scene() -> None:
        manager = AsyncKernelManager(
            kernel_name="python3", connection_file=str(visit.folder / "connection.json")
        )
        launch = Launch(
            name="python3", cwd=visit.folder, env=visit.env, log_path=visit.log, preload=()
        )
        provisioner = HostProvisioner(
            visit.host, launch, scratch=None, parent=manager, kernel_spec=manager.kernel_spec
        )
        manager.provisioner = provisioner
        await manager.start_kernel(env=visit.env)
        assert provisioner.plainly is None
        first = provisioner.process
        assert first is not None
        client = manager.client()
        client.start_channels()
        await client.wait_for_ready(timeout=60)
        printed = asyncio.Event()

        def hear(message: Mapping[str, Any]) -> None:
            if message["msg_type"] == "stream":
                printed.set()

        code = "print('on'); import time; time.sleep(600)"
        busy = asyncio.ensure_future(client.execute_interactive(code, output_hook=hear))
        await printed.wait()
        await manager.interrupt_kernel()
        assert (await busy)["content"]["ename"] == "KeyboardInterrupt"
        await manager.restart_kernel()
        assert first.exited.result() == 0
        second = provisioner.process
        assert second is not None
        assert second.pid != first.pid
        await client.wait_for_ready(timeout=60)
        assert await manager.is_alive()
        await manager.shutdown_kernel(now=True)
        assert second.exited.result() == -9
        assert not await manager.is_alive()
        client.stop_channels()

    run(scene())


def test_what_is_started_plainly() -> None:
    """Another Python may have another version of everything."""
    with pytest.raises(NotForkedError, match="it runs in another Python, /usr/bin/python3"):
        command_of(["/usr/bin/python3", "-m", "ipykernel_launcher"])
    with pytest.raises(NotForkedError, match="it does not run ipykernel"):
        command_of(["bash", "-c", "kernel"])
    other_name = str(Path(sys.executable).with_name(f"python{sys.version_info[0]}"))
    argv = [other_name, "-O", "-X", "dev", "-m", "ipykernel_launcher", "-f", "x"]
    command = command_of(argv)
    assert command.interpreter == (other_name, "-O", "-X", "dev")
    assert (command.module, command.arguments) == ("ipykernel_launcher", ("-f", "x"))


def test_a_session(tree: Tree) -> None:
    """Workers find the chosen modules imported; ``-v`` tells which kernels were not forked, and why."""
    code = "import sys; assert 'wave' in sys.modules; print(len(sys.argv))"
    for name in ("one", "two"):
        tree.notebook(name, "1-a.ipynb", code)
        tree.notebook(name, "2-b.ipynb", code)
    argv = [sys.executable, "-m", "bash_kernel", "-f", "{connection_file}"]
    tree.kernelspec("bash", argv, language="bash")
    tree.notebook("bash", "1-a.ipynb", "echo on", kernel="bash", language="bash")
    run = tree.pytest("-n2", "-v", "-o", "experiment_preload=wave json.tool")
    assert run.returncode == 0, run.text
    starts = {
        name: {n["plain_start"] for n in run.notebooks(name)} for name in ("one", "two", "bash")
    }
    assert starts == {"one": {None}, "two": {None}, "bash": {"it does not run ipykernel"}}
    assert "started plainly (it does not run ipykernel)" in run.text
    assert run.text.count("started plainly") == 1


def test_the_memory_of_a_server(tree: Tree) -> None:
    """Is not that of the notebook whose kernel was forked from it."""
    (tree.root / "mine.py").write_text(
        "import os; kept = []; os.register_at_fork(after_in_parent=lambda: kept.append(b'x' * 150_000_000))"
    )
    tree.notebook("one", "1-a.ipynb", "import time; time.sleep(1)  # for some samples")
    run = tree.pytest("-n0", "-o", "experiment_preload=mine")
    assert run.returncode == 0, run.text
    (notebook,) = run.notebooks("one")
    assert notebook["plain_start"] is None
    assert 0 < notebook["usage"]["peak_bytes"] < 150_000_000


def test_a_session_without(tree: Tree) -> None:
    """The ini key has every kernel started plainly."""
    tree.notebook(
        "one",
        "1-a.ipynb",
        "import os; assert 'fork_server' not in open('/proc/self/cmdline').read()",
    )
    run = tree.pytest("-n0", "-v", "-o", "experiment_kernel_start=plain")
    assert run.returncode == 0, run.text
    assert "started plainly (experiment_kernel_start = plain)" in run.text


@pytest.mark.xdist
@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_ctrl_c_while_modules_are_imported(tree: Tree, workers: str) -> None:
    """Ends pytest in time though an import heeds no signal; nothing is left of it."""
    (tree.root / "mine.py").write_text(
        "import itertools, os\n"
        "open(f'{os.environ[\"TELL\"]}/{os.getpid()}', 'w').close()\n"
        "max(itertools.repeat(1))"
    )
    told = tree.root / "told"
    told.mkdir()
    tree.notebook("one", "1-a.ipynb", "pass")
    tree.notebook("one", "2-b.ipynb", "pass")
    run = tree.start(workers, "-o", "experiment_preload=mine", env={"TELL": str(told)})
    assert await_condition(lambda: any(told.iterdir()))
    (server,) = (psutil.Process(int(path.name)) for path in told.iterdir())
    began = time.monotonic()
    run.process.send_signal(signal.SIGINT)
    finished = run.wait()
    assert time.monotonic() - began < ENDED_S
    assert finished.returncode == pytest.ExitCode.INTERRUPTED, finished.text
    assert finished.outcomes("one") == ["interrupted", "not_run"]
    assert await_condition(lambda: not server.is_running(), GONE_S)


def test_a_module_that_is_not_there_is_told_once(tree: Tree) -> None:
    """In the summary, with the name of the key; everything runs."""
    for name in ("one", "two"):
        tree.notebook(name, "1-a.ipynb", "pass")
    run = tree.pytest("-n0", "-o", "experiment_preload=nump")
    assert run.returncode == 0, run.text
    told = (
        "experiment_preload: cannot import 'nump': ModuleNotFoundError: No module named 'nump'; "
        "kernels are started without these modules"
    )
    assert run.text.count(told) == 1
