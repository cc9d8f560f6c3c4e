"""A Python that has imported ipykernel, and what else was asked for, and forks one kernel a request. Linux only.

Run as a file, ``python fork_server.py SOCKET MODULE...``, by the interpreter of the kernels, with their flags and in
their environment. It imports nothing of this package, as its kernels have what it has imported. It writes {path, files}
first, which are the module search path and the files it has read, {importing} before each module, and {files,
folders} once all are there, the folders being those in which top-level modules were found, or {error}. Then the kernel host writes requests, one line each, {module,
arguments, cwd, env}, which bring the kernel's standard output and the descriptors that it inherits; the answer is {pid} or
{error, errno, filename}. It ends with its socket.

A kernel is a child of the kernel host, which is a child subreaper: the process between the two ends at once.
"""

import sys

if not sys.flags.safe_path:
    del sys.path[0]  # the folder of this file: nobody looks for modules there

import builtins
import contextlib
import ctypes
import gc
import importlib
import io
import json
import os
import runpy
import signal
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any

_ALWAYS = (
    "ipykernel.kernelapp",
    "ipykernel.debugger",
    "ipykernel.ipkernel",
    "ipykernel.zmqshell",
    "IPython.core.completerlib",
    "IPython.core.debugger",
    "IPython.core.oinspect",
    "IPython.extensions.storemagic",
    "sqlite3",
    "tornado.platform.asyncio",
)
"""What every kernel imports while it starts."""
_PYTHON = sys.orig_argv[: -len(sys.argv)]
"""The program and its flags."""
_BACKEND = "MPLBACKEND"
_INLINE = "module://matplotlib_inline.backend_inline"
_ABSENT = object()
_RECEIVE_BYTES = 65536
_DESCRIPTORS = 16
_ADOPTION_S = 5.0
_PAUSE_S = 0.0002
_PR_SET_PDEATHSIG = 1


class _Shell:
    """Stand-in for a kernel's shell while modules are imported: they see that there is one."""

    def __init__(self, kind: type) -> None:
        self.missed: list[str] = []
        self.config: dict[str, Any] = {"IPKernelApp": {}}
        self.kernel = object()
        self._kind = kind
        for name in ("__module__", "__name__", "__qualname__"):
            setattr(type(self), name, getattr(kind, name))

    @property  # type: ignore[misc]  # what isinstance asks
    def __class__(self) -> type:
        return self._kind

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        self.missed.append(name)
        raise AttributeError(name)


class _Stream:
    """A standard stream, whichever that is: a module that keeps it writes to that of the kernel, in the kernel."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        stream = getattr(sys, self._name)
        return getattr(getattr(sys, f"__{self._name}__") if stream is self else stream, name)


def load(modules: Sequence[str], say: Callable[[Mapping[str, Any]], None]) -> Mapping[str, Any]:
    """Import everything; give what that rests on. Raises ImportError with the reason."""
    read = [sys.executable, str(Path(sys.prefix, "pyvenv.cfg")), *_files(sys.modules)]
    say({"path": sys.path, "files": read})
    _check_processes("what Python runs at its start, such as sitecustomize,")
    for name in _ALWAYS:
        # Of another version of ipykernel or IPython. And a kernel has its outputs in place when it imports debugpy.
        with contextlib.suppress(ImportError), contextlib.redirect_stderr(io.StringIO()):
            importlib.import_module(name)
    with contextlib.suppress(ImportError):
        importlib.import_module(
            "argcomplete"
        )  # traitlets imports the other one only if this is installed
        importlib.import_module("traitlets.config.argcomplete_config")
    always = set(sys.modules)
    with _as_in_a_kernel() as shell:
        for name in modules:
            say({"importing": name})
            _import(name, shell)
    _settings.append(_settings_file())
    folders = (
        {} if sys.flags.safe_path else _folders()
    )  # else nothing is looked for in the directory
    gc.collect()
    gc.freeze()  # pages that the collector does not write to stay shared
    return {"files": list(_files(sys.modules.keys() - always)), "folders": folders}


def _files(modules: Iterable[str]) -> Iterator[str]:
    found = (getattr(sys.modules[name], "__file__", None) for name in modules)
    yield from (file for file in found if isinstance(file, str))


def _folders() -> dict[str, str]:
    return {
        name: str(Path(file).parent.parent if hasattr(module, "__path__") else Path(file).parent)
        for name, module in sys.modules.items()
        if "." not in name
        for file in _files([name])
    }


def _import(name: str, shell: _Shell) -> None:
    try:
        importlib.import_module(name)
    except BaseException as exc:
        raise ImportError(f"cannot import {name!r}: {type(exc).__name__}: {exc}") from exc
    _check_processes(f"importing {name!r}")
    if shell.missed:
        raise ImportError(
            f"importing {name!r} uses the shell of the kernel ({shell.missed[0]!r}), which is not there yet"
        )


def _check_processes(doing: str) -> None:
    if others := [t.name for t in threading.enumerate() if t is not threading.main_thread()]:
        raise ImportError(
            f"{doing} starts a thread ({others[0]!r}), which a forked kernel would not have"
        )
    if _has_children():
        raise ImportError(f"{doing} starts a process, which would be no child of a forked kernel")


def _has_children() -> bool:
    try:
        return os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:
        return False


@contextlib.contextmanager
def _as_in_a_kernel() -> Iterator[_Shell]:
    """Let modules find what they look at, when they are imported, to learn that they are in a notebook."""
    from ipykernel.zmqshell import ZMQInteractiveShell
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.display import display

    shell = _Shell(ZMQInteractiveShell)
    inside: list[tuple[MutableMapping[str, Any], str, Any]] = [
        (os.environ, _BACKEND, os.environ.get(_BACKEND) or _INLINE),  # matplotlib looks once
        (builtins.__dict__, "get_ipython", lambda: shell),
        (builtins.__dict__, "__IPYTHON__", True),
        (builtins.__dict__, "display", display),
        (sys.modules["__main__"].__dict__, "__file__", _ABSENT),
        (sys.__dict__, "ps1", "In : "),
        (sys.__dict__, "stdout", _Stream("stdout")),
        (sys.__dict__, "stderr", _Stream("stderr")),
    ]
    before = [(place, name, place.get(name, _ABSENT)) for place, name, _ in inside]
    _put(inside)
    InteractiveShell._instance = shell  # type: ignore[assignment]  # noqa: SLF001  where get_ipython looks
    try:
        yield shell
    finally:
        del InteractiveShell._instance  # noqa: SLF001
        _put(before)


def _put(values: Sequence[tuple[MutableMapping[str, Any], str, Any]]) -> None:
    for place, name, value in values:
        if value is _ABSENT:
            place.pop(name, None)
        else:
            place[name] = value


def serve(channel: socket.socket, host_pid: int) -> Mapping[str, Any] | None:
    """Fork a kernel for each request; give the request in the kernel, and in the server None when it may end."""
    rest, descriptors = b"", list[int]()
    while True:
        data, arrived, _, _ = socket.recv_fds(channel, _RECEIVE_BYTES, _DESCRIPTORS)
        if not data:
            return None
        descriptors += arrived
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            request: Mapping[str, Any] = json.loads(line)
            if (answer := fork(request)) is None:
                channel.close()
                _be_adopted(host_pid)
                become_kernel(request, descriptors)
                return request
            while descriptors:  # before the answer: a server that is stopped holds no lease
                os.close(descriptors.pop())
            channel.sendall(answer)


def fork(request: Mapping[str, Any]) -> bytes | None:
    """None in the kernel; in the server the message about it."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that others have threads: those of OpenBLAS survive it
        between = os.fork()
        if not between and not _fork_again(request["cwd"], writer):
            os.close(reader)
            os.close(writer)
            return None
    os.close(writer)
    with os.fdopen(reader, "rb") as answers:
        answer = answers.readline()
    os.waitpid(between, 0)
    return answer


def _fork_again(cwd: str, writer: int) -> int:
    """0 in the kernel. The process between it and the server reports its outcome and ends here."""
    try:
        os.chdir(cwd)
        pid = os.fork()
    except OSError as exc:
        answer = {"error": exc.strerror, "errno": exc.errno, "filename": exc.filename}
    else:
        if not pid:
            return pid
        answer = {"pid": pid}
    os.write(writer, json.dumps(answer).encode() + b"\n")
    os._exit(0)


def become_kernel(request: Mapping[str, Any], descriptors: Sequence[int]) -> None:
    """Take on what a program that the kernel host had started would have been given."""
    os.setsid()
    output, *inherited = descriptors
    for standard in (1, 2):
        os.dup2(output, standard)
    os.close(output)
    for descriptor in inherited:
        os.set_inheritable(descriptor, True)  # noqa: FBT003  it takes no keyword
    os.environ.update(request["env"])
    if not sys.flags.safe_path:
        sys.path.insert(0, str(Path.cwd()))
    sys.argv[1:] = request["arguments"]
    sys.orig_argv[:] = [*_PYTHON, "-m", request["module"], *request["arguments"]]
    threading.main_thread()._set_native_id()  # type: ignore[attr-defined]  # noqa: SLF001  3.12 and older forget it
    sys.path_importer_cache.clear()  # of folders that were not there yet, or had other files
    _share_nothing()
    _read_settings()
    _open_outputs()


def _be_adopted(host_pid: int) -> None:
    """Wait for the kernel host to be the parent, and end with it."""
    between, end = os.getppid(), time.monotonic() + _ADOPTION_S
    # Another parent than these is who takes in the orphans of a host that has ended.
    while os.getppid() == between != host_pid and time.monotonic() < end:
        time.sleep(_PAUSE_S)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != host_pid:
        os._exit(1)


def _share_nothing() -> None:
    """Let nothing random, nor the directory of its start, be what the other forks have."""
    modules = sys.modules
    if numpy_random := modules.get("numpy.random"):
        numpy_random.seed()
    if torch := modules.get("torch"):
        torch.default_generator.seed()
    if process := modules.get("multiprocessing.process"):
        process.ORIGINAL_DIR = str(Path.cwd())  # type: ignore[attr-defined]  # it is there
        process.current_process().authkey = os.urandom(32)


def _open_outputs() -> None:
    """Let the thread of the outputs open its own pipe when it starts.

    It does so when it first has something printed to send, and stalls if no descriptor is left then. In a kernel that
    is started plainly, a warning of debugpy is printed before the first cell (Python 3.11 and later).
    """
    from ipykernel.iostream import IOPubThread

    kind: Any = IOPubThread
    start = kind.start

    def start_with_pipe(thread: Any) -> None:  # noqa: ANN401
        kind.start = start  # there is one such thread
        start(thread)
        with contextlib.suppress(AttributeError):  # of another version
            thread.schedule(lambda: thread._event_pipe)  # noqa: SLF001  it is made when it is asked for

    kind.start = start_with_pipe


_settings: list[tuple[str, int] | None] = []
"""The file in which matplotlib found its settings, and its time."""


def _settings_file() -> tuple[str, int] | None:
    with contextlib.suppress(Exception):  # it is not imported, or the file cannot be looked at
        name = sys.modules["matplotlib"].matplotlib_fname()
        return name, Path(name).stat().st_mtime_ns
    return None


def _read_settings() -> None:
    """Let matplotlib have the settings that it would find if it were imported now, such as the directory's."""
    matplotlib = sys.modules.get("matplotlib")
    if matplotlib is None or _settings_file() in _settings:
        return
    with warnings.catch_warnings(), contextlib.suppress(Exception):  # of a file that cannot be read
        warnings.simplefilter("ignore")
        settings = {n: text for n, text in matplotlib.rc_params().items() if n != "backend"}
        for found in (matplotlib.rcParams, matplotlib.rcParamsOrig):
            found.update(settings)


def main() -> str | None:
    """Give the module that a kernel has to run; None in the server."""
    host_pid, channel = os.getppid(), socket.socket(fileno=int(sys.argv[1]))
    channel.set_inheritable(False)

    def say(message: Mapping[str, Any]) -> None:
        channel.sendall(json.dumps(message).encode() + b"\n")

    try:
        loaded = load(sys.argv[2:], say)
    except ImportError as exc:
        say({"error": str(exc)})
        return None
    os.chdir("/")  # keep no directory of the user's in use
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for standard in (1, 2):
        os.dup2(nowhere, standard)
    os.close(nowhere)
    say(loaded)
    request = serve(channel, host_pid)
    return None if request is None else request["module"]


if __name__ == "__main__":
    module = main()
    if module is None:
        os._exit(0)  # not with the exit handlers of what was imported
    runpy._run_module_as_main(module)  # type: ignore[attr-defined]  # noqa: SLF001  what -m calls
