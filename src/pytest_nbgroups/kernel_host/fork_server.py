"""A Python that has imported ipykernel and the preloaded modules, and forks one kernel a request. Linux only.

Run as a file, ``python fork_server.py SOCKET MODULE...``, by the interpreter of the kernels, with their flags and in
their environment. It imports nothing of this package, as its kernels have what it has imported. It ends with its socket.

First it writes {path, files}: the module search path and the files it has read. Then {importing} before each module,
and at last {files, folders}, the folders in which it found top-level modules, or {error}. Requests of the kernel host
are {module, arguments, cwd, env}, a line each, with the descriptors of the kernel's output and of what it inherits; the
answer is {pid} or {error, errno, filename}.

A kernel is a child of the kernel host, which is a child subreaper: the process between the two ends at once.
"""

import sys

if not sys.flags.safe_path:
    del sys.path[0]  # the folder of this file, which has no modules for kernels

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
"""Modules that every kernel imports while it starts."""
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
    """Import everything; return the files and folders it came from. Raises ImportError with the reason."""
    read = [sys.executable, str(Path(sys.prefix, "pyvenv.cfg")), *_files(sys.modules)]
    say({"path": sys.path, "files": read})
    _check_processes("what Python runs at its start, such as sitecustomize,")
    for name in _ALWAYS:
        # Other versions of ipykernel and IPython lack some. debugpy's warning belongs to the outputs of a kernel, which
        # are in place when it imports debugpy.
        with contextlib.suppress(ImportError), contextlib.redirect_stderr(io.StringIO()):
            importlib.import_module(name)
    with contextlib.suppress(ImportError):
        importlib.import_module("argcomplete")  # if it is installed, traitlets imports the next one
        importlib.import_module("traitlets.config.argcomplete_config")
    always = set(sys.modules)
    with _as_in_a_kernel() as shell:
        for name in modules:
            say({"importing": name})
            _import(name, shell)
    _settings.append(_settings_file())
    gc.collect()
    gc.freeze()  # pages that the collector does not write to stay shared
    # With a safe path, the kernel does not look for modules in its directory, so none can be hidden there.
    folders = {} if sys.flags.safe_path else _folders()
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
    """Provide all that modules look at, when they are imported, to detect a notebook."""
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
    """Fork a kernel for each request; return the request in the kernel, None in the server when it may end."""
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
    """Return None in the kernel, and in the server the message about it."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # Python warns if there are other threads, but those of OpenBLAS survive a fork.
        warnings.simplefilter("ignore")
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
    """Return 0 in the kernel. The process between it and the server reports its outcome and ends here."""
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
    """Take on all that the kernel host gives to a program that it starts."""
    os.setsid()  # as a plain start does: Jupyter signals the process group of a kernel
    output, *inherited = descriptors
    for standard in (1, 2):
        os.dup2(output, standard)
    os.close(output)
    for descriptor in inherited:
        os.set_inheritable(descriptor, True)  # noqa: FBT003  it takes no keyword
    os.environ.update(request["env"])
    if not sys.flags.safe_path:
        sys.path.insert(0, str(Path.cwd()))  # as -m does
    sys.argv[1:] = request["arguments"]
    sys.orig_argv[:] = [*_PYTHON, "-m", request["module"], *request["arguments"]]
    threading.main_thread()._set_native_id()  # type: ignore[attr-defined]  # noqa: SLF001  3.12 and older forget it
    sys.path_importer_cache.clear()  # of folders that were not there yet, or had other files
    _share_nothing()
    _read_settings()
    _open_outputs()


def _be_adopted(host_pid: int) -> None:
    """Wait for the kernel host to be the parent, and have this process end with it."""
    between, end = os.getppid(), time.monotonic() + _ADOPTION_S
    # Any other parent adopts the orphans of a host that has ended.
    while os.getppid() == between != host_pid and time.monotonic() < end:
        time.sleep(_PAUSE_S)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != host_pid:  # it ended before that call, so there will be no signal
        os._exit(1)


def _share_nothing() -> None:
    """Renew random states, and the directory of the start: all forks would have the same."""
    modules = sys.modules
    if numpy_random := modules.get("numpy.random"):
        numpy_random.seed()
    if torch := modules.get("torch"):
        torch.default_generator.seed()
    if process := modules.get("multiprocessing.process"):
        process.ORIGINAL_DIR = str(Path.cwd())  # type: ignore[attr-defined]  # it is there
        process.current_process().authkey = os.urandom(32)


def _open_outputs() -> None:
    """Let the thread of the outputs open its pipe when it starts.

    It opens it for the first text that it sends, and stalls if no descriptor is left then. A kernel that is started
    plainly has printed a warning of debugpy before the first cell (Python 3.11 and later).
    """
    from ipykernel.iostream import IOPubThread

    kind: Any = IOPubThread
    start = kind.start

    def start_with_pipe(thread: Any) -> None:  # noqa: ANN401
        kind.start = start  # a kernel has one such thread
        start(thread)
        with contextlib.suppress(AttributeError):  # of another version
            thread.schedule(lambda: thread._event_pipe)  # noqa: SLF001  reading it makes it

    kind.start = start_with_pipe


_settings: list[tuple[str, int] | None] = []
"""The file in which matplotlib found its settings, and its time."""


def _settings_file() -> tuple[str, int] | None:
    with contextlib.suppress(Exception):  # it is not imported, or the file cannot be looked at
        name = sys.modules["matplotlib"].matplotlib_fname()
        return name, Path(name).stat().st_mtime_ns
    return None


def _read_settings() -> None:
    """Give matplotlib the settings that it would find if it were imported now, such as the directory's."""
    matplotlib = sys.modules.get("matplotlib")
    if matplotlib is None or _settings_file() in _settings:
        return
    with warnings.catch_warnings(), contextlib.suppress(Exception):  # of a file that cannot be read
        warnings.simplefilter("ignore")
        settings = {n: text for n, text in matplotlib.rc_params().items() if n != "backend"}
        for found in (matplotlib.rcParams, matplotlib.rcParamsOrig):
            found.update(settings)


def main() -> str | None:
    """Return the module that a kernel has to run; None in the server."""
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
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for standard, stream in ((1, sys.stdout), (2, sys.stderr)):
        stream.flush()  # else each kernel would write it again
        os.dup2(nowhere, standard)
    os.close(nowhere)
    say(loaded)
    request = serve(channel, host_pid)
    return None if request is None else request["module"]


if __name__ == "__main__":
    module = main()
    if module is None:
        os._exit(0)  # without the exit handlers of the imported modules
    runpy._run_module_as_main(module)  # type: ignore[attr-defined]  # noqa: SLF001  what -m calls
